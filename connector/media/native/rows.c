/* RTP of many calls in and out, on the columns that audioloop.py and timeline_rows.py keep: for the packet that is the
 * expected one, and for the 20 ms that are due. Any other packet, and silence that is to be filled, is left to Python.
 */
#include "fastpath.h"
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FRAME = 160, RTP_HEADER = 12, PACKET = RTP_HEADER + FRAME, ADDRESS = 28, BATCH = 256, LANES = 64 };
enum { RUN, FRAMES, SAMPLES, FILLED, IN_PAUSE, AHEAD, STATE }; /* columns of the state, as in timeline_rows.py */
enum { FRAME_MS = 20, RATE_HZ = 8000 };
static const double FRAME_S = 0.020, STEADY_AFTER_S = 0.008, SILENT_AFTER_S = 0.060;

typedef struct { /* by row; as in fastrows.py */
    const double *start;
    double *heard_s;
    int64_t *state;
    uint32_t *expected;
    double *jitter_s;
    const uint8_t *waits;
    int64_t *due;
    uint32_t *words;
    int64_t *sent;
    const uint8_t *addresses;
    const int32_t *lines;
    uint8_t *watched;      /* frames to the bot: 1, they are shown to Python; more, so many and one are added up */
    uint8_t *watched_said; /* frames of the bot likewise */
    Sums *sums;            /* of both ways */
    const int32_t *hears;        /* lane of what the caller says; -1: Python's */
    const int32_t *says;         /* lane of what the bot says; -1: Python's */
} Columns;

struct Rows {
    Columns of;
    int32_t count, ipv6;
    int32_t by_port[65536]; /* first row with this port, -1: none */
    int32_t *next;          /* row with the same port */
    uint32_t *left_in;      /* the batch in which a packet of the row was left to Python: the following ones are, too */
    uint32_t batch;
    Lane lanes[LANES];
    struct mmsghdr headers[BATCH];
    struct iovec parts[BATCH];
    uint8_t packets[BATCH][PACKET];
    uint8_t to[BATCH][ADDRESS];
};

void rows_free(FastPath *f) {
    if (!f->rows) return;
    free(f->rows->next), free(f->rows->left_in), free(f->rows);
    f->rows = NULL;
}

/* Where the columns are, after they were made or have grown. 0 when there is no memory. */
int rows_columns(FastPath *f, const Columns *columns, int32_t count, int32_t ipv6) {
    Rows *r = f->rows;
    if (!r) {
        if (!(r = f->rows = calloc(1, sizeof *r))) return 0;
        memset(r->by_port, -1, sizeof r->by_port);
        for (int i = 0; i < BATCH; i++) {
            r->parts[i] = (struct iovec){r->packets[i], PACKET};
            r->headers[i].msg_hdr = (struct msghdr){
                .msg_name = r->to[i], .msg_namelen = ipv6 ? 28 : 16, .msg_iov = &r->parts[i], .msg_iovlen = 1};
        }
    }
    int32_t *next = realloc(r->next, (size_t)count * sizeof *next);
    if (next) r->next = next;
    uint32_t *left_in = realloc(r->left_in, (size_t)count * sizeof *left_in);
    if (left_in) r->left_in = left_in;
    if (!next || !left_in) return 0;
    for (int32_t row = r->count; row < count; row++) next[row] = -1, left_in[row] = 0;
    r->of = *columns, r->count = count, r->ipv6 = ipv6;
    return 1;
}

/* How to convert: kinds of Lane, filled by Python. 0 when there are too many, or its frames are too long. */
int rows_lane(FastPath *f, int32_t number, const Lane *lane) {
    if (number < 0 || number >= LANES || lane->source_bytes > MOST_FRAME || lane->target_bytes > MOST_FRAME ||
        (lane->kernel && (lane->width - lane->block > 512 || (lane->made != 8 && lane->made != 16 && lane->made != 24 && lane->made != 48))))
        return 0;
    f->rows->lanes[number] = *lane;
    return 1;
}

static uint16_t port_of(const uint8_t *address) { return (uint16_t)(address[2] << 8 | address[3]); }

