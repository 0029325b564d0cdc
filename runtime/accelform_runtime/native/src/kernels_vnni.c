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
    for (int number = 0; number < tile->part_count; number++) {
        const struct part *part = &tile->parts[number];
        __m512i start0 = _mm512_setzero_si512(), start1 = start0;
        if (corrections) {
            start0 = _mm512_loadu_si512(corrections);
            start1 = _mm512_loadu_si512(corrections + 16);
            corrections += PAIR;
        }
        EACH(DECLARE)
        const uint8_t *first = tile->bytes[0] + part->bytes;
        const uint8_t *second = second_count ? tile->bytes[1] + part->bytes : first;
        for (int64_t left = part->quads; left > 0; left--) {
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
        const float *first_scales = tile->scales[0] + part->scales;
        const float *second_scales = second_count ? tile->scales[1] + part->scales : first_scales;
        EACH(ADD_TO_TOTAL)
        begun = true;
    }
}

/* For blocks of one or two quads: one vector of outputs at a time, so that its totals stay in registers. */
/* Keeps the compiler from computing, and spilling, every position's address ahead of the loop. */
#define OPAQUE(pointer) __asm__("" : "+r"(pointer));

#define BEGIN(n) __m512 total##n = _mm512_setzero_ps();

#define SHORT_BLOCK(n)                                                                                            \
    if (n < count) {                                                                                              \
        const uint8_t *bytes = n < first_count ? first + n * stride : second + (n - first_count) * stride;        \
        __m512i sum = _mm512_dpbusd_epi32(start, quad(bytes), vector0);                                           \
        if (quads > 1) sum = _mm512_dpbusd_epi32(sum, quad(bytes + 4), vector1);                                  \
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), weight_scale);                              \
        const __m512 scale = _mm512_set1_ps(n < first_count ? first_scales[n * scale_stride]                      \
                                                            : second_scales[(n - first_count) * scale_stride]);   \
        total##n = fused ? _mm512_fmadd_ps(product, scale, total##n)                                              \
                         : _mm512_add_ps(total##n, _mm512_mul_ps(product, scale));                                \
    }

