/* Which kernels this processor can run. */
#include <stddef.h>

#include "kernels.h"

enum backend { ANY, PORTABLE, AVX2, VNNI };

int kernels_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return PORTABLE;
    const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512vnni");
    return wide ? VNNI : AVX2;
#else
    return PORTABLE;
#endif
}

const struct kernels *kernels_choose(int64_t backend) {
    const int best = kernels_best();
    if (backend < ANY || backend > best) return NULL;
    switch (backend == ANY ? best : (int)backend) {
#if defined(__x86_64__)
    case VNNI:
        return &vnni_kernels;
    case AVX2:
        return &avx2_kernels;
#endif
    default:
        return &portable_kernels;
    }
}
