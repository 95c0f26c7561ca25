// Attention over pages of f32 or bf16 for one instruction set: the second half of float_template.h,
// which includes it, with the same macros and the same rule: one chain of sums per output.

// Queries: f32 rows of dim, times scale. Scratch: probabilities, then a copy of the last page.
static size_t K_NAME(query_bytes)(int dim, int rows) { return (size_t)dim * (size_t)rows * 4 + 64; }
V_INLINE void K_NAME(prepare_q)(const float *const *q, int rows, int dim, float scale, void *out,
                                const int rounds) {
  float *o = out;
  for (int r = 0; r < rows; r++, o += dim) {
    for (int d = 0; d < dim; d++) {
      const float x = q[r][d] * scale;
      o[d] = rounds ? k_from_bf16(k_to_bf16(x)) : x;
    }
  }
}
static void K_NAME(prepare_queries)(const float *const *q, int rows, int dim, float scale,
                                    void *out) {
  K_NAME(prepare_q)(q, rows, dim, scale, out, 0);
}
static __attribute__((unused)) void K_NAME(prepare_queries_rounded)(
    const float *const *q, int rows, int dim, float scale, void *out) {
  K_NAME(prepare_q)(q, rows, dim, scale, out, 1);
}

// Scores of R rows against VECS pages. Asks for what comes later, unless it is NULL: later[0] and
// [1] are keys of the next pages, [2] and [3] the values of these; all have the size of the keys.
V_INLINE void K_NAME(scores)(const int R, const int VECS, const int F, const float *q, int dim,
                             const uint8_t *const *pages, const uint8_t *const *later, float *s) {
  v16 f[K_TILE_ROWS][2];
  const uint8_t *k0 = pages[0], *k1 = VECS == 2 ? pages[1] : k0;
  V_UNROLL for (int r = 0; r < R; r++) f[r][0] = f[r][1] = splat(0);
  for (int d = 0; d < dim; d += F ? 2 : 1, k0 += 64, k1 += 64) {
    v16 e[2], o[2];
    V_UNROLL for (int j = 0; j < VECS; j++) {
      K_NAME(widen)(F ? K_FORMAT_BF16 : K_FORMAT_F32, j ? k1 : k0, 0, &e[j], &o[j]);
    }
    if (later) {
      const ptrdiff_t at = k0 - pages[0];
      V_PREFETCH(later[0] + at), V_PREFETCH(later[2] + at);
      if (VECS == 2) V_PREFETCH(later[1] + at), V_PREFETCH(later[3] + at);
    }
    V_UNROLL for (int r = 0; r < R; r++) {
      const v16 x = splat(q[r * dim + d]);
      V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], e[j], x);
    }
    if (F) {
      V_UNROLL for (int r = 0; r < R; r++) {
        const v16 x = splat(q[r * dim + d + 1]);
        V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], o[j], x);
      }
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < VECS; j++) store(s + r * K_SPAN + j * 16, f[r][j]);
  }
}
// Sums of values over the pages of a span: R rows x VECS vectors of 16 dims.
V_INLINE void K_NAME(values)(const int R, const int VECS, const int F, const float *p, int pages,
                             const uint8_t *const *v, size_t offset, int wide, float *out,
                             size_t ldo) {
  v16 f[K_TILE_ROWS][2];
  V_UNROLL for (int r = 0; r < R; r++) f[r][0] = f[r][1] = splat(0);
  for (int b = 0; b < pages; b++) {
    const uint8_t *w = v[b] + offset;
    for (int t = 0; t < K_PAGE; t += F ? 2 : 1, w += wide * 4) {
      const float *x = p + b * K_PAGE + t;
      v16 e[2], o[2];
      V_UNROLL for (int j = 0; j < VECS; j++) {
        K_NAME(widen)(F ? K_FORMAT_BF16 : K_FORMAT_F32, w, j, &e[j], &o[j]);
      }
      V_UNROLL for (int r = 0; r < R; r++) {
        const v16 y = splat(x[r * K_SPAN]);
        V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], e[j], y);
      }
      if (F) {
        V_UNROLL for (int r = 0; r < R; r++) {
          const v16 y = splat(x[r * K_SPAN + 1]);
          V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], o[j], y);
        }
      }
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < VECS; j++) store(out + r * ldo + j * 16, f[r][j]);
  }
}
#define V_ATTEND(R, F)                                                                           \
  static __attribute__((noinline)) void K_NAME(scores_##R##_##F)(                                \
      const float *q, int dim, const uint8_t *const *pages, const uint8_t *const *later,         \
      float *s) {                                                                                \
    K_NAME(scores)(R, K_TILE_VECS, F, q, dim, pages, later, s);                                  \
  }                                                                                              \
  static __attribute__((noinline)) void K_NAME(values_##R##_##F)(                                \
      const float *p, int pages, const uint8_t *const *v, size_t offset, int wide, int vectors,  \
      float *out, size_t ldo) {                                                                  \
    if (vectors == 2) K_NAME(values)(R, 2, F, p, pages, v, offset, wide, out, ldo);              \
    else K_NAME(values)(R, 1, F, p, pages, v, offset, wide, out, ldo);                           \
  }
