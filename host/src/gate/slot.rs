//! Slots, groups, requests and leases: the handles through which a service calls its plugins.

use super::cell::{self, GroupCell};
use super::pin::{self, Call};
use super::ways::Fork;
use super::{Home, LeaseGate, Link, RequestGate, SlotGate, Target, not_loaded};
use crate::gate::release::Release;
use crate::holds::Hold;
use midflight_plugin::{Contract, Fault, ImplementedBy};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A typed handle on one contract of one plugin: it derefs to the contract's methods, and each call
/// runs on the version that serves at that moment.
///
/// A cheap clone over shared state; `Send` and `Sync`. It stays good through every update, before
/// the plugin's first load and after the host's end: a call that finds nothing is
/// [`Fault::NotLoaded`].
pub struct Slot<C: Contract + ?Sized> {
    pub(super) gate: SlotGate,
    proxy: C::Proxy<SlotGate>,
}

impl<C: Contract + ?Sized> Slot<C> {
    /// # Safety
    /// `index` is what the control plane gave for the contract `C` of `plugin`.
    pub(crate) unsafe fn new(link: Link, plugin: &str, index: usize) -> Self {
        // SAFETY: by the caller's promise.
        unsafe { Self::through(SlotGate { link, target: Target::new(plugin, index) }) }
    }

    /// # Safety
    /// The gate's index stands for the contract `C`.
    pub(super) unsafe fn through(gate: SlotGate) -> Self {
        Slot {
            // SAFETY: releases bind to an index what was checked against the contract that it
            // stands for.
            proxy: unsafe { C::proxy(gate.clone()) },
            gate,
        }
    }

    /// A slot on an object that is linked in: no library, no host, no update. For tests, for a
    /// build without plugins, for platforms that can't unload.
    ///
    /// ```
    /// # midflight_plugin::contract_crate!();
    /// # #[midflight_plugin::contract] pub trait Fees { fn fee(&self, quantity: u32) -> u64; }
    /// # use midflight::Slot;
    /// struct Flat { rate: u64 }
    /// impl Fees for Flat {
    ///     fn fee(&self, quantity: u32) -> u64 {
    ///         self.rate * u64::from(quantity)
    ///     }
    /// }
    ///
    /// # fn main() {
    /// let fees = Slot::<dyn Fees>::fixed(Flat { rate: 3 });
    /// assert_eq!(fees.fee(7).unwrap(), 21);
    /// # }
    /// ```
    pub fn fixed<T>(object: T) -> Self
    where
        C: ImplementedBy<T>,
        T: Send + Sync + 'static,
    {
        // There may be no host to have done it.
        midflight_plugin::rt::use_host_panics();
        let link = Link::fixed(Release::fixed::<C, T>(object));
        // SAFETY: the only binding of that release is of `C`, at 0.
        unsafe { Self::new(link, "", 0) }
    }

    /// The plugin's name; empty for a [`fixed`](Slot::fixed) slot.
    pub fn plugin(&self) -> &str {
        &self.gate.target.plugin
    }
}

impl<C: Contract + ?Sized> Deref for Slot<C> {
    type Target = C::Proxy<SlotGate>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.proxy
    }
}

impl<C: Contract + ?Sized> Clone for Slot<C> {
    fn clone(&self) -> Self {
        // SAFETY: its own gate, which `new` was given for `C`.
        unsafe { Self::through(self.gate.clone()) }
    }
}

impl<C: Contract + ?Sized> fmt::Debug for Slot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("contract", &C::NAME).field("plugin", &self.plugin()).finish()
    }
}

/// A handle on a group: the plugins that are switched together.
///
/// A cheap clone over shared state. It may be made before the group's first plugin is loaded.
#[derive(Clone)]
pub struct Group {
    name: Arc<str>,
    link: Link,
}