#define STORE_ONE(n) \
    if (n < count) _mm512_store_ps(tile->totals + n * tile->total_stride + 16 * half, total##n);

INLINE void short_of(const struct tile *tile, const int first_count, const int second_count, const int quads) {
    const int count = first_count + second_count;
    const int64_t stride = tile->byte_stride, scale_stride = tile->scale_stride;
    const bool fused = tile->fused;
    for (int half = 0; half < 2; half++) {
        const int8_t *weights = tile->weights + 64 * half;
        const float *weight_scales = tile->weight_scales + 16 * half;
        const int32_t *corrections = tile->corrections ? tile->corrections + 16 * half : NULL;
        EACH(BEGIN)
        for (int number = 0; number < tile->part_count; number++) {
            const struct part *part = &tile->parts[number];
            __m512i start = _mm512_setzero_si512();
            if (corrections) {
                start = _mm512_loadu_si512(corrections);
                corrections += PAIR;
            }
            const uint8_t *first = tile->bytes[0] + part->bytes;
            const uint8_t *second = second_count ? tile->bytes[1] + part->bytes : first;
            const __m512i vector0 = _mm512_load_si512(weights);
            const __m512i vector1 = quads > 1 ? _mm512_load_si512(weights + 4 * PAIR) : vector0;
            weights += 4 * PAIR * quads;
            const __m512 weight_scale = _mm512_loadu_ps(weight_scales);
            weight_scales += PAIR;
            const float *first_scales = tile->scales[0] + part->scales;
            const float *second_scales = second_count ? tile->scales[1] + part->scales : first_scales;
            OPAQUE(first) OPAQUE(second) OPAQUE(first_scales) OPAQUE(second_scales)
            EACH(SHORT_BLOCK)
        }
        EACH(STORE_ONE)
    }
}

typedef void tile_function(const struct tile *tile);

/* Functions for one run of up to 7 positions, two runs of as many, and a run of 7 with one of up to 7. */
#define FUNCTION(name, body, first_count, second_count) \
    TARGET static void name(const struct tile *tile) { body(tile, first_count, second_count); }
#define FUNCTIONS(name, body)                                                                                      \
    FUNCTION(name##1, body, 1, 0) FUNCTION(name##2, body, 2, 0) FUNCTION(name##3, body, 3, 0)                      \
    FUNCTION(name##4, body, 4, 0) FUNCTION(name##5, body, 5, 0) FUNCTION(name##6, body, 6, 0)                      \
    FUNCTION(name##7, body, 7, 0) FUNCTION(name##1_1, body, 1, 1) FUNCTION(name##2_2, body, 2, 2)                  \
    FUNCTION(name##3_3, body, 3, 3) FUNCTION(name##4_4, body, 4, 4) FUNCTION(name##5_5, body, 5, 5)                \
    FUNCTION(name##6_6, body, 6, 6) FUNCTION(name##7_7, body, 7, 7) FUNCTION(name##7_1, body, 7, 1)                \
    FUNCTION(name##7_2, body, 7, 2) FUNCTION(name##7_3, body, 7, 3) FUNCTION(name##7_4, body, 7, 4)                \
    FUNCTION(name##7_5, body, 7, 5) FUNCTION(name##7_6, body, 7, 6)                                                \
    static tile_function *const name##functions[3][8] = {                                                          \
        {0, name##1, name##2, name##3, name##4, name##5, name##6, name##7},                                        \
        {0, name##1_1, name##2_2, name##3_3, name##4_4, name##5_5, name##6_6, name##7_7},                          \
        {0, name##7_1, name##7_2, name##7_3, name##7_4, name##7_5, name##7_6, name##7_7},                          \
    };

#define SHORT_1(tile, first_count, second_count) short_of(tile, first_count, second_count, 1)
#define SHORT_2(tile, first_count, second_count) short_of(tile, first_count, second_count, 2)
FUNCTIONS(long_, tile_of)
FUNCTIONS(short1_, SHORT_1)
FUNCTIONS(short2_, SHORT_2)

static void multiply(const struct tile *tile) {
    const int row = tile->count[1] == 0 ? 0 : tile->count[0] == tile->count[1] ? 1 : 2;
    const int column = tile->count[row > 0];
    tile_function *function = long_functions[row][column];
    if (tile->quads == 1) function = short1_functions[row][column];
    if (tile->quads == 2) function = short2_functions[row][column];
    function(tile);
}

INLINE __mmask16 lanes(int left) { return (__mmask16)((1u << left) - 1); }

/* Loads and stores of 16 values, or of those under the mask; what was stored under a mask is slow to load. */
INLINE __m512 load(const float *from, const bool whole, __mmask16 mask) {
    return whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(mask, from);
}

INLINE void store(float *to, __m512 values, const bool whole, __mmask16 mask) {
    whole ? _mm512_storeu_ps(to, values) : _mm512_mask_storeu_ps(to, mask, values);
}

INLINE __m512 load_halves(const uint16_t *from, const bool whole, __mmask16 mask) {
    return _mm512_cvtph_ps(whole ? _mm256_loadu_si256((const __m256i *)from) : _mm256_maskz_loadu_epi16(mask, from));
}

INLINE void store_halves(uint16_t *to, __m256i halves, const bool whole, __mmask16 mask) {
    whole ? _mm256_storeu_si256((__m256i *)to, halves) : _mm256_mask_storeu_epi16(to, mask, halves);
}

INLINE __m256i halves_of(__m512 values) { return _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT); }

INLINE __m512 positive(__m512 values) {
    /* max gives its second operand where one is NaN or both are zero; adding +0 then turns -0 into +0 */
    const __m512 zero = _mm512_setzero_ps();
    return _mm512_add_ps(_mm512_max_ps(zero, values), zero);
}

INLINE __m512i magnitude_of(__m512 values) {
    return _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(0x7fffffff));
}

INLINE __m512 finished(const struct finish *finish, float *values, int at, const bool whole, __mmask16 mask) {
    __m512 value = _mm512_add_ps(load(values + at, whole, mask), load(finish->bias + at, whole, mask));
    __m256i halves = _mm256_setzero_si256();
    if (finish->relu) value = positive(value);
    if (!finish->is_float) {
        halves = halves_of(value);
        if (finish->middle) store_halves((uint16_t *)finish->middle + at, halves, whole, mask);
        value = _mm512_cvtph_ps(halves);
    } else if (finish->middle) {
        store((float *)finish->middle + at, value, whole, mask);
    }
    if (finish->added) {
        const __m512 other = finish->added_is_float ? load((const float *)finish->added + at, whole, mask)
                                                    : load_halves((const uint16_t *)finish->added + at, whole, mask);
        value = _mm512_add_ps(value, other);
        if (finish->add_relu) value = positive(value);
        if (!finish->is_float) {
            halves = halves_of(value);
            value = _mm512_cvtph_ps(halves);
        }
    }
    if (finish->out && finish->is_float) store((float *)finish->out + at, value, whole, mask);
    if (finish->out && !finish->is_float) store_halves((uint16_t *)finish->out + at, halves, whole, mask);
    store(values + at, value, whole, mask);
    return value;
}

TARGET static uint32_t finish(const struct finish *finish, float *values, int count) {
    __m512i found = _mm512_setzero_si512();
    int at = 0;
    for (; at + 16 <= count; at += 16)
        found = _mm512_max_epu32(found, magnitude_of(finished(finish, values, at, true, 0)));
    if (at < count)
        found = _mm512_max_epu32(found, magnitude_of(finished(finish, values, at, false, lanes(count - at))));
    return _mm512_reduce_max_epu32(found);
}

TARGET static void maximum(float *most, const uint16_t *halves, int count) {
    for (int at = 0; at < count; at += 16) {
        const bool whole = at + 16 <= count;
        const __mmask16 mask = whole ? 0xffff : lanes(count - at);
        const __m512 old = load(most + at, whole, mask), value = load_halves(halves + at, whole, mask);
        /* max gives its second operand where one is NaN: that is the old one if it is */
        const __m512 larger = _mm512_max_ps(old, value);
        const __mmask16 stays = _mm512_cmp_ps_mask(old, old, _CMP_UNORD_Q);
        store(most + at, _mm512_mask_mov_ps(larger, stays, old), whole, mask);
    }
}

TARGET static void to_float(float *values, const uint16_t *halves, int count) {
    int at = 0;
    for (; at + 16 <= count; at += 16) store(values + at, load_halves(halves + at, true, 0), true, 0);
    const __mmask16 mask = lanes(count - at);
    if (at < count) store(values + at, load_halves(halves + at, false, mask), false, mask);
}

TARGET static void to_half(uint16_t *halves, const float *values, int count) {
    int at = 0;
    for (; at + 16 <= count; at += 16) store_halves(halves + at, halves_of(load(values + at, true, 0)), true, 0);
    const __mmask16 mask = lanes(count - at);
    if (at < count) store_halves(halves + at, halves_of(load(values + at, false, mask)), false, mask);
}

TARGET static uint32_t largest(const float *values, int count) {
    __m512i found = _mm512_setzero_si512();
    int at = 0;
    for (; at + 16 <= count; at += 16) found = _mm512_max_epu32(found, magnitude_of(load(values + at, true, 0)));
    if (at < count) found = _mm512_max_epu32(found, magnitude_of(load(values + at, false, lanes(count - at))));
    return _mm512_reduce_max_epu32(found);
}

TARGET static void to_bytes(uint8_t *bytes, const float *values, int count, float inverse, int limit, uint8_t zero) {
    const __m512 factor = _mm512_set1_ps(inverse);
    const __m512 high = _mm512_set1_ps((float)limit), low = _mm512_set1_ps((float)-limit);
    const __m512i shift = _mm512_set1_epi32(zero);
    for (int at = 0; at < count; at += 16) {
        const bool whole = at + 16 <= count;
        const __mmask16 mask = whole ? 0xffff : lanes(count - at);
        const __m512 value = _mm512_mul_ps(load(values + at, whole, mask), factor);
        const __m512 clipped = _mm512_max_ps(_mm512_min_ps(value, high), low);
        const __m128i integers = _mm512_cvtepi32_epi8(_mm512_add_epi32(_mm512_cvtps_epi32(clipped), shift));
        if (whole)
            _mm_storeu_si128((__m128i *)(bytes + at), integers);
        else
            _mm_mask_storeu_epi8(bytes + at, mask, integers);
    }
}

const struct kernels vnni_kernels = {
    .name = "AVX-512 VNNI",
    .signed_zero = 128,
    .multiply = multiply,
    .finish = finish,
    .maximum = maximum,
    .to_float = to_float,
    .to_half = to_half,
    .largest = largest,
    .to_bytes = to_bytes,
};
#endif
