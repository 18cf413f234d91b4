//! Publishing: from what is prepared to what serves, with one store.

use super::books::record;
use super::drain::Draining;
use super::handover::HandOver;
use super::trial::Tried;
use super::update::{Good, Update};
use super::worker::answer;
use super::{Control, GroupState, PluginState};
use crate::command::Applied;
use crate::contracts::Slots;
use crate::event::EventKind;
use crate::gate::release::Release;
use crate::gate::ways::Detour;
use crate::generation::Generation;
use crate::meter::Latency;
use crate::refusal::{Code, Refusal};
use crate::status::Residency;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// How many versions of a plugin that have served are remembered, to be taken up no more.
const PAST_MAX: usize = 64;

/// Why what is overtaken is refused.
pub(super) const NEWER: &str = "a newer version of it is prepared";

/// A generation that could be published.
pub(super) struct Ready {
    pub(super) generation: Arc<Generation>,
    pub(super) update: Update,
    /// Its canary is over, or what it replaces was measured.
    pub(super) was_tried: bool,
    /// It has answered calls in its canary.
    pub(super) served: bool,
    /// How long calls took meanwhile, where there is a budget.
    pub(super) latency: Option<Latency>,
}

impl Ready {
    pub(super) fn new(generation: Arc<Generation>, update: Update) -> Self {
        Ready { generation, update, was_tried: false, served: false, latency: None }
    }
}

/// A switch point that is over when states have been handed over, or not.
pub(super) struct Point {
    reply: SyncSender<usize>,
    switched: usize,
    /// By number.
    pending: Vec<u64>,
}

impl Control {
    /// Of one plugin the newest waits; what it overtakes never served.
    pub(super) fn await_switch_point(&mut self, group: &Arc<str>, ready: Ready) {
        self.shared.waiting.store(true, SeqCst);
        self.await_turn(group, ready, |state| &mut state.ready);
    }

    /// At once, unless hooks of another switch are running: what is on trial may have begun to go
    /// back while this was prepared.
    pub(super) fn switch_or_wait(&mut self, group: &Arc<str>, ready: Vec<Ready>) {
        match self.groups.get(group).is_some_and(GroupState::is_switching) {
            true => ready.into_iter().for_each(|ready| self.await_behind(group, ready)),
            false => drop(self.switch(group, ready)),
        }
    }

    /// Until the hooks that run, or the canary, are over.
    pub(super) fn await_behind(&mut self, group: &Arc<str>, ready: Ready) {
        self.await_turn(group, ready, |state| &mut state.behind);
    }

    fn await_turn(
        &mut self,
        group: &Arc<str>,
        ready: Ready,
        of: impl Fn(&mut GroupState) -> &mut Vec<Ready>,
    ) {
        self.enter(record(&ready.generation, Residency::Prepared));
        let overtaken = self.take_overtaken(group, &ready, &of);
        if let Some(state) = self.groups.get_mut(group) {
            of(state).push(ready);
        }
        self.refuse_overtaken(group, overtaken);
    }

    /// What waits there of the same plugin.
    pub(super) fn take_overtaken(
        &mut self,
        group: &Arc<str>,
        by: &Ready,
        of: impl Fn(&mut GroupState) -> &mut Vec<Ready>,
    ) -> Option<Ready> {
        let waiting = of(self.groups.get_mut(group)?);
        let same = |other: &Ready| other.generation.plugin == by.generation.plugin;
        waiting.iter().position(same).map(|at| waiting.remove(at))
    }

    /// With all of its release.
    pub(super) fn refuse_overtaken(
        &mut self,
        group: &Arc<str>,
        overtaken: impl IntoIterator<Item = Ready>,
    ) {
        for overtaken in overtaken {
            let release = overtaken.update.release;
            self.withdraw(overtaken, Code::Superseded, NEWER);
            if let Some(release) = release {
                self.scatter(group, release);
            }
        }
    }

