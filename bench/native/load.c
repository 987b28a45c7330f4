/* The load generator: N callers that send RTP, and the bot that echoes over WebSockets; it measures what lies between.
 *
 *   load CALLS twilio|raw|raw16 [CERTIFICATE KEY]
 *
 * or, with `load 0 echo`, a bot that says what it hears and checks its numbers; "report" on standard input tells. Else it
 * prints {"ws_port": N, "udp": [...]}; then for each line "CALLS WARM_UP_MS MEASURED_MS RTP_PORT..." of standard input it
 * sends for so long and prints "begin", "end" and a line of JSON. One port is that of all calls. Ends with standard input.
 *
 * A stamp in the audio says who sent it and when, so nothing is assumed about what the relay does. It is written in
 * nibbles as the mu-law bytes 0x80 to 0x8f, which survive the way over linear PCM. At 16 kHz, where a filter lies in
 * between, it is written in bits of three samples, loud or loud below zero, and read in their middle, with and without
 * the filter's delay; a checksum tells which.
 */
#include "wire.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/timerfd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *tls;
#endif

enum { SLOT_NS = 250000, EVENTS = 256, STAMP = 24, STALL_NS = 3000000, DRAIN_NS = 500000000, METER_NS = 1000000, LEAD = 2 };
enum { FROM_CALLER = 1, FROM_BOT = 2 };
enum { TIMER, ORDERS, LISTENER, CALLER, BOT };

typedef struct {
    uint8_t tag, measured;
    uint16_t call;
    int64_t at_ns;
} Stamp;

typedef struct {
    int fd;
    uint16_t sequence;
    uint32_t timestamp;
    int64_t last_ns;
} Caller;

typedef struct {
    long number; /* of the last message, where it echoes */
    int fd, open, lead;
    size_t have, pending;
    uint8_t in[8192], out[2048];
#ifdef WITH_TLS
    SSL *ssl;
    int secured;
#endif
} Bot;

typedef struct {
    uint32_t *values; /* microseconds, and for the way out the call beside it */
    uint16_t *calls;
    size_t count, room;
} Samples;

static int twilio, wide, echo, epoll_fd, timer_fd, total, active;
static Caller *callers;
static Bot **bots;
static int bot_count, bot_room;
static Samples in_us, out_us, interval_us, late_us;
static long sent, at_bot, at_caller, bot_sent, bot_dropped, rtp_seen;
static int64_t start_ns, begin_ns, end_ns, next_number;
static int running, measuring;
static struct sockaddr_in *targets;
static atomic_llong meter_worst_ns;
static atomic_long meter_stalls;

/* -- what is measured --------------------------------------------------------------------------------------------- */

static void add(Samples *s, int64_t ns, int call) {
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 65536;
        s->values = realloc(s->values, s->room * sizeof *s->values);
        s->calls = realloc(s->calls, s->room * sizeof *s->calls);
    }
    s->values[s->count] = ns < 0 ? 0 : (uint32_t)(ns / 1000);
    s->calls[s->count++] = (uint16_t)call;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile_ms(Samples *s, double p) { /* sorted */
    return s->count ? s->values[(size_t)((double)(s->count - 1) * p)] / 1000.0 : 0;
}

/* Takes off each call's constant wait, its smallest: what the bot is ahead, and up to a step of the relay's 20 ms clock.
 * Gives its mean over the calls. */
static double take_off_wait(Samples *s) {
    uint32_t *least = malloc(65536 * sizeof *least);
    double sum = 0;
    int seen = 0;
    memset(least, 0xff, 65536 * sizeof *least);
    for (size_t i = 0; i < s->count; i++)
        if (s->values[i] < least[s->calls[i]]) least[s->calls[i]] = s->values[i];
    for (int c = 0; c < 65536; c++)
        if (least[c] != UINT32_MAX) {
            sum += least[c], seen++;
        }
    for (size_t i = 0; i < s->count; i++) s->values[i] -= least[s->calls[i]];
    free(least);
    return seen ? sum / seen / 1000 : 0;
}