/* Datagrams from the row's address are the row's from now on. */
void rows_open(FastPath *f, int32_t row) {
    Rows *r = f->rows;
    int32_t *first = &r->by_port[port_of(r->of.addresses + (size_t)row * ADDRESS)];
    r->next[row] = *first;
    *first = row;
}

void rows_close(FastPath *f, int32_t row) {
    Rows *r = f->rows;
    for (int32_t *at = &r->by_port[port_of(r->of.addresses + (size_t)row * ADDRESS)]; *at >= 0; at = &r->next[*at])
        if (*at == row) {
            *at = r->next[row];
            r->next[row] = -1;
            return;
        }
}

static int32_t row_of(const Rows *r, const uint8_t *from) {
    int32_t row = r->by_port[port_of(from)];
    for (; row >= 0; row = r->next[row]) {
        const uint8_t *to = r->of.addresses + (size_t)row * ADDRESS;
        if (r->ipv6 ? !memcmp(to + 8, from + 8, 16) : !memcmp(to + 4, from + 4, 4)) break;
    }
    return row;
}

/* The row's clocks take a packet, as `TimelineRows.receive` does; gives the frame's media time. */
static int64_t take_packet(const Columns *c, int32_t row, double now_s) {
    int64_t *state = c->state + (size_t)row * STATE;
    uint32_t *expected = c->expected + (size_t)row * 3;
    double interval_s = now_s - c->heard_s[row];
    state[RUN]++, state[FRAMES]++, state[SAMPLES] += FRAME, state[IN_PAUSE] = 0;
    if (state[AHEAD] && interval_s >= STEADY_AFTER_S && interval_s < SILENT_AFTER_S) {
        int64_t before = state[SAMPLES] - (int64_t)((now_s - c->start[row]) * RATE_HZ);
        if (before < 0) before = 0;
        if (before < state[AHEAD]) state[AHEAD] = before;
    }
    c->jitter_s[row] += (fabs(interval_s - FRAME_S) - c->jitter_s[row]) / 16;
    c->heard_s[row] = now_s;
    expected[0] = (expected[0] & 0xffff0000u) | ((expected[0] + 1) & 0xffffu);
    expected[1] += FRAME;
    return (state[FRAMES] - 1) * FRAME_MS;
}

/* What a watched frame comes to; whether Python is to see it. */
static int watch(uint8_t *watched, Sums *sums, const Lane *lane, const uint8_t *frame, uint32_t bytes) {
    if (*watched <= 1) return *watched;
    add_sums(sums, lane->at_bot, frame, bytes);
    if (--*watched == 1) *watched = 0;
    return 0;
}

static int expected_one(const Columns *c, int32_t row, const uint8_t *packet, uint32_t size) {
    uint32_t words[3];
    memcpy(words, packet, sizeof words);
    const uint32_t *expected = c->expected + (size_t)row * 3;
    return size == PACKET && ntohl(words[0]) == expected[0] && ntohl(words[1]) == expected[1] &&
           ntohl(words[2]) == expected[2];
}

/* What has come at `fd`, given to the bots. `batch` is Python's, for what is left to it: `left` has the places of those,
 * and `left_rows` whose they are, -1 for strangers. Gives how many came, or -errno. */
