// Blocks to integers, floats to blocks, integers to panels: the work of loading. Included once for
// any processor and once for AVX2, by quant_repack.c, which says T(name).

static void T(nibbles)(const uint8_t *restrict p, uint8_t q[restrict 32]) {
  for (int i = 0; i < 16; i++) q[i] = p[i] & 15;
  for (int i = 0; i < 16; i++) q[16 + i] = p[i] >> 4;
}
static void T(fifth_bits)(uint32_t high, uint8_t q[restrict 32]) {
  for (int i = 0; i < 32; i++) q[i] |= (high >> i & 1) << 4;
}

// 32 bytes shifted right within themselves; eight at a time, as the mask drops what crosses over.
typedef struct { uint64_t v[4]; } T(bytes32);
K_INLINE T(bytes32) T(fields)(const uint8_t *p, int shift, uint8_t mask) {
  T(bytes32) r;
  memcpy(&r, p, 32);
  for (int i = 0; i < 4; i++) r.v[i] = r.v[i] >> shift & mask * 0x0101010101010101u;
  return r;
}
K_INLINE T(bytes32) T(joined)(T(bytes32) low, T(bytes32) high, int shift) {
  for (int i = 0; i < 4; i++) low.v[i] |= high.v[i] << shift;
  return low;
}

static void T(unpack_q8_0)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)g * 34;
  s->d = read16(b);
  for (int i = 0; i < 32; i++) q[i] = b[2 + i] ^ 0x80;
}
static void T(unpack_q4_0)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)g * 18;
  s->d = read16(b);
  T(nibbles)(b + 2, q);
}
static void T(unpack_q4_1)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)g * 20;
  s->d = read16(b), s->m = read16(b + 2);
  T(nibbles)(b + 4, q);
}
static void T(unpack_q5_0)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)g * 22;
  s->d = read16(b);
  T(nibbles)(b + 6, q);
  T(fifth_bits)(read32(b + 2), q);
}
static void T(unpack_q5_1)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)g * 24;
  s->d = read16(b), s->m = read16(b + 2);
  T(nibbles)(b + 8, q);
  T(fifth_bits)(read32(b + 4), q);
}
static void T(unpack_q2_k)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 84, *p = b + 16 + g % 8 / 4 * 32;
  const int j = g % 8, shift = j % 4 * 2;
  const T(bytes32) v = T(fields)(p, shift, 3);
  memcpy(q, &v, 32);
  s->d = read16(b + 80), s->m = read16(b + 82);
  for (int h = 0; h < 2; h++) s->s[h] = b[2 * j + h] & 15, s->n[h] = b[2 * j + h] >> 4;
}
static void T(unpack_q3_k)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 110, *p = b + 32 + g % 8 / 4 * 32, *c = b + 96;
  const int j = g % 8, shift = j % 4 * 2;
  const T(bytes32) v = T(joined)(T(fields)(p, shift, 3), T(fields)(b, j, 1), 2);
  memcpy(q, &v, 32);
  s->d = read16(b + 108);
  for (int h = 0; h < 2; h++) {
    const int i = 2 * j + h, low = i < 8 ? c[i] & 15 : c[i - 8] >> 4;
    s->s[h] = (uint8_t)((low | (c[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
  }
}
static void T(six_bit_scales)(const uint8_t *p, int j, k_group *s) {
  if (j < 4) {
    s->s[0] = p[j] & 63, s->n[0] = p[j + 4] & 63;
  } else {
    s->s[0] = (p[j + 4] & 15) | p[j - 4] >> 6 << 4;
    s->n[0] = p[j + 4] >> 4 | p[j] >> 6 << 4;
  }
}
static void T(unpack_q4_k)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 144, *p = b + 16 + g % 8 / 2 * 32;
  const T(bytes32) v = T(fields)(p, (g & 1) * 4, 15);
  memcpy(q, &v, 32);
  s->d = read16(b), s->m = read16(b + 2);
  T(six_bit_scales)(b + 4, g % 8, s);
}
static void T(unpack_q5_k)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 176, *h = b + 16, *p = b + 48 + g % 8 / 2 * 32;
  const int shift = (g & 1) * 4, j = g % 8;
  const T(bytes32) v = T(joined)(T(fields)(p, shift, 15), T(fields)(h, j, 1), 4);
  memcpy(q, &v, 32);
  s->d = read16(b), s->m = read16(b + 2);
  T(six_bit_scales)(b + 4, j, s);
}
static void T(unpack_q6_k)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 210;
  const int j = g % 8, n = j / 4, i4 = j % 4, shift = i4 / 2 * 4;
  const uint8_t *p = b + n * 64 + i4 % 2 * 32, *h = b + 128 + n * 32;
  const T(bytes32) v = T(joined)(T(fields)(p, shift, 15), T(fields)(h, 2 * i4, 3), 4);
  memcpy(q, &v, 32);
  s->d = read16(b + 208);
  s->s[0] = b[192 + 2 * j], s->s[1] = b[193 + 2 * j];
}
static void T(unpack_iq4_xs)(const uint8_t *restrict row, int g, uint8_t q[restrict 32],
                           k_group *restrict s) {
  const uint8_t *b = row + (size_t)(g / 8) * 136;
  const int j = g % 8, low = b[4 + j / 2] >> (j % 2 * 4) & 15, high = read16(b + 2) >> (2 * j) & 3;
  s->d = read16(b), s->s[0] = (uint8_t)((low | high << 4) - 32);
  T(nibbles)(b + 8 + j * 16, q);
}

