/* Makes the Nth call of one kind fail, for failnth.py: preloaded into the program under test, so
 * that the program has nothing in it that only tests use.
 *
 * FAILNTH_CALL   open, read, write, fsync, rename, close, connect or memory
 * FAILNTH_N      which call fails, counted from 1; 0 fails none
 * FAILNTH_ERROR  its errno, or -1: a short read or write that succeeds
 * FAILNTH_PATH   only calls on files below this path count (not for connect and memory)
 * FAILNTH_REPORT file that gets the number of calls counted, at the time of the fault and at the end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *call, *path, *report;
static long wanted;
static int error;
static atomic_long counted;

static void note(void) {
  if (!report) return;
  char text[32];
  int length = snprintf(text, sizeof text, "%ld\n", atomic_load(&counted));
  int fd = (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) return;
  syscall(SYS_write, fd, text, length);
  syscall(SYS_close, fd);
}

__attribute__((constructor)) static void begin(void) {
  call = getenv("FAILNTH_CALL");
  path = getenv("FAILNTH_PATH");
  report = getenv("FAILNTH_REPORT");
  wanted = getenv("FAILNTH_N") ? atol(getenv("FAILNTH_N")) : 0;
  error = getenv("FAILNTH_ERROR") ? atoi(getenv("FAILNTH_ERROR")) : EIO;
  /* Programs that this one starts are not under test. */
  unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void end(void) { note(); }

static int is_below(const char *name) {
  if (!path) return 1;
  char full[PATH_MAX];
  if (name[0] != '/') {
    size_t length;
    if (syscall(SYS_getcwd, full, sizeof full) < 0) return 0;
    length = strlen(full);
    snprintf(full + length, sizeof full - length, "/%s", name);
    name = full;
  }
  return strncmp(name, path, strlen(path)) == 0;
}

static int is_ours(int fd) {
  if (!path) return 1;
  char link[64], name[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = syscall(SYS_readlinkat, AT_FDCWD, link, name, sizeof name - 1);
  if (length <= 0) return 0;
  name[length] = 0;
  return strncmp(name, path, strlen(path)) == 0;
}

/* Counts a call; true when it is the one that fails. */
static int strikes(const char *kind) {
  if (!call || strcmp(call, kind) != 0) return 0;
  long number = atomic_fetch_add(&counted, 1) + 1;
  if (number != wanted) return 0;
  note();
  return 1;
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FAIL(result) do { errno = error > 0 ? error : EIO; return result; } while (0)

#define OPENS(name, parameters, at, arguments) \
  int name parameters { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); \
    } \
    if (is_below(file) && strikes("open")) FAIL(-1); \
    return real arguments; \
  }
OPENS(open, (const char *file, int flags, ...), , (file, flags, mode))
OPENS(open64, (const char *file, int flags, ...), , (file, flags, mode))
OPENS(openat, (int at, const char *file, int flags, ...), at, (at, file, flags, mode))
OPENS(openat64, (int at, const char *file, int flags, ...), at, (at, file, flags, mode))

FILE *fopen(const char *file, const char *mode) {
  REAL(fopen);
  if (is_below(file) && strikes("open")) FAIL(NULL);
  return real(file, mode);
}

/* A short count is no failure: half of it is done. */
#define MOVES(kind, name, type, extra, rest) \
  ssize_t name(int fd, type buffer, size_t count extra) { \
    REAL(name); \
    if (count > 1 && call && strcmp(call, kind) == 0 && is_ours(fd) && strikes(kind)) { \
      if (error > 0) FAIL(-1); \
      count /= 2; \
    } \
    return real(fd, buffer, count rest); \
  }
#define COMMA ,
MOVES("read", read, void *, , )
MOVES("read", pread, void *, COMMA off_t at, COMMA at)
MOVES("read", pread64, void *, COMMA off64_t at, COMMA at)
MOVES("write", write, const void *, , )
MOVES("write", pwrite, const void *, COMMA off_t at, COMMA at)
MOVES("write", pwrite64, const void *, COMMA off64_t at, COMMA at)

int fsync(int fd) {
  REAL(fsync);
  if (is_ours(fd) && strikes("fsync")) FAIL(-1);
  return real(fd);
}

int fdatasync(int fd) {
  REAL(fdatasync);
  if (is_ours(fd) && strikes("fsync")) FAIL(-1);
  return real(fd);
}

/* The descriptor is closed all the same, as Linux does it. */
int close(int fd) {
  REAL(close);
  int fails = call && strcmp(call, "close") == 0 && is_ours(fd) && strikes("close");
  int result = real(fd);
  if (fails) FAIL(-1);
  return result;
}

int rename(const char *old, const char *new) {
  REAL(rename);
  if (is_below(new) && strikes("rename")) FAIL(-1);
  return real(old, new);
}

int renameat(int a, const char *old, int b, const char *new) {
  REAL(renameat);
  if (is_below(new) && strikes("rename")) FAIL(-1);
  return real(a, old, b, new);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  REAL(connect);
  if (strikes("connect")) FAIL(-1);
  return real(fd, address, length);
}

/* Weights, caches and step memory are mapped; small things are not, and no program survives
 * without those. */
static int is_large(size_t length, int flags) { return flags & MAP_ANONYMOUS && length >= 4096; }

void *mmap(void *place, size_t length, int protection, int flags, int fd, off_t at) {
  REAL(mmap);
  if (is_large(length, flags) && strikes("memory")) FAIL(MAP_FAILED);
  return real(place, length, protection, flags, fd, at);
}

void *mmap64(void *place, size_t length, int protection, int flags, int fd, off64_t at) {
  REAL(mmap64);
  if (is_large(length, flags) && strikes("memory")) FAIL(MAP_FAILED);
  return real(place, length, protection, flags, fd, at);
}
