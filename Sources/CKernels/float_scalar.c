// Floating-point kernels without any instruction set beyond the architecture's own: the reference.
#define K_NAME(x) scalar_##x
#define K_TILE_ROWS 2
#define K_TILE_VECS 1
#define K_GEMV_PANELS 2
#define K_F16C 0
#include "float_template.h"

const k_isa_ops k_ops_scalar = {
    V_ROWS_OPS,
    .formats = {V_FORMATS_OPS, {V_BF16_F32, V_BF16_ROUNDED}},
    .caches = {{V_CACHE_F32, V_CACHE_F32}, {V_CACHE_BF16, V_CACHE_BF16_ROUNDED}},
};
