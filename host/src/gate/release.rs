//! Releases: what serves a group, as calls find it.

use super::cell::Shares;
use super::ways::{Detour, Fork};
use crate::contracts::Slots;
use crate::generation::Generation;
use crate::holds::Holds;
use crate::meter::{Meter, Meters};
use midflight_plugin::ImplementedBy;
use midflight_plugin::rt::{Bound, Origin, RawService};
use std::any::Any;
use std::iter;
use std::ptr;
use std::sync::Arc;

/// An immutable snapshot of a group: which generation serves each slot. It is what is swapped.
///
/// Owned by its group's cell while it is current, by the control plane while it drains, and by
/// leases.
#[repr(C)]
pub(crate) struct Release {
    /// By a slot's index; unbound for slots of other groups and for plugins that are not loaded.
    /// The first lie here, so that a call finds its own with one load: after the pin's exchange
    /// each load waits for the one before. At its beginning, so that nothing is added to a slot's
    /// own distance.
    near: [Near; NEAR],
    /// Those after, from the first to the last that is bound.
    far: Entries,
    /// 0 where nothing was ever loaded.
    pub(crate) number: u64,
    generations: Box<[Arc<Generation>]>,
    /// Who keeps it beyond a call, for reports.
    pub(crate) holds: Arc<Holds>,
    /// What leases took of it.
    pub(crate) shares: Shares,
    /// It is not to be called at once.
    pub(crate) detour: Option<Detour>,
    /// What is bound and timed: its entries above are unbound, so that a bare call pays nothing for
    /// it.
    timed: Option<Timed>,
    /// What the entries of a release without libraries point into.
    _linked: Option<Arc<dyn Any + Send + Sync>>,
}

/// The entries of a release that measures.
struct Timed {
    /// By a slot's index.
    entries: Entries,
    meters: Arc<Meters>,
}

/// How many entries lie in the release itself: as many as a byte can name, so that no call has to
/// compare its own with an end.
const NEAR: usize = 1 << u8::BITS;

/// The last of them, which is never bound: it stands for those that are not there. A call finds
/// nothing in it, and looks out of line.
const FAR: u8 = u8::MAX;

/// Which entry in a release itself is a slot's.
pub(crate) fn near(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(FAR)
}

/// Of a size that a call gets at with a shift. (By padding: what is aligned to more than a word
/// leaves holes in the C library's heap.)
#[derive(Clone, Copy)]
struct Near {
    bound: Bound,
    _padding: usize,
}

impl Near {
    const fn new(bound: Bound) -> Self {
        Near { bound, _padding: 0 }
    }
}

/// What an entry holds for a slot that nothing here serves.
const UNBOUND: Bound = Bound { this: ptr::null(), table: ptr::null(), origin: ptr::null() };

/// Entries by index, from the first that is bound on: of a thousand slots a release mostly binds a
/// few, and is to be as long as they need.
#[derive(Default)]
struct Entries {
    from: usize,
    all: Vec<Bound>,
}

impl Entries {
    fn put(&mut self, index: usize, bound: Bound) {
        if self.all.is_empty() {
            self.from = index;
        }
        let before = self.from.saturating_sub(index);
        self.all.splice(..0, iter::repeat_n(UNBOUND, before));
        self.from -= before;
        let at = index - self.from;
        if self.all.len() <= at {
            self.all.resize(at + 1, UNBOUND);
        }
        self.all[at] = bound;
    }

    #[inline(always)]
    fn get(&self, index: usize) -> Option<&Bound> {
        // Of one before the first, that is beyond every end.
        self.all.get(index.wrapping_sub(self.from))
    }
}

impl Release {
    pub(crate) fn vacant() -> Self {
        Release {
            number: 0,
            near: [Near::new(UNBOUND); NEAR],
            far: Entries::default(),
            generations: Box::default(),
            holds: Arc::default(),
            shares: Shares::new(),
            detour: None,
            timed: None,
            _linked: None,
        }
    }

    /// Binds each of `slots` that one of `generations` serves with a table whose layout was
    /// checked. The calls of those that `meters` has are timed. It costs what is bound, and not
    /// what other groups have.
    pub(crate) fn new(
        number: u64,
        generations: Vec<Arc<Generation>>,
        slots: &Slots,
        meters: Option<&Arc<Meters>>,
    ) -> Self {
        let mut release = Release { number, ..Release::vacant() };
        let mut entries = Entries::default();
        for generation in &generations {
            for (index, wanted) in slots.of(&generation.plugin) {
                let Some(bound) = generation.bind(&wanted.contract) else { continue };
                if meters.is_some() {
                    entries.put(index, bound);
                }
                if meters.is_none_or(|meters| meters.of(index).is_none()) {
                    release.bind(index, bound);
                }
            }
        }
        release.generations = generations.into();
        if let Some(meters) = meters {
            release.detour = Some(Detour::Timed);
            let meters = Arc::clone(meters);
            release.timed = Some(Timed { entries, meters });
        }
        release
    }

