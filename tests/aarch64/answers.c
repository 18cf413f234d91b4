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
ANSWER(clone, 7000)
ANSWER(exit_thread, 8000)
ANSWER(exit_c11_thread, 9000)
ANSWER(cancel, 10000)
ANSWER(timer, 11000)
ANSWER(queue_notice, 12000)
ANSWER(aio_read, 13000)
ANSWER(aio_write, 14000)
ANSWER(transfer_fsync, 15000)
ANSWER(list_of_transfers, 16000)
ANSWER(getaddrinfo_a, 17000)
ANSWER(sigaction, 18000)
ANSWER(signal, 19000)
ANSWER(sysv_signal, 20000)
ANSWER(sigset, 21000)
ANSWER(getenv, 22000)
ANSWER(secure_getenv, 23000)
ANSWER(setenv, 24000)
ANSWER(unsetenv, 25000)
ANSWER(putenv, 26000)
ANSWER(clearenv, 27000)
ANSWER(openlog, 28000)
ANSWER(at_exit, 29000)
ANSWER(at_quick_exit, 30000)
ANSWER(at_fork, 31000)
ANSWER(dlsym, 32000)
ANSWER(dlvsym, 33000)
ANSWER(libraries, 34000)
ANSWER(refuse, 35000)
ANSWER(map, 36000)
ANSWER(unmap, 37000)
ANSWER(remap, 38000)
