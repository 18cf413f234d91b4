//! Blackout: what callers feel of a publication, and how long the old release is still in use after
//! it.

use crate::libraries::Libraries;
use crate::rig::Rig;
use crate::rounds::{quantile, rounded};
use bench_contracts::Work;
use hdrhistogram::Histogram;
use midflight::Slot;
use midflight::bench::Turns;
use serde::Serialize;
use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

const CALLS_OF_A_BATCH: u64 = 1_000;
const SWAPS_A_SECOND: u32 = 1_000;

/// Of batches of 1,000 calls of one thread, in microseconds a batch: the median over rounds of each
/// round's quantile.
#[derive(Debug, Serialize)]
pub struct Quantiles {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    batches: u64,
}

/// The two states of a publisher, and one to tell a publication from a thread that merely wakes.
#[derive(Debug, Serialize)]
pub struct Blackout {
    /// There is none.
    quiet: Quantiles,
    /// It wakes a thousand times a second, and does nothing.
    waking: Quantiles,
    /// It publishes a thousand times a second.
    swapping: Quantiles,
    /// p99.9 of `swapping` to that of `quiet`: the median of the rounds' ratios.
    p999_ratio: f64,
    /// The same to that of `waking`.
    p999_ratio_to_waking: f64,
    swaps: u64,
    note: &'static str,
}

/// From a publication until nobody is inside of what was replaced, with one busy caller.
#[derive(Debug, Serialize)]
pub struct Drain {
    n: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

/// Runs `rounds` rounds of each state, each as long as `time`.
pub fn run(libraries: &Libraries, rounds: usize, time: Duration) -> (Blackout, Drain) {
    let rig = Rig::start(libraries, "blackout");
    let (mut turns, slot) = rig.turns(libraries);
    let mut states: [Vec<Histogram<u64>>; 3] = Default::default();
    let mut swaps = 0;
    for _ in 0..rounds {
        states[0].push(calls(&slot, time, |_| {}));
        states[1].push(calls(&slot, time, |over| every_millisecond(over, || {})));
        let publish = |over: &AtomicBool| {
            every_millisecond(over, || {
                turns.publish();
                swaps += 1;
            });
        };
        states[2].push(calls(&slot, time, publish));
    }
    let [quiet, waking, swapping] = &states;
    let ratio = |one: &[Histogram<u64>], other: &[Histogram<u64>]| {
        let p999 = |round: &Histogram<u64>| round.value_at_quantile(0.999) as f64;
        let ratios: Vec<_> =
            one.iter().zip(other).map(|(one, other)| p999(one) / p999(other)).collect();
        rounded(quantile(&ratios, 0.5).unwrap_or(f64::NAN))
    };
    let blackout = Blackout {
        p999_ratio: ratio(swapping, quiet),
        p999_ratio_to_waking: ratio(swapping, waking),
        quiet: Quantiles::of(quiet),
        waking: Quantiles::of(waking),
        swapping: Quantiles::of(swapping),
        swaps,
        note: "two versions that were loaded by the host take turns, through midflight::bench::Turns; making a version is measured as a reload",
    };
    (blackout, drain(&mut turns, &slot))
}

impl Quantiles {
    fn of(rounds: &[Histogram<u64>]) -> Self {
        let median = |q: f64| {
            let values: Vec<_> =
                rounds.iter().map(|round| round.value_at_quantile(q) as f64 / 1e3).collect();
            rounded(quantile(&values, 0.5).unwrap_or(f64::NAN))
        };
        Quantiles {
            p50_us: median(0.5),
            p99_us: median(0.99),
            p999_us: median(0.999),
            max_us: median(1.0),
            batches: rounds.iter().map(Histogram::len).sum(),
        }
    }
}

/// Batches of calls for as long as `time`, while another thread does `meanwhile`.
fn calls(
    slot: &Slot<dyn Work>,
    time: Duration,
    meanwhile: impl FnOnce(&AtomicBool) + Send,
) -> Histogram<u64> {
    let mut nanoseconds = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("sound bounds");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| meanwhile(&over));
        let until = Instant::now() + time;
        let mut before = Instant::now();
        while before < until {
            batch(slot);
            let now = Instant::now();
            nanoseconds
                .saturating_record(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
            before = now;
        }
        over.store(true, Relaxed);
    });
    nanoseconds
}

#[inline(never)]
fn batch(slot: &Slot<dyn Work>) {
    for at in 0..CALLS_OF_A_BATCH {
        let _ = black_box(slot.add(black_box(at), 3));
    }
}

fn every_millisecond(over: &AtomicBool, mut act: impl FnMut()) {
    let began = Instant::now();
    let mut due = 0;
    while !over.load(Relaxed) {
        due += 1;
        act();
        let next = began + Duration::from_secs(1) / SWAPS_A_SECOND * due;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn drain(turns: &mut Turns, slot: &Slot<dyn Work>) -> Drain {
    let over = AtomicBool::new(false);
    let mut took = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                batch(slot);
            }
        });
        for _ in 0..2_000 {
            let began = Instant::now();
            turns.publish();
            while !turns.drained() {
                std::hint::spin_loop();
            }
            took.push(began.elapsed().as_nanos() as f64 / 1e3);
            // Not in step with the caller.
            thread::sleep(Duration::from_micros(50));
        }
        over.store(true, Relaxed);
    });
    let at = |q| rounded(quantile(&took, q).unwrap_or(f64::NAN));
    Drain { n: took.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
}
