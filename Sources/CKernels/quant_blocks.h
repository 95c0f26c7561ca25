// One group of 32 weights of one output, out of any block or panel: integers and raw scales.
#pragma once
#include "quant_forms.h"

typedef struct {
  uint16_t d, m;    // f16: scale and minimum, or super-scales
  uint8_t s[2];     // small scales of the two halves (signed ones as int8); [0] if one
  uint8_t n[2];     // small minima
  float df, mf;     // where the form keeps f32
} k_group;

// Group g of a row of blocks: the integers as the form of that type stores them, unsigned.
typedef void (*k_unpack_group)(const uint8_t *row, int g, uint8_t q[32], k_group *scales);
k_unpack_group k_unpack_group_of(k_stored stored);

// The 32 values of a group, with the operations of ggml's reference in their order.
void k_group_values(int form, const uint8_t q[32], const k_group *scales, float out[32]);

float k_half_to_float(uint16_t h);
// To the nearest, ties to even.
uint16_t k_float_to_half(float f);
