/* What the load generator and the reference relay share: clock, G.711 mu-law, base64, RTP header, WebSocket frames.
 *
 * RTP: RFC 3550 section 5.1. WebSocket: RFC 6455 sections 4 and 5.2. Mu-law: ITU-T G.711 as connector/audio/g711.py.
 */
#ifndef WIRE_H
#define WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 160, RTP_HEADER = 12, RTP_BYTES = RTP_HEADER + FRAME, B64_FRAME = 216, FRAME_NS = 20000000 };

__attribute__((noreturn, unused)) static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

__attribute__((unused)) static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

__attribute__((unused)) static void allow_many_files(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

__attribute__((unused)) static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

__attribute__((unused)) static int bound(int type, int port) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = loopback(port);
    socklen_t size = sizeof a;
    if (fd < 0) die("socket");
    if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, size) < 0) die("bind");
    return fd;
}

__attribute__((unused)) static int port_of(int fd) {
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &size);
    return ntohs(a.sin_port);
}

/* -- audio ------------------------------------------------------------------------------------------------------ */

static int16_t to_pcm[256];
static uint8_t to_ulaw[65536]; /* by the sample's 16 bits */

__attribute__((unused)) static void make_ulaw(void) {
    for (int i = 0; i < 256; i++) {
        int code = ~i & 0xff, magnitude = (((code & 15) << 3) + 0x84) << (code >> 4 & 7);
        to_pcm[i] = (int16_t)(code & 0x80 ? 0x84 - magnitude : magnitude - 0x84);
    }
    for (int s = -32768; s < 32768; s++) {
        int biased = ((s < 0 ? ~s : s) >> 2) + 33, segment = 0;
        if (biased > 0x1fff) biased = 0x1fff;
        while (biased >> (6 + segment)) segment++;
        int code = segment << 4 | (biased >> (segment + 1) & 15);
        to_ulaw[(uint16_t)s] = (uint8_t)~(s < 0 ? code | 0x80 : code);
    }
}

static uint16_t b64_pair[4096];
static int8_t b64_value[256];

__attribute__((unused)) static void make_base64(void) {
    const char *set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 4096; i++) {
        char pair[2] = {set[i >> 6], set[i & 63]};
        memcpy(&b64_pair[i], pair, 2);
    }
    memset(b64_value, -1, sizeof b64_value);
    for (int i = 0; i < 64; i++) b64_value[(uint8_t)set[i]] = (int8_t)i;
}

__attribute__((unused)) static int b64_encode(const uint8_t *in, int n, char *out) {
    char *at = out;
    for (; n >= 3; n -= 3, in += 3, at += 4) {
        memcpy(at, &b64_pair[in[0] << 4 | in[1] >> 4], 2);
        memcpy(at + 2, &b64_pair[(in[1] & 15) << 8 | in[2]], 2);
    }
    if (n) {
        int second = n == 2 ? in[1] : 0;
        memcpy(at, &b64_pair[in[0] << 4 | second >> 4], 2);
        memcpy(at + 2, &b64_pair[(second & 15) << 8], 2);
        at[3] = '=';
        if (n == 1) at[2] = '=';
        at += 4;
    }
    return (int)(at - out);
}

/* Bytes written; stops at the first character that is none of base64. */
__attribute__((unused)) static int b64_decode(const char *in, int n, uint8_t *out, int room) {
    uint32_t bits = 0;
    int have = 0, count = 0;
    for (int i = 0; i < n && count < room; i++) {
        int value = b64_value[(uint8_t)in[i]];
        if (value < 0) break;
        bits = bits << 6 | (uint32_t)value;
        if ((have += 6) >= 8) out[count++] = (uint8_t)(bits >> (have -= 8));
    }
    return count;
}

/* Where the base64 of a Twilio `media` message begins, however its JSON is spaced; NULL when it has none. */
__attribute__((unused)) static char *payload_in(uint8_t *text, size_t n) {
    uint8_t *end = text + n, *at = memmem(text, n, "\"payload\":", 10);
    if (!at) return NULL;
    for (at += 10; at < end && *at == ' ';) at++;
    return at < end && *at == '"' ? (char *)at + 1 : NULL;
}

