//! The gate: the way from a handle of the host's to the function of the plugin that serves it at this moment.
//!
//! A slot can't hold its plugin's table, which will be replaced and unmapped. It holds its group; a call pins the
//! group's current release ([`pin`]), finds the table there, and calls. A request pins once for many calls, a lease
//! holds a release for as long as it lives.
#![allow(unsafe_code, reason = "one of the five places: pins hand out references to releases")]

pub(crate) mod pin;
pub(crate) mod slot;
pub(crate) mod turns;

use crate::control::Command;
use crate::refusal::Refusal;
use crate::release::{Known, Release, Wanted};
use crate::shared::Shared;
use arc_swap::ArcSwap;
use midflight_plugin::rt::{Bound, Gate};
use midflight_plugin::{Contract, Fault};
use slot::Slot;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release as Releasing, SeqCst};
use std::sync::atomic::{AtomicPtr, fence};

/// One group's current release. Made once per group and kept for as long as the host's [`Shared`] lives.
pub(crate) struct GroupCell {
    pub(crate) name: Box<str>,
    calls_nested_max: usize,
    groups_nested_max: usize,
    /// The release that `owner` owns. INVARIANT: written by `publish` alone, right after `owner`.
    current: AtomicPtr<Release>,
    owner: ArcSwap<Release>,
}

impl GroupCell {
    /// In its place for good: releases point to it.
    pub(crate) fn new(name: &str, calls_nested_max: usize, groups_nested_max: usize) -> Arc<Self> {
        let vacant = Arc::new(Release::vacant());
        let cell = Arc::new(GroupCell {
            name: name.into(),
            calls_nested_max: calls_nested_max.min(pin::FRAMES),
            groups_nested_max,
            current: AtomicPtr::new(Arc::as_ptr(&vacant).cast_mut()),
            owner: ArcSwap::new(Arc::clone(&vacant)),
        });
        vacant.group.store(Arc::as_ptr(&cell).cast_mut(), Relaxed);
        cell
    }

    /// The one store that switches a group. From its return on, no call enters the release that it returns.
    /// The control plane alone calls it.
    pub(crate) fn publish(&self, new: Arc<Release>) -> Arc<Release> {
        new.group.store(std::ptr::from_ref(self).cast_mut(), Relaxed);
        let current = Arc::as_ptr(&new).cast_mut();
        let old = self.owner.swap(new);
        self.current.store(current, Releasing);
        fence(SeqCst);
        old
    }

    /// Runs `f` on the release that this thread is in, or on the current one, pinned.
    #[inline(always)]
    pub(crate) fn enter<R, E: From<Fault>>(&self, f: impl FnOnce(&Release) -> Result<R, E>) -> Result<R, E> {
        pin::enter(self, f)?
    }

    /// A share in the release that a call would run on now.
    pub(crate) fn lease(&self) -> Result<Arc<Release>, Fault> {
        self.enter(|release| {
            // SAFETY: every release that is entered came out of an `Arc` in `publish` or `new`. While it is pinned that
            // `Arc` is alive: in `owner`, with the control plane that waits for this pin, or with the lease that
            // entered it.
            unsafe {
                Arc::increment_strong_count(release);
                Ok(Arc::from_raw(release))
            }
        })
    }

    /// The number of the current release, whatever this thread is in.
    pub(crate) fn release(&self) -> u64 {
        self.owner.load().number
    }
}

/// A slot for the contract `C` of `plugin`: the control plane checks what serves, and gives the index.
pub(crate) fn slot<C: Contract + ?Sized>(shared: &Arc<Shared>, plugin: &str) -> Result<Slot<C>, Refusal> {
    let wanted = Wanted { plugin: plugin.into(), contract: Known::of::<C>() };
    let index = shared.ask(|reply| Command::Slot { wanted, reply })??;
    let link = Link::new(Arc::clone(shared), shared.group_of(plugin).as_ref());
    // SAFETY: the index is the answer to `wanted`, which was made of `C` and `plugin`.
    Ok(unsafe { Slot::new(link, plugin, index) })
}

/// Where a handle finds its group: at first perhaps nowhere, since its plugin need not exist yet.
pub(crate) struct Link {
    keep: Keep,
    /// INVARIANT: a cell that `keep` keeps.
    cell: AtomicPtr<GroupCell>,
}

#[derive(Clone)]
enum Keep {
    Host(Arc<Shared>),
    Fixed(Arc<Fixed>),
}

/// A group without a control plane: of one object that is linked in, or of releases that take turns.
struct Fixed {
    cell: Arc<GroupCell>,
    /// INVARIANT: not empty; `cell` publishes no other.
    releases: Box<[Arc<Release>]>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, cell: Option<&Arc<GroupCell>>) -> Self {
        let cell = Arc::as_ptr(cell.unwrap_or(&shared.vacant)).cast_mut();
        Link { keep: Keep::Host(shared), cell: AtomicPtr::new(cell) }
    }

    fn fixed(release: Release) -> Self {
        let cell = GroupCell::new("", pin::FRAMES, pin::FRAMES);
        let release = Arc::new(release);
        cell.publish(Arc::clone(&release));
        let fixed = Arc::new(Fixed { cell, releases: [release].into() });
        let cell = AtomicPtr::new(Arc::as_ptr(&fixed.cell).cast_mut());
        Link { keep: Keep::Fixed(fixed), cell }
    }

    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        match &self.keep {
            Keep::Host(shared) => Some(shared),
            Keep::Fixed(_) => None,
        }
    }

    /// Its group did not exist when it was last looked up.
    fn is_vacant(&self) -> bool {
        self.shared().is_some_and(|shared| std::ptr::eq(self.cell(), &*shared.vacant))
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> &GroupCell {
        // SAFETY: by the invariant, and `self` holds `keep`.
        unsafe { &*self.cell.load(Acquire) }
    }

    /// Looks the group up again: true if it is another one than before.
    #[cold]
    pub(crate) fn resolve(&self, find: impl FnOnce(&Shared) -> Option<Arc<GroupCell>>) -> bool {
        let Some(found) = self.shared().and_then(|shared| find(shared)) else {
            return false;
        };
        let found = Arc::as_ptr(&found).cast_mut();
        self.cell.swap(found, SeqCst) != found
    }
}

