// Vectors of 16 floats in the compiler's own notation: one zmm, two ymm, four xmm. The same source
// serves every instruction set, and since each lane does the same IEEE operations everywhere, all
// of them give the same bits.
#pragma once
// Every function that takes or returns a vector is inlined, so no calling convention is at stake.
#pragma clang diagnostic ignored "-Wpsabi"

#include <stdint.h>
#include <string.h>

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef uint32_t u16v __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef _Float16 f16v __attribute__((vector_size(32)));

#define V_INLINE static inline __attribute__((always_inline))
#define V_UNROLL _Pragma("clang loop unroll(full)")
#define V_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
