// Attention of the rows of a step: see k_attention.h.
//
// First every (row, kv head) normalises and rotates its queries and key and writes key and value
// into the cache. Then work is shared out in units of (some rows of one sequence, one kv head);
// where there are too few of these for the threads, every span of 256 keys is a unit of its own and
// the spans are combined afterwards. Both ways do the same arithmetic in the same order.
#include <math.h>
#include <string.h>

#include "kernels.h"

typedef struct {
  const k_cache *cache;
  const k_attention *a;
  const k_isa_ops *isa;
  k_pool *pool;
  int wide, group;               // dim rounded up to 16; query heads of a kv head
  int head_block, head_blocks;   // query heads that share a unit, units per kv head
  int row_block;                 // rows of a sequence in a unit
  int units, split, partial_rows;
  int *first;                    // [sequences + 1] first unit of each sequence (spans counted)
  float *partial;                // [units][partial_rows][wide + 2]
} state;

// One unit: rows row0..row0+rows-1 of a sequence, heads head0.. of kv head kv, one span or all.
typedef struct {
  const k_sequence_rows *sequence;
  int row0, rows, kv, head0, heads, span;
} unit;

static inline int spans_of(const k_sequence_rows *s) {
  return (s->first_position + s->row_count + K_SPAN - 1) / K_SPAN;
}
static inline int blocks_of(const state *s, const k_sequence_rows *q) {
  return (q->row_count + s->row_block - 1) / s->row_block;
}
static int units_of(const state *s, const k_sequence_rows *q, int split) {
  return blocks_of(s, q) * s->cache->kv_heads * s->head_blocks * (split ? spans_of(q) : 1);
}

static void plan(state *s, int threads) {
  const k_attention *a = s->a;
  s->wide = k_round_up(s->cache->dim, 16);
  s->group = a->heads / s->cache->kv_heads;
  s->head_blocks = (s->group + K_SPAN_ROWS - 1) / K_SPAN_ROWS;
  s->head_block = (s->group + s->head_blocks - 1) / s->head_blocks;
  s->row_block = K_SPAN_ROWS / s->head_block;
  int64_t whole = 0, longest = 0, rows = 1;
  for (int i = 0; i < a->sequence_count; i++) {
    const k_sequence_rows *q = &a->sequences[i];
    whole += units_of(s, q, 0);
    if (spans_of(q) > longest) longest = spans_of(q);
    if (q->row_count > rows) rows = q->row_count;
  }
  s->split = threads > 1 && longest > 1 && whole < 4 * threads;
  s->units = 0;
  for (int i = 0; i < a->sequence_count; i++) s->units += units_of(s, &a->sequences[i], s->split);
  s->partial_rows = (int)(rows < s->row_block ? rows : s->row_block) * s->head_block;
}
static size_t partial_floats(const state *s) {
  return s->split ? (size_t)s->units * (size_t)s->partial_rows * (size_t)(s->wide + 2) : 0;
}

size_t k_attention_bytes(const k_pool *pool, const k_cache *cache, const k_attention *a) {
  state s = {.cache = cache, .a = a};
  plan(&s, k_pool_threads(pool));
  return k_round_up_size((size_t)(a->sequence_count + 1) * 4, K_ALIGN) + partial_floats(&s) * 4;
}

static inline uint8_t *page_at(const state *s, const k_sequence_rows *q, int position, int kv) {
  const k_cache *c = s->cache;
  const int per_block = c->block_tokens / K_PAGE;
  const size_t block = (size_t)s->a->tables[q->table_offset + position / c->block_tokens];
  const size_t page = (size_t)(position % c->block_tokens / K_PAGE);
  const size_t row = (size_t)s->a->layer * (size_t)c->blocks + block;
  const size_t head = row * (size_t)c->kv_heads + (size_t)kv;
  return c->data + (head * (size_t)per_block + page) * c->page_bytes;
}

// ---- rotating and storing --------------------------------------------------------------------
static void store_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const state *s = context;
  const k_attention *a = s->a;
  const k_cache *c = s->cache;
  const int dim = c->dim, half = a->rotated / 2;
  int i = 0;
  for (int item = begin; item < end; item++) {
    const int r = item / c->kv_heads, kv = item % c->kv_heads;
    if (i >= a->sequence_count || r < a->sequences[i].first_row) i = 0;
    while (i < a->sequence_count && (r < a->sequences[i].first_row ||
           r >= a->sequences[i].first_row + a->sequences[i].row_count)) i++;
    if (i == a->sequence_count) continue;  // a row of no sequence
    const k_sequence_rows *q = &a->sequences[i];
    const int position = q->first_position + r - q->first_row;
    const float *cosine = a->angles + (size_t)position * (size_t)a->rotated, *sine = cosine + half;
    float *row = a->qkv + (size_t)r * a->stride;
    float *k = row + (size_t)(a->heads + kv) * (size_t)dim;
    for (int h = kv * s->group; h < (kv + 1) * s->group; h++) {
      float *x = row + (size_t)h * (size_t)dim;
      if (a->query_norm) s->isa->norm_row(x, dim, a->query_norm, a->query_epsilon, x);
      s->isa->rotate(x, cosine, sine, half, a->halves);
    }
    if (a->key_norm) s->isa->norm_row(k, dim, a->key_norm, a->key_epsilon, k);
    s->isa->rotate(k, cosine, sine, half, a->halves);
    c->ops->store(page_at(s, q, position, kv), position % K_PAGE, dim, k,
                  k + (size_t)c->kv_heads * (size_t)dim);
  }
}

