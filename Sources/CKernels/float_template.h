// Floating-point kernels for one instruction set; included once per set with
//   K_NAME(x)     the name of x for this set
//   K_TILE_ROWS   rows of the register tile
//   K_TILE_VECS   vectors of 16 outputs in the register tile, 1 or 2
//   K_GEMV_PANELS panels that a single row takes at once, to hide the latency of the sums
//   K_F16C        1 where half precision has conversion instructions
//
// Every output is one chain of fused multiply-adds over the inputs in ascending order.
#include <math.h>

#include "kernels.h"
#include "vector.h"

#pragma STDC FP_CONTRACT OFF

V_INLINE v16 load(const float *p) { v16 v; memcpy(&v, p, 64); return v; }
V_INLINE void store(float *p, v16 v) { memcpy(p, &v, 64); }
V_INLINE v16 splat(float f) {  // not {0} + f, which would be an addition
  return (v16){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f};
}
V_INLINE v16 load_part(const float *p, int n) {
  float t[16] = {0};
  memcpy(t, p, (size_t)n * 4);
  return load(t);
}
V_INLINE void store_part(float *p, v16 v, int n) {
  float t[16];
  store(t, v);
  memcpy(p, t, (size_t)n * 4);
}
V_INLINE float sum16(v16 v) {
  float t[16];
  store(t, v);
  for (int w = 8; w; w /= 2) for (int i = 0; i < w; i++) t[i] += t[i + w];
  return t[0];
}
V_INLINE float max16(v16 v) {
  float t[16];
  store(t, v);
  for (int w = 8; w; w /= 2) for (int i = 0; i < w; i++) t[i] = t[i] > t[i + w] ? t[i] : t[i + w];
  return t[0];
}
V_INLINE v16 select16(i16 mask, v16 a, v16 b) { return (v16)((mask & (i16)a) | (~mask & (i16)b)); }
V_INLINE v16 lane_index(void) {
  return (v16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}
// Rounds to bf16 and back.
V_INLINE v16 rounded(v16 v) {
  u16v u = (u16v)v, r = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
  u16v nan = (u16v)((u & 0x7fffffff) > 0x7f800000);
  return (v16)((nan & (u | 0x400000) & 0xffff0000u) | (~nan & r));
}
V_INLINE v16 from_f16(const uint8_t *p) {
#if K_F16C
  f16v h;
  memcpy(&h, p, 32);
  return __builtin_convertvector(h, v16);
#else
  h16 h;
  memcpy(&h, p, 32);
  u16v x = __builtin_convertvector(h, u16v), sign = (x & 0x8000) << 16, e = x & 0x7fff;
  u16v normal = (e << 13) + (112u << 23), small = (u16v)(e < 0x400), big = (u16v)(e >= 0x7c00);
  u16v low = (u16v)(__builtin_convertvector((i16)e, v16) * 0x1p-24f);
  u16v u = (small & low) | (big & (e << 13 | 0x7f800000)) | (~small & ~big & normal);
  return (v16)(u | sign);
#endif
}
// 2^f for |f| <= 0.5 times 2^n, -126 <= n <= 127; f in units where exp2 is wanted.
V_INLINE v16 scale_by_power(v16 p, v16 n) {
  return p * (v16)((__builtin_convertvector(n, i16) + 127) << 23);
}
V_INLINE v16 nearest(v16 x) {
  const v16 magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer
  return (x + magic) - magic;
}
// 2^x for x <= 0; below -126 it is 2^-126, which no sum of ours can tell from zero.
V_INLINE v16 exp2_nonpositive(v16 x) {
  x = select16(x > -126.f, x, splat(-126.f));
  v16 n = nearest(x), f = x - n, p = splat(1.5403530e-4f);
  p = V_FMA(p, f, splat(1.3333558e-3f));
  p = V_FMA(p, f, splat(9.6181291e-3f));
  p = V_FMA(p, f, splat(5.5504109e-2f));
  p = V_FMA(p, f, splat(2.4022651e-1f));
  p = V_FMA(p, f, splat(6.9314718e-1f));
  p = V_FMA(p, f, splat(1.f));
  return scale_by_power(p, n);
}
V_INLINE v16 exp16(v16 x) {
  const v16 top = splat(88.f), bottom = splat(-87.f);
  v16 y = select16(x < top, x, top);
  y = select16(y > bottom, y, bottom);
  v16 n = nearest(y * 1.44269504f);
  v16 r = V_FMA(n, splat(-0.693359375f), y);  // ln 2 in two parts, the first exact in 9 bits
  r = V_FMA(n, splat(2.12194440e-4f), r);
  v16 p = splat(1.98412698e-4f);
  p = V_FMA(p, r, splat(1.38888889e-3f));
  p = V_FMA(p, r, splat(8.33333333e-3f));
  p = V_FMA(p, r, splat(4.16666667e-2f));
  p = V_FMA(p, r, splat(1.66666667e-1f));
  p = V_FMA(p, r, splat(0.5f));
  p = V_FMA(p, r, splat(1.f));
  p = V_FMA(p, r, splat(1.f));
  return scale_by_power(p, n);
}
// A NaN goes through: both selections of exp16 turn it into a number, the division does not.
V_INLINE v16 silu16(v16 x) { return x / (exp16(-x) + 1.f); }

// sum += w * x. With all registers in use the compiler chooses forms of the instruction that move
// sums from register to register, then to the stack (100 spills in the widest tile); so it is told.
#if K_TILE_ROWS == 12
#define V_ADD(sum, w, x) __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x))
#else
#define V_ADD(sum, w, x) sum = V_FMA(w, x, sum)
#endif

// ---- rows ------------------------------------------------------------------------------------
static float K_NAME(inverse_rms)(const float *x, int n, float epsilon) {
  v16 s0 = splat(0), s1 = s0, s2 = s0, s3 = s0;
  int i = 0;
  for (; i + 64 <= n; i += 64) {
    v16 a = load(x + i), b = load(x + i + 16), c = load(x + i + 32), d = load(x + i + 48);
    s0 = V_FMA(a, a, s0), s1 = V_FMA(b, b, s1), s2 = V_FMA(c, c, s2), s3 = V_FMA(d, d, s3);
  }
  for (; i + 16 <= n; i += 16) {
    v16 a = load(x + i);
    s0 = V_FMA(a, a, s0);
  }
  if (i < n) {
    v16 a = load_part(x + i, n - i);
    s1 = V_FMA(a, a, s1);
  }
  return 1.f / sqrtf(sum16((s0 + s1) + (s2 + s3)) / (float)n + epsilon);
}

static void K_NAME(norm_row)(const float *x, int n, const float *weight, float epsilon,
                             float *out) {
  const v16 f = splat(K_NAME(inverse_rms)(x, n, epsilon));
  int i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, load(x + i) * f * load(weight + i));
  if (i < n) store_part(out + i, load_part(x + i, n - i) * f * load_part(weight + i, n - i), n - i);
}

