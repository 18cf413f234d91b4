//! Growth: what the host takes for one plugin, by how many there are.
//!
//! It is CPU time, of the whole process, since waiting is not growth; and the host's own share: the
//! loader's and the kernel's for a bare dlopen, call, dlclose and one look at the maps, at the same
//! number of libraries, are measured beside it and taken off.

pub mod host;
pub mod loader;
pub mod report;

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;

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
