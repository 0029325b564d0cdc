/* Plain C for every processor: what the vector kernels are measured against. */
#include <math.h>
#include <string.h>

#include "kernels.h"

static float float_of(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;
    uint32_t bits;
    if (magnitude >= 0x7c00)
        bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
    else if (magnitude >= 0x400)
        bits = (magnitude << 13) + ((127 - 15) << 23);
    else {
        const float value = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even. */
static uint16_t half_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;
    if (magnitude < 0x38800000) { /* a multiple of 2^-24: adding a power of two lets the processor round */
        float small;
        memcpy(&small, &magnitude, sizeof small);
        small += 0.5f;
        uint32_t rounded;
        memcpy(&rounded, &small, sizeof rounded);
        return sign | (uint16_t)(rounded - 0x3f000000);
    }
    return sign | (uint16_t)((magnitude + 0xfff + (magnitude >> 13 & 1) - ((127 - 15) << 23)) >> 13);
}

static void multiply(const struct tile *tile) {
    const int count = tile->count[0] + tile->count[1];
    for (int position = 0; position < count; position++) {
        const int run = position >= tile->count[0];
        const int64_t place = run ? position - tile->count[0] : position;
        const int8_t *weights = tile->weights;
        const float *weight_scales = tile->weight_scales;
        float *totals = tile->totals + position * tile->total_stride;
        for (int output = 0; output < PAIR; output++) totals[output] = 0;
        for (int number = 0; number < tile->part_count; number++) {
            const struct part *part = &tile->parts[number];
            const uint8_t *bytes = tile->bytes[run] + place * tile->byte_stride + part->bytes;
            const float scale = tile->scales[run][place * tile->scale_stride + part->scales];
            int32_t sums[PAIR] = {0};
            for (int64_t quad = 0; quad < part->quads; quad++, bytes += 4) {
                int8_t values[4];
                memcpy(values, bytes, sizeof values);
                for (int output = 0; output < PAIR; output++, weights += 4)
                    for (int channel = 0; channel < 4; channel++) sums[output] += values[channel] * weights[channel];
            }
            for (int output = 0; output < PAIR; output++) {
                const float product = (float)sums[output] * weight_scales[output];
                totals[output] += product * scale;
            }
            weight_scales += PAIR;
        }
    }
}

static uint32_t largest(const float *values, int count) {
    uint32_t found = 0;
    for (int at = 0; at < count; at++) {
        uint32_t bits;
        memcpy(&bits, &values[at], sizeof bits);
        bits &= 0x7fffffff;
        if (bits > found) found = bits;
    }
    return found;
}

/* max(value, 0) where zeros are +0 and a NaN stays one */
static float positive(float value) { return value > 0 || value != value ? value : 0; }

static uint32_t finish(const struct finish *finish, float *values, int count) {
    for (int at = 0; at < count; at++) {
        float value = values[at] + finish->bias[at];
        if (finish->relu) value = positive(value);
        if (!finish->is_float) value = float_of(half_of(value));
        if (finish->middle && finish->is_float) ((float *)finish->middle)[at] = value;
        if (finish->middle && !finish->is_float) ((uint16_t *)finish->middle)[at] = half_of(value);
        if (finish->added) {
            value += finish->added_is_float ? ((const float *)finish->added)[at]
                                            : float_of(((const uint16_t *)finish->added)[at]);
            if (finish->add_relu) value = positive(value);
            if (!finish->is_float) value = float_of(half_of(value));
        }
        if (finish->out && finish->is_float) ((float *)finish->out)[at] = value;
        if (finish->out && !finish->is_float) ((uint16_t *)finish->out)[at] = half_of(value);
        values[at] = value;
    }
    return largest(values, count);
}

static void maximum(float *most, const uint16_t *halves, int count) {
    for (int at = 0; at < count; at++) {
        const float value = float_of(halves[at]);
        most[at] = most[at] > value || most[at] != most[at] ? most[at] : value;
    }
}

static void to_float(float *values, const uint16_t *halves, int count) {
    for (int at = 0; at < count; at++) values[at] = float_of(halves[at]);
}

static void to_half(uint16_t *halves, const float *values, int count) {
    for (int at = 0; at < count; at++) halves[at] = half_of(values[at]);
}

static void to_bytes(uint8_t *bytes, const float *values, int count, float inverse, int limit, uint8_t zero) {
    const float high = (float)limit;
    for (int at = 0; at < count; at++) {
        float value = values[at] * inverse;
        value = value < high ? value : high;
        value = value > -high ? value : -high;
        bytes[at] = (uint8_t)(lrintf(value) + zero); /* to nearest, ties to even */
    }
}

const struct kernels portable_kernels = {
    .name = "portable C",
    .signed_zero = 0,
    .multiply = multiply,
    .finish = finish,
    .maximum = maximum,
    .to_float = to_float,
    .to_half = to_half,
    .largest = largest,
    .to_bytes = to_bytes,
};
