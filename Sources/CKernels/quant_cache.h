// Keys and values in 8 bits; included like quant_tile.h, with the same operations.
//
// Page of 16 tokens: keys (value + 128) as dim/4 lines of 16 tokens x 4 dims; values as 4 token
// quads x dims x 4; 16 f32 scales of keys, 16 of values. Queries and probabilities carry two
// 8-bit terms each (15 and 16 bits), so that only keys and values are coarse. Products are exact
// integers, and the f32 work runs over 16 lanes everywhere: all instruction sets agree bit for bit.

#define CACHE_ROWS ((ROWS_MAX) / 2)  // hi and lo sums of two vectors per row
enum { T(SCORES) = K_SPAN, T(PER_PAGE) = K_PAGE / LANES };

// One row of prepared queries: dim4 high bytes, dim4 low bytes, then this.
typedef struct { int32_t start_high, start_low; float scale; } T(query);

K_INLINE int T(dim4)(int dim) { return (dim + 3) / 4 * 4; }
K_INLINE int T(dim16)(int dim) { return (dim + 15) / 16 * 16; }
K_INLINE size_t T(query_stride)(int dim) { return (size_t)(2 * T(dim4)(dim) + 15) / 16 * 16 + 16; }
K_INLINE const T(query) *T(query_end)(const uint8_t *row, int dim) {
  return (const T(query) *)(const void *)(row + T(query_stride)(dim) - 16);
}
K_INLINE const float *T(page_scales)(const uint8_t *page, int dim) {
  return (const float *)(const void *)(page + T(dim4)(dim) * 16 + T(dim16)(dim) * 16);
}

static size_t T(cache_page_bytes)(int dim) {
  return (size_t)T(dim4)(dim) * 16 + (size_t)T(dim16)(dim) * 16 + 128;
}
static size_t T(cache_query_bytes)(int dim, int rows) {
  return T(query_stride)(dim) * (size_t)rows;
}

// The greatest magnitude; NaN if there is one.
K_INLINE float T(greatest)(const float *x, int n) {
  int32_t m = 0;
  for (int i = 0; i < n; i++) {
    int32_t bits;
    __builtin_memcpy(&bits, x + i, 4);
    m = (bits & 0x7fffffff) > m ? (bits & 0x7fffffff) : m;
  }
  return T(from_bits)(m);
}

// To the nearest integer in -most...most; anything for NaN, whose scale is NaN.
K_INLINE int32_t T(rounded)(float v, float most) {
  v = v > -most ? v : -most;
  v = v < most ? v : most;
  return (int32_t)__builtin_rintf(v);
}

static void T(cache_store)(uint8_t *page, int slot, int dim, const float *k, const float *v) {
  const float mk = T(greatest)(k, dim), mv = T(greatest)(v, dim);
  const float up_k = mk < 1e-30f ? 0 : 127.f / mk, up_v = mv < 1e-30f ? 0 : 127.f / mv;
  uint8_t *values = page + T(dim4)(dim) * 16 + slot / 4 * T(dim16)(dim) * 4 + slot % 4;
  float *scales = (float *)(void *)(page + T(dim4)(dim) * 16 + T(dim16)(dim) * 16);
  for (int d = 0; d < dim; d++) {
    page[d / 4 * 64 + slot * 4 + d % 4] = (uint8_t)(T(rounded)(k[d] * up_k, 127) + 128);
    values[d * 4] = (uint8_t)(T(rounded)(v[d] * up_v, 127) & 255);
  }
  scales[slot] = mk < 1e-30f ? 0 : mk / 127.f;
  scales[16 + slot] = mv < 1e-30f ? 0 : mv / 127.f;
}

