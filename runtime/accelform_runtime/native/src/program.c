/* Reads a program and checks all of it: whatever the records say, no address leaves its memory. */
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define MOST ((int64_t)1 << 20) /* of any side, channel count or number of records */
#define MOST_BYTES ((int64_t)1 << 36)
#define MOST_ITEMS (1 << 20)
#define MOST_TAPS (1 << 20) /* of a window */
#define ITEMS_PER_THREAD 4

static bool between(int64_t value, int64_t low, int64_t high) { return low <= value && value <= high; }

/* a * b * c + d, or -1 if that is negative or beyond all reason */
static int64_t size_of(int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t size;
    if (a < 0 || b < 0 || c < 0 || d < 0) return -1;
    if (__builtin_mul_overflow(a, b, &size) || __builtin_mul_overflow(size, c, &size)) return -1;
    if (__builtin_add_overflow(size, d, &size) || size > MOST_BYTES) return -1;
    return size;
}

static const char *load_view(struct engine *engine, const struct program *program, int64_t index) {
    const struct view_record *from = &program->views[index];
    struct view *view = &engine->views[index];
    if (!between(from->height, 1, MOST) || !between(from->width, 1, MOST) || !between(from->channels, 1, MOST))
        return "a map has impossible sides";
    *view = (struct view){.stride = from->stride,
                          .height = (int)from->height,
                          .width = (int)from->width,
                          .channels = (int)from->channels,
                          .is_float = from->is_float != 0};
    if (from->offset == ABSENT) {
        const bool same = from->height == program->image[0] && from->width == program->image[1] &&
                          from->channels == program->image[2];
        return same && view->is_float && from->stride == from->channels ? NULL : "the image has another shape";
    }
    const int64_t element = view->is_float ? 4 : 2;
    const int64_t positions = size_of(from->height, from->width, 1, 0);
    const int64_t span = positions < 0 ? -1 : size_of(positions - 1, from->stride, element, from->channels * element);
    if (from->stride < from->channels || span < 0 || !between(from->offset, 0, program->arena_bytes - span) ||
        from->offset % element)
        return "a map lies outside the memory planned for it";
    view->base = engine->arena + from->offset;
    return NULL;
}

static const char *load_blocks(struct engine *engine, const struct program *program, int64_t index) {
    const struct blocks_record *from = &program->blocks[index];
    struct blocks *blocks = &engine->blocks[index];
    const int64_t sides[] = {from->height, from->width, from->channels};
    const int64_t rings[] = {from->top, from->left, from->bottom, from->right};
    for (int side = 0; side < 3; side++)
        if (!between(sides[side], 1, MOST)) return "quantised maps have impossible sides";
    for (int ring = 0; ring < 4; ring++)
        if (!between(rings[ring], 0, MOST)) return "quantised maps have an impossible ring";
    const int64_t full = from->channels / engine->block, rest = from->channels % engine->block;
    const int64_t count = full + (rest > 0);
    *blocks = (struct blocks){
        .height = (int)from->height,
        .width = (int)from->width,
        .channels = (int)from->channels,
        .top = (int)from->top,
        .left = (int)from->left,
        .padded_height = from->height + from->top + from->bottom,
        .padded_width = from->width + from->left + from->right,
        .row_bytes = full * engine->block_bytes + (rest + 3) / 4 * 4,
        .count = (int)count,
        .is_signed = from->is_signed != 0,
        .zero = from->is_signed ? engine->kernels->signed_zero : 0,
        .lowest = engine->exponent_low,
        .highest = engine->exponent_high,
    };
    const int64_t bytes = size_of(blocks->padded_height, blocks->padded_width, blocks->row_bytes, 0);
    const int64_t scales = size_of(blocks->padded_height, blocks->padded_width, count * 4, 0);
    if (bytes < 0 || scales < 0 || !between(from->offset, 0, program->arena_bytes - bytes) ||
        !between(from->scales, 0, program->arena_bytes - scales) || from->scales % 4)
        return "quantised maps lie outside the memory planned for them";
    blocks->bytes = engine->arena + from->offset;
    blocks->scales = (float *)(engine->arena + from->scales);
    return NULL;
}

