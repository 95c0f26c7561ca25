// Preloaded by Scripts/sanitize.sh thread: tells ThreadSanitizer of the locks that Swift's `Mutex`
// takes in the kernel. What `Mutex` does in user space is inlined and seen; where two threads want
// it at once, its library (which is not instrumented) asks the kernel to hand the lock over, and
// without this every access behind such a lock would be reported as a race.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>

// Of the sanitizer's runtime, in the program under test alone.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

static long ask(long number, const long *a) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = a[3];
  register long r8 __asm__("r8") = a[4];
  register long r9 __asm__("r9") = a[5];
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a[0];
  register long x1 __asm__("x1") = a[1];
  register long x2 __asm__("x2") = a[2];
  register long x3 __asm__("x3") = a[3];
  register long x4 __asm__("x4") = a[4];
  register long x5 __asm__("x5") = a[5];
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#endif
}

// In place of the C library's.
long syscall(long number, ...) {
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  const long operation = number == SYS_futex ? a[1] & FUTEX_CMD_MASK : -1;
  void *word = (void *)a[0];
  if (operation == FUTEX_UNLOCK_PI && __tsan_release) __tsan_release(word);
  const long result = ask(number, a);
  const int locks = operation == FUTEX_LOCK_PI || operation == FUTEX_TRYLOCK_PI;
  if (locks && result == 0 && __tsan_acquire) __tsan_acquire(word);
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