__attribute__((unused)) static void rtp_header(uint8_t *p, uint16_t sequence, uint32_t timestamp, uint32_t ssrc) {
    uint16_t s = htons(sequence);
    uint32_t t = htonl(timestamp), id = htonl(ssrc);
    p[0] = 0x80;
    p[1] = 0;
    memcpy(p + 2, &s, 2);
    memcpy(p + 4, &t, 4);
    memcpy(p + 8, &id, 4);
}

/* -- WebSocket ---------------------------------------------------------------------------------------------------- */

enum { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

typedef struct {
    int opcode;
    uint8_t *data;
    size_t size;
} WsFrame;

static inline void ws_xor(uint8_t *data, size_t n, uint32_t mask) {
    uint64_t wide = (uint64_t)mask << 32 | mask, word;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < n; i++) data[i] ^= ((uint8_t *)&mask)[i & 3];
}

/* Puts the header before `data`, where 14 bytes must be free; masks in place. Gives the first byte of the frame. */
__attribute__((unused)) static uint8_t *ws_frame(uint8_t *data, size_t n, int opcode, uint32_t mask) {
    uint8_t *at = data;
    if (mask) {
        at -= 4;
        memcpy(at, &mask, 4);
        ws_xor(data, n, mask);
    }
    if (n < 126) {
        *--at = (uint8_t)n;
    } else {
        *--at = (uint8_t)n;
        *--at = (uint8_t)(n >> 8);
        *--at = 126;
    }
    if (mask) at[0] |= 0x80;
    *--at = (uint8_t)(0x80 | opcode);
    return at;
}

/* Bytes of the frame at the start of `p`, or 0 when it is not whole. Unmasks in place. */
__attribute__((unused)) static size_t ws_parse(uint8_t *p, size_t have, WsFrame *frame) {
    if (have < 2) return 0;
    size_t head = 2, n = p[1] & 0x7f;
    if (n == 126) {
        if (have < 4) return 0;
        n = (size_t)p[2] << 8 | p[3];
        head = 4;
    } else if (n == 127) {
        if (have < 10) return 0;
        n = (size_t)p[6] << 24 | (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
        head = 10;
    }
    int masked = p[1] & 0x80;
    if (masked) head += 4;
    if (have < head + n) return 0;
    if (masked) {
        uint32_t mask;
        memcpy(&mask, p + head - 4, 4);
        ws_xor(p + head, n, mask);
    }
    *frame = (WsFrame){p[0] & 15, p + head, n};
    return head + n;
}

/* SHA-1 (FIPS 180-4) of a short text, for Sec-WebSocket-Accept. */
__attribute__((unused)) static void sha1(const char *text, uint8_t out[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t block[128] = {0};
    size_t n = strlen(text), blocks = (n + 8) / 64 + 1;
    memcpy(block, text, n);
    block[n] = 0x80;
    for (int i = 0; i < 8; i++) block[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], v[5];
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 16; i++) {
            uint8_t *p = block + b * 64 + i * 4;
            w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        }
#define ROTATE(x, k) ((x) << (k) | (x) >> (32 - (k)))
        for (int i = 16; i < 80; i++) w[i] = ROTATE(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (v[1] & v[2]) | (~v[1] & v[3]), k = 0x5a827999;
            else if (i < 40) f = v[1] ^ v[2] ^ v[3], k = 0x6ed9eba1;
            else if (i < 60) f = (v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3]), k = 0x8f1bbcdc;
            else f = v[1] ^ v[2] ^ v[3], k = 0xca62c1d6;
            uint32_t next = ROTATE(v[0], 5) + f + v[4] + k + w[i];
            v[4] = v[3], v[3] = v[2], v[2] = ROTATE(v[1], 30), v[1] = v[0], v[0] = next;
        }
        for (int i = 0; i < 5; i++) h[i] += v[i];
    }
    for (int i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
