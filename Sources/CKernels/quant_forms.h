// What the kernels know of each panel form at compile time.
//
// A panel is 32 outputs wide; its groups of 32 inputs follow one another, so a panel is one
// sequential stream. "Step" j = 0..7 of a group is inputs 4j..4j+3: 128 bytes, 4 per output.
//   low 8   8 steps of 128 bytes
//   low 4   4 x 128 bytes: step 2s in the low nibbles, step 2s+1 in the high ones
//   low 2   2 x 128 bytes: steps 4s..4s+3 from the low bits up
//   high 1  128 bytes, bit j is the next bit of step j
//   high 2  2 x 128 bytes, bits 2i of line t are the next two bits of step 4t+i
// then the scales of the group (K_SCALE_*). Forms with super-scales have a head before every
// 8 groups.
#pragma once
#include "include/quant_kernels.h"

enum {
  K_SCALE_F16,   // 32 f16
  K_SCALE_F16M,  // 32 f16 scales, 32 f16 minima
  K_SCALE_F32,   // 32 f32
  K_SCALE_F32M,  // 32 f32 scales, 32 f32 minima
  K_SCALE_K,   // 32 u8 scales, 32 u8 minima; head: 32 f16 D, 32 f16 M
  K_SCALE_S16,   // int8 [2][32]; head: 32 f16 D
  K_SCALE_S32,   // nothing; head: 32 f16 D, int8 [8][32]
  K_SCALE_K16,   // u8 [2][32], scale in the low nibble; head: 32 f16 D, 32 f16 M
};

#define K_INLINE static inline __attribute__((always_inline))

K_INLINE int form_low(const int f) {
  return f == K_FORM_Q8 || f == K_FORM_Q8F || f == K_FORM_Q8FM ? 8
       : f == K_FORM_Q3S || f == K_FORM_Q2K          ? 2
                                 : 4;
}
K_INLINE int form_high(const int f) {
  return f == K_FORM_Q6S                             ? 2
       : f == K_FORM_Q5 || f == K_FORM_Q5M || f == K_FORM_Q5K || f == K_FORM_Q3S ? 1
                                           : 0;
}
K_INLINE int form_scale(const int f) {
  switch (f) {
  case K_FORM_Q4: case K_FORM_Q4T: case K_FORM_Q5: case K_FORM_Q8: return K_SCALE_F16;
  case K_FORM_Q4M: case K_FORM_Q5M: return K_SCALE_F16M;
  case K_FORM_Q4K: case K_FORM_Q5K: return K_SCALE_K;
  case K_FORM_Q6S: case K_FORM_Q3S: return K_SCALE_S16;
  case K_FORM_Q4TS: return K_SCALE_S32;
  case K_FORM_Q2K: return K_SCALE_K16;
  case K_FORM_Q8F: case K_FORM_Q4F: return K_SCALE_F32;
  default: return K_SCALE_F32M;
  }
}
K_INLINE bool form_table(const int f) { return f == K_FORM_Q4T || f == K_FORM_Q4TS; }
// log2 of what is subtracted from the stored integer; -1: nothing.
K_INLINE int form_offset(const int f) {
  switch (f) {
  case K_FORM_Q4: case K_FORM_Q4F: return 3;
  case K_FORM_Q5: return 4;
  case K_FORM_Q6S: return 5;
  case K_FORM_Q3S: return 2;
  case K_FORM_Q8: case K_FORM_Q8F: case K_FORM_Q4T: case K_FORM_Q4TS: return 7;
  default: return -1;
  }
}
// Two scales per group, so two integer sums.
K_INLINE bool form_halves(const int f) {
  return form_scale(f) == K_SCALE_S16 || form_scale(f) == K_SCALE_K16;
}
K_INLINE bool form_minimum(const int f) {
  const int s = form_scale(f);
  return s == K_SCALE_F16M || s == K_SCALE_F32M || s == K_SCALE_K || s == K_SCALE_K16;
}
K_INLINE int form_scales_at(const int f) { return (form_low(f) + form_high(f)) * 128; }
K_INLINE int form_group_bytes(const int f) {
  const int s = form_scale(f);
  return form_scales_at(f)
       + (s == K_SCALE_S32             ? 0
        : s == K_SCALE_F32M            ? 256
        : s == K_SCALE_F32 || s == K_SCALE_F16M ? 128
                             : 64);
}
K_INLINE int form_head_bytes(const int f) {
  const int s = form_scale(f);
  return s == K_SCALE_K || s == K_SCALE_K16 ? 128
       : s == K_SCALE_S16         ? 64
       : s == K_SCALE_S32         ? 320
                        : 0;
}
K_INLINE size_t form_bytes(const int f, const size_t groups) {
  return groups * (size_t)form_group_bytes(f) + (groups + 7) / 8 * (size_t)form_head_bytes(f);
}

