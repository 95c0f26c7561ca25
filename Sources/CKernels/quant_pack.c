// Packing rows into panels of 32 outputs, and reading a row back.
#include "quant_pack.h"

#include <string.h>

size_t k_panel_bytes(int form, int inputs) {
  const size_t bytes = form_bytes(form, ((size_t)inputs + K_GROUP - 1) / K_GROUP);
  return (bytes + 63) & ~(size_t)63;
}

void k_panel_write_scales(int form, uint8_t *head, uint8_t *w, int g8, int o,
                         const k_group *s) {
  uint8_t *p = w + form_scales_at(form);
  const int kind = form_scale(form);
  if (form_head_bytes(form) && g8 == 0) memcpy(head + 2 * o, &s->d, 2);
  switch (kind) {
  case K_SCALE_F16M: memcpy(p + 64 + 2 * o, &s->m, 2);  // fall through
  case K_SCALE_F16: memcpy(p + 2 * o, &s->d, 2); break;
  case K_SCALE_F32M: memcpy(p + 128 + 4 * o, &s->mf, 4);  // fall through
  case K_SCALE_F32: memcpy(p + 4 * o, &s->df, 4); break;
  case K_SCALE_K:
    p[o] = s->s[0], p[32 + o] = s->n[0];
    if (g8 == 0) memcpy(head + 64 + 2 * o, &s->m, 2);
    break;
  case K_SCALE_S16: p[o] = s->s[0], p[32 + o] = s->s[1]; break;
  case K_SCALE_S32: head[64 + g8 * 32 + o] = s->s[0]; break;
  case K_SCALE_K16:
    p[o] = (uint8_t)(s->s[0] | s->n[0] << 4), p[32 + o] = (uint8_t)(s->s[1] | s->n[1] << 4);
    if (g8 == 0) memcpy(head + 64 + 2 * o, &s->m, 2);
    break;
  }
}

void k_panel_scales(int form, const uint8_t *head, const uint8_t *w, int g8, int o, k_group *s) {
  const uint8_t *p = w + form_scales_at(form);
  if (form_head_bytes(form)) memcpy(&s->d, head + 2 * o, 2);
  switch (form_scale(form)) {
  case K_SCALE_F16M: memcpy(&s->m, p + 64 + 2 * o, 2);  // fall through
  case K_SCALE_F16: memcpy(&s->d, p + 2 * o, 2); break;
  case K_SCALE_F32M: memcpy(&s->mf, p + 128 + 4 * o, 4);  // fall through
  case K_SCALE_F32: memcpy(&s->df, p + 4 * o, 4); break;
  case K_SCALE_K:
    s->s[0] = p[o], s->n[0] = p[32 + o];
    memcpy(&s->m, head + 64 + 2 * o, 2);
    break;
  case K_SCALE_S16: s->s[0] = p[o], s->s[1] = p[32 + o]; break;
  case K_SCALE_S32: s->s[0] = head[64 + g8 * 32 + o]; break;
  case K_SCALE_K16:
    for (int h = 0; h < 2; h++) s->s[h] = p[h * 32 + o] & 15, s->n[h] = p[h * 32 + o] >> 4;
    memcpy(&s->m, head + 64 + 2 * o, 2);
    break;
  }
}

void k_panel_unpack(int form, const uint8_t *panel, int inputs, int output, float *row) {
  for (int k = 0; k < inputs; k += K_GROUP) {
    const uint8_t *head, *w = panel_group(form, panel, k / K_GROUP, &head);
    k_group s = {0};
    uint8_t q[32];
    float x[32];
    k_panel_scales(form, head, w, k / K_GROUP % 8, output, &s);
    for (int i = 0; i < 32; i++) q[i] = (uint8_t)panel_integer(form, w, output, i);
    k_group_values(form, q, &s, x);
    memcpy(row + k, x, (size_t)(inputs - k < 32 ? inputs - k : 32) * 4);
  }
}

void k_pack_integers(k_quant_form form, const uint8_t *q, const float *scale, const float *minimum,
                     int rows, int inputs, uint8_t *panel) {
  const int groups = (inputs + K_GROUP - 1) / K_GROUP;
  for (int g = 0; g < groups; g++) {
    uint8_t part[32][32];
    k_group scales[32];
    memset(part, 0, sizeof part), memset(scales, 0, sizeof scales);
    const int n = inputs - g * 32 < 32 ? inputs - g * 32 : 32;
    for (int o = 0; o < rows; o++) {
      const size_t at = (size_t)o * (size_t)groups + (size_t)g;
      memcpy(part[o], q + (size_t)o * (size_t)inputs + g * 32, (size_t)n);
      scales[o].df = scale[at], scales[o].mf = minimum ? minimum[at] : 0;
      scales[o].d = k_float_to_half(scales[o].df), scales[o].m = k_float_to_half(scales[o].mf);
    }
    k_panel_write_group(form, panel, g, (const uint8_t(*)[32])part, scales);
  }
}
