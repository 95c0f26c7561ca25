// Quantised products, scalar: the reference of the others, with the same integers and the same
// f32 operations in the same order.
#include <math.h>
#include <string.h>

#include "quant_pack.h"

#pragma STDC FP_CONTRACT OFF

K_INLINE float scalar_group(const int F, const k_quant_record *x, int r, int g8,
                            const uint8_t *head, const uint8_t *w, int o, float f) {
  const int8_t *a = x->q[r];
  int32_t sum[2] = {0, 0};
  for (int k = 0; k < K_GROUP; k++) {
    int q = panel_integer(F, w, o, k);
    if (form_table(F)) q = k_quant_table[q] + 128;
    sum[form_halves(F) ? k / 16 : 0] += q * a[k];
  }
  if (form_offset(F) >= 0) {
    sum[0] += x->start[0][r];
    if (form_halves(F)) sum[1] += x->start[1][r];
  }
  k_group s = {0};
  k_panel_scales(F, head, w, g8, o, &s);
  float d[2] = {0, 0}, m[2] = {0, 0};
  const float top = k_half_to_float(s.d), low = k_half_to_float(s.m);
  for (int h = 0; h < 2; h++) {
    switch (form_scale(F)) {
    case K_SCALE_F16: case K_SCALE_F16M: d[h] = top, m[h] = low; break;
    case K_SCALE_F32: case K_SCALE_F32M: d[h] = s.df, m[h] = s.mf; break;
    case K_SCALE_K: d[h] = top * (float)s.s[0], m[h] = low * (float)s.n[0]; break;
    case K_SCALE_K16: d[h] = top * (float)s.s[h], m[h] = low * (float)s.n[h]; break;
    case K_SCALE_S16: d[h] = top * (float)(int8_t)s.s[h]; break;
    default: d[h] = top * (float)(int8_t)s.s[0]; break;
    }
  }
  const float scale = x->scale[r];
  if (form_halves(F)) {
    f = fmaf(fmaf((float)sum[1], d[1], (float)sum[0] * d[0]), scale, f);
  } else {
    f = fmaf((float)sum[0], d[0] * scale, f);
  }
  if (form_minimum(F)) {
    const bool minus = form_scale(F) == K_SCALE_K || form_scale(F) == K_SCALE_K16;
    f = fmaf(minus ? -x->terms[0][r] : x->terms[0][r], m[0], f);
    if (form_halves(F)) f = fmaf(-x->terms[1][r], m[1], f);
  }
  return f;
}

K_INLINE void scalar_tile(const int F, const k_quant_tile *t) {
  if (t->first) memset(t->c, 0, K_PANEL * sizeof(float));
  for (int g = 0; g < t->groups; g++) {
    const uint8_t *head, *w = panel_group(F, t->w, g, &head);
    for (int o = 0; o < K_PANEL; o++)
      t->c[o] = scalar_group(F, t->x + g, t->row, g & 7, head, w, o, t->c[o]);
  }
}

static float inverse_rms(const float *x, int inputs, float epsilon) {
  float sums[32] = {0};
  for (int k = 0; k < inputs; k++) sums[k % 32] = fmaf(x[k], x[k], sums[k % 32]);
  for (int n = 16; n; n /= 2)
    for (int i = 0; i < n; i++) sums[i] += sums[i + n];
  return 1.f / sqrtf(sums[0] / (float)inputs + epsilon);
}
static int32_t bits_of(float f) {
  int32_t i;
  memcpy(&i, &f, 4);
  return i & 0x7fffffff;
}
static float float_of(int32_t i) {
  float f;
  memcpy(&f, &i, 4);
  return f;
}
static float scale_of(int32_t m, int32_t row, k_scaling scaling, float *up) {
  *up = 0;
  if (m < 0x0da24260) return 0;  // below 1e-30
  if (scaling == K_SCALING_POWER_OF_TWO) {
    int e = (row - m) >> 23;
    if (e > 24) e = 24;
    *up = 127.f / float_of(row) * float_of((127 + e) << 23);
    return float_of(row) / 127.f * float_of((127 - e) << 23);
  }
  const float scale = float_of(scaling == K_SCALING_ROW ? row : m) / 127.f;
  *up = 1.f / scale;
  return scale;
}

// A scale measured beforehand. What is not a number must not hide in a clipped integer.
static float fixed_scale(int32_t m, float scale, float *up) {
  *up = m >= 0x7f800000 ? 0 : 1.f / scale;
  return m >= 0x7f800000 ? NAN : scale;
}

static float value_at(const float *x, int k, int inputs, const float *norm, float inverse) {
  return k >= inputs ? 0 : norm ? x[k] * inverse * norm[k] : x[k];
}

