/* Lines: connections of bots, read for Python. A dialect gives a pattern, how a message begins and ends around its audio.
 *
 * What fits is audio: it goes to the line's playout, if that is lent, or to Python. Every other frame goes to Python.
 */
#include "fastpath.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOURCE_ID
#define SOURCE_ID "unknown"
#endif

enum { READ_BYTES = 65536, READY = 256 };

const char *fastpath_source(void) { return SOURCE_ID; }

FastPath *fastpath_new(void) {
    FastPath *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    make_base64();
    f->mask_next = MASKS;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (f->epoll < 0) {
        free(f);
        return NULL;
    }
    return f;
}

Line *line_at(FastPath *f, int32_t number) {
    uint32_t slot = (uint32_t)number & 0xffff;
    if (number < 0 || slot >= f->line_count) return NULL;
    Line *l = &f->lines[slot];
    return l->fd >= 0 && l->number == number ? l : NULL;
}

void fastpath_close(FastPath *f, int32_t number) {
    Line *l = line_at(f, number);
    if (!l) return;
    epoll_ctl(f->epoll, EPOLL_CTL_DEL, l->fd, NULL); /* it would stay: the connection has another descriptor */
    close(l->fd);
    free(l->kept), free(l->pattern), free(l->program);
    playout_forget(&l->playout);
    *l = (Line){.fd = -1};
}

void fastpath_free(FastPath *f) {
    for (uint32_t i = 0; i < f->line_count; i++) fastpath_close(f, f->lines[i].number);
    close(f->epoll);
    rows_free(f);
    free(f->lines), free(f->in), free(f);
}

/* Takes over reading from a connection; `begun` has come on it already. 0, or an errno. */
int fastpath_open(FastPath *f, int32_t number, int fd, uint32_t most_bytes, const uint8_t *begun, uint32_t begun_bytes) {
    if (number < 0) return EINVAL;
    uint32_t slot = (uint32_t)number & 0xffff;
    if (slot >= f->line_count) {
        uint32_t count = (slot + 64) & ~63u;
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
    Line *l = &f->lines[slot];
    *l = (Line){.fd = -1, .number = number, .most_bytes = most_bytes, .unit_bytes = 1};
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

/* -- to Python ---------------------------------------------------------------------------------------------------- */

void tell(Out *out, int32_t who, int32_t kind, const void *data, uint32_t size, int64_t stamp_ms) {
    if (size) memcpy(out->data + out->at, data, size);
    out->events[out->count++] = (Event){who, kind, out->at, size, stamp_ms};
    out->at += size;
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

static void give_up(FastPath *f, Line *l, Out *out, int kind, uint32_t detail) {
    epoll_ctl(f->epoll, EPOLL_CTL_DEL, l->fd, NULL);
    l->pending = 0;
    l->kept_bytes = 0;
    out->events[out->count++] = (Event){l->number, kind, 0, detail, 0};
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
        at += head + (uint32_t)size;
        if (audio >= 0 && playout_write(&l->playout, out->data + out->at, (uint32_t)audio)) continue;
        if (l->playout.lent) l->playout.lent = STOPPED; /* what follows must not overtake this */
        Event event = {l->number, AUDIO, out->at, (uint32_t)audio, 0};
        if (audio < 0) {
            memcpy(out->data + out->at, p + head, size);
            event.kind = (p[0] & 0x80) >> 3 | (p[0] & 15);
            event.size = (uint32_t)size;
        }
        out->at += event.size;
        out->events[out->count++] = event;
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
