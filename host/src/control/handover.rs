//! Hand-over: a plugin's state goes from the generation that is left to the one that comes, while
//! nobody uses it.
//!
//! ```text
//! Ahead ──a copy is made while calls go on──▶ Closing ──the last call has left──▶ Moving ──all saved, all restored, all installed──▶ the store; the door opens
//!                                               └── handover_wait_max ──▶ given up: the door opens on what served ◀── failed ──┘
//! ```
//! On the way back from a trial it is the same with the sides exchanged, and nothing gives the way
//! back up: where the state can't be moved, what was on standby has it as it was at the switch, and
//! an event says so.
//!
//! Several plugins' states are moved together or not at all. So all of them are saved first, then
//! all are restored into places beside the instances' own, and then all are installed within each
//! other's locks, under the one [`Permit`] of the hand-over. Whoever gives the hand-over up revokes
//! that before the door opens: nothing is written into what serves.

use super::Control;
use super::publish::Ready;
use super::worker::{Duty, spawn};
use crate::command::Command;
use crate::event::EventKind;
use crate::gate::door::Door;
use crate::generation::{Generation, Saved, Schema};
use crate::permit::Permit;
use crate::refusal::Code;
use midflight_plugin::rt::Part;
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub(super) struct HandOver {
    /// Answers of workers name it.
    number: u64,
    pairs: Vec<Pair>,
    way: Way,
    phase: Phase,
    /// When the phase began; with the door shut, from when it was.
    shut: Instant,
    permit: Arc<Permit>,
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
struct Pair {
    from: Arc<Generation>,
    to: Arc<Generation>,
    /// The schema in which it is handed over: the older one of the two.
    version: u32,
    /// A copy is made ahead.
    ahead: bool,
}

impl Pair {
    /// `None` where there is no state to hand over.
    fn of(from: &Arc<Generation>, to: &Arc<Generation>) -> Result<Option<Pair>, String> {
        let Some(old) = from.schema() else { return Ok(None) };
        let pair =
            |version, ahead| Pair { from: Arc::clone(from), to: Arc::clone(to), version, ahead };
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

    /// The generation of the two in whose code a worker moves the state, and what it is at.
    fn at_work(&self) -> Option<(&Generation, &'static str)> {
        let of = |generation: &'_ Generation| {
            let mut work = generation.work().into_iter();
            work.find(|(what, _)| [Generation::SAVE, Generation::RESTORE].contains(what))
        };
        let both = [&*self.from, &*self.to].into_iter();
        both.filter_map(|generation| Some((generation, of(generation)?.0))).next()
    }
}

/// What a worker moves states with. It holds a generation while it is in its code, and no longer:
/// what it hangs in keeps no other in memory.
struct Carrier {
    number: u64,
    permit: Arc<Permit>,
    loads: Vec<Load>,
}

struct Load {
    from: Weak<Generation>,
    to: Weak<Generation>,
    version: u32,
    ahead: bool,
}

const GIVEN_UP: &str = "the hand-over was given up";

impl Carrier {
    fn copy_ahead(&self) -> Result<usize, String> {
        let mut bytes = 0;
        for load in self.loads.iter().filter(|load| load.ahead) {
            let mut part = Part::First;
            loop {
                let saved = self.save(load, part)?;
                bytes += saved.bytes.len();
                self.restore(load, part, &saved.bytes)?;
                if !saved.more {
                    break;
                }
                part = Part::Next;
            }
        }
        Ok(bytes)
    }

    fn carry(&self) -> Result<usize, String> {
        let part = |load: &Load| if load.ahead { Part::Rest } else { Part::Whole };
        let saved: Vec<_> = self
            .loads
            .iter()
            .map(|load| Ok(self.save(load, part(load))?.bytes))
            .collect::<Result<_, String>>()?;
        if !self.permit.restore() {
            return Err(GIVEN_UP.to_owned());
        }
        let mut bytes = 0;
        for (load, saved) in self.loads.iter().zip(saved) {
            bytes += saved.len();
            self.restore(load, part(load), &saved)?;
        }
        self.install(&self.loads)?;
        Ok(bytes)
    }

    fn save(&self, load: &Load, part: Part) -> Result<Saved, String> {
        let from = load.from.upgrade().ok_or(GIVEN_UP)?;
        let saved = from.save(self.number, load.version, part, &self.permit);
        saved.map_err(|reason| self.of(&from, reason))
    }

    fn restore(&self, load: &Load, part: Part, bytes: &[u8]) -> Result<(), String> {
        let to = load.to.upgrade().ok_or(GIVEN_UP)?;
        let restored = to.restore(self.number, load.version, part, bytes, &self.permit);
        restored.map_err(|reason| self.of(&to, reason))
    }

    /// All of them, or none: each within the leave of the one before, and the permit is taken when
    /// all are locked.
    fn install(&self, loads: &[Load]) -> Result<(), String> {
        let Some((first, others)) = loads.split_first() else {
            return if self.permit.take() { Ok(()) } else { Err(GIVEN_UP.to_owned()) };
        };
        let to = first.to.upgrade().ok_or(GIVEN_UP)?;
        let refused = RefCell::new(None);
        let leave = || {
            let installed = self.install(others);
            let granted = installed.is_ok();
            *refused.borrow_mut() = installed.err();
            granted
        };
        let installed = to.install(self.number, &self.permit, &leave);
        match refused.into_inner() {
            Some(reason) => Err(reason),
            None => installed.map_err(|reason| self.of(&to, reason)),
        }
    }

    /// With its plugin's name, where there are others.
    fn of(&self, generation: &Generation, reason: String) -> String {
        match self.loads.len() {
            1 => reason,
            _ => format!("{} {}: {reason}", generation.plugin, generation.version),
        }
    }

    /// Drops what was put aside, and ends the copies: each is waited for a moment at most.
    fn clear(&self, copies: bool) {
        let permit = Permit::until(Instant::now() + CLEARED_WITHIN);
        for Load { from, to, version, ahead } in &self.loads {
            if let Some(from) = from.upgrade().filter(|_| copies && *ahead) {
                // What can't be told so keeps a list of what changes, until it is asked for a copy
                // again.
                let _ = from.save(self.number, *version, Part::Forget, &permit);
            }
            if let Some(to) = to.upgrade() {
                let _ = to.restore(self.number, *version, Part::Forget, &[], &permit);
            }
        }
    }
}

/// For how long a state that is held keeps a worker that has nothing to do but clear up.
const CLEARED_WITHIN: Duration = Duration::from_secs(1);

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

    /// Time in which nothing of this process ran counts for nobody.
    pub(super) fn forgive(&mut self, lost: Duration) {
        self.shut += lost;
    }

    fn carrier(&self) -> Carrier {
        let load = |pair: &Pair| Load {
            from: Arc::downgrade(&pair.from),
            to: Arc::downgrade(&pair.to),
            version: pair.version,
            ahead: pair.ahead,
        };
        let loads = self.pairs.iter().map(load).collect();
        Carrier { number: self.number, permit: Arc::clone(&self.permit), loads }
    }

    /// Why it is not over after so long.
    fn lateness(&self, after: Duration) -> String {
        let at_work = self.pairs.iter().find_map(Pair::at_work);
        match (&self.phase, at_work) {
            (Phase::Closing, _) => format!("calls or leases were still inside after {after:?}"),
            (_, Some((it, _))) if self.permit.is_held() => format!(
                "a guard of the state of {} {} (Handed::read, Handed::write) was still held after \
                 {after:?}: it was forgotten, or is kept beyond its call",
                it.plugin, it.version
            ),
            (_, Some((it, what))) => {
                format!("{} {} was still in the {what} after {after:?}", it.plugin, it.version)
            }
            (Phase::Ahead, None) => format!("the copy ahead had not ended after {after:?}"),
            (Phase::Moving, None) => format!("the state was not moved after {after:?}"),
        }
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

    /// What the trial that is left has made of the state goes back with it.
    pub(super) fn hand_back(&mut self, group: &Arc<str>, failed: Option<String>) {
        let Some(trial) = self.groups.get(group).and_then(|state| state.switching()) else {
            return;
        };
        let (mut pairs, mut lost, mut stays) = (Vec::new(), Vec::new(), None);
        for tried in &trial.members {
            let Some(standby) = &tried.standby else { continue };
            match Pair::of(&tried.ready.generation, standby) {
                Ok(pair) => pairs.extend(pair),
                Err(reason) => {
                    // What has no state has none that others' could contradict.
                    if standby.schema().is_some() {
                        stays.get_or_insert_with(|| format!("that of {} stays", standby.plugin));
                    }
                    lost.push((standby.number, reason));
                }
            }
        }
        if let Some(stays) = stays {
            lost.extend(pairs.drain(..).map(|pair: Pair| (pair.to.number, stays.clone())));
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
        // Going back is to be short: who waits for it waits for a version that is no good.
        let up = matches!(way, Way::Up(_));
        let number = self.next_job();
        let pairs: Vec<_> =
            pairs.into_iter().map(|pair| Pair { ahead: pair.ahead && up, ..pair }).collect();
        let ahead = pairs.iter().any(|pair| pair.ahead);
        let Some(state) = self.groups.get_mut(group) else { return };
        let (phase, shut, permit) = (Phase::Ahead, Instant::now(), Arc::default());
        let handover = HandOver { number, pairs, way, phase, shut, permit };
        let carrier = handover.carrier();
        state.handover = Some(handover);
        match ahead {
            false => self.shut(group),
            true => self.carry(carrier, false),
        }
    }

    /// On a worker: it runs the plugins' code.
    fn carry(&mut self, carrier: Carrier, moves: bool) {
        let (commands, number) = (self.shared.commands(), carrier.number);
        let job = move || {
            let result = if moves { carrier.carry() } else { carrier.copy_ahead() };
            let failed = result.is_err();
            commands.post(Command::Carried { number, result });
            // Of what was installed, what it replaced is aside.
            if failed || moves || !carrier.permit.is_wanted() {
                carrier.clear(failed || !moves);
            }
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
        self.groups.noted().find_map(|(group, state)| {
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
        let groups = self.groups.noted().filter(|(_, state)| state.handover.is_some());
        for group in groups.map(|(group, _)| Arc::clone(group)).collect::<Vec<_>>() {
            let Some(state) = self.groups.get_mut(&group) else { continue };
            let Some(handover) = &mut state.handover else { continue };
            let (shut, up) = (handover.shut.elapsed(), matches!(handover.way, Way::Up(_)));
            let after = match handover.phase {
                Phase::Ahead => start,
                // Who is saved is not to be lost for want of a moment: nobody comes back for it.
                _ if !up && handover.permit.is_restoring() => wait_max.saturating_add(hooks),
                _ => wait_max,
            };
            if shut >= after {
                // Too late by as long as it takes to post that it is over.
                if !handover.permit.revoke() {
                    continue;
                }
                let reason = handover.lateness(after);
                self.give_state_up(&group, Code::HandoverTimedOut, &reason);
                continue;
            }
            let inside = |pair: &Pair| {
                self.draining.values().any(|draining| draining.retired.release().has(&pair.from))
            };
            if matches!(handover.phase, Phase::Closing) && !handover.pairs.iter().any(inside) {
                handover.phase = Phase::Moving;
                let carrier = handover.carrier();
                self.carry(carrier, true);
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
        let carrier = handover.carrier();
        let HandOver { number, pairs, way, .. } = handover;
        let standby: Vec<_> =
            pairs.iter().map(|pair| (pair.to.number, reason.to_owned())).collect();
        drop(pairs);
        // Until it is told so, it keeps a list of what changes.
        self.must(Duty::State, number, move || carrier.clear(true));
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
        // Before the door opens. What is being installed is so in this moment.
        handover.permit.revoke();
        Some((handover, state.door.take()))
    }

    /// The host ends: nothing is handed over any more, and who waits is let in to what is left.
    pub(super) fn end_handovers(&mut self) {
        let groups = self.groups.noted().map(|(group, _)| Arc::clone(group));
        for group in groups.collect::<Vec<_>>() {
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