    pub(super) fn withdraw(&mut self, ready: Ready, code: Code, why: &str) {
        let Ready { generation, update, served, .. } = ready;
        let refusal = Refusal::new(code, why).of(&update.plugin, &update.version);
        if served {
            self.note_withdrawn(&[Arc::clone(&generation)], &refusal);
        }
        self.refuse(Some(update.generation), refusal, update.reply);
        match served {
            true => self.take_back(generation),
            false => self.dismiss(generation),
        }
    }

    /// Who is inside of a call can't wait for the state of its group to be handed over: that waits
    /// for the call.
    pub(super) fn allow_within(&self, groups: &[u64], plugin: Option<&str>) -> Result<(), Refusal> {
        if groups.is_empty() {
            return Ok(());
        }
        let entered = self.groups.iter().filter(|(_, state)| groups.contains(&state.cell.number()));
        for (group, state) in entered {
            let is_meant = |name: &str| match plugin {
                Some(plugin) => name == plugin,
                None => state.ready.iter().any(|ready| *ready.generation.plugin == *name),
            };
            let mut active = state.active.iter();
            let keeps = active.find(|it| is_meant(&it.plugin) && it.schema().is_some());
            if let Some(keeps) = keeps {
                let reason = format!(
                    "this thread is inside of a call, a request or a future of group {group}, in \
                     which {} hands its state over when nobody is",
                    keeps.plugin
                );
                return Err(
                    Refusal::new(Code::InsideCall, reason).of(&keeps.plugin, &keeps.version)
                );
            }
        }
        Ok(())
    }

    /// Publishes what waits: of each group with one store.
    pub(super) fn switch_point(&mut self, reply: &SyncSender<usize>) {
        self.shared.waiting.store(false, SeqCst);
        let (mut switched, mut pending) = (0, Vec::new());
        let groups: Vec<_> = self.groups.noted().map(|(group, _)| Arc::clone(group)).collect();
        for group in groups {
            let ready = self.groups.get_mut(&group).filter(|state| !state.is_switching());
            let ready = ready.map(|state| mem::take(&mut state.ready));
            if let Some(ready) = ready.filter(|ready| !ready.is_empty()) {
                switched += self.switch(&group, ready);
                let state = self.groups.get(&group);
                pending
                    .extend(state.and_then(|state| state.handover.as_ref()).map(HandOver::number));
            }
        }
        // What comes behind hooks that are running waits for the next one.
        if self.groups.noted().any(|(_, state)| !state.ready.is_empty()) {
            self.shared.waiting.store(true, SeqCst);
        }
        match pending.is_empty() {
            true => answer(reply, switched),
            false => self.points.push(Point { reply: reply.clone(), switched, pending }),
        }
    }

    /// The hand-over `number` is over: who waits at a switch point for the last of its own is told
    /// how many were switched.
    pub(super) fn at_point(&mut self, number: u64, switched: usize) {
        for mut point in mem::take(&mut self.points) {
            if let Some(at) = point.pending.iter().position(|pending| *pending == number) {
                point.pending.swap_remove(at);
                point.switched += switched;
            }
            match point.pending.is_empty() {
                true => answer(&point.reply, point.switched),
                false => self.points.push(point),
            }
        }
    }

