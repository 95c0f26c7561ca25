// Quantised products with AVX2.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "quant_forms.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,f16c,fma"))), apply_to = function)

#define T(name) name##_avx2
#include "quant_avx2_operations.h"

// Weights of 8 bits would saturate the 16-bit sums of maddubs (255 * 127 * 2), so even and odd
// bytes go separately; up to 6 bits they cannot (63 * 127 * 2 = 16002).
K_INLINE VI v_dot(const int F, VI sum, VI w, VI b) {
  if (form_low(F) == 8 || form_table(F)) {
    const VI low = _mm256_set1_epi16(255);
    const VI even = _mm256_madd_epi16(_mm256_and_si256(w, low),
                                      _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const VI odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
  }
  const VI pairs = _mm256_maddubs_epi16(w, b);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "quant_tile.h"
#include "quant_cache.h"

#pragma clang attribute pop
#endif
