// What Swift cannot call: functions with a variable number of arguments.
#pragma once

// The calling process is killed when the thread that started it ends, its whole process included.
// It is also given a name of its own, autoglm-engine.
// Returns 0, or -1 when its parent is not `parent` any more.
int k_process_follow(int parent);

// A file in memory that nobody else can open, closed on exec; -1 where the system refuses.
int k_process_memory(void);
