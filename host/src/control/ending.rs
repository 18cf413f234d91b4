//! Endings: a drained generation is stopped, waits for what it left with threads, is closed, and
//! its absence proven. Or it stays, with its reasons, and is looked at again.

use super::drain::HOLDERS_POLL;
use super::worker::{Duty, Workless, post};
use super::{Command, Control, Reply};
use crate::event::{EventKind, REASONS_MAX};
use crate::holder::Holders;
use crate::library::is_mapped;
use crate::refusal::Refusal;
use crate::release::{Generation, Left, Stopped};
use crate::status::{GenerationStatus, Mapped, Residency};
use midflight_inspect::text;
use std::mem;
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
    /// When the status was last told what it waits for.
    shown: Instant,
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
        self.must(Duty::Stop, number, move || {
            let (result, stopped) = generation.stop();
            let panic = result.err().map(|fault| fault.to_string());
            post(
                &commands,
                Command::Stopped { generation: number, panic, stopped: Box::new(stopped) },
            );
        });
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
        self.must(Duty::Close, number, move || {
            let left = stopped.close();
            post(&commands, Command::Closed { generation: number, left });
        });
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
        let reasons = ending.phase.reasons(number, &self.workless);
        let is_for_good = match &ending.phase {
            Phase::Stopping | Phase::Closing => false,
            Phase::Leaving(stopped) => !stopped.left.image.keeps.is_empty(),
            Phase::Kept(_) => true,
        };
        if reasons.is_empty() {
            if matches!(ending.phase, Phase::Kept(_)) {
                self.gone(number);
            } else if let Phase::Leaving(stopped) = ending.enter(Phase::Closing) {
                self.close(number, stopped);
            }
        } else if is_for_good || ending.began.elapsed() >= stop_deadline {
            self.report(number, reasons);
        } else if ending.shown.elapsed() >= HOLDERS_POLL {
            ending.shown = Instant::now();
            self.show_left(number, reasons);
        }
    }

    /// It is within its deadline, and what it waits for is no secret.
    fn show_left(&mut self, number: u64, reasons: Vec<String>) {
        let left = text::list(reasons, REASONS_MAX);
        if let Some(record) = self.records.get_mut(&number)
            && record.held_by.left != left
        {
            record.held_by = Holders { left, ..Holders::default() };
            self.changed = true;
        }
    }

    /// What keeps a generation that is ending.
    pub(super) fn left_by(&self, number: u64) -> Option<Holders> {
        let left = self.ending.get(&number)?.phase.reasons(number, &self.workless);
        Some(Holders { left, ..Holders::default() })
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
}

impl Ending {
    pub(super) fn new(phase: Phase, refused: Option<(Refusal, Option<Reply>)>) -> Self {
        let now = Instant::now();
        Ending { phase, began: now, looked: now, shown: now, reasons: Vec::new(), refused }
    }

    fn enter(&mut self, phase: Phase) -> Phase {
        self.began = Instant::now();
        mem::replace(&mut self.phase, phase)
    }
}

impl Phase {
    /// Why it has not ended; empty where it has, or can go on.
    pub(super) fn reasons(&self, number: u64, workless: &Workless) -> Vec<String> {
        let of = |duty, name| match workless.why(duty, number) {
            Some(why) => vec![format!("{name} waits: {why}")],
            None => vec![format!("{name} still running")],
        };
        match self {
            Phase::Stopping => of(Duty::Stop, "stop"),
            Phase::Leaving(stopped) => stopped.holds(),
            Phase::Closing => of(Duty::Close, "close"),
            Phase::Kept(left) if is_mapped(left.image.path()) => {
                vec!["kept by the loader for a reason that it does not tell".to_owned()]
            }
            Phase::Kept(_) => Vec::new(),
        }
    }
}
