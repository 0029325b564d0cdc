/* What Python calls. */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

#define EXPORT __attribute__((visibility("default")))
#define HUGE_PAGE ((size_t)2 << 20)

enum result { FINE = 0, NOT_FINITE = 1, FORKED = 2 };

struct handle {
    struct engine engine;
    pid_t owner;
};

void *engine_memory(struct engine *engine, int64_t count, int64_t size) {
    int64_t bytes;
    if (count < 0 || size < 0 || __builtin_mul_overflow(count, size, &bytes) || bytes > (int64_t)1 << 37) return NULL;
    if (engine->owned_count == engine->owned_room) {
        const int room = engine->owned_room ? 2 * engine->owned_room : 64;
        void **owned = realloc(engine->owned, (size_t)room * sizeof *owned);
        if (owned == NULL) return NULL;
        engine->owned = owned;
        engine->owned_room = room;
    }
    const bool large = (size_t)bytes >= HUGE_PAGE;
    const size_t alignment = large ? HUGE_PAGE : 64, whole = ((size_t)bytes / 64 + 1) * 64;
    unsigned char *owned = calloc(1, whole + alignment); /* what is never used stays without memory behind it */
    if (owned == NULL) return NULL;
    engine->owned[engine->owned_count++] = owned;
    unsigned char *memory = owned + (alignment - (uintptr_t)owned % alignment);
#ifdef MADV_HUGEPAGE
    if (large) (void)madvise(memory, whole, MADV_HUGEPAGE); /* only speed depends on it */
#endif
    return memory;
}

static void give_back(struct handle *handle, bool has_threads) {
    if (handle->engine.pool) pool_destroy(handle->engine.pool, has_threads);
    for (int index = 0; index < handle->engine.owned_count; index++) free(handle->engine.owned[index]);
    free(handle->engine.owned);
    free(handle);
}

EXPORT int accelform_abi(void) { return ACCELFORM_ABI; }

EXPORT int accelform_backend(void) { return kernels_best(); }

/* NULL and a text in `error` on failure; `step` is then the number of the step at fault, or -1. */
EXPORT void *accelform_create(const struct program *program, int64_t *step, char *error, size_t room) {
    struct handle *handle = calloc(1, sizeof *handle);
    const char *problem = "there is not enough memory";
    *step = ABSENT;
    if (handle != NULL) {
        handle->owner = getpid();
        problem = program_load(&handle->engine, program, step);
        if (problem == NULL && (handle->engine.pool = pool_create(&handle->engine)) == NULL)
            problem = "its threads can't be started";
        if (problem == NULL) return handle;
        give_back(handle, true);
    }
    snprintf(error, room, "%s", problem);
    return NULL;
}

/* Runs on one image; `outputs` are float32. One call at a time. */
EXPORT int accelform_run(void *pointer, const float *image, float *const *outputs, int64_t *step) {
    struct handle *handle = pointer;
    if (getpid() != handle->owner) return FORKED;
    struct engine *engine = &handle->engine;
    engine->image = image;
    engine->outputs = outputs;
    atomic_store(&engine->failed_step, INT_MAX);
    pool_run(engine->pool);
    const int failed = atomic_load(&engine->failed_step);
    *step = failed;
    return failed == INT_MAX ? FINE : NOT_FINITE;
}

/* Nanoseconds of each op in the last run. */
EXPORT const int64_t *accelform_nanoseconds(const void *pointer) {
    return ((const struct handle *)pointer)->engine.nanoseconds;
}

/* After a fork the child has the memory but not the threads. */
EXPORT void accelform_destroy(void *pointer) {
    struct handle *handle = pointer;
    give_back(handle, getpid() == handle->owner);
}
