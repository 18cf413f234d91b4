/* Stands for the host: it loads the library, and its own references stay with the C library. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

static void *ran(void *argument)
{
    return argument;
}

int main(int count, char **arguments)
{
    void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : 0;
    uintptr_t (*references)(void) = library ? (uintptr_t(*)(void))dlsym(library, "references") : 0;
    if (!references) {
        printf("%s\n", dlerror());
        return 2;
    }
    uintptr_t wrong = references();
    pthread_t thread;
    void *answer = 0;
    int host = !pthread_create(&thread, 0, ran, &thread) && !pthread_join(thread, &answer) && answer == &thread;
    printf("%u references went astray; the host's own thread %s\n", (unsigned)wrong, host ? "ran" : "did not run");
    return wrong || !host;
}
