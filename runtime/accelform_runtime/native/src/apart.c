/* Whether what a step writes lies apart from all else that it touches: its items run side by side, in any order. */
#include "engine.h"

/* `bytes` at the beginning of every `stride` from `begin` on, up to `end`. */
struct area {
    int64_t begin, end, stride, bytes;
};

static struct area of_view(const struct engine *engine, const struct view *view) {
    const int64_t element = view->is_float ? 4 : 2, begin = view->base - engine->arena;
    const int64_t positions = (int64_t)view->height * view->width;
    const int64_t stride = positions > 1 ? view->stride * element : view->channels * element;
    return (struct area){.begin = begin,
                         .end = begin + (positions - 1) * stride + view->channels * element,
                         .stride = stride,
                         .bytes = view->channels * element};
}

static struct area whole(const struct engine *engine, const void *from, int64_t bytes) {
    const int64_t begin = (const unsigned char *)from - engine->arena;
    return (struct area){.begin = begin, .end = begin + bytes, .stride = bytes, .bytes = bytes};
}

/* Disjoint, or side by side in the same rows, as the parts of joined maps are. */
static bool apart(const struct area *one, const struct area *other) {
    if (one->end <= other->begin || other->end <= one->begin) return true;
    if (one->stride != other->stride) return false;
    int64_t distance = (other->begin - one->begin) % one->stride;
    if (distance < 0) distance += one->stride;
    return one->bytes <= distance && distance + other->bytes <= one->stride;
}

static int add_blocks(const struct engine *engine, const struct blocks *blocks, struct area *areas, int count) {
    if (blocks == NULL) return count;
    const int64_t positions = blocks->padded_height * blocks->padded_width;
    areas[count++] = whole(engine, blocks->bytes, positions * blocks->row_bytes);
    areas[count++] = whole(engine, blocks->scales, positions * blocks->count * (int64_t)sizeof(float));
    return count;
}

static int add_view(const struct engine *engine, const struct view *view, struct area *areas, int count) {
    if (view != NULL && view->base != NULL) areas[count++] = of_view(engine, view);
    return count;
}

bool writes_apart(const struct engine *engine, const struct op *op) {
    struct area areas[10]; /* what is written first, then what is read */
    int count = add_view(engine, op->out, areas, 0);
    count = add_blocks(engine, op->blocks_out, areas, count);
    if (op->kind == CONVOLUTION) count = add_view(engine, op->middle, areas, count);
    const int written = count;
    if (op->kind == CONVOLUTION) {
        count = add_blocks(engine, op->blocks_in, areas, count);
        count = add_view(engine, op->added, areas, count);
    } else {
        count = add_view(engine, op->source, areas, count);
        if (op->kind == ADD) count = add_view(engine, op->second, areas, count);
    }
    for (int one = 0; one < written; one++)
        for (int other = one + 1; other < count; other++)
            if (!apart(&areas[one], &areas[other])) return false;
    return true;
}