impl Group {
    pub(crate) fn new(home: Arc<dyn Home>, name: &str) -> Self {
        let cell = home.group(name);
        Group { name: name.into(), link: Link::new(home, cell.as_ref()) }
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the release that a new call would run on; 0 before the first.
    pub fn release_number(&self) -> u64 {
        self.cell().map_or(0, GroupCell::release)
    }

    /// Runs `f` on one release: every call that it makes through [`Request::get`] runs on the same
    /// versions, whatever is published meanwhile, and so do calls that the plugins make back into
    /// the group.
    ///
    /// The release stays loaded until `f` returns, so keep requests short; across an `.await` take
    /// a [`lease`](Group::lease).
    ///
    /// # Errors
    /// What `f` returns; [`Fault::NotLoaded`] with the group's name where no plugin of it was ever
    /// loaded; [`Fault::NestedTooDeep`] and [`Fault::TooManyGroups`] beyond the bounds.
    pub fn request<R, E, F>(&self, f: F) -> Result<R, E>
    where
        F: for<'r> FnOnce(&'r Request<'r>) -> Result<R, E>,
        E: From<Fault>,
    {
        let cell = self.cell().ok_or_else(|| self.absent())?;
        pin::enter(cell, Call::REQUEST, |entered| {
            let release = entered.release();
            match release.detour {
                None => f(&Request { link: &self.link, release, here: PhantomData }),
                Some(_) => {
                    drop(entered);
                    self.request_late(cell, Fork::by_chance, f)
                }
            }
        })
    }

    /// As [`request`](Group::request), for somebody or something that `key` stands for: while a
    /// [canary](crate::HostBuilder::canary) runs, requests with the same key stay on the same side
    /// of it. With the next canary the keys are drawn anew.
    ///
    /// # Errors
    /// As [`request`](Group::request).
    pub fn request_keyed<K, R, E, F>(&self, key: &K, f: F) -> Result<R, E>
    where
        K: Hash + ?Sized,
        F: for<'r> FnOnce(&'r Request<'r>) -> Result<R, E>,
        E: From<Fault>,
    {
        let cell = self.cell().ok_or_else(|| self.absent())?;
        self.request_late(cell, |fork| fork.by_key(key), f)
    }

    /// Its state was being handed over, a canary runs, or calls are timed.
    #[cold]
    #[inline(never)]
    fn request_late<R, E, F>(
        &self,
        cell: &GroupCell,
        choose: impl Fn(&Fork) -> &Arc<Release>,
        f: F,
    ) -> Result<R, E>
    where
        F: for<'r> FnOnce(&'r Request<'r>) -> Result<R, E>,
        E: From<Fault>,
    {
        cell.settle(Call::REQUEST, choose, |release| {
            let run = || f(&Request { link: &self.link, release, here: PhantomData });
            match release.meters() {
                Some(meters) => meters.time_request(run),
                None => run(),
            }
        })
    }

    /// A share in the release that a request would run on, to keep for as long as it is needed.
    /// Reports of what holds a release name the place of this call. While a plugin's state is being
    /// handed over it waits as a thread, for `handover_wait_max` at most.
    ///
    /// # Errors
    /// As [`request`](Group::request).
    #[track_caller]
    pub fn lease(&self) -> Result<Lease, Fault> {
        self.lease_on(Fork::by_chance)
    }

    /// As [`lease`](Group::lease), with a key as for [`request_keyed`](Group::request_keyed): for
    /// sessions.
    ///
    /// # Errors
    /// As [`request`](Group::request).
    #[track_caller]
    pub fn lease_keyed<K: Hash + ?Sized>(&self, key: &K) -> Result<Lease, Fault> {
        self.lease_on(|fork| fork.by_key(key))
    }

    #[track_caller]
    fn lease_on(&self, choose: impl Fn(&Fork) -> &Arc<Release>) -> Result<Lease, Fault> {
        let cell = self.cell().ok_or_else(|| self.absent())?;
        // SAFETY: entered.
        let share = |release: &Release| Ok::<_, Fault>(unsafe { cell::share(release) });
        let release = cell.settle(Call::REQUEST, choose, share)?;
        Ok(Lease { _hold: Hold::on(&release.holds, "lease"), release, link: self.link.clone() })
    }

    fn cell(&self) -> Option<&GroupCell> {
        if self.link.is_vacant() {
            self.link.resolve(|home| home.group(&self.name));
        }
        // Another thread may have found it first.
        (!self.link.is_vacant()).then(|| self.link.cell())
    }

    #[cold]
    fn absent(&self) -> Fault {
        not_loaded(&self.name, self.link.home())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("release", &self.release_number())
            .finish()
    }
}

/// One pinned release, for the length of a closure on one thread.
pub struct Request<'r> {
    link: &'r Link,
    release: &'r Release,
    here: PhantomData<*const ()>,
}