static void K_NAME(add_norm_row)(const float *x, int n, const float *weight, float epsilon,
                                 float *out) {
  const v16 f = splat(K_NAME(inverse_rms)(x, n, epsilon));
  int i = 0;
  for (; i + 16 <= n; i += 16) {
    store(out + i, load(out + i) + load(x + i) * f * load(weight + i));
  }
  for (; i < n; i += 16) {
    const int m = n - i;
    v16 y = load_part(x + i, m) * f * load_part(weight + i, m);
    store_part(out + i, load_part(out + i, m) + y, m);
  }
}

static void K_NAME(silu_multiply)(const float *gate, const float *up, int n, float *out) {
  int i = 0;
  for (; i + 16 <= n; i += 16) store(out + i, silu16(load(gate + i)) * load(up + i));
  if (i < n) {
    v16 y = silu16(load_part(gate + i, n - i)) * load_part(up + i, n - i);
    store_part(out + i, y, n - i);
  }
}

static void K_NAME(finish)(const float *c, const float *bias, int n, int add, float *out) {
  for (int i = 0; i < n; i += 16) {
    const int m = n - i < 16 ? n - i : 16;
    v16 y = m == 16 ? load(c + i) : load_part(c + i, m);
    if (bias) y += m == 16 ? load(bias + i) : load_part(bias + i, m);
    if (m == 16) {
      store(out + i, add ? load(out + i) + y : y);
    } else {
      store_part(out + i, add ? load_part(out + i, m) + y : y, m);
    }
  }
}

