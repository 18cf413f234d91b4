//! The footprint: what a process holds of the system's.

use crate::{WITHIN, process};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

/// What this process holds.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Lines of `/proc/self/maps`; under AddressSanitizer, which maps as it allocates and keeps
    /// what was freed, those of files.
    pub mappings: usize,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Resident memory.
    pub resident_kib: u64,
    /// Pthread keys that are in use, whatever their numbers.
    pub keys: u32,
}

impl Footprint {
    /// Once the host's workers have ended: each brings mappings of its own.
    pub fn now() -> Footprint {
        let deadline = Instant::now() + WITHIN;
        while process::threads().iter().any(|name| name.starts_with("midflight-")) {
            assert!(Instant::now() < deadline, "threads that don't end: {:?}", process::threads());
            thread::yield_now();
        }
        let mut mappings = process::mappings();
        if process::has_address_sanitizer() {
            mappings.retain(|line| line.contains('/'));
        }
        Footprint {
            mappings: mappings.len(),
            descriptors: process::descriptors(),
            resident_kib: process::resident_kib(),
            keys: keys(),
        }
    }

    /// The C library keeps the stacks of threads that have ended: up to 40 MB, which are 20 of
    /// those that std asks for. So more end here.
    pub fn settle() {
        const THREADS: usize = 24;
        let all_are_there = Arc::new(Barrier::new(THREADS));
        let wait = |_| {
            let all_are_there = Arc::clone(&all_are_there);
            thread::spawn(move || all_are_there.wait())
        };
        let threads: Vec<_> = (0..THREADS).map(wait).collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

/// New keys get the lowest numbers that are free: the numbers that enough of them leave out are in
/// use. Their order says nothing, since a generation makes its keys while the one before it still
/// has its own.
#[expect(unsafe_code, reason = "keys have no safe face")]
fn keys() -> u32 {
    const ENOUGH: u32 = 64;
    let make = |_| {
        let mut key = 0;
        // SAFETY: a place to write to.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, None) }, 0, "a key is left");
        key
    };
    let made: Vec<u32> = (0..ENOUGH).map(make).collect();
    for key in &made {
        // SAFETY: made above; no value was ever set.
        unsafe { libc::pthread_key_delete(*key) };
    }
    made.into_iter().max().unwrap_or(0) + 1 - ENOUGH
}
