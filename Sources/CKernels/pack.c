// Floating-point weights from their stored form into panels, and back; KV pages of f32 and bf16.
#include <string.h>

#include "kernels.h"
#include "quant_kernels.h"

size_t k_panel_bytes_f32(int inputs) { return (size_t)inputs * K_PANEL * 4; }
size_t k_panel_bytes_16(int inputs) { return (size_t)k_round_up(inputs, 2) * K_PANEL * 2; }

static inline float f16_to_f32(uint16_t h) {
  union { uint32_t u; float f; } x;
  const uint32_t e = h & 0x7fff;
  if (e < 0x400) x.f = (float)e * 0x1p-24f;
  else x.u = e >= 0x7c00 ? (e << 13 | 0x7f800000) : (e << 13) + (112u << 23);
  x.u |= (uint32_t)(h & 0x8000) << 16;
  return x.f;
}
// To nearest even; too large becomes infinity, NaN stays NaN.
static inline uint16_t f32_to_f16(float f) {
  union { float f; uint32_t u; } x = {f}, y;
  const uint32_t sign = x.u >> 16 & 0x8000, a = x.u & 0x7fffffff;
  if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (a >= 0x47800000) return (uint16_t)(sign | 0x7c00);
  if (a < 0x38800000) {  // subnormal: let the addition of 0.5 do the rounding
    y.u = a;
    y.f += 0.5f;
    return (uint16_t)(sign | (y.u - 0x3f000000));
  }
  return (uint16_t)(sign | ((a - (112u << 23) + 0xfff + (a >> 13 & 1)) >> 13));
}
static inline uint16_t u16_at(const uint8_t *p, size_t i) {
  uint16_t h;
  memcpy(&h, p + 2 * i, 2);
  return h;
}

void k_widen(k_stored stored, const uint8_t *src, size_t n, float *out) {
  switch (stored) {
    case K_STORED_F32: memcpy(out, src, n * 4); return;
    case K_STORED_F16: for (size_t i = 0; i < n; i++) out[i] = f16_to_f32(u16_at(src, i)); return;
    case K_STORED_BF16: for (size_t i = 0; i < n; i++) out[i] = k_from_bf16(u16_at(src, i)); return;
    default: k_dequantize(stored, src, n, out);
  }
}

// The rows go through f32 in pieces that stay in L1, then are turned.
enum { PIECE = 128 };

static void widen_piece(k_stored stored, const uint8_t *const rows[K_PANEL], int k0, int n,
                        float t[K_PANEL][PIECE]) {
  const size_t size = stored == K_STORED_F32 ? 4 : 2;
  for (int j = 0; j < K_PANEL; j++) {
    if (rows[j]) k_widen(stored, rows[j] + (size_t)k0 * size, (size_t)n, t[j]);
    else memset(t[j], 0, (size_t)n * 4);
  }
}
#define FOR_PIECES                                                                      \
  for (int k0 = 0, n; k0 < inputs && (n = inputs - k0 < PIECE ? inputs - k0 : PIECE, 1); \
       k0 += PIECE)

// Rows in quantised blocks become f32 rows in `scratch`.
typedef struct {
  k_stored stored;
  const uint8_t *rows[K_PANEL];
} plain_rows;
static plain_rows plain(k_stored stored, const uint8_t *const rows[K_PANEL], int inputs,
                        float *scratch) {
  plain_rows x = {stored, {0}};
  memcpy(x.rows, rows, sizeof x.rows);
  if (k_stored_block_values(stored) == 1) return x;
  x.stored = K_STORED_F32;
  for (int j = 0; j < K_PANEL; j++) {
    float *row = scratch + (size_t)j * (size_t)inputs;
    if (rows[j]) k_dequantize(stored, rows[j], (size_t)inputs, row);
    x.rows[j] = rows[j] ? (const uint8_t *)row : NULL;
  }
  return x;
}

void k_pack_f32(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                float *scratch) {
  const plain_rows x = plain(stored, rows, inputs, scratch);
  float t[K_PANEL][PIECE], *out = (float *)panel;
  FOR_PIECES {
    widen_piece(x.stored, x.rows, k0, n, t);
    for (int k = 0; k < n; k++) {
      for (int j = 0; j < K_PANEL; j++) out[(size_t)(k0 + k) * K_PANEL + j] = t[j][k];
    }
  }
}
// The next bytes of every row, at most 64.
static void words(const uint8_t *const rows[K_PANEL], size_t at, size_t bytes,
                  uint32_t t[K_PANEL][16]) {
  for (int j = 0; j < K_PANEL; j++) {
    if (rows[j]) memcpy(t[j], rows[j] + at, bytes);
    else memset(t[j], 0, bytes);
  }
}
void k_pack_f16(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                float *scratch) {
  const plain_rows x = plain(stored, rows, inputs, scratch);
  uint16_t *out = (uint16_t *)panel;
  if (stored == K_STORED_F16) {
    uint32_t t[K_PANEL][16];
    for (int k0 = 0; k0 < inputs; k0 += 32) {  // one cache line of every row
      const int m = inputs - k0 < 32 ? inputs - k0 : 32;
      words(rows, (size_t)k0 * 2, (size_t)m * 2, t);
      for (int k = 0; k < m; k++) {
        uint16_t *line = out + (size_t)(k0 + k) * K_PANEL;
        for (int j = 0; j < K_PANEL; j++) line[j] = (uint16_t)(t[j][k / 2] >> k % 2 * 16);
      }
    }
  } else {
    float t[K_PANEL][PIECE];
    FOR_PIECES {
      widen_piece(x.stored, x.rows, k0, n, t);
      for (int k = 0; k < n; k++) {
        for (int j = 0; j < K_PANEL; j++) {
          out[(size_t)(k0 + k) * K_PANEL + j] = f32_to_f16(t[j][k]);
        }
      }
    }
  }
  if (inputs % 2) memset(out + (size_t)inputs * K_PANEL, 0, K_PANEL * 2);
}

