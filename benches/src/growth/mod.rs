//! Growth: what the host takes for one plugin, by how many there are.
//!
//! It is CPU time, of the whole process, since waiting is not growth; and the host's own share:
//! what is the loader's and the kernel's for a bare dlopen, call, dlclose, one look at the mappings
//! and the starts of threads is measured beside it, turn by turn, and taken off.

pub mod bare;
pub mod host;
pub mod loader;
pub mod report;

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;

/// Of how many of one kind the median is taken.
pub const LAST: usize = 20;

/// Microseconds, or nanoseconds a call, by name.
pub type Figures = BTreeMap<String, f64>;

/// What has run since.
pub struct Clock(ClockId, f64);

impl Clock {
    /// On all threads of this process together.
    pub fn process() -> Self {
        Clock(ClockId::ProcessCPUTime, us(ClockId::ProcessCPUTime))
    }

    /// On this thread.
    pub fn thread() -> Self {
        Clock(ClockId::ThreadCPUTime, us(ClockId::ThreadCPUTime))
    }

    /// Microseconds.
    pub fn us(&self) -> f64 {
        us(self.0) - self.1
    }
}

fn us(clock: ClockId) -> f64 {
    let ran = clock_gettime(clock);
    ran.tv_sec as f64 * 1e6 + ran.tv_nsec as f64 / 1e3
}

fn median(all: &[f64]) -> f64 {
    crate::rounds::quantile(all, 0.5).unwrap_or(f64::NAN)
}

/// What the share is called that is not the host's, of what is called `name`.
pub fn beside(name: &str) -> String {
    format!("{name}_beside")
}
