/* The fast path: WebSocket messages of many bots written and read in one call, for what usually happens.
 *
 * What an audio message looks like is no business of this file: a dialect gives a template (literals and fields) for
 * those to the bot, and a pattern (how a message begins and ends around its audio) for those from it. Whatever does not
 * fit, and every control frame, goes to Python. Frames: RFC 6455 section 5.2. Nothing here blocks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOURCE_ID
#define SOURCE_ID "unknown"
#endif

enum { LITERAL, COUNTER_A, COUNTER_B, STAMP_MS, BASE64, BYTES }; /* fields, as in fastpath.py */
enum { NOT_SENT, SENT, SENT_PARTLY };
enum { AUDIO = -1, CLOSED = -2, TOO_LONG = -3, BROKEN = -4 }; /* kinds of events; others are FIN << 4 | opcode */
enum { MOST_AT_ONCE = 256, MOST_MESSAGE = 16384, HEADER = 14, READ_BYTES = 65536, READY = 64, MASKS = 1024 };

typedef struct {
    int fd; /* -1: the line is free */
    int pending;
    uint32_t most_bytes; /* longest frame */
    uint8_t *kept;       /* the beginning of a frame */
    uint32_t kept_bytes;
    uint8_t *pattern; /* head, tail */
    uint32_t head_bytes, tail_bytes, most_matched, unit_bytes;
    uint8_t in_opcode, in_base64;
    uint8_t *program;
    uint32_t program_bytes;
    uint8_t out_opcode;
    uint64_t counters[2];
    uint32_t sent;
} Line;

typedef struct {
    int32_t line, kind;
    uint32_t at, size;
} Event;

typedef struct {
    int epoll, pending;
    uint32_t line_count, in_room, mask_next;
    Line *lines;
    uint8_t *in;
    uint32_t masks[MASKS];
    uint8_t out[HEADER + MOST_MESSAGE + 64];
} FastPath;

static uint16_t pairs[4096];
static int8_t values[256];

const char *fastpath_source(void) { return SOURCE_ID; }

FastPath *fastpath_new(void) {
    const char *set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FastPath *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    for (int i = 0; i < 4096; i++) memcpy(&pairs[i], (char[]){set[i >> 6], set[i & 63]}, 2);
    memset(values, -1, sizeof values);
    for (int i = 0; i < 64; i++) values[(uint8_t)set[i]] = (int8_t)i;
    f->mask_next = MASKS;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll < 0) {
        free(f);
        return NULL;
    }
    return f;
}

static Line *line_at(FastPath *f, int32_t number) {
    return number >= 0 && (uint32_t)number < f->line_count && f->lines[number].fd >= 0 ? &f->lines[number] : NULL;
}

void fastpath_close(FastPath *f, int32_t number) {
    Line *l = line_at(f, number);
    if (!l) return;
    epoll_ctl(f->epoll, EPOLL_CTL_DEL, l->fd, NULL); /* it would stay: the connection has another descriptor */
    close(l->fd);
    free(l->kept), free(l->pattern), free(l->program);
    *l = (Line){.fd = -1};
}

void fastpath_free(FastPath *f) {
    for (uint32_t i = 0; i < f->line_count; i++) fastpath_close(f, (int32_t)i);
    close(f->epoll);
    free(f->lines), free(f->in), free(f);
}

/* Takes over reading from a connection; `begun` has come on it already. 0, or an errno. */
int fastpath_open(FastPath *f, int32_t number, int fd, uint32_t most_bytes, const uint8_t *begun, uint32_t begun_bytes) {
    if (number < 0) return EINVAL;
    if ((uint32_t)number >= f->line_count) {
        uint32_t count = ((uint32_t)number + 64) & ~63u;
        Line *lines = realloc(f->lines, count * sizeof *lines);
        if (!lines) return ENOMEM;
        f->lines = lines;
        for (uint32_t i = f->line_count; i < count; i++) lines[i] = (Line){.fd = -1};
        f->line_count = count;
    }
    uint32_t room = most_bytes + HEADER + READ_BYTES;
    if (room < begun_bytes + READ_BYTES) room = begun_bytes + READ_BYTES;
    if (room > f->in_room) {
        uint8_t *in = realloc(f->in, room);
        if (!in) return ENOMEM;
        f->in = in, f->in_room = room;
    }
    Line *l = &f->lines[number];
    *l = (Line){.fd = -1, .most_bytes = most_bytes, .unit_bytes = 1};
    if (begun_bytes && !(l->kept = malloc(begun_bytes))) return ENOMEM;
    if (begun_bytes) memcpy(l->kept, begun, begun_bytes), l->kept_bytes = begun_bytes, l->pending = f->pending = 1;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) return errno;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)number};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, own, &event) < 0) {
        int error = errno;
        close(own);
        return error;
    }
    l->fd = own;
    return 0;
}