/* Sleeps a millisecond at a time and tells by how much the machine made it sleep longer. */
static void *stall_meter(void *unused) {
    struct timespec t;
    (void)unused;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        int64_t due = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + METER_NS;
        t = (struct timespec){due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        int64_t late = now_ns() - due;
        if (late > atomic_load(&meter_worst_ns)) atomic_store(&meter_worst_ns, late);
        if (late > STALL_NS) atomic_fetch_add(&meter_stalls, 1);
    }
    return NULL;
}

/* -- stamps ------------------------------------------------------------------------------------------------------- */

static void write_stamp(uint8_t *ulaw, Stamp s) {
    uint8_t raw[12] = {s.tag, s.measured, (uint8_t)(s.call >> 8), (uint8_t)s.call};
    memcpy(raw + 4, &s.at_ns, 8);
    for (int i = 0; i < STAMP; i++) ulaw[i] = 0x80 | (raw[i / 2] >> (i & 1 ? 0 : 4) & 15);
}

static int read_stamp(const uint8_t *ulaw, Stamp *s) {
    uint8_t raw[12];
    for (int i = 0; i < STAMP; i += 2) {
        if ((ulaw[i] & 0xf0) != 0x80 || (ulaw[i + 1] & 0xf0) != 0x80) return 0;
        raw[i / 2] = (uint8_t)(ulaw[i] << 4 | (ulaw[i + 1] & 15));
    }
    s->tag = raw[0], s->measured = raw[1], s->call = (uint16_t)(raw[2] << 8 | raw[3]);
    memcpy(&s->at_ns, raw + 4, 8);
    return 1;
}

enum { BITS = 34, CHECKED = BITS + 8, BIT = 3, LOUD = 12000 };
static const double DELAY_S = 0.0027154; /* of the connector's resampler: connector/audio/resample.py */

static uint64_t check_of(uint64_t bits) {
    bits *= 0x9e3779b97f4a7c15u;
    return bits >> 56;
}

/* At 8 kHz in mu-law or at 16 kHz linear: `scale` samples of each of 8 kHz. */
static void write_bits(int16_t *samples, int scale, Stamp s) {
    uint64_t bits = (uint64_t)s.tag | (uint64_t)s.measured << 2 | (uint64_t)(s.call & 0x7ff) << 3 |
                    (uint64_t)(s.at_ns >> 14 & 0xfffff) << 14;
    bits |= check_of(bits) << BITS;
    for (int i = 0; i < CHECKED * BIT * scale; i++)
        samples[i] = bits >> (i / (BIT * scale)) & 1 ? LOUD : -LOUD;
}

static int read_bits(const int16_t *samples, int rate_hz, Stamp *s) {
    for (int filtered = 0; filtered < 2; filtered++) {
        uint64_t bits = 0;
        for (int i = 0; i < CHECKED; i++) {
            int at = (int)((filtered ? DELAY_S * rate_hz : 0) + (i + 0.5) * BIT * rate_hz / 8000);
            bits |= (uint64_t)(samples[at] > 0) << i;
        }
        uint64_t said = bits & ((1ull << BITS) - 1);
        if (bits >> BITS != check_of(said) || !(said & 3)) continue;
        int64_t now = now_ns(), at = (now & ~((1ll << 34) - 1)) | (int64_t)(said >> 14) << 14;
        *s = (Stamp){said & 3, said >> 2 & 1, said >> 3 & 0x7ff, at > now ? at - (1ll << 34) : at};
        return 1;
    }
    return 0;
}

/* -- callers ------------------------------------------------------------------------------------------------------ */

static void watch(int fd, int kind, int index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | (uint32_t)index};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void speak(int64_t now) {
    uint8_t packet[RTP_BYTES];
    memset(packet, 0x55, sizeof packet);
    for (; running; next_number++) {
        int64_t due = start_ns + next_number * FRAME_NS / active;
        if (due >= end_ns) {
            running = 0;
            break;
        }
        if (due > now) break;
        /* A stride, so that neighbours among the calls are no neighbours in time. */
        int index = (int)(next_number % active * 7919 % active);
        Caller *c = &callers[index];
        int64_t at = now_ns();
        measuring = due >= begin_ns;
        rtp_header(packet, c->sequence++, c->timestamp, (uint32_t)index + 1);
        c->timestamp += FRAME;
        Stamp stamp = {FROM_CALLER, (uint8_t)measuring, (uint16_t)index, at};
        if (wide) {
            int16_t samples[FRAME] = {0};
            write_bits(samples, 1, stamp);
            for (int i = 0; i < FRAME; i++) packet[RTP_HEADER + i] = to_ulaw[(uint16_t)samples[i]];
        } else {
            write_stamp(packet + RTP_HEADER, stamp);
        }
        sendto(c->fd, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&targets[index], sizeof *targets);
        if (measuring) {
            sent++;
            add(&late_us, at - due, index);
        }
    }
}

