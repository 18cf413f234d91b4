//! Growth: what the host takes for one plugin, by how many there are.
//!
//! It is CPU time, of the whole process, since waiting is not growth; and the host's own share: the
//! loader's and the kernel's for a bare dlopen, call, dlclose, one look at the maps and the starts
//! of threads, at the same number of libraries, are measured beside it and taken off.

pub mod host;
pub mod loader;
pub mod report;

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Of how many of one kind the median is taken.
pub const LAST: usize = 20;

/// Microseconds, or nanoseconds a call, by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// What this process has run since.
pub struct Clock(f64);

impl Clock {
    /// From now on.
    pub fn process() -> Self {
        Clock(process_us())
    }

    /// Microseconds, on all threads together.
    pub fn us(&self) -> f64 {
        process_us() - self.0
    }
}

fn process_us() -> f64 {
    let ran = clock_gettime(ClockId::ProcessCPUTime);
    ran.tv_sec as f64 * 1e6 + ran.tv_nsec as f64 / 1e3
}

/// One look at the process's mappings, for a library that is not there.
fn look(file: &Path) -> f64 {
    let clock = Clock::process();
    let maps = fs::read("/proc/self/maps").expect("the maps");
    let path = file.as_os_str().as_encoded_bytes();
    // Most bytes are not its first.
    let mut rest = &maps[..];
    let mut found = false;
    while let Some(at) = rest.iter().position(|byte| *byte == b'/') {
        found |= rest[at..].starts_with(path);
        rest = &rest[at + 1..];
    }
    assert!(!found, "it is not there");
    clock.us()
}