static void T(cache_prepare)(const float *const *q, int rows, int dim, float scale, void *to) {
  const int dim4 = T(dim4)(dim);
  for (int r = 0; r < rows; r++) {
    uint8_t *row = (uint8_t *)to + (size_t)r * T(query_stride)(dim);
    const float m = T(greatest)(q[r], dim);
    const float up = m < 1e-30f ? 0 : 16256.f / m;
    T(query) *end = (T(query) *)(void *)(row + T(query_stride)(dim) - 16);
    int32_t high = 0, low = 0;
    for (int d = 0; d < dim4; d += 16) {
      const int n = dim4 - d < 16 ? dim4 - d : 16, seen = dim - d;
      float x[16] = {0};
      __builtin_memcpy(x, q[r] + d, (size_t)(seen < 16 ? seen : 16) * 4);
      int8_t h[16], l[16];
      int32_t sum_high = 0, sum_low = 0;
      for (int i = 0; i < 16; i++) {
        const int32_t v = T(rounded)(x[i] * up, 16256), top = (v + 64) >> 7;
        h[i] = (int8_t)top, l[i] = (int8_t)(v - top * 128);
        sum_high += top, sum_low += v - top * 128;
      }
      high += sum_high, low += sum_low;
      __builtin_memcpy(row + d, h, (size_t)n);
      __builtin_memcpy(row + dim4 + d, l, (size_t)n);
    }
    end->start_high = -128 * high, end->start_low = -128 * low;
    end->scale = (m < 1e-30f ? 0 : m / 16256.f) * scale;
  }
}

// scores[r][..] of two vectors of tokens.
K_INLINE void T(score_tile)(const int R, const uint8_t *q, int dim, const uint8_t *k0,
                            const uint8_t *k1, const float *s0, const float *s1, float *to0,
                            float *to1) {
  const size_t stride = T(query_stride)(dim);
  const int dim4 = T(dim4)(dim);
  VI high[CACHE_ROWS][2], low[CACHE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++) {
    const T(query) *e = T(query_end)(q + r * stride, dim);
    high[r][0] = high[r][1] = v_set32(e->start_high);
    low[r][0] = low[r][1] = v_set32(e->start_low);
  }
  for (int d = 0; d < dim4; d += 4) {
    const VI w0 = v_load(k0 + d * 16), w1 = v_load(k1 + d * 16);
    UNROLL for (int r = 0; r < R; r++) {
      const VI h = v_broadcast((const int8_t *)q + r * stride + d);
      const VI l = v_broadcast((const int8_t *)q + r * stride + dim4 + d);
      high[r][0] = v_dot(K_FORM_Q8, high[r][0], w0, h);
      high[r][1] = v_dot(K_FORM_Q8, high[r][1], w1, h);
      low[r][0] = v_dot(K_FORM_Q8, low[r][0], w0, l);
      low[r][1] = v_dot(K_FORM_Q8, low[r][1], w1, l);
    }
  }
  UNROLL for (int r = 0; r < R; r++) {
    const VF scale = v_set(T(query_end)(q + r * stride, dim)->scale);
    const VF a = v_float(v_add32(v_shift_left32(high[r][0], 7), low[r][0]));
    const VF b = v_float(v_add32(v_shift_left32(high[r][1], 7), low[r][1]));
    v_store(to0 + r * T(SCORES), v_mul(v_mul(a, scale), v_f32(s0)));
    v_store(to1 + r * T(SCORES), v_mul(v_mul(b, scale), v_f32(s1)));
  }
}

// out[r][..] of two vectors of dims, over all pages. p: [rows][2][K_SPAN] high and low bytes.
K_INLINE void T(value_tile)(const int R, const uint8_t *p, const uint8_t *const *pages, int count,
                            size_t at0, size_t at1, int dim16, const float *scale, float *to0,
                            float *to1, size_t ldo) {
  VI high[CACHE_ROWS][2], low[CACHE_ROWS][2];
  UNROLL for (int r = 0; r < R; r++)
    high[r][0] = high[r][1] = low[r][0] = low[r][1] = v_zero();
  for (int b = 0; b < count; b++)
    for (int t = 0; t < 4; t++) {
      const uint8_t *v = pages[b] + t * dim16 * 4;
      const VI w0 = v_load(v + at0), w1 = v_load(v + at1);
      UNROLL for (int r = 0; r < R; r++) {
        const int8_t *row = (const int8_t *)p + r * 2 * K_SPAN + b * K_PAGE + t * 4;
        const VI h = v_broadcast(row), l = v_broadcast(row + K_SPAN);
        high[r][0] = v_dot(K_FORM_Q8, high[r][0], h, w0);
        high[r][1] = v_dot(K_FORM_Q8, high[r][1], h, w1);
        low[r][0] = v_dot(K_FORM_Q8, low[r][0], l, w0);
        low[r][1] = v_dot(K_FORM_Q8, low[r][1], l, w1);
      }
    }
  UNROLL for (int r = 0; r < R; r++) {
    // 255 x 127 x 256 keys x 257 is just below 2^31.
    const VF a = v_float(v_add32(v_shift_left32(high[r][0], 8), low[r][0]));
    const VF b = v_float(v_add32(v_shift_left32(high[r][1], 8), low[r][1]));
    v_store(to1 + r * ldo, v_mul(b, v_set(scale[r])));
    v_store(to0 + r * ldo, v_mul(a, v_set(scale[r])));
  }
}

