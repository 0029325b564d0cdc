/* What differs from processor to processor: products of blocks, and passes over rows of values. */
#ifndef ACCELFORM_KERNELS_H
#define ACCELFORM_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#define RUN_POSITIONS 7                    /* positions at equal distance that a tile takes at most */
#define TILE_POSITIONS (2 * RUN_POSITIONS) /* a tile is one or two such runs */
#define STRIP_TILES 8                      /* tiles that are computed with the same weights at most */
#define PAIR 32                            /* outputs that a tile gives: two vectors of 16 */

/* A block under a tap of the kernel: where it lies, seen from the first tap's first block. */
struct part {
    int64_t bytes, scales;
    int64_t quads; /* groups of four channels */
};

/* The sums of up to 14 positions and 32 outputs, over all taps and blocks in the canonical order.
 *
 * Weights lie as [part][quad][32 outputs][4], steps of weights as [part][32].
 */
struct tile {
    const uint8_t *bytes[2]; /* of the first position of each run */
    const float *scales[2];
    int count[2]; /* positions of each run; the first is RUN_POSITIONS long if the second is of the same row */
    int64_t byte_stride, scale_stride;
    const struct part *parts; /* one after the other in the canonical order */
    int part_count;
    int quads; /* of every part, if all have as many; else 0 */
    const int8_t *weights;
    const float *weight_scales;
    const int32_t *corrections; /* what to start a block's sum from; NULL: zero */
    bool fused;                 /* products with both steps are exact, so that adding may be fused */
    float *totals;              /* [positions][total_stride] */
    int64_t total_stride;
    bool is_signed; /* bytes are signed; else from 0 to `limit`, or above zero by `signed_zero` */
    int limit;      /* 2^m - 1 */
};

/* One position's channels on their way from sum to result. Unused pointers are NULL. */
struct finish {
    const float *bias;
    bool relu, add_relu, is_float;
    void *middle;
    const void *added;
    bool added_is_float;
    void *out;
};

struct kernels {
    const char *name;
    uint8_t signed_zero; /* added to every signed value, so that bytes are unsigned */
    void (*multiply)(const struct tile *tile);
    uint32_t (*finish)(const struct finish *finish, float *values, int count); /* as `largest` of the results */
    void (*maximum)(float *most, const uint16_t *halves, int count); /* a NaN is larger than all */
    void (*to_float)(float *values, const uint16_t *halves, int count);
    void (*to_half)(uint16_t *halves, const float *values, int count);
    uint32_t (*largest)(const float *values, int count); /* bits of the largest magnitude; a NaN is the largest */
    /* Rounds to nearest, ties to even, clips and adds `zero`. */
    void (*to_bytes)(uint8_t *bytes, const float *values, int count, float inverse, int limit, uint8_t zero);
};

extern const struct kernels portable_kernels;
#if defined(__x86_64__)
extern const struct kernels avx2_kernels, vnni_kernels;
#endif

/* The best set for this processor, or the one asked for (1 portable, 2 AVX2, 3 AVX-512 VNNI); NULL: it can't run. */
const struct kernels *kernels_choose(int64_t backend);
int kernels_best(void);

#endif
