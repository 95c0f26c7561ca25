// Vector operations of quant_tile.h on 256 bits. v_dot is left to the including file.
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#define ROWS_MAX 4
#define SUMS_IN_REGISTERS 0
#define LANES 8
#define VI __m256i
#define VF __m256

#define v_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define v_and _mm256_and_si256
#define v_or _mm256_or_si256
#define v_shift_right16(v, n) _mm256_srli_epi16(v, n)
#define v_shift_left16(v, n) _mm256_slli_epi16(v, n)
#define v_bytes(b) _mm256_set1_epi8((char)(b))
#define v_zero _mm256_setzero_si256
#define v_set32 _mm256_set1_epi32
#define v_set _mm256_set1_ps
#define v_add32 _mm256_add_epi32
#define v_shift_left32(v, n) _mm256_slli_epi32(v, n)
#define v_float _mm256_cvtepi32_ps
#define v_mul _mm256_mul_ps
#define v_least _mm256_min_ps
#define v_most _mm256_max_ps
#define v_fma _mm256_fmadd_ps
#define v_fnma _mm256_fnmadd_ps
#define v_f32 _mm256_loadu_ps
#define v_store _mm256_storeu_ps
#define v_max32 _mm256_max_epi32
#define v_bits _mm256_castps_si256
#define v_round _mm256_cvtps_epi32

K_INLINE VI v_broadcast(const int8_t *p) {
  int32_t i;
  __builtin_memcpy(&i, p, 4);
  return _mm256_set1_epi32(i);
}
// Unsigned: the table plus 128.
K_INLINE VI v_lookup(VI q) {
  const __m128i t = _mm_xor_si128(_mm_loadu_si128((const __m128i *)k_quant_table),
                                  _mm_set1_epi8((char)0x80));
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), q);
}
K_INLINE VF v_f16(const uint8_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
K_INLINE VF v_u8(const uint8_t *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
K_INLINE VF v_i8(const uint8_t *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
K_INLINE VF v_low4(const uint8_t *p) {
  const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
  return _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32(15)));
}
K_INLINE VF v_high4(const uint8_t *p) {
  const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
  return _mm256_cvtepi32_ps(_mm256_srli_epi32(v, 4));
}
K_INLINE int32_t v_reduce_max(VI v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}
// Stores 16 integers as bytes and returns their sum.
K_INLINE int32_t v_store16(int8_t *p, const VI *i) {
  const __m128i a = _mm_packs_epi32(_mm256_castsi256_si128(i[0]),
                                    _mm256_extracti128_si256(i[0], 1));
  const __m128i b = _mm_packs_epi32(_mm256_castsi256_si128(i[1]),
                                    _mm256_extracti128_si256(i[1], 1));
  const __m128i bytes = _mm_packs_epi16(a, b);
  _mm_storeu_si128((__m128i *)p, bytes);
  __m128i s = _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), bytes), _mm_set1_epi16(1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
