//! The gate: the way from a handle of the host's to the function of the plugin that serves it at
//! this moment.
//!
//! A slot can't hold its plugin's table, which will be replaced and unmapped. It holds its group; a
//! call pins the group's current release ([`pin`]), finds the table there, and calls. A request
//! pins once for many calls, a lease holds a release for as long as it lives.
#![allow(unsafe_code, reason = "one of the five places: pins hand out references to releases")]

pub(crate) mod cell;
pub(crate) mod door;
pub(crate) mod held;
pub(crate) mod pin;
pub(crate) mod release;
pub(crate) mod slot;
mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod turns;
pub(crate) mod ways;

use crate::contracts::{Known, Wanted};
use crate::gate::release::Release;
use crate::meter::Meter;
use crate::refusal::Refusal;
use cell::GroupCell;
use midflight_plugin::rt::{Bound, Gate};
use midflight_plugin::{Absent, Contract, Fault};
use pin::Call;
use slot::Slot;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use ways::{Fork, Settled};

// What a host allows unless it is told otherwise is what there is room for.
const _: () = assert!(crate::settings::CALLS_NESTED_MAX == pin::FRAMES);

/// Makes the key by which the gate hears of a thread's end, if that is still to be done.
///
/// # Errors
/// The process has none left.
pub(crate) fn make_key() -> std::io::Result<()> {
    sync::make_key(pin::ended)
}

/// The host of a handle, as a call that finds nothing asks it.
pub(crate) trait Home: Send + Sync {
    /// The group of plugins that are not there: it never gets a release.
    fn vacant(&self) -> &Arc<GroupCell>;
    fn group(&self, name: &str) -> Option<Arc<GroupCell>>;
    /// The group of a plugin that was active at least once.
    fn group_of(&self, plugin: &str) -> Option<Arc<GroupCell>>;
    /// What stands for `plugin` where it is not loaded.
    fn absent(&self, plugin: &str) -> Absent;
    /// The index by which every release of this host answers what is wanted.
    fn index_of(&self, wanted: Wanted) -> Result<usize, Refusal>;
    /// Is told of a panic that no call of anybody's brings.
    fn lost(&self, fault: Fault);
}

/// A slot for the contract `C` of `plugin`: the control plane checks what serves, and gives the
/// index.
pub(crate) fn slot<C: Contract + ?Sized>(
    home: Arc<dyn Home>,
    plugin: &str,
) -> Result<Slot<C>, Refusal> {
    let index = home.index_of(Wanted { plugin: plugin.into(), contract: Known::of::<C>() })?;
    let cell = home.group_of(plugin);
    let link = Link::new(home, cell.as_ref());
    // SAFETY: the index is the answer to what was made of `C` and `plugin`.
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
    Host(Arc<dyn Home>),
    Fixed(Arc<Fixed>),
}

/// A group without a control plane: of one object that is linked in, or of releases that take
/// turns.
struct Fixed {
    cell: GroupCell,
    /// INVARIANT: not empty; `cell` publishes no other.
    releases: Box<[Arc<Release>]>,
}

impl Link {
    pub(crate) fn new(home: Arc<dyn Home>, cell: Option<&Arc<GroupCell>>) -> Self {
        let cell = Arc::as_ptr(cell.unwrap_or(home.vacant())).cast_mut();
        Link { keep: Keep::Host(home), cell: AtomicPtr::new(cell) }
    }

    fn fixed(release: Release) -> Self {
        let release = Arc::new(release);
        let cell = GroupCell::new("", Arc::clone(&release), pin::FRAMES, pin::FRAMES);
        let fixed = Arc::new(Fixed { cell, releases: [release].into() });
        let cell = AtomicPtr::new(std::ptr::from_ref(&fixed.cell).cast_mut());
        Link { keep: Keep::Fixed(fixed), cell }
    }

    pub(crate) fn home(&self) -> Option<&dyn Home> {
        match &self.keep {
            Keep::Host(home) => Some(&**home),
            Keep::Fixed(_) => None,
        }
    }

    /// Both are handles of one host.
    fn is_beside(&self, other: &Link) -> bool {
        match (self.home(), other.home()) {
            (Some(own), Some(other)) => std::ptr::addr_eq(own, other),
            _ => false,
        }
    }

