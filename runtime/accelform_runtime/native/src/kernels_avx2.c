/* AVX2: pairs of products in 16 bits, added up there as long as they are sure to fit. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define TARGET __attribute__((target("avx2,f16c,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define VECTORS 4 /* of eight outputs */

INLINE __m256i quad(const uint8_t *bytes) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* The magnitudes as unsigned bytes, times weights that take over the signs. */
INLINE __m256i pairs_of(__m256i values, __m256i weights, const bool is_signed) {
    if (is_signed) return _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(weights, values));
    return _mm256_maddubs_epi16(values, weights);
}

INLINE void block_of(const uint8_t *const *bytes, const int count, const int8_t *weights, int quads, int span,
                     const bool is_signed, __m256i sums[2][VECTORS]) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int position = 0; position < count; position++)
        for (int vector = 0; vector < VECTORS; vector++) sums[position][vector] = _mm256_setzero_si256();
    for (int begin = 0; begin < quads; begin += span) {
        const int end = begin + span < quads ? begin + span : quads;
        __m256i a0 = _mm256_setzero_si256(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (int index = begin; index < end; index++) {
            const __m256i *row = (const __m256i *)(weights + (int64_t)index * 4 * PAIR);
            const __m256i a = quad(bytes[0] + 4 * index);
            a0 = _mm256_add_epi16(a0, pairs_of(a, _mm256_load_si256(row), is_signed));
            a1 = _mm256_add_epi16(a1, pairs_of(a, _mm256_load_si256(row + 1), is_signed));
            a2 = _mm256_add_epi16(a2, pairs_of(a, _mm256_load_si256(row + 2), is_signed));
            a3 = _mm256_add_epi16(a3, pairs_of(a, _mm256_load_si256(row + 3), is_signed));
            if (count > 1) {
                const __m256i b = quad(bytes[1] + 4 * index);
                b0 = _mm256_add_epi16(b0, pairs_of(b, _mm256_load_si256(row), is_signed));
                b1 = _mm256_add_epi16(b1, pairs_of(b, _mm256_load_si256(row + 1), is_signed));
                b2 = _mm256_add_epi16(b2, pairs_of(b, _mm256_load_si256(row + 2), is_signed));
                b3 = _mm256_add_epi16(b3, pairs_of(b, _mm256_load_si256(row + 3), is_signed));
            }
        }
        const __m256i pairs[2][VECTORS] = {{a0, a1, a2, a3}, {b0, b1, b2, b3}};
        for (int position = 0; position < count; position++)
            for (int vector = 0; vector < VECTORS; vector++)
                sums[position][vector] =
                    _mm256_add_epi32(sums[position][vector], _mm256_madd_epi16(pairs[position][vector], ones));
    }
}

INLINE void positions_of(const struct tile *tile, int from, const int count, int span, const bool is_signed) {
    const int8_t *weights = tile->weights;
    const float *weight_scales = tile->weight_scales;
    const uint8_t *bytes[2] = {0, 0};
    const float *scales[2] = {0, 0};
    for (int index = 0; index < count; index++) {
        const int run = from + index >= tile->count[0];
        const int64_t place = run ? from + index - tile->count[0] : from + index;
        bytes[index] = tile->bytes[run] + place * tile->byte_stride;
        scales[index] = tile->scales[run] + place * tile->scale_stride;
    }
    __m256 totals[2][VECTORS];
    for (int index = 0; index < 2; index++)
        for (int vector = 0; vector < VECTORS; vector++) totals[index][vector] = _mm256_setzero_ps();
    for (int number = 0; number < tile->part_count; number++) {
        const struct part *part = &tile->parts[number];
        const uint8_t *here[2] = {bytes[0] + part->bytes, count > 1 ? bytes[1] + part->bytes : 0};
        __m256i sums[2][VECTORS];
        block_of(here, count, weights, (int)part->quads, span, is_signed, sums);
        for (int index = 0; index < count; index++) {
            const __m256 scale = _mm256_set1_ps(scales[index][part->scales]);
            for (int vector = 0; vector < VECTORS; vector++) {
                const __m256 product =
                    _mm256_mul_ps(_mm256_cvtepi32_ps(sums[index][vector]), _mm256_loadu_ps(weight_scales + 8 * vector));
                totals[index][vector] = _mm256_add_ps(totals[index][vector], _mm256_mul_ps(product, scale));
            }
        }
        weights += part->quads * 4 * PAIR;
        weight_scales += PAIR;
    }
    for (int index = 0; index < count; index++)
        for (int vector = 0; vector < VECTORS; vector++)
            _mm256_storeu_ps(tile->totals + (from + index) * tile->total_stride + 8 * vector, totals[index][vector]);
}

TARGET static void multiply(const struct tile *tile) {
    const int span = 32767 / (2 * tile->limit * tile->limit);
    const int count = tile->count[0] + tile->count[1];
    int from = 0;
    for (; from + 1 < count; from += 2)
        tile->is_signed ? positions_of(tile, from, 2, span, true) : positions_of(tile, from, 2, span, false);
    if (from < count)
        tile->is_signed ? positions_of(tile, from, 1, span, true) : positions_of(tile, from, 1, span, false);
}