static void K_NAME(merge)(float *o, const float *s, int n, float a, float b) {
  for (int i = 0; i < n; i += 16) store(o + i, V_FMA(load(s + i), splat(b), load(o + i) * a));
}

static void K_NAME(rotate)(float *x, const float *cosine, const float *sine, int half, int halves) {
  if (halves) {
    float *y = x + half;
    for (int i = 0; i < half; i++) {
      const float a = x[i], b = y[i];
      x[i] = a * cosine[i] - b * sine[i], y[i] = b * cosine[i] + a * sine[i];
    }
  } else {
    for (int i = 0; i < half; i++) {
      const float a = x[2 * i], b = x[2 * i + 1];
      x[2 * i] = a * cosine[i] - b * sine[i], x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
  }
}

// ---- products --------------------------------------------------------------------------------
// Prepared rows: f32, normalised, rounded to bf16 where the precision says so.
static inline int K_NAME(lda)(int inputs) { return k_round_up(inputs, 16) + 16; }
static size_t K_NAME(prepared_bytes)(int inputs, int rows) {
  return (size_t)K_NAME(lda)(inputs) * (size_t)rows * 4;
}
static void K_NAME(prepare_rows)(const k_matrix *w, const k_rows *x, int r0, int r1, void *prepared,
                                 int rounds) {
  const int n = w->inputs, lda = K_NAME(lda)(n);
  for (int r = r0; r < r1; r++) {
    const float *s = x->x + (size_t)r * x->stride;
    float *out = (float *)prepared + (size_t)r * lda;
    if (x->norm) {
      K_NAME(norm_row)(s, n, x->norm, x->epsilon, out);
    } else {
      memcpy(out, s, (size_t)n * 4);
    }
    for (int i = n; i < lda; i++) out[i] = 0;
    if (rounds) {
      for (int i = 0; i < n; i += 16) store(out + i, rounded(load(out + i)));
    }
  }
}
static void K_NAME(prepare)(const k_matrix *w, const k_rows *x, int r0, int r1, void *prepared) {
  K_NAME(prepare_rows)(w, x, r0, r1, prepared, 0);
}
static void K_NAME(prepare_rounded)(const k_matrix *w, const k_rows *x, int r0, int r1,
                                    void *prepared) {
  K_NAME(prepare_rows)(w, x, r0, r1, prepared, 1);
}

// A tile over `n` inputs (an even number of them for bf16 unless it is the end).
typedef struct {
  const float *a;
  size_t lda;
  const uint8_t *w;      // first panel
  size_t panel_bytes;    // to the next panel, for single rows
  int n, ahead, first;   // bytes to prefetch ahead, 0 for none; first: sums start at zero
  float *c;
  size_t ldc;
} K_NAME(tile);

#define V_PREFETCH(p) __builtin_prefetch(p, 0, 2)

// One step of a panel: f32 and f16 one input, bf16 two. Weights of vector j of the panel at p.
V_INLINE void K_NAME(widen)(const int F, const uint8_t *p, int j, v16 *even, v16 *odd) {
  if (F == K_FORMAT_F32) {
    *even = load((const float *)p + j * 16);
  } else if (F == K_FORMAT_F16) {
    *even = from_f16(p + j * 32);
  } else {
    u16v u;
    memcpy(&u, p + j * 64, 64);
    *even = (v16)(u << 16), *odd = (v16)(u & 0xffff0000u);
  }
}

// Row r of a matrix whose rows are `odd[0]` bytes apart. Every row is one base and one index
// register times 1, 2, 4 or 8, odd[i] being 2i + 1 strides: left to itself the compiler adds up
// addresses inside the loop, on the ports that the multiply-adds need.
V_INLINE const float *K_NAME(row_at)(const char *base, const size_t odd[6], int r) {
  if (r == 0) return (const float *)base;
  int scale = 1;
  while (r % 2 == 0) r /= 2, scale *= 2;
  return (const float *)(base + odd[r / 2] * (size_t)scale);
}
V_INLINE void K_NAME(odd_strides)(const int R, size_t bytes, size_t odd[6]) {
  V_UNROLL for (int i = 0; i < 6; i++) {
    odd[i] = bytes * (size_t)(2 * i + 1);
    if (2 * i + 1 < R) __asm__("" : "+r"(odd[i]));  // hides that they are multiples
  }
}

// R rows x VECS vectors, from vector j0 of the panel on.
V_INLINE void K_NAME(tile_run)(const int R, const int VECS, const int F, const K_NAME(tile) * t,
                               int j0) {
  const int bytes = F == K_FORMAT_F16 ? 64 : 128, step = F == K_FORMAT_BF16 ? 2 : 1;
  v16 f[K_TILE_ROWS][2];
  const char *a = (const char *)t->a;
  const uint8_t *w = t->w;
  const ptrdiff_t ahead = t->ahead;
  float *c = t->c + j0 * 16;
  size_t odd[6];
  K_NAME(odd_strides)(R, t->lda * 4, odd);
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < VECS; j++) {
      f[r][j] = t->first ? splat(0) : load(c + r * t->ldc + j * 16);
    }
  }
  for (int k = t->n; k > 0; k -= step, w += bytes, a += 4 * step) {
    v16 e[2], o[2];
    V_UNROLL for (int j = 0; j < VECS; j++) K_NAME(widen)(F, w, j0 + j, &e[j], &o[j]);
    if (ahead) {
      V_PREFETCH(w + ahead);
      if (F != K_FORMAT_F16) V_PREFETCH(w + ahead + 64);
    }
    V_UNROLL for (int r = 0; r < R; r++) {
      const v16 x = splat(*K_NAME(row_at)(a, odd, r));
      V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], e[j], x);
    }
    if (F == K_FORMAT_BF16) {
      V_UNROLL for (int r = 0; r < R; r++) {
        const v16 x = splat(K_NAME(row_at)(a, odd, r)[1]);
        V_UNROLL for (int j = 0; j < VECS; j++) V_ADD(f[r][j], o[j], x);
      }
    }
  }
  V_UNROLL for (int r = 0; r < R; r++) {
    V_UNROLL for (int j = 0; j < VECS; j++) store(c + r * t->ldc + j * 16, f[r][j]);
  }
}
// One row x P panels.
V_INLINE void K_NAME(row_run)(const int P, const int F, const K_NAME(tile) * t) {
  const int bytes = F == K_FORMAT_F16 ? 64 : 128, step = F == K_FORMAT_BF16 ? 2 : 1;
  v16 f[K_GEMV_PANELS][2];
  const float *a = t->a;
  const uint8_t *w = t->w;
  const size_t next = t->panel_bytes;
  V_UNROLL for (int p = 0; p < P; p++) f[p][0] = f[p][1] = splat(0);
  for (int k = 0; k < t->n; k += step, w += bytes) {
    const v16 x = splat(a[k]), y = splat(a[F == K_FORMAT_BF16 ? k + 1 : k]);
    V_UNROLL for (int p = 0; p < P; p++) {
      V_PREFETCH(w + p * next + t->ahead);
      if (F != K_FORMAT_F16) V_PREFETCH(w + p * next + t->ahead + 64);
      V_UNROLL for (int j = 0; j < 2; j++) {
        v16 e, o;
        K_NAME(widen)(F, w + p * next, j, &e, &o);
        V_ADD(f[p][j], e, x);
        if (F == K_FORMAT_BF16) V_ADD(f[p][j], o, y);
      }
    }
  }
  V_UNROLL for (int p = 0; p < P; p++) {
    store(t->c + p * 32, f[p][0]), store(t->c + p * 32 + 16, f[p][1]);
  }
}

