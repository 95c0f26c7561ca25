// Rounding by general schemes, and panels of other widths.
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "quant_pack.h"

#pragma STDC FP_CONTRACT OFF

k_quant_form k_scheme_form(k_scheme s) {
  if (s.bits == 8) return s.asymmetric ? K_FORM_Q8FM : K_FORM_Q8;
  return s.asymmetric ? K_FORM_Q4M : K_FORM_Q4;
}

// How the inputs of one group become integers: q = round((x - low) * up) + zero.
typedef struct {
  k_group scales;
  float low, up;
  int zero;
} rounding;

// Symmetric scales are those of Q8_0 and Q4_0 (the value of greatest magnitude becomes 127, or -8
// with its own sign), minima those of Q4_1; but integers are rounded with the scale that is kept.
static rounding rounding_of(const float *x, int n, k_scheme s) {
  rounding r;
  memset(&r, 0, sizeof r);
  float low = x[0], top = x[0];
  for (int i = 1; i < n; i++) low = x[i] < low ? x[i] : low, top = x[i] > top ? x[i] : top;
  float d;
  if (s.asymmetric) {
    d = (top - low) / (float)((1 << s.bits) - 1);
    r.scales.df = d, r.scales.mf = low;
    r.scales.d = k_float_to_half(d), r.scales.m = k_float_to_half(low);
    const bool half = s.bits == 4;  // Q4M keeps f16, Q8FM f32
    r.low = half ? k_half_to_float(r.scales.m) : low;
    d = half ? k_half_to_float(r.scales.d) : d;
  } else {
    const float reach = top > -low ? top : low;  // with its sign
    d = s.bits == 8 ? fabsf(reach) / 127.f : reach / -8.f;
    r.scales.d = k_float_to_half(d);
    d = k_half_to_float(r.scales.d);
    r.zero = 1 << (s.bits - 1);
  }
  r.up = d != 0 ? 1.f / d : 0;
  return r;
}

void k_scheme_pack(k_scheme s, uint8_t *panel, int inputs, k_stored stored,
                   const uint8_t *const rows[K_PANEL], float *scratch) {
  const int form = k_scheme_form(s), most = (1 << s.bits) - 1;
  const int group = s.group > 0 && s.group < inputs ? s.group : inputs;
  for (int o = 0; o < K_PANEL; o++)
    if (rows[o]) k_widen(stored, rows[o], (size_t)inputs, scratch + (size_t)o * (size_t)inputs);
  uint8_t q[32][32];
  k_group scales[32];
  rounding r[32];
  for (int k0 = 0; k0 < inputs; k0 += group) {
    const int end = k0 + group < inputs ? k0 + group : inputs;
    for (int o = 0; o < K_PANEL; o++) {
      memset(&r[o], 0, sizeof r[o]);
      if (rows[o]) r[o] = rounding_of(scratch + (size_t)o * (size_t)inputs + k0, end - k0, s);
      scales[o] = r[o].scales;
    }
    for (int k = k0; k < end; k += K_GROUP) {
      const int n = end - k < K_GROUP ? end - k : K_GROUP;
      memset(q, 0, sizeof q);
      for (int o = 0; o < K_PANEL; o++) {
        if (!rows[o]) continue;
        const float *x = scratch + (size_t)o * (size_t)inputs + k;
        for (int i = 0; i < n; i++) {
          // Halves go up, as the conversion cuts; what is not a number becomes 0.
          const float v = (x[i] - r[o].low) * r[o].up + ((float)r[o].zero + 0.5f);
          q[o][i] = v >= (float)most ? (uint8_t)most : v > 0 ? (uint8_t)(int)v : 0;
        }
      }
      k_panel_write_group(form, panel, k / K_GROUP, (const uint8_t(*)[32])q, scales);
    }
  }
}

// ---- other widths ------------------------------------------------------------------------------
// A group is `low` lines of 4 bytes per output, then the parts of the scales.
static int scale_parts(int form, int bytes[2]) {
  switch (form_scale(form)) {
  case K_SCALE_F16: bytes[0] = 2; return 1;
  case K_SCALE_F16M: bytes[0] = bytes[1] = 2; return 2;
  case K_SCALE_F32: bytes[0] = 4; return 1;
  default: bytes[0] = bytes[1] = 4; return 2;
  }
}
static size_t wide_group_bytes(int form, int width) {
  int bytes[2];
  const int parts = scale_parts(form, bytes);
  return (size_t)width * (size_t)(form_low(form) * 4 + bytes[0] + (parts == 2 ? bytes[1] : 0));
}

size_t k_panel_bytes_wide(k_quant_form form, int inputs, int width) {
  if (!form_plain((int)form) || inputs <= 0 || width <= 0) return 0;
  const size_t groups = ((size_t)inputs + K_GROUP - 1) / K_GROUP;
  return (groups * wide_group_bytes((int)form, width) + 63) & ~(size_t)63;
}

void k_panel_move(k_quant_form form, int inputs, const uint8_t *from, int from_width,
                  int from_output, uint8_t *to, int to_width, int to_output, int count) {
  const int f = (int)form;
  if (!form_plain(f)) return;
  int bytes[2];
  const int parts = scale_parts(f, bytes), groups = (inputs + K_GROUP - 1) / K_GROUP;
  for (int g = 0; g < groups; g++) {
    const uint8_t *a = from + (size_t)g * wide_group_bytes(f, from_width);
    uint8_t *b = to + (size_t)g * wide_group_bytes(f, to_width);
    for (int i = 0; i < form_low(f) + parts; i++) {
      const int size = i < form_low(f) ? 4 : bytes[i - form_low(f)];
      memcpy(b + to_output * size, a + from_output * size, (size_t)(count * size));
      a += from_width * size, b += to_width * size;
    }
  }
}
