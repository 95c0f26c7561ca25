// Worker threads: fork, share, join.
//
// A call to k_pool_for shares out items in contiguous pieces, the large ones first. Whoever is
// awake takes part: the caller waits only for workers that took a piece, so a worker that the
// system has put aside delays nobody. Workers spin a little for the next call, then sleep.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct k_pool k_pool;

// Items begin..end-1; thread is 0 for the caller and below k_pool_threads for workers.
typedef void (*k_task)(void *context, int begin, int end, int thread);

// threads: the caller included. Returns NULL when memory or threads cannot be had.
k_pool *k_pool_create(int threads, size_t scratch_bytes);
void k_pool_destroy(k_pool *pool);
int k_pool_threads(const k_pool *pool);
// Memory of one thread for the time of one call, 64-byte aligned.
void *k_pool_scratch(const k_pool *pool, int thread);
size_t k_pool_scratch_bytes(const k_pool *pool);
// most: the largest piece; least: the smallest (the last one may be smaller).
void k_pool_for(k_pool *pool, int items, int least, int most, k_task task, void *context);
// What the pool has got done, in pieces. Any thread may ask; it only ever grows. A task with long
// pieces beats inside of them too, so that a pool that stands still is one that hangs.
uint64_t k_pool_beats(const k_pool *pool);
void k_pool_beat(k_pool *pool, int thread);
// The cores this process may use: affinity and cgroup quota.
int k_cores(void);

// More threads than this are refused.
enum { K_THREADS_LIMIT = 256 };
