//! Meters: how long the calls of a version take, for as long as that is compared with another's.
//!
//! Threads write to their own stripe, and a call reads the clock twice: what is measured is paid by
//! who measures. A release without a budget has none of it.

use crate::contracts::Wanted;
use std::array::from_fn;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::{Duration, Instant};

/// Of fewer calls the slowest hundredth says nothing.
const CALLS_MIN: u64 = 1_000;
/// What a clock, an interrupt or a cold cache make of a short call.
const SLACK: Duration = Duration::from_micros(10);

/// The meters of some plugins' slots, and of the requests of their group.
pub(crate) struct Meters {
    slots: Vec<Option<Meter>>,
    requests: Histogram,
}

/// Of one slot, by method.
pub(crate) struct Meter(Box<[Histogram]>);

impl Meters {
    /// For those of `slots` that are of the plugins that `of` says.
    pub(crate) fn new(slots: &[Wanted], of: impl Fn(&str) -> bool) -> Self {
        let meter = |wanted: &Wanted| {
            of(&wanted.plugin)
                .then(|| Meter(wanted.contract.methods.iter().map(|_| Histogram::new()).collect()))
        };
        Meters { slots: slots.iter().map(meter).collect(), requests: Histogram::new() }
    }

    pub(crate) fn of(&self, slot: usize) -> Option<&Meter> {
        self.slots.get(slot)?.as_ref()
    }

    /// Times `f` as a request, whose calls are not told apart: the host's own work between them
    /// would not be seen.
    pub(crate) fn time_request<R>(&self, f: impl FnOnce() -> R) -> R {
        self.requests.time(f)
    }
}

impl Meter {
    /// Times `f` as a call of `method`.
    pub(crate) fn time<R>(&self, method: u16, f: impl FnOnce() -> R) -> R {
        match self.0.get(usize::from(method)) {
            Some(histogram) => histogram.time(f),
            None => f(),
        }
    }
}

/// Two versions' calls, measured alike.
#[derive(Clone)]
pub(crate) struct Latency {
    pub(crate) before: Arc<Meters>,
    pub(crate) now: Arc<Meters>,
}

impl Latency {
    pub(crate) fn new(slots: &[Wanted], of: impl Fn(&str) -> bool) -> Self {
        let (before, now) = (Meters::new(slots, &of), Meters::new(slots, of));
        Latency { before: before.into(), now: now.into() }
    }

    /// Do the two measure the same?
    pub(crate) fn is(&self, other: &Latency) -> bool {
        Arc::ptr_eq(&self.now, &other.now)
    }

    /// What is slower than it may be, and how much: of a plugin, or of no one alone.
    pub(crate) fn over(&self, slots: &[Wanted], factor: f64) -> Option<(Option<Arc<str>>, String)> {
        let mut slots = slots.iter().enumerate();
        let method = slots.find_map(|(slot, wanted)| {
            let (before, now) = (self.before.of(slot)?, self.now.of(slot)?);
            let mut methods = wanted.contract.methods.iter().zip(before.0.iter().zip(&now.0));
            let of_it = |method| format!("calls of {method}");
            let reason = methods
                .find_map(|(method, (before, now))| slower(&of_it(method), before, now, factor))?;
            Some((Some(wanted.plugin.clone()), reason))
        });
        let requests = || slower("requests", &self.before.requests, &self.now.requests, factor);
        method.or_else(|| Some((None, requests()?)))
    }
}

fn slower(what: &str, before: &Histogram, now: &Histogram, factor: f64) -> Option<String> {
    let ((calls_before, was), (calls, is)) =
        (before.slowest_hundredth()?, now.slowest_hundredth()?);
    (is > was.mul_f64(factor) + SLACK).then(|| {
        format!(
            "the slowest hundredth of its {calls} {what} took {is:?} or more, and {was:?} on the version before ({calls_before}): \
             {factor} times that is allowed"
        )
    })
}

/// Threads that write at the same time mostly write to different ones.
const STRIPES: usize = 8;
/// Eighths of each power of two, up to 2^40 ns: a quarter of an hour.
const BUCKETS: usize = 38 * 8;

