// Quantised products with AVX-VNNI: 256-bit dot products on processors without AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "quant_forms.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,avxvnni,f16c,fma"))), \
                             apply_to = function)

#define T(name) name##_avx_vnni
#include "quant_avx2_operations.h"
#define v_dot(F, sum, w, b) _mm256_dpbusd_avx_epi32(sum, w, b)

#include "quant_tile.h"
#include "quant_cache.h"

#pragma clang attribute pop
#endif
