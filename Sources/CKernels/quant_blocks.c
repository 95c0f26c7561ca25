// GGUF types and the exact values of their blocks; rounding by general schemes.
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

static const k_block_type types[] = {
#define K_PLAIN(constant, name, ggml, values, bytes, ...) \
  [K_STORED_##constant] = {name, ggml, values, bytes},
#define K_BLOCK(constant, name, ggml, values, bytes, ...) \
  [K_STORED_##constant] = {name, ggml, values, bytes},
#include "formats.def"
};
static const uint32_t formats[] = {
#define K_PLAIN(constant, name, ggml, values, bytes, format) [K_STORED_##constant] = format,
#define K_BLOCK(constant, name, ggml, values, bytes, format, unpack) \
  [K_STORED_##constant] = format,
#include "formats.def"
};
static const k_block_type foreign[] = {
#define K_FOREIGN(...) {__VA_ARGS__},
#include "formats.def"
};

k_block_type k_stored_type(k_stored stored) { return types[stored]; }
int k_foreign_count(void) { return sizeof foreign / sizeof *foreign; }
k_block_type k_foreign_type(int index) { return foreign[index]; }
uint32_t k_stored_format(k_stored stored) { return formats[stored]; }
int k_stored_block_values(k_stored stored) { return types[stored].values; }
int k_stored_block_bytes(k_stored stored) { return types[stored].bytes; }

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
    const k_unpack_group unpack = k_unpack_group_of(stored);
    for (size_t i = 0; i + 32 <= count; i += 32) {
      uint8_t q[32];
      k_group g = {0};
      const size_t block = i / (size_t)types[stored].values;
      unpack(b + block * (size_t)types[stored].bytes,
             (int)(i % (size_t)types[stored].values / 32), q, &g);
      k_group_values((int)(formats[stored] - K_FORMAT_QUANT), q, &g, out + i);
    }
  }
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
