// What the processor can do, and the tables chosen by it.
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

static uint64_t xgetbv0(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}
k_cpu k_cpu_features(void) {
  k_cpu c;
  memset(&c, 0, sizeof c);
  uint32_t a, b, cx, d;
  uint32_t brand[12];
  if (__get_cpuid(0x80000000, &a, &b, &cx, &d) && a >= 0x80000004) {
    for (uint32_t i = 0; i < 3; i++) {
      __get_cpuid(0x80000002 + i, &brand[4 * i], &brand[4 * i + 1], &brand[4 * i + 2],
                  &brand[4 * i + 3]);
    }
    memcpy(c.brand, brand, 48);
  }
  if (!__get_cpuid(1, &a, &b, &cx, &d) || !(cx & 1u << 27)) return c;
  // The instructions are of use only where the system saves the registers.
  const uint64_t saved = xgetbv0();
  const int ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6;
  if (!ymm) return c;
  c.fma = cx >> 12 & 1, c.f16c = cx >> 29 & 1;
  uint32_t a7, b7, c7, d7;
  if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return c;
  c.avx2 = b7 >> 5 & 1;
  if (zmm) {
    c.avx512f = b7 >> 16 & 1, c.avx512dq = b7 >> 17 & 1;
    c.avx512bw = b7 >> 30 & 1, c.avx512vl = b7 >> 31 & 1, c.avx512vnni = c7 >> 11 & 1;
  }
  if (a7 >= 1 && __get_cpuid_count(7, 1, &a, &b, &cx, &d)) {
    c.avx_vnni = a >> 4 & 1;
    if (zmm) c.avx512bf16 = a >> 5 & 1;
  }
  return c;
}
#else
k_cpu k_cpu_features(void) {
  k_cpu c;
  memset(&c, 0, sizeof c);
  return c;
}
#endif

k_isa k_best_isa(void) {
  const k_cpu c = k_cpu_features();
  if (!c.avx2 || !c.fma || !c.f16c) return K_ISA_SCALAR;
  if (!c.avx512f || !c.avx512bw || !c.avx512vl || !c.avx512dq) return K_ISA_AVX2;
  if (!c.avx512vnni) return K_ISA_AVX512;
  return c.avx512bf16 ? K_ISA_AVX512_BF16 : K_ISA_AVX512_VNNI;
}
k_isa k_default_isa(void) {
  const k_isa best = k_best_isa();
  if (best < K_ISA_AVX512_BF16) return best;
#if defined(__x86_64__)
  uint32_t a, b, c, d;
  if (__get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && d == signature_INTEL_edx) {
    return K_ISA_AVX512_VNNI;
  }
#endif
  return best;
}
const char *k_isa_name(k_isa isa) {
  switch (isa) {
    case K_ISA_SCALAR: return "scalar";
    case K_ISA_AVX2: return "avx2";
    case K_ISA_AVX512: return "avx512";
    case K_ISA_AVX512_VNNI: return "avx512-vnni";
    case K_ISA_AVX512_BF16: return "avx512-bf16";
  }
  return "scalar";
}

const k_isa_ops *k_isa_ops_for(k_isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case K_ISA_SCALAR: return &k_ops_scalar;
    case K_ISA_AVX2: return &k_ops_avx2;
    case K_ISA_AVX512:
    case K_ISA_AVX512_VNNI: return &k_ops_avx512;
    case K_ISA_AVX512_BF16: return &k_ops_avx512_bf16;
  }
#endif
  (void)isa;
  return &k_ops_scalar;
}

const k_format_ops *k_format_ops_for(k_isa isa, uint32_t format, k_precision precision,
                                     k_scaling scaling) {
  if (format <= K_FORMAT_BF16) return &k_isa_ops_for(isa)->formats[format][precision];
  if (format >= K_FORMAT_QUANT && k_quant_format_ops) {
    return k_quant_format_ops(isa, format, scaling);
  }
  return NULL;
}

const k_cache_ops *k_cache_ops_for(k_isa isa, k_cache_format format, k_precision precision) {
  if (format <= K_CACHE_BF16) return &k_isa_ops_for(isa)->caches[format][precision];
  return k_quant_cache_ops ? k_quant_cache_ops(isa) : NULL;
}
