/* Convolutions: weights laid out for the kernels at load, then tiles of positions and outputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

#define GROUP_OUTPUTS 128
#define MOST_OUTPUTS ((int64_t)1 << 20) /* also of parts */
#define NEAR_BYTES (24 << 10) /* weights of 32 outputs that stay in the nearest cache from tile to tile */
#define LARGEST_STEP 100 /* exponent; an integer times such a step is still a finite float32 */

struct packing {
    const int8_t *mantissas;  /* [tap][channel][output] */
    const int8_t *exponents;  /* [tap][block][output] */
    int channels, outputs, blocks, block;
    int lowest, highest; /* exponents of steps, of blocks that are not all zero */
};

/* One block of one tap, for 32 outputs from `output` on. */
static bool pack_block(const struct engine *engine, const struct op *op, struct packing *packing, int tap, int block,
                       int output, int64_t pair, int8_t **weights) {
    const int first = block * packing->block;
    const int count = packing->channels - first < packing->block ? packing->channels - first : packing->block;
    const int quads = (count + 3) / 4;
    const int64_t at = (pair * op->taps * packing->blocks + (int64_t)tap * packing->blocks + block) * PAIR;
    int32_t sums[PAIR] = {0}, sizes[PAIR] = {0};
    const int end = packing->outputs - output < PAIR ? packing->outputs - output : PAIR;
    for (int channel = 0; channel < count; channel++) {
        const int8_t *row =
            packing->mantissas + ((int64_t)tap * packing->channels + first + channel) * packing->outputs + output;
        int8_t *to = *weights + channel / 4 * 4 * PAIR + channel % 4;
        for (int lane = 0; lane < end; lane++) {
            const int value = row[lane];
            if (abs(value) > engine->largest) return false;
            to[4 * lane] = (int8_t)value;
            sums[lane] += value;
            sizes[lane] |= value;
        }
    }
    *weights += quads * 4 * PAIR;
    const int8_t *exponents =
        packing->exponents + ((int64_t)tap * packing->blocks + block) * packing->outputs + output;
    for (int lane = 0; lane < end; lane++) {
        if (exponents[lane] > LARGEST_STEP || exponents[lane] < -126) return false;
        op->weight_scales[at + lane] = sizes[lane] ? ldexpf(1, exponents[lane]) : 0;
        if (sizes[lane] && exponents[lane] < packing->lowest) packing->lowest = exponents[lane];
        if (sizes[lane] && exponents[lane] > packing->highest) packing->highest = exponents[lane];
        if (op->corrections) op->corrections[at + lane] = -sums[lane] * engine->kernels->signed_zero;
    }
    return true;
}

static const char *pack(struct engine *engine, struct op *op, struct packing *packing) {
    const struct blocks *in = op->blocks_in;
    const int64_t pairs = (int64_t)op->pairs_per_group * op->groups;
    const int64_t steps = pairs * op->taps * packing->blocks * PAIR;
    op->pair_bytes = op->taps * in->row_bytes * PAIR;
    if (pairs * op->pair_bytes > (int64_t)1 << 36) return "a convolution has impossibly many weights";
    op->weights = engine_memory(engine, pairs, op->pair_bytes);
    op->weight_scales = engine_memory(engine, steps, sizeof(float));
    const bool corrected = in->is_signed && engine->kernels->signed_zero;
    op->corrections = corrected ? engine_memory(engine, steps, sizeof(int32_t)) : NULL;
    if (!op->weights || !op->weight_scales || (corrected && !op->corrections)) return "there is not enough memory";
    for (int64_t pair = 0; pair < pairs; pair++) {
        int8_t *weights = op->weights + pair * op->pair_bytes;
        const int within = (int)(pair % op->pairs_per_group) * PAIR;
        const int output = (int)(pair / op->pairs_per_group) * op->group + within;
        for (int tap = 0; tap < op->taps; tap++)
            for (int block = 0; block < packing->blocks; block++)
                if (!pack_block(engine, op, packing, tap, block, output, pair, &weights))
                    return "a convolution's weights are not of the number format";
    }
    return NULL;
}