#define K_CACHE_TILE(R)                                                                          \
  static __attribute__((noinline)) void T(scores_##R)(                                           \
    const uint8_t *q, int dim, const uint8_t *k0, const uint8_t *k1, const float *s0,            \
    const float *s1, float *to0, float *to1) {                                                   \
    T(score_tile)(R, q, dim, k0, k1, s0, s1, to0, to1);                                          \
  }                                                                                              \
  static __attribute__((noinline)) void T(values_##R)(                                           \
    const uint8_t *p, const uint8_t *const *pages, int count, size_t at0, size_t at1, int dim16, \
    const float *scale, float *to0, float *to1, size_t ldo) {                                    \
    T(value_tile)(R, p, pages, count, at0, at1, dim16, scale, to0, to1, ldo);                    \
  }
#if ROWS_MAX == 12
K_CACHE_TILE(1) K_CACHE_TILE(2) K_CACHE_TILE(3) K_CACHE_TILE(4) K_CACHE_TILE(5) K_CACHE_TILE(6)
#define K_CACHE_NAMES(f) {0, T(f##1), T(f##2), T(f##3), T(f##4), T(f##5), T(f##6)}
#else
K_CACHE_TILE(1) K_CACHE_TILE(2)
#define K_CACHE_NAMES(f) {0, T(f##1), T(f##2)}
#endif
static void (*const T(score_tiles)[])(const uint8_t *, int, const uint8_t *, const uint8_t *,
                                      const float *, const float *, float *, float *) =
  K_CACHE_NAMES(scores_);
static void (*const T(value_tiles)[])(const uint8_t *, const uint8_t *const *, int, size_t, size_t,
                                      int, const float *, float *, float *, size_t) =
  K_CACHE_NAMES(values_);
#undef K_CACHE_TILE
#undef K_CACHE_NAMES

// 2^x for x <= 0, NaN for NaN; relative error below 3e-7.
K_INLINE float T(power_of_two)(float x) {
  const float clean = x > -126.f ? x : -126.f;
  const float n = __builtin_rintf(clean), f = (x < -126.f ? -126.f : x) - n;
  float p = 1.5403530e-4f;
  p = __builtin_fmaf(p, f, 1.3333558e-3f);
  p = __builtin_fmaf(p, f, 9.6181291e-3f);
  p = __builtin_fmaf(p, f, 5.5504109e-2f);
  p = __builtin_fmaf(p, f, 2.4022651e-1f);
  p = __builtin_fmaf(p, f, 6.9314718e-1f);
  p = __builtin_fmaf(p, f, 1.f);
  return p * T(from_bits)(((int32_t)n + 127) << 23);
}

