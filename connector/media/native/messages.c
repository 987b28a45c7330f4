/* WebSocket messages to bots. A dialect gives a template, literals and fields; frames: RFC 6455 section 5.2. */
#include "fastpath.h"
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { LITERAL, COUNTER_A, COUNTER_B, STAMP_MS, BASE64, BYTES }; /* fields, as in fastpath.py */

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

/* One message; of one that the system took in part, `rest` is the remainder, valid until the next message. What is not
 * sent whole takes the template away: nothing may overtake it, and Python finds out why. */
int write_message(FastPath *f, Line *l, const uint8_t *payload, uint32_t size, int64_t stamp_ms, const uint8_t **rest,
                  uint32_t *rest_bytes) {
    uint32_t bytes;
    uint8_t *frame;
    if (!l || !l->program_bytes || !(bytes = put_message(f, l, payload, size, stamp_ms)) ||
        !(frame = put_header(f, l->out_opcode, bytes))) {
        if (l) l->program_bytes = 0;
        return NOT_SENT;
    }
    size_t whole = (size_t)(f->out + HEADER + bytes - frame);
    ssize_t sent = send(l->fd, frame, whole, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0) {
        l->program_bytes = 0;
        return NOT_SENT;
    }
    l->counters[0]++, l->counters[1]++, l->sent++;
    if ((size_t)sent == whole) return SENT;
    l->program_bytes = 0;
    *rest = frame + sent, *rest_bytes = (uint32_t)(whole - (size_t)sent);
    return SENT_PARTLY;
}

/* A frame of audio for each of these lines. `payloads` has them one after the other. Of a frame that the system took in
 * part the rest is put to `rests`, where MOST_MESSAGE + HEADER bytes for each must be free; `rest_sizes` tells of each. */
void fastpath_send(FastPath *f, int32_t count, const int32_t *lines, const int64_t *stamps_ms, const uint8_t *payloads,
                   const uint32_t *sizes, uint8_t *results, uint8_t *rests, uint32_t *rest_sizes) {
    for (int32_t i = 0; i < count; payloads += sizes[i], i++) {
        const uint8_t *rest;
        rest_sizes[i] = 0;
        results[i] = (uint8_t)write_message(f, line_at(f, lines[i]), payloads, sizes[i], stamps_ms[i], &rest, &rest_sizes[i]);
        if (results[i] != SENT_PARTLY) continue;
        memcpy(rests, rest, rest_sizes[i]);
        rests += rest_sizes[i];
    }
}
