// Floating-point kernels for AVX-512: 12 rows x 32 outputs in 24 zmm sums.
#if defined(__x86_64__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c"))), apply_to = function)
#define K_NAME(x) avx512_##x
#define K_TILE_ROWS 12
#define K_TILE_VECS 2
#define K_GEMV_PANELS 4
#define K_F16C 1
#include "float_template.h"

const k_isa_ops k_ops_avx512 = {
    V_ROWS_OPS,
    .formats = {V_FORMATS_OPS, {V_BF16_F32, V_BF16_ROUNDED}},
    .caches = {{V_CACHE_F32, V_CACHE_F32}, {V_CACHE_BF16, V_CACHE_BF16_ROUNDED}},
};
#pragma clang attribute pop
#endif
