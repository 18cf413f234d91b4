// What C asks the system for.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#define _GNU_SOURCE
#include <aio.h>
#include <dlfcn.h>
#include <errno.h>
#include <mqueue.h>
#include <netdb.h>
#include <printf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

typedef void handler(int);
handler *reaching_strict_signal(int, handler *);
extern handler *__sysv_signal(int, handler *), *bsd_signal(int, handler *);
extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static volatile int arrived;
static handler *volatile before;

static void handle(int number) {
    arrived += 1;
    if (before && before != SIG_DFL && before != SIG_IGN && before != SIG_HOLD) before(number);
}

int64_t reach_arrived(void) { return arrived; }

// Sets a handler for SIGUSR1 that calls the one before it, by the function of that number.
int64_t reach_signal(uint64_t which) {
    int (*action)(int, const struct sigaction *, struct sigaction *) = which == 6 ? sigaction : __sigaction;
    struct sigaction now = {.sa_handler = handle}, old = {0};
    switch (which) {
    case 0: before = reaching_strict_signal(SIGUSR1, handle); break;
    case 1: before = signal(SIGUSR1, handle); break;
    case 2: before = bsd_signal(SIGUSR1, handle); break;
    case 3: before = ssignal(SIGUSR1, handle); break;
    case 4: before = sysv_signal(SIGUSR1, handle); break;
    case 5: before = sigset(SIGUSR1, handle); break;
    default:
        if (action(SIGUSR1, &now, &old)) return -1;
        before = old.sa_handler;
    }
    return before == SIG_ERR ? -1 : 0;
}

static void *sleep_ms(void *ms) {
    usleep((uintptr_t)ms * 1000);
    return 0;
}

// Starts a thread for 1.5 s with a `pthread_create` that it finds in the way of that number.
int64_t reach_lookup(uint64_t which) {
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    create *found = 0;
    const char *name = "pthread_create";
    switch (which) {
    case 0: found = (create *)dlsym(RTLD_NEXT, name); break;
    case 1: found = (create *)dlsym(RTLD_DEFAULT, name); break;
    case 2: found = (create *)dlsym(library, name); break;
    case 3: found = (create *)dlvsym(RTLD_NEXT, name, "GLIBC_2.34"); break;
    case 4: found = (create *)dlvsym(library, name, "GLIBC_2.34"); break;
    default: found = (create *)((void *(*)(void *, const char *))dlsym(RTLD_NEXT, "dlsym"))(RTLD_NEXT, name);
    }
    if (library) dlclose(library);
    pthread_t thread;
    if (!found || found(&thread, 0, sleep_ms, (void *)1500)) return -1;
    pthread_detach(thread);
    return 0;
}

// What it is not to change: what is no function of the runtime's, what is not there, and what is said of that.
int64_t reach_other_lookup(void) {
    dlerror();
    void *real = dlsym(RTLD_NEXT, "getpid");
    if (!real || ((pid_t(*)(void))real)() != getpid()) return 1;
    if (dlsym(RTLD_NEXT, "pthread_create") == 0 || dlerror()) return 2;
    if (dlsym(RTLD_NEXT, "__cxa_thread_atexit_not") || !dlerror()) return 3;
    void *maths = dlopen("libm.so.6", RTLD_NOW);
    if (!maths || !dlsym(maths, "cos")) return 4;
    dlclose(maths);
    return 0;
}

void reach_exit(uint64_t which) {
    if (which) thrd_exit(1);
    pthread_exit(0);
}

int64_t reach_cancel(uint64_t thread) { return pthread_cancel((pthread_t)thread); }

static void notified(union sigval value) { (void)value; }