static void hear(int index) {
    Caller *c = &callers[index];
    uint8_t packet[2048];
    for (int i = 0; i < 8; i++) {
        ssize_t n = recv(c->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < RTP_HEADER + STAMP) return;
        int64_t now = now_ns();
        Stamp s;
        if (measuring) {
            if (c->last_ns) add(&interval_us, now - c->last_ns, index);
            c->last_ns = now;
            rtp_seen++;
        }
        int16_t samples[FRAME];
        if (wide)
            for (int j = 0; j < FRAME; j++) samples[j] = to_pcm[packet[RTP_HEADER + j]];
        if ((wide ? read_bits(samples, 8000, &s) : read_stamp(packet + RTP_HEADER, &s)) && s.tag == FROM_BOT && s.measured) {
            at_caller++;
            add(&out_us, now - s.at_ns, index);
        }
    }
}

/* -- the bot ------------------------------------------------------------------------------------------------------ */

static ssize_t bot_recv(Bot *b, void *data, size_t n) {
#ifdef WITH_TLS
    if (b->ssl) {
        ERR_clear_error();
        int got = SSL_read(b->ssl, data, (int)n);
        if (got > 0) return got;
        int why = SSL_get_error(b->ssl, got);
        errno = EAGAIN;
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? -1 : 0;
    }
#endif
    return recv(b->fd, data, n, MSG_DONTWAIT);
}