int rows_hear(FastPath *f, int fd, struct mmsghdr *batch, double now_s, int32_t *left, int32_t *left_rows,
              int32_t *left_count, Event *events, uint32_t room, uint8_t *data, uint32_t data_room, uint32_t *event_count) {
    Rows *r = f->rows;
    const Columns *c = &r->of;
    Out out = {events, 0, room, data, 0, data_room};
    uint8_t converted[MOST_FRAME];
    *left_count = 0, *event_count = 0;
    for (int i = 0; i < BATCH; i++) batch[i].msg_hdr.msg_namelen = r->ipv6 ? 28 : 16; /* the kernel wrote there */
    int count = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    r->batch++;
    for (int i = 0; i < count; i++) {
        const uint8_t *packet = batch[i].msg_hdr.msg_iov->iov_base;
        int32_t row = row_of(r, batch[i].msg_hdr.msg_name);
        int fits = row >= 0 && c->hears[row] >= 0 && r->left_in[row] != r->batch && out.count + 3 <= room &&
                   data_room - out.at >= 2 * MOST_MESSAGE && expected_one(c, row, packet, batch[i].msg_len);
        if (!fits) {
            if (row >= 0) r->left_in[row] = r->batch;
            left[*left_count] = i, left_rows[(*left_count)++] = row;
            continue;
        }
        const Lane *lane = &r->lanes[c->hears[row]];
        int64_t stamp_ms = take_packet(c, row, now_s);
        const uint8_t *rest;
        uint32_t rest_bytes;
        convert(lane, row, packet + RTP_HEADER, converted);
        if (watch(&c->watched[row], &c->sums[2 * row], lane, converted, lane->target_bytes))
            tell(&out, row, HEARD, converted, lane->target_bytes, stamp_ms);
        int32_t number = c->lines[row];
        int done = write_message(f, line_at(f, number), converted, lane->target_bytes, stamp_ms, &rest, &rest_bytes);
        if (done == NOT_SENT) tell(&out, row, UNSENT, converted, lane->target_bytes, stamp_ms);
        else if (done == SENT_PARTLY) tell(&out, number, REST, rest, rest_bytes, 0);
    }
    *event_count = out.count;
    return count;
}

static int flush(Rows *r, int fd, int count) {
    int failed = 0;
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, r->headers + done, (unsigned)(count - done), MSG_DONTWAIT);
        if (sent <= 0) failed++, sent = 1; /* one that fails does not hinder the others */
        done += sent;
    }
    return failed;
}

static void put_packet(const Columns *c, int32_t row, int64_t skipped, uint8_t *packet) {
    uint32_t *words = c->words + (size_t)row * 3;
    words[1] += (uint32_t)(skipped * FRAME); /* only the timestamp tells that we stood still */
    for (int i = 0; i < 3; i++) {
        uint32_t word = htonl(words[i]);
        memcpy(packet + 4 * i, &word, 4);
    }
    words[0] = (words[0] & 0xff7f0000u) | ((words[0] + 1) & 0xffffu);
    words[1] += FRAME;
    c->sent[row]++;
}

/* 20 ms to each caller whose turn it is and whose bot's audio is held here. `quiet` gets the rows among them that have
 * heard nothing for a while, which is Python's to fill. Gives how many those are; `failed` counts what was not sent. */
int rows_say(FastPath *f, int fd, int64_t step, double now_s, int32_t *quiet, int32_t *failed, Event *events,
             uint32_t room, uint8_t *data, uint32_t data_room, uint32_t *event_count) {
    Rows *r = f->rows;
    const Columns *c = &r->of;
    Out out = {events, 0, room, data, 0, data_room};
    uint8_t frame[MOST_FRAME];
    int count = 0, quiet_count = 0;
    *failed = 0;
    for (int32_t row = 0; row < r->count; row++) {
        Line *l;
        if (c->due[row] > step || c->says[row] < 0 || !(l = line_at(f, c->lines[row])) || l->playout.lent != LENT) continue;
        const Lane *lane = &r->lanes[c->says[row]];
        if ((uint32_t)l->playout.is.frame_bytes != lane->source_bytes) continue;
        uint32_t size = playout_read(&l->playout, frame);
        if (size < lane->source_bytes) memcpy(frame + size, lane->silence + size, lane->source_bytes - size);
        if (size && out.count < room && data_room - out.at >= MOST_FRAME &&
            watch(&c->watched_said[row], &c->sums[2 * row + 1], lane, frame, lane->source_bytes))
            tell(&out, row, SAID, frame, lane->source_bytes, 0);
        convert(lane, row, frame, r->packets[count] + RTP_HEADER);
        int64_t skipped = (step - c->due[row]) / PHASES;
        c->due[row] += (skipped + 1) * PHASES;
        put_packet(c, row, skipped, r->packets[count]);
        memcpy(r->to[count], c->addresses + (size_t)row * ADDRESS, ADDRESS);
        if (now_s - c->heard_s[row] >= SILENT_AFTER_S || c->waits[row]) quiet[quiet_count++] = row;
        if (++count == BATCH) *failed += flush(r, fd, count), count = 0;
    }
    *failed += flush(r, fd, count);
    *event_count = out.count;
    return quiet_count;
}