    fn bind(&mut self, index: usize, bound: Bound) {
        match near(index) {
            FAR => self.far.put(index, bound),
            entry => self.near[usize::from(entry)] = Near::new(bound),
        }
    }

    /// A release that leads elsewhere.
    pub(crate) fn leading(number: u64, detour: Detour) -> Self {
        Release { number, detour: Some(detour), ..Release::vacant() }
    }

    /// What it led to.
    pub(crate) fn sides(self) -> Vec<Arc<Release>> {
        match self.detour {
            Some(Detour::Fork(Fork { serves, tried, .. })) => vec![serves, tried],
            Some(Detour::Shut(_) | Detour::Timed) | None => Vec::new(),
        }
    }

    /// One object, linked in, as what index 0 stands for.
    pub(crate) fn fixed<C, T>(object: T) -> Self
    where
        C: ImplementedBy<T> + ?Sized,
        T: Send + Sync + 'static,
    {
        let origin = Origin::new(C::NAME, C::VERSION, 0);
        // Shared, so that what points into it stays valid when it moves.
        let linked = Arc::new((object, origin));
        let service = RawService::of::<C, T>(&linked.0);
        let bound = Bound { this: service.this, table: service.table, origin: &raw const linked.1 };
        let mut release = Release { _linked: Some(linked), ..Release::vacant() };
        release.near[0] = Near::new(bound);
        release
    }

    /// What serves the slot with this entry, where that is one of the first; else it has no table.
    #[inline(always)]
    pub(crate) fn entry(&self, entry: u8) -> &Bound {
        &self.near[usize::from(entry)].bound
    }

    /// The same of those that are none of the first.
    #[inline(always)]
    pub(crate) fn far(&self, index: usize) -> &Bound {
        // The last entry is never bound.
        self.far.get(index).unwrap_or_else(|| self.entry(FAR))
    }

    /// What serves the slot.
    pub(crate) fn bound(&self, index: usize) -> Option<&Bound> {
        let bound = match near(index) {
            FAR => self.far(index),
            entry => self.entry(entry),
        };
        (!bound.table.is_null()).then_some(bound)
    }

    /// What serves the slot and is timed.
    #[cold]
    pub(crate) fn timed(&self, index: usize) -> Option<(&Bound, &Meter)> {
        let Timed { entries, meters } = self.timed.as_ref()?;
        let bound = entries.get(index).filter(|bound| !bound.table.is_null())?;
        Some((bound, meters.of(index)?))
    }

    pub(crate) fn meters(&self) -> Option<&Meters> {
        Some(&*self.timed.as_ref()?.meters)
    }

    /// What serves the slot, timed or not.
    pub(crate) fn serving(&self, index: usize) -> Option<&Bound> {
        self.bound(index).or_else(|| Some(self.timed(index)?.0))
    }

    pub(crate) fn generation(&self, plugin: &str) -> Option<&Arc<Generation>> {
        let mut generations = self.generations.iter();
        generations.find(|generation| *generation.plugin == *plugin)
    }

    /// Of its generations, and of those of what it leads to.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.generations.iter().map(|part| part.number).collect();
        if let Some(Detour::Fork(Fork { serves, tried, .. })) = &self.detour {
            numbers.extend(serves.numbers());
            numbers.extend(tried.numbers());
        }
        numbers
    }

    /// Is `generation` a part of it, or of what it leads to?
    pub(crate) fn has(&self, generation: &Arc<Generation>) -> bool {
        let own = self.generations.iter().any(|part| Arc::ptr_eq(part, generation));
        own || match &self.detour {
            Some(Detour::Fork(Fork { serves, tried, .. })) => {
                serves.has(generation) || tried.has(generation)
            }
            Some(Detour::Shut(_) | Detour::Timed) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g03_far_slots_cost_a_release_what_it_binds() {
        let bound = |at: usize| Bound { this: ptr::without_provenance(at), ..UNBOUND };
        let mut entries = Entries::default();
        assert!(entries.get(0).is_none());
        for index in [999, 997, 1_001] {
            entries.put(index, bound(index));
        }
        let all = (0..2_000).filter_map(|index| Some((index, entries.get(index)?.this.addr())));
        assert!(all.eq([(997, 997), (998, 0), (999, 999), (1_000, 0), (1_001, 1_001)]));
    }
}