/* -- to the bots -------------------------------------------------------------------------------------------------- */

/* How audio messages look from now on: fields of {kind, size} as uint32, a literal's bytes behind it. NULL: unknown, so
 * that nothing is sent here. Gives how many messages were sent with the last one. */
uint32_t fastpath_template(FastPath *f, int32_t number, int opcode, const uint8_t *program, uint32_t size, uint64_t a,
                           uint64_t b) {
    Line *l = line_at(f, number);
    if (!l) return 0;
    uint32_t sent = l->sent;
    l->sent = 0;
    if (!program) {
        l->program_bytes = 0;
        return sent;
    }
    uint8_t *copy = realloc(l->program, size);
    if (!copy) return sent;
    l->program = memcpy(copy, program, size);
    l->program_bytes = size;
    l->out_opcode = (uint8_t)opcode;
    l->counters[0] = a, l->counters[1] = b;
    return sent;
}

static uint32_t put_number(uint8_t *at, uint64_t value) {
    uint8_t digits[20];
    uint32_t n = 0;
    do digits[n++] = (uint8_t)('0' + value % 10);
    while (value /= 10);
    for (uint32_t i = 0; i < n; i++) at[i] = digits[n - 1 - i];
    return n;
}

static uint32_t put_base64(uint8_t *at, const uint8_t *in, uint32_t n) {
    uint8_t *begin = at;
    for (; n >= 3; n -= 3, in += 3, at += 4) {
        memcpy(at, &pairs[in[0] << 4 | in[1] >> 4], 2);
        memcpy(at + 2, &pairs[(in[1] & 15) << 8 | in[2]], 2);
    }
    if (n) {
        int second = n == 2 ? in[1] : 0;
        memcpy(at, &pairs[in[0] << 4 | second >> 4], 2);
        memcpy(at + 2, &pairs[(second & 15) << 8], 2);
        at[3] = '=';
        if (n == 1) at[2] = '=';
        at += 4;
    }
    return (uint32_t)(at - begin);
}

/* The message in f->out behind room for a header; 0 when it would be too long. */
static uint32_t put_message(FastPath *f, Line *l, const uint8_t *payload, uint32_t size, int64_t stamp_ms) {
    uint8_t *begin = f->out + HEADER, *at = begin, *end = begin + MOST_MESSAGE;
    for (uint32_t i = 0; i + 8 <= l->program_bytes;) {
        uint32_t kind, length;
        memcpy(&kind, l->program + i, 4);
        memcpy(&length, l->program + i + 4, 4);
        i += 8;
        uint32_t most = kind == LITERAL ? length : kind == BASE64 ? size / 3 * 4 + 4 : kind == BYTES ? size : 20;
        if (most > (uint32_t)(end - at)) return 0;
        if (kind == LITERAL) memcpy(at, l->program + i, length), at += length, i += length;
        else if (kind == COUNTER_A) at += put_number(at, l->counters[0]);
        else if (kind == COUNTER_B) at += put_number(at, l->counters[1]);
        else if (kind == STAMP_MS) at += put_number(at, (uint64_t)stamp_ms);
        else if (kind == BASE64) at += put_base64(at, payload, size);
        else memcpy(at, payload, size), at += size;
    }
    return (uint32_t)(at - begin);
}

/* Masks the message and puts the header before it; gives the frame's first byte. */
static uint8_t *put_header(FastPath *f, uint8_t opcode, uint32_t size) {
    if (f->mask_next == MASKS) {
        if (getrandom(f->masks, sizeof f->masks, 0) != (ssize_t)sizeof f->masks) return NULL;
        f->mask_next = 0;
    }
    uint32_t mask = f->masks[f->mask_next++], i = 0;
    uint64_t wide = (uint64_t)mask << 32 | mask, word;
    uint8_t *at = f->out + HEADER;
    for (; i < size; i += 8) { /* there is room behind it for the last word */
        memcpy(&word, at + i, 8);
        word ^= wide;
        memcpy(at + i, &word, 8);
    }
    memcpy(at -= 4, &mask, 4);
    if (size < 126) {
        *--at = (uint8_t)(0x80 | size);
    } else { /* MOST_MESSAGE is below 65536 */
        *--at = (uint8_t)size;
        *--at = (uint8_t)(size >> 8);
        *--at = 0x80 | 126;
    }
    *--at = 0x80 | opcode;
    return at;
}

