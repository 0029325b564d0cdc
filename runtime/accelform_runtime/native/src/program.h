/* What Python hands over: one network as flat records. The ctypes structures in records.py mirror this file. */
#ifndef ACCELFORM_PROGRAM_H
#define ACCELFORM_PROGRAM_H

#include <stdint.h>

#define ACCELFORM_ABI 1
#define ABSENT (-1)

enum kind { CONVOLUTION, MAX_POOL, AVERAGE_POOL, MEAN, ADD, COPY, AFFINE, NORMALISE, KINDS };
enum rounding { NEAREST_EVEN, NEAREST_AWAY, TRUNCATE, ROUNDINGS };

/* Maps of floating-point values. Offset ABSENT: the caller's image. */
struct view_record {
    int64_t offset;   /* bytes into the arena */
    int64_t stride;   /* elements from one position to the next */
    int64_t is_float; /* float32, else float16 */
    int64_t height, width, channels;
};

/* Quantised maps with a ring of zeros around them: bytes, and one float32 step per block. */
struct blocks_record {
    int64_t offset, scales; /* bytes into the arena */
    int64_t height, width, channels;
    int64_t top, left, bottom, right;
    int64_t is_signed; /* values may be below zero */
};

struct op_record {
    int64_t kind, step; /* step: number that errors are reported under */
    int64_t relu, add_relu;
    int64_t kernel[2], stride[2], padding[4], dilation[2]; /* padding: top, left, bottom, right */
    int64_t blocks_in;                                     /* CONVOLUTION */
    int64_t source, second;                                /* views; second: of ADD */
    int64_t middle, added;   /* CONVOLUTION: views of its own result, and of what is added to that */
    int64_t out, blocks_out; /* the result, as a view and quantised */
    int64_t weights, exponents, bias, scale; /* arrays */
    int64_t output;                          /* COPY: number of the caller's array that the values go to */
    double epsilon;
};

struct program {
    int64_t abi;
    int64_t block, mantissa_bits, exponent_low, exponent_high, rounding, carry, is_float;
    int64_t image[3]; /* height, width, channels */
    int64_t arena_bytes;
    int64_t threads, backend;
    int64_t view_count, blocks_count, op_count, array_count, output_count;
    const struct view_record *views;
    const struct blocks_record *blocks;
    const struct op_record *ops;
    const void *const *arrays;
    const int64_t *array_bytes;
    const int64_t *output_bytes;
};

#endif