    /// Its group did not exist when it was last looked up.
    fn is_vacant(&self) -> bool {
        self.home().is_some_and(|home| std::ptr::eq(self.cell(), &**home.vacant()))
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> &GroupCell {
        // SAFETY: by the invariant, and `self` holds `keep`.
        unsafe { &*self.cell.load(Acquire) }
    }

    /// Looks the group up again: true if it is another one than before.
    #[cold]
    pub(crate) fn resolve(&self, find: impl FnOnce(&dyn Home) -> Option<Arc<GroupCell>>) -> bool {
        let Some(found) = self.home().and_then(find) else {
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
    /// Where a call looks first.
    entry: u8,
    /// Its first method.
    call: Call,
}

impl Target {
    fn new(plugin: &str, index: usize) -> Self {
        Target { plugin: plugin.into(), index, entry: release::near(index), call: Call::new(index) }
    }
}

/// The gate of a slot: one pin for each call.
#[derive(Clone)]
pub struct SlotGate {
    pub(crate) link: Link,
    pub(crate) target: Target,
}

// SAFETY: a release binds an index to a table only after that table's layout was checked against
// the contract that the index stands for, and keeps its generation loaded; the pin keeps the
// release.
unsafe impl Gate for SlotGate {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        let cell = self.link.cell();
        // Loaded before the pin's exchange, which every load after it waits for.
        let entry = self.target.entry;
        if let Some(entered) = pin::enter_plainly(cell, self.target.call.of(method)) {
            let release = entered.release();
            let mut bound = release.entry(entry);
            if bound.table.is_null() {
                // Aside, and in the same pin: a slot that has no entry of its own there.
                std::hint::cold_path();
                bound = release.far(self.target.index);
                if bound.table.is_null() {
                    drop(entered);
                    return self.late(cell, method, f);
                }
            }
            if !pin::in_registers::<R>() {
                return f(bound);
            }
            let answer = f(bound);
            return entered.leave(answer);
        }
        self.late(cell, method, f)
    }
}

/// With what is loaded instead, as far as there is a host to tell.
#[cold]
fn not_loaded(name: &str, home: Option<&dyn Home>) -> Fault {
    let absent = home.map(|home| home.absent(name));
    Fault::NotLoaded { plugin: absent.unwrap_or_else(|| Absent::new(name, &[])) }
}

impl SlotGate {
    /// Why `entered` binds nothing to this slot.
    #[cold]
    fn absent(&self, entered: &GroupCell) -> Fault {
        let plugin = &*self.target.plugin;
        let home = self.link.home();
        match home.and_then(|home| home.group_of(plugin)) {
            Some(own) if !std::ptr::eq(&*own, entered) => {
                Fault::WrongGroup { plugin: plugin.into(), group: entered.name.clone() }
            }
            _ => not_loaded(plugin, home),
        }
    }

    /// It is a call from within another, or the call found nothing where it looked, which it has
    /// left again: it is behind a door, at a fork or timed, or the plugin has come since this
    /// handle was made.
    #[cold]
    #[inline(never)]
    fn late<R, E: From<Fault>>(
        &self,
        entered: &GroupCell,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut f = Some(f);
        self.reach(entered, method, |_, release| {
            let run = match (release.bound(self.target.index), release.timed(self.target.index)) {
                (Some(bound), _) => f.take().map(|f| f(bound)),
                (None, Some((bound, meter))) => f.take().map(|f| meter.time(method, || f(bound))),
                (None, None) => None,
            };
            run.transpose()
        })
    }

    /// Runs `f` in a release of the slot's group, at first of `entered`, until it finds there what
    /// it looks for.
    fn reach<R, E: From<Fault>>(
        &self,
        entered: &GroupCell,
        method: u16,
        mut f: impl FnMut(&GroupCell, &Release) -> Result<Option<R>, E>,
    ) -> Result<R, E> {
        loop {
            match self.try_reach(entered, method, &mut f)? {
                Settled::In(answer) => return Ok(answer),
                Settled::Shut(door) => door.wait(),
            }
        }
    }

    /// As [`reach`](SlotGate::reach), for who can't wait here.
    fn try_reach<R, E: From<Fault>>(
        &self,
        entered: &GroupCell,
        method: u16,
        f: &mut impl FnMut(&GroupCell, &Release) -> Result<Option<R>, E>,
    ) -> Result<Settled<R>, E> {
        let call = self.target.call.of(method);
        let mut cell = entered;
        loop {
            match cell.try_settle(call, Fork::by_chance, |release| f(cell, release))? {
                Settled::In(Some(answer)) => return Ok(Settled::In(answer)),
                Settled::Shut(door) => return Ok(Settled::Shut(door)),
                Settled::In(None) => {}
            }
            let moved = self.link.resolve(|home| home.group_of(&self.target.plugin));
            if !moved && std::ptr::eq(self.link.cell(), cell) {
                return Err(self.absent(cell).into());
            }
            cell = self.link.cell();
        }
    }
}

impl SlotGate {
    /// What serves the slot in a release that is held for 'r. An index means something within its
    /// own host alone, so a slot of another host finds nothing.
    fn find<'r>(&'r self, link: &Link, release: &'r Release) -> Option<&'r Bound> {
        match (&self.link.keep, &link.keep) {
            (Keep::Fixed(fixed), _) => fixed.releases[0].bound(self.target.index),
            (Keep::Host(own), Keep::Host(other)) if Arc::ptr_eq(own, other) => {
                release.bound(self.target.index)
            }
            _ => None,
        }
    }

    /// What is timed there, where `find` has found nothing.
    #[cold]
    #[inline(never)]
    fn timed<'r>(&self, link: &Link, release: &'r Release) -> Option<(&'r Bound, &'r Meter)> {
        release.timed(self.target.index).filter(|_| self.is_of_the_host_of(link))
    }

    /// The number of the generation that serves the slot's plugin in a release of `link`'s host. A
    /// name means something within its own host alone, too, and nothing to a fixed slot.
    fn generation(&self, link: &Link, release: &Release) -> Option<u64> {
        let generation = release.generation(&self.target.plugin)?;
        self.is_of_the_host_of(link).then_some(generation.number)
    }

    fn is_of_the_host_of(&self, link: &Link) -> bool {
        matches!((&self.link.keep, &link.keep), (Keep::Host(own), Keep::Host(other)) if Arc::ptr_eq(own, other))
    }
}

/// The gate of a slot inside of a request: the request's pin serves for all.
pub struct RequestGate<'r> {
    slot: &'r SlotGate,
    link: &'r Link,
    release: &'r Release,
    bound: Option<&'r Bound>,
    /// Neither Send nor Sync: the pin is this thread's.
    here: PhantomData<*const ()>,
}

