// Products and attention with vdpbf16ps: bf16 weights (or keys and values) times bf16 activations,
// f32 sums. Row-wise work and the other formats are those of AVX-512.
//
// Products: 12 rows x 32 outputs in 24 sums; a line of a panel is 16 outputs x 2 inputs, the
// activations are broadcast two at a time. One row: 4 panels at once.
#if defined(__x86_64__)
#pragma clang attribute push(                                                            \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,f16c"))), \
    apply_to = function)
#include <immintrin.h>

#define K_NAME(x) dot_##x
#define K_TILE_ROWS 12
#define K_TILE_VECS 2
#define K_GEMV_PANELS 4
#define K_F16C 1
#include "float_template.h"

// ---- products --------------------------------------------------------------------------------
enum { ROW_TILE = 12, AHEAD = 2048 };
typedef uint32_t pair;  // two bf16, the even input in the low half

static inline int pair_stride(int inputs) { return k_round_up(inputs, 32) / 2 + 16; }
static size_t pair_bytes(int inputs, int rows) {
  return (size_t)pair_stride(inputs) * (size_t)rows * 4;
}
V_INLINE __m256i to_bf16(v16 v) {
  // As `rounded`, not vcvtneps2bf16: that one flushes denormals.
  return _mm512_cvtepi32_epi16((__m512i)((u16v)rounded(v) >> 16));
}
static void pair_prepare(const k_matrix *w, const k_rows *x, int r0, int r1, void *prepared) {
  const int n = w->inputs, stride = pair_stride(n);
  for (int r = r0; r < r1; r++) {
    const float *s = x->x + (size_t)r * x->stride;
    uint16_t *out = (uint16_t *)((pair *)prepared + (size_t)r * stride);
    const v16 f = splat(x->norm ? dot_inverse_rms(s, n, x->epsilon) : 1.f);
    for (int i = 0; i < n; i += 16) {
      const int m = n - i;
      v16 v = m >= 16 ? load(s + i) : load_part(s + i, m);
      if (x->norm) v = v * f * (m >= 16 ? load(x->norm + i) : load_part(x->norm + i, m));
      _mm256_storeu_si256((void *)(out + i), to_bf16(v));
    }
    for (int i = k_round_up(n, 16); i < 2 * stride; i++) out[i] = 0;
  }
}

typedef struct {
  const pair *a;
  size_t lda;
  const uint8_t *w;
  size_t panel_bytes;
  int n, ahead, first;  // n: pairs of inputs
  float *c;
  size_t ldc;
} tile;

V_INLINE void run_tile(const int R, const tile *t) {
  __m512 f[ROW_TILE][2];
  const pair *a = t->a;
  const uint8_t *w = t->w;
  const size_t lda = t->lda;
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < 2; j++) {
      f[r][j] = t->first ? _mm512_setzero_ps() : _mm512_loadu_ps(t->c + r * t->ldc + j * 16);
    }
  }
  for (int k = 0; k < t->n; k++, w += 128) {
    const __m512bh w0 = (__m512bh)_mm512_loadu_si512(w);
    const __m512bh w1 = (__m512bh)_mm512_loadu_si512(w + 64);
    if (t->ahead) V_PREFETCH(w + t->ahead), V_PREFETCH(w + t->ahead + 64);
    V_UNROLL for (int r = 0; r < R; r++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[r * lda + k]);
      f[r][0] = _mm512_dpbf16_ps(f[r][0], w0, x), f[r][1] = _mm512_dpbf16_ps(f[r][1], w1, x);
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < 2; j++) _mm512_storeu_ps(t->c + r * t->ldc + j * 16, f[r][j]);
  }
}
V_INLINE void run_row(const int P, const tile *t) {
  __m512 f[4][2];
  const uint8_t *w = t->w;
  const size_t next = t->panel_bytes;
  V_UNROLL for (int p = 0; p < P; p++) f[p][0] = f[p][1] = _mm512_setzero_ps();
  for (int k = 0; k < t->n; k++, w += 128) {
    const __m512bh x = (__m512bh)_mm512_set1_epi32((int)t->a[k]);
    V_UNROLL for (int p = 0; p < P; p++) {
      const uint8_t *l = w + p * next;
      V_PREFETCH(l + t->ahead), V_PREFETCH(l + t->ahead + 64);
      f[p][0] = _mm512_dpbf16_ps(f[p][0], (__m512bh)_mm512_loadu_si512(l), x);
      f[p][1] = _mm512_dpbf16_ps(f[p][1], (__m512bh)_mm512_loadu_si512(l + 64), x);
    }
  }
  V_UNROLL for (int p = 0; p < P; p++) {
    _mm512_storeu_ps(t->c + p * 32, f[p][0]), _mm512_storeu_ps(t->c + p * 32 + 16, f[p][1]);
  }
}
#define TILE(R) static __attribute__((noinline)) void tile_##R(const tile *t) { run_tile(R, t); }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#define ROW(P) static __attribute__((noinline)) void row_##P(const tile *t) { run_row(P, t); }
ROW(1) ROW(2) ROW(3) ROW(4)
static void (*const tile_table[])(const tile *) = {
    0,      tile_1, tile_2, tile_3,  tile_4,  tile_5, tile_6,
    tile_7, tile_8, tile_9, tile_10, tile_11, tile_12};
