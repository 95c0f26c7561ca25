#include "k_allocator.h"

#include <stdlib.h>

#ifdef __GLIBC__
#include <malloc.h>

void k_allocator_settle(void) {
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
    mallopt(M_ARENA_MAX, 8);
}

void k_allocator_trim(void) { malloc_trim(0); }
#else
// Other C libraries give back by themselves.
void k_allocator_settle(void) {}
void k_allocator_trim(void) {}
#endif
