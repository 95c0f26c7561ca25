// Attention over a paged KV cache.
//
// A page holds 16 tokens of one kv head: keys, then values. Keys are taken in spans of 256 at
// fixed positions; every span starts with an empty softmax state and spans are combined in
// ascending order, so a row has the same bits in prefill and decode and for any threads.
#pragma once
#include "k_pool.h"
#include "k_types.h"

enum {
  K_PAGE = 16,
  K_SPAN = 256,
  K_SPAN_PAGES = K_SPAN / K_PAGE,
  K_SPAN_ROWS = 96,
  K_DIM_MAX = 256,
};

typedef enum k_cache_format { K_CACHE_F32, K_CACHE_BF16, K_CACHE_INT8 } k_cache_format;

// One span of keys for the query rows that share a kv head.
typedef struct k_span {
  const uint8_t *pages[K_SPAN_PAGES];  // only ceil(keys / 16) are set
  int32_t keys;                        // keys of the span that any row sees, 1...256
  int32_t rows, dim;                   // rows <= 96
  const int32_t *visible;              // [rows] leading keys of the span a row sees; may be <= 0
  const void *queries;                 // what prepare_queries made
  float *max, *sum;                    // [rows] out: greatest score (base 2), sum of 2^(s - max)
  float *out;                          // [rows][ldo] out: sum of 2^(s - max) * value, unnormalised
  size_t ldo;                          // >= dim rounded up to 16; the rest of a row is free to use
  void *scratch;                       // k_cache_ops.scratch_bytes bytes, 64-byte aligned
} k_span;

// One cache format on one instruction set. Slots that no row sees may hold anything, NaN included,
// and must not change any result. A row with visible <= 0 gets max = -inf and sum = 0.
typedef struct k_cache_ops {
  size_t (*page_bytes)(int dim);  // a multiple of 64
  void (*store)(uint8_t *page, int slot, int dim, const float *k, const float *v);
  size_t (*query_bytes)(int dim, int rows);
  // q: rows pointers to dim floats; scale includes log2(e).
  void (*prepare_queries)(const float *const *q, int rows, int dim, float scale, void *queries);
  size_t scratch_bytes;
  void (*attend)(const k_span *span);
} k_cache_ops;

const k_cache_ops *k_cache_ops_for(k_isa isa, k_cache_format format, k_precision precision);
const k_cache_ops *k_quant_cache_ops(k_isa isa) __attribute__((weak));

typedef struct k_cache {
  const k_cache_ops *ops;
  uint8_t *data;        // [layers][blocks][kv_heads][block_tokens / 16][page_bytes]
  size_t page_bytes;
  int32_t layers, blocks, kv_heads, dim, block_tokens;
} k_cache;

typedef struct k_sequence_rows {
  int32_t first_row, row_count, first_position, table_offset;
} k_sequence_rows;

typedef struct k_attention {
  float *qkv;           // [rows][stride]: heads, kv heads of keys, kv heads of values
  size_t stride;
  float *out;           // [rows][out_stride]
  size_t out_stride;
  int32_t rows, heads, layer;
  float scale;
  const float *angles;  // [positions][2][rotated / 2]: cosines, then sines
  int32_t rotated;      // dims that rotate
  int32_t halves;       // 1: pairs (i, i + rotated / 2); 0: (2i, 2i + 1)
  const float *query_norm, *key_norm;
  float query_epsilon, key_epsilon;
  const int32_t *positions, *tables;
  const k_sequence_rows *sequences;
  int32_t sequence_count;
} k_attention;

// Bytes of step memory `k_attend` needs for this batch.
size_t k_attention_bytes(const k_pool *pool, const k_cache *cache, const k_attention *a);
void k_attend(k_pool *pool, k_isa isa, const k_cache *cache, const k_attention *a, void *memory);
