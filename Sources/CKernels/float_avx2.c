// Floating-point kernels for AVX2, FMA and F16C: 6 rows x 16 outputs in 12 ymm sums.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define K_NAME(x) avx2_##x
#define K_TILE_ROWS 6
#define K_TILE_VECS 1
#define K_GEMV_PANELS 2
#define K_F16C 1
#include "float_template.h"

const k_isa_ops k_ops_avx2 = {
    V_ROWS_OPS,
    .formats = {V_FORMATS_OPS, {V_BF16_F32, V_BF16_ROUNDED}},
    .caches = {{V_CACHE_F32, V_CACHE_F32}, {V_CACHE_BF16, V_CACHE_BF16_ROUNDED}},
};
#pragma clang attribute pop
#endif
