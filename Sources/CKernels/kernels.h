// What the C files share among themselves: the table of one instruction set.
#pragma once
#include "k_attention.h"
#include "k_elementwise.h"
#include "k_linear.h"
#include "k_pool.h"
#include "k_types.h"

enum { K_ROW_BLOCK = 512, K_COLUMN_PANELS = 4, K_THREADS_MAX = K_THREADS_LIMIT };

typedef struct k_isa_ops {
  float (*inverse_rms)(const float *x, int n, float epsilon);
  void (*norm_row)(const float *x, int n, const float *weight, float epsilon, float *out);
  void (*add_norm_row)(const float *x, int n, const float *weight, float epsilon, float *out);
  // out = silu(gate) * up
  void (*silu_multiply)(const float *gate, const float *up, int n, float *out);
  // out = or += c + bias; bias may be NULL
  void (*finish)(const float *c, const float *bias, int n, int add, float *out);
  // o = o * a + s * b
  void (*merge)(float *o, const float *s, int n, float a, float b);
  // Rotates 2 * half dims of one head; cosine, sine: [half].
  void (*rotate)(float *x, const float *cosine, const float *sine, int half, int halves);
  k_format_ops formats[3][2];  // [k_format][k_precision]
  k_cache_ops caches[2][2];    // [k_cache_format][k_precision]
} k_isa_ops;

extern const k_isa_ops k_ops_scalar;
#if defined(__x86_64__)
extern const k_isa_ops k_ops_avx2, k_ops_avx512, k_ops_avx512_bf16;
#endif
const k_isa_ops *k_isa_ops_for(k_isa isa);

// Shared by all instruction sets (pack.c).
size_t k_panel_bytes_f32(int inputs);
size_t k_panel_bytes_16(int inputs);
void k_pack_f32(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                float *scratch);
void k_pack_f16(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                float *scratch);
void k_pack_bf16(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                 float *scratch);
void k_unpack_f32(const uint8_t *panel, int inputs, int output, float *row);
void k_unpack_f16(const uint8_t *panel, int inputs, int output, float *row);
void k_unpack_bf16(const uint8_t *panel, int inputs, int output, float *row);

size_t k_cache_page_f32(int dim);
size_t k_cache_page_bf16(int dim);
void k_cache_store_f32(uint8_t *page, int slot, int dim, const float *k, const float *v);
void k_cache_store_bf16(uint8_t *page, int slot, int dim, const float *k, const float *v);

static inline int k_round_up(int n, int to) { return (n + to - 1) / to * to; }
static inline size_t k_round_up_size(size_t n, size_t to) { return (n + to - 1) / to * to; }

// bf16 of a float, to nearest even, NaN kept.
static inline uint16_t k_to_bf16(float f) {
  union { float f; uint32_t u; } x = {f};
  if ((x.u & 0x7fffffff) > 0x7f800000) return (uint16_t)(x.u >> 16 | 0x40);
  return (uint16_t)((x.u + 0x7fff + (x.u >> 16 & 1)) >> 16);
}
static inline float k_from_bf16(uint16_t h) {
  union { uint32_t u; float f; } x = {(uint32_t)h << 16};
  return x.f;
}
