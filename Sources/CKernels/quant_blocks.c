// GGUF blocks: taking them apart exactly, and ggml's reference rounding into the simple ones.
#include "quant_blocks.h"

#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

// Levels of IQ4_NL and IQ4_XS.
const int8_t k_quant_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

float k_half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023;
  union { uint32_t i; float f; } u;
  if (e == 31) {
    u.i = sign | 0x7f800000 | m << 13;
  } else if (e) {
    u.i = sign | (e + 112) << 23 | m << 13;
  } else {
    u.f = (float)m * 0x1p-24f;
    u.i |= sign;
  }
  return u.f;
}

uint16_t k_float_to_half(float f) {
  union { float f; uint32_t i; } u = {f};
  const uint16_t sign = u.i >> 16 & 0x8000;
  u.i &= 0x7fffffff;
  if (u.i > 0x7f800000) return sign | 0x7e00;
  if (u.i >= 0x477ff000) return sign | 0x7c00;  // 65520 and above
  if (u.i < 0x38800000) {  // below 2^-14: a multiple of 2^-24; the addition rounds
    u.f += 0.5f;
    return sign | (uint16_t)(u.i - 0x3f000000);
  }
  return sign | (uint16_t)((u.i - 0x38000000 + 0xfff + (u.i >> 13 & 1)) >> 13);
}

static uint16_t read16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
static uint32_t read32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}
static void nibbles(const uint8_t *p, uint8_t q[32]) {
  for (int i = 0; i < 16; i++) q[i] = p[i] & 15, q[16 + i] = p[i] >> 4;
}
static void fifth_bits(uint32_t high, uint8_t q[32]) {
  for (int i = 0; i < 32; i++) q[i] |= (high >> i & 1) << 4;
}

