//! Two releases that take turns: what the benchmarks swap, a thousand times a second.
//!
//! An update makes a generation, and that costs a thousand times what its publication does; through
//! the control plane nothing but updates can be had. What callers feel of a publication alone is
//! measured with this: the same cell, the same store, the same pins and the same scan, of two
//! releases that were really prepared and that leases hold.
//!
//! It is no part of the public API: it is made by an `unsafe fn` alone, which names the rule that
//! safe code could break.

use super::cell::GroupCell;
use super::slot::{Lease, Slot};
use super::{Fixed, Keep, Link, SlotGate, pin};
use crate::gate::release::Release;
use midflight_plugin::Contract;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

/// Two releases of one host, and a group of its own that they serve in turn.
///
/// Not for services: no control plane sees what is published here. Safe code can't make one:
/// ```compile_fail,E0133
/// fn turns(first: &midflight::Lease, second: &midflight::Lease) -> midflight::bench::Turns {
///     midflight::bench::Turns::new(first, second)
/// }
/// ```
/// ```
/// unsafe fn turns(first: &midflight::Lease, second: &midflight::Lease) -> midflight::bench::Turns {
///     unsafe { midflight::bench::Turns::new(first, second) }
/// }
/// ```
pub struct Turns {
    fixed: Arc<Fixed>,
    host: Link,
    /// Which of the two serves.
    serves: usize,
}

impl Turns {
    /// The releases of two leases of one host. They stay loaded for as long as this and its slots
    /// live.
    ///
    /// # Safety
    /// For measurements alone. A generation answers through its slots after the host has retired
    /// it, beside the one that serves: hand-overs of states and hooks around a switch, whose
    /// soundness a plugin may rest on being the only one that serves, know nothing of it.
    ///
    /// # Panics
    /// The leases are of two hosts.
    pub unsafe fn new(first: &Lease, second: &Lease) -> Self {
        assert!(first.link.is_beside(&second.link), "two hosts");
        let releases = [&first.release, &second.release].map(Arc::clone);
        let cell = GroupCell::new("", Arc::clone(&releases[0]), pin::FRAMES, pin::FRAMES);
        let fixed = Arc::new(Fixed { cell, releases: releases.into() });
        Turns { fixed, host: first.link.clone(), serves: 0 }
    }

    /// `slot`, as bound by whichever of the two serves; `None` if they don't both bind it, or if it
    /// is a slot of no host or of another, whose index means another contract here.
    pub fn slot<C: Contract + ?Sized>(&self, slot: &Slot<C>) -> Option<Slot<C>> {
        // Not left to `find`, which answers for a fixed slot out of that slot's own release.
        if !slot.gate.link.is_beside(&self.host) {
            return None;
        }
        let releases: &[Arc<Release>] = &self.fixed.releases;
        if !releases.iter().all(|release| slot.gate.find(&self.host, release).is_some()) {
            return None;
        }
        let cell = AtomicPtr::new(std::ptr::from_ref(&self.fixed.cell).cast_mut());
        let link = Link { keep: Keep::Fixed(Arc::clone(&self.fixed)), cell };
        // SAFETY: the slot's own index, which means `C` in every release of its host. It is a slot
        // of `self.host`, as was compared above, and both releases are that host's, as `new` has
        // seen.
        Some(unsafe { Slot::through(SlotGate { link, target: slot.gate.target.clone() }) })
    }

    /// Publishes the other one.
    pub fn publish(&mut self) {
        self.serves = 1 - self.serves;
        // What it replaces is kept here, and so may be let go of at once.
        drop(self.fixed.cell.publish(Arc::clone(&self.fixed.releases[self.serves])));
    }

    /// No call is inside of the one that does not serve.
    pub fn drained(&self) -> bool {
        !pin::is_pinned(&self.fixed.releases[1 - self.serves])
    }
}
