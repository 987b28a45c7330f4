/* Audio from one format to another, and base64 (RFC 4648 section 4). The tables and kernels are Python's: one truth. */
#include "fastpath.h"
#include <math.h>
#include <string.h>

static uint16_t pairs[4096];
static int8_t values[256];

void make_base64(void) {
    const char *set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 4096; i++) memcpy(&pairs[i], (char[]){set[i >> 6], set[i & 63]}, 2);
    memset(values, -1, sizeof values);
    for (int i = 0; i < 64; i++) values[(uint8_t)set[i]] = (int8_t)i;
}

uint32_t put_base64(uint8_t *at, const uint8_t *in, uint32_t n) {
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

/* Strictly RFC 4648 section 4: bytes written, or -1. Never more than the input has. */
int64_t take_base64(const uint8_t *in, uint32_t n, uint8_t *out) {
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

typedef float Eight __attribute__((vector_size(32), aligned(4)));

/* `eights` times eight samples of each of four milliseconds, which do not wait for each other. */
static inline __attribute__((always_inline)) void product(const float *known, const Lane *lane, const uint32_t eights,
                                                          float *wave) {
    const float *one = known, *two = one + lane->block, *three = two + lane->block, *four = three + lane->block;
    for (uint32_t e = 0; e < eights; e++) {
        Eight a = {0}, b = {0}, c = {0}, d = {0};
        for (uint32_t w = 0; w < lane->width; w++) {
            Eight k = ((const Eight *)lane->kernel)[w * eights + e];
            a += one[w] * k, b += two[w] * k, c += three[w] * k, d += four[w] * k;
        }
        Eight *at = (Eight *)wave + e;
        at[0] = a, at[eights] = b, at[2 * eights] = c, at[3 * eights] = d;
    }
}

/* As audio/resample.py: each millisecond is a product of the samples around it with the kernel. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default")))
#endif
static void resample(const float *known, const Lane *lane, uint32_t blocks, float *wave) {
    for (uint32_t b = 0; b < blocks; b += 4, known += 4 * lane->block, wave += 4 * lane->made) switch (lane->made) {
        case 8: product(known, lane, 1, wave); break;
        case 16: product(known, lane, 2, wave); break;
        case 24: product(known, lane, 3, wave); break;
        default: product(known, lane, 6, wave);
    }
}

/* A frame of one row; `source` and `target` are apart. */
void convert(const Lane *lane, int64_t row, const uint8_t *source, uint8_t *target) {
    int16_t linear[MOST_FRAME / 2];
    uint32_t count = lane->to_linear ? lane->source_bytes : lane->source_bytes / 2;
    if (!lane->to_linear && !lane->from_linear && !lane->kernel) {
        memcpy(target, source, lane->source_bytes);
        return;
    }
    if (lane->to_linear)
        for (uint32_t i = 0; i < count; i++) linear[i] = lane->to_linear[source[i]];
    else memcpy(linear, source, lane->source_bytes);
    if (lane->kernel) {
        float known[512 + MOST_FRAME / 2], wave[MOST_FRAME / 2];
        uint32_t past_count = lane->width - lane->block, blocks = count / lane->block, made = blocks * lane->made;
        float *past = lane->past + (size_t)row * past_count;
        memcpy(known, past, past_count * sizeof *past);
        for (uint32_t i = 0; i < count; i++) known[past_count + i] = linear[i];
        memcpy(past, known + count, past_count * sizeof *past);
        resample(known, lane, blocks, wave);
        for (uint32_t i = 0; i < made; i++) {
            float v = rintf(wave[i]);
            linear[i] = (int16_t)(v < -32768 ? -32768 : v > 32767 ? 32767 : v);
        }
        count = made;
    }
    if (lane->from_linear)
        for (uint32_t i = 0; i < count; i++) target[i] = lane->from_linear[(uint16_t)linear[i]];
    else memcpy(target, linear, 2 * count);
}

enum { CLIPPED = 32100 }; /* as audio/levels.py */

/* What a frame sounds like, added to what was before; `table` is of its codes, NULL: it is linear. */
void add_sums(Sums *sums, const int16_t *table, const uint8_t *frame, uint32_t bytes) {
    int16_t linear[MOST_FRAME];
    uint32_t count = table ? bytes : bytes / 2;
    int64_t squares = 0;
    int32_t total = 0, least = 0, most = 0, clipped = 0;
    if (table)
        for (uint32_t i = 0; i < count; i++) linear[i] = table[frame[i]];
    else memcpy(linear, frame, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t v = linear[i];
        total += v, squares += (int64_t)(v * v);
        least = v < least ? v : least, most = v > most ? v : most;
        clipped += v >= CLIPPED || v <= -CLIPPED;
    }
    int64_t peak = -least > most ? -least : most;
    sums->samples += count, sums->total += total, sums->squares += squares, sums->clipped += clipped;
    if (peak > sums->peak) sums->peak = peak;
}