static bool find_view(const struct engine *engine, const struct program *program, int64_t index,
                      const struct view **view) {
    *view = NULL;
    if (index == ABSENT) return true;
    if (!between(index, 0, program->view_count - 1)) return false;
    *view = &engine->views[index];
    return true;
}

static bool find_blocks(const struct engine *engine, const struct program *program, int64_t index,
                        const struct blocks **blocks) {
    *blocks = NULL;
    if (index == ABSENT) return true;
    if (!between(index, 0, program->blocks_count - 1)) return false;
    *blocks = &engine->blocks[index];
    return true;
}

/* A copy of an array that has to be `count` floats long. */
static bool find_floats(struct engine *engine, const struct program *program, int64_t index, int64_t count,
                        const float **array) {
    if (!between(index, 0, program->array_count - 1) || !program->arrays[index]) return false;
    if (program->array_bytes[index] != count * 4) return false;
    float *copy = engine_memory(engine, count, sizeof(float));
    if (copy == NULL) return false;
    memcpy(copy, program->arrays[index], (size_t)count * sizeof(float));
    *array = copy;
    return true;
}

/* A view that a convolution's results go to: its kernels write the point-wise type and know no other. */
static bool of_the_point_wise_type(const struct engine *engine, const struct view *view) {
    return view == NULL || view->is_float == engine->is_float;
}

static bool gives(const struct view *view, const struct op *op) {
    return view == NULL || (view->base != NULL && view->height == op->height && view->width == op->width &&
                            view->channels == op->channels);
}

/* Height and width after a walk over maps of these sides. */
static const char *walk(struct op *op, int height, int width) {
    const int64_t sides[] = {height, width};
    int64_t results[2];
    if ((int64_t)op->kernel[0] * op->kernel[1] > MOST_TAPS) return "a window is impossibly large";
    for (int axis = 0; axis < 2; axis++) {
        const int64_t room = sides[axis] + op->padding[axis] + op->padding[axis + 2];
        const int64_t reach = (int64_t)(op->kernel[axis] - 1) * op->dilation[axis] + 1;
        if (reach > room) return "a kernel does not fit its maps";
        results[axis] = (room - reach) / op->stride[axis] + 1;
    }
    op->height = (int)results[0];
    op->width = (int)results[1];
    return NULL;
}

static const char *load_sources(struct engine *engine, struct op *op, const struct program *program,
                                const struct op_record *from) {
    const struct view *source = op->source;
    if (op->kind == CONVOLUTION) {
        if (op->blocks_in == NULL) return "a convolution reads nothing";
        const struct blocks_record *ring = &program->blocks[from->blocks_in];
        if (op->padding[0] > ring->top || op->padding[1] > ring->left || op->padding[2] > ring->bottom ||
            op->padding[3] > ring->right)
            return "a convolution reads beyond the ring around its maps";
        const char *problem = walk(op, op->blocks_in->height, op->blocks_in->width);
        return problem ? problem : convolution_load(engine, op, program, from);
    }
    if (source == NULL) return "a step reads nothing";
    op->height = source->height;
    op->width = source->width;
    op->channels = source->channels;
    if (op->kind == MAX_POOL || op->kind == AVERAGE_POOL) return walk(op, source->height, source->width);
    if (op->kind == MEAN) op->height = op->width = 1;
    const bool same = op->second && op->second->height == op->height && op->second->width == op->width &&
                      op->second->channels == op->channels;
    if (op->kind == ADD && !same) return "an addition reads maps of two shapes";
    if ((op->kind == AFFINE || op->kind == NORMALISE) &&
        !find_floats(engine, program, from->scale, op->channels, &op->scale))
        return "a step's scale does not fit its maps";
    if (op->kind == AFFINE && !find_floats(engine, program, from->bias, op->channels, &op->bias))
        return "a step's bias does not fit its maps";
    return NULL;
}

