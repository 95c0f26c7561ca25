// The quantised formats as the rest of the engine sees them: blocking, preparation, tables.
#include <string.h>

#include "quant_pack.h"

enum {
  CHUNK_GROUPS = 32,     // 1024 inputs: a Q4 panel's part of 18 KiB stays in L1
  PREFETCH_BYTES = 16384  // ahead of the stream where one tile holds all rows
};

static int groups_of(int inputs) { return (inputs + K_GROUP - 1) / K_GROUP; }
// Blocks of rows a power of two apart would share cache sets: hence the extra record.
static size_t block_bytes(int inputs) {
  return ((size_t)groups_of(inputs) + 1) * sizeof(k_quant_record);
}
static size_t prepared_bytes(int inputs, int rows) {
  return ((size_t)rows + K_ROWS_BLOCK - 1) / K_ROWS_BLOCK * block_bytes(inputs);
}
static k_quant_record *block_of(const void *prepared, int inputs, int row) {
  return (k_quant_record *)((uint8_t *)prepared
                            + (size_t)(row / K_ROWS_BLOCK) * block_bytes(inputs));
}

static void prepare(const k_quant_kernels *k, const k_matrix *w, const k_rows *x, int r0, int r1,
                    void *prepared) {
  const k_scaling scaling = x->scaling == K_SCALING_DEFAULT ? K_SCALING_EXACT : x->scaling;
  for (int r = r0; r < r1; r++)
    k->quantize_row(block_of(prepared, w->inputs, r), r % K_ROWS_BLOCK,
                    (int)(w->format - K_FORMAT_QUANT), x->x + (size_t)r * x->stride, w->inputs,
                    x->norm, x->epsilon, scaling, w->input_scales);
}

// Rows r.. that the next tile takes: from a block's start as many as are balanced, in whole blocks
// where there are several tiles; from inside a block one.
static int tile_rows(int r, int r1, int most) {
  if (r % K_ROWS_BLOCK || most < K_ROWS_BLOCK) return 1;
  const int left = r1 - r;
  if (left <= most) return left;
  const int tiles = (left + most - 1) / most, each = (left + tiles - 1) / tiles;
  return (each + K_ROWS_BLOCK - 1) / K_ROWS_BLOCK * K_ROWS_BLOCK;
}

static void multiply(const k_quant_kernels *k, const k_matrix *w, const void *prepared, int rows,
                     int r0, int r1, int p0, int p1, float *c, size_t ldc) {
  (void)rows;
  const int form = (int)(w->format - K_FORMAT_QUANT), groups = groups_of(w->inputs);
  const int lines = form_group_bytes(form) / 64;
  int tiles = 0;
  for (int r = r0; r < r1; r += tile_rows(r, r1, k->rows)) tiles++;
  const bool few = r1 - r0 <= 32;  // panels outermost: weights are read once, in address order
  const int chunk = tiles == 1 ? groups : CHUNK_GROUPS, together = few ? 1 : p1 - p0;
  for (int p = p0; p < p1; p += together)
    for (int g0 = 0; g0 < groups; g0 += chunk) {
      const int n = groups - g0 < chunk ? groups - g0 : chunk;
      const size_t at = form_bytes(form, (size_t)g0), bytes = form_bytes(form, (size_t)n);
      for (int i = p; i < p + together; i++) {
        const uint8_t *part = w->data + (size_t)i * w->panel_bytes + at;
        // One tile: a distance ahead. More: they share out the lines of what comes next.
        const uint8_t *next = together == 1 ? part + bytes : part + w->panel_bytes;
        for (int t = 0, r = r0, count; r < r1; t++, r += count) {
          count = tile_rows(r, r1, k->rows);
          const int share = tiles < lines ? tiles : lines;
          const int l0 = t < share ? lines * t / share : 0;
          const int l1 = t < share ? lines * (t + 1) / share : 0;
          const k_quant_tile tile = {
            .x = block_of(prepared, w->inputs, r) + g0,
            .block = block_bytes(w->inputs), .row = r % K_ROWS_BLOCK,
            .w = part, .ahead = tiles == 1 ? PREFETCH_BYTES : 0,
            .prefetch = next + l0 * 64, .prefetch_lines = tiles == 1 ? 0 : l1 - l0,
            .groups = n, .first = g0 == 0,
            .c = c + (size_t)(r - r0) * ldc + (size_t)(i - p0) * K_PANEL, .ldc = ldc,
          };
          k->tiles[form][count](&tile);
        }
      }
    }
}

// ---- tables ------------------------------------------------------------------------------------
#define FORM(F)                                                                              \
  static size_t panel_bytes_##F(int inputs) { return k_panel_bytes(F, inputs); }             \
  static void pack_##F(uint8_t *panel, int inputs, k_stored stored,                          \
                       const uint8_t *const rows[K_PANEL], float *scratch) {                 \
    k_panel_pack(F, panel, inputs, stored, rows, scratch);                                   \
  }                                                                                          \
  static void unpack_##F(const uint8_t *panel, int inputs, int output, float *row) {         \
    k_panel_unpack(F, panel, inputs, output, row);                                           \
  }
#define ALL_FORMS(X)                                                                         \
  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
ALL_FORMS(FORM)

