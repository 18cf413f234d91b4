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
//! | a slot's call | 1.89 (1.4–2.0) | 1.91 (1.4–2.0) | 1.00 | 1.01 |
//! | a call in an open request of 64 | 1.05 | 1.05 | 1.01 | 1.01 |
//! | a call through a lease | 2.18 | 2.24 | 1.01 | 1.01 |
//! | `arc_swap`'s guard | 2.93 | 3.01 | 1.03 | 1.05 |
//! | `parking_lot::RwLock` | 2.03 | 10.2 | 1.00 | 4.3 |
//! | hot-lib-reloader, to a *slot* | 15 | 56 | 7.7 | 27 |
//! | dynamic_reload, to a *slot* | 15 | 52 | 7.4 | 27 |
//!
//! In parentheses: what nine of ten rounds lay between. The limit was 2.5 ns in the tight loop and 11 ns in the other, a slot's call 3.8 ns and 11 ns (the
//! shortest batches). A slot's call takes no lock, allocates nothing, and writes to lines of its own thread alone; a test counts that
//! (`cargo test --release -p midflight-benches`).
//!
//! # What a call carries
//!
//! Lent arguments cost nothing. What comes out and owns memory is rebuilt as the host's own: 32 bytes of text take 49 ns where the plugin alone takes
//! 16, 64 numbers 60 where it takes 28. A [`Sink`](midflight_plugin::Sink) into a buffer of the caller's avoids that.
//!
//! An event of `tracing` in a plugin that no subscriber wants costs half a nanosecond.
//!
//! # An update
//!
//! | from the rename of a file to the first call on new code | p50 | p99 |
//! |---|---|---|
//! | ours | 2.9 ms | 13 ms |
//! | ours with a [preflight](crate::preflight()) (another run, in which ours was at 2.3 and 14) | 7.6 ms | 28 ms |
//! | its floor: read, hash, copy and open the same file | 0.75 ms | 5.8 ms |
//! | hot-lib-reloader, with its default debounce | 625 ms | |
//! | dynamic_reload, with the debounce of its documentation | 2,500 ms | |
//!
//! While one thread calls and another publishes a thousand times a second, the p99.9 of 1,000 calls is 1.09 of what it is without. Half of all
//! drains were over 0.3 µs after the publication; where more threads want to run than there are cores, a drain waits for the scheduler.
//!
//! # Where it falls short
//!
//! The tight loop of a slot is meant to be at 1.3 of the limit, and a reload at twice its floor. The first is the fence and what waits for it. Of the
//! 2.9 ms of the second, 0.7 are the read and the look at the bytes, 0.7 the image, the mapping and the comparison of layouts, 0.2 the start; the rest
//! lies before the read and after the switch, in threads that are woken one after the other.
