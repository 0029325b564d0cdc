/* AVX-512 with VNNI: a quad of products per lane and instruction, a tile's sums in registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline

INLINE __m512i quad(const uint8_t *bytes) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Each sum is a variable of its own: compilers keep those in registers, and arrays in memory. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13)

/* The empty assembly keeps the compiler from sharing registers between sums that begin alike. */
#define DECLARE(n)                                  \
    __m512i low##n = start0, high##n = start1;      \
    if (n < count) {                                \
        __asm__("" : "+v"(low##n));                 \
        __asm__("" : "+v"(high##n));                \
    }

#define MULTIPLY(n)                                                                           \
    if (n < count) {                                                                          \
        const __m512i values = quad(n < first_count ? first + n * stride : second + (n - first_count) * stride); \
        low##n = _mm512_dpbusd_epi32(low##n, values, low);                                    \
        high##n = _mm512_dpbusd_epi32(high##n, values, high);                                 \
    }

#define ADD_TO_TOTAL(n)                                                                                      \
    if (n < count) {                                                                                         \
        const __m512 scale = _mm512_set1_ps(n < first_count ? first_scales[n * tile->scale_stride]           \
                                                            : second_scales[(n - first_count) * tile->scale_stride]); \
        add_to_total(totals + n * tile->total_stride, sums[2 * n], scale0, scale, begun, fused);             \
        add_to_total(totals + n * tile->total_stride + 16, sums[2 * n + 1], scale1, scale, begun, fused);    \
    }

#define KEEP(n)                                      \
    if (n < count) {                                 \
        _mm512_store_si512(&sums[2 * n], low##n);      \
        _mm512_store_si512(&sums[2 * n + 1], high##n); \
    }

INLINE void add_to_total(float *total, __m512i sum, __m512 weight_scale, __m512 scale, bool begun, bool fused) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), weight_scale);
    const __m512 before = begun ? _mm512_load_ps(total) : _mm512_setzero_ps();
    const __m512 after = fused ? _mm512_fmadd_ps(product, scale, before)
                               : _mm512_add_ps(before, _mm512_mul_ps(product, scale));
    _mm512_store_ps(total, after);
}

INLINE void tile_of(const struct tile *tile, const int first_count, const int second_count) {
    const int count = first_count + second_count;
    const int64_t stride = tile->byte_stride;
    const int8_t *weights = tile->weights;
    const float *weight_scales = tile->weight_scales;
    const int32_t *corrections = tile->corrections;
    float *const totals = tile->totals;
    const bool fused = tile->fused;
    __m512i sums[2 * TILE_POSITIONS];
    bool begun = false;
    for (int tap = 0; tap < tile->taps; tap++) {
        for (int block = 0; block < tile->blocks; block++) {
            __m512i start0 = _mm512_setzero_si512(), start1 = start0;
            if (corrections) {
                start0 = _mm512_loadu_si512(corrections);
                start1 = _mm512_loadu_si512(corrections + 16);
                corrections += PAIR;
            }
            EACH(DECLARE)
            const int64_t at = tile->tap_bytes[tap] + (int64_t)block * tile->block_bytes;
            const uint8_t *first = tile->bytes[0] + at;
            const uint8_t *second = second_count ? tile->bytes[1] + at : first;
            const int quads = block + 1 == tile->blocks ? tile->last_quads : tile->quads;
            for (int index = 0; index < quads; index++) {
                const __m512i low = _mm512_load_si512(weights), high = _mm512_load_si512(weights + 64);
                EACH(MULTIPLY)
                weights += 4 * PAIR;
                first += 4;
                second += 4;
            }
            /* Through memory: what follows needs registers too, and the loop would lose its own to that. */
            EACH(KEEP)
            __asm__ volatile("" : : "r"(sums) : "memory");
            const __m512 scale0 = _mm512_loadu_ps(weight_scales), scale1 = _mm512_loadu_ps(weight_scales + 16);
            weight_scales += PAIR;
            const float *first_scales = tile->scales[0] + tile->tap_scales[tap] + block;
            const float *second_scales = second_count ? tile->scales[1] + tile->tap_scales[tap] + block : first_scales;
            EACH(ADD_TO_TOTAL)
            begun = true;
        }
    }
}

#define ONE_RUN(n) \
    TARGET static void tile_##n(const struct tile *tile) { tile_of(tile, n, 0); }
#define TWO_RUNS(n) \
    TARGET static void tile_##n##_##n(const struct tile *tile) { tile_of(tile, n, n); }
#define LONG_RUN(n) \
    TARGET static void tile_7_##n(const struct tile *tile) { tile_of(tile, RUN_POSITIONS, n); }
ONE_RUN(1) ONE_RUN(2) ONE_RUN(3) ONE_RUN(4) ONE_RUN(5) ONE_RUN(6) ONE_RUN(7)
TWO_RUNS(1) TWO_RUNS(2) TWO_RUNS(3) TWO_RUNS(4) TWO_RUNS(5) TWO_RUNS(6) TWO_RUNS(7)
LONG_RUN(1) LONG_RUN(2) LONG_RUN(3) LONG_RUN(4) LONG_RUN(5) LONG_RUN(6)

typedef void tile_function(const struct tile *tile);
static tile_function *const one_run[] = {0, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7};
static tile_function *const two_runs[] = {0,        tile_1_1, tile_2_2, tile_3_3,
                                          tile_4_4, tile_5_5, tile_6_6, tile_7_7};
static tile_function *const long_run[] = {tile_7,   tile_7_1, tile_7_2, tile_7_3,
                                          tile_7_4, tile_7_5, tile_7_6, tile_7_7};

static void multiply(const struct tile *tile) {
    if (tile->count[1] == 0)
        one_run[tile->count[0]](tile);
    else if (tile->count[0] == tile->count[1])
        two_runs[tile->count[0]](tile);
    else
        long_run[tile->count[1]](tile);
}

INLINE __mmask16 lanes(int left) { return left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1); }

INLINE __m512 positive(__m512 values) {
    /* max gives its second operand where one is NaN or both are zero; adding +0 then turns -0 into +0 */
    const __m512 zero = _mm512_setzero_ps();
    return _mm512_add_ps(_mm512_max_ps(zero, values), zero);
}

INLINE __m256i halves_of(__m512 values) { return _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT); }

TARGET static void finish(const struct finish *finish, float *values, int count) {
    for (int at = 0; at < count; at += 16) {
        const __mmask16 mask = lanes(count - at);
        __m512 value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, values + at),
                                     _mm512_maskz_loadu_ps(mask, finish->bias + at));
        if (finish->relu) value = positive(value);
        if (!finish->is_float) {
            __m256i halves = halves_of(value);
            if (finish->middle) _mm256_mask_storeu_epi16((uint16_t *)finish->middle + at, mask, halves);
            value = _mm512_cvtph_ps(halves);
        } else if (finish->middle) {
            _mm512_mask_storeu_ps((float *)finish->middle + at, mask, value);
        }
        if (finish->added) {
            __m512 other = finish->added_is_float
                               ? _mm512_maskz_loadu_ps(mask, (const float *)finish->added + at)
                               : _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)finish->added + at));
            value = _mm512_add_ps(value, other);
            if (finish->add_relu) value = positive(value);
            if (!finish->is_float) value = _mm512_cvtph_ps(halves_of(value));
        }
        if (finish->out && finish->is_float) _mm512_mask_storeu_ps((float *)finish->out + at, mask, value);
        if (finish->out && !finish->is_float)
            _mm256_mask_storeu_epi16((uint16_t *)finish->out + at, mask, halves_of(value));
        _mm512_mask_storeu_ps(values + at, mask, value);
    }
}