// ---- attending -------------------------------------------------------------------------------
static unit unit_at(const state *s, int index) {
  int i = 0, high = s->a->sequence_count;
  while (high - i > 1) {
    const int middle = (i + high) / 2;
    if (s->first[middle] <= index) i = middle; else high = middle;
  }
  const k_sequence_rows *q = &s->a->sequences[i];
  const int spans = s->split ? spans_of(q) : 1, blocks = blocks_of(s, q);
  int rest = index - s->first[i];
  unit u = {.sequence = q, .span = rest % spans};
  rest /= spans;
  u.row0 = rest % blocks * s->row_block, rest /= blocks;
  u.rows = q->row_count - u.row0 < s->row_block ? q->row_count - u.row0 : s->row_block;
  const int block = rest % s->head_blocks;
  u.kv = rest / s->head_blocks;
  u.head0 = block * s->head_block;
  u.heads = s->group - u.head0 < s->head_block ? s->group - u.head0 : s->head_block;
  u.head0 += u.kv * s->group;
  return u;
}

// Scratch of a thread: queries, then the state of the combination, then one span.
typedef struct {
  void *queries;
  float *max, *sum, *out;              // combined
  float *span_max, *span_sum, *span_out;
  int32_t *visible;
  void *rest;
} room;
static room rooms(const state *s, int thread) {
  room x;
  uint8_t *p = k_pool_scratch(s->pool, thread);
  const size_t out = (size_t)K_SPAN_ROWS * (size_t)s->wide * 4;
  x.max = (float *)p, x.sum = x.max + K_SPAN_ROWS;
  x.span_max = x.sum + K_SPAN_ROWS, x.span_sum = x.span_max + K_SPAN_ROWS;
  x.visible = (int32_t *)(x.span_sum + K_SPAN_ROWS);
  p += k_round_up_size((size_t)K_SPAN_ROWS * 5 * 4, K_ALIGN);
  x.out = (float *)p, p += out;
  x.span_out = (float *)p, p += out;
  x.queries = p;
  p += k_round_up_size(s->cache->ops->query_bytes(s->cache->dim, K_SPAN_ROWS), K_ALIGN);
  x.rest = p;
  return x;
}

static void attend_one(const state *s, const unit *u, int span, const room *x, float *max,
                       float *sum, float *out, size_t ldo) {
  const k_sequence_rows *q = u->sequence;
  const int key0 = span * K_SPAN;
  const int last = q->first_position + u->row0 + u->rows;  // keys that the last row sees
  k_span work = {.rows = u->rows * u->heads, .dim = s->cache->dim, .visible = x->visible,
                 .queries = x->queries, .max = max, .sum = sum, .out = out, .ldo = ldo,
                 .scratch = x->rest};
  work.keys = last - key0 < K_SPAN ? last - key0 : K_SPAN;
  for (int i = 0; i < u->rows; i++) {
    const int n = q->first_position + u->row0 + i + 1 - key0;
    for (int h = 0; h < u->heads; h++) x->visible[i * u->heads + h] = n < K_SPAN ? n : K_SPAN;
  }
  for (int b = 0; b * K_PAGE < work.keys; b++) {
    work.pages[b] = page_at(s, q, key0 + b * K_PAGE, u->kv);
  }
  s->cache->ops->attend(&work);
}

// Adds one span to the combined state of a row.
static inline void combine(const state *s, float *max, float *sum, float *out, float span_max,
                           float span_sum, const float *span_out) {
  if (span_max == -INFINITY) return;
  if (*max == -INFINITY) {
    *max = span_max, *sum = span_sum;
    memcpy(out, span_out, (size_t)s->wide * 4);
    return;
  }
  // A NaN in either state makes the row NaN.
  const float top = *max >= span_max ? *max : span_max;
  const float a = exp2f(*max - top), b = exp2f(span_max - top);
  *sum = *sum * a + span_sum * b, *max = top;
  s->isa->merge(out, span_out, s->wide, a, b);
}
static inline void finish_row(const state *s, const unit *u, int row, float sum, const float *out) {
  const k_attention *a = s->a;
  const int r = u->sequence->first_row + u->row0 + row / u->heads, h = u->head0 + row % u->heads;
  float *to = a->out + (size_t)r * a->out_stride + (size_t)h * (size_t)s->cache->dim;
  for (int d = 0; d < s->cache->dim; d++) to[d] = out[d] / sum;
}
static void load_queries(const state *s, const unit *u, const room *x) {
  const float *q[K_SPAN_ROWS];
  for (int i = 0; i < u->rows; i++) {
    const float *row = s->a->qkv + (size_t)(u->sequence->first_row + u->row0 + i) * s->a->stride;
    for (int h = 0; h < u->heads; h++) {
      q[i * u->heads + h] = row + (size_t)(u->head0 + h) * (size_t)s->cache->dim;
    }
  }
  s->cache->ops->prepare_queries(q, u->rows * u->heads, s->cache->dim,
                                 s->a->scale * 1.44269504088896340736f, x->queries);
}