static void (*const row_table[])(const tile *) = {0, row_1, row_2, row_3, row_4};

static void multiply(const k_matrix *w, const void *prepared, int all, int r0, int r1, int p0,
                     int p1, float *c, size_t ldc) {
  (void)all;
  const int rows = r1 - r0, pairs = (w->inputs + 1) / 2, stride = pair_stride(w->inputs);
  const int tiles = (rows + ROW_TILE - 1) / ROW_TILE;
  const pair *a = (const pair *)prepared + (size_t)r0 * stride;
  tile t = {a, (size_t)stride, 0, w->panel_bytes, pairs, AHEAD, 1, c, ldc};
  if (rows == 1) {
    for (int p = p0, m; p < p1; p += m) {
      m = p1 - p < 4 ? p1 - p : 4;
      t.w = w->data + (size_t)p * w->panel_bytes, t.c = c + (p - p0) * K_PANEL;
      row_table[m](&t);
    }
    return;
  }
  const int kc = tiles == 1 ? pairs : 256, group = rows <= 32 ? 1 : p1 - p0;
  for (int g = p0; g < p1; g += group) {
    for (int k0 = 0; k0 < pairs; k0 += kc) {
      for (int p = g; p < g + group && p < p1; p++) {
        for (int i = 0, r = 0, m; i < tiles; i++, r += m) {
          m = rows / tiles + (i < rows % tiles);
          t.a = a + (size_t)r * stride + k0, t.n = pairs - k0 < kc ? pairs - k0 : kc;
          t.first = k0 == 0, t.w = w->data + (size_t)p * w->panel_bytes + (size_t)k0 * 128;
          t.ahead = tiles == 1 ? AHEAD : rows <= 32 && i == 0 ? kc * 128 : 0;
          t.c = c + (size_t)r * ldc + (p - p0) * K_PANEL;
          tile_table[m](&t);
        }
      }
    }
  }
}

// ---- attention -------------------------------------------------------------------------------
// Scratch: scores f32 [96][256], probabilities as pairs of bf16 [96][128], a copy of a page.
enum { PAIRS = K_SPAN / 2 };
#define DOT_SCRATCH \
  ((size_t)K_SPAN_ROWS * K_SPAN * 4 + (size_t)K_SPAN_ROWS * PAIRS * 4 + (size_t)8 * K_DIM_MAX * 4)

static size_t dot_queries_bytes(int dim, int rows) {
  return (size_t)(dim / 2) * (size_t)rows * 4 + 64;
}
static void dot_queries(const float *const *q, int rows, int dim, float scale, void *out) {
  uint16_t *o = out;
  for (int r = 0; r < rows; r++, o += dim) {
    int d = 0;
    for (; d + 16 <= dim; d += 16) {
      _mm256_storeu_si256((void *)(o + d), to_bf16(load(q[r] + d) * scale));
    }
    for (; d < dim; d++) o[d] = k_to_bf16(q[r][d] * scale);
  }
}

typedef const uint8_t *const *pages_ptr;