/* Enough items that threads end together, and whole blocks in each, so that an item can quantise what it gives. */
static void share(const struct engine *engine, struct op *op) {
    if (op->kind == MEAN) op->group = engine->block * ((255 + engine->block) / engine->block);
    if (op->kind != MEAN && op->kind != CONVOLUTION) op->group = op->channels;
    if (op->group > op->channels) op->group = op->channels;
    op->groups = (op->channels + op->group - 1) / op->group;
    const int wanted = engine->threads == 1 ? 1 : engine->threads * ITEMS_PER_THREAD;
    const int chunks = (wanted + op->groups - 1) / op->groups;
    op->rows = (op->height + chunks - 1) / chunks;
    if (op->kind == CONVOLUTION && op->width <= RUN_POSITIONS) op->rows += op->rows % 2;
    op->items = op->groups * ((op->height + op->rows - 1) / op->rows);
}

static const char *load_op(struct engine *engine, const struct program *program, int64_t index) {
    const struct op_record *from = &program->ops[index];
    struct op *op = &engine->ops[index];
    if (!between(from->kind, 0, KINDS - 1) || !between(from->step, 0, MOST)) return "there is no such step";
    for (int axis = 0; axis < 4; axis++)
        if (!between(from->padding[axis], 0, MOST)) return "a window has an impossible padding";
    for (int axis = 0; axis < 2; axis++)
        if (!between(from->kernel[axis], 1, MOST) || !between(from->stride[axis], 1, MOST) ||
            !between(from->dilation[axis], 1, MOST))
            return "a window has impossible sides";
    op->kind = (enum kind)from->kind;
    op->step = (int)from->step;
    op->relu = from->relu != 0;
    op->add_relu = from->add_relu != 0;
    op->epsilon = from->epsilon;
    for (int axis = 0; axis < 4; axis++) op->padding[axis] = (int)from->padding[axis];
    for (int axis = 0; axis < 2; axis++) {
        op->kernel[axis] = (int)from->kernel[axis];
        op->stride[axis] = (int)from->stride[axis];
        op->dilation[axis] = (int)from->dilation[axis];
    }
    if (!find_view(engine, program, from->source, &op->source) ||
        !find_view(engine, program, from->second, &op->second) ||
        !find_view(engine, program, from->middle, &op->middle) ||
        !find_view(engine, program, from->added, &op->added) || !find_view(engine, program, from->out, &op->out) ||
        !find_blocks(engine, program, from->blocks_in, &op->blocks_in) ||
        !find_blocks(engine, program, from->blocks_out, &op->blocks_out))
        return "a step reads or writes what is not there";
    const char *problem = load_sources(engine, op, program, from);
    if (problem) return problem;
    const struct blocks *out = op->blocks_out;
    if (!gives(op->middle, op) || !gives(op->out, op) ||
        (op->added && (op->added->height != op->height || op->added->width != op->width ||
                       op->added->channels != op->channels)) ||
        (out && (out->height != op->height || out->width != op->width || out->channels != op->channels)))
        return "a step's result has another shape than the place for it";
    if (op->kind == CONVOLUTION &&
        (!of_the_point_wise_type(engine, op->middle) || !of_the_point_wise_type(engine, op->out)))
        return "a convolution's result is of another type than the place for it";
    if (!writes_apart(engine, op)) return "a step writes over what it reads, or twice to the same place";
    op->output = ABSENT;
    if (op->kind == COPY && from->output != ABSENT) {
        if (!between(from->output, 0, program->output_count - 1)) return "there is no such output";
        if (program->output_bytes[from->output] != size_of(op->height, op->width, (int64_t)op->channels * 4, 0))
            return "an output has another shape than its values";
        op->output = (int)from->output;
    }
    const bool narrow = !engine->is_float && !(op->source && op->source->is_float);
    if (out && narrow) { /* float16: from 2^-24 to 2^16 */
        struct blocks *known = &engine->blocks[from->blocks_out];
        if (known->lowest < -24) known->lowest = -24;
        if (known->highest > 16) known->highest = 16;
    }
    share(engine, op);
    if (op->items > MOST_ITEMS) return "a step has impossibly many parts";
    if (op->channels > engine->widest) engine->widest = op->channels;
    return NULL;
}

