//! What a call costs, what an update costs, and how to see it on a machine of one's own.
//!
//! ```text
//! cargo run --release -p midflight-benches --bin compare            # a table; --json for machines, --plot calls.svg to look at
//! cargo run --release -p midflight-benches --bin compare -- --quick # less than 50 s once it is built
//! .ci/instructions                                                  # instructions a call, by callgrind, against a bound
//! ```
//!
//! `benches/README.md` says what each lane is, and how it is timed. Everything below is from one run of `compare -- --quick` on two cores of
//! an AMD EPYC (Zen 4) in a virtual machine. Ratios compare; times are of that machine at that hour.
//!
//! # A call
//!
//! To the *limit*: one load of a pointer and a call of the very function that a slot calls, with nothing that keeps it loaded. No way that
//! can be switched is faster. `tight` is a loop of calls that don't depend on each other, the hardest case for a pin: the
//! processor overlaps all but the pin's fence. In `dependent` each argument comes from the result before, through some 40 cycles of work: what
//! a service's own code looks like.
//!
//! | to the limit (median of rounds) | tight, 1 thread | tight, 2 threads | dependent, 1 thread | dependent, 2 threads |
//! |---|---|---|---|---|
//! | a slot's call | 1.59 (1.58–1.60) | 1.59 (1.59–1.60) | 1.00 | 1.00 |
//! | a call in an open request of 64 | 1.18 | 1.18 | 1.00 | 1.00 |
//! | a call through a lease | 2.12 | 2.19 | 1.00 | 1.00 |
//! | `arc_swap`'s guard | 2.63 | 2.63 | 1.00 | 1.00 |
//! | `parking_lot::RwLock` | 2.52 | 20.6 | 1.00 | 4.76 |
//! | hot-lib-reloader, to a *slot* | 15 | 83 | 4.7 | 26 |
//! | dynamic_reload, to a *slot* | 14 | 82 | 4.7 | 27 |
//!
//! In parentheses: what eight of ten rounds lay between. The limit was 2.2 ns in the tight loop and 11 ns in the other, a slot's call 3.4 ns and 11 ns, one in
//! an open request 2.6 ns in the tight one (the shortest batches). The limit's own tight loop takes a cycle more or less as the linker places it, so that
//! another build of the same code can print 1.05 where this one prints 1.18.
//!
//! A slot's call takes no lock, allocates nothing, and writes to lines of its own thread alone; a test counts that (`cargo test --release -p midflight-benches`).
//!
//! # What a call carries
//!
//! Lent arguments cost nothing. What comes out and owns memory is rebuilt as the host's own: 32 bytes of text take 41 ns where the plugin alone takes
//! 12, 64 numbers 51 where it takes 23. A [`Sink`](midflight_plugin::Sink) into a buffer of the caller's avoids that.
//!
//! An event of `tracing` in a plugin that no subscriber wants costs a quarter of a nanosecond.
//!
//! # An update
//!
//! | from the rename of a file to the first call on new code | p50 | p99 |
//! |---|---|---|
//! | ours | 1.5 ms | 4.0 ms |
//! | ours with a [preflight](crate::preflight()) | 3.8 ms | 9.7 ms |
//! | its floor: read, hash, copy and open the same file | 0.44 ms | 1.1 ms |
//! | hot-lib-reloader, with its default debounce | 625 ms | |
//! | dynamic_reload, with the debounce of its documentation | 2,500 ms | |
//!
//! While one thread calls and another publishes a thousand times a second, the p99.9 of 1,000 calls is 0.92 of what it is without. Half of all
//! drains were over 0.6 µs after the publication; where more threads want to run than there are cores, a drain waits for the scheduler.
//!
//! # Where it falls short
//!
//! The tight loop of a slot is meant to be at 1.3 of the limit, a call in an open request at 1.1, and a reload at twice its floor, where it is at 3.4. The
//! first is the fence and what waits for it. Of the 1.5 ms of the last, 0.4 are the read and the look at the bytes, 0.4 the image, the mapping and the
//! comparison of layouts; the rest lies before the read and after the switch, in threads that are woken one after the other.
