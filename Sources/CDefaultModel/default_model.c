#include "autoglm_default_model.h"

#if __has_embed("../../Models/mini-glm/model.safetensors")

static const unsigned char config[] = {
#embed "../../Models/mini-glm/config.json"
};
static const unsigned char generation_config[] = {
#embed "../../Models/mini-glm/generation_config.json"
};
static const unsigned char tokenizer[] = {
#embed "../../Models/mini-glm/tokenizer.json"
};
static const unsigned char tokenizer_config[] = {
#embed "../../Models/mini-glm/tokenizer_config.json"
};
static const unsigned char weights[] = {
#embed "../../Models/mini-glm/model.safetensors"
};

#define FILE_OF(name, array) {name, array, sizeof array}
static const autoglm_embedded_file files[] = {
    FILE_OF("config.json", config),
    FILE_OF("generation_config.json", generation_config),
    FILE_OF("tokenizer.json", tokenizer),
    FILE_OF("tokenizer_config.json", tokenizer_config),
    FILE_OF("model.safetensors", weights),
};

size_t autoglm_embedded_count(void) { return sizeof files / sizeof files[0]; }
autoglm_embedded_file autoglm_embedded_get(size_t index) { return files[index]; }

#else

size_t autoglm_embedded_count(void) { return 0; }
autoglm_embedded_file autoglm_embedded_get(size_t index) {
  (void)index;
  return (autoglm_embedded_file){0};
}

#endif