static bool sane(const struct program *program) {
    const int64_t largest = ((int64_t)1 << program->mantissa_bits) - 1;
    return between(program->mantissa_bits, 1, 7) && between(program->block, 1, MOST) &&
           program->block * largest * largest <= 1 << 24 && between(program->exponent_low, -127, 0) &&
           program->exponent_low + 1 - program->mantissa_bits >= -126 &&
           between(program->exponent_high, 0, 127) && between(program->rounding, 0, ROUNDINGS - 1) &&
           between(program->arena_bytes, 0, MOST_BYTES) && between(program->threads, 1, 1024) &&
           between(program->view_count, 0, MOST) && between(program->blocks_count, 0, MOST) &&
           between(program->op_count, 1, (1 << 16) - 2) && between(program->array_count, 0, MOST) &&
           between(program->output_count, 0, MOST) && between(program->image[0], 1, MOST) &&
           between(program->image[1], 1, MOST) && between(program->image[2], 1, MOST);
}

const char *program_load(struct engine *engine, const struct program *program, int64_t *op_at_fault) {
    *op_at_fault = ABSENT;
    if (program->abi != ACCELFORM_ABI) return "the program is of another version of the engine";
    if (!between(program->mantissa_bits, 1, 7) || !sane(program)) return "the program's number format or sizes are damaged";
    engine->kernels = kernels_choose(program->backend);
    if (engine->kernels == NULL) return "this processor lacks the instructions asked for";
    engine->block = (int)program->block;
    engine->block_bytes = (engine->block + 3) / 4 * 4;
    engine->mantissa_bits = (int)program->mantissa_bits;
    engine->largest = (1 << engine->mantissa_bits) - 1;
    engine->exponent_low = (int)program->exponent_low;
    engine->exponent_high = (int)program->exponent_high;
    engine->rounding = (enum rounding)program->rounding;
    engine->carry = program->carry != 0;
    engine->is_float = program->is_float != 0;
    engine->threads = (int)program->threads;
    engine->op_count = (int)program->op_count;
    engine->output_count = (int)program->output_count;
    engine->arena = engine_memory(engine, program->arena_bytes + 64, 1);
    engine->views = engine_memory(engine, program->view_count + 1, sizeof *engine->views);
    engine->blocks = engine_memory(engine, program->blocks_count + 1, sizeof *engine->blocks);
    engine->ops = engine_memory(engine, program->op_count, sizeof *engine->ops);
    engine->nanoseconds = engine_memory(engine, program->op_count, sizeof *engine->nanoseconds);
    engine->scratches = engine_memory(engine, program->threads, sizeof *engine->scratches);
    if (!engine->arena || !engine->views || !engine->blocks || !engine->ops || !engine->nanoseconds ||
        !engine->scratches)
        return "there is not enough memory";
    const char *problem = NULL;
    for (int64_t index = 0; index < program->view_count && !problem; index++)
        problem = load_view(engine, program, index);
    for (int64_t index = 0; index < program->blocks_count && !problem; index++)
        problem = load_blocks(engine, program, index);
    if (problem) return problem;
    for (int64_t index = 0; index < program->op_count; index++) {
        *op_at_fault = program->ops[index].step;
        if ((problem = load_op(engine, program, index))) return problem;
    }
    *op_at_fault = ABSENT;
    for (int index = 0; index < engine->threads; index++) {
        struct scratch *scratch = &engine->scratches[index];
        scratch->totals = engine_memory(engine, STRIP_TILES * TILE_POSITIONS * engine->total_stride, sizeof(float));
        scratch->first = engine_memory(engine, engine->widest, sizeof(float));
        scratch->second = engine_memory(engine, engine->widest, sizeof(float));
        scratch->wide = engine_memory(engine, engine->widest, sizeof(double));
        if (!scratch->totals || !scratch->first || !scratch->second || !scratch->wide)
            return "there is not enough memory";
    }
    return NULL;
}
