//! Group cells: which release a group's calls enter, and the way out of one that was replaced.
//!
//! # Who owns a release
//! A share (`Arc`) in it is in `owner` while it is current, in [`Retired`] while it drains, and in
//! each lease. `current` owns nothing: it mirrors `owner` for the gate, which could not afford to
//! count.
//!
//! A lease is a share that is taken while pinned. Calls through a lease are pinned no better
//! than the lease holds; what those call from within is pinned as any call is, and in a
//! coroutine it may outlast both. So a release is freed in this order: [`Shares`] are read, no
//! lease is left, no thread is pinned, and `Shares` are what they were. Then nobody is in:
//! - Of a share that the first step counted, the second step sees that it was taken, since it is
//!   counted after that, with Release. So it was seen to be given back, and the scan's fence
//!   acquires what was called under it: who of that is still in, the scan finds.
//! - A share that the first step did not count, the last one counts. It was taken in a call or
//!   beside another share, and counted before that call or share was over, which the scan or the
//!   second step has seen.
//!
//! Without the last step it is wrong: a pinned thread takes its lease behind the look at the
//! leases. So it is with a share that is counted before it is taken: the first step counts it,
//! the second one does not see it yet, and a call that was made under it outlasts it behind the
//! scan.
//!
//! `publish` swaps `owner` before `current`, but either order would do: both releases are owned
//! throughout, the new one by `owner`, the old one by what `publish` returns. What would not do is
//! two publishers: `owner` could be swapped in one order and `current` stored in the other, and the
//! group would be entered through a release that was retired.

use super::pin::{self, GroupNumber, Inside};
use super::sync::{Arc, Count, Mirror, Owner};
use crate::gate::release::Release;
use std::sync::atomic::Ordering::{Acquire, Release as Releasing};

/// One group's current release. Made once per group and kept for as long as the host's `Shared`
/// lives.
pub(crate) struct GroupCell {
    pub(crate) name: Box<str>,
    pub(super) number: GroupNumber,
    pub(super) calls_nested_max: usize,
    pub(super) groups_nested_max: usize,
    /// The release that `owner` owns. INVARIANT: written by `publish` alone, right after `owner`.
    pub(super) current: Mirror<Release>,
    owner: Owner<Release>,
}

impl GroupCell {
    pub(crate) fn new(
        name: &str,
        release: Arc<Release>,
        calls_nested_max: usize,
        groups_nested_max: usize,
    ) -> Self {
        GroupCell {
            name: name.into(),
            number: GroupNumber::next(),
            calls_nested_max: calls_nested_max.min(pin::FRAMES),
            groups_nested_max,
            current: Mirror::new(Arc::as_ptr(&release).cast_mut()),
            owner: Owner::new(release),
        }
    }

    /// The one store that switches a group. From its return on, no call enters the release that it
    /// returns.
    ///
    /// INVARIANT: one caller at a time. The control plane is the only one.
    pub(crate) fn publish(&self, new: Arc<Release>) -> Retired {
        let current = Arc::as_ptr(&new).cast_mut();
        let old = self.owner.swap(new);
        // Release: who enters sees what it was made of. What orders it against the pins is the
        // scan's fence.
        self.current.store(current, Releasing);
        Retired { release: old }
    }

    /// Its own: see [`pin::groups`].
    pub(crate) fn number(&self) -> u64 {
        self.number.number()
    }

    /// The number of the current release, whatever this thread is in.
    pub(crate) fn release(&self) -> u64 {
        self.owner.load().number
    }
}

/// How many shares were ever taken in a release, as leases and by what holds like one.
pub(crate) struct Shares(Count);

impl Shares {
    pub(crate) fn new() -> Self {
        Shares(Count::new(0))
    }

    fn taken(&self) -> usize {
        self.0.load(Acquire)
    }
}

/// One share more.
///
/// # Safety
/// `release` is one of a cell's, and is entered, or held by another share.
pub(super) unsafe fn share(release: &Release) -> Arc<Release> {
    // SAFETY: every release of a cell came out of an `Arc` in `publish` or `new`, or in a release
    // that was published. While it is pinned that `Arc` is alive: in `owner`, in the `Retired` that
    // waits for the pin, in the lease that entered it, or in what leads to it.
    let share = unsafe {
        Arc::increment_strong_count(release);
        Arc::from_raw(release)
    };
    // Not before, and with Release: who finds it counted finds it taken. See above.
    release.shares.0.fetch_add(1, Releasing);
    share
}

/// A release that was replaced: no call enters it any more, and calls and leases may still hold it.
///
/// Dropped, it would take its share away from under calls. It is left by [`look`](Retired::look),
/// or forgotten.
#[must_use = "calls may be inside"]
pub(crate) struct Retired {
    release: Arc<Release>,
}

impl Retired {
    /// Frees the release, if nothing holds it any more. What it led to, calls may still be in: that
    /// is retired with it.
    pub(crate) fn look(self) -> Result<Vec<Retired>, Retired> {
        let taken = self.release.shares.taken();
        // In this order: see above. The scan's fence acquires what was done by the last lease.
        let held = self.leases() > 0 || pin::is_pinned(&self.release);
        if held || self.release.shares.taken() != taken {
            return Err(self);
        }
        let release = Arc::try_unwrap(self.release).map_err(|release| Retired { release })?;
        Ok(release.sides().into_iter().map(|release| Retired { release }).collect())
    }

    pub(crate) fn release(&self) -> &Release {
        &self.release
    }

    /// The threads that are inside of it, for reports.
    pub(crate) fn inside(&self) -> Vec<Inside> {
        pin::inside(&self.release)
    }

    /// Leases on it.
    pub(crate) fn leases(&self) -> usize {
        Arc::strong_count(&self.release) - 1
    }
}