static ssize_t bot_write(Bot *b, const void *data, size_t n) {
#ifdef WITH_TLS
    if (b->ssl) {
        ERR_clear_error();
        int done = SSL_write(b->ssl, data, (int)n);
        return done > 0 ? done : -1;
    }
#endif
    return send(b->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A message that the connection has no room for is dropped whole and counted: the relay does not read. */
static int bot_send(Bot *b, const uint8_t *data, size_t n) {
    while (b->pending) {
        ssize_t done = bot_write(b, b->out, b->pending);
        if (done <= 0) return 0;
        memmove(b->out, b->out + done, b->pending -= (size_t)done);
    }
    ssize_t done = bot_write(b, data, n);
    if (done == (ssize_t)n) return 1;
    if (done < 0) done = 0;
    if (n - (size_t)done > sizeof b->out) return 0;
    memcpy(b->out, data + done, b->pending = n - (size_t)done);
    return 1;
}

static void speak_to(Bot *b, Stamp s);

/* The bot keeps ahead of real time by LEAD frames, as bots do: what is measured is then how true the relay's clock
 * plays, and not whether an echo happens to come just before or just after a step of that clock. */
static void answer(Bot *b, Stamp heard) {
    for (; b->lead < LEAD; b->lead++) speak_to(b, (Stamp){.call = heard.call});
    speak_to(b, (Stamp){FROM_BOT, heard.measured, heard.call, now_ns()});
}

static void speak_to(Bot *b, Stamp s) {
    uint8_t message[1600], ulaw[FRAME], *text = message + 16, *frame;
    size_t n;
    memset(ulaw, 0x55, sizeof ulaw);
    write_stamp(ulaw, s);
    if (wide) {
        int16_t samples[2 * FRAME] = {0};
        if (s.tag) write_bits(samples, 2, s);
        memcpy(text, samples, n = sizeof samples);
    } else if (twilio) {
        n = (size_t)sprintf((char *)text, "{\"event\":\"media\",\"media\":{\"payload\":\"");
        n += (size_t)b64_encode(ulaw, FRAME, (char *)text + n);
        memcpy(text + n, "\"}}", 3);
        n += 3;
    } else {
        int16_t samples[FRAME];
        for (int i = 0; i < FRAME; i++) samples[i] = to_pcm[ulaw[i]];
        memcpy(text, samples, n = sizeof samples);
    }
    frame = ws_frame(text, n, twilio ? WS_TEXT : WS_BINARY, 0);
    if (bot_send(b, frame, (size_t)(text + n - frame))) bot_sent += s.measured;
    else bot_dropped++;
}

static long echoed, numbers_wrong, streams_heard;

/* What is said goes back as it is; of Twilio's numbers each is one more than the last. */
static void say_back(Bot *b, WsFrame *frame) {
    uint8_t message[4096], *text = message + 16, *end = frame->data + frame->size;
    uint8_t *numbered = memmem(frame->data, frame->size, "\"sequenceNumber\":\"", 18);
    long number = numbered ? atol((char *)numbered + 18) : 0;
    if (number) {
        numbers_wrong += number != b->number + 1;
        b->number = number;
    }
    char *at = payload_in(frame->data, frame->size);
    uint8_t *quote = at ? memchr(at, '"', (size_t)(end - (uint8_t *)at)) : NULL;
    if (!quote || quote - (uint8_t *)at > 3000) return;
    size_t n = (size_t)sprintf((char *)text, "{\"event\":\"media\",\"media\":{\"payload\":\"%.*s\"}}",
                               (int)(quote - (uint8_t *)at), at);
    uint8_t *out = ws_frame(text, n, WS_TEXT, 0);
    if (bot_send(b, out, (size_t)(text + n - out))) echoed++;
    else bot_dropped++;
    streams_heard += !b->lead;
    b->lead = 1;
}

static void take(Bot *b, WsFrame *frame) {
    uint8_t ulaw[STAMP], reply[160];
    Stamp s;
    if (frame->opcode == WS_PING || frame->opcode == WS_CLOSE) {
        size_t n = frame->size > 125 ? 125 : frame->size;
        memcpy(reply + 16, frame->data, n);
        uint8_t *at = ws_frame(reply + 16, n, frame->opcode == WS_PING ? WS_PONG : WS_CLOSE, 0);
        bot_send(b, at, (size_t)(reply + 16 + n - at));
        return;
    }
    if (echo) {
        say_back(b, frame);
        return;
    }
    if (frame->opcode == WS_TEXT && twilio) {
        char *at = payload_in(frame->data, frame->size);
        if (!at || b64_decode(at, 32, ulaw, STAMP) != STAMP) return;
    } else if (wide && frame->opcode == WS_BINARY && frame->size == 4 * FRAME) {
        int16_t samples[2 * FRAME];
        memcpy(samples, frame->data, sizeof samples);
        if (!read_bits(samples, 16000, &s) || s.tag != FROM_CALLER) return;
        goto heard;
    } else if (!wide && frame->opcode == WS_BINARY && frame->size >= 2 * STAMP) {
        uint16_t sample;
        for (int i = 0; i < STAMP; i++) {
            memcpy(&sample, frame->data + 2 * i, 2);
            ulaw[i] = to_ulaw[sample];
        }
    } else {
        return;
    }
    if (!read_stamp(ulaw, &s) || s.tag != FROM_CALLER) return;
heard:
    if (s.measured) {
        at_bot++;
        add(&in_us, now_ns() - s.at_ns, s.call);
    }
    answer(b, s);
}

static void hang_up(int index) {
    Bot *b = bots[index];
#ifdef WITH_TLS
    if (b->ssl) SSL_free(b->ssl);
#endif
    close(b->fd);
    free(b);
    bots[index] = NULL;
}

static void upgrade(Bot *b) {
    char key[160] = "", text[256], accept[40];
    uint8_t digest[20];
    b->in[b->have < sizeof b->in ? b->have : sizeof b->in - 1] = 0;
    char *at = strcasestr((char *)b->in, "sec-websocket-key:"), *end = strstr((char *)b->in, "\r\n\r\n");
    if (!at || !end) return;
    sscanf(at + 18, " %63s", key);
    strcat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    sha1(key, digest);
    accept[b64_encode(digest, 20, accept)] = 0;
    int n = sprintf(text,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    b->open = 1;
    b->have -= (size_t)(end + 4 - (char *)b->in);
    memmove(b->in, end + 4, b->have);
    bot_send(b, (uint8_t *)text, (size_t)n);
}

static void listen_to(int index) {
    Bot *b = bots[index];
    if (!b) return;
#ifdef WITH_TLS
    if (b->ssl && !b->secured) {
        int done = SSL_accept(b->ssl), why = SSL_get_error(b->ssl, done);
        b->secured = done == 1;
        if (done != 1 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) hang_up(index);
        if (done != 1) return;
    }
#endif
    for (;;) {
        size_t at = 0, size, room = sizeof b->in - 1 - b->have;
        ssize_t got = bot_recv(b, b->in + b->have, room);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            hang_up(index);
            return;
        }
        if (got < 0) return;
        b->have += (size_t)got;
        if (!b->open) upgrade(b);
        if (!b->open) continue;
        WsFrame frame;
        while ((size = ws_parse(b->in + at, b->have - at, &frame)) > 0) {
            take(b, &frame);
            at += size;
        }
        memmove(b->in, b->in + at, b->have -= at);
        if ((size_t)got < room
#ifdef WITH_TLS
            && !b->ssl
#endif
        )
            return;
    }
}

static void accept_bot(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (bot_count == bot_room) bots = realloc(bots, (size_t)(bot_room = bot_room ? bot_room * 2 : 64) * sizeof *bots);
        Bot *b = calloc(1, sizeof *b);
        b->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef WITH_TLS
        if (tls) {
            b->ssl = SSL_new(tls);
            SSL_set_fd(b->ssl, fd);
            SSL_set_mode(b->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        }
#endif
        bots[bot_count] = b;
        watch(fd, BOT, bot_count++);
    }
}

/* -- a run -------------------------------------------------------------------------------------------------------- */

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void begin_run(int calls, int warm_up_ms, int measured_ms) {
    active = calls < total ? calls : total;
    sent = at_bot = at_caller = bot_sent = bot_dropped = rtp_seen = 0;
    in_us.count = out_us.count = interval_us.count = late_us.count = 0;
    for (int i = 0; i < total; i++) callers[i].last_ns = 0;
    start_ns = now_ns() + 10000000;
    begin_ns = start_ns + (int64_t)warm_up_ms * 1000000;
    end_ns = begin_ns + (int64_t)measured_ms * 1000000;
    next_number = 0;
    running = 1;
    measuring = 0;
}

static void report(double cpu, double seconds, double worst_ms, long stalls) {
    size_t within = 0;
    for (size_t i = 0; i < interval_us.count; i++)
        within += interval_us.values[i] >= 18000 && interval_us.values[i] <= 22000;
    Samples *all[] = {&in_us, &out_us, &interval_us, &late_us};
    double wait = take_off_wait(&out_us);
    for (int i = 0; i < 4; i++) qsort(all[i]->values, all[i]->count, sizeof *all[i]->values, by_value);
    printf("{\"sent\": %ld, \"at_bot\": %ld, \"at_caller\": %ld, \"bot_sent\": %ld, \"bot_dropped\": %ld, \"rtp_seen\": %ld, "
           "\"p50_in_ms\": %.3f, \"p99_in_ms\": %.3f, \"p50_out_ms\": %.3f, \"p99_out_ms\": %.3f, \"wait_out_ms\": %.3f, "
           "\"interval_p50_ms\": %.3f, \"interval_p99_ms\": %.3f, \"interval_in_2ms\": %.5f, "
           "\"load_late_p99_ms\": %.3f, \"load_late_max_ms\": %.3f, \"load_cores\": %.3f, "
           "\"stall_max_ms\": %.3f, \"stalls\": %ld}\n",
           sent, at_bot, at_caller, bot_sent, bot_dropped, rtp_seen, percentile_ms(&in_us, .5), percentile_ms(&in_us, .99),
           percentile_ms(&out_us, .5), percentile_ms(&out_us, .99), wait, percentile_ms(&interval_us, .5),
           percentile_ms(&interval_us, .99), interval_us.count ? (double)within / (double)interval_us.count : 0,
           percentile_ms(&late_us, .99), percentile_ms(&late_us, 1), cpu / seconds, worst_ms, stalls);
    fflush(stdout);
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

/* Handles what there is until the run is over, or for ever while there is none. */
static void turn(int listener) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        int kind = (int)(events[i].data.u64 >> 32), index = (int)(uint32_t)events[i].data.u64;
        uint64_t ticks;
        if (kind == TIMER) {
            if (read(timer_fd, &ticks, sizeof ticks) > 0 && running) speak(now_ns());
        } else if (kind == ORDERS) exit(0); /* nothing but its end comes during a run */
        else if (kind == LISTENER) accept_bot(listener);
        else if (kind == CALLER) hear(index);
        else if (kind == BOT) listen_to(index);
        if (running) speak(now_ns());
    }
}

static void run(int listener, const char *order) {
    int port, calls, warm_up_ms, measured_ms, begun = 0, ended = 0, used = 0, more;
    double cpu = 0, worst_ms = 0;
    long stalls = 0;
    if (sscanf(order, "%d %d %d %n", &calls, &warm_up_ms, &measured_ms, &used) != 3) exit(2);
    order += used;
    for (int i = 0; i < total; i++) {
        if (sscanf(order, "%d %n", &port, &more) == 1) order += more;
        targets[i] = loopback(port);
    }
    struct itimerspec slots = {{0, SLOT_NS}, {0, SLOT_NS}}, off = {0};
    timerfd_settime(timer_fd, 0, &slots, NULL);
    begin_run(calls, warm_up_ms, measured_ms);
    while (now_ns() < end_ns + DRAIN_NS) {
        turn(listener);
        int64_t now = now_ns();
        if (!begun && now >= begin_ns) {
            begun = 1;
            atomic_store(&meter_worst_ns, 0);
            atomic_store(&meter_stalls, 0);
            cpu = cpu_s();
            say("begin");
        }
        if (!ended && now >= end_ns) {
            ended = 1;
            measuring = 0;
            cpu = cpu_s() - cpu;
            worst_ms = (double)atomic_load(&meter_worst_ns) / 1e6;
            stalls = atomic_load(&meter_stalls);
            say("end");
        }
    }
    timerfd_settime(timer_fd, 0, &off, NULL);
    report(cpu, measured_ms / 1000.0, worst_ms, stalls);
}

int main(int argc, char **argv) {
    pthread_t meter;
    static char order[1 << 17];
    if (argc != 3 && argc != 5) return 2;
    total = atoi(argv[1]);
    twilio = !strcmp(argv[2], "twilio");
    wide = !strcmp(argv[2], "raw16");
    echo = !strcmp(argv[2], "echo");
    targets = calloc((size_t)total, sizeof *targets);
    allow_many_files();
    make_ulaw();
    make_base64();
    if (argc == 5) {
#ifdef WITH_TLS
        tls = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_file(tls, argv[3], SSL_FILETYPE_PEM) != 1) die("certificate");
        if (SSL_CTX_use_PrivateKey_file(tls, argv[4], SSL_FILETYPE_PEM) != 1) die("key");
#else
        return 2;
#endif
    }
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = bound(SOCK_STREAM, 0);
    listen(listener, 1024);
    watch(timer_fd, TIMER, 0);
    watch(0, ORDERS, 0);
    watch(listener, LISTENER, 0);
    callers = calloc((size_t)total, sizeof *callers);
    printf("{\"ws_port\": %d, \"udp\": [", port_of(listener));
    for (int i = 0; i < total; i++) {
        callers[i].fd = bound(SOCK_DGRAM, 0);
        watch(callers[i].fd, CALLER, i);
        printf("%s%d", i ? ", " : "", port_of(callers[i].fd));
    }
    say("]}");
    pthread_create(&meter, NULL, stall_meter, NULL);
    struct epoll_event event;
    for (;;) {
        /* Between runs relays connect and leave; the order comes when they are ready. */
        if (epoll_wait(epoll_fd, &event, 1, -1) != 1) continue;
        int kind = (int)(event.data.u64 >> 32), index = (int)(uint32_t)event.data.u64;
        if (kind == LISTENER) accept_bot(listener);
        else if (kind == BOT) listen_to(index);
        else if (kind == CALLER) hear(index);
        else if (kind == ORDERS) {
            if (!fgets(order, sizeof order, stdin)) return 0;
            if (echo) {
                printf("{\"echoed\": %ld, \"dropped\": %ld, \"numbers_wrong\": %ld, \"streams\": %ld, \"cpu_s\": %.3f}\n",
                       echoed, bot_dropped, numbers_wrong, streams_heard, cpu_s());
                fflush(stdout);
                continue;
            }
            run(listener, order);
        }
    }
}
