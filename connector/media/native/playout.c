/* A bot's audio until it is due: media/playout.py without marks, voice and full buffers, which are left to it.
 *
 * Bytes in a ring that grows; a position is a count of bytes since the stream began, as there.
 */
#include "fastpath.h"
#include <stdlib.h>
#include <string.h>

enum { FRAME_MS = 20, UNDERRUN_WITHIN_MS = 200, FIRST_ROOM = 2048 };

void playout_forget(Playout *p) {
    free(p->ring);
    *p = (Playout){0};
}

static int make_room(Playout *p, uint64_t wanted) {
    if (wanted <= p->room) return 1;
    uint64_t room = p->room ? p->room : FIRST_ROOM;
    while (room < wanted) room *= 2;
    uint8_t *ring = room > UINT32_MAX / 2 ? NULL : malloc(room);
    if (!ring) return 0;
    for (int64_t at = p->is.played; at < p->is.accepted; at++) ring[at & (int64_t)(room - 1)] = p->ring[at & (p->room - 1)];
    free(p->ring);
    p->ring = ring, p->room = (uint32_t)room;
    return 1;
}

static void put(Playout *p, const uint8_t *audio, uint32_t size) {
    uint32_t at = (uint32_t)(p->is.accepted & (p->room - 1)), first = p->room - at < size ? p->room - at : size;
    memcpy(p->ring + at, audio, first);
    memcpy(p->ring, audio + first, size - first);
    p->is.accepted += size;
}

static void get(Playout *p, uint8_t *audio, uint32_t size) {
    uint32_t at = (uint32_t)(p->is.played & (p->room - 1)), first = p->room - at < size ? p->room - at : size;
    memcpy(audio, p->ring + at, first);
    memcpy(audio + first, p->ring, size - first);
    p->is.played += size;
}

/* Takes audio; 0 when it is not lent, or full: then it is for Python. */
int playout_write(Playout *p, const uint8_t *audio, uint32_t size) {
    int64_t queued = p->is.accepted - p->is.played;
    if (p->lent != LENT || queued + size > p->is.max_bytes || !make_room(p, (uint64_t)queued + size)) return 0;
    p->is.messages++, p->is.message_bytes += size;
    if (p->is.dry_ms >= 0 && p->is.dry_ms <= UNDERRUN_WITHIN_MS) p->is.underruns++;
    p->is.dry_ms = -1;
    put(p, audio, size);
    return 1;
}

static int start(PlayoutState *is) {
    int64_t queued = is->accepted - is->played;
    if (!queued) {
        if (is->dry_ms >= 0) is->dry_ms += FRAME_MS;
        return 0;
    }
    if (queued < is->prebuffer_bytes && is->waited_ms < is->prebuffer_ms) {
        is->waited_ms += FRAME_MS;
        return 0;
    }
    is->waited_ms = 0;
    is->speaking = 1;
    return 1;
}

/* One step of 20 ms: bytes of the frame, less than a whole one at the end of what was said, 0 when nothing is. */
uint32_t playout_read(Playout *p, uint8_t *frame) {
    PlayoutState *is = &p->is;
    if (!is->speaking && !start(is)) return 0;
    int64_t queued = is->accepted - is->played;
    if (!queued) {
        is->speaking = 0;
        is->dry_ms = FRAME_MS;
        return 0;
    }
    uint32_t size = (uint32_t)(queued < is->frame_bytes ? queued : is->frame_bytes);
    get(p, frame, size);
    return size;
}

/* From now on the line's audio is held here; what Python has held so far comes along. 0 when that is not possible. */
int fastpath_lend(FastPath *f, int32_t number, const PlayoutState *state, const uint8_t *queued) {
    Line *l = line_at(f, number);
    if (!l || l->playout.lent || state->frame_bytes <= 0 || state->frame_bytes > MOST_FRAME) return 0;
    Playout *p = &l->playout;
    uint32_t size = (uint32_t)(state->accepted - state->played);
    p->is = *state;
    p->is.accepted = p->is.played;
    if (!make_room(p, size ? size : 1)) return 0;
    put(p, queued, size);
    p->lent = LENT;
    return 1;
}

/* How it stands. */
void fastpath_playout(FastPath *f, int32_t number, PlayoutState *state) {
    Line *l = line_at(f, number);
    if (l) *state = l->playout.is;
}

/* Python's again; `queued` has room for all that waits, as `fastpath_playout` told. */
void fastpath_take_back(FastPath *f, int32_t number, PlayoutState *state, uint8_t *queued) {
    Line *l = line_at(f, number);
    if (!l || !l->playout.lent) return;
    Playout *p = &l->playout;
    *state = p->is;
    get(p, queued, (uint32_t)(p->is.accepted - p->is.played));
    if (p->room > 8 * FIRST_ROOM) playout_forget(p); /* a long answer is no reason to hold memory for the whole call */
    p->lent = PYTHONS;
}
