/* Stands for std and for C objects of a plugin: it refers to what they refer to, some of it weakly, as std does. */
#include <stdint.h>

typedef uintptr_t word;

#define EACH(x) \
    x(__cxa_thread_atexit_impl, 1000) x(__cxa_thread_atexit, 1000) x(pthread_key_create, 2000) \
    x(pthread_key_delete, 3000) x(pthread_setspecific, 4000) x(pthread_create, 5000) x(tss_create, 2000) \
    x(tss_delete, 3000) x(tss_set, 4000) x(thrd_create, 6000) x(sigaction, 7000) x(signal, 8000) \
    x(bsd_signal, 8000) x(on_exit, 9000) x(dl_iterate_phdr, 10000)

#define DECLARE(name, number) extern __attribute__((weak)) word name(word, word, word, word);
EACH(DECLARE)

/* The number of references that went elsewhere, or lost an argument; by a call and by an address that is taken. */
word references(void)
{
    word wrong = 0;
#define CALL(name, number) \
    { \
        word (*volatile taken)(word, word, word, word) = name; \
        wrong += !taken || taken(5, 6, 7, 8) != number + 70; \
        wrong += name(1, 2, 3, 4) != number + 30; \
    }
    EACH(CALL)
    return wrong;
}
