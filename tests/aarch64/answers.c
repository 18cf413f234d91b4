/* Stands for the plugin's runtime: each answer says that it was reached, and with which arguments. */
#include <stddef.h>
#include <stdint.h>

#define ANSWER(name, number) \
    __attribute__((visibility("hidden"))) uintptr_t answer_##name(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) \
    { \
        return number + a + 2 * b + 3 * c + 4 * d; \
    }

ANSWER(local, 1000)
ANSWER(key_create, 2000)
ANSWER(key_delete, 3000)
ANSWER(key_set, 4000)
ANSWER(thread, 5000)
ANSWER(c11_thread, 6000)
ANSWER(sigaction, 7000)
ANSWER(signal, 8000)
ANSWER(on_exit, 9000)
ANSWER(libraries, 10000)
