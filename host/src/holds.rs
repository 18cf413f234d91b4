//! Holds: who has a release beyond a call, since when, and where it was taken.
//!
//! A share in a release is a number, and a number that does not fall names nobody. So whoever takes
//! a share to keep it (a lease) writes here what it is, and takes that back with the share. Calls
//! don't come here.

use crate::holder::Held;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// Of one release. It lies outside of it: what is written here must not share a line with what
/// calls read.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Book>);

#[derive(Default)]
struct Book {
    last: u64,
    /// By when they were taken.
    taken: BTreeMap<u64, Taken>,
}

struct Taken {
    what: Cow<'static, str>,
    at: &'static Location<'static>,
    since: Instant,
}

/// One line in the book, for as long as it lives. Kept beside the share that it is about, and
/// dropped after it.
pub(crate) struct Hold {
    holds: Arc<Holds>,
    number: u64,
}

impl Hold {
    /// `what` holds the release of `holds`: a noun, whose first word takes an s in the plural. Where is the
    /// caller's caller, with `#[track_caller]` all the way; so that must be the host's code, never
    /// a plugin's.
    #[track_caller]
    pub(crate) fn on(holds: &Arc<Holds>, what: impl Into<Cow<'static, str>>) -> Self {
        Hold::at(holds, what, Location::caller())
    }

    /// The same, of what was taken elsewhere.
    pub(crate) fn at(
        holds: &Arc<Holds>,
        what: impl Into<Cow<'static, str>>,
        at: &'static Location<'static>,
    ) -> Self {
        let taken = Taken { what: what.into(), at, since: Instant::now() };
        let holds = Arc::clone(holds);
        let mut book = holds.0.lock();
        book.last += 1;
        let number = book.last;
        book.taken.insert(number, taken);
        drop(book);
        Hold { holds, number }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.0.lock().taken.remove(&self.number);
    }
}

impl Holds {
    /// Adds what is held to `held`, each kind with the oldest of it; the oldest kind first.
    pub(crate) fn add_to(&self, held: &mut Vec<Held>, now: Instant) {
        for Taken { what, at, since } in self.0.lock().taken.values() {
            // Of one moment, or the younger of two that were taken at once could seem the older
            // one.
            let age = now.saturating_duration_since(*since);
            let place = || format!("{}:{}", at.file(), at.line());
            match held.iter_mut().find(|held| held.what == *what) {
                Some(held) => {
                    held.count += 1;
                    if age > held.oldest {
                        (held.oldest, held.taken_at) = (age, place());
                    }
                }
                None => held.push(Held {
                    what: what.to_string(),
                    count: 1,
                    oldest: age,
                    taken_at: place(),
                }),
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().taken.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_with_its_oldest() {
        let holds = Arc::<Holds>::default();
        let look = || {
            let mut held = Vec::new();
            holds.add_to(&mut held, Instant::now());
            held
        };
        assert_eq!(look(), []);
        let (first, line) = (Hold::on(&holds, "lease"), line!());
        let future = Hold::on(&holds, "future of exchange.quote".to_owned());
        let second = Hold::on(&holds, "lease");
        let held = look();
        let told: Vec<_> = held.iter().map(|held| (held.what.as_str(), held.count)).collect();
        assert_eq!(told, [("lease", 2), ("future of exchange.quote", 1)]);
        assert_eq!(held[0].taken_at, format!("{}:{line}", file!()));
        drop(first);
        assert_eq!(look().iter().map(|held| held.count).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(look()[1].taken_at, format!("{}:{}", file!(), line + 2));
        drop((second, future));
        assert_eq!(look(), []);
    }

    #[test]
    fn the_oldest_of_two_releases_is_told() {
        let (one, other) = (Arc::<Holds>::default(), Arc::<Holds>::default());
        let (_older, line) = (Hold::on(&one, "lease"), line!());
        let _younger = Hold::on(&other, "lease");
        let (mut held, now) = (Vec::new(), Instant::now());
        other.add_to(&mut held, now);
        one.add_to(&mut held, now);
        assert_eq!((held.len(), held[0].count), (1, 2));
        assert_eq!(held[0].taken_at, format!("{}:{line}", file!()));
    }
}
