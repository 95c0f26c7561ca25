#include "k_process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int k_process_follow(int parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return -1;
    // It was started as /proc/self/exe, and would be called "exe".
    (void)prctl(PR_SET_NAME, "autoglm-engine");
    // It may have ended before.
    return getppid() == parent ? 0 : -1;
}

int k_process_memory(void) { return memfd_create("autoglm-engine", MFD_CLOEXEC); }
