//! Hand-over: a plugin's state goes from the generation that is left to the one that comes, while
//! nobody uses it.
//!
//! ```text
//! Ahead ──a copy is made while calls go on──▶ Closing ──the last call has left──▶ Moving ──saved, restored──▶ the store; the door opens
//!                                               └── handover_wait_max ──▶ given up: the door opens on what served ◀── failed ──┘
//! ```
//! On the way back from a trial it is the same with the sides exchanged, and nothing gives the way
//! back up: where the state can't be moved, what was on standby has it as it was at the switch, and
//! an event says so.

use super::publish::Ready;
use super::worker::{Duty, post, spawn};
use super::{Command, Control};
use crate::event::EventKind;
use crate::gate::door::Door;
use crate::refusal::Code;
use crate::release::{Generation, Schema};
use midflight_plugin::rt::Part;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::{Duration, Instant};

pub(super) struct HandOver {
    /// Answers of workers name it.
    number: u64,
    pairs: Vec<Pair>,
    way: Way,
    phase: Phase,
    /// When the phase began; with the door shut, from when it was.
    shut: Instant,
    /// Who is first: a worker that restores, or whoever gives up. Nothing is restored into what
    /// serves again.
    claimed: Arc<AtomicBool>,
}

/// Where it leads.
pub(super) enum Way {
    /// To the store of these.
    Up(Vec<Ready>),
    /// To the store back of the group's trial; with what its `before_return` failed with.
    Back(Option<String>),
}

enum Phase {
    Ahead,
    Closing,
    Moving,
}

/// The two generations of one plugin.
#[derive(Clone)]
struct Pair {
    from: Arc<Generation>,
    to: Arc<Generation>,
    /// The schema in which it is handed over: the older one of the two.
    version: u32,
    /// A copy is made ahead.
    ahead: bool,
    /// Of the hand-over.
    number: u64,
    claimed: Arc<AtomicBool>,
}

impl Pair {
    /// `None` where there is no state to hand over.
    fn of(from: &Arc<Generation>, to: &Arc<Generation>) -> Result<Option<Pair>, String> {
        let Some(old) = from.schema() else { return Ok(None) };
        let pair = |version, ahead| Pair {
            from: Arc::clone(from),
            to: Arc::clone(to),
            version,
            ahead,
            number: 0,
            claimed: Arc::default(),
        };
        match to.schema() {
            None => Err(format!("{} keeps a state, and {} has none", from.version, to.version)),
            Some(Schema { version, restores_from, ahead, .. })
                if (restores_from..=version).contains(&old.version) =>
            {
                Ok(Some(pair(old.version, ahead && old.ahead)))
            }
            Some(Schema { version, ahead, .. })
                if (old.saves_to..old.version).contains(&version) =>
            {
                Ok(Some(pair(version, ahead && old.ahead)))
            }
            Some(Schema { version, .. }) => Err(format!(
                "there is no migration from schema {} of the state to {version}",
                old.version
            )),
        }
    }

    fn copy_ahead(&self) -> Result<usize, String> {
        let (mut bytes, mut part) = (0, Part::First);
        loop {
            let saved = self.from.save(self.number, self.version, part)?;
            bytes += saved.bytes.len();
            self.to.restore(self.version, part, &saved.bytes)?;
            if !saved.more {
                return Ok(bytes);
            }
            part = Part::Next;
        }
    }

    fn carry(&self) -> Result<usize, String> {
        let part = if self.ahead { Part::Rest } else { Part::Whole };
        let saved = self.from.save(self.number, self.version, part)?;
        if self.claimed.swap(true, AcqRel) {
            return Err("the hand-over was given up".to_owned());
        }
        let restored = self.to.restore(self.version, part, &saved.bytes);
        self.claimed.store(false, Release);
        restored.map(|()| saved.bytes.len())
    }
}

