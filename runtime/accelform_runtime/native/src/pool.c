/* Threads that run a program's items, op by op.
 *
 * One word says which run, which op and which item is next. Whoever takes an item swaps the word for the next, so an
 * item can't be taken twice or late. Whoever ends an op's last item moves the word on. A thread that was never given
 * the processor is therefore not waited for.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "engine.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#else
#define PAUSE() ((void)0)
#endif

#define ITEM_BITS 24
#define OP_BITS 16
#define IDLE ((1u << OP_BITS) - 1)
#define SPIN_NANOSECONDS 30000

struct pool {
    struct engine *engine;
    _Alignas(64) atomic_uint_fast64_t word;
    _Alignas(64) atomic_int done;
    _Alignas(64) atomic_int sleepers;
    atomic_bool stop;
    int64_t op_started;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t *threads;
    int thread_count;
    atomic_int next_scratch;
};

static uint64_t word_of(uint64_t run, unsigned op, uint64_t item) {
    return run << (ITEM_BITS + OP_BITS) | (uint64_t)op << ITEM_BITS | item;
}

static unsigned op_of(uint64_t word) { return (word >> ITEM_BITS) & IDLE; }
static int item_of(uint64_t word) { return (int)(word & ((1u << ITEM_BITS) - 1)); }

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void publish(struct pool *pool, uint64_t word) {
    atomic_store(&pool->word, word);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static void wait_for_change(struct pool *pool, uint64_t seen) {
    int64_t until = now() + SPIN_NANOSECONDS;
    do {
        for (int turn = 0; turn < 16; turn++) {
            if (atomic_load_explicit(&pool->word, memory_order_acquire) != seen) return;
            PAUSE();
        }
    } while (now() < until);
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->word) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->changed, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

/* Takes an item if there is one. */
static bool work(struct pool *pool, uint64_t word, struct scratch *scratch) {
    struct engine *engine = pool->engine;
    unsigned number = op_of(word);
    const struct op *op = &engine->ops[number];
    if (item_of(word) >= op->items) return false;
    uint_fast64_t expected = word;
    if (!atomic_compare_exchange_strong(&pool->word, &expected, word + 1)) return true;
    if (op->kind == CONVOLUTION)
        convolution_item(engine, op, item_of(word), scratch);
    else
        rows_item(engine, op, item_of(word), scratch);
    if (atomic_fetch_add(&pool->done, 1) + 1 == op->items) {
        int64_t ended = now();
        engine->nanoseconds[number] = ended - pool->op_started;
        pool->op_started = ended;
        atomic_store(&pool->done, 0);
        unsigned next = number + 1 == (unsigned)engine->op_count ? IDLE : number + 1;
        publish(pool, word_of(word >> (ITEM_BITS + OP_BITS), next, 0));
    }
    return true;
}

static void plain_arithmetic(void) {
#if defined(__x86_64__)
    _mm_setcsr(0x1f80); /* round to nearest, keep subnormals, no traps */
#endif
}

static void *worker(void *argument) {
    struct pool *pool = argument;
    struct scratch *scratch = &pool->engine->scratches[atomic_fetch_add(&pool->next_scratch, 1)];
    plain_arithmetic();
    while (!atomic_load(&pool->stop)) {
        uint64_t word = atomic_load(&pool->word);
        if (op_of(word) == IDLE || !work(pool, word, scratch)) wait_for_change(pool, word);
    }
    return NULL;
}

void pool_run(struct pool *pool) {
#if defined(__x86_64__)
    unsigned saved = _mm_getcsr();
#endif
    plain_arithmetic();
    uint64_t run = (atomic_load(&pool->word) >> (ITEM_BITS + OP_BITS)) + 1;
    pool->op_started = now();
    publish(pool, word_of(run, 0, 0));
    for (;;) {
        uint64_t word = atomic_load(&pool->word);
        if (op_of(word) == IDLE) break;
        if (!work(pool, word, &pool->engine->scratches[0])) wait_for_change(pool, word);
    }
#if defined(__x86_64__)
    _mm_setcsr(saved);
#endif
}

struct pool *pool_create(struct engine *engine) {
    struct pool *pool = NULL;
    if (posix_memalign((void **)&pool, 64, sizeof *pool) != 0) return NULL;
    pool->engine = engine;
    atomic_init(&pool->word, word_of(0, IDLE, 0));
    atomic_init(&pool->done, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->stop, false);
    atomic_init(&pool->next_scratch, 1);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pool->thread_count = 0;
    pool->threads = calloc((size_t)engine->threads, sizeof *pool->threads);
    bool whole = pool->threads != NULL;
    sigset_t all, before; /* signals are for the caller's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (whole && pool->thread_count < engine->threads - 1) {
        whole = pthread_create(&pool->threads[pool->thread_count], NULL, worker, pool) == 0;
        pool->thread_count += whole;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!whole) {
        pool_destroy(pool, true);
        return NULL;
    }
    return pool;
}

void pool_destroy(struct pool *pool, bool has_threads) {
    if (has_threads) {
        pthread_mutex_lock(&pool->mutex);
        atomic_store(&pool->stop, true);
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
        for (int index = 0; index < pool->thread_count; index++) pthread_join(pool->threads[index], NULL);
        pthread_cond_destroy(&pool->changed);
        pthread_mutex_destroy(&pool->mutex);
    }
    free(pool->threads);
    free(pool);
}