// Scores of R rows against 4 pages.
V_INLINE void run_scores(const int R, const pair *q, int pairs, pages_ptr k, pages_ptr later,
                         float *s) {
  __m512 f[6][4];
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < 4; j++) f[r][j] = _mm512_setzero_ps();
  }
  const uint8_t *k0 = k[0], *k1 = k[1], *k2 = k[2], *k3 = k[3];
  for (int d = 0; d < pairs; d++) {
    const __m512bh w0 = (__m512bh)_mm512_loadu_si512(k0 + d * 64);
    const __m512bh w1 = (__m512bh)_mm512_loadu_si512(k1 + d * 64);
    const __m512bh w2 = (__m512bh)_mm512_loadu_si512(k2 + d * 64);
    const __m512bh w3 = (__m512bh)_mm512_loadu_si512(k3 + d * 64);
    if (later) {
      V_UNROLL for (int j = 0; j < 8; j++) V_PREFETCH(later[j] + d * 64);
    }
    V_UNROLL for (int r = 0; r < R; r++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32((int)q[r * pairs + d]);
      f[r][0] = _mm512_dpbf16_ps(f[r][0], w0, x), f[r][1] = _mm512_dpbf16_ps(f[r][1], w1, x);
      f[r][2] = _mm512_dpbf16_ps(f[r][2], w2, x), f[r][3] = _mm512_dpbf16_ps(f[r][3], w3, x);
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < 4; j++) _mm512_storeu_ps(s + r * K_SPAN + j * 16, f[r][j]);
  }
}
// out[R][16 * W] = p V over all pages of the span; line: bytes of a token pair.
V_INLINE void run_values(const int R, const int W, const pair *p, int pages, pages_ptr v,
                         size_t offset, size_t line, float *out, size_t ldo) {
  __m512 f[6][W];
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < W; j++) f[r][j] = _mm512_setzero_ps();
  }
  for (int b = 0; b < pages; b++) {
    const uint8_t *w = v[b] + offset;
    for (int t = 0; t < K_PAGE / 2; t++, w += line) {
      __m512bh x[W];
      V_UNROLL for (int j = 0; j < W; j++) x[j] = (__m512bh)_mm512_loadu_si512(w + j * 64);
      V_UNROLL for (int r = 0; r < R; r++) {
        const __m512bh y = (__m512bh)_mm512_set1_epi32((int)p[r * PAIRS + b * 8 + t]);
        V_UNROLL for (int j = 0; j < W; j++) f[r][j] = _mm512_dpbf16_ps(f[r][j], x[j], y);
      }
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < W; j++) _mm512_storeu_ps(out + r * ldo + j * 16, f[r][j]);
  }
}
#define ATTEND(R)                                                                                \
  static __attribute__((noinline)) void scores_##R(const pair *q, int n, pages_ptr k,            \
                                                   pages_ptr later, float *s) {                  \
    run_scores(R, q, n, k, later, s);                                                            \
  }                                                                                              \
  static __attribute__((noinline)) void values_##R##_4(const pair *p, int n, pages_ptr v,        \
                                                       size_t at, size_t line, float *o,         \
                                                       size_t ldo) {                             \
    run_values(R, 4, p, n, v, at, line, o, ldo);                                                 \
  }                                                                                              \
  static __attribute__((noinline)) void values_##R##_1(const pair *p, int n, pages_ptr v,        \
                                                       size_t at, size_t line, float *o,         \
                                                       size_t ldo) {                             \
    run_values(R, 1, p, n, v, at, line, o, ldo);                                                 \
  }
ATTEND(1) ATTEND(2) ATTEND(3) ATTEND(4) ATTEND(5) ATTEND(6)
static void (*const score_table[])(const pair *, int, pages_ptr, pages_ptr, float *) = {
    0, scores_1, scores_2, scores_3, scores_4, scores_5, scores_6};
typedef void values_function(const pair *, int, pages_ptr, size_t, size_t, float *, size_t);
static values_function *const value_table[][2] = {
    {0, 0},                   {values_1_1, values_1_4}, {values_2_1, values_2_4},
    {values_3_1, values_3_4}, {values_4_1, values_4_4}, {values_5_1, values_5_4},
    {values_6_1, values_6_4}};