static void attend_task(void *context, int begin, int end, int thread) {
  const state *s = context;
  const room x = rooms(s, thread);
  for (int index = begin; index < end; index++) {
    const unit u = unit_at(s, index);
    const int rows = u.rows * u.heads;
    k_pool_beat(s->pool, thread);
    load_queries(s, &u, &x);
    if (s->split) {
      float *p = s->partial + (size_t)index * (size_t)s->partial_rows * (size_t)(s->wide + 2);
      const int last = u.sequence->first_position + u.row0 + u.rows;
      if (u.span * K_SPAN >= last) {  // a later block of rows sees this span, this one does not
        for (int r = 0; r < rows; r++) p[r] = -INFINITY;
        continue;
      }
      attend_one(s, &u, u.span, &x, p, p + s->partial_rows, p + 2 * s->partial_rows,
                 (size_t)s->wide);
      continue;
    }
    const int spans = (u.sequence->first_position + u.row0 + u.rows + K_SPAN - 1) / K_SPAN;
    for (int r = 0; r < rows; r++) x.max[r] = -INFINITY, x.sum[r] = 0;
    for (int n = 0; n < spans; n++) {
      if (n + 1 < spans) {  // the first page of the next span; the kernels ask for the others
        const uint8_t *next = page_at(s, u.sequence, (n + 1) * K_SPAN, u.kv);
        for (size_t i = 0; i < s->cache->page_bytes / 2; i += 64) {
          __builtin_prefetch(next + i, 0, 2);
        }
      }
      attend_one(s, &u, n, &x, x.span_max, x.span_sum, x.span_out, (size_t)s->wide);
      for (int r = 0; r < rows; r++) {
        combine(s, &x.max[r], &x.sum[r], x.out + (size_t)r * (size_t)s->wide, x.span_max[r],
                x.span_sum[r], x.span_out + (size_t)r * (size_t)s->wide);
      }
    }
    for (int r = 0; r < rows; r++) {
      finish_row(s, &u, r, x.sum[r], x.out + (size_t)r * (size_t)s->wide);
    }
  }
}

// An item is what would have been a unit without splitting.
static void combine_task(void *context, int begin, int end, int thread) {
  const state *s = context;
  const room x = rooms(s, thread);
  const k_attention *a = s->a;
  int item = 0;
  for (int i = 0; i < a->sequence_count; i++) {
    const k_sequence_rows *q = &a->sequences[i];
    const int spans = spans_of(q), n = units_of(s, q, 0);
    for (int j = 0; j < n; j++, item++) {
      if (item < begin || item >= end) continue;
      const unit u = unit_at(s, s->first[i] + j * spans);
      const size_t ld = (size_t)s->wide, R = (size_t)s->partial_rows;
      for (int r = 0; r < u.rows * u.heads; r++) {
        float max = -INFINITY, sum = 0;
        for (int span = 0; span < spans; span++) {
          const float *p = s->partial + (size_t)(s->first[i] + j * spans + span) * R * (ld + 2);
          combine(s, &max, &sum, x.out, p[r], p[R + (size_t)r], p + 2 * R + (size_t)r * ld);
        }
        finish_row(s, &u, r, sum, x.out);
      }
    }
  }
}

void k_attend(k_pool *pool, k_isa isa, const k_cache *cache, const k_attention *a, void *memory) {
  state s = {.cache = cache, .a = a, .isa = k_isa_ops_for(isa), .pool = pool};
  plan(&s, k_pool_threads(pool));
  s.first = memory;
  s.partial = (float *)((uint8_t *)memory +
                        k_round_up_size((size_t)(a->sequence_count + 1) * 4, K_ALIGN));
  int whole = 0;
  s.first[0] = 0;
  for (int i = 0; i < a->sequence_count; i++) {
    whole += units_of(&s, &a->sequences[i], 0);
    s.first[i + 1] = s.first[i] + units_of(&s, &a->sequences[i], s.split);
  }
  const int values = (s.group + 2) * cache->dim;
  k_pool_for(pool, a->rows * cache->kv_heads, 1 + 2048 / values, a->rows * cache->kv_heads,
             store_task, &s);
  // Keys x dims of a unit: small contexts of small models stay on one thread.
  int64_t keys = 0;
  for (int i = 0; i < a->sequence_count; i++) {
    keys += a->sequences[i].first_position + a->sequences[i].row_count;
  }
  const int64_t each = keys * cache->dim * s.group / (a->sequence_count ? a->sequence_count : 1);
  const int least = each >= 32768 ? 1 : (int)(32768 / (each < 1 ? 1 : each));
  k_pool_for(pool, s.units, least, s.units, attend_task, &s);
  if (s.split) k_pool_for(pool, whole, 1 + 32 / s.partial_rows, whole, combine_task, &s);
}
