// Quantised products with AVX-512 VNNI.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "quant_forms.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(                                                                   \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,f16c,fma"))), \
  apply_to = function)

#define T(name) name##_avx512
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#define ROWS_MAX 12
#define SUMS_IN_REGISTERS 6
#define LANES 16
typedef __m512i VI_avx512;
typedef __m512 VF_avx512;
#define VI VI_avx512
#define VF VF_avx512

#define v_load(p) _mm512_loadu_si512(p)
#define v_and _mm512_and_si512
#define v_or _mm512_or_si512
#define v_shift_right16(v, n) _mm512_srli_epi16(v, n)
#define v_shift_left16(v, n) _mm512_slli_epi16(v, n)
#define v_bytes(b) _mm512_set1_epi8((char)(b))
#define v_zero _mm512_setzero_si512
#define v_set32 _mm512_set1_epi32
#define v_set _mm512_set1_ps
#define v_add32 _mm512_add_epi32
#define v_shift_left32(v, n) _mm512_slli_epi32(v, n)
#define v_float _mm512_cvtepi32_ps
#define v_mul _mm512_mul_ps
#define v_least _mm512_min_ps
#define v_most _mm512_max_ps
#define v_fma _mm512_fmadd_ps
#define v_fnma _mm512_fnmadd_ps
#define v_f32 _mm512_loadu_ps
#define v_store _mm512_storeu_ps
#define v_max32 _mm512_max_epi32
#define v_bits _mm512_castps_si512
#define v_round _mm512_cvtps_epi32
#define v_dot(F, acc, w, b) _mm512_dpbusd_epi32(acc, w, b)

K_INLINE VI v_broadcast(const int8_t *p) {
  int32_t i;
  __builtin_memcpy(&i, p, 4);
  return _mm512_set1_epi32(i);
}
// Unsigned: the table plus 128.
K_INLINE VI v_lookup(VI q) {
  const __m128i t = _mm_xor_si128(_mm_loadu_si128((const __m128i *)k_quant_table),
                                  _mm_set1_epi8((char)0x80));
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), q);
}
K_INLINE VF v_f16(const uint8_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
K_INLINE VF v_u8(const uint8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
K_INLINE VF v_i8(const uint8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
K_INLINE VF v_low4(const uint8_t *p) {
  const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32(15)));
}
K_INLINE VF v_high4(const uint8_t *p) {
  const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm512_cvtepi32_ps(_mm512_srli_epi32(v, 4));
}
K_INLINE int32_t v_reduce_max(VI v) { return _mm512_reduce_max_epi32(v); }
// Stores 16 integers as bytes and returns their sum.
K_INLINE int32_t v_store16(int8_t *p, const VI *i) {
  const __m128i b = _mm512_cvtsepi32_epi8(i[0]);
  _mm_storeu_si128((__m128i *)p, b);
  __m128i s = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), b);
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

#include "quant_tile.h"
#include "quant_cache.h"

#pragma clang attribute pop
#endif