static void unpack_q8_0(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)g * 34;
  s->d = read16(b);
  for (int i = 0; i < 32; i++) q[i] = b[2 + i] ^ 0x80;
}
static void unpack_q4_0(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)g * 18;
  s->d = read16(b);
  nibbles(b + 2, q);
}
static void unpack_q4_1(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)g * 20;
  s->d = read16(b), s->m = read16(b + 2);
  nibbles(b + 4, q);
}
static void unpack_q5_0(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)g * 22;
  s->d = read16(b);
  nibbles(b + 6, q);
  fifth_bits(read32(b + 2), q);
}
static void unpack_q5_1(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)g * 24;
  s->d = read16(b), s->m = read16(b + 2);
  nibbles(b + 8, q);
  fifth_bits(read32(b + 4), q);
}
static void unpack_q2_k(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 84, *p = b + 16 + g % 8 / 4 * 32;
  const int j = g % 8, shift = j % 4 * 2;
  for (int i = 0; i < 32; i++) q[i] = p[i] >> shift & 3;
  s->d = read16(b + 80), s->m = read16(b + 82);
  for (int h = 0; h < 2; h++) s->s[h] = b[2 * j + h] & 15, s->n[h] = b[2 * j + h] >> 4;
}
static void unpack_q3_k(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 110, *p = b + 32 + g % 8 / 4 * 32, *c = b + 96;
  const int j = g % 8, shift = j % 4 * 2;
  for (int i = 0; i < 32; i++) q[i] = (p[i] >> shift & 3) | (b[i] >> j & 1) << 2;
  s->d = read16(b + 108);
  for (int h = 0; h < 2; h++) {
    const int i = 2 * j + h, low = i < 8 ? c[i] & 15 : c[i - 8] >> 4;
    s->s[h] = (uint8_t)((low | (c[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32);
  }
}
static void six_bit_scales(const uint8_t *p, int j, k_group *s) {
  if (j < 4) {
    s->s[0] = p[j] & 63, s->n[0] = p[j + 4] & 63;
  } else {
    s->s[0] = (p[j + 4] & 15) | p[j - 4] >> 6 << 4;
    s->n[0] = p[j + 4] >> 4 | p[j] >> 6 << 4;
  }
}
static void unpack_q4_k(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 144, *p = b + 16 + g % 8 / 2 * 32;
  if (g & 1) {
    for (int i = 0; i < 32; i++) q[i] = p[i] >> 4;
  } else {
    for (int i = 0; i < 32; i++) q[i] = p[i] & 15;
  }
  s->d = read16(b), s->m = read16(b + 2);
  six_bit_scales(b + 4, g % 8, s);
}
static void unpack_q5_k(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 176, *h = b + 16, *p = b + 48 + g % 8 / 2 * 32;
  const int shift = (g & 1) * 4, j = g % 8;
  for (int i = 0; i < 32; i++) q[i] = (p[i] >> shift & 15) | (h[i] >> j & 1) << 4;
  s->d = read16(b), s->m = read16(b + 2);
  six_bit_scales(b + 4, j, s);
}
static void unpack_q6_k(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 210;
  const int j = g % 8, n = j / 4, i4 = j % 4, shift = i4 / 2 * 4;
  const uint8_t *p = b + n * 64 + i4 % 2 * 32, *h = b + 128 + n * 32;
  for (int i = 0; i < 32; i++) q[i] = (p[i] >> shift & 15) | (h[i] >> (2 * i4) & 3) << 4;
  s->d = read16(b + 208);
  s->s[0] = b[192 + 2 * j], s->s[1] = b[193 + 2 * j];
}
static void unpack_iq4_xs(const uint8_t *row, int g, uint8_t q[32], k_group *s) {
  const uint8_t *b = row + (size_t)(g / 8) * 136;
  const int j = g % 8, low = b[4 + j / 2] >> (j % 2 * 4) & 15, high = read16(b + 2) >> (2 * j) & 3;
  s->d = read16(b), s->s[0] = (uint8_t)((low | high << 4) - 32);
  nibbles(b + 8 + j * 16, q);
}

static const struct {
  k_unpack_group unpack;
  k_quant_form form;
  int values, bytes;
} types[] = {
  [K_STORED_F32] = {0, 0, 1, 4}, [K_STORED_F16] = {0, 0, 1, 2}, [K_STORED_BF16] = {0, 0, 1, 2},
  [K_STORED_Q8_0] = {unpack_q8_0, K_FORM_Q8, 32, 34},
  [K_STORED_Q4_0] = {unpack_q4_0, K_FORM_Q4, 32, 18},
  [K_STORED_Q4_1] = {unpack_q4_1, K_FORM_Q4M, 32, 20},
  [K_STORED_Q5_0] = {unpack_q5_0, K_FORM_Q5, 32, 22},
  [K_STORED_Q5_1] = {unpack_q5_1, K_FORM_Q5M, 32, 24},
  [K_STORED_Q2_K] = {unpack_q2_k, K_FORM_Q2K, 256, 84},
  [K_STORED_Q3_K] = {unpack_q3_k, K_FORM_Q3S, 256, 110},
  [K_STORED_Q4_K] = {unpack_q4_k, K_FORM_Q4K, 256, 144},
  [K_STORED_Q5_K] = {unpack_q5_k, K_FORM_Q5K, 256, 176},
  [K_STORED_Q6_K] = {unpack_q6_k, K_FORM_Q6S, 256, 210},
  [K_STORED_IQ4_NL] = {unpack_q4_0, K_FORM_Q4T, 32, 18},
  [K_STORED_IQ4_XS] = {unpack_iq4_xs, K_FORM_Q4TS, 256, 136},
};

k_unpack_group k_unpack_group_of(k_stored stored) { return types[stored].unpack; }
int k_stored_block_values(k_stored stored) { return types[stored].values; }
int k_stored_block_bytes(k_stored stored) { return types[stored].bytes; }
uint32_t k_quant_format_of(k_stored stored) {
  return types[stored].unpack ? K_FORMAT_QUANT + types[stored].form : 0;
}

void k_group_values(int form, const uint8_t q[32], const k_group *g, float out[32]) {
  const int kind = form_scale(form), offset = form_offset(form) < 0 ? 0 : 1 << form_offset(form);
  for (int h = 0; h < 2; h++) {
    float s, m = 0;
    switch (kind) {
    case K_SCALE_F16: s = k_half_to_float(g->d); break;
    case K_SCALE_F16M: s = k_half_to_float(g->d), m = k_half_to_float(g->m); break;
    case K_SCALE_F32: s = g->df; break;
    case K_SCALE_F32M: s = g->df, m = g->mf; break;
    case K_SCALE_K:
      s = k_half_to_float(g->d) * (float)g->s[0], m = -(k_half_to_float(g->m) * (float)g->n[0]);
      break;
    case K_SCALE_K16:
      s = k_half_to_float(g->d) * (float)g->s[h], m = -(k_half_to_float(g->m) * (float)g->n[h]);
      break;
    case K_SCALE_S16: s = k_half_to_float(g->d) * (float)(int8_t)g->s[h]; break;
    default: s = k_half_to_float(g->d) * (float)(int8_t)g->s[0]; break;
    }
    for (int i = h * 16; i < h * 16 + 16; i++) {
      const int v = form_table(form) ? k_quant_table[q[i]] : q[i] - offset;
      out[i] = form_minimum(form) ? s * (float)v + m : s * (float)v;
    }
  }
}

void k_dequantize(k_stored stored, const void *blocks, size_t count, float *out) {
  const uint8_t *b = blocks;
  if (stored == K_STORED_F32) {
    memcpy(out, b, count * 4);
  } else if (stored == K_STORED_F16) {
    for (size_t i = 0; i < count; i++) out[i] = k_half_to_float(read16(b + 2 * i));
  } else if (stored == K_STORED_BF16) {
    for (size_t i = 0; i < count; i++) {
      const uint32_t bits = (uint32_t)read16(b + 2 * i) << 16;
      memcpy(out + i, &bits, 4);
    }
  } else {
    for (size_t i = 0; i + 32 <= count; i += 32) {
      uint8_t q[32];
      k_group g = {0};
      const size_t block = i / (size_t)types[stored].values;
      types[stored].unpack(b + block * (size_t)types[stored].bytes,
                           (int)(i % (size_t)types[stored].values / 32), q, &g);
      k_group_values(types[stored].form, q, &g, out + i);
    }
  }
}

// ---- rounding ----------------------------------------------------------------------------------
static void write16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
static uint8_t at_most(float v, int most) {
  const int i = (int)v;
  return (uint8_t)(i > most ? most : i);
}
// 16 + 16 nibbles as the file has them, and the fifth bits.
static uint32_t write_nibbles(const uint8_t q[32], uint8_t *p) {
  uint32_t high = 0;
  for (int i = 0; i < 16; i++) p[i] = (q[i] & 15) | (q[16 + i] & 15) << 4;
  for (int i = 0; i < 32; i++) high |= (uint32_t)(q[i] >> 4) << i;
  return high;
}

static void round_q8_0(const float *x, uint8_t *b) {
  float m = 0;
  for (int i = 0; i < 32; i++) m = fabsf(x[i]) > m ? fabsf(x[i]) : m;
  const float d = m / 127.f, up = d ? 1.f / d : 0;
  write16(b, k_float_to_half(d));
  // roundf, half away from zero, without a call per value
  for (int i = 0; i < 32; i++) {
    const float v = x[i] * up, t = truncf(v);
    b[2 + i] = (uint8_t)(int8_t)(int)(t + (fabsf(v - t) >= 0.5f ? copysignf(1.f, v) : 0.f));
  }
}
// Symmetric: the value of greatest magnitude becomes the most negative integer.
static void round_symmetric(const float *x, uint8_t *b, int bits) {
  const int half = 1 << (bits - 1);
  float top = 0, most = 0;
  for (int i = 0; i < 32; i++)
    if (fabsf(x[i]) > top) top = fabsf(x[i]), most = x[i];
  const float d = most / (float)-half, up = d ? 1.f / d : 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = at_most(x[i] * up + (float)half + 0.5f, 2 * half - 1);
  write16(b, k_float_to_half(d));
  const uint32_t high = write_nibbles(q, b + (bits == 5 ? 6 : 2));
  if (bits == 5) memcpy(b + 2, &high, 4);
}
static void round_with_minimum(const float *x, uint8_t *b, int bits) {
  const int most = (1 << bits) - 1;
  float low = x[0], top = x[0];
  for (int i = 1; i < 32; i++) low = x[i] < low ? x[i] : low, top = x[i] > top ? x[i] : top;
  const float d = (top - low) / (float)most, up = d ? 1.f / d : 0;
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = at_most((x[i] - low) * up + 0.5f, most);
  write16(b, k_float_to_half(d)), write16(b + 2, k_float_to_half(low));
  const uint32_t high = write_nibbles(q, b + (bits == 5 ? 8 : 4));
  if (bits == 5) memcpy(b + 4, &high, 4);
}

bool k_quantize(k_stored stored, const float *x, size_t count, void *blocks) {
  uint8_t *b = blocks;
  if (stored < K_STORED_Q8_0 || stored > K_STORED_Q5_1) return false;
  for (size_t i = 0; i + 32 <= count; i += 32, b += types[stored].bytes) {
    switch (stored) {
    case K_STORED_Q8_0: round_q8_0(x + i, b); break;
    case K_STORED_Q4_0: round_symmetric(x + i, b, 4); break;
    case K_STORED_Q5_0: round_symmetric(x + i, b, 5); break;
    case K_STORED_Q4_1: round_with_minimum(x + i, b, 4); break;
    default: round_with_minimum(x + i, b, 5); break;
    }
  }
  return true;
}

void k_round_row(const float *x, int inputs, int bits, int group, uint8_t *q, float *scale,
                 float *minimum) {
  if (group <= 0 || group > inputs) group = inputs;
  const int most = (1 << bits) - 1, half = 1 << (bits - 1);
  for (int k = 0; k < inputs; k += group) {
    const int end = k + group < inputs ? k + group : inputs;
    float low = 0, top = 0;  // zero stays exact
    for (int i = k; i < end; i++) low = x[i] < low ? x[i] : low, top = x[i] > top ? x[i] : top;
    const float reach = top > -low ? top : -low;
    const float d = minimum ? (top - low) / (float)most : reach / (float)(half - 1);
    const float up = d > 0 ? 1.f / d : 0;
    const int zero = minimum ? (int)lrintf(-low * up) : half;
    for (int i = k; i < end; i++) {
      const int v = (int)lrintf(x[i] * up) + zero;
      q[i] = (uint8_t)(v < 0 ? 0 : v > most ? most : v);
    }
    for (int g = k / K_GROUP; g * K_GROUP < end; g++) {
      scale[g] = d;
      if (minimum) minimum[g] = -d * (float)zero;
    }
  }
}
