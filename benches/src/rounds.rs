//! Rounds: how lanes are timed on a machine that others use too.
//!
//! A mean over a second is a mean over what else ran in that second. So lanes are timed in batches
//! of some fifty microseconds, which mostly nothing interrupts, each lane's beside the others'. Of
//! a round's batches the shortest counts; two lanes are compared within a round, and the median
//! over the rounds is what is reported.

use crate::lanes::{CALLS_OF_A_REQUEST, Lane, Loop};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hint;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

const BATCH: Duration = Duration::from_micros(50);
const BATCHES_OF_A_ROUND: usize = 6;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many rounds.
    Rounds(usize),
    /// After so long, and at least three rounds.
    Time(Duration),
}

impl Until {
    /// After `rounds` since `began`?
    pub fn is_over(self, rounds: usize, began: Instant) -> bool {
        match self {
            Until::Rounds(all) => rounds >= all,
            Until::Time(time) => rounds >= 3 && began.elapsed() >= time,
        }
    }
}

/// What is timed: a lane, in a loop, on so many threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Which loop.
    #[serde(rename = "loop")]
    pub around: String,
    /// How many threads.
    pub threads: usize,
    /// Which lane.
    pub lane: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} thr.", self.lane, self.around, self.threads)
    }
}

/// Nanoseconds a call of one lane in one setting.
pub struct Timed {
    /// As in the report.
    pub lane: &'static str,
    /// A remark on the lane.
    pub note: Option<&'static str>,
    /// Which loop.
    pub around: Loop,
    /// How many threads.
    pub threads: usize,
    /// The shortest batch of each round; empty where the lane can't run so.
    pub rounds: Vec<f64>,
    all: Vec<f64>,
    calls: u64,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Call {
    #[serde(rename = "loop")]
    around: &'static str,
    threads: usize,
    lane: &'static str,
    min_ns: Option<f64>,
    median_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// How two lanes compare.
#[derive(Debug, Serialize)]
pub struct Ratio {
    #[serde(rename = "loop")]
    around: &'static str,
    threads: usize,
    ratio: String,
    /// Over the rounds.
    median: f64,
    /// A tenth of the rounds is below.
    p10: f64,
    /// A tenth of the rounds is above.
    p90: f64,
}

/// Every lane in both loops on one and on two threads, timed round by round.
pub struct Rounds<'l, 's> {
    lanes: &'l [Lane<'s>],
    timed: Vec<Timed>,
    count: usize,
}

impl<'l, 's> Rounds<'l, 's> {
    /// None yet.
    pub fn new(lanes: &'l [Lane<'s>]) -> Self {
        let mut timed = Vec::new();
        for threads in [1, 2] {
            for around in Loop::ALL {
                timed.extend(lanes.iter().map(|lane| Timed::new(lane, around, threads)));
            }
        }
        Rounds { lanes, timed, count: 0 }
    }

