// The thread pool: see k_pool.h.
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

// The gate is one word: generation in the upper half, in the lower half whether workers may still
// enter and how many are inside. A worker enters by a compare-exchange on the whole word, so it
// can never enter a call that has been closed, and the caller can never reuse a job that a worker
// still reads.
#define OPEN 0x80000000u

enum { SPIN_NANOSECONDS = 100000 };

// One thread's own line, so that counting costs no traffic between cores.
typedef struct {
  _Alignas(64) _Atomic uint64_t count;
} beat;

typedef struct worker {
  struct k_pool *pool;
  int thread;
  pthread_t handle;
} worker;

struct k_pool {
  _Alignas(128) _Atomic uint64_t gate;
  _Alignas(128) _Atomic int32_t cursor;
  _Alignas(128) _Atomic int32_t asleep;  // workers that sleep
  _Atomic int32_t waits;                 // the caller sleeps
  _Atomic int32_t stop;
  _Alignas(128) k_task task;
  void *context;
  int32_t items, least, most;
  int32_t threads, spins;
  uint8_t *scratch;
  size_t scratch_bytes;
  worker *workers;
  beat beats[K_THREADS_MAX];
};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
static long futex(void *word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}
static inline uint32_t *generation_word(k_pool *p) { return (uint32_t *)&p->gate + 1; }
static inline uint32_t *inside_word(k_pool *p) { return (uint32_t *)&p->gate; }

void k_pool_beat(k_pool *p, int thread) {
  _Atomic uint64_t *count = &p->beats[thread].count;
  const uint64_t n = atomic_load_explicit(count, memory_order_relaxed);
  atomic_store_explicit(count, n + 1, memory_order_relaxed);
}
uint64_t k_pool_beats(const k_pool *p) {
  uint64_t sum = 0;
  for (int i = 0; i < p->threads; i++) {
    sum += atomic_load_explicit(&p->beats[i].count, memory_order_relaxed);
  }
  return sum;
}

// Takes pieces until none is left: half of an equal share of the rest, within the bounds.
static void work(k_pool *p, int thread) {
  int32_t at = atomic_load_explicit(&p->cursor, memory_order_relaxed);
  while (at < p->items) {
    int32_t n = (p->items - at) / (p->threads * 2);
    n = n < p->least ? p->least : n;
    n = n > p->most ? p->most : n;
    n = n > p->items - at ? p->items - at : n;
    if (!atomic_compare_exchange_weak_explicit(&p->cursor, &at, at + n, memory_order_relaxed,
                                               memory_order_relaxed)) continue;
    p->task(p->context, at, at + n, thread);
    k_pool_beat(p, thread);
    at = atomic_load_explicit(&p->cursor, memory_order_relaxed);
  }
}

static void *worker_main(void *argument) {
  worker *w = argument;
  k_pool *p = w->pool;
  uint32_t seen = 0;
  for (;;) {
    uint64_t gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    for (int i = 0; (uint32_t)(gate >> 32) == seen && i < p->spins; i++) {
      relax();
      gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
    while ((uint32_t)(gate >> 32) == seen) {
      atomic_fetch_add(&p->asleep, 1);
      futex(generation_word(p), FUTEX_WAIT_PRIVATE, seen);
      atomic_fetch_sub(&p->asleep, 1);
      gate = atomic_load_explicit(&p->gate, memory_order_acquire);
    }
    if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
    if (!((uint32_t)gate & OPEN)) {
      seen = (uint32_t)(gate >> 32);
      continue;
    }
    if (!atomic_compare_exchange_strong(&p->gate, &gate, gate + 1)) continue;
    seen = (uint32_t)(gate >> 32);
    work(p, w->thread);
    const uint64_t before = atomic_fetch_sub(&p->gate, 1);
    if ((uint32_t)before == 1 && atomic_load(&p->waits)) {
      futex(inside_word(p), FUTEX_WAKE_PRIVATE, 1);
    }
  }
}

void k_pool_for(k_pool *p, int items, int least, int most, k_task task, void *context) {
  if (items <= 0) return;
  if (p->threads == 1 || items <= least) {
    task(context, 0, items, 0);
    k_pool_beat(p, 0);
    return;
  }
  p->task = task, p->context = context;
  p->items = items, p->least = least < 1 ? 1 : least, p->most = most < p->least ? p->least : most;
  atomic_store_explicit(&p->cursor, 0, memory_order_relaxed);
  const uint64_t generation = (atomic_load_explicit(&p->gate, memory_order_relaxed) >> 32) + 1;
  atomic_store(&p->gate, generation << 32 | OPEN);
  if (atomic_load(&p->asleep)) futex(generation_word(p), FUTEX_WAKE_PRIVATE, INT_MAX);
  work(p, 0);
  uint32_t inside = (uint32_t)atomic_fetch_and(&p->gate, ~(uint64_t)OPEN) & ~OPEN;
  for (int i = 0; inside && i < p->spins; i++) {
    relax();
    inside = (uint32_t)atomic_load_explicit(&p->gate, memory_order_acquire);
  }
  if (!inside) return;
  atomic_store(&p->waits, 1);
  while ((inside = (uint32_t)atomic_load(&p->gate)) != 0) {
    futex(inside_word(p), FUTEX_WAIT_PRIVATE, inside);
  }
  atomic_store(&p->waits, 0);
}

static int spins_for(int64_t nanoseconds) {
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 1000; i++) relax();
  clock_gettime(CLOCK_MONOTONIC, &b);
  int64_t t = (b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec);
  if (t < 1000) t = 1000;
  const int64_t n = nanoseconds * 1000 / t;
  return n < 200 ? 200 : n > 1000000 ? 1000000 : (int)n;
}