#if K_TILE_ROWS == 12
#define V_ATTENDS(F)                                                                             \
  V_ATTEND(1, F) V_ATTEND(2, F) V_ATTEND(3, F) V_ATTEND(4, F) V_ATTEND(5, F) V_ATTEND(6, F)      \
  V_ATTEND(7, F) V_ATTEND(8, F) V_ATTEND(9, F) V_ATTEND(10, F) V_ATTEND(11, F) V_ATTEND(12, F)
#define V_ATTEND_LIST(n, F)                                                                      \
  {0, K_NAME(n##_1_##F), K_NAME(n##_2_##F), K_NAME(n##_3_##F), K_NAME(n##_4_##F),                \
   K_NAME(n##_5_##F), K_NAME(n##_6_##F), K_NAME(n##_7_##F), K_NAME(n##_8_##F),                   \
   K_NAME(n##_9_##F), K_NAME(n##_10_##F), K_NAME(n##_11_##F), K_NAME(n##_12_##F)}
#elif K_TILE_ROWS == 6
#define V_ATTENDS(F) \
  V_ATTEND(1, F) V_ATTEND(2, F) V_ATTEND(3, F) V_ATTEND(4, F) V_ATTEND(5, F) V_ATTEND(6, F)
#define V_ATTEND_LIST(n, F)                                                                      \
  {0, K_NAME(n##_1_##F), K_NAME(n##_2_##F), K_NAME(n##_3_##F), K_NAME(n##_4_##F),                \
   K_NAME(n##_5_##F), K_NAME(n##_6_##F)}
#else
#define V_ATTENDS(F) V_ATTEND(1, F) V_ATTEND(2, F)
#define V_ATTEND_LIST(n, F) {0, K_NAME(n##_1_##F), K_NAME(n##_2_##F)}
#endif
V_ATTENDS(0) V_ATTENDS(1)
static void (*const K_NAME(score_table)[2][K_TILE_ROWS + 1])(
    const float *, int, const uint8_t *const *, const uint8_t *const *,
    float *) = {V_ATTEND_LIST(scores, 0), V_ATTEND_LIST(scores, 1)};
static void (*const K_NAME(value_table)[2][K_TILE_ROWS + 1])(
    const float *, int, const uint8_t *const *, size_t, int, int, float *,
    size_t) = {V_ATTEND_LIST(values, 0), V_ATTEND_LIST(values, 1)};

// Scores of one row become probabilities, zero where the row sees no key.
V_INLINE void K_NAME(softmax)(float *s, int visible, int keys, const int rounds, float *max,
                              float *sum) {
  const v16 lane = lane_index();
  v16 top = splat(-INFINITY), total = splat(0);
  for (int i = 0; i < visible; i += 16) {
    v16 x = select16(lane < (float)(visible - i), load(s + i), splat(-INFINITY));
    top = select16(x > top, x, top);
  }
  *max = visible > 0 ? max16(top) : -INFINITY;
  for (int i = 0; i < keys; i += 16) {
    v16 p = splat(0);
    if (i < visible) {
      // A NaN score must stay one: exp2 would make a number of it.
      const v16 x = load(s + i), d = x - *max;
      p = exp2_nonpositive(d);
      p = select16(d == d, p, d);
      if (rounds) p = rounded(p);
      p = select16(lane < (float)(visible - i), p, splat(0));
    }
    total += p;
    store(s + i, p);
  }
  *sum = sum16(total);
}

// A copy of the last page's values with zeros behind the last key: those slots may hold anything,
// and 0 x NaN is NaN.
static const uint8_t *K_NAME(tail_values)(const uint8_t *values, int tail, int wide, const int F,
                                          uint8_t *copy) {
  const size_t line = (size_t)wide * 4, kept = F ? (size_t)tail / 2 : (size_t)tail;
  memset(copy, 0, line * (F ? K_PAGE / 2 : K_PAGE));
  memcpy(copy, values, line * kept);
  if (F && tail % 2) {
    const uint32_t *from = (const uint32_t *)(values + line * kept);
    uint32_t *to = (uint32_t *)(copy + line * kept);
    for (int d = 0; d < wide; d++) to[d] = from[d] & 0xffff;
  }
  return copy;
}

V_INLINE void K_NAME(attend_span)(const k_span *x, const int F, const int rounds) {
  const int dim = x->dim, wide = k_round_up(dim, 16), rows = x->rows;
  const int pages = (x->keys + K_PAGE - 1) / K_PAGE;
  const int tiles = (rows + K_TILE_ROWS - 1) / K_TILE_ROWS;
  const size_t values = F ? (size_t)dim / 2 * 64 : (size_t)dim * 64;
  float *s = x->scratch;
  const uint8_t *k[K_SPAN_PAGES + 1], *v[K_SPAN_PAGES];
  for (int b = 0; b < pages; b++) k[b] = x->pages[b], v[b] = k[b] + values;
  k[pages] = k[pages - 1];  // for a tile of two pages at an odd end
  if (x->keys % K_PAGE) {
    uint8_t *copy = (uint8_t *)(s + (size_t)K_SPAN_ROWS * K_SPAN);
    v[pages - 1] = K_NAME(tail_values)(v[pages - 1], x->keys % K_PAGE, wide, F, copy);
  }
  for (int i = 0, r = 0, m; i < tiles; i++, r += m) {
    m = rows / tiles + (i < rows % tiles);
    const float *q = (const float *)x->queries + (size_t)r * dim;
    float *p = s + (size_t)r * K_SPAN, *out = x->out + (size_t)r * x->ldo;
    for (int b = 0; b < pages; b += K_TILE_VECS) {
      const int next = b + K_TILE_VECS, last = pages - 1;
      const uint8_t *later[4] = {k[next < last ? next : last], k[next < last ? next + 1 : last],
                                 k[b] + values, k[b + 1 < last ? b + 1 : last] + values};
      K_NAME(score_table)[F][m](q, dim, k + b, i ? NULL : later, p + b * K_PAGE);
    }
    for (int j = 0; j < m; j++) {
      K_NAME(softmax)(p + (size_t)j * K_SPAN, x->visible[r + j], pages * K_PAGE, rounds,
                      &x->max[r + j], &x->sum[r + j]);
    }
    for (int d = 0, n; d < wide; d += 16 * n) {
      n = wide - d >= 16 * K_TILE_VECS ? K_TILE_VECS : 1;
      K_NAME(value_table)[F][m](p, pages, v, (size_t)d * 4, wide, n, out + d, x->ldo);
    }
  }
}
static void K_NAME(attend_f32)(const k_span *x) { K_NAME(attend_span)(x, 0, 0); }
static void K_NAME(attend_bf16)(const k_span *x) { K_NAME(attend_span)(x, 1, 0); }
static __attribute__((unused)) void K_NAME(attend_bf16_rounded)(const k_span *x) {
  K_NAME(attend_span)(x, 1, 1);
}