static const k_unpack_group T(unpack)[] = {
#define K_BLOCK(constant, name, ggml, values, bytes, format, unpack) \
  [K_STORED_##constant] = T(unpack),
#include "formats.def"
};

// ---- rounding ----------------------------------------------------------------------------------
K_INLINE uint8_t T(at_most)(float v, int most) {
  const int i = (int)v;
  return (uint8_t)(i > most ? most : i);
}
// The greatest magnitude, by its bits.
K_INLINE float T(greatest_of_32)(const float *x) {
  int32_t bits[32], m = 0;
  memcpy(bits, x, sizeof bits);
  for (int i = 0; i < 32; i++) m = (bits[i] & 0x7fffffff) > m ? bits[i] & 0x7fffffff : m;
  float f;
  memcpy(&f, &m, 4);
  return f;
}
// 16 + 16 nibbles as the file has them.
static void T(write_nibbles)(const uint8_t q[32], uint8_t *p) {
  for (int i = 0; i < 16; i++) p[i] = (q[i] & 15) | (q[16 + i] & 15) << 4;
}
static void T(write_fifth_bits)(const uint8_t q[32], uint8_t *p) {
  uint32_t high = 0;
  for (int i = 0; i < 32; i++) high |= (uint32_t)(q[i] >> 4) << i;
  memcpy(p, &high, 4);
}

static void T(round_q8_0)(const float *x, uint8_t *b) {
  const float d = T(greatest_of_32)(x) / 127.f, up = d ? 1.f / d : 0;
  write16(b, k_float_to_half(d));
  // Half away from zero, without a call per value.
  for (int i = 0; i < 32; i++) {
    const float v = x[i] * up;
    int n = (int)v;
    const float rest = v - (float)n;
    n += (rest >= 0.5f) - (rest <= -0.5f);
    b[2 + i] = (uint8_t)n;
  }
}
// Symmetric: the (first) value of greatest magnitude becomes the most negative integer.
static void T(round_symmetric)(const float *x, uint8_t *b, int bits) {
  const int half = 1 << (bits - 1);
  const float top = T(greatest_of_32)(x);
  int first = 31;
  for (int i = 0; i < 32; i++) {
    const int at = fabsf(x[i]) == top ? i : 31;
    first = at < first ? at : first;
  }
  const float d = x[first] / (float)-half, up = d ? 1.f / d : 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = T(at_most)(x[i] * up + ((float)half + 0.5f), 2 * half - 1);
  write16(b, k_float_to_half(d));
  T(write_nibbles)(q, b + (bits == 5 ? 6 : 2));
  if (bits == 5) T(write_fifth_bits)(q, b + 2);
}
static void T(round_with_minimum)(const float *x, uint8_t *b, int bits) {
  const int most = (1 << bits) - 1;
  float low = x[0], top = x[0];
  for (int i = 1; i < 32; i++) low = x[i] < low ? x[i] : low, top = x[i] > top ? x[i] : top;
  const float d = (top - low) / (float)most, up = d ? 1.f / d : 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = T(at_most)((x[i] - low) * up + 0.5f, most);
  write16(b, k_float_to_half(d)), write16(b + 2, k_float_to_half(low));
  T(write_nibbles)(q, b + (bits == 5 ? 8 : 4));
  if (bits == 5) T(write_fifth_bits)(q, b + 4);
}
static bool T(round_block)(k_stored stored, const float *x, uint8_t *b) {
  switch (stored) {
  case K_STORED_Q8_0: T(round_q8_0)(x, b); break;
  case K_STORED_Q4_0: T(round_symmetric)(x, b, 4); break;
  case K_STORED_Q5_0: T(round_symmetric)(x, b, 5); break;
  case K_STORED_Q4_1: T(round_with_minimum)(x, b, 4); break;
  case K_STORED_Q5_1: T(round_with_minimum)(x, b, 5); break;
  default: return false;
  }
  return true;
}

// ---- panels ------------------------------------------------------------------------------------
// Rows of 32 bytes become steps: 4 bytes of every output side by side.
static void T(transpose)(const uint8_t q[32][32], uint32_t steps[8][32]) {
  for (int o = 0; o < 32; o++) {
    uint32_t row[8];
    memcpy(row, q[o], 32);
    for (int j = 0; j < 8; j++) steps[j][o] = row[j];
  }
}

K_INLINE void T(write_integers_of)(const int low, const int high, const uint8_t q[32][32],
                                     uint8_t *restrict w) {
  uint32_t steps[8][32], line[32];
  const int per = 8 / low;
  T(transpose)(q, steps);
  const uint32_t low_mask = 0x01010101u * ((1u << low) - 1);
  for (int s = 0; s < 8 / per; s++) {
    for (int o = 0; o < 32; o++) line[o] = steps[s * per][o] & low_mask;
    for (int i = 1; i < per; i++)
      for (int o = 0; o < 32; o++) line[o] |= (steps[s * per + i][o] & low_mask) << (i * low);
    memcpy(w + s * 128, line, 128);
  }
  if (!high) return;
  const int span = 8 / high;
  const uint32_t high_mask = 0x01010101u * ((1u << high) - 1);
  for (int t = 0; t < high; t++) {
    memset(line, 0, sizeof line);
    for (int i = 0; i < span; i++)
      for (int o = 0; o < 32; o++)
        line[o] |= (steps[t * span + i][o] >> low & high_mask) << (i * high);
    memcpy(w + (low + t) * 128, line, 128);
  }
}
static void T(write_integers)(const int form, const uint8_t q[32][32], uint8_t *w) {
  switch (form_low(form) * 4 + form_high(form)) {
  case 32: T(write_integers_of)(8, 0, q, w); break;
  case 16: T(write_integers_of)(4, 0, q, w); break;
  case 17: T(write_integers_of)(4, 1, q, w); break;
  case 18: T(write_integers_of)(4, 2, q, w); break;
  case 9: T(write_integers_of)(2, 1, q, w); break;
  default: T(write_integers_of)(2, 0, q, w); break;
  }
}

// The sources of a group, one after the other; missing rows are zero weights.
static void T(write_group)(const int form, uint8_t *panel, int g, const uint8_t q[32][32],
                        const k_group scales[32]) {
  const uint8_t *head;
  uint8_t *w = (uint8_t *)panel_group(form, panel, g, &head);
  T(write_integers)(form, q, w);
  for (int o = 0; o < 32; o++) k_panel_write_scales(form, (uint8_t *)head, w, g % 8, o, &scales[o]);
}

static void T(pack)(int form, uint8_t *panel, int inputs, k_stored stored,
                  const uint8_t *const rows[K_PANEL], float *scratch) {
  const int groups = (inputs + K_GROUP - 1) / K_GROUP;
    const bool direct = k_stored_format(stored) == K_FORMAT_QUANT + (uint32_t)form;
  const int type = rounded_type(form);
  if (!direct && type < 0) return;
  const k_unpack_group rounded = direct ? T(unpack)[stored] : T(unpack)[type];
  const int values = k_stored_block_values(stored), whole = (inputs + values - 1) / values * values;
  uint8_t q[32][32];
  k_group scales[32];
  memset(q, 0, sizeof q), memset(scales, 0, sizeof scales);
  if (!direct)  // to f32 once, then rounded group by group
    for (int o = 0; o < 32; o++)
      if (rows[o] && whole == inputs)
        k_dequantize(stored, rows[o], (size_t)inputs, scratch + (size_t)o * (size_t)inputs);
  for (int g = 0; g < groups; g++) {
    for (int o = 0; o < 32; o++) {
      if (!rows[o]) continue;
      if (direct) {
        rounded(rows[o], g, q[o], &scales[o]);
        continue;
      }
      float x[32] = {0};
      uint8_t block[64];
      const int n = inputs - g * 32 < 32 ? inputs - g * 32 : 32;
      memcpy(x, scratch + (size_t)o * (size_t)inputs + g * 32, (size_t)n * 4);
      T(round_block)((k_stored)type, x, block);
      rounded(block, 0, q[o], &scales[o]);
    }
    T(write_group)(form, panel, g, q, scales);
  }
}

