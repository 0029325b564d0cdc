/* Every step but convolutions: position by position, in the order that the definition gives. */
#include <math.h>
#include <string.h>

#include "engine.h"

/* Channels [first, first + count) of one position; `room` is used unless the values lie there as float32. */
static const float *values_at(const struct engine *engine, const struct view *view, int64_t row, int64_t column,
                              int first, int count, float *room) {
    const int64_t at = (row * view->width + column) * view->stride + first;
    if (view->base == NULL) return engine->image + at;
    if (view->is_float) return (const float *)view->base + at;
    engine->kernels->to_float(room, (const uint16_t *)view->base + at, count);
    return room;
}

static void round_row(const struct engine *engine, float *values, uint16_t *room, int count) {
    if (engine->is_float) return;
    engine->kernels->to_half(room, values, count);
    engine->kernels->to_float(values, room, count);
}

static void relu_row(float *values, int count) {
    for (int at = 0; at < count; at++) values[at] = values[at] > 0 || values[at] != values[at] ? values[at] : 0;
}

/* From float64 to float32, then to the point-wise type. */
static void narrow_row(const struct engine *engine, float *values, const double *wide, uint16_t *room, int count) {
    for (int at = 0; at < count; at++) values[at] = (float)wide[at];
    round_row(engine, values, room, count);
}

/* Rows and columns of the source under one place of the kernel; false: that is padding. */
static bool under(const struct op *op, int row, int column, int tap, int64_t *at_row, int64_t *at_column) {
    *at_row = (int64_t)row * op->stride[0] + (int64_t)(tap / op->kernel[1]) * op->dilation[0] - op->padding[0];
    *at_column = (int64_t)column * op->stride[1] + (int64_t)(tap % op->kernel[1]) * op->dilation[1] - op->padding[1];
    return *at_row >= 0 && *at_row < op->source->height && *at_column >= 0 && *at_column < op->source->width;
}

static void max_pool(struct engine *engine, const struct op *op, int row, int column, struct scratch *scratch) {
    float *most = scratch->first;
    int64_t at_row, at_column;
    for (int at = 0; at < op->channels; at++) most[at] = -INFINITY;
    for (int tap = 0; tap < op->kernel[0] * op->kernel[1]; tap++) {
        if (!under(op, row, column, tap, &at_row, &at_column)) continue;
        if (!op->source->is_float) {
            const int64_t place = (at_row * op->source->width + at_column) * op->source->stride;
            engine->kernels->maximum(most, (const uint16_t *)op->source->base + place, op->channels);
            continue;
        }
        const float *values = values_at(engine, op->source, at_row, at_column, 0, op->channels, scratch->second);
        for (int at = 0; at < op->channels; at++)
            most[at] = most[at] > values[at] || most[at] != most[at] ? most[at] : values[at];
    }
    for (int at = 0; at < op->channels; at++) most[at] += 0.0f; /* -0 becomes +0 */
}

static void average_pool(struct engine *engine, const struct op *op, int row, int column, struct scratch *scratch) {
    double *wide = scratch->wide;
    int64_t at_row, at_column;
    double places = 0;
    for (int at = 0; at < op->channels; at++) wide[at] = 0;
    for (int tap = 0; tap < op->kernel[0] * op->kernel[1]; tap++) {
        if (!under(op, row, column, tap, &at_row, &at_column)) continue;
        const float *values = values_at(engine, op->source, at_row, at_column, 0, op->channels, scratch->second);
        for (int at = 0; at < op->channels; at++) wide[at] += (double)values[at];
        places++;
    }
    for (int at = 0; at < op->channels; at++) wide[at] /= places;
    narrow_row(engine, scratch->first, wide, (uint16_t *)scratch->second, op->channels);
}

static void mean(struct engine *engine, const struct op *op, int first, int count, struct scratch *scratch) {
    const struct view *source = op->source;
    double *wide = scratch->wide;
    for (int at = 0; at < count; at++) wide[at] = 0;
    for (int row = 0; row < source->height; row++) {
        for (int column = 0; column < source->width; column++) {
            const float *values = values_at(engine, source, row, column, first, count, scratch->second);
            for (int at = 0; at < count; at++) wide[at] += (double)values[at];
        }
    }
    const double places = (double)source->height * source->width;
    for (int at = 0; at < count; at++) wide[at] /= places;
    narrow_row(engine, scratch->first, wide, (uint16_t *)scratch->second, count);
}

