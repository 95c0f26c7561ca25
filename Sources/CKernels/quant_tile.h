// The register tile, written once for vectors of any width. The including file defines
//   T(name)         the name with the suffix of its instruction set
//   ROWS_MAX        rows of the largest tile
//   SUMS_IN_REGISTERS  the most rows whose float sums fit beside the integer ones
//   LANES           32-bit lanes of a vector: 8 or 16
//   VI, VF          vectors of integers and floats
//   v_*             the operations used below
// inside a `clang attribute push` that sets the target.
//
// In large tiles the float sums live in L1: loads and stores have ports of their own, so all
// registers are left for integer sums and a tile can be 12 rows by 32 outputs. Unpacking a weight
// is then shared by twice the rows that fit if both sums stayed in registers.

// Tried on one core of an Emerald Rapids (int8 peak 735 GOPS, read 15.5 GB/s), Q4, exact scales:
//   rows and sums by stride, 6 rows, both sums in registers                  50 % of the peak
//   activations in records of 4 rows: constant addresses                     58
//   12 rows, float sums kept out of the registers by an opaque pointer       65 (cap: 67)
//   the same for Q8, Q4K, Q6S                                                68, 57, 42
//   (a shift instead of the second multiplication, powers of two: no gain where shifts, conversions
//   and products share two ports; on Zen 4 it is worth 6 points)
//   1 row, prefetch 0 / 2 / 8 / 16 / 32 KiB ahead into L2      70 / 87 / 96 / 97 / 96 % of read
//   4 and 8 rows, prefetches at once -> spread over the group  86 -> 90, 72 -> 77 %
//   prefetch into L1: 87 % for 1 row, 79 % for 4

enum { T(PASSES) = 32 / (2 * LANES) };  // two vectors of outputs at a time

// Weights of step j for vector c of the panel, as unsigned bytes (signed ones for a table).
K_INLINE VI T(weights)(const int F, const uint8_t *w, const int j, const int c) {
  const int at = c * LANES * 4;
  VI q;
  if (form_low(F) == 8) {
    q = v_load(w + j * 128 + at);
  } else if (form_low(F) == 4) {
    q = v_load(w + (j >> 1) * 128 + at);
    q = v_and(j & 1 ? v_shift_right16(q, 4) : q, v_bytes(15));
  } else {
    q = v_load(w + (j >> 2) * 128 + at);
    q = v_and(j & 3 ? v_shift_right16(q, 2 * (j & 3)) : q, v_bytes(3));
  }
  if (form_high(F)) {
    const int low = form_low(F);
    const uint8_t *p = w + low * 128 + at;
    VI h;
    int up;  // how far left the bits must go
    if (form_high(F) == 1) {
      h = v_load(p), up = low - j;
    } else {
      h = v_load(p + (j >> 2) * 128), up = low - 2 * (j & 3);
    }
    if (up > 0) h = v_shift_left16(h, up);
    if (up < 0) h = v_shift_right16(h, -up);
    q = v_or(q, v_and(h, v_bytes(((1 << form_high(F)) - 1) << low)));
  }
  if (form_table(F)) q = v_lookup(q);
  return q;
}

// Scales (and minima) of one group for vector c. For forms with halves, both of them.
typedef struct { VF s[2], m[2]; } T(scales);
K_INLINE T(scales) T(load_scales)(const int F, const uint8_t *head, const uint8_t *w, int g8,
                                  const int c) {
  const uint8_t *p = w + form_scales_at(F);
  const int o = c * LANES;
  T(scales) r;
  switch (form_scale(F)) {
  case K_SCALE_F16M: r.m[0] = v_f16(p + 64 + o * 2);  // fall through
  case K_SCALE_F16: r.s[0] = v_f16(p + o * 2); break;
  case K_SCALE_F32M: r.m[0] = v_f32((const float *)(p + 128) + o);  // fall through
  case K_SCALE_F32: r.s[0] = v_f32((const float *)p + o); break;
  case K_SCALE_K:
    r.s[0] = v_mul(v_f16(head + o * 2), v_u8(p + o));
    r.m[0] = v_mul(v_f16(head + 64 + o * 2), v_u8(p + 32 + o));
    break;
  case K_SCALE_S16: {
    const VF d = v_f16(head + o * 2);
    r.s[0] = v_mul(d, v_i8(p + o)), r.s[1] = v_mul(d, v_i8(p + 32 + o));
    break;
  }
  case K_SCALE_S32: r.s[0] = v_mul(v_f16(head + o * 2), v_i8(head + 64 + g8 * 32 + o)); break;
  case K_SCALE_K16: {
    const VF d = v_f16(head + o * 2), m = v_f16(head + 64 + o * 2);
    r.s[0] = v_mul(d, v_low4(p + o)), r.s[1] = v_mul(d, v_low4(p + 32 + o));
    r.m[0] = v_mul(m, v_high4(p + o)), r.m[1] = v_mul(m, v_high4(p + 32 + o));
    break;
  }
  }
  return r;
}

