// Weight-only products for one instruction set; quant_float.c says T(name), TILE_ROWS and VECTORS
// (of 16 outputs, in a tile).

V_INLINE v16 T(all)(float f) {
  return (v16){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f};
}
V_INLINE v16 T(halves)(const uint8_t *p) {
  h16 h;
  memcpy(&h, p, 32);
  const u16v x = __builtin_convertvector(h, u16v), sign = (x & 0x8000) << 16, e = x & 0x7fff;
  const u16v normal = (e << 13) + (112u << 23), small = (u16v)(e < 0x400);
  const u16v big = (u16v)(e >= 0x7c00);
  const u16v low = (u16v)(__builtin_convertvector((i16)e, v16) * 0x1p-24f);
  return (v16)(((small & low) | (big & (e << 13 | 0x7f800000)) | (~small & ~big & normal)) | sign);
}

// Weights of one group as f32: 32 lines of 32 outputs, with the operations of k_group_values.
V_INLINE void T(unpack_group)(const int low, const bool minimum, const uint8_t *w, const v16 s[2],
                              const v16 m[2], const int offset, float *out) {
  for (int j = 0; j < 8; j++) {
    V_UNROLL for (int v = 0; v < 2; v++) {
      u16v word;
      memcpy(&word, w + (low == 8 ? j : j / 2) * 128 + v * 64, 64);
      if (low == 4) word >>= (uint32_t)(j % 2 * 4);
      V_UNROLL for (int i = 0; i < 4; i++) {
        const i16 q = (i16)(word >> (uint32_t)(8 * i) & (low == 8 ? 255u : 15u)) - offset;
        v16 f = __builtin_convertvector(q, v16) * s[v];
        if (minimum) f = f + m[v];
        memcpy(out + (j * 4 + i) * 32 + v * 16, &f, 64);
      }
    }
  }
}

static void T(unpack)(const int form, const uint8_t *w, int groups, float *out) {
  const int offset = form_offset(form) < 0 ? 0 : 1 << form_offset(form);
  for (int g = 0; g < groups; g++, w += form_group_bytes(form), out += 1024) {
    const uint8_t *p = w + form_scales_at(form);
    v16 s[2], m[2];
    memset(m, 0, sizeof m);
    switch (form_scale(form)) {
    case K_SCALE_F16M: m[0] = T(halves)(p + 64), m[1] = T(halves)(p + 96);  // fall through
    case K_SCALE_F16: s[0] = T(halves)(p), s[1] = T(halves)(p + 32); break;
    case K_SCALE_F32M: memcpy(m, p + 128, 128);  // fall through
    default: memcpy(s, p, 128); break;
    }
    if (form_low(form) == 8) {
      if (form_minimum(form)) T(unpack_group)(8, true, w, s, m, offset, out);
      else T(unpack_group)(8, false, w, s, m, offset, out);
    } else {
      if (form_minimum(form)) T(unpack_group)(4, true, w, s, m, offset, out);
      else T(unpack_group)(4, false, w, s, m, offset, out);
    }
  }
}

// Every output is one chain of fused multiply-adds over the inputs in ascending order.
V_INLINE void T(tile)(const int R, const float *x, size_t stride, const float *w, int n, float *c,
                      size_t ldc, bool first) {
  v16 a[TILE_ROWS][VECTORS];
  V_UNROLL for (int r = 0; r < R; r++)
    V_UNROLL for (int v = 0; v < VECTORS; v++) {
      if (first) memset(&a[r][v], 0, 64);
      else memcpy(&a[r][v], c + (size_t)r * ldc + v * 16, 64);
    }
  for (int k = 0; k < n; k++) {
    v16 b[VECTORS];
    memcpy(b, w + k * 32, sizeof b);
    V_UNROLL for (int r = 0; r < R; r++) {
      const v16 y = T(all)(x[(size_t)r * stride + (size_t)k]);
      V_UNROLL for (int v = 0; v < VECTORS; v++) a[r][v] = V_FMA(b[v], y, a[r][v]);
    }
  }
  V_UNROLL for (int r = 0; r < R; r++)
    V_UNROLL for (int v = 0; v < VECTORS; v++) memcpy(c + (size_t)r * ldc + v * 16, &a[r][v], 64);
}
static void T(rows)(int count, const float *x, size_t stride, const float *w, int n, float *c,
                    size_t ldc, bool first) {
  for (int v = 0; v < 2; v += VECTORS)
    switch (count) {
    case 1: T(tile)(1, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
    case 2: T(tile)(2, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
#if TILE_ROWS > 2
    case 3: T(tile)(3, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
    case 4: T(tile)(4, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
    case 5: T(tile)(5, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
    default: T(tile)(6, x, stride, w + v * 16, n, c + v * 16, ldc, first); break;
#endif
    }
}

void T(k_float_prepare)(const k_matrix *w, const k_rows *x, int r0, int r1, void *to) {
  const size_t n = (size_t)w->inputs, stride = row_floats(w->inputs);
  for (int r = r0; r < r1; r++) {
    const float *row = x->x + (size_t)r * x->stride;
    float *out = (float *)to + (size_t)r * stride;
    if (x->norm) k_isa_ops_for(SET)->norm_row(row, w->inputs, x->norm, x->epsilon, out);
    else memcpy(out, row, n * sizeof(float));
    memset(out + n, 0, (stride - n) * sizeof(float));
  }
}

void T(k_float_multiply)(const k_matrix *w, const void *prepared, int rows, int r0, int r1, int p0,
                         int p1, float *c, size_t ldc) {
  (void)rows;
  const int form = (int)(w->format - K_FORMAT_QUANT), groups = (w->inputs + K_GROUP - 1) / K_GROUP;
  const size_t stride = row_floats(w->inputs);
  float panel[CHUNK_GROUPS * 1024] __attribute__((aligned(64)));
  for (int p = p0; p < p1; p++)
    for (int g = 0; g < groups; g += CHUNK_GROUPS) {
      const int n = groups - g < CHUNK_GROUPS ? groups - g : CHUNK_GROUPS;
      T(unpack)(form, w->data + (size_t)p * w->panel_bytes
                        + (size_t)g * (size_t)form_group_bytes(form), n, panel);
      for (int r = r0, count; r < r1; r += count) {
        count = r1 - r < TILE_ROWS ? r1 - r : TILE_ROWS;
        T(rows)(count, (const float *)prepared + (size_t)r * stride + g * K_GROUP, stride, panel,
                n * K_GROUP, c + (size_t)(r - r0) * ldc + (size_t)(p - p0) * K_PANEL, ldc, g == 0);
      }
    }
}
#undef T
#undef TILE_ROWS
#undef VECTORS
#undef SET