TARGET static uint32_t largest(const float *values, int count) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i found = _mm256_setzero_si256();
    int at = 0;
    for (; at + 8 <= count; at += 8)
        found = _mm256_max_epu32(
            found, _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(values + at)), magnitude));
    uint32_t lanes[8], most = portable_kernels.largest(values + at, count - at);
    _mm256_storeu_si256((__m256i *)lanes, found);
    for (int lane = 0; lane < 8; lane++)
        if (lanes[lane] > most) most = lanes[lane];
    return most;
}

INLINE __m256 positive(__m256 values) {
    const __m256 zero = _mm256_setzero_ps();
    return _mm256_add_ps(_mm256_max_ps(zero, values), zero);
}

INLINE __m128i halves_of(__m256 values) { return _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT); }

TARGET static uint32_t finish(const struct finish *finish, float *values, int count) {
    int at = 0;
    for (; at + 8 <= count; at += 8) {
        __m256 value = _mm256_add_ps(_mm256_loadu_ps(values + at), _mm256_loadu_ps(finish->bias + at));
        if (finish->relu) value = positive(value);
        if (!finish->is_float) {
            const __m128i halves = halves_of(value);
            if (finish->middle) _mm_storeu_si128((__m128i *)((uint16_t *)finish->middle + at), halves);
            value = _mm256_cvtph_ps(halves);
        } else if (finish->middle) {
            _mm256_storeu_ps((float *)finish->middle + at, value);
        }
        if (finish->added) {
            const __m256 other =
                finish->added_is_float
                    ? _mm256_loadu_ps((const float *)finish->added + at)
                    : _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const uint16_t *)finish->added + at)));
            value = _mm256_add_ps(value, other);
            if (finish->add_relu) value = positive(value);
            if (!finish->is_float) value = _mm256_cvtph_ps(halves_of(value));
        }
        if (finish->out && finish->is_float) _mm256_storeu_ps((float *)finish->out + at, value);
        if (finish->out && !finish->is_float)
            _mm_storeu_si128((__m128i *)((uint16_t *)finish->out + at), halves_of(value));
        _mm256_storeu_ps(values + at, value);
    }
    const uint32_t most = largest(values, at);
    if (at == count) return most;
    struct finish rest = *finish;
    const int size = finish->is_float ? 4 : 2, added_size = finish->added_is_float ? 4 : 2;
    rest.bias += at;
    if (rest.middle) rest.middle = (char *)rest.middle + (int64_t)at * size;
    if (rest.added) rest.added = (const char *)rest.added + (int64_t)at * added_size;
    if (rest.out) rest.out = (char *)rest.out + (int64_t)at * size;
    const uint32_t more = portable_kernels.finish(&rest, values + at, count - at);
    return more > most ? more : most;
}

TARGET static void maximum(float *most, const uint16_t *halves, int count) {
    int at = 0;
    for (; at + 8 <= count; at += 8) {
        const __m256 old = _mm256_loadu_ps(most + at);
        const __m256 value = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + at)));
        /* max gives its second operand where one is NaN: that is the old one if it is */
        const __m256 stays = _mm256_cmp_ps(old, old, _CMP_UNORD_Q);
        _mm256_storeu_ps(most + at, _mm256_blendv_ps(_mm256_max_ps(old, value), old, stays));
    }
    portable_kernels.maximum(most + at, halves + at, count - at);
}

TARGET static void to_float(float *values, const uint16_t *halves, int count) {
    int at = 0;
    for (; at + 8 <= count; at += 8)
        _mm256_storeu_ps(values + at, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + at))));
    portable_kernels.to_float(values + at, halves + at, count - at);
}

TARGET static void to_half(uint16_t *halves, const float *values, int count) {
    int at = 0;
    for (; at + 8 <= count; at += 8)
        _mm_storeu_si128((__m128i *)(halves + at), halves_of(_mm256_loadu_ps(values + at)));
    portable_kernels.to_half(halves + at, values + at, count - at);
}

TARGET static void to_bytes(uint8_t *bytes, const float *values, int count, float inverse, int limit, uint8_t zero) {
    const __m256 factor = _mm256_set1_ps(inverse);
    const __m256 high = _mm256_set1_ps((float)limit), low = _mm256_set1_ps((float)-limit);
    int at = 0;
    for (; at + 8 <= count; at += 8) {
        __m256 value = _mm256_mul_ps(_mm256_loadu_ps(values + at), factor);
        value = _mm256_max_ps(_mm256_min_ps(value, high), low);
        const __m256i wide = _mm256_cvtps_epi32(value);
        const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
        _mm_storel_epi64((__m128i *)(bytes + at), _mm_packs_epi16(halves, halves));
    }
    portable_kernels.to_bytes(bytes + at, values + at, count - at, inverse, limit, zero);
}

const struct kernels avx2_kernels = {
    .name = "AVX2",
    .signed_zero = 0,
    .multiply = multiply,
    .finish = finish,
    .maximum = maximum,
    .to_float = to_float,
    .to_half = to_half,
    .largest = largest,
    .to_bytes = to_bytes,
};
#endif