/* A frame of audio for each of these lines. `payloads` has them one after the other. Of a frame that the system took in
 * part the rest is put to `rests`, where MOST_MESSAGE + HEADER bytes for each must be free; `rest_sizes` tells of each. */
void fastpath_send(FastPath *f, int32_t count, const int32_t *lines, const int64_t *stamps_ms, const uint8_t *payloads,
                   const uint32_t *sizes, uint8_t *results, uint8_t *rests, uint32_t *rest_sizes) {
    for (int32_t i = 0; i < count; payloads += sizes[i], i++) {
        Line *l = line_at(f, lines[i]);
        uint32_t size;
        uint8_t *frame;
        results[i] = NOT_SENT;
        rest_sizes[i] = 0;
        if (!l || !l->program_bytes || !(size = put_message(f, l, payloads, sizes[i], stamps_ms[i])) ||
            !(frame = put_header(f, l->out_opcode, size)))
            continue;
        size_t whole = (size_t)(f->out + HEADER + size - frame);
        ssize_t sent = send(l->fd, frame, whole, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) continue; /* Python finds out why */
        results[i] = SENT;
        l->counters[0]++, l->counters[1]++, l->sent++;
        if ((size_t)sent < whole) {
            results[i] = SENT_PARTLY;
            rest_sizes[i] = (uint32_t)(whole - (size_t)sent);
            memcpy(rests, frame + sent, rest_sizes[i]);
            rests += rest_sizes[i];
        }
    }
}

/* -- from the bots ------------------------------------------------------------------------------------------------ */

/* What an audio message of the bot looks like: `head`, audio, `tail`, of at most `most` bytes, its audio a multiple of
 * `unit` bytes. No opcode: unknown, so that every message goes to Python. */
void fastpath_pattern(FastPath *f, int32_t number, int opcode, int base64, const uint8_t *head, uint32_t head_bytes,
                      const uint8_t *tail, uint32_t tail_bytes, uint32_t most, uint32_t unit) {
    Line *l = line_at(f, number);
    if (!l) return;
    l->in_opcode = 0;
    uint8_t *both = realloc(l->pattern, head_bytes + tail_bytes + 1);
    if (!both) return;
    memcpy(both, head, head_bytes);
    memcpy(both + head_bytes, tail, tail_bytes);
    l->pattern = both, l->head_bytes = head_bytes, l->tail_bytes = tail_bytes;
    l->most_matched = most, l->unit_bytes = unit ? unit : 1;
    l->in_base64 = (uint8_t)base64, l->in_opcode = (uint8_t)opcode;
}

/* Strictly RFC 4648 section 4: bytes written, or -1. Never more than the input has. */
static int64_t take_base64(const uint8_t *in, uint32_t n, uint8_t *out) {
    uint8_t *begin = out;
    if (n % 4 || !n) return n ? -1 : 0;
    uint32_t padding = (in[n - 1] == '=') + (in[n - 1] == '=' && in[n - 2] == '='), whole = n - (padding ? 4 : 0);
    for (uint32_t i = 0; i < whole; i += 4, out += 3) {
        int a = values[in[i]], b = values[in[i + 1]], c = values[in[i + 2]], d = values[in[i + 3]];
        if ((a | b | c | d) < 0) return -1;
        out[0] = (uint8_t)(a << 2 | b >> 4), out[1] = (uint8_t)(b << 4 | c >> 2), out[2] = (uint8_t)(c << 6 | d);
    }
    if (padding) {
        int a = values[in[whole]], b = values[in[whole + 1]], c = padding == 1 ? values[in[whole + 2]] : 0;
        if ((a | b | c) < 0) return -1;
        *out++ = (uint8_t)(a << 2 | b >> 4);
        if (padding == 1) *out++ = (uint8_t)(b << 4 | c >> 2);
    }
    return out - begin;
}

/* The audio of a message that fits the pattern, written to `out`; -1 for any other message. */
static int64_t take_audio(const Line *l, const uint8_t *message, uint32_t size, uint8_t *out) {
    if (size < l->head_bytes + l->tail_bytes || size > l->most_matched) return -1;
    uint32_t inside = size - l->head_bytes - l->tail_bytes;
    if (memcmp(message, l->pattern, l->head_bytes) ||
        memcmp(message + size - l->tail_bytes, l->pattern + l->head_bytes, l->tail_bytes))
        return -1;
    int64_t got = inside;
    if (l->in_base64) got = take_base64(message + l->head_bytes, inside, out);
    else memcpy(out, message + l->head_bytes, inside);
    return got > 0 && got % l->unit_bytes == 0 ? got : -1;
}

