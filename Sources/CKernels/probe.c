// The machine's own limits: see k_probe.h.
#include <stdatomic.h>
#include <time.h>

#include "kernels.h"
#include "vector.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define READ_BODY                                                        \
  i16 a = {0}, b = a, c = a, d = a, t[4];                                \
  for (size_t i = 0; i + 256 <= n; i += 256) {                           \
    memcpy(t, p + i, 256);                                               \
    a ^= t[0], b ^= t[1], c ^= t[2], d ^= t[3];                          \
  }                                                                      \
  a ^= b ^ c ^ d;                                                        \
  return a[0] ^ a[5];
static int read_base(const uint8_t *p, size_t n) { READ_BODY }

// A chain per register, enough of them to hide the latency; the empty asm keeps every step.
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
// Passes are short and the best one counts, so that a busy machine still shows what it can do.
enum { ROUNDS = 1000, PASSES = 200 };
static void spin_f32_base(void) {
  for (int i = 0; i < ROUNDS; i++) {
    volatile float x = 1.f;
    x = x * 1.f + 1.f;
  }
}

#if defined(__x86_64__)
#include <immintrin.h>
__attribute__((target("avx2,fma"))) static int read_avx2(const uint8_t *p, size_t n) { READ_BODY }
__attribute__((target("avx512f"))) static int read_avx512(const uint8_t *p, size_t n) { READ_BODY }

#define CHAINS(NAME, TARGET, TYPE, ZERO, STEP)                          \
  __attribute__((target(TARGET), noinline)) static void NAME(void) {    \
    TWELVE(ZERO)                                                        \
    for (int k = 0; k < ROUNDS; k++) { TWELVE(STEP) }                   \
  }
#define KEEP(v) __asm__ volatile("" : "+v"(v))
#define ZERO_PS(i) __m512 a##i = _mm512_setzero_ps(), x##i = a##i;
#define ZERO_SI(i) __m512i a##i = _mm512_setzero_si512(), x##i = a##i;
#define ZERO_YS(i) __m256 a##i = _mm256_setzero_ps(), x##i = a##i;
#define STEP_F32(i) a##i = _mm512_fmadd_ps(x##i, x##i, a##i); KEEP(a##i);
#define STEP_F32Y(i) a##i = _mm256_fmadd_ps(x##i, x##i, a##i); KEEP(a##i);
#define STEP_BF16(i) \
  a##i = _mm512_dpbf16_ps(a##i, (__m512bh)x##i, (__m512bh)x##i); KEEP(a##i);
#define STEP_INT8(i) a##i = _mm512_dpbusd_epi32(a##i, x##i, x##i); KEEP(a##i);
CHAINS(spin_f32_avx2, "avx2,fma", __m256, ZERO_YS, STEP_F32Y)
CHAINS(spin_f32_avx512, "avx512f", __m512, ZERO_PS, STEP_F32)
CHAINS(spin_bf16, "avx512f,avx512bf16", __m512, ZERO_PS, STEP_BF16)
CHAINS(spin_int8, "avx512f,avx512vnni", __m512i, ZERO_SI, STEP_INT8)
#endif

typedef struct {
  const uint8_t *memory;
  size_t bytes, piece;
  int (*read)(const uint8_t *, size_t);
  void (*spin)(void);
  _Atomic int sink;
} probe;

static void read_task(void *context, int begin, int end, int thread) {
  (void)thread;
  probe *p = context;
  const size_t at = (size_t)begin * p->piece;
  size_t to = (size_t)end * p->piece;
  if (to > p->bytes) to = p->bytes;
  atomic_fetch_xor(&p->sink, p->read(p->memory + at, to - at));
}
double k_probe_bandwidth(k_pool *pool, const void *memory, size_t bytes, int passes) {
  probe p = {.memory = memory, .bytes = bytes, .piece = 1 << 20, .read = read_base};
#if defined(__x86_64__)
  const k_isa isa = k_best_isa();
  p.read = isa >= K_ISA_AVX512 ? read_avx512 : isa >= K_ISA_AVX2 ? read_avx2 : read_base;
#endif
  double best = 0;
  const int pieces = (int)((bytes + p.piece - 1) / p.piece);
  for (int i = 0; i < passes; i++) {
    const double t = now();
    k_pool_for(pool, pieces, 1, pieces, read_task, &p);
    const double rate = (double)bytes / (now() - t);
    if (rate > best) best = rate;
  }
  return best;
}

static void spin_task(void *context, int begin, int end, int thread) {
  (void)thread;
  for (int i = begin; i < end; i++) ((probe *)context)->spin();
}
static double peak(k_pool *pool, void (*spin)(void), double per_round) {
  probe p = {.spin = spin};
  const int items = k_pool_threads(pool) * 32;
  double best = 0;
  for (int i = 0; i < PASSES; i++) {
    const double t = now();
    k_pool_for(pool, items, 1, 4, spin_task, &p);
    const double rate = per_round * ROUNDS * items / (now() - t);
    if (rate > best) best = rate;
  }
  return best;
}
double k_probe_f32(k_pool *pool, k_isa isa) {
#if defined(__x86_64__)
  if (isa >= K_ISA_AVX512) return peak(pool, spin_f32_avx512, 12 * 32);
  if (isa >= K_ISA_AVX2) return peak(pool, spin_f32_avx2, 12 * 16);
#endif
  (void)isa;
  return peak(pool, spin_f32_base, 2);
}
double k_probe_bf16(k_pool *pool, k_isa isa) {
#if defined(__x86_64__)
  if (isa >= K_ISA_AVX512_BF16) return peak(pool, spin_bf16, 12 * 64);
#endif
  (void)pool, (void)isa;
  return 0;
}
double k_probe_int8(k_pool *pool, k_isa isa) {
#if defined(__x86_64__)
  if (isa >= K_ISA_AVX512_VNNI) return peak(pool, spin_int8, 12 * 128);
#endif
  (void)pool, (void)isa;
  return 0;
}