/// How many calls took how long, to an eighth.
struct Histogram(Box<[[AtomicU32; BUCKETS]; STRIPES]>);

impl Histogram {
    fn new() -> Self {
        Histogram(Box::new(from_fn(|_| from_fn(|_| AtomicU32::new(0)))))
    }

    /// What unwinds is not counted.
    fn time<R>(&self, f: impl FnOnce() -> R) -> R {
        let began = Instant::now();
        let answer = f();
        self.add(began.elapsed());
        answer
    }

    fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[stripe()][bucket(nanos)].fetch_add(1, Relaxed);
    }

    /// How many calls there were, and what the fastest of their slowest hundredth took at least;
    /// `None` where they are too few.
    fn slowest_hundredth(&self) -> Option<(u64, Duration)> {
        let count = |at: usize| {
            self.0.iter().map(|stripe| u64::from(stripe[at].load(Relaxed))).sum::<u64>()
        };
        let counts: [u64; BUCKETS] = from_fn(count);
        let all: u64 = counts.iter().sum();
        let mut slower = all / 100;
        let bucket = counts.iter().rposition(|count| {
            let here = slower < *count;
            slower = slower.saturating_sub(*count);
            here
        })?;
        (all >= CALLS_MIN).then(|| (all, Duration::from_nanos(least(bucket))))
    }
}

/// Exact below 16, then the power of two and the three bits after its first.
fn bucket(nanos: u64) -> usize {
    let power = (nanos | 1).ilog2().max(3) - 3;
    let eighths = power as usize * 8 + usize::try_from(nanos >> power).unwrap_or(0);
    eighths.min(BUCKETS - 1)
}

/// The least that falls into it.
fn least(bucket: usize) -> u64 {
    let power = (bucket / 8).max(1) - 1;
    (bucket - power * 8) as u64 * (1 << power)
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static STRIPE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % STRIPES));
    STRIPE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_kept_to_an_eighth() {
        let mut before = None;
        for nanos in (0..4_096)
            .chain((3..39).flat_map(|power| [(1 << power) - 1, 1 << power, 13 << (power - 2)]))
        {
            let bucket = bucket(nanos);
            let least = least(bucket);
            assert!(
                least <= nanos && nanos <= least + least / 8,
                "{nanos} is in {bucket}, from {least} on"
            );
            before = before.max(Some(bucket));
        }
        assert!(before < Some(BUCKETS));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    fn of(calls: impl IntoIterator<Item = u64>) -> Histogram {
        let histogram = Histogram::new();
        calls.into_iter().for_each(|nanos| histogram.add(Duration::from_nanos(nanos)));
        histogram
    }

    #[test]
    fn the_slowest_hundredth_begins_where_it_does() {
        // 990 of 1 µs and 10 of 1 ms: the 11th slowest is one of the first.
        let fast = || std::iter::repeat_n(1 << 10, 990);
        let slow = |count| std::iter::repeat_n(1 << 20, count);
        assert_eq!(
            of(fast().chain(slow(10))).slowest_hundredth(),
            Some((1_000, Duration::from_nanos(1 << 10)))
        );
        assert_eq!(
            of(fast().chain(slow(11))).slowest_hundredth(),
            Some((1_001, Duration::from_nanos(1 << 20)))
        );
        assert_eq!(of(fast()).slowest_hundredth(), None, "too few");
    }

    #[test]
    fn slower_is_what_is_beyond_the_factor_and_the_slack() {
        let all = |nanos| of(std::iter::repeat_n(nanos, 1_000));
        let is_slower = |was, is| slower("calls of fee", &all(was), &all(is), 2.0).is_some();
        assert!(!is_slower(1 << 20, 1 << 21), "just the factor");
        assert!(is_slower(1 << 20, (1 << 21) + (1 << 18)));
        assert!(!is_slower(1 << 5, 1 << 10), "a microsecond is nothing");
        let reason = slower("calls of fee", &all(1 << 20), &all(1 << 22), 2.0).expect("slower");
        assert_eq!(
            reason,
            "the slowest hundredth of its 1000 calls of fee took 4.194304ms or more, and 1.048576ms on the version before (1000): \
             2 times that is allowed"
        );
    }
}
