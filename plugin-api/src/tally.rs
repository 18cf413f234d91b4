//! How many calls came to nothing, for a version that is tried, and where they panicked.

use crate::call::PanicReport;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Counts the calls that panicked or were refused, while somebody wants to know; and panics by
/// their places, always.
///
/// On the way of errors alone, and written there only while it is wanted: an answer costs nothing
/// more, and once a version is committed its errors write no line that threads share.
#[derive(Default)]
pub struct Tally {
    wanted: AtomicBool,
    panics: AtomicU64,
    errors: AtomicU64,
    places: Mutex<Vec<PlaceOfPanics>>,
    teller: OnceLock<Teller>,
}

/// Is told of a panic, and the how manieth of its place it is.
pub type Teller = Box<dyn Fn(&PanicReport, u64) + Send + Sync>;

/// Where calls panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOfPanics {
    /// `src/lib.rs:10:5`, or empty where it is unknown.
    pub location: String,
    /// The text of the first panic there.
    pub message: String,
    /// How many calls panicked there.
    pub count: u64,
}

/// More places than these are not told apart: a plugin that makes them up must fill neither the
/// memory nor the log.
const PLACES_MAX: usize = 64;

impl Tally {
    /// Begins to count, or ends it. A call that ends at this very moment counts or not.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Relaxed);
    }

    /// From now on `teller` is told of panics: of the first, the tenth, the hundredth of each place
    /// and so on. The first teller stays.
    pub fn tell(&self, teller: Teller) {
        let _ = self.teller.set(teller);
    }

    /// Calls that panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Calls that returned an error of the plugin's own.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Where most of them panicked.
    pub fn worst_place(&self) -> Option<PlaceOfPanics> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().max_by_key(|place| place.count).cloned()
    }

    pub(crate) fn panicked(&self, report: &PanicReport) {
        self.count(&self.panics);
        // What nobody listens to is a service of the host's, which is the host's own business.
        let Some(teller) = self.teller.get() else { return };
        if let Some(count) = self.count_at(report)
            && is_power_of_ten(count)
        {
            teller(report, count);
        }
    }

    /// How many there are of its place, with this one; none where there are too many places.
    fn count_at(&self, report: &PanicReport) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the place is unknown, the text has to do.
        let same = |place: &&mut PlaceOfPanics| {
            place.location == report.location
                && (!report.location.is_empty() || place.message == report.message)
        };
        if let Some(place) = places.iter_mut().find(same) {
            place.count += 1;
            return Some(place.count);
        }
        if places.len() == PLACES_MAX {
            return None;
        }
        let (location, message) = (report.location.clone(), report.message.clone());
        places.push(PlaceOfPanics { location, message, count: 1 });
        Some(1)
    }

    pub(crate) fn refused(&self) {
        self.count(&self.errors);
    }

    fn count(&self, what: &AtomicU64) {
        if self.wanted.load(Relaxed) {
            what.fetch_add(1, Relaxed);
        }
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count > 0 && 10_u64.pow(count.ilog10()) == count
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({} panics, {} errors)", self.panics(), self.errors())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn report(location: &str, message: &str) -> PanicReport {
        PanicReport {
            plugin: "fees".to_owned(),
            version: "1.0.0".to_owned(),
            generation: 1,
            message: message.to_owned(),
            location: location.to_owned(),
            frames: Vec::new(),
        }
    }

    #[test]
    fn what_nobody_wants_is_not_counted() {
        let tally = Tally::default();
        let both = || {
            tally.panicked(&report("", ""));
            tally.refused();
            tally.refused();
            (tally.panics(), tally.errors())
        };
        assert_eq!(both(), (0, 0));
        tally.want(true);
        assert_eq!(both(), (1, 2));
        tally.want(false);
        assert_eq!(both(), (1, 2));
    }

    #[test]
    fn u05_panics_are_told_once_a_place_and_then_ever_more_rarely() {
        let tally = Tally::default();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&told);
        tally.tell(Box::new(move |report, count| {
            kept.lock().expect("told").push(format!("{} {count}", report.location));
        }));
        for number in 1..=100 {
            tally.panicked(&report("a.rs:1:1", &format!("of the number {number}")));
        }
        tally.panicked(&report("b.rs:2:2", "elsewhere"));
        let told = told.lock().expect("told");
        assert_eq!(*told, ["a.rs:1:1 1", "a.rs:1:1 10", "a.rs:1:1 100", "b.rs:2:2 1"]);
        let worst = tally.worst_place().expect("a place");
        assert_eq!((&*worst.location, &*worst.message), ("a.rs:1:1", "of the number 1"));
        assert_eq!(worst.count, 100);
    }

    #[test]
    fn u05_places_are_bounded() {
        let tally = Tally::default();
        let told: Arc<Mutex<usize>> = Arc::default();
        let kept = Arc::clone(&told);
        tally.tell(Box::new(move |_, _| *kept.lock().expect("a number") += 1));
        (0..1_000).for_each(|line| tally.panicked(&report(&format!("a.rs:{line}:1"), "text")));
        assert_eq!(*told.lock().expect("a number"), PLACES_MAX);
        // Those whose place nobody knows are told apart by their texts.
        let tally = Tally::default();
        tally.tell(Box::new(|_, _| {}));
        ["a", "b", "b"].iter().for_each(|text| tally.panicked(&report("", text)));
        let worst = tally.worst_place().expect("a place");
        assert_eq!((&*worst.message, worst.count), ("b", 2));
    }
}
