// Strict C: with no extensions of the system's, its `signal` is `__sysv_signal`.
#include <signal.h>

typedef void handler(int);

handler *reaching_strict_signal(int number, handler *run) { return signal(number, run); }
