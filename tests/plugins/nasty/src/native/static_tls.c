// A thread-local that the loader has to put into the static block.
#include <stdint.h>

static __thread uint64_t words[8] __attribute__((tls_model("initial-exec")));

uint64_t nasty_static_tls(uint64_t at) { return ++words[at % 8]; }
