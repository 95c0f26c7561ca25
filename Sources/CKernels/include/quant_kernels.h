// Quantised weights: 8-bit activations times 2- to 8-bit weights, f32 results.
//
// y[r][n] = sum over groups g of 32 inputs: scale[r][g] * (s[n][g] * sum q_x q_w + minimum terms)
//
// A result depends on its row and its column alone: the integer sums of a group are exact, and the
// f32 sum takes the groups in ascending order with the same operations in every instruction set,
// for every number of rows, threads and K chunks. Scalar, AVX2 and AVX-512 agree bit for bit.
#pragma once
#include <stdbool.h>

#include "k_attention.h"
#include "k_types.h"

// Forms of a panel of 32 outputs. Every GGUF type has the one form that holds it without loss.
typedef enum k_quant_form {
  K_FORM_Q4,    // d (q - 8), f16 d                      Q4_0, int4 symmetric        4.5 bits
  K_FORM_Q4M,   // d q + m, f16 d and m                  Q4_1, int4 with minimum     5
  K_FORM_Q4K,   // D s q - M m, 6-bit s m, f16 D M       Q4_K                        4.625
  K_FORM_Q4T,   // d table[q]                            IQ4_NL                      4.5
  K_FORM_Q4TS,  // D s table[q], 6-bit signed s          IQ4_XS                      4.3125
  K_FORM_Q5,    // d (q - 16)                            Q5_0                        5.5
  K_FORM_Q5M,   // d q + m                               Q5_1                        6
  K_FORM_Q5K,   // as Q4K                                Q5_K                        5.625
  K_FORM_Q6S,   // D s (q - 32), int8 s per 16           Q6_K                        6.5625
  K_FORM_Q3S,   // D s (q - 4), 6-bit signed s per 16    Q3_K                        3.5625
  K_FORM_Q2K,   // D s q - M m, 4-bit s and m per 16     Q2_K                        2.625
  K_FORM_Q8,    // d (q - 128), f16 d                    Q8_0, int8 symmetric        8.5
  K_FORM_Q8F,   // d (q - 128), f32 d                    int8, scales beyond f16     9
  K_FORM_Q8FM,  // d q + m, f32 d and m                  int8 with zero points       10
  K_FORM_Q4F,   // d (q - 8), f32 d                      int4, scales beyond f16     5
  K_FORM_Q4FM,  // d q + m, f32 d and m                  int4 with zero points       6
  K_FORM_COUNT,
} k_quant_form;

enum {
  K_GROUP = 32,  // inputs that share an activation scale
  // k_matrix.format of a form is K_FORMAT_QUANT + form.
  K_FORMAT_INT8 = K_FORMAT_QUANT + K_FORM_Q8,  // what f32, f16 and bf16 weights are rounded to
  K_FORMAT_INT4 = K_FORMAT_QUANT + K_FORM_Q4,
};

// The sets of kernels behind the instruction sets; AVX-VNNI hides behind K_ISA_AVX2, as its results
// are the same. For tests: NULL where this processor cannot run a set.
typedef enum k_quant_set {
  K_QUANT_SCALAR, K_QUANT_AVX2, K_QUANT_AVX_VNNI, K_QUANT_AVX512, K_QUANT_SETS,
} k_quant_set;
const k_format_ops *k_quant_set_formats(k_quant_set set, uint32_t format);
const k_cache_ops *k_quant_set_cache(k_quant_set set);

// The same formats with f32 activations (weight-only quantisation): slower in prefill, without the
// rounding of activations. NULL for forms with super-scales or bits above the low four.
const k_format_ops *k_quant_weight_only_ops(k_isa isa, uint32_t format);

// The stored types, and those known by size alone.
k_block_type k_stored_type(k_stored stored);
int k_foreign_count(void);
k_block_type k_foreign_type(int index);
// The format in memory that holds a stored type without loss.
uint32_t k_stored_format(k_stored stored);
// Values that share a block of a stored type, and its bytes.
int k_stored_block_values(k_stored stored);
int k_stored_block_bytes(k_stored stored);

// Exact values of `count` weights of any stored type; a multiple of the values of a block.
void k_dequantize(k_stored stored, const void *blocks, size_t count, float *out);
// ggml's reference rounding to Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 (count: a multiple of 32); false and
// nothing written for other types.
bool k_quantize(k_stored stored, const float *x, size_t count, void *blocks);

// Rounds a row to unsigned integers of `bits` (4 or 8) with one scale per `group` inputs (a
// multiple of 32; 0: the whole row), written once per 32 inputs. `minimum` NULL: symmetric around
// 2^(bits - 1); else value = scale * q + minimum with an integer zero point.
void k_round_row(const float *x, int inputs, int bits, int group, uint8_t *q, float *scale,
                 float *minimum);
// Packs up to 32 rows of integers into one panel of K_FORM_Q4F, Q4FM, Q8F, Q8FM, or of Q4, Q4M, Q8
// where every scale is an f16: q [rows][inputs], scale and minimum [rows][groups of 32].
void k_pack_integers(k_quant_form form, const uint8_t *q, const float *scale, const float *minimum,
                     int rows, int inputs, uint8_t *panel);

// How rows of floats are rounded by `autoglm quantize` and on load.
typedef struct k_scheme {
  int32_t bits;        // 4 or 8
  int32_t group;       // inputs that share a scale, a multiple of 32; 0: the whole row
  int32_t asymmetric;  // 1: scale and minimum; 0: scale alone
} k_scheme;
// K_FORM_Q8, Q4, Q4M or Q8FM.
k_quant_form k_scheme_form(k_scheme scheme);
// Packs 32 rows like k_format_ops.pack, rounded by `scheme`.
void k_scheme_pack(k_scheme scheme, uint8_t *panel, int inputs, k_stored stored,
                   const uint8_t *const rows[K_PANEL], float *scratch);

// Panels of other widths, as kernels for other processors might want them: everything in a group
// is `width` outputs wide instead of 32. For forms without super-scales; else 0 and nothing.
size_t k_panel_bytes_wide(k_quant_form form, int inputs, int width);
// Copies outputs from one panel into another; `to` is filled only where they lie.
void k_panel_move(k_quant_form form, int inputs, const uint8_t *from, int from_width,
                  int from_output, uint8_t *to, int to_width, int to_output, int count);