// Adds one group into `sums`. R and F are constants after inlining; the arrays become registers.
K_INLINE void T(group)(const int R, const int F, const uint8_t *x, const size_t block,
                       const int row, const int g8, const uint8_t *head, const uint8_t *w,
                       const size_t ahead, const int pass, float *sums) {
  const int halves = form_halves(F) ? 2 : 1, v = pass * 2, lines = form_group_bytes(F) / 64;
#define RECORD(r) ((const k_quant_record *)(x + (size_t)((r) / 4) * block))
  VF part[ROWS_MAX][2];
  UNROLL for (int half = 0; half < halves; half++) {
    VI i[ROWS_MAX][2];
    UNROLL for (int r = 0; r < R; r++) {
      i[r][0] = form_offset(F) < 0 ? v_zero() : v_set32(RECORD(r)->start[half][r % 4 + row]);
      i[r][1] = i[r][0];
    }
    UNROLL for (int j = half * 4; j < (halves == 2 ? half * 4 + 4 : 8); j++) {
      const VI w0 = T(weights)(F, w, j, v), w1 = T(weights)(F, w, j, v + 1);
      // Spread over the group, or they would wait for each other.
      if (pass == 0)
        UNROLL for (int l = lines * j / 8; l < lines * (j + 1) / 8; l++)
          __builtin_prefetch(w + ahead + l * 64, 0, 2);
      UNROLL for (int r = 0; r < R; r++) {
        const VI b = v_broadcast(RECORD(r)->q[r % 4 + row] + j * 4);
        i[r][0] = v_dot(F, i[r][0], w0, b), i[r][1] = v_dot(F, i[r][1], w1, b);
      }
    }
    if (halves == 2) {
      UNROLL for (int h = 0; h < 2; h++) {
        const VF s = T(load_scales)(F, head, w, g8, v + h).s[half];
        UNROLL for (int r = 0; r < R; r++) {
          const VF y = v_float(i[r][h]);
          part[r][h] = half ? v_fma(y, s, part[r][h]) : v_mul(y, s);
        }
      }
    } else {
      UNROLL for (int h = 0; h < 2; h++) {
        UNROLL for (int r = 0; r < R; r++) part[r][h] = v_float(i[r][h]);
      }
    }
  }
  UNROLL for (int h = 0; h < 2; h++) {
    const T(scales) s = T(load_scales)(F, head, w, g8, v + h);
    UNROLL for (int r = 0; r < R; r++) {
      float *c = sums + r * 32 + (v + h) * LANES;
      const VF q = v_set(RECORD(r)->scale[r % 4 + row]);
      VF f = v_f32(c);
      f = halves == 2 ? v_fma(part[r][h], q, f) : v_fma(part[r][h], v_mul(s.s[0], q), f);
      if (form_minimum(F)) {
        const VF t = v_set(RECORD(r)->terms[0][r % 4 + row]);
        const bool minus = form_scale(F) == K_SCALE_K || form_scale(F) == K_SCALE_K16;
        f = minus ? v_fnma(t, s.m[0], f) : v_fma(t, s.m[0], f);
        if (halves == 2) f = v_fnma(v_set(RECORD(r)->terms[1][r % 4 + row]), s.m[1], f);
      }
      v_store(c, f);
    }
  }
#undef RECORD
}