impl HandOver {
    /// What it leads to, on the way up.
    pub(super) fn ready(&self) -> &[Ready] {
        match &self.way {
            Way::Up(ready) => ready,
            Way::Back(_) => &[],
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Control {
    /// Switches `ready` in, with the state of what it replaces. How many were switched, unless a
    /// hand-over comes first.
    pub(super) fn switch(&mut self, group: &Arc<str>, ready: Vec<Ready>) -> usize {
        let ready = self.try_first(group, ready);
        if ready.is_empty() {
            return 0;
        }
        let (Some(state), count) = (self.groups.get(group), ready.len()) else { return 0 };
        let pairs: Result<Vec<_>, _> = (ready.iter())
            .filter_map(|ready| {
                let from =
                    state.active.iter().find(|active| active.plugin == ready.generation.plugin)?;
                Pair::of(from, &ready.generation).transpose()
            })
            .collect();
        if pairs.is_ok()
            && let Err(refusal) = self.note_trial(group, &ready)
        {
            // Its canary was to end with this switch.
            if ready.iter().any(|ready| ready.served) {
                self.publish(group);
            }
            for ready in ready.into_iter().rev() {
                self.withdraw(ready, refusal.code(), refusal.reason());
            }
            return 0;
        }
        match pairs {
            Ok(pairs) if pairs.is_empty() => {
                self.activate(group, ready);
                return count;
            }
            Ok(pairs) => self.hand_over(group, pairs, Way::Up(ready)),
            Err(reason) => {
                for ready in ready.into_iter().rev() {
                    self.withdraw(ready, Code::StateIncompatible, &reason);
                }
            }
        }
        0
    }

    /// What the trial has made of the state goes back with it.
    pub(super) fn hand_back(&mut self, group: &Arc<str>, failed: Option<String>) {
        let Some(trial) = self.groups.get(group).and_then(|state| state.trial.as_ref()) else {
            return;
        };
        let mut pairs = Vec::new();
        let mut lost = Vec::new();
        for tried in &trial.members {
            let Some(standby) = &tried.standby else { continue };
            match Pair::of(&tried.ready.generation, standby) {
                Ok(pair) => pairs.extend(pair),
                Err(reason) => lost.push((standby.number, reason)),
            }
        }
        self.lose(lost);
        match pairs.is_empty() {
            true => self.switch_back(group, failed),
            false => self.hand_over(group, pairs, Way::Back(failed)),
        }
    }

    fn lose(&mut self, lost: Vec<(u64, String)>) {
        for (number, reason) in lost {
            self.tell(number, Duration::ZERO, EventKind::StateLost { reason });
        }
    }

    fn hand_over(&mut self, group: &Arc<str>, pairs: Vec<Pair>, way: Way) {
        // Going back, a copy that failed half-way would have overwritten what the standby still
        // has.
        let up = matches!(way, Way::Up(_));
        let number = self.next_job();
        let claimed: Arc<AtomicBool> = Arc::default();
        let of_this = |pair: Pair| {
            let (ahead, claimed) = (pair.ahead && up, Arc::clone(&claimed));
            Pair { ahead, number, claimed, ..pair }
        };
        let pairs: Vec<_> = pairs.into_iter().map(of_this).collect();
        let ahead: Vec<_> = pairs.iter().filter(|pair| pair.ahead).cloned().collect();
        let Some(state) = self.groups.get_mut(group) else { return };
        let phase = Phase::Ahead;
        state.handover =
            Some(HandOver { number, pairs, way, phase, shut: Instant::now(), claimed });
        match ahead.is_empty() {
            true => self.shut(group),
            false => self.carry(number, ahead, Pair::copy_ahead),
        }
    }

    /// On a worker: it runs the plugins' code.
    fn carry(&mut self, number: u64, pairs: Vec<Pair>, carry: fn(&Pair) -> Result<usize, String>) {
        let commands = self.shared.commands();
        let job = move || {
            let result = pairs.iter().try_fold(0, |bytes, pair| Ok(bytes + carry(pair)?));
            drop(pairs);
            post(&commands, Command::Carried { number, result });
        };
        let Some((group, handover)) = self.handover(number) else { return };
        match handover.way {
            // Callers wait at the door, and what serves can serve on.
            Way::Up(_) => {
                if let Err(refusal) = spawn("midflight-state", job) {
                    self.give_state_up(&group, refusal.code(), refusal.reason());
                }
            }
            Way::Back(_) => self.must(Duty::State, number, job),
        }
    }

    fn handover(&self, number: u64) -> Option<(Arc<str>, &HandOver)> {
        self.groups.iter().find_map(|(group, state)| {
            let handover = state.handover.as_ref().filter(|it| it.number == number)?;
            Some((Arc::clone(group), handover))
        })
    }

    pub(super) fn carried(&mut self, number: u64, result: Result<usize, String>) {
        let Some((group, handover)) = self.handover(number) else { return };
        let ahead = matches!(handover.phase, Phase::Ahead);
        match result {
            Ok(_) if ahead => self.shut(&group),
            Ok(bytes) => self.handed_over(&group, bytes),
            Err(reason) => self.give_state_up(&group, Code::HandoverFailed, &reason),
        }
    }

    /// From here on who comes waits, and who is inside leaves.
    fn shut(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        state.door = Some(Arc::default());
        if let Some(handover) = &mut state.handover {
            handover.phase = Phase::Closing;
            handover.shut = Instant::now();
        }
        self.publish(group);
    }

    pub(super) fn look_at_handovers(&mut self) {
        let bounds = &self.shared.bounds;
        let (wait_max, start, hooks) =
            (bounds.handover_wait_max, bounds.start_deadline, bounds.hook_deadline);
        let groups = self.groups.iter().filter(|(_, state)| state.handover.is_some());
        for group in groups.map(|(group, _)| Arc::clone(group)).collect::<Vec<_>>() {
            let Some(state) = self.groups.get_mut(&group) else { continue };
            let Some(handover) = &mut state.handover else { continue };
            if matches!(handover.phase, Phase::Ahead) {
                if handover.shut.elapsed() >= start {
                    let reason = format!("the copy ahead has not ended within {start:?}");
                    self.give_state_up(&group, Code::HandoverTimedOut, &reason);
                }
                continue;
            }
            let shut = handover.shut.elapsed();
            if shut >= wait_max {
                // Half restored is worse than late: what was on standby must not be changed once it
                // serves.
                let restoring =
                    matches!(handover.way, Way::Back(_)) && handover.claimed.swap(true, AcqRel);
                if restoring && shut < wait_max.saturating_add(hooks) {
                    continue;
                }
                let what = match handover.phase {
                    Phase::Moving => "the state was not saved and restored",
                    _ => "calls or leases were still inside after",
                };
                self.give_state_up(
                    &group,
                    Code::HandoverTimedOut,
                    &format!("{what} within {wait_max:?}"),
                );
                continue;
            }
            let inside = |pair: &Pair| {
                self.draining.iter().any(|draining| draining.retired.release().has(&pair.from))
            };
            if matches!(handover.phase, Phase::Closing) && !handover.pairs.iter().any(inside) {
                handover.phase = Phase::Moving;
                let (number, pairs) = (handover.number, handover.pairs.clone());
                self.carry(number, pairs, Pair::carry);
            }
        }
    }

    fn handed_over(&mut self, group: &Arc<str>, bytes: usize) {
        let Some((handover, door)) = self.end_handover(group) else { return };
        let (number, count) = (handover.number, handover.ready().len());
        let to: Vec<_> = handover.pairs.iter().map(|pair| (pair.to.number, pair.version)).collect();
        drop(handover.pairs);
        match handover.way {
            Way::Up(ready) => self.activate(group, ready),
            Way::Back(failed) => self.switch_back(group, failed),
        }
        open(door);
        let waited = handover.shut.elapsed();
        for (number, schema) in to {
            self.tell(number, waited, EventKind::HandedOver { schema, bytes });
        }
        self.at_point(number, count);
    }

    /// The door opens on what served; or, on the way back, on what is on standby.
    fn give_state_up(&mut self, group: &Arc<str>, code: Code, reason: &str) {
        let Some((handover, door)) = self.end_handover(group) else { return };
        let HandOver { number, pairs, way, .. } = handover;
        let standby: Vec<_> =
            pairs.iter().map(|pair| (pair.to.number, reason.to_owned())).collect();
        // Until it is told so, it keeps a list of what changes.
        self.must(Duty::State, number, move || {
            for pair in pairs.iter().filter(|pair| pair.ahead) {
                let _ = pair.from.save(pair.number, pair.version, Part::Forget);
            }
        });
        match way {
            Way::Up(ready) => {
                if door.is_some() {
                    self.publish(group);
                }
                open(door);
                self.note_given_up(group, reason);
                for ready in ready.into_iter().rev() {
                    self.withdraw(ready, code, reason);
                }
                self.resume(group);
            }
            Way::Back(failed) => {
                self.lose(standby);
                self.switch_back(group, failed);
                open(door);
            }
        }
        self.at_point(number, 0);
    }

    fn end_handover(&mut self, group: &Arc<str>) -> Option<(HandOver, Option<Arc<Door>>)> {
        let state = self.groups.get_mut(group)?;
        let handover = state.handover.take()?;
        Some((handover, state.door.take()))
    }

    /// The host ends: nothing is handed over any more, and who waits is let in to what is left.
    pub(super) fn end_handovers(&mut self) {
        for group in self.groups.keys().cloned().collect::<Vec<_>>() {
            let why = "the host is ending";
            let Some((HandOver { number, way, .. }, door)) = self.end_handover(&group) else {
                continue;
            };
            self.at_point(number, 0);
            self.publish(&group);
            open(door);
            if let Way::Up(ready) = way {
                for ready in ready.into_iter().rev() {
                    self.withdraw(ready, Code::ShuttingDown, why);
                }
            }
        }
    }

    /// An operator does not want it any more.
    pub(super) fn cancel_handover(&mut self, group: &Arc<str>, plugin: &str) -> bool {
        let handover = self.groups.get(group).and_then(|state| state.handover.as_ref());
        let found =
            handover.is_some_and(|it| it.ready().iter().any(|it| *it.update.plugin == *plugin));
        if found {
            self.give_state_up(group, Code::Cancelled, "an operator cancelled it");
        }
        found
    }
}

fn open(door: Option<Arc<Door>>) {
    door.into_iter().for_each(|door| door.open());
}
