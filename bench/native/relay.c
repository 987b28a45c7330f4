/* The reference: the least that a relay between RTP and WebSockets has to do, in C, one thread, driven by events.
 *
 *   relay WS_PORT twilio|raw|raw16   with the UDP ports of the callers on standard input, in one line
 *
 * It dials one WebSocket for each caller, prints {"port": N}, and relays until standard input ends. What comes from a
 * bot goes to the caller at once: there is no pacing, no playout buffer and no statistics in here. 16 kHz is made of 8
 * by a straight line between samples, and 8 of 16 by the mean of two: no filter, as nobody should do it.
 */
#include "wire.h"

enum { BATCH = 256, EVENTS = 256 };

typedef struct {
    int fd;
    struct sockaddr_in caller;
    uint16_t sequence;
    uint32_t timestamp, ssrc;
    unsigned numbered, media_ms;
    int16_t last;
    size_t have;
    uint8_t in[4096];
} Call;

static Call *calls;
static int by_port[65536];
static int udp, twilio, wide;
static uint32_t mask_state = 0x9e3779b9;

static struct mmsghdr out_headers[BATCH], in_headers[BATCH];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static uint8_t out_packets[BATCH][RTP_BYTES], in_packets[BATCH][2048];
static struct sockaddr_in in_sources[BATCH];
static int out_count;

static uint32_t next_mask(void) {
    mask_state ^= mask_state << 13;
    mask_state ^= mask_state >> 17;
    mask_state ^= mask_state << 5;
    return mask_state;
}

static void flush(void) {
    for (int done = 0; done < out_count;) {
        int n = sendmmsg(udp, out_headers + done, (unsigned)(out_count - done), 0);
        if (n <= 0) break;
        done += n;
    }
    out_count = 0;
}

static void send_all(int fd, const uint8_t *data, size_t n) {
    while (n) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return;
        if (sent > 0) data += sent, n -= (size_t)sent;
    }
}

static void to_bot(Call *call, const uint8_t *ulaw) {
    uint8_t message[720], *text = message + 16, *frame;
    size_t n;
    if (twilio) {
        call->numbered++;
        n = (size_t)sprintf((char *)text,
                            "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"media\":{\"track\":\"inbound\",\"chunk\":\"%u\","
                            "\"timestamp\":\"%u\",\"payload\":\"",
                            call->numbered, call->numbered, call->media_ms);
        n += (size_t)b64_encode(ulaw, FRAME, (char *)text + n);
        n += (size_t)sprintf((char *)text + n, "\"},\"streamSid\":\"MZ%032x\"}", call->ssrc);
        call->media_ms += 20;
    } else if (wide) {
        int16_t samples[2 * FRAME];
        for (int i = 0; i < FRAME; i++) {
            int next = to_pcm[ulaw[i]];
            samples[2 * i] = (int16_t)((call->last + next) / 2), samples[2 * i + 1] = call->last = (int16_t)next;
        }
        memcpy(text, samples, n = sizeof samples);
    } else {
        int16_t samples[FRAME];
        for (int i = 0; i < FRAME; i++) samples[i] = to_pcm[ulaw[i]];
        memcpy(text, samples, n = sizeof samples);
    }
    frame = ws_frame(text, n, twilio ? WS_TEXT : WS_BINARY, next_mask());
    send_all(call->fd, frame, (size_t)(text + n - frame));
}

static void to_caller(Call *call, WsFrame *frame) {
    uint8_t *packet = out_packets[out_count];
    if (frame->opcode == WS_TEXT && twilio) {
        char *at = payload_in(frame->data, frame->size);
        if (!at) return;
        int left = (int)((char *)frame->data + frame->size - at);
        if (b64_decode(at, left, packet + RTP_HEADER, FRAME) != FRAME) return;
    } else if (wide && frame->opcode == WS_BINARY && frame->size == 4 * FRAME) {
        int16_t samples[2 * FRAME];
        memcpy(samples, frame->data, sizeof samples);
        for (int i = 0; i < FRAME; i++)
            packet[RTP_HEADER + i] = to_ulaw[(uint16_t)(int16_t)((samples[2 * i] + samples[2 * i + 1]) / 2)];
    } else if (frame->opcode == WS_BINARY && frame->size == 2 * FRAME) {
        uint16_t sample;
        for (int i = 0; i < FRAME; i++) {
            memcpy(&sample, frame->data + 2 * i, 2);
            packet[RTP_HEADER + i] = to_ulaw[sample];
        }
    } else {
        return;
    }
    rtp_header(packet, call->sequence++, call->timestamp, call->ssrc);
    call->timestamp += FRAME;
    out_headers[out_count].msg_hdr.msg_name = &call->caller;
    if (++out_count == BATCH) flush();
}

