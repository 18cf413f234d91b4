// What C++ leaves with threads and with the loader.
#include <stdint.h>

extern "C" void nasty_made();
extern "C" void nasty_destroyed();

struct Value {
    uint64_t touched = 0;
    Value() { nasty_made(); }
    ~Value() { nasty_destroyed(); }
};

static thread_local Value value;

// The compiler makes these unique: one for the whole process, in a library that is never unmapped. The linker must have made them local.
struct Inline { static inline uint64_t once = 40; };
template <class T> struct Template { static uint64_t once; };
template <class T> uint64_t Template<T>::once = 1;
inline uint64_t &in_function() { static uint64_t once = 1; return once; }

extern "C" uint64_t nasty_cxx() {
    value.touched += 1;
    return Inline::once + Template<int>::once + in_function();
}
