// Row-wise work: see k_elementwise.h.
#include <math.h>
#include <string.h>

#include "kernels.h"

#pragma STDC FP_CONTRACT OFF

enum { SMALL = 8192 };  // values that are not worth waking anyone for

typedef struct {
  const k_isa_ops *isa;
  const float *x, *y, *weight;
  size_t stride, y_stride, out_stride;
  const int32_t *index;
  int n;
  float epsilon;
  float *out;
} rows_job;

static void share(k_pool *pool, int rows, int n, k_task task, void *job) {
  const int least = SMALL / (n < 1 ? 1 : n);
  k_pool_for(pool, rows, least < 1 ? 1 : least, rows, task, job);
}

float k_inverse_rms(k_isa isa, const float *x, int n, float epsilon) {
  return k_isa_ops_for(isa)->inverse_rms(x, n, epsilon);
}

static void norm_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const rows_job *j = context;
  for (size_t r = (size_t)begin; r < (size_t)end; r++) {
    j->isa->norm_row(j->x + r * j->stride, j->n, j->weight, j->epsilon, j->out + r * j->out_stride);
  }
}
void k_norm_rows(k_pool *pool, k_isa isa, const float *x, size_t stride, int rows, int n,
                 const float *weight, float epsilon, float *out, size_t out_stride) {
  rows_job j = {.isa = k_isa_ops_for(isa), .x = x, .stride = stride, .n = n, .weight = weight,
                .epsilon = epsilon, .out = out, .out_stride = out_stride};
  share(pool, rows, n, norm_task, &j);
}

static void add_norm_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const rows_job *j = context;
  for (size_t r = (size_t)begin; r < (size_t)end; r++) {
    j->isa->add_norm_row(j->x + r * j->stride, j->n, j->weight, j->epsilon,
                         j->out + r * j->out_stride);
  }
}
void k_add_norm_rows(k_pool *pool, k_isa isa, const float *x, size_t stride, int rows, int n,
                     const float *weight, float epsilon, float *residual, size_t out_stride) {
  rows_job j = {.isa = k_isa_ops_for(isa), .x = x, .stride = stride, .n = n, .weight = weight,
                .epsilon = epsilon, .out = residual, .out_stride = out_stride};
  share(pool, rows, n, add_norm_task, &j);
}

static void gather_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const rows_job *j = context;
  for (size_t r = (size_t)begin; r < (size_t)end; r++) {
    memcpy(j->out + r * j->out_stride, j->x + (size_t)j->index[r] * j->stride, (size_t)j->n * 4);
  }
}
void k_gather_rows(k_pool *pool, const float *x, size_t stride, const int32_t *index, int rows,
                   int n, float *out, size_t out_stride) {
  rows_job j = {.x = x, .stride = stride, .index = index, .n = n, .out = out,
                .out_stride = out_stride};
  share(pool, rows, n, gather_task, &j);
}

static void scatter_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const rows_job *j = context;
  for (size_t r = (size_t)begin; r < (size_t)end; r++) {
    float *out = j->out + (size_t)(j->index ? j->index[r] : (int32_t)r) * j->out_stride;
    const float *x = j->x + r * j->stride, f = j->weight ? j->weight[r] : 1.f;
    for (int i = 0; i < j->n; i++) out[i] += x[i] * f;
  }
}
void k_scatter_add(k_pool *pool, const float *x, size_t stride, const int32_t *index,
                   const float *weight, int rows, int n, float *out, size_t out_stride) {
  rows_job j = {.x = x, .stride = stride, .index = index, .weight = weight, .n = n, .out = out,
                .out_stride = out_stride};
  share(pool, rows, n, scatter_task, &j);
}

typedef struct {
  k_stored stored;
  const uint8_t *table;
  size_t row_bytes, out_stride;
  const k_matrix *w;
  const k_format_ops *ops;
  const int32_t *index;
  int n;
  float *out;
} lookup_job;

static void lookup_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const lookup_job *j = context;
  for (int r = begin; r < end; r++) {
    float *out = j->out + (size_t)r * j->out_stride;
    const size_t at = (size_t)j->index[r];
    if (j->w) {
      j->ops->unpack(j->w->data + at / K_PANEL * j->w->panel_bytes, j->n, (int)(at % K_PANEL), out);
    } else {
      k_widen(j->stored, j->table + at * j->row_bytes, (size_t)j->n, out);
    }
  }
}
void k_lookup_rows(k_pool *pool, k_stored stored, const uint8_t *table, size_t row_bytes,
                   const int32_t *index, int rows, int n, float *out, size_t out_stride) {
  lookup_job j = {.stored = stored, .table = table, .row_bytes = row_bytes, .index = index, .n = n,
                  .out = out, .out_stride = out_stride};
  share(pool, rows, n, lookup_task, &j);
}
void k_unpack_rows(k_pool *pool, const k_matrix *w, const k_format_ops *ops, const int32_t *index,
                   int rows, float *out, size_t out_stride) {
  lookup_job j = {.w = w, .ops = ops, .index = index, .n = w->inputs, .out = out,
                  .out_stride = out_stride};
  share(pool, rows, w->inputs, lookup_task, &j);
}

