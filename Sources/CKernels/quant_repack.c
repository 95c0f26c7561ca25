// Loading: see quant_repack.h.
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "quant_pack.h"

#pragma STDC FP_CONTRACT OFF

K_INLINE uint16_t read16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
K_INLINE uint32_t read32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}
K_INLINE void write16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

// The type whose blocks an f32 row is rounded to for a form, or -1.
static int rounded_type(int form) {
  switch (form) {
  case K_FORM_Q8: return K_STORED_Q8_0;
  case K_FORM_Q4: return K_STORED_Q4_0;
  case K_FORM_Q4M: return K_STORED_Q4_1;
  case K_FORM_Q5: return K_STORED_Q5_0;
  case K_FORM_Q5M: return K_STORED_Q5_1;
  default: return -1;
  }
}

#define T(name) name##_any
#include "quant_repack.h"
#undef T

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define T(name) name##_avx2
#include "quant_repack.h"
#undef T
#pragma clang attribute pop

// Asking the processor can take longer than packing a panel.
static bool has_avx2(void) {
  static _Atomic int known;  // 0: not asked yet, 1: no, 2: yes
  int answer = atomic_load_explicit(&known, memory_order_relaxed);
  if (!answer) {
    answer = k_best_isa() >= K_ISA_AVX2 ? 2 : 1;
    atomic_store_explicit(&known, answer, memory_order_relaxed);
  }
  return answer == 2;
}
#define CHOOSE(name) (has_avx2() ? name##_avx2 : name##_any)
#else
#define CHOOSE(name) name##_any
#endif

void k_panel_pack(int form, uint8_t *panel, int inputs, k_stored stored,
                  const uint8_t *const rows[K_PANEL], float *scratch) {
  CHOOSE(pack)(form, panel, inputs, stored, rows, scratch);
}
void k_panel_write_group(int form, uint8_t *panel, int g, const uint8_t q[32][32],
                         const k_group scales[32]) {
  CHOOSE(write_group)(form, panel, g, q, scales);
}
k_unpack_group k_unpack_group_of(k_stored stored) { return CHOOSE(unpack)[stored]; }

bool k_quantize(k_stored stored, const float *x, size_t count, void *blocks) {
  uint8_t *b = blocks;
  for (size_t i = 0; i + 32 <= count; i += 32, b += k_stored_block_bytes(stored)) {
    if (!CHOOSE(round_block)(stored, x + i, b)) return false;
  }
  return true;
}
