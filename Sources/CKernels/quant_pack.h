// Panels: writing groups into them and reading them back.
#pragma once
#include "quant_blocks.h"

// Where group g of a panel starts, and the head of its 8 groups.
K_INLINE const uint8_t *panel_group(const int form, const uint8_t *panel, int g,
                                    const uint8_t **head) {
  *head = panel + (size_t)(g / 8) * form_bytes(form, 8);
  return *head + form_head_bytes(form) + (size_t)(g % 8) * (size_t)form_group_bytes(form);
}

// Integer k = 0..31 of output `o` in a group.
K_INLINE int panel_integer(const int form, const uint8_t *w, const int o, const int k) {
  const int j = k / 4, at = o * 4 + k % 4, low = form_low(form);
  int q;
  if (low == 8) {
    q = w[j * 128 + at];
  } else if (low == 4) {
    q = w[j / 2 * 128 + at] >> (j % 2 * 4) & 15;
  } else {
    q = w[j / 4 * 128 + at] >> (j % 4 * 2) & 3;
  }
  const uint8_t *h = w + low * 128 + at;
  if (form_high(form) == 1) q |= (*h >> j & 1) << low;
  if (form_high(form) == 2) q |= (h[j / 4 * 128] >> (j % 4 * 2) & 3) << low;
  return q;
}

void k_panel_write_scales(int form, uint8_t *head, uint8_t *w, int g8, int o, const k_group *s);
void k_panel_write_group(int form, uint8_t *panel, int g, const uint8_t q[32][32],
                         const k_group scales[32]);
void k_panel_scales(int form, const uint8_t *head, const uint8_t *w, int g8, int o, k_group *s);
size_t k_panel_bytes(int form, int inputs);
void k_panel_pack(int form, uint8_t *panel, int inputs, k_stored stored,
                  const uint8_t *const rows[K_PANEL], float *scratch);
void k_panel_unpack(int form, const uint8_t *panel, int inputs, int output, float *row);