K_INLINE void T(tile)(const int R, const int F, const k_quant_tile *t) {
  const uint8_t *w = t->w, *p = t->prefetch;
  const size_t block = t->block, ldc = t->ldc, ahead = t->ahead;
  float *c = t->c;
  const int groups = t->groups, lines = t->prefetch_lines;
  const int row = R == 1 ? t->row : 0;  // only single rows start inside a block
  const uint8_t *x = (const uint8_t *)t->x;
  float local[ROWS_MAX * 32] __attribute__((aligned(64)));
  float *sums = local;
  const bool first = t->first;
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int h = 0; h < 32 / LANES; h++)
      v_store(sums + r * 32 + h * LANES, first ? v_set(0) : v_f32(c + r * ldc + h * LANES));
  for (int g0 = 0; g0 < groups; g0 += 8) {
    const uint8_t *head = w;
    const int end = groups - g0 < 8 ? groups - g0 : 8;
    w += form_head_bytes(F);
    p += form_head_bytes(F);
    NO_UNROLL for (int g = 0; g < end; g++) {
      for (int i = 0; i < lines; i++) __builtin_prefetch(p + i * 64, 0, 2);
      // Few rows: sums may live in registers. Many: see to it that they do not.
      if (R > SUMS_IN_REGISTERS) __asm__ volatile("" : "+r"(sums) : : "memory");
      UNROLL for (int pass = 0; pass < T(PASSES); pass++)
        T(group)(R, F, x, block, row, g, head, w, ahead, pass, sums);
      w += form_group_bytes(F);
      p += form_group_bytes(F);
      x += sizeof(k_quant_record);
    }
  }
  UNROLL for (int r = 0; r < R; r++)
    UNROLL for (int h = 0; h < 32 / LANES; h++)
      v_store(c + r * ldc + h * LANES, v_f32(sums + r * 32 + h * LANES));
}

#define K_TILE(R, F) \
  static __attribute__((noinline)) void T(tile_##R##_##F)(const k_quant_tile *t) { \
    T(tile)(R, F, t);                                                              \
  }
#if ROWS_MAX == 12
#define K_TILES(F)                                                                         \
  K_TILE(1, F) K_TILE(2, F) K_TILE(3, F) K_TILE(4, F) K_TILE(5, F) K_TILE(6, F) K_TILE(7, F) \
  K_TILE(8, F) K_TILE(9, F) K_TILE(10, F) K_TILE(11, F) K_TILE(12, F)
#define K_NAMES(F)                                                                       \
  {0, T(tile_1_##F), T(tile_2_##F), T(tile_3_##F), T(tile_4_##F), T(tile_5_##F),         \
   T(tile_6_##F), T(tile_7_##F), T(tile_8_##F), T(tile_9_##F), T(tile_10_##F),           \
   T(tile_11_##F), T(tile_12_##F)}
#else
#define K_TILES(F) K_TILE(1, F) K_TILE(2, F) K_TILE(3, F) K_TILE(4, F)
#define K_NAMES(F) {0, T(tile_1_##F), T(tile_2_##F), T(tile_3_##F), T(tile_4_##F)}
#endif
// The numbers of k_quant_form, which the preprocessor must paste.
K_TILES(0) K_TILES(1) K_TILES(2) K_TILES(3) K_TILES(4) K_TILES(5) K_TILES(6) K_TILES(7)
K_TILES(8) K_TILES(9) K_TILES(10) K_TILES(11) K_TILES(12) K_TILES(13) K_TILES(14) K_TILES(15)

#include "quant_row.h"

const k_quant_kernels T(k_quant) = {
  .rows = ROWS_MAX,
  .tiles = {K_NAMES(0), K_NAMES(1), K_NAMES(2), K_NAMES(3), K_NAMES(4), K_NAMES(5), K_NAMES(6),
            K_NAMES(7), K_NAMES(8), K_NAMES(9), K_NAMES(10), K_NAMES(11), K_NAMES(12),
            K_NAMES(13), K_NAMES(14), K_NAMES(15)},
  .quantize_row = T(quantize_row),
};
#undef K_TILE
#undef K_TILES
#undef K_NAMES
