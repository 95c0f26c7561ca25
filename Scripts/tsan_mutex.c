// Preloaded by Scripts/sanitize.sh thread: tells ThreadSanitizer of the locks that Swift's `Mutex`
// takes and gives where two threads want it at once. What `Mutex` does otherwise is inlined, and
// seen; these three are in the standard library, which is not instrumented, and without this file
// every access behind such a lock would be reported as a race.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// Of the sanitizer's runtime, in the program under test alone.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

#define NAME(n) "$s15Synchronization12_MutexHandleV" n
#define LOCK NAME("9_lockSlowyys6UInt32VF")
#define TRY_LOCK NAME("12_tryLockSlowSbyF")
#define UNLOCK NAME("11_unlockSlowyyF")

// The handle is `self`: the address of the word that is the lock.
#define SELF __attribute__((swift_context)) void *word
#define SWIFT __attribute__((swiftcall))

static void *next(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) abort();
  return function;
}

SWIFT void lock_slow(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, SELF) {
  ((SWIFT void (*)(uint32_t, SELF))next(LOCK))(thread, word);
  if (__tsan_acquire) __tsan_acquire(word);
}

SWIFT _Bool try_lock_slow(SELF) __asm__(TRY_LOCK);
SWIFT _Bool try_lock_slow(SELF) {
  const _Bool taken = ((SWIFT _Bool (*)(SELF))next(TRY_LOCK))(word);
  if (taken && __tsan_acquire) __tsan_acquire(word);
  return taken;
}

SWIFT void unlock_slow(SELF) __asm__(UNLOCK);
SWIFT void unlock_slow(SELF) {
  if (__tsan_release) __tsan_release(word);
  ((SWIFT void (*)(SELF))next(UNLOCK))(word);
}
