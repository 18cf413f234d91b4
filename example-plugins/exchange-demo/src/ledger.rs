//! What the clients found, and what they need to know to judge.

use crate::answers::{Judgement, Order, judge};
use crate::plan::Kind;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Beyond this many the complaints are counted only.
const COMPLAINTS_KEPT: usize = 20;
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Shared by all clients, the director and the views.
pub(crate) struct Ledger {
    tally: Mutex<Tally>,
    /// The generation of the last `active` that was seen.
    floor: AtomicU64,
}

pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) faults: u64,
    pub(crate) mixed: u64,
    pub(crate) witness_calls: u64,
    pub(crate) calls_spanning_a_swap: u64,
    pub(crate) answers_by_version: BTreeMap<String, u64>,
    pub(crate) complaints: Vec<String>,
    pub(crate) quiet_us: Histogram<u64>,
    pub(crate) swapping_us: Histogram<u64>,
    /// Since the live view last looked.
    recent_us: Histogram<u64>,
    phase: Kind,
    /// When the version that panics may have been answering: before it was put in place, until it
    /// was seen replaced.
    faults_from: Option<Instant>,
    faults_until: Option<Instant>,
}

/// A request under way.
pub(crate) struct Sent {
    at: Instant,
    floor: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let latencies = || {
            Histogram::new_with_bounds(1, LATENCY_MAX.as_micros() as u64, 3)
                .expect("bounds that a histogram can have")
        };
        Ledger {
            tally: Mutex::new(Tally {
                requests: 0,
                failed: 0,
                faults: 0,
                mixed: 0,
                witness_calls: 0,
                calls_spanning_a_swap: 0,
                answers_by_version: BTreeMap::new(),
                complaints: Vec::new(),
                quiet_us: latencies(),
                swapping_us: latencies(),
                recent_us: latencies(),
                phase: Kind::WarmUp,
                faults_from: None,
                faults_until: None,
            }),
            floor: AtomicU64::new(0),
        }
    }

    /// From now on, nothing older may answer.
    pub(crate) fn seen_active(&self, generation: u64) {
        self.floor.store(generation, SeqCst);
    }

    pub(crate) fn phase(&self) -> Kind {
        self.tally.lock().phase
    }

    pub(crate) fn enter(&self, phase: Kind) {
        self.tally.lock().phase = phase;
    }

    pub(crate) fn faults_begin(&self) {
        self.tally.lock().faults_from = Some(Instant::now());
    }

    pub(crate) fn faults_end(&self) {
        self.tally.lock().faults_until = Some(Instant::now());
    }

    pub(crate) fn faults(&self) -> u64 {
        self.tally.lock().faults
    }

    /// A request that is about to be sent.
    pub(crate) fn send(&self) -> Sent {
        Sent { floor: self.floor.load(SeqCst), at: Instant::now() }
    }

    /// What came of it.
    pub(crate) fn judge(
        &self,
        order: &Order,
        sent: &Sent,
        answer: &Result<(u16, impl AsRef<[u8]>), String>,
    ) {
        let judgement = match answer {
            Ok((status, body)) => judge(order, *status, body.as_ref(), sent.floor),
            Err(lost) => Judgement::Wrong(format!("lost: {lost}")),
        };
        let mut tally = self.tally.lock();
        tally.requests += 1;
        match judgement {
            Judgement::Right { version, spanned } => {
                tally.witness_calls += 1;
                tally.calls_spanning_a_swap += u64::from(spanned);
                *tally.answers_by_version.entry(version).or_default() += 1;
            }
            Judgement::Refused => {}
            Judgement::Mixed(why) => {
                tally.witness_calls += 1;
                tally.mixed += 1;
                tally.complain(format!("mixed: {why}"));
            }
            Judgement::Fault if tally.faults_explained(sent.at) => tally.faults += 1,
            Judgement::Fault => tally.fail("a fault of a version that does not serve".into()),
            Judgement::Wrong(why) => tally.fail(why),
        }
    }

    /// How long a client waited that meant to send at `due`, in the part of the run that was then.
    pub(crate) fn waited(&self, phase: Kind, due: Instant) {
        let us = (due.elapsed().as_micros() as u64).max(1);
        let mut tally = self.tally.lock();
        tally.recent_us.saturating_record(us);
        match phase {
            Kind::Quiet => tally.quiet_us.saturating_record(us),
            Kind::Swapping => tally.swapping_us.saturating_record(us),
            Kind::WarmUp | Kind::Trials => {}
        }
    }

    /// Something beside the answers that was not as it should be.
    pub(crate) fn fail(&self, why: String) {
        self.tally.lock().fail(why);
    }

    /// The latencies since this was called last.
    pub(crate) fn recent_us(&self) -> Histogram<u64> {
        let mut tally = self.tally.lock();
        let empty = Histogram::new_from(&tally.recent_us);
        mem::replace(&mut tally.recent_us, empty)
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&Tally) -> R) -> R {
        read(&self.tally.lock())
    }
}

impl Tally {
    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.complain(why);
    }

    fn complain(&mut self, why: String) {
        if self.complaints.len() < COMPLAINTS_KEPT {
            self.complaints.push(why);
        }
    }

    fn faults_explained(&self, sent: Instant) -> bool {
        self.faults_from.is_some() && self.faults_until.is_none_or(|until| sent < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Orders;

    #[test]
    fn lost_answers_fail() {
        let ledger = Ledger::new();
        let order = Orders::new(1, 0).next().unwrap();
        ledger.judge(&order, &ledger.send(), &Err::<(u16, &[u8]), _>("connection closed".into()));
        ledger.read(|tally| {
            assert_eq!((tally.requests, tally.failed), (1, 1));
            assert_eq!(tally.complaints, ["lost: connection closed"]);
        });
    }

    #[test]
    fn faults_are_explained_only_while_the_version_that_panics_serves() {
        let ledger = Ledger::new();
        let before = Instant::now();
        assert!(!ledger.read(|tally| tally.faults_explained(before)));
        ledger.faults_begin();
        assert!(ledger.read(|tally| tally.faults_explained(Instant::now())));
        ledger.faults_end();
        assert!(
            ledger.read(|tally| tally.faults_explained(before)),
            "sent while it served, answered later"
        );
        assert!(!ledger.read(|tally| tally.faults_explained(Instant::now())));
    }

    #[test]
    fn latencies_go_to_the_part_that_they_belong_to() {
        let ledger = Ledger::new();
        for phase in [Kind::WarmUp, Kind::Quiet, Kind::Swapping, Kind::Swapping] {
            ledger.waited(phase, Instant::now());
        }
        ledger.read(|tally| assert_eq!((tally.quiet_us.len(), tally.swapping_us.len()), (1, 2)));
        assert_eq!(ledger.recent_us().len(), 4);
        assert_eq!(ledger.recent_us().len(), 0);
    }
}