// Scores s of one row to bytes p; n keys are seen. Returns what p counts in.
K_INLINE float T(softmax)(float *restrict s, int n, int pages, const uint8_t *const *page, int dim,
                          uint8_t *restrict p, float *max, float *sum) {
  float tops[16], sums[16] = {0};
  int32_t most[16] = {0};
  for (int i = 0; i < 16; i++) tops[i] = -INFINITY;
  for (int b = 0; b < pages; b++) {
    const int seen = n - b * K_PAGE;
    const float *x = s + b * K_PAGE;
    for (int i = 0; i < 16; i++) {
      const float v = i < seen ? x[i] : -INFINITY;
      tops[i] = v > tops[i] ? v : tops[i];
    }
  }
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++) tops[i] = tops[i] > tops[i + w] ? tops[i] : tops[i + w];
  const float top = tops[0] > -INFINITY ? tops[0] : 0;  // nothing but NaN
  for (int b = 0; b < pages; b++) {
    const float *scale = T(page_scales)(page[b], dim) + 16;
    const int seen = n - b * K_PAGE;
    float *x = s + b * K_PAGE;
    for (int i = 0; i < 16; i++) {
      const float e = i < seen ? T(power_of_two)(x[i] - top) : 0;
      sums[i] += e;
      union { float f; int32_t i; } u = {i < seen ? e * scale[i] : 0};
      most[i] = u.i > most[i] ? u.i : most[i];  // not negative, so they compare as integers
      x[i] = u.f;
    }
  }
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; i++)
      sums[i] += sums[i + w], most[i] = most[i] > most[i + w] ? most[i] : most[i + w];
  const float greatest = T(from_bits)(most[0]);
  const float up = greatest < 1e-30f ? 0 : 65535.f / greatest;
  for (int b = 0; b < pages * K_PAGE; b += 16) {
    uint8_t high[16], low[16];
    for (int i = 0; i < 16; i++) {
      const int32_t v = T(rounded)(s[b + i] * up, 65535);
      high[i] = (uint8_t)(v >> 8), low[i] = (uint8_t)v;
    }
    __builtin_memcpy(p + b, high, 16);
    __builtin_memcpy(p + K_SPAN + b, low, 16);
  }
  *max = top, *sum = sums[0];
  return greatest < 1e-30f ? 0 : greatest / 65535.f;
}

static void T(cache_attend)(const k_span *a) {
  const int dim = a->dim, dim16 = T(dim16)(dim), pages = (a->keys + K_PAGE - 1) / K_PAGE;
  const size_t stride = T(query_stride)(dim);
  float *scores = a->scratch;  // [rows][K_SPAN]
  float *scale = scores + K_SPAN_ROWS * K_SPAN;
  uint8_t *p = (uint8_t *)(scale + K_SPAN_ROWS);  // [rows][2][K_SPAN]
  const int tiles = (a->rows + CACHE_ROWS - 1) / CACHE_ROWS, vectors = pages * T(PER_PAGE);
#define FOR_TILES                                                         \
  for (int t = 0, r = 0, m;                                              \
       t < tiles && (m = a->rows / tiles + (t < a->rows % tiles), 1); t++, r += m)
  for (int i = 0; i < vectors; i += 2) {
    const int j = i + 1 < vectors ? i + 1 : i, ip = i / T(PER_PAGE), jp = j / T(PER_PAGE);
    const int io = i % T(PER_PAGE) * LANES, jo = j % T(PER_PAGE) * LANES;
    FOR_TILES T(score_tiles)[m](
      (const uint8_t *)a->queries + (size_t)r * stride, dim, a->pages[ip] + io * 4,
      a->pages[jp] + jo * 4, T(page_scales)(a->pages[ip], dim) + io,
      T(page_scales)(a->pages[jp], dim) + jo, scores + r * K_SPAN + i * LANES,
      scores + r * K_SPAN + j * LANES);
  }
  for (int r = 0; r < a->rows; r++) {
    if (a->visible[r] <= 0) {
      a->max[r] = -INFINITY, a->sum[r] = 0, scale[r] = 0;
      __builtin_memset(p + r * 2 * K_SPAN, 0, 2 * K_SPAN);
      continue;
    }
    scale[r] = T(softmax)(scores + r * K_SPAN, a->visible[r] < a->keys ? a->visible[r] : a->keys,
                          pages, a->pages, dim, p + r * 2 * K_SPAN, a->max + r, a->sum + r);
  }
  const size_t values = (size_t)T(dim4)(dim) * 16;
  for (int d = 0; d < dim16; d += 2 * LANES) {
    const int e = d + LANES < dim16 ? d + LANES : d;
    FOR_TILES T(value_tiles)[m](p + r * 2 * K_SPAN, a->pages, pages, values + (size_t)d * 4,
                                values + (size_t)e * 4, dim16, scale + r,
                                a->out + (size_t)r * a->ldo + d, a->out + (size_t)r * a->ldo + e,
                                a->ldo);
  }
#undef FOR_TILES
}

const k_cache_ops T(k_quant_cache) = {
  .page_bytes = T(cache_page_bytes),
  .store = T(cache_store),
  .query_bytes = T(cache_query_bytes),
  .prepare_queries = T(cache_prepare),
  .scratch_bytes = K_SPAN_ROWS * (K_SPAN * 4 + 4 + 2 * K_SPAN),
  .attend = T(cache_attend),
};
#undef CACHE_ROWS