impl Request<'_> {
    /// The contract's methods, on this request's release.
    ///
    /// It can't leave the closure:
    /// ```compile_fail
    /// # midflight_plugin::contract_crate!();
    /// # #[midflight_plugin::contract] pub trait Greeter { fn greet(&self, name: &str) -> String; }
    /// # use midflight::{Fault, Group, Slot};
    /// # fn main() {}
    /// fn demo(group: &Group, slot: &Slot<dyn Greeter>) {
    ///     let escaped = group.request(|r| Ok::<_, Fault>(r.get(slot)));
    /// }
    /// ```
    /// ```
    /// # midflight_plugin::contract_crate!();
    /// # #[midflight_plugin::contract] pub trait Greeter { fn greet(&self, name: &str) -> String; }
    /// # use midflight::{Fault, Group, Slot};
    /// # fn main() {}
    /// fn demo(group: &Group, slot: &Slot<dyn Greeter>) {
    ///     let text = group.request(|r| Ok::<_, Fault>(r.get(slot).greet("you")?));
    /// }
    /// ```
    pub fn get<'a, C: Contract + ?Sized>(&'a self, slot: &'a Slot<C>) -> C::Proxy<RequestGate<'a>> {
        // Where calls are timed, a request is as a whole.
        let timed = || Some(slot.gate.timed(self.link, self.release)?.0);
        let bound = slot.gate.find(self.link, self.release).or_else(timed);
        let gate = RequestGate {
            slot: &slot.gate,
            link: self.link,
            release: self.release,
            bound,
            here: PhantomData,
        };
        // SAFETY: the slot's index stands for `C`.
        unsafe { C::proxy(gate) }
    }

    /// The release's number.
    pub fn release_number(&self) -> u64 {
        self.release.number
    }

    /// The generation that serves `slot` in this release; none for a slot of another host.
    pub fn generation<C: Contract + ?Sized>(&self, slot: &Slot<C>) -> Option<u64> {
        slot.gate.generation(self.link, self.release)
    }
}

/// A share in one release, owned and `Send`: for sessions, background work and everything that
/// outlives a closure.
///
/// While it lives, its release stays loaded, and a retired one counts in `generations_max`. Taking
/// and dropping it writes a counter and a list that threads share; its calls do not.
pub struct Lease {
    pub(super) release: Arc<Release>,
    pub(super) link: Link,
    /// After the release: what is told of is held.
    _hold: Hold,
}

impl Lease {
    /// The contract's methods, on the lease's release.
    pub fn get<'a, C: Contract + ?Sized>(&'a self, slot: &'a Slot<C>) -> C::Proxy<LeaseGate<'a>> {
        let bound = slot.gate.find(&self.link, &self.release);
        let gate = LeaseGate {
            slot: &slot.gate,
            link: &self.link,
            cell: self.link.cell(),
            release: &self.release,
            bound,
        };
        // SAFETY: the slot's index stands for `C`.
        unsafe { C::proxy(gate) }
    }

    /// The release's number.
    pub fn release_number(&self) -> u64 {
        self.release.number
    }

    /// The generation that serves `slot` in this release; none for a slot of another host.
    pub fn generation<C: Contract + ?Sized>(&self, slot: &Slot<C>) -> Option<u64> {
        slot.gate.generation(&self.link, &self.release)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("release", &self.release.number).finish()
    }
}
