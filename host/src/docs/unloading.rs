//! Unloading: what is closed, what is left, and how one would notice.
//!
//! # What is not promised
//!
//! A library is unmapped when nothing will ever call into it. The host can see what goes through
//! the plugin's own runtime, which `export!` puts into the cdylib; it can't see what goes past it.
//! These are left:
//!
//! | the plugin | what happens | how one would notice, and the way out |
//! |---|---|---|
//! | starts a thread through another shared library: C++'s `std::thread` in libstdc++.so, a library that it opens with `dlopen` or `dlmopen` | the thread is not counted. Libraries that it is linked with and that are off the list make the generation resident by policy; those that it opens don't | a crash in an address of no mapping, with the image's name in the log just before as `unmapped`. End such threads in the instance's `Drop` |
//! | calls the kernel by itself (`syscall`): `clone`, `rt_sigaction`, `set_robust_list`, `io_uring` | the same | as above |
//! | leaves a pointer to its code or statics with the host's own libraries: OpenSSL's `ex_data`, a callback in a library that it found with `dlopen` | it dangles | as above. Take it back in `Drop` |
//! | panics in the destructor of a thread-local, or touches there what was destroyed before | std aborts the process, as in every Rust program | the abort's message |
//! | links the unwinder statically (`-static-libgcc`) | panics can't be caught in it | the first panic aborts |
//! | gives a thread a stack inside of its own statics | the last instructions of the thread run on it after its routine has returned | as for threads |
//! | never ends a thread: rayon's global pool, a runtime that is not shut down | resident, with the threads' numbers and names; the next updates are refused at `generations_max` | the event `resident` at its first update. End it in `Plugin::retiring` or in `Drop`, or use a pool of the instance's own |
//! | leaves a signal handler: signal-hook even after `unregister`, ctrlc, `tokio::signal` | resident, with the signal's name, until somebody else installs one | the event `never_unloads` at its first update. Handle signals in the host |
//! | needs a shared library that the host doesn't know | resident, with the library's name: it can keep pointers that nobody sees | the event `never_unloads` at its first update. Link it statically |
//! | has handed out an object that is kept | retired until the last clone of it is dropped; forgotten with `mem::forget`, for good | the event `stalled`, which counts it among the leases |
//! | has a value in a thread-local of a thread that idles | retired, with the thread's number and name in [`held_by`](crate::GenerationStatus::held_by), and after `stop_deadline` resident, until the thread calls any plugin or ends | [`Host::checkpoint`](crate::Host::checkpoint) in the pool's idle loop |
//! | leaks memory, or keeps some behind a static: a table in a `LazyLock`, std's buffer of standard output (1 KiB), what `tracing` keeps of its subscriber (200 bytes) | it is the process's from then on | with `midflight_plugin::Counted` as its allocator, the event `unmapped` says how much, and so does [`GenerationStatus::memory`](crate::GenerationStatus::memory). With `midflight_plugin::Reclaimed` inside of that it is given back |
//! | forgets a span of `tracing`, or a guard of one that is entered | the span is open until the library is unmapped, and is closed then; an entered one is left when its thread next calls a plugin, comes by a checkpoint, or ends. 100,000 open spans of a generation are kept, and those after them not made | events in a span that nobody is in, until then. Keep guards within a call |
//! | brings an allocator that maps its own heaps: mimalloc, jemalloc | the heap stays mapped, a GiB of address space and some 20 MB of memory a generation with mimalloc's defaults, unless `Reclaimed` is around the allocator | [`GenerationStatus::mapped`](crate::GenerationStatus::mapped), and the event `unmapped`, which says how much and names the cures: `MIMALLOC_DESTROY_ON_EXIT=1` in the service's environment, or `Counted::over(Reclaimed::over(MiMalloc))`. Memory that is mapped by system calls past the C library is in no count |
//! | has C code that keeps memory of the C library's `malloc` for the process: OpenSSL (0.65 MB a generation) | it stays | a service that grows with each update. Have the C library clean up when the plugin's own is closed, after the thread-locals: `atexit(OPENSSL_cleanup)` in its start. `OPENSSL_cleanup()` in `Drop` leaves what OpenSSL has for each thread that called |
//! | gives a pointer to what it leaked to the C library (`hsearch`, `setvbuf`, `fopencookie`), the kernel (`io_uring`), a library of others, and has `Reclaimed` as its allocator | it dangles, as pointers to its code and statics do | a crash, or a changed value, after the unload. `Reclaimed::new` is `unsafe` for that |
//! | is left in the middle of a call: a service of the host's suspends the coroutine that the call runs in (crates `generator`, `may`) | the call holds its version until it is over. Calls that its thread makes meanwhile count as made from within it, and get that version too; when the outermost of them has ended before the others, the next call counts as outermost again, and gets what serves. Calls may end in any order and on another thread: each holds its own version by itself, so nothing is unmapped under one. What a plugin keeps in thread-locals across such a call is the business of whoever moves stacks between threads | the event `stalled`, with the thread. Don't suspend between two versions for long |
//! | stands in a backtrace that somebody else takes: the host's own (`RUST_BACKTRACE`, `Backtrace::capture`), a profiler's in the process | std's symboliser reads the list of libraries once a process: frames of later versions are `<unknown>`, and where a later version lies at an address that an earlier one had, they carry the earlier one's names. A backtrace that a plugin takes is `<unknown>` throughout | frames that don't fit the version. [`panic_frames_max`](crate::HostBuilder::panic_frames_max) names the frames of a plugin's panics from its own image (`r16_…`). Addresses are used again, since keeping each one reserved would take a mapping a version, of which a process has 65,530, and the kernel gives a freed one to whoever asks first |
//! | prints with `print!` and no newline | the text is lost | flush in `Drop` |
//! | changes the environment by `environ`, or by a system call | no lock is taken: another thread's reader, of whatever copy of std, can walk through freed memory | a crash in `getenv`. Use `std::env`, or C's `setenv` and `putenv`: those take the host's lock |
//! | reads the environment by `environ`, as `std::env::vars` and `Command` do, while the host or another plugin sets a variable | the same, in the plugin | as above. Set variables before the first plugin is loaded, as edition 2024 asks |
//! | throws a C++ exception into a method, or lets one leave it | the process is aborted: nothing but a Rust panic is let through a call, and that as a fault | the abort's message. Catch it in C++ |
//! | calls `pthread_exit` in a call, by Rust code that declares it `extern "C"` as the crate libc does, or that has no unwind tables | as a panic there: std aborts the process | the abort's message. In C code it is a fault |
//! | is cancelled (`pthread_cancel`) in a call, by the host or another library, or on a thread of its own that is in a call | the unwinding can't pass the boundary: std aborts the process | "exception not rethrown". End threads by a flag |
//! | jumps out of a call (`longjmp`, `setcontext`) | frames of the host's are skipped, and their pins stay | a drain that never ends, or a crash |
//!
//! A process can end at any time with all of that in it: `crates_that_are_known_to_break_unloading`
//! and `a56_a_process_may_end_with_threads_of_its_plugins` assert exit status 0. Two things are
//! otherwise: a stream of `fopencookie`'s that is still open, and a stream of the process's whose
//! buffer lies in the plugin (`setvbuf(stdout, …)`). The C library writes out all streams when the
//! process ends, through code and memory that are gone: it crashes. Close the stream, and give the
//! other its own buffer again (`setvbuf(stdout, NULL, _IOLBF, 0)`), in `Drop`.
//!
//! # The C library, name by name
//!
//! A table in the sources, `host/inspect/glibc-symbols.txt`, has a class for every name that glibc
//! 2.43 and older export: harmless, hooked, refused, or documented. A test compares it with the
//! machine's C library. The hooked and the refused ones:
//!
//! | a plugin | what happens | test |
//! |---|---|---|
//! | sets a handler, by any of `sigaction`, `signal`, `bsd_signal`, `ssignal`, `sysv_signal`, `sigset`, and the names that strict C gives to them | it is set, and the generation stays, named | `s13_…` |
//! | starts a thread, by `pthread_create`, `thrd_create` | it is counted | `a56_…`, `a60_…` |
//! | starts a thread, by `clone` with `CLONE_VM` | it fails with EPERM. A process of its own is let through | `what_would_call_a_plugin_…` |
//! | asks to be called on a thread of the C library's: `SIGEV_THREAD`, in `timer_create`, `mq_notify`, `aio_*`, `lio_listio`, `getaddrinfo_a` | it fails with ENOTSUP. Signals and polling are let through | `what_would_call_a_plugin_…` |
//! | ends its thread, by `pthread_exit` or `thrd_exit` | on a thread of its own, outside of calls, it ends; elsewhere it is a panic of the call | `s19_…` |
//! | cancels a thread, by `pthread_cancel` | one of its own is cancelled; of others it is told ESRCH | `s19_…` |
//! | registers an exit handler or handlers of forks | they are its library's, and go when that is unmapped, even where no library was named. `on_exit`, which names none, fails with -1 | `a_handler_of_no_library_…` |
//! | sets, unsets, puts, clears or gets a variable of the environment | the host's std does it, under its lock; a text that is put is copied | `s12_…` |
//! | opens the system's log | the name is copied | `s12_each_side_…` |
//! | maps memory, by `mmap`, `mmap64`, `mremap`, and unmaps it | it is counted | `alloc1_…` |
//! | looks one of all these up, by `dlsym` or `dlvsym` in the C library | it gets what it would have been linked to | `s14_…` |
//! | registers conversions of `printf`, or counts with `profil`, `sprofil`, `mcheck` | it fails with -1: such a pointer is kept for good | `what_would_call_a_plugin_…` |
//! | imports what only the C library itself should call, old hooks of its allocator, servers of its remote calls, `monstartup`, `sigvec` | refused `import_forbidden`, before it runs | `s17_an_import_…` |
//!
//! And the documented ones, which are let through, by the reason that the table gives:
//!
//! | reason | what a plugin has to know |
//! |---|---|
//! | environ, reads-environment, writes-environment | they use the environment past every copy of std, some of them only once the process has set a locale. They are safe for as long as nobody changes it |
//! | getopt | as above, and it keeps a place in the arguments for its next call, whoever calls |
//! | pointer | they keep a pointer to what they are given: streams and their buffers, `hsearch`, `strtok`, `initstate`, alternative stacks for signals, stacks of threads, robust mutexes, frames for the unwinder. Take it back in `Drop`, or give it memory of the process's |
//! | variable | a variable of the C library's that can be made to point into the plugin: the same |
//! | jump, cancellation | see above |
//! | fork | the child has one thread, and the locks of all: do nothing there but `exec` and `_exit` |
//! | ends | it ends the process, or replaces it |
//! | library, system-call | see above |
//! | remote-call | it calls what was registered, which no plugin can |
//!
//! # What is closed
//!
//! Each line names its test in the acceptance suite, in `unload` or `panics`.
//!
//! | the plugin | what happens | test |
//! |---|---|---|
//! | has thread-locals with destructors | each is destroyed on its own thread: at its end, or at its next call of any plugin once the generation is retired. Unmapped after the last | `a54_…` |
//! | asks for `thread::current()`, joins threads, waits with a timeout | std's keys belong to the host, and go with the generation | `a55_…`, `a57_…` |
//! | has a thread that runs | resident, named; unmapped by itself when it ends | `a56_…` |
//! | has left callbacks with the host, or keeps its own in a static | their objects are dropped when it is stopped, and calls are told `revoked`; handles may stay | `a10_…`, `a14_…` |
//! | has handed out objects | each holds its version, and its drop runs there | `a06_an_object_…`, `a06_objects_…` |
//! | panics in the drop of either | an event `panicked` | `a12_panics_of_objects_…` |
//! | panics, or takes a backtrace | the file is not mapped again to symbolise | `a57_backtraces_…` |
//! | panics, and the host asked for [frames](crate::HostBuilder::panic_frames_max) | the host reads their names from the image's bytes | `a_panics_frames_…` |
//! | has a key whose destructor reads another key, as OpenSSL does | its value is there still | `a_keys_destructor_finds_…` |
//! | makes a key whose number was another's | each value goes to the destructor of the very key that it was set for | `a_keys_number_is_used_again` |
//! | fails to start, with destructors that ask the host | they get answers; the refusal is told when it is gone | `a_start_that_fails_…` |
//! | does all that a thousand times | mappings, descriptors, keys stay as they are | `a57_a_thousand_nasty_generations_…`, and the soak |
//! | is linked with `-z nodelete` | the flag is cleared in the private image | `a59_…` |
//! | holds objects of C and C++: keys, C11 keys and threads, `pthread_exit`, `thrd_exit`, cancellation, `thread_local`, inline statics | as for Rust's | `a60_objects_…` |
//! | uses the static TLS block | refused `static_tls`, before some later update would be the loader's failure | `a60_a_library_…` |
//! | has its own global allocator | what crosses is rebuilt as the host's own. What the allocator has mapped and leaves is counted ([`GenerationStatus::mapped`](crate::GenerationStatus::mapped)), told by `unmapped`, and given back where `Reclaimed` is around the allocator | `a61_…`, `alloc1_…` |
//! | leaves a signal handler | resident, and the signal may arrive | `a62_…` |
//! | needs a shared library off the list, or a shared libstd | resident by policy; refused | `a63_…` |
//! | is called by threads that end while it is unloaded | they pay first | `a64_…` |
//! | runs constructors that use thread-locals and threads | the table's address is in the image before it is mapped | `a67_…` |
//! | lacks the runtime, or part of it | refused `hook_escaped` or `entry_missing`, before it runs | `a68_…` |
//! | is linked into the host as a crate as well, and the host exports what it defines (`-rdynamic`) | its hooks look at its own place, which the linker binds; where they don't, it is refused `hook_escaped` | `s16_…` |
//! | exports a name that is in the process already | refused `export_taken`: the loader would call the other one | `s17_…` |
//! | is rolled back to after its destructors have run | a new copy is loaded | `a69_…` |
//! | is suspended in calls by coroutines that end in another order, or on another thread | each call holds its version to its own end | `s18_…` |
//! | has destructors that call the host, which calls plugins | no other destructor of the thread interrupts them | `a_destructor_is_not_interrupted_…` |
//! | has destructors that make values or start threads | those are waited for as well | `destructors_that_leave_more_behind` |
//! | leaks, or keeps memory behind statics | given back after its last exit handler, with `Reclaimed` | `what_a_generation_never_freed_is_given_back` |
//! | uses tokio and shuts it down, bundled SQLite, regex, rand, parking_lot, crossbeam-epoch | unmapped | `crates_that_are_known_to_break_unloading` |
//!
//! The host's own binary holds none of the functions that plugins interpose (`a65_the_host_…`), and
//! its own thread-locals are destroyed as ever (`a65_the_hosts_own_…`).
//!
//! # Well-known crates
//!
//! `.ci/crates` replaces plugins that are made of these, a hundred times each while two threads call
//! them. Each generation has to be unmapped, and no more than 24 KiB an update may be left, unless
//! the table says otherwise. What it said last, in KiB an update:
//!
//! | the plugin uses | its generations | left |
//! |---|---|---|
//! | chrono 0.4 (`Local`) | unmapped | 4 |
//! | rayon 1.12, a pool of the instance's own | unmapped; 12 KiB of crossbeam-epoch's stay, as below | 16, 5 with `Reclaimed` |
//! | rayon 1.12, the global pool | resident, `threads:` with the numbers of its workers. The way out is the line above | |
//! | tokio 1.54, a runtime that is shut down in `Drop` | unmapped | 6 |
//! | reqwest 0.12 with rustls, on such a runtime | unmapped | 6 |
//! | rustls 0.23 with ring | unmapped | 5 |
//! | openssl 0.10, vendored | unmapped; what OpenSSL keeps stays, unless it is cleaned up at the end: `atexit(OPENSSL_cleanup)` | 470, 7 with that |
//! | rhai 1.27 | unmapped | 2 |
//! | mlua 0.11, vendored Lua 5.4 | unmapped | 5 |
//! | wasmi 0.51 | unmapped | 4 |
//! | rusqlite 0.40, bundled SQLite | unmapped | 7 |
//! | regex 1.13, serde_json 1, uuid 1, rust_decimal 1, rand 0.9, in one | unmapped | 5 |
//! | crossbeam-epoch 0.9, its global collector | unmapped; what is not collected when the plugin ends stays with the collector, which is a static, unless `Reclaimed` is the plugin's allocator or the collector the instance's own | 500 to 5,700, 6 with `Reclaimed` |
//! | mimalloc 0.1 as its allocator | unmapped; its heap stays, unless `Reclaimed` is around it | 8,900, 5 with that |
//! | tikv-jemallocator 0.6 as its allocator | unmapped; its heap stays, unless `Reclaimed` is around it | 229, none with that |
//! | signal-hook 0.3 | resident, `signal: SIGUSR1`: signals are the host's to handle | |
//!
//! A part of each is what the host keeps of its updates, which has a bound: in the later ones of
//! 300 and 600 updates rusqlite and openssl, cleaned up, left 2.
//!
//! # What a caller may feel
//!
//! The value of a thread-local can be destroyed on its own thread alone, so an update borrows
//! threads of the host's: a thread that has used a retired plugin destroys what it has of it at the
//! beginning of its next *outermost* call of any plugin, request or lease, or at
//! [`Host::checkpoint`](crate::Host::checkpoint). Never inside of another call, and never inside of
//! another such destructor. It follows:
//!
//! - **They run under the locks that the caller holds** at that moment. A destructor that calls a
//!   service which takes one of them waits for its own thread, for ever. The same can happen at a
//!   thread's end with what is held there. A host whose services take a lock that is also held
//!   around calls of plugins has that problem with every call that calls back; with destructors it
//!   also has it where the call itself would not. How one would notice: a thread that hangs in
//!   `attend` below `enter`, and its generation `resident(tls: tid …)`. The way out: call
//!   `checkpoint` where nothing is held, at the head of the loop, so that no call is the first to
//!   pass.
//! - **That call takes longer**, by what the destructors take. They run one after another, and
//!   nothing bounds them.
//! - **They run at a place of the host's choice**, in the middle of whatever the thread does, with
//!   its thread-locals (a current span, a scoped subscriber) as they are.
//! - A panic in one of them aborts the process, as it does at a thread's end. That is std's doing.
//! - A value under a key that its plugin has deleted is nobody's any more, but its thread is still
//!   asked to pass by: until then it counts among the reasons.
//!
//! # Threads that idle: tokio's workers
//!
//! A worker of a runtime that has called a plugin, and idles since, keeps what the plugin left in
//! its thread-locals (`rand::rng()`, a buffer): the old generation is `retiring`, held by `tls: tid
//! 4711 (tokio-rt-worker), 1 value`. With each worker holding another version there is no room for
//! the fourth. So a service tells its runtime to pass by whenever a worker has nothing to do, and
//! after an update gives each of them something:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use midflight::{Host, Residency};
//! use std::time::Duration;
//!
//! const WORKERS: usize = 8;
//! let host = Host::builder().plugins("plugins").start()?;
//! let passing = host.clone();
//! let runtime = tokio::runtime::Builder::new_multi_thread()
//!     .worker_threads(WORKERS)
//!     .enable_time()
//!     .on_thread_park(move || passing.checkpoint())
//!     .build()?;
//! runtime.spawn(async move {
//!     let is_leaving = |host: &Host| {
//!         let status = host.status();
//!         status.generations.iter().any(|one| one.residency == Residency::Retiring)
//!     };
//!     loop {
//!         tokio::time::sleep(Duration::from_millis(100)).await;
//!         if is_leaving(&host) {
//!             // Each wakes a worker, which parks again.
//!             (0..WORKERS).for_each(|_| drop(tokio::spawn(async {})));
//!         }
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! A `checkpoint` right after `apply` comes too early: calls have to end and the plugin has to be
//! stopped first, and only then do threads owe anything. `r15_…` has it as a test.
//!
//! The host's own events are told on the thread that switches and unloads. A subscriber that panics
//! there is contained, as health checks and wakers are: updates go on, and one event,
//! `subscriber_panicked`, says so (`s15_…`). A layer of the process's `tracing` subscriber that
//! calls a slot there, or drops the last of an object, runs a plugin's code on it: then a call that
//! doesn't return holds up every update. Follow [`Host::events`](crate::Host::events) from a thread
//! of your own instead.
//!
//! # Why static TLS is refused at once, and not counted
//!
//! glibc keeps some hundred bytes of the static TLS block for libraries that are loaded late, for
//! all of them together, and uses a gap between two again only at its end. Updates overlap, so gaps
//! are never at the end: some update would fail, and which one depends on everything else in the
//! process. A library that could be replaced a few times is worse than one that is refused when it
//! is first tried.
//!
//! # Machines
//!
//! All of this is tested on x86-64 with glibc 2.36. The hooks for aarch64 are the same functions
//! behind another jump. `.ci/aarch64` has rustc assemble those jumps, links them into a shared
//! library with C code in the place of std and of the runtime, sees that every reference is bound
//! inside of it, and runs it under qemu-user. The rest was not run there: std's and glibc's
//! behaviour, the runtime, the gate.