static void silu_task(void *context, int begin, int end, int thread) {
  (void)thread;
  const rows_job *j = context;
  for (size_t r = (size_t)begin; r < (size_t)end; r++) {
    j->isa->silu_multiply(j->x + r * j->stride, j->y + r * j->y_stride, j->n,
                          j->out + r * j->out_stride);
  }
}
void k_silu_multiply(k_pool *pool, k_isa isa, const float *gate, size_t gate_stride,
                     const float *up, size_t up_stride, int rows, int n, float *out,
                     size_t out_stride) {
  rows_job j = {.isa = k_isa_ops_for(isa), .x = gate, .stride = gate_stride, .y = up,
                .y_stride = up_stride, .n = n, .out = out, .out_stride = out_stride};
  share(pool, rows, n, silu_task, &j);
}

typedef struct {
  const float *x;
  size_t stride;
  int n;
  _Atomic int first;
} finite_job;

static void finite_task(void *context, int begin, int end, int thread) {
  (void)thread;
  finite_job *j = context;
  for (int r = begin; r < end; r++) {
    const uint32_t *x = (const uint32_t *)(j->x + (size_t)r * j->stride);
    uint32_t bad = 0;
    for (int i = 0; i < j->n; i++) bad |= (x[i] & 0x7f800000) == 0x7f800000;
    if (!bad) continue;
    int first = j->first;
    while (r < first && !__c11_atomic_compare_exchange_weak(&j->first, &first, r, __ATOMIC_RELAXED,
                                                            __ATOMIC_RELAXED)) {}
  }
}
int k_first_not_finite(k_pool *pool, const float *x, size_t stride, int rows, int n) {
  finite_job j = {x, stride, n, 0};
  j.first = rows;
  k_pool_for(pool, rows, 1 + 65536 / (n < 1 ? 1 : n), rows, finite_task, &j);
  return j.first == rows ? -1 : j.first;
}

void k_round_bf16(float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = k_from_bf16(k_to_bf16(x[i]));
}

// ---- routing ---------------------------------------------------------------------------------
// Ties go to the lower index. What has been chosen is marked with -inf.
static int best_of(const float *rating, int begin, int end) {
  int best = begin;
  for (int i = begin + 1; i < end; i++) {
    if (rating[i] > rating[best]) best = i;
  }
  return best;
}

void k_route(const k_routing *r, const float *logits, int32_t *chosen, float *weights,
             float *scratch) {
  float *score = scratch, *rating = score + r->experts, *group = rating + r->experts;
  for (int e = 0; e < r->experts; e++) {
    score[e] = 1.f / (1.f + expf(-logits[e]));
    rating[e] = score[e] + r->correction[e];
    if (!(rating[e] > -INFINITY)) rating[e] = -1e30f;  // NaN: some expert is chosen all the same
  }
  const int per_group = r->experts / r->groups;
  if (r->groups > 1 && r->groups_per_token < r->groups) {
    for (int g = 0; g < r->groups; g++) {
      const float *x = rating + g * per_group;
      const int first = best_of(x, 0, per_group);
      float second = -INFINITY;
      for (int i = 0; i < per_group; i++) {
        if (i != first && x[i] > second) second = x[i];
      }
      group[g] = x[first] + (per_group > 1 ? second : 0.f);
    }
    for (int k = 0; k < r->groups_per_token; k++) group[best_of(group, 0, r->groups)] = -INFINITY;
    for (int g = 0; g < r->groups; g++) {
      if (group[g] == -INFINITY) continue;
      for (int i = 0; i < per_group; i++) rating[g * per_group + i] = -INFINITY;
    }
  }
  for (int k = 0; k < r->per_token; k++) {
    const int best = best_of(rating, 0, r->experts);
    rating[best] = -INFINITY;
    int at = k;
    for (; at > 0 && chosen[at - 1] > best; at--) chosen[at] = chosen[at - 1];
    chosen[at] = best;
  }
  float sum = 0;
  for (int k = 0; k < r->per_token; k++) weights[k] = score[chosen[k]], sum += weights[k];
  const float divisor = r->normalizes ? sum + 1e-20f : 1.f;
  for (int k = 0; k < r->per_token; k++) weights[k] = weights[k] / divisor * r->scale;
}

void k_route_rows(const k_routing *r, const float *logits, size_t stride, int rows, int32_t *first,
                  int32_t *index, float *weights, float *scratch) {
  const int n = r->per_token;
  float *weight = scratch + 2 * r->experts + r->groups;
  int32_t *chosen = (int32_t *)(weight + (size_t)rows * (size_t)n);
  memset(first, 0, ((size_t)r->experts + 1) * 4);
  for (int row = 0; row < rows; row++) {
    int32_t *c = chosen + (size_t)row * (size_t)n;
    k_route(r, logits + (size_t)row * stride, c, weight + (size_t)row * (size_t)n, scratch);
    for (int k = 0; k < n; k++) first[c[k] + 1]++;
  }
  for (int e = 0; e < r->experts; e++) first[e + 1] += first[e];
  for (int row = 0; row < rows; row++) {
    for (int k = 0; k < n; k++) {
      const size_t from = (size_t)row * (size_t)n + (size_t)k;
      const int32_t at = first[chosen[from]]++;
      index[at] = row, weights[at] = weight[from];
    }
  }
  for (int e = r->experts; e > 0; e--) first[e] = first[e - 1];
  first[0] = 0;
}