static void quantize_row_scalar(k_quant_record *to, int r, int form, const float *x, int inputs,
                                const float *norm, float epsilon, k_scaling scaling,
                                const float *fixed) {
  const float inverse = norm ? inverse_rms(x, inputs, epsilon) : 1.f;
  int32_t row = 0;
  for (int k = 0; k < inputs; k++) {
    const int32_t m = bits_of(value_at(x, k, inputs, norm, inverse));
    row = m > row ? m : row;
  }
  const int offset = form_offset(form), halves = form_halves(form);
  for (int g = 0; g < (inputs + 31) / 32; g++, to++) {
    int32_t m = 0, sum[2] = {0, 0};
    float y[32], up;
    for (int i = 0; i < 32; i++) {
      y[i] = value_at(x, g * 32 + i, inputs, norm, inverse);
      m = bits_of(y[i]) > m ? bits_of(y[i]) : m;
    }
    const float scale = fixed ? fixed_scale(m, fixed[g], &up) : scale_of(m, row, scaling, &up);
    for (int i = 0; i < 32; i++) {
      float v = y[i] * up;
      if (fixed) v = v > 127.f ? 127.f : v < -127.f ? -127.f : v;
      to->q[r][i] = (int8_t)(v >= -127.5f && v <= 127.5f ? lrintf(v) : -128);
      sum[i / 16] += to->q[r][i];
    }
    to->scale[r] = scale;
    if (!halves) sum[0] += sum[1];
    for (int h = 0; h <= halves; h++) {
      if (form_minimum(form)) {
        to->terms[h][r] = scale * (float)sum[h];
      } else {
        to->start[h][r] = -sum[h] * (1 << offset);
      }
    }
  }
}

#define K_TILE(F) static void tile_##F(const k_quant_tile *t) { scalar_tile(F, t); }
K_TILE(0) K_TILE(1) K_TILE(2) K_TILE(3) K_TILE(4) K_TILE(5) K_TILE(6) K_TILE(7)
K_TILE(8) K_TILE(9) K_TILE(10) K_TILE(11) K_TILE(12) K_TILE(13) K_TILE(14) K_TILE(15)

const k_quant_kernels k_quant_scalar = {
  .rows = 1,
  .tiles = {{0, tile_0}, {0, tile_1}, {0, tile_2}, {0, tile_3}, {0, tile_4}, {0, tile_5},
            {0, tile_6}, {0, tile_7}, {0, tile_8}, {0, tile_9}, {0, tile_10}, {0, tile_11},
            {0, tile_12}, {0, tile_13}, {0, tile_14}, {0, tile_15}},
  .quantize_row = quantize_row_scalar,
};

// ---- 8-bit keys and values: vectors of eight that the compiler makes of what it has -------------
#define T(name) name##_scalar
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROWS_MAX 4
#define LANES 8
typedef struct { int32_t v[8]; } VI_scalar;
typedef struct { float v[8]; } VF_scalar;
#define VI VI_scalar
#define VF VF_scalar
#define FOR8 for (int l = 0; l < 8; l++)
#define from_bits_scalar float_of
K_INLINE VI v_set32(int32_t i) {
  VI r;
  FOR8 r.v[l] = i;
  return r;
}
K_INLINE VI v_zero(void) { return v_set32(0); }
K_INLINE VF v_set(float f) {
  VF r;
  FOR8 r.v[l] = f;
  return r;
}
K_INLINE VI v_add32(VI a, VI b) {
  FOR8 a.v[l] += b.v[l];
  return a;
}
K_INLINE VI v_shift_left32(VI a, int n) {
  FOR8 a.v[l] = (int32_t)((uint32_t)a.v[l] << n);
  return a;
}
K_INLINE VF v_mul(VF a, VF b) {
  FOR8 a.v[l] *= b.v[l];
  return a;
}
K_INLINE VF v_float(VI a) {
  VF r;
  FOR8 r.v[l] = (float)a.v[l];
  return r;
}
K_INLINE VI v_load(const void *p) {
  VI v;
  memcpy(&v, p, sizeof v);
  return v;
}
K_INLINE VF v_f32(const float *p) {
  VF v;
  memcpy(&v, p, sizeof v);
  return v;
}
K_INLINE void v_store(float *p, VF v) { memcpy(p, &v, sizeof v); }
K_INLINE VI v_broadcast(const int8_t *p) {
  int32_t i;
  memcpy(&i, p, 4);
  return v_set32(i);
}
// Unsigned bytes of u by signed bytes of s.
K_INLINE VI v_dot(const int form, VI sum, VI u, VI s) {
  (void)form;
  for (int i = 0; i < 4; i++)
    FOR8 sum.v[l] += (u.v[l] >> (8 * i) & 255)
                     * ((int32_t)((uint32_t)s.v[l] << (24 - 8 * i)) >> 24);
  return sum;
}
#include "quant_cache.h"
