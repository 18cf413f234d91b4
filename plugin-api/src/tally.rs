//! How many calls came to nothing, for a version that is tried.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts the calls that panicked or were refused, while somebody wants to know.
///
/// On the way of errors alone, and written there only while it is wanted: an answer costs nothing more, and once a version is committed
/// its errors write no line that threads share.
#[derive(Debug, Default)]
pub struct Tally {
    wanted: AtomicBool,
    panics: AtomicU64,
    errors: AtomicU64,
}

impl Tally {
    /// Begins to count, or ends it. Nobody is told of a call that comes at this very moment.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Relaxed);
    }

    /// Calls that panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Calls that returned an error of the plugin's own.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    pub(crate) fn panicked(&self) {
        self.count(&self.panics);
    }

    pub(crate) fn refused(&self) {
        self.count(&self.errors);
    }

    fn count(&self, what: &AtomicU64) {
        if self.wanted.load(Relaxed) {
            what.fetch_add(1, Relaxed);
        }
    }
}