static bool load_parts(struct engine *engine, struct op *op) {
    const struct blocks *in = op->blocks_in;
    op->part_count = op->taps * in->count;
    op->parts = engine_memory(engine, op->part_count, sizeof *op->parts);
    if (op->parts == NULL) return false;
    for (int number = 0; number < op->part_count; number++) {
        const int tap = number / in->count, block = number % in->count;
        const int64_t row = (int64_t)(tap / op->kernel[1]) * op->dilation[0] + in->top - op->padding[0];
        const int64_t column = (int64_t)(tap % op->kernel[1]) * op->dilation[1] + in->left - op->padding[1];
        const int64_t position = row * in->padded_width + column;
        const int64_t before = (int64_t)block * engine->block_bytes;
        op->parts[number].bytes = position * in->row_bytes + before;
        op->parts[number].scales = position * in->count + block;
        op->parts[number].quads = (block + 1 < in->count ? engine->block_bytes : in->row_bytes - before) / 4;
    }
    op->quads = (int)op->parts[0].quads;
    for (int number = 1; number < op->part_count; number++)
        if (op->parts[number].quads != op->quads) op->quads = 0;
    return true;
}

const char *convolution_load(struct engine *engine, struct op *op, const struct program *program,
                             const struct op_record *record) {
    const struct blocks *in = op->blocks_in;
    const int64_t arrays[] = {record->weights, record->exponents, record->bias};
    for (int index = 0; index < 3; index++)
        if (arrays[index] < 0 || arrays[index] >= program->array_count || !program->arrays[arrays[index]])
            return "a convolution's arrays are missing";
    const int64_t outputs = program->array_bytes[record->bias] / 4;
    const int64_t taps = (int64_t)op->kernel[0] * op->kernel[1];
    if (outputs < 1 || outputs > MOST_OUTPUTS || taps > MOST_OUTPUTS / in->count) return "a convolution has impossible sides";
    if (program->array_bytes[record->bias] != outputs * 4 ||
        program->array_bytes[record->weights] != taps * in->channels * outputs ||
        program->array_bytes[record->exponents] != taps * in->count * outputs)
        return "a convolution's arrays have other shapes than its steps";
    op->channels = (int)outputs;
    op->taps = (int)taps;
    float *bias = engine_memory(engine, outputs, sizeof(float));
    if (bias == NULL) return "there is not enough memory";
    op->bias = memcpy(bias, program->arrays[record->bias], (size_t)outputs * sizeof(float));
    op->group = engine->block * ((GROUP_OUTPUTS + engine->block - 1) / engine->block);
    if (op->group > op->channels) op->group = op->channels;
    op->groups = (op->channels + op->group - 1) / op->group;
    op->pairs_per_group = (op->group + PAIR - 1) / PAIR;
    if ((int64_t)op->pairs_per_group * PAIR > engine->total_stride)
        engine->total_stride = (int64_t)op->pairs_per_group * PAIR;
    if (!load_parts(engine, op)) return "there is not enough memory";
    struct packing packing = {.mantissas = program->arrays[record->weights],
                              .exponents = program->arrays[record->exponents],
                              .channels = in->channels,
                              .outputs = op->channels,
                              .blocks = in->count,
                              .block = engine->block,
                              .lowest = 127,
                              .highest = -127};
    const char *problem = pack(engine, op, &packing);
    op->strip = op->pair_bytes > NEAR_BYTES ? STRIP_TILES : 1;
    const int shift = 1 - engine->mantissa_bits;
    op->fused = packing.lowest + in->lowest + shift >= -149 && packing.highest + in->highest + shift + 24 <= 126;
    return problem;
}

static void finish_position(struct engine *engine, const struct op *op, int row, int column, int first, int count,
                            float *totals) {
    struct finish finish = {.relu = op->relu, .add_relu = op->add_relu, .is_float = engine->is_float};
    const int64_t position = (int64_t)row * op->width + column;
    const int64_t size = engine->is_float ? 4 : 2;
    const int step = op->blocks_out ? engine->block : count;
    for (int at = 0; at < count; at += step) {
        const int here = count - at < step ? count - at : step, channel = first + at;
        finish.bias = op->bias + channel;
        if (op->middle) finish.middle = op->middle->base + (position * op->middle->stride + channel) * size;
        if (op->out) finish.out = op->out->base + (position * op->out->stride + channel) * size;
        if (op->added) {
            const unsigned char *base = op->added->base ? op->added->base : (const unsigned char *)engine->image;
            finish.added_is_float = op->added->is_float;
            finish.added = base + (position * op->added->stride + channel) * (finish.added_is_float ? 4 : 2);
        }
        const uint32_t bits = engine->kernels->finish(&finish, totals + at, here);
        if (op->blocks_out) emit_known(engine, op, row, column, channel, here, totals + at, bits);
    }
}

