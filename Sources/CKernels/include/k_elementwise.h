// Row-wise work beside the products: norms, gathering, choosing experts, conversion.
#pragma once
#include "k_pool.h"
#include "k_types.h"

// 1 / sqrt(mean(x^2) + epsilon), summed in an order that depends on n alone.
float k_inverse_rms(k_isa isa, const float *x, int n, float epsilon);
// out = x * inverse rms * weight; out may be x.
void k_norm_rows(k_pool *pool, k_isa isa, const float *x, size_t stride, int rows, int n,
                 const float *weight, float epsilon, float *out, size_t out_stride);
// residual += norm(x)
void k_add_norm_rows(k_pool *pool, k_isa isa, const float *x, size_t stride, int rows, int n,
                     const float *weight, float epsilon, float *residual, size_t out_stride);
// out[i] = x[index[i]]
void k_gather_rows(k_pool *pool, const float *x, size_t stride, const int32_t *index, int rows,
                   int n, float *out, size_t out_stride);
// out[index[i]] += weight[i] * x[i]; weight NULL: 1. No row may be named twice.
void k_scatter_add(k_pool *pool, const float *x, size_t stride, const int32_t *index,
                   const float *weight, int rows, int n, float *out, size_t out_stride);
// out[r] = row index[r] of a table in its stored form
void k_lookup_rows(k_pool *pool, k_stored stored, const uint8_t *table, size_t row_bytes,
                   const int32_t *index, int rows, int n, float *out, size_t out_stride);
// out[r] = output index[r] of a matrix
void k_unpack_rows(k_pool *pool, const k_matrix *w, const k_format_ops *ops, const int32_t *index,
                   int rows, float *out, size_t out_stride);
// out = silu(gate) * up
void k_silu_multiply(k_pool *pool, k_isa isa, const float *gate, size_t gate_stride,
                     const float *up, size_t up_stride, int rows, int n, float *out,
                     size_t out_stride);
// First row with a value that is NaN or infinite, or -1.
int k_first_not_finite(k_pool *pool, const float *x, size_t stride, int rows, int n);
// Rounds to bf16 and back, to the nearest, ties to even.
void k_round_bf16(float *x, size_t n);
// n stored values of any type to f32; whole blocks.
void k_widen(k_stored stored, const uint8_t *src, size_t n, float *out);

typedef struct k_routing {
  int32_t experts, per_token, groups, groups_per_token;
  int32_t normalizes;
  float scale;
  const float *correction;  // [experts]
} k_routing;
// Chooses experts for one row of router logits: ascending indices and their weights.
// `scratch`: 2 * experts + groups floats.
void k_route(const k_routing *routing, const float *logits, int32_t *chosen, float *weights,
             float *scratch);
// The same for many rows, sorted by expert: those of expert e are index[first[e]] and so on, in
// ascending order. first: [experts + 1]; index, weights: [rows * per_token]; scratch: 2 * experts +
// groups floats and then rows * per_token * 2 more.
void k_route_rows(const k_routing *routing, const float *logits, size_t stride, int rows,
                  int32_t *first, int32_t *index, float *weights, float *scratch);
