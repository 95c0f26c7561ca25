// Quantises one row of activations; see quant_tile.h for how this is included.

// Two vectors of LANES make 16 values with AVX2; the sums always run over 16 lanes, so that every
// instruction set adds in the same order.
enum { T(PER16) = 16 / LANES };

typedef struct { VF v[2 * T(PER16)]; } T(values);

K_INLINE T(values) T(take)(const float *x, const float *norm, const VF inverse) {
  T(values) y;
  UNROLL for (int i = 0; i < 2 * T(PER16); i++) {
    y.v[i] = v_f32(x + i * LANES);
    if (norm) y.v[i] = v_mul(v_mul(y.v[i], inverse), v_f32(norm + i * LANES));
  }
  return y;
}

K_INLINE VI T(magnitudes)(const T(values) *y, VI m) {
  // Magnitudes compare as integers; a NaN is greater than all, and so is found.
  UNROLL for (int i = 0; i < 2 * T(PER16); i++)
    m = v_max32(m, v_and(v_bits(y->v[i]), v_set32(0x7fffffff)));
  return m;
}

static float T(inverse_rms)(const float *x, int inputs, float epsilon) {
  VF s[2 * T(PER16)];
  UNROLL for (int i = 0; i < 2 * T(PER16); i++) s[i] = v_set(0);
  int k = 0;
  for (; k + 32 <= inputs; k += 32) {
    UNROLL for (int i = 0; i < 2 * T(PER16); i++) {
      const VF v = v_f32(x + k + i * LANES);
      s[i] = v_fma(v, v, s[i]);
    }
  }
  float sums[32];
  UNROLL for (int i = 0; i < 2 * T(PER16); i++) v_store(sums + i * LANES, s[i]);
  for (int i = 0; k < inputs; k++, i++) sums[i] = __builtin_fmaf(x[k], x[k], sums[i]);
  for (int n = 16; n; n /= 2)
    for (int i = 0; i < n; i++) sums[i] += sums[i + n];
  return 1.f / __builtin_sqrtf(sums[0] / (float)inputs + epsilon);
}

K_INLINE float T(from_bits)(int32_t i) {
  union { int32_t i; float f; } u = {i};
  return u.f;
}

// The scale of a group whose greatest magnitude has the bits m, and 1 / scale.
K_INLINE float T(scale_of)(int32_t m, int32_t row, k_scaling scaling, float *inverse) {
  if (m < 0x0da24260) {  // below 1e-30: nothing to see, and 1 / scale stays finite
    *inverse = 0;
    return 0;
  }
  if (scaling == K_SCALING_POWER_OF_TWO) {
    // floor(log2(row / m)): the difference of the bit patterns, shifted down
    int e = (row - m) >> 23;
    if (e > 24) e = 24;
    const float top = T(from_bits)(row);
    *inverse = 127.f / top * T(from_bits)((127 + e) << 23);
    return top / 127.f * T(from_bits)((127 - e) << 23);
  }
  const float scale = T(from_bits)(scaling == K_SCALING_ROW ? row : m) / 127.f;
  *inverse = 1.f / scale;
  return scale;
}

// A scale measured beforehand. What is not a number must not hide in a clipped integer.
K_INLINE float T(fixed_scale)(int32_t m, float scale, float *inverse) {
  *inverse = m >= 0x7f800000 ? 0 : 1.f / scale;
  return m >= 0x7f800000 ? T(from_bits)(0x7fc00000) : scale;
}

static void T(quantize_row)(k_quant_record *to, int r, int form, const float *x, int inputs,
                            const float *norm, float epsilon, k_scaling scaling,
                            const float *fixed) {
  const int whole = inputs / 32, groups = (inputs + 31) / 32;
  const VF inverse = v_set(norm ? T(inverse_rms)(x, inputs, epsilon) : 1.f);
  float tail[32], tail_norm[32];
  for (int i = 0; i < 32; i++) {
    const bool in = whole * 32 + i < inputs;
    tail[i] = in ? x[whole * 32 + i] : 0;
    tail_norm[i] = in && norm ? norm[whole * 32 + i] : 0;
  }
  int32_t row = 0;
  if (scaling == K_SCALING_POWER_OF_TWO || scaling == K_SCALING_ROW) {
    VI m = v_zero();
    for (int g = 0; g < groups; g++) {
      const T(values) y = T(take)(g < whole ? x + g * 32 : tail,
                                  !norm ? 0 : g < whole ? norm + g * 32 : tail_norm, inverse);
      m = T(magnitudes)(&y, m);
    }
    row = v_reduce_max(m);
  }
  const int offset = form_offset(form);
  const bool minimum = form_minimum(form), halves = form_halves(form);
  for (int g = 0; g < groups; g++, to++) {
    const T(values) y = T(take)(g < whole ? x + g * 32 : tail,
                                !norm ? 0 : g < whole ? norm + g * 32 : tail_norm, inverse);
    float up;
    const int32_t m = v_reduce_max(T(magnitudes)(&y, v_zero()));
    const float scale = fixed ? T(fixed_scale)(m, fixed[g], &up)
                              : T(scale_of)(m, row, scaling, &up);
    int32_t sum[2];
    UNROLL for (int half = 0; half < 2; half++) {
      VI i[T(PER16)];
      UNROLL for (int j = 0; j < T(PER16); j++) {
        VF v = v_mul(y.v[half * T(PER16) + j], v_set(up));
        if (fixed) v = v_most(v_least(v, v_set(127.f)), v_set(-127.f));
        i[j] = v_round(v);
      }
      sum[half] = v_store16(to->q[r] + half * 16, i);
    }
    if (!halves) sum[0] += sum[1];
    to->scale[r] = scale;
    for (int h = 0; h <= halves; h++) {
      if (minimum) {
        to->terms[h][r] = scale * (float)sum[h];
      } else {
        to->start[h][r] = -sum[h] * (1 << offset);
      }
    }
  }
}