    /// One more.
    pub fn once(&mut self) {
        self.count += 1;
        let (alone, paired) = self.timed.split_at_mut(self.lanes.len() * Loop::ALL.len());
        alone_once(self.lanes, alone);
        paired_once(self.lanes, paired);
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What they were.
    pub fn timed(&self) -> &[Timed] {
        &self.timed
    }
}

/// Times every lane in both loops on one and on two threads.
pub fn run(lanes: &[Lane<'_>], until: Until) -> Vec<Timed> {
    let mut rounds = Rounds::new(lanes);
    let began = Instant::now();
    while !until.is_over(rounds.count, began) {
        rounds.once();
    }
    rounds.timed
}

/// Times lanes on this thread, in one loop.
pub fn run_alone(lanes: &[Lane<'_>], around: Loop, until: Until) -> Vec<Timed> {
    let mut timed: Vec<_> = lanes.iter().map(|lane| Timed::new(lane, around, 1)).collect();
    let began = Instant::now();
    let mut round = 0;
    while !until.is_over(round, began) {
        round += 1;
        alone_once(lanes, &mut timed);
    }
    timed
}

fn alone_once(lanes: &[Lane<'_>], timed: &mut [Timed]) {
    let mut best = vec![f64::INFINITY; timed.len()];
    for _ in 0..BATCHES_OF_A_ROUND {
        for (at, timed) in timed.iter_mut().enumerate() {
            let body = lanes[at % lanes.len()].body(timed.around);
            let took = time(body, timed.calls);
            timed.all.push(took);
            best[at] = best[at].min(took);
        }
    }
    for (timed, best) in timed.iter_mut().zip(best) {
        timed.rounds.push(best);
    }
}

/// Both threads run the same lane at the same time. The slower one of a batch counts: where one of
/// them was interrupted, the other ran alone, which is not what is measured.
fn paired_once(lanes: &[Lane<'_>], timed: &mut [Timed]) {
    let plan: Vec<_> = (timed.iter().enumerate())
        .filter_map(|(at, timed)| {
            Some((at, lanes[at % lanes.len()].shared_body(timed.around)?, timed.calls))
        })
        .collect();
    let (met, took_there) = (AtomicU64::new(0), AtomicU64::new(0));
    let batches = || (0..BATCHES_OF_A_ROUND).flat_map(|_| &plan);
    let mut best = vec![f64::INFINITY; timed.len()];
    thread::scope(|scope| {
        scope.spawn(|| {
            for (batch, (_, body, calls)) in batches().enumerate() {
                meet(&met, batch as u64 * 4 + 2);
                took_there.store(time(body, *calls).to_bits(), SeqCst);
                meet(&met, batch as u64 * 4 + 4);
            }
        });
        for (batch, (at, body, calls)) in batches().enumerate() {
            meet(&met, batch as u64 * 4 + 2);
            let here = time(body, *calls);
            meet(&met, batch as u64 * 4 + 4);
            let took = here.max(f64::from_bits(took_there.load(SeqCst)));
            timed[*at].all.push(took);
            best[*at] = best[*at].min(took);
        }
    });
    for (at, ..) in &plan {
        timed[*at].rounds.push(best[*at]);
    }
}

fn meet(met: &AtomicU64, all: u64) {
    met.fetch_add(1, SeqCst);
    let mut spins = 0u32;
    while met.load(SeqCst) < all {
        spins += 1;
        match spins % 1024 {
            0 => thread::yield_now(),
            _ => hint::spin_loop(),
        }
    }
}

/// Nanoseconds a call.
fn time(body: &(impl Fn(u64) + ?Sized), calls: u64) -> f64 {
    let began = Instant::now();
    body(calls);
    began.elapsed().as_nanos() as f64 / calls as f64
}

impl Timed {
    fn new(lane: &Lane<'_>, around: Loop, threads: usize) -> Self {
        let body = lane.body(around);
        // The second finds everything warm.
        let took = (0..5).map(|_| time(body, 4 * CALLS_OF_A_REQUEST)).fold(f64::INFINITY, f64::min);
        let calls = (BATCH.as_nanos() as f64 / took) as u64 / CALLS_OF_A_REQUEST;
        Timed {
            lane: lane.name,
            note: lane.note,
            around,
            threads,
            rounds: Vec::new(),
            all: Vec::new(),
            calls: calls.clamp(1, 400) * CALLS_OF_A_REQUEST,
        }
    }

    /// What it is that is timed.
    pub fn setting(&self) -> Setting {
        let (around, lane) = (self.around.name().to_owned(), self.lane.to_owned());
        Setting { around, threads: self.threads, lane }
    }

    #[cfg(test)]
    pub(crate) fn with_rounds(lane: &'static str, rounds: &[f64]) -> Self {
        let (rounds, all) = (rounds.to_vec(), Vec::new());
        Timed { lane, note: None, around: Loop::Tight, threads: 1, rounds, all, calls: 0 }
    }

    /// The shortest batch.
    pub fn min(&self) -> Option<f64> {
        self.all.iter().copied().min_by(f64::total_cmp)
    }

    /// The median batch.
    pub fn median(&self) -> Option<f64> {
        quantile(&self.all, 0.5)
    }

    /// For the report.
    pub fn call(&self) -> Call {
        let note = if self.all.is_empty() {
            Some("it can't be called from a second thread")
        } else {
            self.note
        };
        Call {
            around: self.around.name(),
            threads: self.threads,
            lane: self.lane,
            min_ns: self.min().map(rounded),
            median_ns: self.median().map(rounded),
            note,
        }
    }
}

/// `lane/to` in each setting that has both.
pub fn ratios(timed: &[Timed], lane: &str, to: &str) -> Vec<Ratio> {
    let of_lane = timed.iter().filter(|timed| timed.lane == lane);
    let ratios = of_lane.filter_map(|timed_lane| {
        let other = timed.iter().find(|other| {
            other.lane == to
                && other.around == timed_lane.around
                && other.threads == timed_lane.threads
        })?;
        let rounds = timed_lane.rounds.iter().zip(&other.rounds);
        let rounds: Vec<f64> = rounds.map(|(one, other)| one / other).collect();
        Some(Ratio {
            around: timed_lane.around.name(),
            threads: timed_lane.threads,
            ratio: format!("{lane}/{to}"),
            median: rounded(quantile(&rounds, 0.5)?),
            p10: rounded(quantile(&rounds, 0.1)?),
            p90: rounded(quantile(&rounds, 0.9)?),
        })
    });
    ratios.collect()
}

/// The value that a share `q` of `values` is not above.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * q) as usize;
    sorted.get(at.min(sorted.len().checked_sub(1)?)).copied()
}

/// To what a report needs.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
