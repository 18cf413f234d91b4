//! The agenda: when what is on its way out is looked at again.
//!
//! Nobody tells when the last call has left a release, or a thread has paid what it owes: that has
//! to be looked at. A look at all of it after each command would cost a host that ends the square
//! of its plugins. So each has a time of its own, soon at first and then ever later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The first interval between two looks at the same.
const SOON: Duration = Duration::from_micros(50);
/// The longest is so many times doubled.
const DOUBLED_MAX: u32 = 11;
/// How many looks an interval lasts before it is doubled: calls mostly end within microseconds.
const LOOKS_OF_AN_INTERVAL: u32 = 8;
/// How many of them something that happens is taken as news of.
const HURRIED_MAX: usize = 32;

/// What is looked at, by a number of its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// A release that was replaced.
    Drain(u64),
    /// A generation that is in no current release.
    Retiring(u64),
    /// A generation without an instance.
    Ending(u64),
}

impl Item {
    /// Of which generation, where it is an ending.
    pub(super) fn ending(self) -> Option<u64> {
        match self {
            Item::Ending(number) => Some(number),
            Item::Drain(_) | Item::Retiring(_) => None,
        }
    }
}

#[derive(Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(Instant, Item)>,
    /// When it is due, and how often it was looked at since something was heard of it; `None` where
    /// it waits for its time.
    items: BTreeMap<Item, (Instant, Option<u32>)>,
}

impl Agenda {
    /// It is to be looked at now.
    pub(super) fn hurry(&mut self, item: Item) {
        self.put(item, Instant::now(), Some(0));
    }

    /// It was looked at, and is to be looked at again.
    pub(super) fn again(&mut self, item: Item) {
        let looks = self.items.get(&item).and_then(|(_, looks)| *looks);
        let looks = looks.map_or(0, |looks| looks.saturating_add(1));
        let doubled = (looks / LOOKS_OF_AN_INTERVAL).min(DOUBLED_MAX);
        self.put(item, Instant::now() + SOON * 2_u32.pow(doubled), Some(looks));
    }

    /// It is not to be looked at before `after` is over; never, if that is so far away.
    pub(super) fn later(&mut self, item: Item, after: Duration) {
        match Instant::now().checked_add(after) {
            Some(at) => self.put(item, at, None),
            None => self.remove(item),
        }
    }

    pub(super) fn remove(&mut self, item: Item) {
        if let Some((at, _)) = self.items.remove(&item) {
            self.by_time.remove(&(at, item));
        }
    }

    /// Something has happened, and of few it may be news: those are looked at anew, soon.
    pub(super) fn stir(&mut self) {
        if self.items.len() > HURRIED_MAX {
            return;
        }
        let polled = self.items.iter().filter(|(_, (_, looks))| looks.is_some());
        for item in polled.map(|(item, _)| *item).collect::<Vec<_>>() {
            self.hurry(item);
        }
    }

    /// Those that are due, which stay on the agenda until they are put off or removed.
    pub(super) fn due(&self) -> Vec<Item> {
        let now = Instant::now();
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, item)| *item).collect()
    }

    /// How long until the next is due.
    pub(super) fn pause(&self) -> Option<Duration> {
        let (at, _) = self.by_time.first()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn put(&mut self, item: Item, at: Instant, looks: Option<u32>) {
        self.remove(item);
        self.items.insert(item, (at, looks));
        self.by_time.insert((at, item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g02_what_is_looked_at_in_vain_is_looked_at_ever_later() {
        let mut agenda = Agenda::default();
        agenda.hurry(Item::Drain(1));
        assert_eq!(agenda.due(), [Item::Drain(1)]);
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            agenda.again(Item::Drain(1));
            longest = longest.max(agenda.pause().unwrap_or_default());
        }
        assert!(longest <= SOON * 2_u32.pow(DOUBLED_MAX), "{longest:?}");
        assert!(longest > SOON * 2_u32.pow(DOUBLED_MAX - 1), "{longest:?}");
        agenda.stir();
        assert_eq!(agenda.due(), [Item::Drain(1)], "it may be news of it");
        agenda.remove(Item::Drain(1));
        assert_eq!((agenda.due().len(), agenda.pause()), (0, None));
    }

    #[test]
    fn g02_of_many_only_what_is_due_is_looked_at() {
        let mut agenda = Agenda::default();
        for number in 0..1_000 {
            agenda.later(Item::Ending(number), Duration::from_secs(3600));
            agenda.later(Item::Retiring(number), Duration::from_secs(3600));
        }
        agenda.later(Item::Ending(7), Duration::MAX);
        agenda.hurry(Item::Retiring(7));
        agenda.stir();
        assert_eq!(agenda.due(), [Item::Retiring(7)]);
    }
}