impl Clone for Link {
    fn clone(&self) -> Self {
        Link { keep: self.keep.clone(), cell: AtomicPtr::new(self.cell.load(Acquire)) }
    }
}

/// Which plugin and contract a slot stands for. `index` is the same in every release of the host.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) plugin: Arc<str>,
    pub(crate) index: usize,
}

/// The gate of a slot: one pin for each call.
#[derive(Clone)]
pub struct SlotGate {
    pub(crate) link: Link,
    pub(crate) target: Target,
}

// SAFETY: a release binds an index to a table only after that table's layout was checked against the contract that the
// index stands for, and keeps its generation loaded; the pin keeps the release.
unsafe impl Gate for SlotGate {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(&self, _method: u16, f: impl FnOnce(&Bound) -> Result<R, E>) -> Result<R, E> {
        let cell = self.link.cell();
        // Loaded before the pin's fence, which every load after it waits for.
        let index = self.target.index;
        let entered = pin::enter(cell, |release| match release.bound(index) {
            Some(bound) => Ok(f(bound)),
            None => Err(f),
        });
        match entered {
            Ok(Ok(result)) => result,
            Ok(Err(f)) => self.late(cell, f),
            Err(fault) => Err(fault.into()),
        }
    }
}

impl SlotGate {
    /// Why `entered` binds nothing to this slot.
    #[cold]
    fn absent(&self, entered: &GroupCell) -> Fault {
        let plugin = Box::from(&*self.target.plugin);
        let own = self.link.shared().and_then(|shared| shared.group_of(&self.target.plugin));
        match own {
            Some(own) if !std::ptr::eq(&*own, entered) => {
                Fault::WrongGroup { plugin, group: entered.name.clone() }
            }
            _ => Fault::NotLoaded { plugin },
        }
    }

    /// The plugin was not there. It may have come since this handle was made.
    #[cold]
    #[inline(never)]
    fn late<R, E: From<Fault>>(
        &self,
        entered: &GroupCell,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        let plugin = &self.target.plugin;
        let moved = self.link.resolve(|shared| shared.group_of(plugin));
        if !moved && std::ptr::eq(self.link.cell(), entered) {
            return Err(self.absent(entered).into());
        }
        let cell = self.link.cell();
        cell.enter(|release| match release.bound(self.target.index) {
            Some(bound) => f(bound),
            None => Err(self.absent(cell).into()),
        })
    }
}

impl SlotGate {
    /// What serves the slot in a release that is held for 'r. An index means something within its own host alone, so a slot of
    /// another host finds nothing.
    fn find<'r>(&'r self, link: &Link, release: &'r Release) -> Option<&'r Bound> {
        match (&self.link.keep, &link.keep) {
            (Keep::Fixed(fixed), _) => fixed.releases[0].bound(self.target.index),
            (Keep::Host(own), Keep::Host(other)) if Arc::ptr_eq(own, other) => {
                release.bound(self.target.index)
            }
            _ => None,
        }
    }
}

/// The gate of a slot inside of a request: the request's pin serves for all.
pub struct RequestGate<'r> {
    slot: &'r SlotGate,
    cell: &'r GroupCell,
    bound: Option<&'r Bound>,
    /// Neither Send nor Sync: the pin is this thread's.
    here: PhantomData<*const ()>,
}

// SAFETY: as for `SlotGate`; the pin is the request's, whose closure 'r can't leave.
unsafe impl Gate for RequestGate<'_> {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(&self, _method: u16, f: impl FnOnce(&Bound) -> Result<R, E>) -> Result<R, E> {
        match self.bound {
            Some(bound) => f(bound),
            None => Err(self.slot.absent(self.cell).into()),
        }
    }
}

/// The gate of a slot through a lease: nested calls of the same thread into the group get the lease's release.
pub struct LeaseGate<'l> {
    slot: &'l SlotGate,
    cell: &'l GroupCell,
    release: &'l Release,
    bound: Option<&'l Bound>,
}

// SAFETY: as for `SlotGate`; the lease owns a share in the release for 'l.
unsafe impl Gate for LeaseGate<'_> {
    #[inline]
    fn enter<R, E: From<Fault>>(&self, _method: u16, f: impl FnOnce(&Bound) -> Result<R, E>) -> Result<R, E> {
        match self.bound {
            Some(bound) => pin::enter_held(self.cell, self.release, || f(bound)),
            None => Err(self.slot.absent(self.cell).into()),
        }
    }
}