typedef struct {
    Event *events;
    uint32_t count, room;
    uint8_t *data;
    uint32_t at, data_room;
} Out;

static void give_up(FastPath *f, Line *l, Out *out, int kind, uint32_t detail) {
    epoll_ctl(f->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    l->pending = 0;
    l->kept_bytes = 0;
    out->events[out->count++] = (Event){(int32_t)(l - f->lines), kind, 0, detail};
}

/* Every whole frame in f->in, as events; keeps the rest. Stops early when there is no more room for events. */
static void take_frames(FastPath *f, Line *l, uint32_t have, Out *out) {
    uint32_t at = 0;
    l->pending = 0;
    while (have - at >= 2) {
        const uint8_t *p = f->in + at;
        uint64_t size = p[1] & 0x7f;
        uint32_t head = size == 126 ? 4 : size == 127 ? 10 : 2;
        if (out->count + 2 > out->room) {
            l->pending = f->pending = 1;
            break;
        }
        if (p[0] & 0x70 || p[1] & 0x80) { /* an extension that was not agreed on; a server does not mask */
            give_up(f, l, out, BROKEN, 0);
            return;
        }
        if (have - at < head) break;
        if (head > 2) {
            size = 0;
            for (uint32_t i = 2; i < head; i++) size = size << 8 | p[i];
        }
        if (size > l->most_bytes) {
            give_up(f, l, out, TOO_LONG, 0);
            return;
        }
        if (have - at - head < size) break;
        if (size > out->data_room - out->at) {
            l->pending = f->pending = 1;
            break;
        }
        int64_t audio = -1;
        if (l->in_opcode && p[0] == (0x80 | l->in_opcode))
            audio = take_audio(l, p + head, (uint32_t)size, out->data + out->at);
        Event event = {(int32_t)(l - f->lines), AUDIO, out->at, (uint32_t)audio};
        if (audio < 0) {
            memcpy(out->data + out->at, p + head, size);
            event.kind = (p[0] & 0x80) >> 3 | (p[0] & 15);
            event.size = (uint32_t)size;
        }
        out->at += event.size;
        out->events[out->count++] = event;
        at += head + (uint32_t)size;
    }
    uint32_t left = have - at;
    if (left && left > l->kept_bytes) {
        uint8_t *kept = realloc(l->kept, left);
        if (!kept) {
            give_up(f, l, out, CLOSED, ENOMEM);
            return;
        }
        l->kept = kept;
    } else if (!left) {
        free(l->kept), l->kept = NULL;
    }
    if (left) memcpy(l->kept, f->in + at, left);
    l->kept_bytes = left;
}

static void read_line(FastPath *f, Line *l, Out *out, int more) {
    uint32_t have = l->kept_bytes;
    if (have) memcpy(f->in, l->kept, have);
    if (more) {
        ssize_t got = recv(l->fd, f->in + have, READ_BYTES, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (got <= 0) {
            give_up(f, l, out, CLOSED, got < 0 ? (uint32_t)errno : 0);
            return;
        }
        have += (uint32_t)got;
    }
    take_frames(f, l, have, out);
}

/* What the bots have sent, at most READY of them, each at most READ_BYTES. `more` is set when others may wait.
 * Gives the number of events; the payload of each is in `data`, or an errno in `size` for CLOSED. */
uint32_t fastpath_receive(FastPath *f, Event *events, uint32_t room, uint8_t *data, uint32_t data_room, int32_t *more) {
    struct epoll_event ready[READY];
    Out out = {events, 0, room, data, 0, data_room};
    *more = 0;
    if (f->pending) {
        f->pending = 0;
        for (uint32_t i = 0; i < f->line_count; i++)
            if (f->lines[i].fd >= 0 && f->lines[i].pending) read_line(f, &f->lines[i], &out, 0);
        if (f->pending) {
            *more = 1;
            return out.count;
        }
    }
    int count = epoll_wait(f->epoll, ready, READY, 0);
    for (int i = 0; i < count && !f->pending; i++) {
        Line *l = line_at(f, (int32_t)ready[i].data.u32);
        if (l && !l->pending) read_line(f, l, &out, 1);
    }
    *more = count == READY || f->pending;
    return out.count;
}
