/* Where results go: into maps, quantised into blocks, or to the caller. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "engine.h"

#define FEW 4
#define INFINITE 0x7f800000u

static float rounded(float value, enum rounding rounding) {
    const float whole = truncf(value);
    if (rounding == TRUNCATE) return whole;
    const float rest = fabsf(value - whole); /* exact */
    if (rounding == NEAREST_AWAY) return rest >= 0.5f ? whole + copysignf(1, value) : whole;
    return rintf(value);
}

static void to_bytes_slowly(const struct engine *engine, uint8_t *bytes, const float *values, int count, float inverse,
                            uint8_t zero) {
    const float limit = (float)engine->largest;
    for (int at = 0; at < count; at++) {
        float value = rounded(values[at] * inverse, engine->rounding);
        value = value < limit ? value : limit;
        value = value > -limit ? value : -limit;
        bytes[at] = (uint8_t)((int)value + zero);
    }
}

static float power(int exponent) {
    const uint32_t bits = (uint32_t)(exponent + 127) << 23;
    float value;
    if (exponent < -126 || exponent > 127) return ldexpf(1, exponent);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void fail(struct engine *engine, int step) {
    int known = atomic_load(&engine->failed_step);
    while (step < known && !atomic_compare_exchange_weak(&engine->failed_step, &known, step)) {
    }
}

/* The few channels of an image are done before a kernel is called. */
static uint32_t largest_of_few(const float *values, int count) {
    uint32_t found = 0, bits;
    for (int at = 0; at < count; at++) {
        memcpy(&bits, &values[at], sizeof bits);
        bits &= 0x7fffffff;
        found = bits > found ? bits : found;
    }
    return found;
}

/* One block: its bytes; gives its step. `bits`: of its largest magnitude. */
static float emit_block(struct engine *engine, const struct op *op, uint8_t *bytes, const float *values, int count,
                        uint32_t bits) {
    const uint8_t zero = op->blocks_out->zero;
    if (bits >= INFINITE) {
        fail(engine, op->step);
        memset(bytes, zero, (size_t)count);
        return 0;
    }
    int exponent = (int)(bits >> 23) - 127;
    if (exponent < engine->exponent_low) exponent = engine->exponent_low;
    if (exponent > engine->exponent_high) exponent = engine->exponent_high;
    int step = exponent + 1 - engine->mantissa_bits;
    if (engine->carry && exponent < engine->exponent_high) {
        float most;
        memcpy(&most, &bits, sizeof most);
        if (rounded(most * power(-step), engine->rounding) > (float)engine->largest) step++;
    }
    if (engine->rounding == NEAREST_EVEN)
        (count > FEW ? engine->kernels : &portable_kernels)->to_bytes(bytes, values, count, power(-step), engine->largest, zero);
    else
        to_bytes_slowly(engine, bytes, values, count, power(-step), zero);
    return power(step);
}

void emit_blocks(struct engine *engine, const struct op *op, int row, int column, int first, int count,
                 const float *values) {
    for (int at = 0; at < count; at += engine->block) {
        const int size = count - at < engine->block ? count - at : engine->block;
        const uint32_t bits =
            size > FEW ? engine->kernels->largest(values + at, size) : largest_of_few(values + at, size);
        emit_known(engine, op, row, column, first + at, size, values + at, bits);
    }
}

void emit_known(struct engine *engine, const struct op *op, int row, int column, int first, int count,
                const float *values, uint32_t bits) {
    const struct blocks *out = op->blocks_out;
    const int block = first / engine->block;
    const int64_t position = (int64_t)(row + out->top) * out->padded_width + column + out->left;
    uint8_t *bytes = out->bytes + position * out->row_bytes + (int64_t)block * engine->block_bytes;
    out->scales[position * out->count + block] = emit_block(engine, op, bytes, values, count, bits);
}

void emit(struct engine *engine, const struct op *op, int row, int column, int first, int count, const float *values) {
    const int64_t position = (int64_t)row * op->width + column;
    if (op->out) {
        const int64_t at = position * op->out->stride + first;
        if (op->out->is_float)
            memcpy((float *)op->out->base + at, values, (size_t)count * sizeof *values);
        else
            engine->kernels->to_half((uint16_t *)op->out->base + at, values, count);
    }
    if (op->output != ABSENT)
        memcpy(engine->outputs[op->output] + position * op->channels + first, values, (size_t)count * sizeof *values);
    if (op->blocks_out) emit_blocks(engine, op, row, column, first, count, values);
}

static void clear(const struct blocks *out, int64_t row, int64_t column, int64_t count) {
    const int64_t position = row * out->padded_width + column;
    memset(out->bytes + position * out->row_bytes, out->zero, (size_t)(count * out->row_bytes));
    memset(out->scales + position * out->count, 0, (size_t)(count * out->count) * sizeof(float));
}

void emit_ring(const struct op *op, int first_row, int end_row) {
    const struct blocks *out = op->blocks_out;
    const int64_t right = out->padded_width - out->left - out->width;
    if (first_row == 0)
        for (int64_t row = 0; row < out->top; row++) clear(out, row, 0, out->padded_width);
    for (int64_t row = first_row + out->top; row < end_row + out->top; row++) {
        clear(out, row, 0, out->left);
        clear(out, row, out->left + out->width, right);
    }
    if (end_row == out->height)
        for (int64_t row = out->top + out->height; row < out->padded_height; row++)
            clear(out, row, 0, out->padded_width);
}
