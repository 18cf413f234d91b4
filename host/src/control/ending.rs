//! Endings: a drained generation is stopped, waits for what it left with threads, is closed, and
//! its absence proven. Or it stays, with its reasons, and is looked at again.

use super::worker::{post, spawn};
use super::{Command, Control, Reply};
use crate::event::EventKind;
use crate::holder::Holders;
use crate::library::is_mapped;
use crate::refusal::Refusal;
use crate::release::{Generation, Left, Stopped};
use crate::status::{GenerationStatus, Mapped, Residency};
use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a generation that stayed mapped is looked at again.
pub(super) const RESIDENT_POLL: Duration = Duration::from_millis(500);
/// How many unmapped generations the status remembers.
const UNMAPPED_KEPT_MAX: usize = 256;

/// A generation without an instance, on its way out of memory.
pub(super) struct Ending {
    pub(super) phase: Phase,
    /// When the phase began.
    pub(super) began: Instant,
    pub(super) looked: Instant,
    /// Why it is still there, as it was last reported; empty while it is within its deadlines.
    pub(super) reasons: Vec<String>,
    /// It never served: the answer to its update, which comes when nothing of it is left.
    pub(super) refused: Option<(Refusal, Option<Reply>)>,
}

pub(super) enum Phase {
    /// A worker drops the instance.
    Stopping,
    /// Threads end, destructors run.
    Leaving(Stopped),
    /// A worker unmaps it.
    Closing,
    /// It was closed, and is still there.
    Kept(Left),
}

impl Control {
    pub(super) fn end_generation(&mut self, generation: Generation) {
        let number = generation.number;
        self.ending.insert(number, Ending::new(Phase::Stopping, None));
        let commands = self.shared.commands();
        let job = move |generation: Generation| {
            let (result, stopped) = generation.stop();
            let panic = result.err().map(|fault| fault.to_string());
            post(
                &commands,
                Command::Stopped { generation: number, panic, stopped: Box::new(stopped) },
            );
        };
        self.work(number, "midflight-retire", generation, job);
    }

    pub(super) fn stopped(&mut self, number: u64, panic: Option<String>, stopped: Stopped) {
        let took = self.ending.get(&number).map_or(Duration::ZERO, |ending| ending.began.elapsed());
        self.tell(number, took, EventKind::Stopped { panic });
        self.leave(number, stopped, None);
    }

    /// No instance is left, or never was. What is left is what its code gave to threads.
    pub(super) fn leave(
        &mut self,
        number: u64,
        stopped: Stopped,
        refused: Option<(Refusal, Option<Reply>)>,
    ) {
        self.ending.insert(number, Ending::new(Phase::Leaving(stopped), refused));
        self.look_at_ending(number);
    }

    fn close(&mut self, number: u64, stopped: Stopped) {
        let commands = self.shared.commands();
        let job = move |stopped: Stopped| {
            let left = stopped.close();
            post(&commands, Command::Closed { generation: number, left });
        };
        self.work(number, "midflight-close", stopped, job);
    }

    pub(super) fn closed(&mut self, number: u64, left: Left) {
        if let Some(ending) = self.ending.get_mut(&number) {
            ending.enter(Phase::Kept(left));
        }
        self.look_at_ending(number);
    }

