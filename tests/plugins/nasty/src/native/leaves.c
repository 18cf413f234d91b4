// What C leaves with threads.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>
#include <unistd.h>

// In Rust: a value was made, was destroyed.
extern void nasty_made(void);
extern void nasty_destroyed(void);

static void drop_value(void *value) {
    free(value);
    nasty_destroyed();
}

static void *new_value(void) {
    nasty_made();
    return malloc(64);
}

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static void make_key(void) { pthread_key_create(&key, drop_value); }

static tss_t c11_key;
static once_flag c11_once = ONCE_FLAG_INIT;
static void make_c11_key(void) { tss_create(&c11_key, drop_value); }

uint64_t nasty_c_key(uint64_t c11) {
    if (c11) {
        call_once(&c11_once, make_c11_key);
        if (!tss_get(c11_key)) tss_set(c11_key, new_value());
    } else {
        pthread_once(&key_once, make_key);
        if (!pthread_getspecific(key)) pthread_setspecific(key, new_value());
    }
    return 1;
}

static void *body(void *ends_by) {
    nasty_c_key(0);
    if (ends_by == (void *)1) pthread_exit(0);
    while (ends_by == (void *)2) pause(); // a cancellation point
    return 0;
}

static int c11_body(void *ends_by) {
    nasty_c_key(1);
    if (ends_by == (void *)4) thrd_exit(7);
    return 7;
}

uint64_t nasty_c_thread(uint64_t ends_by) {
    if (ends_by < 3) {
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, 0, body, (void *)ends_by)) return 0;
        if (ends_by == 2) pthread_cancel(thread);
        return pthread_join(thread, &result) == 0 && result == (ends_by == 2 ? PTHREAD_CANCELED : 0);
    }
    thrd_t thread;
    int result = 0;
    if (thrd_create(&thread, c11_body, (void *)ends_by) != thrd_success) return 0;
    return thrd_join(thread, &result) == thrd_success && result == 7;
}
