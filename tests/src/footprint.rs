//! The footprint: what a process holds of the system's.

use crate::{WITHIN, process};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

/// What this process holds.
#[derive(Debug, Clone, Copy)]
pub struct Footprint {
    /// Lines of `/proc/self/maps`.
    pub mappings: usize,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Resident memory.
    pub resident_kib: u64,
    /// The pthread key that a new one would get.
    pub next_key: u32,
}

impl Footprint {
    /// Once the host's workers have ended: each brings mappings of its own.
    pub fn now() -> Footprint {
        let deadline = Instant::now() + WITHIN;
        while process::threads().iter().any(|name| name.starts_with("midflight-")) {
            assert!(Instant::now() < deadline, "threads that don't end: {:?}", process::threads());
            thread::yield_now();
        }
        Footprint {
            mappings: process::mappings().len(),
            descriptors: process::descriptors(),
            resident_kib: process::resident_kib(),
            next_key: next_key(),
        }
    }

    /// The C library keeps the stacks of threads that have ended: up to 40 MB, which are 20 of those that std asks for. So more end here.
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

#[expect(unsafe_code, reason = "keys have no safe face")]
fn next_key() -> u32 {
    let mut key = 0;
    // SAFETY: a place to write to; no value is ever set.
    unsafe {
        assert_eq!(libc::pthread_key_create(&mut key, None), 0, "a key is left");
        libc::pthread_key_delete(key);
    }
    key
}
