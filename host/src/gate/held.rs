//! What a call leaves with its caller holds its release: futures and objects of a plugin's.
//!
//! A call's pin ends with the call, a lease is the caller's to take. What a plugin hands out has
//! code and memory of the plugin's for as long as it lives, so it brings its own share in the
//! release along, and whatever it runs there, its drop above all, it runs with that release as the
//! one that calls from inside of it get.

use super::cell::{self, GroupCell};
use super::pin::{self, Call};
use super::ways::Settled;
use super::{Keep, LeaseGate, Link, RequestGate, SlotGate};
use crate::gate::release::Release;
use crate::holds;
use midflight_plugin::Fault;
use midflight_plugin::rt::{Begun, Bound, Gate, Hold, Holding};
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Poll;

/// A share in a release, and what of it is held.
pub struct Held {
    /// INVARIANT: in `release`.
    bound: NonNull<Bound>,
    release: Arc<Release>,
    /// INVARIANT: the group of `release`; kept by `keep`.
    cell: NonNull<GroupCell>,
    call: Call,
    keep: Keep,
    _hold: holds::Hold,
}

// SAFETY: it points to what it owns shares of, which threads share anyway.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// # Safety
    /// `bound` is in `release`.
    unsafe fn new(
        bound: &Bound,
        release: Arc<Release>,
        cell: &GroupCell,
        keep: &Keep,
        call: Call,
        at: &'static Location<'static>,
    ) -> Self {
        let _hold = holds::Hold::at(&release.holds, "answer", at);
        Held { bound: bound.into(), release, cell: cell.into(), call, keep: keep.clone(), _hold }
    }

    fn cell(&self) -> &GroupCell {
        // SAFETY: by the invariant.
        unsafe { self.cell.as_ref() }
    }
}

// SAFETY: by the invariant of `bound`; what it points to is the release's, as for `SlotGate`.
unsafe impl Hold for Held {
    fn bound(&self) -> &Bound {
        // SAFETY: by the invariant.
        unsafe { self.bound.as_ref() }
    }

    fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        pin::enter_surely(self.cell(), &self.release, self.call, f)
    }

    fn enter<R, E: From<Fault>>(&self, f: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        pin::enter_held(self.cell(), &self.release, self.call, f)
    }

    fn lost(&self, fault: Fault) {
        if let Keep::Host(home) = &self.keep {
            home.lost(fault);
        }
    }
}

// SAFETY: as for its `Gate`; the share in the release is taken while that is pinned.
unsafe impl Holding for SlotGate {
    type Held = Held;

    #[track_caller]
    fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Held), E> {
        let at = Location::caller();
        let mut f = Some(f);
        self.reach(self.link.cell(), method, |cell, release| {
            self.held_in(cell, release, method, at, &mut f)
        })
    }

    #[track_caller]
    fn begin<'l, R, F>(&self, method: u16, f: F) -> Begun<'l, R, Held>
    where
        R: 'l,
        F: FnOnce(&Bound) -> Result<R, Fault> + Send + 'l,
    {
        let at = Location::caller();
        let mut f = Some(f);
        let mut begin = move |gate: &SlotGate| {
            let mut held = |cell: &GroupCell, release: &Release| {
                gate.held_in(cell, release, method, at, &mut f)
            };
            match gate.try_reach(gate.link.cell(), method, &mut held) {
                Ok(Settled::In(begun)) => Ok(Ok(begun)),
                Ok(Settled::Shut(door)) => Err(door),
                Err(fault) => Ok(Err(fault)),
            }
        };
        let mut door = match begin(self) {
            Ok(begun) => return Begun::Now(begun),
            Err(door) => door,
        };
        let (gate, mut place) = (self.clone(), None);
        Begun::Later(Box::new(move |waker| {
            while door.is_open(&mut place, waker) {
                match begin(&gate) {
                    Ok(begun) => return Poll::Ready(begun),
                    // Shut again meanwhile.
                    Err(next) => (door, place) = (next, None),
                }
            }
            Poll::Pending
        }))
    }
}

impl SlotGate {
    /// Runs `f` on what serves in `release`, which is entered, with a share in that; `None` where
    /// nothing does.
    fn held_in<R, E: From<Fault>>(
        &self,
        cell: &GroupCell,
        release: &Release,
        method: u16,
        at: &'static Location<'static>,
        f: &mut Option<impl FnOnce(&Bound) -> Result<R, E>>,
    ) -> Result<Option<(R, Held)>, E> {
        let Some(bound) = release.serving(self.target.index) else { return Ok(None) };
        let call = self.target.call.of(method);
        // SAFETY: pinned; and the bound is in it.
        let held =
            unsafe { Held::new(bound, cell::share(release), cell, &self.link.keep, call, at) };
        f.take().map(|f| run(f, held)).transpose()
    }
}

fn run<R, E>(f: impl FnOnce(&Bound) -> Result<R, E>, held: Held) -> Result<(R, Held), E> {
    f(held.bound()).map(|answer| (answer, held))
}

// SAFETY: as for its `Gate`; the request's pin is held.
unsafe impl Holding for RequestGate<'_> {
    type Held = Held;

    #[track_caller]
    fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Held), E> {
        // SAFETY: pinned for as long as this gate lives.
        let held = unsafe { self.slot.share(self.bound, self.release, self.link, method) }?;
        self.enter(method, |_| run(f, held))
    }
}

// SAFETY: as for its `Gate`; the lease holds.
unsafe impl Holding for LeaseGate<'_> {
    type Held = Held;

    #[track_caller]
    fn hold<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<(R, Held), E> {
        // SAFETY: the lease has a share in it for as long as this gate lives.
        let held = unsafe { self.slot.share(self.bound, self.release, self.link, method) }?;
        self.enter(method, |_| run(f, held))
    }
}

impl SlotGate {
    /// A share for what `find` has found in `release`, which `link` entered: or in the release of
    /// this slot's own, if it is fixed.
    ///
    /// # Safety
    /// `release` is held, and `bound` is what `find` gave for it.
    #[track_caller]
    unsafe fn share(
        &self,
        bound: Option<&Bound>,
        release: &Release,
        link: &Link,
        method: u16,
    ) -> Result<Held, Fault> {
        let timed = || Some(self.timed(link, release)?.0);
        let bound = bound.or_else(timed).ok_or_else(|| self.absent(link.cell()))?;
        let call = self.target.call.of(method);
        let (release, link) = match &self.link.keep {
            Keep::Fixed(fixed) => (Arc::clone(&fixed.releases[0]), &self.link),
            // SAFETY: the caller's.
            Keep::Host(_) => (unsafe { cell::share(release) }, link),
        };
        // SAFETY: `find` looks there.
        Ok(unsafe { Held::new(bound, release, link.cell(), &link.keep, call, Location::caller()) })
    }
}
