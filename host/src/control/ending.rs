//! Endings: a drained generation is stopped, waits for what it left with threads, is closed, and
//! its absence proven. Or it stays, with its reasons, and is looked at again.

use super::Control;
use super::agenda::Item;
use super::books::Record;
use super::drain::HOLDERS_POLL;
use super::worker::{Duty, Workless};
use crate::command::{Command, Reply};
use crate::event::{EventKind, REASONS_MAX};
use crate::generation::{Generation, Left, Stopped};
use crate::holder::Holders;
use crate::library::Maps;
use crate::refusal::Refusal;
use crate::status::{GenerationStatus, Residency};
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
    /// When the status was last told what it waits for.
    shown: Instant,
    /// Why it is still there, as it was last reported; empty while it is within its deadlines.
    pub(super) reasons: Vec<String>,
    /// It never served: the answer to its update, which comes when nothing of it is left.
    pub(super) refused: Option<(Refusal, Option<Reply>)>,
}

/// The last look at the process's mappings.
#[derive(Default)]
pub(super) struct Looked {
    took: Duration,
    at: Option<Instant>,
}

impl Looked {
    /// How long until the next, where one is not to take more than a tenth of the time.
    fn wait(&self) -> Option<Duration> {
        let since = self.at?.elapsed();
        (self.took * 10).checked_sub(since).filter(|wait| !wait.is_zero())
    }
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
        self.agenda.later(Item::Ending(number), HOLDERS_POLL);
        let commands = self.shared.commands();
        self.must(Duty::Stop, number, move || {
            let (result, stopped) = generation.stop();
            let panic = result.err().map(|fault| fault.to_string());
            let stopped = Box::new(stopped);
            commands.post(Command::Stopped { generation: number, panic, stopped });
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
        self.look_at_ending(number, None);
    }

    fn close(&mut self, number: u64, stopped: Stopped) {
        let commands = self.shared.commands();
        self.must(Duty::Close, number, move || {
            let left = stopped.close();
            commands.post(Command::Closed { generation: number, left });
        });
    }

    pub(super) fn closed(&mut self, number: u64, left: Left) {
        if let Some(ending) = self.ending.get_mut(&number) {
            ending.enter(Phase::Kept(left));
        }
        self.agenda.hurry(Item::Ending(number));
    }

    /// Those that are to be proven absent are looked for in one look at the process's mappings,
    /// which are as many as there are libraries.
    pub(super) fn look_at_endings(&mut self, due: Vec<Item>) {
        let is_closed = |number: &u64| {
            self.ending.get(number).is_some_and(|ending| matches!(ending.phase, Phase::Kept(_)))
        };
        let due = due.into_iter().filter_map(Item::ending);
        let (closed, other): (Vec<_>, Vec<_>) = due.partition(is_closed);
        for number in other {
            self.look_at_ending(number, None);
        }
        if closed.is_empty() {
            return;
        }
        // Where many end, those that come next are looked for with these.
        let wait = self.looked.wait().filter(|_| self.ending.len() > closed.len());
        if let Some(wait) = wait {
            closed.into_iter().for_each(|number| self.agenda.later(Item::Ending(number), wait));
            return;
        }
        let began = Instant::now();
        let maps = Maps::now();
        self.looked = Looked { took: began.elapsed(), at: Some(Instant::now()) };
        for number in closed {
            self.look_at_ending(number, Some(&maps));
        }
    }

    fn look_at_ending(&mut self, number: u64, maps: Option<&Maps>) {
        let stop_deadline = self.shared.bounds.stop_deadline;
        let Some(ending) = self.ending.get_mut(&number) else {
            return self.agenda.remove(Item::Ending(number));
        };
        let reasons = ending.phase.reasons(number, &self.workless, maps);
        let is_for_good = match &ending.phase {
            Phase::Stopping | Phase::Closing => false,
            Phase::Leaving(stopped) => !stopped.left.image.keeps.is_empty(),
            Phase::Kept(_) => true,
        };
        if reasons.is_empty() {
            if matches!(ending.phase, Phase::Kept(_)) {
                self.gone(number);
            } else if let Phase::Leaving(stopped) = ending.enter(Phase::Closing) {
                self.agenda.later(Item::Ending(number), HOLDERS_POLL);
                self.close(number, stopped);
            }
        } else if is_for_good || ending.began.elapsed() >= stop_deadline {
            self.agenda.later(Item::Ending(number), RESIDENT_POLL);
            self.report(number, reasons);
        } else {
            match &ending.phase {
                Phase::Leaving(_) => self.agenda.again(Item::Ending(number)),
                // A command tells of their end.
                _ => self.agenda.later(Item::Ending(number), HOLDERS_POLL),
            }
            if ending.shown.elapsed() >= HOLDERS_POLL {
                ending.shown = Instant::now();
                self.show_left(number, reasons);
            }
        }
    }

    /// It is within its deadline, and what it waits for is no secret.
    fn show_left(&mut self, number: u64, reasons: Vec<String>) {
        let left = text::list(reasons, REASONS_MAX);
        if self.records.get(&number).is_some_and(|record| record.held_by.left != left)
            && let Some(record) = self.records.get_mut(&number)
        {
            record.held_by = Holders { left, ..Holders::default() };
        }
    }

    /// What keeps a generation that is ending.
    pub(super) fn left_by(&self, number: u64) -> Option<Holders> {
        let left = self.ending.get(&number)?.phase.reasons(number, &self.workless, None);
        Some(Holders { left, ..Holders::default() })
    }

    fn gone(&mut self, number: u64) {
        self.agenda.remove(Item::Ending(number));
        let Some(Ending { phase, refused, .. }) = self.ending.remove(&number) else { return };
        if let (Phase::Kept(left), Some(record)) = (phase, self.records.get_mut(&number)) {
            record.leave(&left);
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
        if let Some(record) = self.records.get(&number)
            && let Some(of_plugin) = self.in_memory.get_mut(record.plugin.as_str())
        {
            of_plugin.remove(&number);
        }
        self.unmapped.insert(number);
        if self.unmapped.len() > UNMAPPED_KEPT_MAX
            && let Some(oldest) = self.unmapped.pop_first()
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
        if !self.records.contains_key(&number)
            && let Phase::Leaving(Stopped { left, .. }) | Phase::Kept(left) = &ending.phase
        {
            let image = &left.image;
            let status = GenerationStatus {
                plugin: image.plugin.to_string(),
                version: image.version.to_string(),
                generation: number,
                build_id: image.build_id.clone(),
                stamped: image.stamped,
                residency: Residency::Retiring,
                held_by: Holders::default(),
                memory: left.memory,
                mapped: left.mapped,
            };
            let footprint = match &ending.phase {
                Phase::Leaving(stopped) => Some(stopped.footprint()),
                _ => None,
            };
            self.enter(Record::new(status, footprint));
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
        Ending { phase, began: now, shown: now, reasons: Vec::new(), refused }
    }

    fn enter(&mut self, phase: Phase) -> Phase {
        self.began = Instant::now();
        mem::replace(&mut self.phase, phase)
    }
}

impl Phase {
    /// Why it has not ended, by the `maps` or by a look of its own; empty where it has, or can go
    /// on.
    pub(super) fn reasons(
        &self,
        number: u64,
        workless: &Workless,
        maps: Option<&Maps>,
    ) -> Vec<String> {
        let of = |duty, name| match workless.why(duty, number) {
            Some(why) => vec![format!("{name} waits: {why}")],
            None => vec![format!("{name} still running")],
        };
        match self {
            Phase::Stopping => of(Duty::Stop, "stop"),
            Phase::Leaving(stopped) => stopped.holds(),
            Phase::Closing => of(Duty::Close, "close"),
            Phase::Kept(left) => {
                let look = |maps: &Maps| (left.has_code(maps), maps.is_blind());
                let reason = match maps.map_or_else(|| look(&Maps::now()), look) {
                    (false, _) => return Vec::new(),
                    (true, true) => {
                        "/proc is not mounted, or closed to this process, so that nobody can tell \
                         whether its code is gone"
                    }
                    (true, false) => "kept by the loader for a reason that it does not tell",
                };
                vec![reason.to_owned()]
            }
        }
    }
}