    /// The one store, and what follows for the books.
    pub(super) fn activate(&mut self, group: &Arc<str>, ready: Vec<Ready>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let mut replaced = Vec::new();
        for Ready { generation: new, .. } in &ready {
            let at = state.active.iter().position(|active| active.plugin == new.plugin);
            replaced.push(at.map(|at| state.active.swap_remove(at)));
            state.active.push(Arc::clone(new));
        }
        if replaced.iter().any(Option::is_some) {
            self.keeping.begin();
        }
        let on_probation = self.shared.bounds.probation > Duration::ZERO;
        let latency = ready.iter().find_map(|ready| ready.latency.clone()).filter(|_| on_probation);
        state.latency = latency.clone().or_else(|| state.measured());
        let release = self.publish(group);
        let mut members = Vec::new();
        let mut superseded = Vec::new();
        for (ready, old) in ready.into_iter().zip(replaced) {
            let new = &ready.generation;
            self.enter(record(new, Residency::Active));
            let took = ready.update.began.elapsed();
            let previous = old.as_ref().map(|old| old.number);
            let applied = Applied { previous, ..self.applied(new, took) };
            let mut last_good =
                self.plugins.get(&new.plugin).and_then(|plugin| plugin.last_good.clone());
            // What was on probation was never committed: the way back leads to what was before it.
            let (mut standby, mut passed) = (old, None);
            let state = self.groups.get_mut(group);
            let tried = previous.zip(state).and_then(|(it, state)| state.take_tried(it));
            if let Some(tried) = tried {
                passed = Some(tried.passed_over());
                superseded.extend(std::mem::replace(&mut standby, tried.standby));
                last_good = tried.last_good;
            }
            if let Some(plugin) = self.plugins.get_mut(&new.plugin) {
                plugin.activate(new, standby.as_deref(), ready.update.rollback);
            }
            if let Some(standby) = &standby {
                self.mark(standby.number, Residency::Standby);
            }
            members.push(Tried::new(ready, standby, last_good, applied, passed));
        }
        self.show();
        for Tried { ready: Ready { update, .. }, applied, .. } in &members {
            let kind = EventKind::Active { release, previous: applied.previous };
            self.shared.events.add(update.about(), applied.took, kind);
        }
        superseded.into_iter().for_each(|old| self.retire(old));
        self.begin_trial(group, members, latency);
    }

    /// Makes a release of the group's active generations the current one.
    pub(super) fn publish(&mut self, group: &Arc<str>) -> u64 {
        let before = self.releases;
        let Some(state) = self.groups.get_mut(group) else {
            return 0;
        };
        let release = Self::made_of(state, &mut self.releases, &self.slots);
        state.numbers = before..self.releases;
        self.store(group, release);
        self.releases
    }

    /// Makes the current release anew, for a slot that it does not bind yet. What serves is the
    /// same and keeps its number: numbers count what was switched.
    pub(super) fn publish_again(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get(group) else { return };
        let mut number = state.numbers.start;
        let release = Self::made_of(state, &mut number, &self.slots);
        match number == state.numbers.end {
            true => self.store(group, release),
            // Something else serves, and this is the store that comes of it.
            false => {
                self.publish(group);
            }
        }
    }

    /// `releases` is the last number that was given, and will be.
    fn made_of(state: &GroupState, releases: &mut u64, slots: &Slots) -> Release {
        match &state.door {
            Some(door) => {
                *releases += 1;
                Release::leading(*releases, Detour::Shut(Arc::clone(door)))
            }
            None => Self::entrance(state, releases, slots),
        }
    }

    fn store(&mut self, group: &Arc<str>, release: Release) {
        let Some(state) = self.groups.get(group) else { return };
        let retired = state.cell.publish(Arc::new(release));
        let since = Instant::now();
        self.begin_drain(Draining { retired, since, by_lease: Vec::new(), given_up: false });
    }
}

impl PluginState {
    pub(super) fn activate(&mut self, new: &Generation, old: Option<&Generation>, rollback: bool) {
        self.active = Some(new.number);
        self.config = Arc::clone(&new.config);
        self.last_good = old
            .filter(|_| !rollback)
            .map(|old| Good { image: Arc::clone(&old.image), config: Arc::clone(&old.config) });
        if let Some(old) = old.filter(|_| rollback) {
            let reason = "an operator rolled it back".to_owned();
            self.held.insert(*old.image.digest.as_bytes(), reason);
        }
        // Last: going back to another configuration of the same content holds nothing.
        self.held.remove(new.image.digest.as_bytes());
        if let Some(old) = old {
            self.past.push_back(*old.image.digest.as_bytes());
            self.past.drain(..self.past.len().saturating_sub(PAST_MAX));
        }
    }
}
