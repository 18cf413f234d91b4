//! How many calls came to nothing, for a version that is tried.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Counts the calls that panicked or were refused, while somebody wants to know.
///
/// On the way of errors alone, and written there only while it is wanted: an answer costs nothing
/// more, and once a version is committed its errors write no line that threads share.
#[derive(Debug, Default)]
pub struct Tally {
    wanted: AtomicBool,
    panics: AtomicU64,
    errors: AtomicU64,
}

impl Tally {
    /// Begins to count, or ends it. A call that ends at this very moment counts or not.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_is_not_counted() {
        let tally = Tally::default();
        let both = || {
            tally.panicked();
            tally.refused();
            tally.refused();
            (tally.panics(), tally.errors())
        };
        assert_eq!(both(), (0, 0));
        tally.want(true);
        assert_eq!(both(), (1, 2));
        tally.want(false);
        assert_eq!(both(), (1, 2));
    }
}