static void read_udp(void) {
    int n = recvmmsg(udp, in_headers, BATCH, 0, NULL);
    for (int i = 0; i < n; i++) {
        uint8_t *p = in_packets[i];
        int index = by_port[in_sources[i].sin_port];
        if (index >= 0 && in_headers[i].msg_len == RTP_BYTES && p[0] == 0x80 && (p[1] & 0x7f) == 0)
            to_bot(&calls[index], p + RTP_HEADER);
    }
}

static void read_bot(Call *call) {
    ssize_t got = recv(call->fd, call->in + call->have, sizeof call->in - call->have, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) close(call->fd);
        return;
    }
    call->have += (size_t)got;
    size_t at = 0, size;
    WsFrame frame;
    while ((size = ws_parse(call->in + at, call->have - at, &frame)) > 0) {
        to_caller(call, &frame);
        at += size;
    }
    memmove(call->in, call->in + at, call->have -= at);
}

static void dial(Call *call, int port) {
    struct sockaddr_in bot = loopback(port);
    char answer[1024];
    size_t have = 0;
    int one = 1;
    call->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(call->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (call->fd < 0 || connect(call->fd, (struct sockaddr *)&bot, sizeof bot) < 0) die("connect");
    dprintf(call->fd, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    while (have < 4 || memcmp(answer + have - 4, "\r\n\r\n", 4)) {
        ssize_t n = read(call->fd, answer + have, 1);
        if (n <= 0 || ++have == sizeof answer) die("upgrade");
    }
    fcntl(call->fd, F_SETFL, O_NONBLOCK);
}

int main(int argc, char **argv) {
    int port, count = 0, room = 16;
    if (argc != 3) return 2;
    twilio = !strcmp(argv[2], "twilio");
    wide = !strcmp(argv[2], "raw16");
    allow_many_files();
    make_ulaw();
    make_base64();
    memset(by_port, -1, sizeof by_port);
    calls = malloc((size_t)room * sizeof *calls);
    for (char after = ' '; after != '\n' && scanf("%d%c", &port, &after) == 2; count++) {
        if (count == room) calls = realloc(calls, (size_t)(room *= 2) * sizeof *calls);
        calls[count] = (Call){.caller = loopback(port), .ssrc = (uint32_t)count + 1};
        by_port[htons((uint16_t)port)] = count;
    }
    udp = bound(SOCK_DGRAM, 0);
    int size = 4 << 20;
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    for (int i = 0; i < BATCH; i++) {
        in_parts[i] = (struct iovec){in_packets[i], sizeof in_packets[i]};
        in_headers[i].msg_hdr = (struct msghdr){.msg_name = &in_sources[i], .msg_namelen = sizeof in_sources[i],
                                                .msg_iov = &in_parts[i], .msg_iovlen = 1};
        out_parts[i] = (struct iovec){out_packets[i], RTP_BYTES};
        out_headers[i].msg_hdr = (struct msghdr){.msg_namelen = sizeof(struct sockaddr_in),
                                                 .msg_iov = &out_parts[i], .msg_iovlen = 1};
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 0}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, udp, &event);
    event.data.u32 = 1;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (int i = 0; i < count; i++) {
        dial(&calls[i], atoi(argv[1]));
        event.data.u32 = (uint32_t)i + 2;
        epoll_ctl(epoll, EPOLL_CTL_ADD, calls[i].fd, &event);
    }
    printf("{\"port\": %d}\n", port_of(udp));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == 0) read_udp();
            else if (events[i].data.u32 == 1) return 0;
            else read_bot(&calls[events[i].data.u32 - 2]);
        }
        flush();
    }
}