// Scores of one row become bf16 probabilities, zero where the row sees no key.
static inline void softmax(const float *s, int visible, int keys, uint16_t *out, float *max,
                           float *sum) {
  __m512 top = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
#define VISIBLE(i) \
  (__mmask16)(visible - (i) >= 16 ? 0xffff : visible <= (i) ? 0 : (1u << (visible - (i))) - 1)
  for (int i = 0; i < visible; i += 16) {
    top = _mm512_mask_max_ps(top, VISIBLE(i), top, _mm512_loadu_ps(s + i));
  }
  *max = visible > 0 ? _mm512_reduce_max_ps(top) : -INFINITY;
  const __m512 m = _mm512_set1_ps(*max);
  for (int i = 0; i < keys; i += 16) {
    const __mmask16 seen = VISIBLE(i);
    const v16 d = (v16)_mm512_sub_ps(_mm512_maskz_loadu_ps(seen, s + i), m);
    // A NaN score must stay one: exp2 would make a number of it.
    const v16 e = select16(d == d, exp2_nonpositive(d), d);
    const __m512 p = _mm512_maskz_mov_ps(seen, (__m512)rounded(e));
    total = _mm512_add_ps(total, p);  // of what is really used: the rounded probabilities
    _mm256_storeu_si256((void *)(out + i), to_bf16((v16)p));
  }
#undef VISIBLE
  *sum = sum16((v16)total);
}

static void attend(const k_span *x) {
  const int dim = x->dim, wide = k_round_up(dim, 16), rows = x->rows;
  const int pages = (x->keys + K_PAGE - 1) / K_PAGE, tiles = (rows + 5) / 6;
  const size_t line = (size_t)wide * 4, values = (size_t)dim / 2 * 64;
  float *s = x->scratch;
  pair *p = (pair *)(s + (size_t)K_SPAN_ROWS * K_SPAN);
  const uint8_t *k[K_SPAN_PAGES + 3], *v[K_SPAN_PAGES];
  for (int b = 0; b < pages; b++) k[b] = x->pages[b], v[b] = k[b] + values;
  for (int b = pages; b % 4; b++) k[b] = k[pages - 1];
  const int tail = x->keys % K_PAGE;
  if (tail) {  // slots behind the last key may hold anything, and 0 x NaN is NaN
    uint8_t *copy = (uint8_t *)(p + (size_t)K_SPAN_ROWS * PAIRS);
    memset(copy, 0, line * (K_PAGE / 2));
    memcpy(copy, v[pages - 1], line * (size_t)(tail / 2));
    if (tail % 2) {
      const pair *from = (const pair *)(v[pages - 1] + line * (size_t)(tail / 2));
      pair *to = (pair *)(copy + line * (size_t)(tail / 2));
      for (int d = 0; d < wide; d++) to[d] = from[d] & 0xffff;
    }
    v[pages - 1] = copy;
  }
#define FOR_TILES \
  for (int i = 0, r = 0, m; i < tiles && (m = rows / tiles + (i < rows % tiles), 1); i++, r += m)
  for (int b = 0; b < pages; b += 4) {
    const uint8_t *later[8];  // keys of the next four pages, values of these
    for (int j = 0; j < 4; j++) {
      later[j] = k[b + 4 + j < pages ? b + 4 + j : pages - 1];
      later[4 + j] = k[b + j] + values;
    }
    FOR_TILES {
      score_table[m]((const pair *)x->queries + (size_t)r * (dim / 2), dim / 2, k + b,
                     i ? NULL : later, s + (size_t)r * K_SPAN + b * K_PAGE);
    }
  }
  for (int r = 0; r < rows; r++) {
    softmax(s + (size_t)r * K_SPAN, x->visible[r], pages * K_PAGE,
            (uint16_t *)(p + (size_t)r * PAIRS), &x->max[r], &x->sum[r]);
  }
  for (int d = 0, n; d < wide; d += n) {
    n = wide - d >= 64 ? 64 : 16;
    FOR_TILES {
      value_table[m][n == 64](p + (size_t)r * PAIRS, pages, v, (size_t)d * 4, line,
                              x->out + (size_t)r * x->ldo + d, x->ldo);
    }
  }
#undef FOR_TILES
}

const k_isa_ops k_ops_avx512_bf16 = {
    V_ROWS_OPS,
    .formats = {V_FORMATS_OPS,
                {V_BF16_F32,
                 {k_panel_bytes_16, k_pack_bf16, k_unpack_bf16, pair_bytes, pair_prepare,
                  multiply}}},
    .caches = {{V_CACHE_F32, V_CACHE_F32},
               {V_CACHE_BF16,
                {k_cache_page_bf16, k_cache_store_bf16, dot_queries_bytes, dot_queries,
                 DOT_SCRATCH, attend}}},
};
#pragma clang attribute pop
#endif