#define SET(isa)                                                                             \
  static void prepare_##isa(const k_matrix *w, const k_rows *x, int r0, int r1, void *to) {  \
    prepare(&k_quant_##isa, w, x, r0, r1, to);                                               \
  }                                                                                          \
  static void multiply_##isa(const k_matrix *w, const void *prepared, int rows, int r0,      \
                             int r1, int p0, int p1, float *c, size_t ldc) {                 \
    multiply(&k_quant_##isa, w, prepared, rows, r0, r1, p0, p1, c, ldc);                     \
  }
#define ROW(F, isa) \
  {panel_bytes_##F, pack_##F, unpack_##F, prepared_bytes, prepare_##isa, multiply_##isa},
#define TABLE(isa)                                                                           \
  {ROW(0, isa) ROW(1, isa) ROW(2, isa) ROW(3, isa) ROW(4, isa) ROW(5, isa) ROW(6, isa)       \
   ROW(7, isa) ROW(8, isa) ROW(9, isa) ROW(10, isa) ROW(11, isa) ROW(12, isa) ROW(13, isa)   \
   ROW(14, isa) ROW(15, isa)}

SET(scalar)
#if defined(__x86_64__)
SET(avx2) SET(avx_vnni) SET(avx512)
static const k_format_ops formats[K_QUANT_SETS][K_FORM_COUNT] = {
  TABLE(scalar), TABLE(avx2), TABLE(avx_vnni), TABLE(avx512)};
static const k_cache_ops *const caches[K_QUANT_SETS] = {
  &k_quant_cache_scalar, &k_quant_cache_avx2, &k_quant_cache_avx_vnni, &k_quant_cache_avx512};
#else
static const k_format_ops formats[1][K_FORM_COUNT] = {TABLE(scalar)};
static const k_cache_ops *const caches[1] = {&k_quant_cache_scalar};
#endif

// The same forms with f32 activations.
#define FLOAT_ROW(F, isa)                                                                    \
  {panel_bytes_##F, pack_##F, unpack_##F, k_float_prepared_bytes, k_float_prepare_##isa,     \
   k_float_multiply_##isa},
#define FLOAT_TABLE(isa)                                                                     \
  {FLOAT_ROW(0, isa) FLOAT_ROW(1, isa) FLOAT_ROW(2, isa) FLOAT_ROW(3, isa) FLOAT_ROW(4, isa) \
   FLOAT_ROW(5, isa) FLOAT_ROW(6, isa) FLOAT_ROW(7, isa) FLOAT_ROW(8, isa) FLOAT_ROW(9, isa) \
   FLOAT_ROW(10, isa) FLOAT_ROW(11, isa) FLOAT_ROW(12, isa) FLOAT_ROW(13, isa)               \
   FLOAT_ROW(14, isa) FLOAT_ROW(15, isa)}
#if defined(__x86_64__)
static const k_format_ops float_formats[][K_FORM_COUNT] = {
  FLOAT_TABLE(scalar), FLOAT_TABLE(avx2), FLOAT_TABLE(avx512)};
#else
static const k_format_ops float_formats[][K_FORM_COUNT] = {FLOAT_TABLE(scalar)};
#endif

const k_format_ops *k_quant_weight_only_ops(k_isa isa, uint32_t format) {
  if (format < K_FORMAT_QUANT || format >= K_FORMAT_QUANT + K_FORM_COUNT) return 0;
  const int form = (int)(format - K_FORMAT_QUANT);
  if (!form_plain(form)) return 0;
#if defined(__x86_64__)
  return &float_formats[isa >= K_ISA_AVX512 ? 2 : isa >= K_ISA_AVX2 ? 1 : 0][form];
#else
  (void)isa;
  return &float_formats[0][form];
#endif
}

static k_quant_set set_for(k_isa isa) {
  if (isa >= K_ISA_AVX512_VNNI) return K_QUANT_AVX512;
  if (isa < K_ISA_AVX2) return K_QUANT_SCALAR;
  return k_cpu_features().avx_vnni ? K_QUANT_AVX_VNNI : K_QUANT_AVX2;
}
static bool runs_here(k_quant_set set) {
  const k_isa best = k_best_isa();
  return set == K_QUANT_SCALAR
         || (set == K_QUANT_AVX2 && best >= K_ISA_AVX2)
         || (set == K_QUANT_AVX_VNNI && best >= K_ISA_AVX2 && k_cpu_features().avx_vnni)
         || (set == K_QUANT_AVX512 && best >= K_ISA_AVX512_VNNI);
}

const k_format_ops *k_quant_format_ops(k_isa isa, uint32_t format, k_scaling scaling) {
  (void)scaling;  // comes with the rows
  if (format < K_FORMAT_QUANT || format >= K_FORMAT_QUANT + K_FORM_COUNT) return 0;
  return &formats[set_for(isa)][format - K_FORMAT_QUANT];
}
const k_cache_ops *k_quant_cache_ops(k_isa isa) { return caches[set_for(isa)]; }

const k_format_ops *k_quant_set_formats(k_quant_set set, uint32_t format) {
  if (format < K_FORMAT_QUANT || format >= K_FORMAT_QUANT + K_FORM_COUNT) return 0;
  return runs_here(set) ? &formats[set][format - K_FORMAT_QUANT] : 0;
}
const k_cache_ops *k_quant_set_cache(k_quant_set set) { return runs_here(set) ? caches[set] : 0; }