/* One or two runs of positions: where they begin, and how many there are. */
struct place {
    int row[2], column[2], count[2];
};

/* Splits rows [first, end) of the result into at most `room` tiles, from *row and *column on; gives their number. */
static int next_tiles(const struct op *op, int end, int *row, int *column, struct place *places, int room) {
    const bool narrow = op->width <= RUN_POSITIONS;
    const int across = (op->width + TILE_POSITIONS - 1) / TILE_POSITIONS;
    const int step = (op->width + across - 1) / across;
    int count = 0;
    for (; *row < end && count < room; count++) {
        const int wide = op->width - *column < step ? op->width - *column : step;
        const bool below = narrow && *row + 1 < end;
        const int first = wide < RUN_POSITIONS ? wide : RUN_POSITIONS;
        places[count] = (struct place){.row = {*row, *row + below},
                                       .column = {*column, below ? *column : *column + first},
                                       .count = {first, below ? wide : wide - first}};
        *column += step;
        if (*column >= op->width) {
            *column = 0;
            *row += narrow ? 2 : 1;
        }
    }
    return count;
}

static void multiply(const struct engine *engine, const struct op *op, struct tile *tile, const struct place *place) {
    const struct blocks *in = op->blocks_in;
    for (int run = 0; run < 2; run++) {
        const int64_t at = (int64_t)place->row[run] * op->stride[0] * in->padded_width +
                           (int64_t)place->column[run] * op->stride[1];
        tile->count[run] = place->count[run];
        if (place->count[run] == 0) break;
        tile->bytes[run] = in->bytes + at * in->row_bytes;
        tile->scales[run] = in->scales + at * in->count;
    }
    engine->kernels->multiply(tile);
}

void convolution_item(struct engine *engine, const struct op *op, int item, struct scratch *scratch) {
    const struct blocks *in = op->blocks_in;
    const int chunks = op->items / op->groups, group = item / chunks;
    const int first_row = item % chunks * op->rows;
    const int end_row = first_row + op->rows < op->height ? first_row + op->rows : op->height;
    const int first = group * op->group;
    const int count = op->channels - first < op->group ? op->channels - first : op->group;
    const int64_t pair_steps = (int64_t)op->part_count * PAIR;
    const int64_t tile_floats = TILE_POSITIONS * engine->total_stride;
    struct place places[STRIP_TILES];
    struct tile tile = {
        .byte_stride = op->stride[1] * in->row_bytes,
        .scale_stride = (int64_t)op->stride[1] * in->count,
        .parts = op->parts,
        .part_count = op->part_count,
        .quads = op->quads,
        .fused = op->fused,
        .total_stride = engine->total_stride,
        .is_signed = in->is_signed,
        .limit = engine->largest,
    };
    int row = first_row, column = 0, tiles;
    while ((tiles = next_tiles(op, end_row, &row, &column, places, op->strip)) > 0) {
        for (int pair = 0; pair * PAIR < count; pair++) {
            const int64_t number = (int64_t)group * op->pairs_per_group + pair;
            tile.weights = op->weights + number * op->pair_bytes;
            tile.weight_scales = op->weight_scales + number * pair_steps;
            tile.corrections = op->corrections ? op->corrections + number * pair_steps : NULL;
            for (int index = 0; index < tiles; index++) {
                tile.totals = scratch->totals + index * tile_floats + pair * PAIR;
                multiply(engine, op, &tile, &places[index]);
            }
        }
        for (int index = 0; index < tiles; index++) {
            float *totals = scratch->totals + index * tile_floats;
            for (int run = 0; run < 2; run++)
                for (int at = 0; at < places[index].count[run]; at++, totals += engine->total_stride)
                    finish_position(engine, op, places[index].row[run], places[index].column[run] + at, first, count,
                                    totals);
        }
    }
    if (op->blocks_out && group == 0) emit_ring(op, first_row, end_row);
}
