/* Stands for std and for C objects of a plugin: it refers to what they refer to, some of it weakly, as std does. */
#include <stdint.h>

typedef uintptr_t word;

#define EACH(x) \
    x(__cxa_thread_atexit_impl, 1000) x(__cxa_thread_atexit, 1000) x(pthread_key_create, 2000) \
    x(__pthread_key_create, 2000) x(pthread_key_delete, 3000) x(pthread_setspecific, 4000) \
    x(__pthread_setspecific, 4000) x(tss_create, 2000) x(tss_delete, 3000) x(tss_set, 4000) \
    x(pthread_create, 5000) x(thrd_create, 6000) x(clone, 7000) x(__clone, 7000) \
    x(pthread_exit, 8000) x(thrd_exit, 9000) x(pthread_cancel, 10000) x(timer_create, 11000) \
    x(mq_notify, 12000) x(aio_read, 13000) x(aio_read64, 13000) x(aio_write, 14000) \
    x(aio_write64, 14000) x(aio_fsync, 15000) x(aio_fsync64, 15000) x(lio_listio, 16000) \
    x(lio_listio64, 16000) x(getaddrinfo_a, 17000) x(sigaction, 18000) x(__sigaction, 18000) \
    x(signal, 19000) x(bsd_signal, 19000) x(ssignal, 19000) x(sysv_signal, 20000) \
    x(__sysv_signal, 20000) x(sigset, 21000) x(getenv, 22000) x(secure_getenv, 23000) \
    x(__secure_getenv, 23000) x(setenv, 24000) x(unsetenv, 25000) x(putenv, 26000) \
    x(clearenv, 27000) x(openlog, 28000) x(__cxa_atexit, 29000) x(__cxa_at_quick_exit, 30000) \
    x(__register_atfork, 31000) x(dlsym, 32000) x(dlvsym, 33000) x(dl_iterate_phdr, 34000) \
    x(on_exit, 35000) x(register_printf_function, 35000) x(register_printf_specifier, 35000) \
    x(register_printf_type, 35000) x(mcheck, 35000) x(mcheck_pedantic, 35000) x(profil, 35000) \
    x(sprofil, 35000) x(mmap, 36000) x(mmap64, 36000) x(munmap, 37000) x(mremap, 38000)

#define DECLARE(name, number) extern __attribute__((weak)) word name(word, word, word, word);
EACH(DECLARE)

/* The loader's own, past the hooks of their names. */
extern void *midflight_loaders_dlsym(void *, const char *);
extern void *midflight_loaders_dlvsym(void *, const char *, const char *);

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
    wrong += !midflight_loaders_dlsym(0, "getpid");
    wrong += !midflight_loaders_dlvsym(0, "getpid", "GLIBC_2.17");
    wrong += midflight_loaders_dlsym(0, "getpid_not") != 0;
    return wrong;
}