// A pair of inputs of one output is one 32-bit word, so bf16 rows turn as words.
void k_pack_bf16(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
                 float *scratch) {
  const plain_rows x = plain(stored, rows, inputs, scratch);
  uint32_t *out = (uint32_t *)panel;
  if (stored == K_STORED_BF16) {
    const int pairs = inputs / 2;
    for (int p0 = 0; p0 < pairs; p0 += 16) {  // one cache line of every row
      const int m = pairs - p0 < 16 ? pairs - p0 : 16;
      uint32_t t[K_PANEL][16];
      words(rows, (size_t)p0 * 4, (size_t)m * 4, t);
      for (int p = 0; p < m; p++) {
        for (int j = 0; j < K_PANEL; j++) out[(size_t)(p0 + p) * K_PANEL + j] = t[j][p];
      }
    }
    if (inputs % 2) {
      for (int j = 0; j < K_PANEL; j++) {
        out[(size_t)pairs * K_PANEL + j] = rows[j] ? u16_at(rows[j], (size_t)inputs - 1) : 0;
      }
    }
    return;
  }
  float t[K_PANEL][PIECE];
  FOR_PIECES {
    widen_piece(x.stored, x.rows, k0, n, t);
    for (int k = 0; k < n; k += 2) {
      for (int j = 0; j < K_PANEL; j++) {
        const uint32_t odd = k + 1 < n ? k_to_bf16(t[j][k + 1]) : 0;
        out[(size_t)(k0 + k) / 2 * K_PANEL + j] = k_to_bf16(t[j][k]) | odd << 16;
      }
    }
  }
}

void k_unpack_f32(const uint8_t *panel, int inputs, int output, float *row) {
  for (int k = 0; k < inputs; k++) row[k] = ((const float *)panel)[(size_t)k * K_PANEL + output];
}
void k_unpack_f16(const uint8_t *panel, int inputs, int output, float *row) {
  const uint16_t *p = (const uint16_t *)panel + output;
  for (int k = 0; k < inputs; k++) row[k] = f16_to_f32(p[(size_t)k * K_PANEL]);
}
void k_unpack_bf16(const uint8_t *panel, int inputs, int output, float *row) {
  const uint16_t *p = (const uint16_t *)panel + 2 * output;
  for (int k = 0; k < inputs; k++) {
    row[k] = k_from_bf16(p[(size_t)(k / 2) * 2 * K_PANEL + (size_t)(k % 2)]);
  }
}

// ---- KV pages --------------------------------------------------------------------------------
// f32:  K as dim lines of 16 tokens, V as 16 lines of `wide` dims.
// bf16: K as dim / 2 lines of 16 tokens x 2 dims, V as 8 lines of `wide` dims x 2 tokens.
// wide: dim rounded up to 16. Both products then are broadcasts, without any horizontal sum.
size_t k_cache_page_f32(int dim) {
  return (size_t)dim * 64 + (size_t)k_round_up(dim, 16) * K_PAGE * 4;
}
size_t k_cache_page_bf16(int dim) {
  return (size_t)dim / 2 * 64 + (size_t)k_round_up(dim, 16) * K_PAGE * 2;
}
void k_cache_store_f32(uint8_t *page, int slot, int dim, const float *k, const float *v) {
  float *out = (float *)page;
  for (int d = 0; d < dim; d++) out[d * K_PAGE + slot] = k[d];
  memcpy(out + (size_t)dim * K_PAGE + (size_t)slot * (size_t)k_round_up(dim, 16), v,
         (size_t)dim * 4);
}
void k_cache_store_bf16(uint8_t *page, int slot, int dim, const float *k, const float *v) {
  const int wide = k_round_up(dim, 16);
  uint32_t *keys = (uint32_t *)page;
  for (int d = 0; d < dim; d += 2) {
    keys[d / 2 * K_PAGE + slot] = k_to_bf16(k[d]) | (uint32_t)k_to_bf16(k[d + 1]) << 16;
  }
  uint16_t *values = (uint16_t *)(page + (size_t)dim / 2 * 64) + (size_t)(slot / 2 * wide) * 2;
  for (int d = 0; d < dim; d++) values[d * 2 + slot % 2] = k_to_bf16(v[d]);
}