// SAFETY: as for `SlotGate`; the pin is the request's, whose closure 'r can't leave.
unsafe impl Gate for RequestGate<'_> {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        _method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        match self.bound {
            Some(bound) => f(bound),
            None => Err(self.slot.absent(self.link.cell()).into()),
        }
    }
}

/// The gate of a slot through a lease: nested calls of the same thread into the group get the
/// lease's release.
pub struct LeaseGate<'l> {
    slot: &'l SlotGate,
    link: &'l Link,
    cell: &'l GroupCell,
    release: &'l Release,
    bound: Option<&'l Bound>,
}

// SAFETY: as for `SlotGate`; the lease owns a share in the release for 'l.
unsafe impl Gate for LeaseGate<'_> {
    #[inline(always)]
    fn enter<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        let call = self.slot.target.call.of(method);
        if let Some(bound) = self.bound
            && let Some(entered) = pin::hold_plainly(self.cell, self.release, call)
        {
            if !pin::in_registers::<R>() {
                return f(bound);
            }
            let answer = f(bound);
            return entered.leave(answer);
        }
        self.late(method, f)
    }
}

impl LeaseGate<'_> {
    /// It is a call from within another, it is timed, or nothing serves it.
    #[cold]
    #[inline(never)]
    fn late<R, E: From<Fault>>(
        &self,
        method: u16,
        f: impl FnOnce(&Bound) -> Result<R, E>,
    ) -> Result<R, E> {
        let call = self.slot.target.call.of(method);
        let (bound, meter) = match (self.bound, self.slot.timed(self.link, self.release)) {
            (Some(bound), _) => (bound, None),
            (None, Some((bound, meter))) => (bound, Some(meter)),
            (None, None) => return Err(self.slot.absent(self.cell).into()),
        };
        pin::enter_held(self.cell, self.release, call, || match meter {
            Some(meter) => meter.time(method, || f(bound)),
            None => f(bound),
        })
    }
}