// Prepared activations: blocks of 4 rows, one after the other; a block is a record per group, so
// that everything a tile reads is at a constant distance from one pointer.
enum { K_ROWS_BLOCK = 4 };
typedef struct {
  int8_t q[K_ROWS_BLOCK][K_GROUP];
  float scale[K_ROWS_BLOCK];
  union {
    int32_t start[2][K_ROWS_BLOCK];  // -offset * sum of q (of both halves): the integers start here
    float terms[2][K_ROWS_BLOCK];    // in forms with minima: scale * sum of q
  };
  uint8_t unused[16];
} k_quant_record;
_Static_assert(sizeof(k_quant_record) == 192, "three cache lines");

// One tile: some rows by one panel by some groups.
typedef struct {
  const k_quant_record *x;  // of the first group of the block of the first row
  size_t block;             // bytes between blocks
  int row;                  // where in its block a single row is; 0 for larger tiles
  const uint8_t *w;         // head of the first group, whose index is a multiple of 8
  size_t ahead;             // distance at which the own stream is asked for; 0: it is not
  const uint8_t *prefetch;  // what comes next, where several tiles share the work
  int prefetch_lines;       // lines of `prefetch` to ask for per group; it moves as w does
  int groups;
  bool first;               // start from zero instead of the values in c
  float *c;
  size_t ldc;
} k_quant_tile;

typedef void (*k_quant_tile_function)(const k_quant_tile *);
enum { K_QUANT_ROWS_MAX = 12 };

typedef struct {
  int rows;  // of the largest tile
  k_quant_tile_function tiles[K_FORM_COUNT][K_QUANT_ROWS_MAX + 1];
  // Normalises and quantises x into row `row` of a block; `fixed`: k_matrix.input_scales.
  void (*quantize_row)(k_quant_record *to, int row, int form, const float *x, int inputs,
                       const float *norm, float epsilon, k_scaling scaling, const float *fixed);
} k_quant_kernels;

extern const k_quant_kernels k_quant_scalar, k_quant_avx2, k_quant_avx_vnni, k_quant_avx512;
extern const k_cache_ops k_quant_cache_scalar, k_quant_cache_avx2, k_quant_cache_avx_vnni,
  k_quant_cache_avx512;
extern const int8_t k_quant_table[16];

// Weight-only products (quant_float.c): the rows stay f32, the weights become f32 on the way.
// Forms whose panels have neither heads nor further bits above the low ones.
K_INLINE bool form_plain(const int f) {
  return form_high(f) == 0 && form_head_bytes(f) == 0 && form_low(f) >= 4 && !form_table(f);
}
size_t k_float_prepared_bytes(int inputs, int rows);
#define K_FLOAT_SET(isa)                                                                       \
  void k_float_prepare_##isa(const k_matrix *w, const k_rows *x, int r0, int r1, void *to);    \
  void k_float_multiply_##isa(const k_matrix *w, const void *prepared, int rows, int r0, int r1, \
                              int p0, int p1, float *c, size_t ldc);
K_FLOAT_SET(scalar) K_FLOAT_SET(avx2) K_FLOAT_SET(avx512)