    pub(super) fn look_at_endings(&mut self) {
        let due =
            |ending: &Ending| ending.reasons.is_empty() || ending.looked.elapsed() >= RESIDENT_POLL;
        let due: Vec<_> = self
            .ending
            .iter()
            .filter(|(_, ending)| due(ending))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.look_at_ending(number);
        }
    }

    fn look_at_ending(&mut self, number: u64) {
        let stop_deadline = self.shared.bounds.stop_deadline;
        let Some(ending) = self.ending.get_mut(&number) else { return };
        ending.looked = Instant::now();
        let overdue = ending.began.elapsed() >= stop_deadline;
        let reasons = match &ending.phase {
            Phase::Stopping => overdue.then(|| vec!["stop still running".to_owned()]),
            Phase::Closing => overdue.then(|| vec!["close still running".to_owned()]),
            Phase::Leaving(stopped) => match stopped.holds() {
                holds if holds.is_empty() => {
                    if let Phase::Leaving(stopped) = ending.enter(Phase::Closing) {
                        self.close(number, stopped);
                    }
                    return;
                }
                holds => (overdue || !stopped.left.image.keeps.is_empty()).then_some(holds),
            },
            Phase::Kept(left) if is_mapped(left.image.path()) => {
                Some(vec!["kept by the loader for a reason that it does not tell".to_owned()])
            }
            Phase::Kept(_) => return self.gone(number),
        };
        if let Some(reasons) = reasons {
            self.report(number, reasons);
        }
    }

    fn gone(&mut self, number: u64) {
        let Some(Ending { phase, refused, .. }) = self.ending.remove(&number) else { return };
        if let (Phase::Kept(left), Some(record)) = (phase, self.records.get_mut(&number)) {
            record.memory = left.memory;
            record.mapped = left.mapped;
        }
        self.unmapped(number);
        if let Some((refusal, reply)) = refused {
            self.refuse(Some(number), refusal, reply);
        }
    }

    pub(super) fn unmapped(&mut self, number: u64) {
        self.mark(number, Residency::Unmapped);
        let record = self.records.get(&number);
        let memory = record.and_then(|record| record.memory);
        let mapped = record.map(|record| record.mapped).unwrap_or_default();
        self.tell(number, Duration::ZERO, EventKind::Unmapped { memory, mapped });
        let mut unmapped =
            self.records.values().filter(|record| record.residency == Residency::Unmapped);
        let oldest = unmapped.next().map(|record| record.generation);
        if unmapped.count() >= UNMAPPED_KEPT_MAX
            && let Some(oldest) = oldest
        {
            self.records.remove(&oldest);
        }
    }

    /// The generation stays for now. Looked at again and again; told once.
    pub(super) fn report(&mut self, number: u64, reasons: Vec<String>) {
        let Some(ending) = self.ending.get_mut(&number) else { return };
        if ending.reasons == reasons {
            return;
        }
        let first = ending.reasons.is_empty();
        ending.reasons.clone_from(&reasons);
        let refused = ending.refused.take();
        let ways_out = match &ending.phase {
            Phase::Leaving(stopped) => stopped.ways_out(),
            _ => Vec::new(),
        };
        if let Phase::Leaving(Stopped { left, .. }) | Phase::Kept(left) = &ending.phase {
            let image = &left.image;
            self.records.entry(number).or_insert_with(|| GenerationStatus {
                plugin: image.plugin.to_string(),
                version: image.version.to_string(),
                generation: number,
                build_id: image.build_id.clone(),
                stamped: image.stamped,
                residency: Residency::Retiring,
                held_by: Holders::default(),
                memory: None,
                mapped: Mapped::default(),
            });
        }
        match first {
            true => {
                self.reside(number, reasons.clone());
                self.advise(number, &reasons, ways_out);
            }
            false => self.mark(number, Residency::Resident(reasons)),
        }
        if let Some((refusal, reply)) = refused {
            self.refuse(Some(number), refusal, reply);
        }
    }

    /// A plugin that can never be unloaded is told so at its first update, not when there is no
    /// room for the next.
    fn advise(&mut self, number: u64, reasons: &[String], ways_out: Vec<String>) {
        let record = self.records.get(&number);
        let Some(plugin) = record.and_then(|record| self.plugins.get_mut(record.plugin.as_str()))
        else {
            return;
        };
        let new: Vec<_> =
            ways_out.into_iter().filter(|way_out| plugin.advised.insert(way_out.clone())).collect();
        if !new.is_empty() && self.shutdown.is_none() {
            let (reasons, advice) = (reasons.to_vec(), new.join("; "));
            self.tell(number, Duration::ZERO, EventKind::NeverUnloads { reasons, advice });
        }
    }

    pub(super) fn reside(&mut self, number: u64, reasons: Vec<String>) {
        self.mark(number, Residency::Resident(reasons.clone()));
        self.tell(number, Duration::ZERO, EventKind::Resident(reasons));
    }

    /// A worker for what may not be dropped where no worker can be had: that stays mapped, and says
    /// so.
    fn work<T: Send + 'static>(
        &mut self,
        number: u64,
        name: &str,
        subject: T,
        job: impl FnOnce(T) + Send + 'static,
    ) {
        let subject = Arc::new(Mutex::new(Some(subject)));
        let taken = Arc::clone(&subject);
        let started = spawn(name, move || {
            if let Some(subject) = taken.lock().take() {
                job(subject);
            }
        });
        if let Err(refusal) = started {
            mem::forget(subject.lock().take());
            self.report(number, vec![refusal.reason().to_owned()]);
        }
    }
}

impl Ending {
    pub(super) fn new(phase: Phase, refused: Option<(Refusal, Option<Reply>)>) -> Self {
        let now = Instant::now();
        Ending { phase, began: now, looked: now, reasons: Vec::new(), refused }
    }

    fn enter(&mut self, phase: Phase) -> Phase {
        self.began = Instant::now();
        mem::replace(&mut self.phase, phase)
    }
}

impl Phase {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Phase::Stopping => "stop",
            Phase::Leaving(_) => "wait",
            Phase::Closing | Phase::Kept(_) => "close",
        }
    }
}
