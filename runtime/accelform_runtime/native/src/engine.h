/* The engine's own structures: a checked program with every address and every share of work settled at load. */
#ifndef ACCELFORM_ENGINE_H
#define ACCELFORM_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels.h"
#include "program.h"

struct view {
    unsigned char *base; /* NULL: the image */
    int64_t stride;
    int height, width, channels;
    bool is_float;
};

struct blocks {
    uint8_t *bytes;
    float *scales;
    int height, width, channels, top, left;
    int64_t padded_height, padded_width;
    int64_t row_bytes; /* of one position: every block filled up to four bytes */
    int count;         /* blocks of one position */
    uint8_t zero;      /* the byte that stands for zero */
    int lowest, highest; /* exponents that steps of blocks other than zero can have */
    bool is_signed;
};

struct op {
    enum kind kind;
    int step;
    bool relu, add_relu;
    int kernel[2], stride[2], padding[4], dilation[2];
    const struct blocks *blocks_in;
    const struct view *source, *second, *middle, *added, *out;
    const struct blocks *blocks_out;
    const float *bias, *scale;
    double epsilon;
    int output; /* ABSENT: none */
    int height, width, channels; /* of the result */
    int group, groups;           /* channels that one item gives; how many such groups there are */
    int rows;                    /* rows of the result that one item gives */
    int items;
    /* CONVOLUTION */
    int strip; /* tiles that are computed with the same weights before the next weights are read */
    int taps;
    bool fused;
    struct part *parts;
    int part_count, quads;
    int64_t pair_bytes; /* of the weights of 32 outputs */
    int8_t *weights;
    float *weight_scales;
    int32_t *corrections;
    int pairs_per_group;
};

struct scratch {
    float *totals; /* of a tile */
    float *first, *second; /* one position's channels each */
    double *wide;
};

struct engine;
struct pool;

struct engine {
    int block, block_bytes, mantissa_bits, exponent_low, exponent_high, largest;
    enum rounding rounding;
    bool carry, is_float;
    int image_height, image_width, image_channels;
    int threads, op_count, output_count;
    int widest; /* channels of the widest result or source */
    int64_t total_stride; /* floats of one position in a tile's totals */
    const struct kernels *kernels;
    struct view *views;
    struct blocks *blocks;
    struct op *ops;
    unsigned char *arena;
    struct scratch *scratches; /* one per thread */
    void **owned;              /* memory to give back */
    int owned_count, owned_room;
    struct pool *pool;
    int64_t *nanoseconds; /* of each op in the last run */
    /* of the run under way */
    const float *image;
    float *const *outputs;
    atomic_int failed_step; /* INT_MAX: none */
};

void *engine_memory(struct engine *engine, int64_t count, int64_t size); /* zeroed; NULL: there is none */

/* Both give NULL, or what is wrong. */
const char *program_load(struct engine *engine, const struct program *program, int64_t *op_at_fault);
const char *convolution_load(struct engine *engine, struct op *op, const struct program *program,
                             const struct op_record *record);

bool writes_apart(const struct engine *engine, const struct op *op);

void convolution_item(struct engine *engine, const struct op *op, int item, struct scratch *scratch);
void rows_item(struct engine *engine, const struct op *op, int item, struct scratch *scratch);

/* Stores `count` channels of one position from `first` on, in float32 already rounded, wherever the op's result goes. */
void emit(struct engine *engine, const struct op *op, int row, int column, int first, int count, const float *values);
/* Only quantises; `known`: one block, the bits of whose largest magnitude are known. */
void emit_blocks(struct engine *engine, const struct op *op, int row, int column, int first, int count,
                 const float *values);
void emit_known(struct engine *engine, const struct op *op, int row, int column, int first, int count,
                const float *values, uint32_t bits);
void emit_ring(const struct op *op, int first_row, int end_row);

struct pool *pool_create(struct engine *engine);
void pool_run(struct pool *pool);
void pool_destroy(struct pool *pool, bool has_threads);

#endif
