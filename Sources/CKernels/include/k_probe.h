// The machine's own limits, measured.
#pragma once
#include "k_pool.h"
#include "k_types.h"

// Bytes per second read by all threads of the pool from `bytes` of memory; best of `passes`.
double k_probe_bandwidth(k_pool *pool, const void *memory, size_t bytes, int passes);
// Operations per second (a multiplication and an addition are two) of all threads of the pool,
// best of a few passes; 0 where the instruction set has none.
double k_probe_f32(k_pool *pool, k_isa isa);
double k_probe_bf16(k_pool *pool, k_isa isa);
double k_probe_int8(k_pool *pool, k_isa isa);
