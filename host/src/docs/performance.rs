//! What a call costs, what an update costs, and how to see it on a machine of one's own.
//!
//! ```text
//! cargo run --release -p midflight-benches --bin compare            # a table; --json for machines, --plot calls.svg to look at
//! cargo run --release -p midflight-benches --bin compare -- --quick # less than 50 s once it is built
//! .ci/instructions                                                  # instructions a call, by callgrind, against a bound
//! ```
//!
//! `benches/README.md` says what each lane is, and how it is timed. Everything below is from one
//! run of `compare -- --quick` on two cores of an AMD EPYC (Zen 4) in a virtual machine. Ratios
//! compare; times are of that machine at that hour.
//!
//! # A call
//!
//! To the *limit*: one load of a pointer and a call of the very function that a slot calls, with
//! nothing that keeps it loaded. No way that can be switched is faster. `tight` is a loop of calls
//! that don't depend on each other, the hardest case for a pin: the processor overlaps whatever can
//! be overlapped. In `dependent` each argument comes from the result before, through some 40 cycles
//! of work: what a service's own code looks like.
//!
//! | to the limit (median of rounds) | tight, 1 thread | tight, 2 threads | dependent, 1 thread | dependent, 2 threads |
//! |---|---|---|---|---|
//! | a slot's call | 1.01 (1.00–1.02) | 1.03 (1.01–1.06) | 1.00 | 1.00 |
//! | a call in an open request of 64 | 0.94 | 0.94 | 1.00 | 1.00 |
//! | a call through a lease | 1.00 | 1.00 | 1.00 | 1.00 |
//! | `arc_swap`'s guard | 2.33 | 2.34 | 1.00 | 1.00 |
//! | `parking_lot::RwLock` | 2.24 | 17.1 | 1.00 | 4.59 |
//! | hot-lib-reloader, to a *slot* | 21 | 105 | 4.8 | 25 |
//! | dynamic_reload, to a *slot* | 20 | 101 | 4.6 | 25 |
//!
//! In parentheses: what eight of ten rounds lay between. The limit was 2.4 ns in the tight loop and
//! 11 ns in the other.
//!
//! **How much of that is luck:** a tight loop takes a cycle (0.27 ns) more or less as the linker
//! places it, the limit's too. With the limit at 2.17 ns and the slot at 2.71, as other builds of
//! the same code had it, the same comparison says 1.26; a call in a request then says 1.06. Now and
//! then a whole process is slower: a slot's call took a nanosecond more in one of twenty, perhaps
//! by where its stack and the thread's record lie to each other.
//!
//! A slot's call takes no lock, allocates nothing, and writes to lines of its own thread alone; a
//! test counts that (`cargo test --release -p midflight-benches`). It takes 26 instructions more
//! than the limit's.
//!
//! # What a call carries
//!
//! Lent arguments cost nothing. What comes out and owns memory is rebuilt as the host's own: 32
//! bytes of text take 44 ns where the plugin alone takes 12, 64 numbers 54 where it takes 23. A
//! [`Sink`](midflight_plugin::Sink) into a buffer of the caller's avoids that.
//!
//! An event of `tracing` in a plugin that no subscriber wants costs a quarter of a nanosecond.
//!
//! # An update
//!
//! | from the rename of a file to the first call on new code | p50 | p99 |
//! |---|---|---|
//! | ours | 1.2 ms | 6.4 ms |
//! | ours with a [preflight](crate::preflight()) | 2.0 ms | 6.3 ms |
//! | its floor: read, hash, copy and open the same file | 0.56 ms | 1.9 ms |
//! | hot-lib-reloader, with its default debounce | 625 ms | |
//! | dynamic_reload, with the debounce of its documentation | 2,500 ms | |
//!
//! The library has 640 kB. The new file is on the disk before the rename, and the old one is kept
//! open until after: a rename that has to write the one and free the other took half a millisecond
//! more on ext4, whoever watches. The first three lines are of one run of `compare --quick`, 2.1
//! and 3.5 times the floor; medians of other runs were 1.8 to 2.2 and 3.0 to 3.5 times. Beside a
//! busy neighbour each process and thread that hands over to another waits for it, and all three
//! are longer.
//!
//! # What a preflight takes
//!
//! One reload with a preflight, of 1.47 ms, by the kernel's own clock:
//!
//! | | µs | in the floor as well |
//! |---|---|---|
//! | the rename is noticed, the file is looked at and read | 110 | 70 |
//! | it is hashed, searched for a stamp, inspected | 210 | 85 |
//! | from the watcher to the control plane to a worker | 100 | |
//! | what the child inherited is compared with what it would inherit now | 100 | |
//! | the image is made and written | 200 | 200 |
//! | the child is told, and wakes | 110 | |
//! | it opens the image | 120 | |
//! | it compares the contracts | 50 | |
//! | the thread that has opened it ends | 55 | |
//! | it is closed, and the verdict told | 70 | |
//! | the service is woken, and opens the image | 180 | 145 |
//! | it compares the contracts, and starts it | 80 | |
//! | it is published | 80 | |
//!
//! Twice the floor would be 1.0 ms. That is out of reach for as long as the candidate is opened in
//! the service only after it was opened and closed in a child: reading, hashing, writing and two
//! times opening alone take 0.62 ms, a close and two comparisons 0.2 ms more, and six times another
//! thread or process goes on. In the benchmark all of that runs on one processor, since the thread
//! that polls for the new version has the other; nothing of it would run at the same time anyway
//! but for the preparation of the child, which is done before.
//!
//! It was a millisecond more with an image of the child's own beside the service's, a look at all
//! that is mapped before each close, circumstances that were read by new paths for each update, and
//! a child that met its own code for the first time when somebody waited for it.
//!
//! While one thread calls and another publishes a thousand times a second, the p99.9 of 1,000 calls
//! is 0.99 of what it is without. Half of all drains were over 0.4 µs after the publication; where
//! more threads want to run than there are cores, a drain waits for the scheduler.
//!
//! # Many plugins
//!
//! `cargo run --release -p midflight-benches --bin growth` measures the host's own CPU time for
//! what is done about one plugin, with 1 to 1,000 of them: the loader's and the kernel's share,
//! whose lists are as long as there are libraries, is taken off. Medians of five rounds, on a
//! machine on which six other threads wanted its two cores, and with cold caches:
//!
//! | ms of CPU | 10 plugins | 100 | 1,000 | the loader's, at 1,000 |
//! |---|---|---|---|---|
//! | to load one | 1.0 | 0.9 | 1.0 | 0.7 |
//! | to update one, until it is active | 1.4 | 1.3 | 1.4 | 0.6 |
//! | the same with a journal, until it is committed | 1.6 | 1.6 | 1.8 | 0.7 |
//! | to prove that the old version is gone | 0.1 | 0.1 | 0.3 | 3.1 |
//! | to end the host | 5.0 | 45 | 383 | 289 |
//! | to start it by its journal | 16 | 174 | 1,910 | 316 |
//!
//! The loader's share of an unload is mostly one look at the code that is mapped. A call through a
//! host's 256th slot took 1.1 times one through its first (53 instructions, and 41).
//!
//! # What is meant to hold
//!
//! In the tight loop a slot's call at 1.3 of the limit at most and one in an open request at 1.1, a
//! reload at twice its floor, the p99.9 under publishing at 1.1 of quiet. Five runs of three builds
//! had 1.01 to 1.26 on one thread and 1.03 to 1.44 on two, 0.92 to 1.06, 1.6 to 2.1, and 0.95 to
//! 1.14. What is over is put down to a neighbour on the machine or to where the linker put a loop;
//! that was not shown. A reload with a preflight stood at 2.5 to 3.4 of the floor in ten runs, at
//! 4.0 before.
