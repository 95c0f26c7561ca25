// Products of rows with a weight matrix in any format, and what is fused around them.
#pragma once
#include "k_pool.h"
#include "k_types.h"

typedef enum k_epilogue {
  K_STORE,     // out = x W^T + bias
  K_ADD,       // out += x W^T + bias
  K_GATED,     // out = silu(gate) * up, for gated matrices
} k_epilogue;

typedef struct k_linear {
  const k_matrix *w;
  const k_format_ops *ops;
  k_rows x;
  k_epilogue epilogue;
  float *out;           // [rows][out_stride]
  size_t out_stride;
  void *prepared;       // ops->prepared_bytes(inputs, rows) bytes of step memory
} k_linear;

void k_linear_run(k_pool *pool, k_isa isa, const k_linear *job);
