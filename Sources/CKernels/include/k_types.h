// Types shared by all kernel families: instruction sets, matrices in panels, and the two tables
// through which a weight format or a KV cache format plugs in.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Ordered: each set is a superset of those before it.
typedef enum k_isa {
  K_ISA_SCALAR,
  K_ISA_AVX2,         // AVX2, FMA, F16C
  K_ISA_AVX512,       // AVX-512 F, BW, VL, DQ
  K_ISA_AVX512_VNNI,  // and VNNI
  K_ISA_AVX512_BF16,  // and BF16 (Zen 4, Cooper Lake, Sapphire Rapids)
} k_isa;

typedef struct k_cpu {
  uint8_t avx2, fma, f16c, avx_vnni;
  uint8_t avx512f, avx512bw, avx512vl, avx512dq, avx512vnni, avx512bf16;
  char brand[49];
} k_cpu;

// What the processor offers and the operating system saves (cpuid and xgetbv).
k_cpu k_cpu_features(void);
// The largest set this processor runs, and the fastest one on it. They differ: Intel's cores do
// one vdpbf16ps in the time of four f32 multiply-adds of the same width, so that widening bf16
// weights to f32 is twice as fast there; on AMD's (Zen 4) vdpbf16ps is twice as fast.
k_isa k_best_isa(void);
k_isa k_default_isa(void);
const char *k_isa_name(k_isa isa);

// How a file stores a tensor; see formats.def.
typedef enum k_stored {
#define K_PLAIN(constant, ...) K_STORED_##constant,
#define K_BLOCK(constant, ...) K_STORED_##constant,
#include "formats.def"
  K_STORED_COUNT,
} k_stored;

// A type of tensors in files, with or without kernels here.
typedef struct k_block_type {
  const char *name;
  uint32_t ggml;          // its number in GGUF files
  int32_t values, bytes;  // values that share a block, and its bytes
} k_block_type;

// How a matrix is kept in memory. Values from K_FORMAT_QUANT on belong to the quantised family,
// which names them in its own header.
typedef enum k_format {
  K_FORMAT_F32,   // panel: per k one line of 32 f32                       128 B per k
  K_FORMAT_F16,   // panel: per k one line of 32 f16                        64 B per k
  K_FORMAT_BF16,  // panel: per two k, 32 outputs x 2 bf16 (low half: even k)  64 B per k
  K_FORMAT_QUANT = 16,
} k_format;

typedef enum k_precision { K_PRECISION_F32, K_PRECISION_BF16 } k_precision;

// The same order as `ActivationScaling` in Swift; DEFAULT lets the format choose.
typedef enum k_scaling {
  K_SCALING_DEFAULT = -1,
  K_SCALING_EXACT = 0, K_SCALING_POWER_OF_TWO = 1, K_SCALING_ROW = 2,
} k_scaling;

enum {
  K_PANEL = 32,       // outputs of a panel
  K_ALIGN = 64,       // alignment of panels, prepared rows and step memory
  K_SLACK = 4096,     // readable bytes after the last panel of every matrix (for prefetching)
  K_INPUTS_MAX = 1 << 18,
};

// A weight matrix [outputs, inputs] in panels of 32 outputs; the last panel is filled with zero
// rows. Gated matrices alternate: panel 2i holds gate rows 32i.., panel 2i+1 the up rows 32i...
typedef struct k_matrix {
  uint32_t format;      // k_format
  int32_t gated;        // 1: outputs counts features, and there are two panels for every 32
  int32_t outputs, inputs;
  int32_t panels;
  size_t panel_bytes;   // a multiple of 64
  uint8_t *data;        // [panels][panel_bytes], 64-byte aligned, K_SLACK readable bytes behind
  const float *bias;    // [panels * 32] or NULL
  // Quantised weights: scales of the activations, measured beforehand, one for every 32 inputs;
  // NULL: each row has scales of its own. All are normal numbers above 1e-30.
  const float *input_scales;
} k_matrix;

// Rows that are about to be multiplied.
typedef struct k_rows {
  const float *x;       // [rows][stride]
  size_t stride;        // floats
  int32_t rows;
  const float *norm;    // weights of an RMS norm over the inputs, or NULL
  float epsilon;
  k_scaling scaling;    // of quantised activations
} k_rows;

// One weight format on one instruction set.
//
// Invariant: an element of the product depends on its own row and output alone: the same bits for
// every r0, r1, p0, p1, on every thread.
typedef struct k_format_ops {
  // Bytes of one panel for `inputs`.
  size_t (*panel_bytes)(int inputs);
  // Packs 32 rows, as the file stores them, into one panel. rows[j] == NULL is a row of zeros.
  // `scratch`: 32 * inputs floats, for formats that go through f32.
  void (*pack)(uint8_t *panel, int inputs, k_stored stored, const uint8_t *const rows[K_PANEL],
               float *scratch);
  // One output row of the panel, back in f32 (embedding lookup in tied weights, tests).
  void (*unpack)(const uint8_t *panel, int inputs, int output, float *row);
  // Bytes that `prepare` fills for so many rows, a multiple of 64.
  size_t (*prepared_bytes)(int inputs, int rows);
  // Normalises rows r0..r1-1 and brings them into the form `multiply` wants. `prepared` has room
  // for x->rows rows and is 64-byte aligned; different threads do different rows.
  void (*prepare)(const k_matrix *w, const k_rows *x, int r0, int r1, void *prepared);
  // c[r - r0][(p - p0) * 32 + j] for rows r0..r1-1 and panels p0..p1-1. `rows` is what `prepare`
  // saw as x->rows. `ldc` in floats, at least (p1 - p0) * 32; c is 64-byte aligned and its rows
  // too. At most 512 rows and 4 panels a call where rows > 32; any number of panels otherwise.
  void (*multiply)(const k_matrix *w, const void *prepared, int rows, int r0, int r1, int p0,
                   int p1, float *c, size_t ldc);
} k_format_ops;

// The ops of a format, or NULL where the format is unknown. The quantised family answers
// `k_quant_format_ops` for formats from K_FORMAT_QUANT on; `scaling` is what its activations use.
const k_format_ops *k_format_ops_for(k_isa isa, uint32_t format, k_precision precision,
                                     k_scaling scaling);
const k_format_ops *k_quant_format_ops(k_isa isa, uint32_t format, k_scaling scaling)
    __attribute__((weak));
