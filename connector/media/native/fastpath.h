/* The fast path: what usually happens to the audio of many calls, done for all of them in one call from Python.
 *
 * messages.c  writes WebSocket messages to bots          lines.c    reads what bots send
 * playout.c   holds a bot's audio until it is due        rows.c     RTP in and out, on the columns of audioloop.py
 * convert.c   G.711, resampling, base64
 *
 * Whatever does not fit what usually happens is left to Python, which can do all of it. Nothing here blocks.
 */
#ifndef FASTPATH_H
#define FASTPATH_H
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/types.h>

enum { MOST_MESSAGE = 16384, HEADER = 14, MASKS = 1024, MOST_FRAME = 1920, PHASES = 10 };
/* Kinds of events, as in fastpath.py; others are FIN << 4 | opcode of a frame. */
enum { AUDIO = -1, CLOSED = -2, TOO_LONG = -3, BROKEN = -4, UNSENT = -5, REST = -6, HEARD = -7, SAID = -8 };
enum { NOT_SENT, SENT, SENT_PARTLY };
enum { PYTHONS, LENT, STOPPED }; /* who has a playout: STOPPED is lent still, but nothing is put in or taken out */

typedef struct {
    int64_t accepted, played; /* positions, in bytes since the stream began */
    int64_t speaking, waited_ms, dry_ms /* -1: not dry */, underruns, messages, message_bytes;
    int64_t frame_bytes, max_bytes, prebuffer_bytes, prebuffer_ms;
} PlayoutState; /* as in fastplayout.py */

typedef struct {
    int lent;
    PlayoutState is;
    uint8_t *ring;
    uint32_t room; /* a power of two; a byte stands at its position modulo this */
} Playout;

typedef struct {
    int fd; /* -1: the line is free */
    int32_t number; /* slot, and above it how often that was used: a number is never another line's */
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
    Playout playout;
} Line;

typedef struct {
    int32_t line, kind; /* the line, or for UNSENT, HEARD and SAID the row */
    uint32_t at, size;
    int64_t stamp_ms;
} Event;

typedef struct { /* what a call tells Python */
    Event *events;
    uint32_t count, room;
    uint8_t *data;
    uint32_t at, data_room;
} Out;

typedef struct Rows Rows;

typedef struct {
    int epoll, pending;
    uint32_t line_count, in_room, mask_next;
    Line *lines;
    uint8_t *in;
    Rows *rows;
    uint32_t masks[MASKS];
    uint8_t out[HEADER + MOST_MESSAGE + 64];
} FastPath;

Line *line_at(FastPath *f, int32_t number);
void tell(Out *out, int32_t who, int32_t kind, const void *data, uint32_t size, int64_t stamp_ms);
void rows_free(FastPath *f);

/* messages.c */
int write_message(FastPath *f, Line *l, const uint8_t *payload, uint32_t size, int64_t stamp_ms, const uint8_t **rest,
                  uint32_t *rest_bytes);

/* playout.c */
int playout_write(Playout *p, const uint8_t *audio, uint32_t size);
uint32_t playout_read(Playout *p, uint8_t *frame);
void playout_forget(Playout *p);

/* convert.c */
typedef struct {
    int kind;
    const int16_t *to_linear;   /* of 256 codes; NULL: the source is linear */
    const uint8_t *from_linear; /* by the 16 bits of a sample; NULL: the target is linear */
    const int16_t *at_bot;      /* of 256 codes, in which the bot has it; NULL: linear */
    const float *kernel;        /* (width, made); NULL: the same rate */
    float *past;                /* by row, width - block each */
    uint32_t width, block, made;
    uint32_t source_bytes, target_bytes; /* of a frame */
    uint8_t silence[MOST_FRAME];         /* a frame of it at the source */
} Lane;

typedef struct {
    int64_t samples, total, squares, peak, clipped;
} Sums; /* of samples, as audio/levels.py */

void add_sums(Sums *sums, const int16_t *table, const uint8_t *frame, uint32_t bytes);
void convert(const Lane *lane, int64_t row, const uint8_t *source, uint8_t *target);
void make_base64(void);
uint32_t put_base64(uint8_t *at, const uint8_t *in, uint32_t n);
int64_t take_base64(const uint8_t *in, uint32_t n, uint8_t *out);

#endif