#define V_TILE(R, F)                                                                     \
  static __attribute__((noinline)) void K_NAME(tile_##R##_##F)(const K_NAME(tile) * t) { \
    for (int j = 0; j < 2; j += K_TILE_VECS) K_NAME(tile_run)(R, K_TILE_VECS, F, t, j);  \
  }
#define V_ROW(P, F)                                                                     \
  static __attribute__((noinline)) void K_NAME(row_##P##_##F)(const K_NAME(tile) * t) { \
    K_NAME(row_run)(P, F, t);                                                           \
  }
#if K_TILE_ROWS == 12
#define V_TILES(F)                                                                             \
  V_TILE(1, F) V_TILE(2, F) V_TILE(3, F) V_TILE(4, F) V_TILE(5, F) V_TILE(6, F) V_TILE(7, F)   \
  V_TILE(8, F) V_TILE(9, F) V_TILE(10, F) V_TILE(11, F) V_TILE(12, F)
#define V_TILE_LIST(F)                                                                         \
  {0, K_NAME(tile_1_##F), K_NAME(tile_2_##F), K_NAME(tile_3_##F), K_NAME(tile_4_##F),          \
   K_NAME(tile_5_##F), K_NAME(tile_6_##F), K_NAME(tile_7_##F), K_NAME(tile_8_##F),             \
   K_NAME(tile_9_##F), K_NAME(tile_10_##F), K_NAME(tile_11_##F), K_NAME(tile_12_##F)}
#elif K_TILE_ROWS == 6
#define V_TILES(F) \
  V_TILE(1, F) V_TILE(2, F) V_TILE(3, F) V_TILE(4, F) V_TILE(5, F) V_TILE(6, F)
#define V_TILE_LIST(F)                                                                \
  {0, K_NAME(tile_1_##F), K_NAME(tile_2_##F), K_NAME(tile_3_##F), K_NAME(tile_4_##F), \
   K_NAME(tile_5_##F), K_NAME(tile_6_##F)}
#else
#define V_TILES(F) V_TILE(1, F) V_TILE(2, F)
#define V_TILE_LIST(F) {0, K_NAME(tile_1_##F), K_NAME(tile_2_##F)}
#endif
#if K_GEMV_PANELS == 4
#define V_ROWS(F) V_ROW(1, F) V_ROW(2, F) V_ROW(3, F) V_ROW(4, F)
#define V_ROW_LIST(F) \
  {0, K_NAME(row_1_##F), K_NAME(row_2_##F), K_NAME(row_3_##F), K_NAME(row_4_##F)}
#else
#define V_ROWS(F) V_ROW(1, F) V_ROW(2, F)
#define V_ROW_LIST(F) {0, K_NAME(row_1_##F), K_NAME(row_2_##F)}
#endif
V_TILES(0) V_TILES(1) V_TILES(2)
V_ROWS(0) V_ROWS(1) V_ROWS(2)

static void (*const K_NAME(tiles)[3][K_TILE_ROWS + 1])(const K_NAME(tile) *) = {
    V_TILE_LIST(0), V_TILE_LIST(1), V_TILE_LIST(2)};
static void (*const K_NAME(rows)[3][K_GEMV_PANELS + 1])(const K_NAME(tile) *) = {
    V_ROW_LIST(0), V_ROW_LIST(1), V_ROW_LIST(2)};

// Bytes ahead of a single row's streams, and of a tile's.
#ifndef K_AHEAD
#define K_AHEAD 2048
#define K_TILE_AHEAD 8192
#endif

V_INLINE void K_NAME(multiply)(const int F, const k_matrix *w, const void *prepared, int r0, int r1,
                               int p0, int p1, float *c, size_t ldc) {
  const int rows = r1 - r0, K = w->inputs, lda = K_NAME(lda)(K);
  const int tiles = (rows + K_TILE_ROWS - 1) / K_TILE_ROWS;
  const size_t per_input = F == K_FORMAT_F32 ? 128 : 64;
  const float *a = (const float *)prepared + (size_t)r0 * lda;
  K_NAME(tile) t = {a, (size_t)lda, 0, w->panel_bytes, K, K_AHEAD, 1, c, ldc};
  if (rows == 1) {
    for (int p = p0, m; p < p1; p += m) {
      m = p1 - p < K_GEMV_PANELS ? p1 - p : K_GEMV_PANELS;
      t.w = w->data + (size_t)p * w->panel_bytes, t.c = c + (p - p0) * K_PANEL;
      K_NAME(rows)[F][m](&t);
    }
    return;
  }
  // The part of a panel that all tiles go over stays in L1.
  const int kc = tiles == 1 ? K : F == K_FORMAT_F32 ? 128 : 256;
  const int group = rows <= 32 ? 1 : p1 - p0;
  for (int g = p0; g < p1; g += group) {
    for (int k0 = 0; k0 < K; k0 += kc) {
      for (int p = g; p < g + group && p < p1; p++) {
        for (int i = 0, r = 0; i < tiles; i++) {
          const int m = rows / tiles + (i < rows % tiles);
          t.a = a + (size_t)r * lda + k0, t.n = K - k0 < kc ? K - k0 : kc, t.first = k0 == 0;
          t.w = w->data + (size_t)p * w->panel_bytes + (size_t)k0 * per_input;
          t.ahead = tiles == 1 ? K_TILE_AHEAD : rows <= 32 && i == 0 ? kc * (int)per_input : 0;
          t.c = c + (size_t)r * ldc + (p - p0) * K_PANEL;
          K_NAME(tiles)[F][m](&t);
          r += m;
        }
      }
    }
  }
}
#define V_MULTIPLY(NAME, F)                                                                      \
  static void K_NAME(NAME)(const k_matrix *w, const void *prepared, int rows, int r0, int r1,    \
                           int p0, int p1, float *c, size_t ldc) {                               \
    (void)rows;                                                                                  \
    K_NAME(multiply)(F, w, prepared, r0, r1, p0, p1, c, ldc);                                    \
  }
V_MULTIPLY(multiply_f32, 0) V_MULTIPLY(multiply_f16, 1) V_MULTIPLY(multiply_bf16, 2)

#include "float_attention.h"

// ---- tables ----------------------------------------------------------------------------------
#define V_FORMAT(STORED, BYTES, PREPARE, MULTIPLY)                                              \
  {BYTES, k_pack_##STORED, k_unpack_##STORED, K_NAME(prepared_bytes), K_NAME(PREPARE),          \
   K_NAME(MULTIPLY)}
#define V_SCRATCH ((size_t)K_SPAN_ROWS * K_SPAN * 4 + (size_t)K_PAGE * K_DIM_MAX * 4)
#define V_CACHE(STORED, QUERIES, ATTEND)                                                       \
  {k_cache_page_##STORED, k_cache_store_##STORED, K_NAME(query_bytes), K_NAME(QUERIES),        \
   V_SCRATCH, K_NAME(ATTEND)}
#define V_ROWS_OPS                                                                              \
  .inverse_rms = K_NAME(inverse_rms), .norm_row = K_NAME(norm_row),                             \
  .add_norm_row = K_NAME(add_norm_row), .silu_multiply = K_NAME(silu_multiply),                 \
  .finish = K_NAME(finish), .merge = K_NAME(merge), .rotate = K_NAME(rotate)
#define V_FORMATS_OPS                                                                           \
  {V_FORMAT(f32, k_panel_bytes_f32, prepare, multiply_f32),                                     \
   V_FORMAT(f32, k_panel_bytes_f32, prepare_rounded, multiply_f32)},                            \
  {V_FORMAT(f16, k_panel_bytes_16, prepare, multiply_f16),                                      \
   V_FORMAT(f16, k_panel_bytes_16, prepare_rounded, multiply_f16)}
#define V_BF16_F32 V_FORMAT(bf16, k_panel_bytes_16, prepare, multiply_bf16)
#define V_BF16_ROUNDED V_FORMAT(bf16, k_panel_bytes_16, prepare_rounded, multiply_bf16)
#define V_CACHE_F32 V_CACHE(f32, prepare_queries, attend_f32)
#define V_CACHE_BF16 V_CACHE(bf16, prepare_queries, attend_bf16)
#define V_CACHE_BF16_ROUNDED V_CACHE(bf16, prepare_queries_rounded, attend_bf16_rounded)