static void add(struct engine *engine, const struct op *op, int row, int column, struct scratch *scratch) {
    const float *left = values_at(engine, op->source, row, column, 0, op->channels, scratch->first);
    const float *right = values_at(engine, op->second, row, column, 0, op->channels, scratch->second);
    for (int at = 0; at < op->channels; at++) scratch->first[at] = left[at] + right[at];
    round_row(engine, scratch->first, (uint16_t *)scratch->second, op->channels);
    if (op->relu) relu_row(scratch->first, op->channels);
}

static void affine(struct engine *engine, const struct op *op, int row, int column, struct scratch *scratch) {
    float *result = scratch->first;
    uint16_t *room = (uint16_t *)scratch->second;
    const float *values = values_at(engine, op->source, row, column, 0, op->channels, result);
    for (int at = 0; at < op->channels; at++) result[at] = values[at] * op->scale[at];
    round_row(engine, result, room, op->channels);
    for (int at = 0; at < op->channels; at++) result[at] += op->bias[at];
    round_row(engine, result, room, op->channels);
    if (op->relu) relu_row(result, op->channels);
}

/* The sum of squares in the order in which NumPy adds: by halves down to 128 terms, those in eight parts. */
static double squares(const float *values, int count) {
    if (count > 128) {
        const int half = count / 2 - count / 2 % 8;
        return squares(values, half) + squares(values + half, count - half);
    }
    double parts[8] = {0};
    if (count < 8) {
        double sum = 0;
        for (int at = 0; at < count; at++) sum += (double)values[at] * (double)values[at];
        return sum;
    }
    int at = 0;
    for (; at < count - count % 8; at += 8)
        for (int part = 0; part < 8; part++)
            parts[part] += (double)values[at + part] * (double)values[at + part];
    double sum = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
    for (; at < count; at++) sum += (double)values[at] * (double)values[at];
    return sum;
}

static void normalise(struct engine *engine, const struct op *op, int row, int column, struct scratch *scratch) {
    const float *values = values_at(engine, op->source, row, column, 0, op->channels, scratch->second);
    const double sum = squares(values, op->channels);
    const double length = sqrt(sum < op->epsilon ? op->epsilon : sum);
    for (int at = 0; at < op->channels; at++)
        scratch->wide[at] = (double)values[at] / length * (double)op->scale[at];
    narrow_row(engine, scratch->first, scratch->wide, (uint16_t *)scratch->second, op->channels);
}

void rows_item(struct engine *engine, const struct op *op, int item, struct scratch *scratch) {
    const int chunks = op->items / op->groups, group = item / chunks;
    const int first_row = item % chunks * op->rows;
    const int end_row = first_row + op->rows < op->height ? first_row + op->rows : op->height;
    const int first = group * op->group;
    const int count = op->channels - first < op->group ? op->channels - first : op->group;
    for (int row = first_row; row < end_row; row++) {
        for (int column = 0; column < op->width; column++) {
            const float *values = scratch->first;
            switch (op->kind) {
            case MAX_POOL:
                max_pool(engine, op, row, column, scratch);
                break;
            case AVERAGE_POOL:
                average_pool(engine, op, row, column, scratch);
                break;
            case MEAN:
                mean(engine, op, first, count, scratch);
                break;
            case ADD:
                add(engine, op, row, column, scratch);
                break;
            case AFFINE:
                affine(engine, op, row, column, scratch);
                break;
            case NORMALISE:
                normalise(engine, op, row, column, scratch);
                break;
            default:
                values = values_at(engine, op->source, row, column, 0, op->channels, scratch->first);
            }
            emit(engine, op, row, column, first, count, values);
        }
    }
    if (op->blocks_out && group == 0) emit_ring(op, first_row, end_row);
}
