// Weight-only products: quantised weights times f32 rows, f32 sums.
//
// The weights of a panel become f32 in pieces that stay in L1, and all rows of the call use them.
// A result depends on its row and column alone, and is the same bits in every instruction set.
#include <string.h>

#include "kernels.h"
#include "quant_pack.h"
#include "vector.h"

#pragma STDC FP_CONTRACT OFF

enum { CHUNK_GROUPS = 8 };  // 256 inputs x 32 outputs x 4 B = 32 KiB

// Rows lie whole groups apart, and never a power of two.
static inline size_t row_floats(int inputs) {
  return ((size_t)inputs + K_GROUP - 1) / K_GROUP * K_GROUP + 16;
}
size_t k_float_prepared_bytes(int inputs, int rows) {
  return (size_t)rows * row_floats(inputs) * sizeof(float);
}

#define T(name) name##_scalar
#define TILE_ROWS 2
#define VECTORS 1
#define SET K_ISA_SCALAR
#include "quant_float.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define T(name) name##_avx2
#define TILE_ROWS 6
#define VECTORS 1
#define SET K_ISA_AVX2
#include "quant_float.h"
#pragma clang attribute pop

#pragma clang attribute push(                                                      \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,f16c,fma"))), \
  apply_to = function)
#define T(name) name##_avx512
#define TILE_ROWS 6
#define VECTORS 2
#define SET K_ISA_AVX512
#include "quant_float.h"
#pragma clang attribute pop
#endif
