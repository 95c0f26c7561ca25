#pragma once
#include <stddef.h>

// The files of Models/mini-glm as they were when the program was built, so that one program is
// enough for a first conversation.
typedef struct {
  const char *name;
  const unsigned char *bytes;
  size_t size;
} autoglm_embedded_file;

// How many files there are; 0 in a build whose checkout has no weights.
size_t autoglm_embedded_count(void);
// File `index` in 0..<count.
autoglm_embedded_file autoglm_embedded_get(size_t index);