// Asks for a thread of the C library's, in the way of that number; 0, or the error.
int64_t reach_notice(uint64_t which) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notified};
    struct aiocb block = {.aio_fildes = 0, .aio_sigevent = event};
    struct aiocb64 block64 = {.aio_fildes = 0, .aio_sigevent = event};
    struct aiocb quiet = {.aio_fildes = 0, .aio_sigevent = {.sigev_notify = SIGEV_NONE}};
    struct aiocb *list[] = {0, &block}, *quiet_list[] = {&quiet};
    struct gaicb address = {.ar_name = "localhost"}, *addresses[] = {&address};
    timer_t timer;
    errno = 0;
    int failed = 0;
    switch (which) {
    case 0: failed = timer_create(CLOCK_MONOTONIC, &event, &timer); break;
    case 1: failed = mq_notify(-1, &event); break;
    case 2: failed = aio_read(&block); break;
    case 3: failed = aio_write(&block); break;
    case 4: failed = aio_fsync(O_SYNC, &block); break;
    case 5: failed = aio_read64(&block64); break;
    case 6: failed = lio_listio(LIO_NOWAIT, list, 2, 0); break;
    case 7: failed = lio_listio(LIO_NOWAIT, quiet_list, 1, &event); break;
    case 8: failed = getaddrinfo_a(GAI_NOWAIT, addresses, 1, &event); break;
    // And these are let through.
    case 9: failed = timer_create(CLOCK_MONOTONIC, 0, &timer) || timer_delete(timer); break;
    case 10: failed = mq_notify(-1, 0); break;
    }
    return failed ? errno : 0;
}

static int end_at_once(void *argument) { (void)argument; return 0; }

// A thread, or a process, by `clone`; 0, or the error.
int64_t reach_clone(uint64_t as_process) {
    static char stack[65536] __attribute__((aligned(16)));
    int flags = as_process ? SIGCHLD : CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    errno = 0;
    int made = clone(end_at_once, stack + sizeof stack, flags, 0);
    return made == -1 ? errno : 0;
}

extern int __cxa_atexit(void (*)(void *), void *, void *), __cxa_at_quick_exit(void (*)(void *), void *);
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
static void at_exit(void *file) { if (file) close(*(int *)file); }
static void at_fork(void) {}

// Handlers that belong to no library. The first, when it runs, closes the file.
int64_t reach_handlers(uint64_t file) {
    static int kept;
    kept = (int)file;
    return __cxa_atexit(at_exit, &kept, 0) || __cxa_at_quick_exit(at_exit, 0) || __register_atfork(at_fork, at_fork, at_fork, 0);
}

static int noted;
static void note(const char *what) { if (write(noted, what, 1) != 1) abort(); }
static void at_quick_end(void) { note("q"); }
static void before_fork(void) { note("b"); }
static void in_parent(void) { note("p"); }
static void in_child(void) { note("c"); }

// Handlers by the names that programs know, which write a letter to the file when they run.
int64_t reach_named_handlers(uint64_t file) {
    noted = (int)file;
    return at_quick_exit(at_quick_end) || pthread_atfork(before_fork, in_parent, in_child);
}

static int print_it(FILE *file, const struct printf_info *info, const void *const *arguments) {
    (void)info, (void)arguments;
    return fprintf(file, "it");
}
static int arguments_of(const struct printf_info *info, size_t n, int *types, int *sizes) {
    (void)info, (void)n, (void)types, (void)sizes;
    return 0;
}
static void never(int status, void *argument) { (void)status, (void)argument; }

// What keeps a pointer for good; 0 only if it was refused.
int64_t reach_for_good(void) {
    static unsigned short counts[16];
    return on_exit(never, 0) != -1 || register_printf_specifier('W', print_it, arguments_of) != -1 ||
           profil(counts, sizeof counts, 0, 1) != -1;
}

// Texts in the plugin's own memory that the C library would keep.
int64_t reach_texts(void) {
    static char line[] = "REACHING_PUT=put by a plugin", name[] = "reaching";
    openlog(name, LOG_PID, LOG_USER);
    return putenv(line);
}

#ifdef FORBIDDEN
extern void __libc_freeres(void);
int64_t reach_forbidden(void) { __libc_freeres(); return 0; }
#else
int64_t reach_forbidden(void) { return 0; }
#endif