k_pool *k_pool_create(int threads, size_t scratch_bytes) {
  threads = threads < 1 ? 1 : threads > K_THREADS_MAX ? K_THREADS_MAX : threads;
  k_pool *p = aligned_alloc(128, k_round_up_size(sizeof *p, 128));
  if (!p) return NULL;
  memset(p, 0, sizeof *p);
  p->threads = 1;
  p->spins = spins_for(SPIN_NANOSECONDS);
  p->scratch_bytes = k_round_up_size(scratch_bytes, 4096);
  p->workers = calloc((size_t)threads, sizeof *p->workers);
  p->scratch = mmap(NULL, p->scratch_bytes * (size_t)threads + 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!p->workers || p->scratch == MAP_FAILED) {
    if (p->scratch != MAP_FAILED) {
      munmap(p->scratch, p->scratch_bytes * (size_t)threads + 4096);
    }
    free(p->workers), free(p);
    return NULL;
  }
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const int wanted = threads;
  p->threads = wanted;
  for (int i = 1; i < wanted; i++) {
    worker *w = &p->workers[i];
    w->pool = p, w->thread = i;
    if (pthread_create(&w->handle, NULL, worker_main, w)) {
      pthread_sigmask(SIG_SETMASK, &before, NULL);
      // What has started is stopped; the threads that never were are not joined.
      atomic_store(&p->stop, i);
      k_pool_destroy(p);
      return NULL;
    }
    char name[16];
    snprintf(name, sizeof name, "kernel-%d", i);
    pthread_setname_np(w->handle, name);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return p;
}

void k_pool_destroy(k_pool *p) {
  if (!p) return;
  const int started = atomic_load(&p->stop) ? atomic_load(&p->stop) : p->threads;
  atomic_store(&p->stop, started);
  const uint64_t generation = (atomic_load(&p->gate) >> 32) + 1;
  atomic_store(&p->gate, generation << 32);
  futex(generation_word(p), FUTEX_WAKE_PRIVATE, INT_MAX);
  for (int i = 1; i < started; i++) pthread_join(p->workers[i].handle, NULL);
  munmap(p->scratch, p->scratch_bytes * (size_t)p->threads + 4096);
  free(p->workers), free(p);
}

int k_pool_threads(const k_pool *p) { return p->threads; }
void *k_pool_scratch(const k_pool *p, int thread) {
  return p->scratch + p->scratch_bytes * (size_t)thread;
}
size_t k_pool_scratch_bytes(const k_pool *p) { return p->scratch_bytes; }

// ---- cores -----------------------------------------------------------------------------------
static int read_line(const char *path, char *line, int size) {
  FILE *f = fopen(path, "re");
  if (!f) return 0;
  const int found = fgets(line, size, f) != NULL;
  fclose(f);
  return found;
}
// cgroup v2: "cpu.max" of this group and of every group above it: "QUOTA PERIOD" or "max PERIOD".
static double quota_v2(void) {
  char line[4096], path[4400];
  double best = 1e9;
  FILE *f = fopen("/proc/self/cgroup", "re");
  if (!f) return best;
  char group[4096] = "";
  while (fgets(line, sizeof line, f)) {
    if (!strncmp(line, "0::", 3)) {
      line[strcspn(line, "\n")] = 0;
      memcpy(group, line + 3, strlen(line + 3) + 1);
    }
  }
  fclose(f);
  for (;;) {
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    double quota, period;
    if (read_line(path, line, sizeof line) && sscanf(line, "%lf %lf", &quota, &period) == 2 &&
        quota > 0 && period > 0 && quota / period < best) {
      best = quota / period;
    }
    char *slash = strrchr(group, '/');
    if (!slash) return best;
    *slash = 0;
  }
}
static double quota_v1(void) {
  char quota[64], period[64];
  if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota) ||
      !read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) return 1e9;
  const double q = atof(quota), p = atof(period);
  return q > 0 && p > 0 ? q / p : 1e9;
}
int k_cores(void) {
  int n = 0;
  for (int size = 1024; size <= 65536; size *= 4) {
    cpu_set_t *set = CPU_ALLOC(size);
    if (!set) break;
    if (!sched_getaffinity(0, CPU_ALLOC_SIZE(size), set)) {
      n = CPU_COUNT_S(CPU_ALLOC_SIZE(size), set);
    }
    CPU_FREE(set);
    if (n) break;
  }
  if (n < 1) n = 1;
  double quota = quota_v2(), old = quota_v1();
  if (old < quota) quota = old;
  if (quota < n) n = (int)(quota + 0.999);
  return n < 1 ? 1 : n;
}
