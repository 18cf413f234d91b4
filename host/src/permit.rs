//! Permits: what a worker must take before it writes into a plugin's instance, and what whoever
//! gives the worker up takes away first.
//!
//! A worker runs code of plugins, which may take for ever, and it can't be stopped. So its answer
//! comes when it comes, and what it would change may serve by then. All that it does before goes
//! into places of its own; the one step that changes an instance asks for the permit.
//!
//! | | the worker | who gives it up |
//! |---|---|---|
//! | `GIVEN` | saves; is told that it is wanted | `revoke`: `REVOKED` |
//! | `RESTORING` | restores into a place of its own | `revoke`: `REVOKED` |
//! | `TAKEN` | installs: a swap of two values, under locks that it has | comes too late by as long as that takes |
//! | `REVOKED` | changes nothing any more, and ends | – |

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::time::Instant;

/// One hand-over's.
#[derive(Default)]
pub(crate) struct Permit {
    state: AtomicU8,
    /// The worker has found the state held by a guard when it last asked whether it is wanted.
    is_held: AtomicBool,
    until: Option<Instant>,
}

const GIVEN: u8 = 0;
const RESTORING: u8 = 1;
const TAKEN: u8 = 2;
const REVOKED: u8 = 3;

impl Permit {
    /// One for who has nothing to install and waits for nobody beyond that time.
    pub(crate) fn until(time: Instant) -> Self {
        Permit { until: Some(time), ..Permit::default() }
    }

    /// The worker's: everything is saved.
    pub(crate) fn restore(&self) -> bool {
        self.step(GIVEN, RESTORING) || self.state.load(Acquire) == RESTORING
    }

    /// The worker's: may it install what it has restored?
    pub(crate) fn take(&self) -> bool {
        self.step(RESTORING, TAKEN)
    }

    /// Is the worker's answer waited for?
    pub(crate) fn is_wanted(&self) -> bool {
        self.state.load(Acquire) != REVOKED && self.until.is_none_or(|until| Instant::now() < until)
    }

    /// As `is_wanted`, asked by who waits for a guard of the state to be given back.
    pub(crate) fn is_wanted_by_who_waits(&self) -> bool {
        self.is_held.store(true, Relaxed);
        self.is_wanted()
    }

    /// A guard of the state kept the worker waiting, when last heard of.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Relaxed)
    }

    /// The wait is over.
    pub(crate) fn at_hand(&self) {
        self.is_held.store(false, Relaxed);
    }

    pub(crate) fn is_restoring(&self) -> bool {
        self.state.load(Acquire) == RESTORING
    }

    /// Nothing is installed under it any more. False: that has begun, and ends at once.
    pub(crate) fn revoke(&self) -> bool {
        self.step(GIVEN, REVOKED)
            || self.step(RESTORING, REVOKED)
            || self.state.load(Acquire) == REVOKED
    }

    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Permit;

    #[test]
    fn a_permit_is_taken_or_revoked_and_never_both() {
        let permit = Permit::default();
        assert!(!permit.take(), "nothing was restored");
        assert!(permit.restore() && permit.is_restoring() && permit.take());
        assert!(!permit.revoke(), "too late");
        assert!(!permit.take(), "once");

        for steps in [0, 1] {
            let permit = Permit::default();
            (0..steps).for_each(|_| assert!(permit.restore()));
            assert!(permit.is_wanted() && permit.revoke());
            assert!(!permit.is_wanted() && !permit.restore() && !permit.take());
            assert!(permit.revoke(), "again");
        }
    }
}