TARGET static void to_float(float *values, const uint16_t *halves, int count) {
    for (int at = 0; at < count; at += 16) {
        const __mmask16 mask = lanes(count - at);
        _mm512_mask_storeu_ps(values + at, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, halves + at)));
    }
}

TARGET static void to_half(uint16_t *halves, const float *values, int count) {
    for (int at = 0; at < count; at += 16) {
        const __mmask16 mask = lanes(count - at);
        _mm256_mask_storeu_epi16(halves + at, mask, halves_of(_mm512_maskz_loadu_ps(mask, values + at)));
    }
}

TARGET static uint32_t largest(const float *values, int count) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i found = _mm512_setzero_si512();
    for (int at = 0; at < count; at += 16) {
        const __m512i bits = _mm512_maskz_loadu_epi32(lanes(count - at), values + at);
        found = _mm512_max_epu32(found, _mm512_and_si512(bits, magnitude));
    }
    return _mm512_reduce_max_epu32(found);
}

TARGET static void to_bytes(uint8_t *bytes, const float *values, int count, float inverse, int limit, uint8_t zero) {
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512 high = _mm512_set1_ps((float)limit), low = _mm512_set1_ps((float)-limit);
    const __m512i shift = _mm512_set1_epi32(zero);
    for (int at = 0; at < count; at += 16) {
        const __mmask16 mask = lanes(count - at);
        __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, values + at), factor);
        value = _mm512_max_ps(_mm512_min_ps(value, high), low);
        const __m512i integers = _mm512_add_epi32(_mm512_cvtps_epi32(value), shift);
        _mm_mask_storeu_epi8(bytes + at, mask, _mm512_cvtepi32_epi8(integers));
    }
}

const struct kernels vnni_kernels = {
    .name = "AVX-512 VNNI",
    .signed_zero = 128,
    .multiply = multiply,
    .finish = finish,
    .to_float = to_float,
    .to_half = to_half,
    .largest = largest,
    .to_bytes = to_bytes,
};
#endif
