//! Trials: from the store to the commit, or back to what served before.
//!
//! What a switch replaces is not let go with the store: it stays started, on standby, so that going
//! back is one store too.
//!
//! ```text
//! store ─▶ Following ──all after_switch returned──▶ Probation ──its time is over──▶ committed: the standby retires
//!              │ one failed, or is late                │ unhealthy, over budget, rolled back, cancelled
//!              └────────────────▶ Leaving ◀────────────┘                a newer update ─▶ superseded: its standby is inherited
//!                 before_return    │ store: the standby serves
//!                                  ▼
//!                               Returned ──after_return──▶ over: what was tried retires, and is held
//! ```

use super::publish::Ready;
use super::transition::Transition;
use super::update::Good;
use super::worker::{Duty, answer, answer_if, post};
use super::{Command, Control, Reply};
use crate::event::EventKind;
use crate::host::{Applied, Bounds};
use crate::meter::Latency;
use crate::refusal::{Code, Refusal};
use crate::release::{Generation, Wanted};
use crate::status::Residency;
use midflight_plugin::rt::{Hook, PlaceOfPanics};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// What was switched in with one store of a group, and can be switched out again with one.
pub(super) struct Trial {
    /// Answers of workers name it: a late one is of no trial.
    number: u64,
    pub(super) members: Vec<Tried>,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When its store was.
    began: Instant,
    /// How many hooks of the phase have returned well.
    ran: Arc<AtomicUsize>,
    /// How long it is on probation.
    probation: Duration,
    /// It was ended while its hooks ran: it goes back when they have returned.
    then: Option<Back>,
}

/// One plugin of a trial.
pub(super) struct Tried {
    pub(super) ready: Ready,
    /// What served before the trial: still started. None: the plugin was not loaded.
    pub(super) standby: Option<Arc<Generation>>,
    /// Its rollback's aim before the trial.
    pub(super) last_good: Option<Good>,
    /// What its update is answered with.
    pub(super) applied: Applied,
    /// Its `after_switch` has returned well.
    followed: bool,
}

enum Phase {
    /// A worker runs `after_switch`.
    Following,
    /// It serves, and is looked at; `checking` while a worker does.
    Probation { checking: bool, checked: Instant },
    /// A worker runs `before_return`.
    Leaving(Back),
    /// The standby serves. A worker runs `after_return`.
    Returned,
}

/// Why a trial ends before its commit.
struct Back {
    refusal: Refusal,
    asked: Option<Asked>,
}

/// Who asked for the way back.
pub(super) enum Asked {
    Rollback(Reply),
    Cancel(SyncSender<Result<(), Refusal>>),
}

impl Asked {
    /// It is back.
    pub(super) fn answer(self, applied: Result<Applied, Refusal>) {
        match self {
            Asked::Rollback(reply) => answer(&reply, applied),
            Asked::Cancel(reply) => answer(&reply, Ok(())),
        }
    }

    fn refuse(self, refusal: Refusal) {
        match self {
            Asked::Rollback(reply) => answer(&reply, Err(refusal)),
            Asked::Cancel(reply) => answer(&reply, Err(refusal)),
        }
    }
}

impl Tried {
    pub(super) fn new(
        ready: Ready,
        standby: Option<Arc<Generation>>,
        last_good: Option<Good>,
        applied: Applied,
    ) -> Self {
        Tried { ready, standby, last_good, applied, followed: false }
    }

    fn answer(&mut self) {
        if let Some(reply) = self.ready.update.reply.take() {
            answer(&reply, Ok(self.applied.clone()));
        }
    }
}

impl Trial {
    /// No other switch may come between: hooks are running.
    pub(super) fn is_switching(&self) -> bool {
        !matches!(self.phase, Phase::Probation { .. })
    }

    fn has(&self, plugin: &str) -> bool {
        self.members.iter().any(|tried| *tried.ready.update.plugin == *plugin)
    }

    /// Takes the member out whose new generation this is.
    pub(super) fn take(&mut self, generation: u64) -> Option<Tried> {
        let at =
            self.members.iter().position(|tried| tried.ready.generation.number == generation)?;
        Some(self.members.remove(at))
    }

    /// What happened to a hook, as a refusal of the member that it was of.
    fn refusal(&self, code: Code, member: usize, reason: String) -> Refusal {
        let refusal = Refusal::new(code, reason);
        match self.members.get(member) {
            Some(tried) => refusal.of(&tried.ready.update.plugin, &tried.ready.update.version),
            None => refusal,
        }
    }
}

impl Control {
    /// The members were switched in. `inherited` are those of a trial that this one supersedes and
    /// does not replace.
    pub(super) fn begin_trial(
        &mut self,
        group: &Arc<str>,
        members: Vec<Tried>,
        inherited: Vec<Tried>,
    ) {
        let hooks = members
            .iter()
            .map(|tried| (Arc::clone(&tried.ready.generation), Hook::AfterSwitch))
            .collect();
        let (number, now) = (self.next_job(), Instant::now());
        let members: Vec<_> = members.into_iter().chain(inherited).collect();
        // A first version has nothing to go back to, and what goes back was good.
        let on_probation = |tried: &Tried| tried.standby.is_some() && !tried.ready.update.rollback;
        let probation = if members.iter().any(on_probation) {
            self.shared.bounds.probation
        } else {
            Duration::ZERO
        };
        let phase = Phase::Following;
        let trial = Trial {
            number,
            members,
            phase,
            since: now,
            began: now,
            ran: Arc::default(),
            probation,
            then: None,
        };
        if let Some(state) = self.groups.get_mut(group) {
            state.trial = Some(trial);
        }
        self.run_hooks(number, hooks);
    }

    /// Runs hooks one after the other on a worker, up to the first that fails.
    fn run_hooks(&mut self, trial: u64, hooks: Vec<(Arc<Generation>, Hook)>) {
        let commands = self.shared.commands();
        let ran: Arc<AtomicUsize> = Arc::default();
        let of_it = self.groups.values_mut().filter_map(|state| state.trial.as_mut());
        for of_it in of_it.filter(|of_it| of_it.number == trial) {
            of_it.ran = Arc::clone(&ran);
        }
        self.must(Duty::Hooks, trial, move || {
            let mut failed = None;
            for (generation, hook) in &hooks {
                if let Err(reason) = generation.hook(*hook) {
                    failed = Some(reason);
                    // On the way back there is nothing to stop for.
                    if *hook == Hook::AfterSwitch {
                        break;
                    }
                }
                ran.fetch_add(1, Relaxed);
            }
            drop(hooks);
            post(&commands, Command::Hooked { trial, ran: ran.load(Relaxed), failed });
        });
    }

    pub(super) fn hooked(&mut self, number: u64, ran: usize, failed: Option<String>) {
        let Some(group) = self.group_on_trial(number) else { return };
        let Some(trial) = self.groups.get_mut(&group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        match &trial.phase {
            Phase::Following => {
                for tried in trial.members.iter_mut().take(ran) {
                    tried.followed = true;
                }
                match failed {
                    None => self.followed(&group),
                    Some(reason) => {
                        let refusal = trial.refusal(Code::AfterSwitchFailed, ran, reason);
                        let then = trial.then.take();
                        self.leave_trial(
                            &group,
                            Back { refusal, asked: then.and_then(|then| then.asked) },
                        );
                    }
                }
            }
            Phase::Leaving(_) => self.hand_back(&group, failed),
            Phase::Returned => self.returned(&group, failed),
            Phase::Probation { .. } => {}
        }
    }

    /// The hooks have returned well: whoever asked for the update is told, and the probation
    /// begins.
    fn followed(&mut self, group: &Arc<str>) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        if let Some(back) = trial.then.take() {
            return self.leave_trial(group, back);
        }
        let probation = trial.probation;
        trial.since = Instant::now();
        trial.phase = Phase::Probation { checking: false, checked: Instant::now() };
        let new: Vec<_> = trial.members.iter().map(|tried| tried.ready.generation.number).collect();
        let standby: Vec<_> = trial
            .members
            .iter()
            .filter_map(|tried| tried.standby.as_ref().map(|old| old.number))
            .collect();
        if probation > Duration::ZERO {
            standby.iter().for_each(|number| self.mark(*number, Residency::Standby));
            new.iter().for_each(|number| self.tell(*number, Duration::ZERO, EventKind::Probation));
            if let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.as_mut()) {
                trial.members.iter_mut().for_each(Tried::answer);
            }
        } else {
            self.commit(group);
        }
        self.resume(group);
    }

    /// Nobody goes back from here in one store: what was on standby retires.
    fn commit(&mut self, group: &Arc<str>) {
        let Some(mut trial) = self.groups.get_mut(group).and_then(|state| state.trial.take())
        else {
            return;
        };
        self.note_commit(group, &trial.members);
        self.note_canary(group);
        // What serves is not measured any more.
        if self.groups.get_mut(group).and_then(|state| state.latency.take()).is_some() {
            self.publish(group);
        }
        let on_probation = trial.probation > Duration::ZERO;
        for tried in &mut trial.members {
            tried.ready.generation.tally().want(false);
            if on_probation {
                self.tell(
                    tried.ready.generation.number,
                    trial.began.elapsed(),
                    EventKind::Committed,
                );
            }
            // Before the answer: who has it may wait for the old one.
            if let Some(old) = tried.standby.take() {
                self.retire(old);
            }
            tried.answer();
        }
    }

    /// The host ends: whatever of a trial does not serve retires beside what does.
    pub(super) fn end_trial(&mut self, trial: Trial) {
        let refusal = Refusal::new(Code::ShuttingDown, "the host is ending");
        let returned = matches!(trial.phase, Phase::Returned);
        let leaving = match trial.phase {
            Phase::Leaving(back) => Some(back),
            _ => None,
        };
        let asked = [leaving, trial.then].into_iter().flatten().filter_map(|back| back.asked);
        asked.for_each(|asked| asked.refuse(refusal.clone()));
        for Tried { ready: Ready { generation, update, .. }, standby, .. } in trial.members {
            answer_if(update.reply.as_ref(), Err(refusal.clone()));
            match (returned, standby) {
                (true, _) => self.retire(generation),
                (false, Some(standby)) => self.retire(standby),
                (false, None) => {}
            }
        }
    }

    /// The time-driven part: checks, the end of the probation, hooks that don't return.
    pub(super) fn look_at_trials(&mut self) {
        let (hooks, interval) =
            (self.shared.bounds.hook_deadline, self.shared.bounds.check_interval);
        let groups = self
            .groups
            .iter()
            .filter(|(_, state)| state.trial.is_some() && state.handover.is_none());
        let groups: Vec<_> = groups.map(|(group, _)| Arc::clone(group)).collect();
        for group in groups {
            let Some(state) = self.groups.get_mut(&group) else { continue };
            let Some(trial) = state.trial.as_mut() else { continue };
            // Before the commit is looked at: the last calls count as the first.
            if !trial.is_switching() {
                let members = || trial.members.iter().map(|tried| &tried.ready);
                let over = over_budget(members(), &self.shared.bounds).or_else(|| {
                    too_slow(members(), state.latency.as_ref(), &self.slots, &self.shared.bounds)
                });
                if let Some(refusal) = over {
                    self.leave_trial(&group, Back { refusal, asked: None });
                    continue;
                }
            }
            // No clock runs for what waits for a thread.
            if self.workless.why(Duty::Hooks, trial.number).is_some() {
                trial.since = Instant::now();
            }
            let checks = self.workless.why(Duty::Check, trial.number).is_none();
            let late = trial.since.elapsed()
                >= hooks.saturating_mul(u32::try_from(trial.members.len()).unwrap_or(1));
            let reason = || format!("it has not returned within {hooks:?}");
            match &mut trial.phase {
                Phase::Probation { checking: true, checked } if !checks => {
                    *checked = Instant::now()
                }
                Phase::Probation { checking: true, checked } if checked.elapsed() >= hooks => {
                    let number = trial.number;
                    self.checked(number, Err((0, reason())));
                }
                Phase::Probation { checking: true, .. } => {}
                Phase::Probation { .. } if trial.since.elapsed() >= trial.probation => {
                    self.commit(&group)
                }
                Phase::Probation { checked, .. } if checked.elapsed() >= interval => {
                    self.check(&group)
                }
                Phase::Probation { .. } => {}
                _ if late => {
                    // Who is left behind in it answers for no trial any more.
                    self.jobs += 1;
                    trial.number = self.jobs;
                    let (number, ran) = (trial.number, trial.ran.load(Relaxed));
                    self.hooked(number, ran, Some(reason()));
                }
                _ => {}
            }
        }
    }

    /// Asks the host's checks and the plugins' own, on a worker.
    fn check(&mut self, group: &Arc<str>) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        trial.phase = Phase::Probation { checking: true, checked: Instant::now() };
        let number = trial.number;
        let plugins: Vec<_> =
            trial.members.iter().map(|tried| Arc::clone(&tried.ready.generation)).collect();
        self.ask_health(number, group, plugins);
    }

    /// On a worker, which answers to whoever has this number.
    pub(super) fn ask_health(
        &mut self,
        number: u64,
        group: &Arc<str>,
        plugins: Vec<Arc<Generation>>,
    ) {
        let (checks, group) = (Arc::clone(&self.shared.checks), Arc::clone(group));
        let commands = self.shared.commands();
        self.must(Duty::Check, number, move || {
            let mut own = plugins.iter().enumerate();
            let own = own.try_for_each(|(at, plugin)| {
                plugin.hook(Hook::Health).map_err(|reason| (at, reason))
            });
            let result = own.and_then(|()| checks.ask(&group).map_err(|reason| (0, reason)));
            drop(plugins);
            post(&commands, Command::Checked { trial: number, result });
        });
    }

    pub(super) fn checked(&mut self, number: u64, result: Result<(), (usize, String)>) {
        if self.canary_checked(number, &result) {
            return;
        }
        let Some(group) = self.group_on_trial(number) else { return };
        let Some(trial) = self.groups.get_mut(&group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        let Phase::Probation { checking, checked } = &mut trial.phase else { return };
        (*checking, *checked) = (false, Instant::now());
        if let Err((at, reason)) = result {
            let refusal = trial.refusal(Code::Unhealthy, at, reason);
            self.leave_trial(&group, Back { refusal, asked: None });
        }
    }

    /// Is `plugin` on trial, so that going back is one store?
    pub(super) fn is_on_trial(&self, group: &Arc<str>, plugin: &str) -> bool {
        let trial = self.groups.get(group).and_then(|state| state.trial.as_ref());
        trial.is_some_and(|trial| {
            !matches!(trial.phase, Phase::Leaving(_) | Phase::Returned) && trial.has(plugin)
        })
    }

    /// Goes back from a trial, now or when its hooks have returned.
    pub(super) fn go_back(&mut self, group: &Arc<str>, refusal: Refusal, asked: Asked) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        let back = Back { refusal, asked: Some(asked) };
        match (&trial.phase, &trial.then) {
            (Phase::Following, None) => trial.then = Some(back),
            (Phase::Following, Some(_)) => {
                let reason = "it is on its way back already";
                let asked = back.asked.into_iter();
                asked.for_each(|asked| asked.refuse(Refusal::new(Code::NothingToCancel, reason)));
            }
            _ => self.leave_trial(group, back),
        }
    }

    /// The way back begins: `before_return` of those whose `after_switch` has returned well, the
    /// last first.
    fn leave_trial(&mut self, group: &Arc<str>, back: Back) {
        let number = self.next_job();
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.as_mut()) else {
            return;
        };
        trial.number = number;
        trial.since = Instant::now();
        trial.phase = Phase::Leaving(back);
        let followed = trial.members.iter().rev().filter(|tried| tried.followed);
        let hooks = followed
            .map(|tried| (Arc::clone(&tried.ready.generation), Hook::BeforeReturn))
            .collect();
        self.run_hooks(number, hooks);
    }

    /// Ends what is not committed of `plugin`: on a worker, at a switch point, or on trial.
    pub(super) fn cancel(&mut self, plugin: &str, reply: SyncSender<Result<(), Refusal>>) {
        let why = "an operator cancelled it";
        let nothing =
            || Refusal::new(Code::NothingToCancel, format!("nothing of {plugin} is on its way"));
        let Some(group) = self.plugins.get(plugin).map(|plugin| Arc::clone(&plugin.group)) else {
            return answer(&reply, Err(nothing()));
        };
        let Some(state) = self.groups.get_mut(&group) else {
            return answer(&reply, Err(nothing()));
        };
        if let Some(Transition::Update { update, cancelled: cancelled @ None, .. }) =
            &mut state.transition
            && (*update.plugin == *plugin
                || state.gathering.as_ref().is_some_and(|gathering| gathering.has(plugin)))
        {
            *cancelled = Some(reply);
            return;
        }
        if self.cancel_handover(&group, plugin) {
            return answer(&reply, Ok(()));
        }
        let Some(state) = self.groups.get_mut(&group) else { return };
        let of_it = |ready: &Ready| *ready.update.plugin == *plugin;
        let waiting = [&mut state.ready, &mut state.behind].into_iter();
        let waiting =
            waiting.filter_map(|list| Some(list.remove(list.iter().position(of_it)?))).next();
        if let Some(ready) = waiting {
            let release = ready.update.release;
            self.withdraw(ready, Code::Cancelled, why);
            if let Some(release) = release {
                self.scatter(&group, release);
            }
            return answer(&reply, Ok(()));
        }
        if self
            .groups
            .get(&group)
            .and_then(|state| state.canary.as_ref())
            .is_some_and(|it| it.has(plugin))
        {
            return self.end_canary(
                &group,
                &Refusal::new(Code::Cancelled, why),
                Some(Asked::Cancel(reply)),
            );
        }
        match self.is_on_trial(&group, plugin) {
            true => self.go_back(&group, Refusal::new(Code::Cancelled, why), Asked::Cancel(reply)),
            false => answer(&reply, Err(nothing())),
        }
    }

    /// The one store back.
    pub(super) fn switch_back(&mut self, group: &Arc<str>, failed: Option<String>) {
        let number = self.next_job();
        let Some(state) = self.groups.get_mut(group) else { return };
        let Some(trial) = state.trial.as_mut() else { return };
        let began = mem::replace(&mut trial.since, Instant::now());
        trial.number = number;
        let Phase::Leaving(back) = mem::replace(&mut trial.phase, Phase::Returned) else { return };
        state.latency = None;
        for tried in &trial.members {
            let left = tried.ready.generation.number;
            state.active.retain(|active| active.number != left);
            state.active.extend(tried.standby.clone());
        }
        let hooks = trial.members.iter().rev();
        let hooks =
            hooks.map(|tried| (Arc::clone(&tried.ready.generation), Hook::AfterReturn)).collect();
        let mut changed = Vec::new();
        for tried in &mut trial.members {
            let new = &tried.ready.generation;
            let reply = tried.ready.update.reply.take();
            changed.push((Arc::clone(new), tried.standby.clone(), tried.last_good.take(), reply));
        }
        let release = self.publish(group);
        for (new, standby, last_good, _) in &changed {
            self.mark(new.number, Residency::Retiring);
            if let Some(plugin) = self.plugins.get_mut(&new.plugin) {
                plugin.active = standby.as_ref().map(|old| old.number);
                plugin.last_good.clone_from(last_good);
                if let Some(old) = standby {
                    plugin.config = Arc::clone(&old.config);
                }
                // Going back to another configuration of the same content holds nothing.
                if standby.as_ref().is_none_or(|old| old.image.digest != new.image.digest) {
                    plugin.held.insert(*new.image.digest.as_bytes());
                }
            }
            if let Some(old) = standby {
                self.mark(old.number, Residency::Active);
            }
        }
        if let (Some(reason), Some((new, ..))) = (failed, changed.first()) {
            self.tell(
                new.number,
                Duration::ZERO,
                EventKind::HookFailed { hook: Hook::BeforeReturn.name(), reason },
            );
        }
        let left: Vec<_> = changed.iter().map(|(new, ..)| Arc::clone(new)).collect();
        self.note_return(group, &left, back.refusal.reason());
        drop(left);
        self.note_canary(group);
        self.show();
        for (new, standby, ..) in &changed {
            let reason = format!("{}: {}", back.refusal.code(), back.refusal.reason());
            self.tell(new.number, Duration::ZERO, EventKind::Returned { reason });
            if let Some(old) = standby {
                let previous = Some(new.number);
                self.tell(old.number, Duration::ZERO, EventKind::Active { release, previous });
            }
        }
        match back.asked {
            Some(Asked::Rollback(reply)) => {
                let serving =
                    changed.iter().find_map(|(new, standby, ..)| Some((new, standby.as_ref()?)));
                let applied = serving.map(|(new, old)| Applied {
                    previous: Some(new.number),
                    ..self.applied(old, began.elapsed())
                });
                answer(&reply, applied.ok_or_else(|| back.refusal.clone()));
            }
            Some(Asked::Cancel(reply)) => answer(&reply, Ok(())),
            None => {}
        }
        for (_, _, _, reply) in changed {
            answer_if(reply.as_ref(), Err(back.refusal.clone()));
        }
        self.run_hooks(number, hooks);
    }

    fn returned(&mut self, group: &Arc<str>, failed: Option<String>) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial.take()) else {
            return;
        };
        let mut failed = failed;
        for tried in trial.members {
            let left = tried.ready.generation;
            if let Some(reason) = failed.take() {
                let hook = Hook::AfterReturn.name();
                self.tell(left.number, Duration::ZERO, EventKind::HookFailed { hook, reason });
            }
            self.retire(left);
        }
        self.resume(group);
    }

    /// What waited for the hooks goes on.
    pub(super) fn resume(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let ready = mem::take(&mut state.behind);
        if !ready.is_empty() {
            self.switch(group, ready);
        }
        self.next(group);
    }

    fn group_on_trial(&self, number: u64) -> Option<Arc<str>> {
        let on_trial = |(group, state): (&Arc<str>, &super::GroupState)| {
            (state.trial.as_ref()?.number == number).then(|| Arc::clone(group))
        };
        self.groups.iter().find_map(on_trial)
    }

    pub(super) fn next_job(&mut self) -> u64 {
        self.jobs += 1;
        self.jobs
    }
}

/// The first of `members` of which more calls came to nothing than may.
pub(super) fn over_budget<'a>(
    members: impl Iterator<Item = &'a Ready>,
    bounds: &Bounds,
) -> Option<Refusal> {
    let mut over = members.filter_map(|Ready { generation, .. }| {
        let tally = generation.tally();
        let (panics, errors) = (tally.panics(), tally.errors());
        let reason = if panics > bounds.panics_max {
            let most = tally.worst_place().map(most_of_them).unwrap_or_default();
            let may = bounds.panics_max;
            format!("{panics} of its calls panicked on probation, and {may} may{most}")
        } else if errors > bounds.errors_max {
            format!(
                "{errors} of its calls returned errors on probation, and {} may",
                bounds.errors_max
            )
        } else {
            return None;
        };
        Some(Refusal::new(Code::BudgetExceeded, reason).of(&generation.plugin, &generation.version))
    });
    over.next()
}

fn most_of_them(place: PlaceOfPanics) -> String {
    let PlaceOfPanics { location, message, count } = place;
    match &*location {
        "" => format!("; {count} of them at a place that nobody noted: {message}"),
        location => format!("; {count} of them at {location}: {message}"),
    }
}

/// The first of `members` whose calls take longer than those of the version before, and than they
/// may.
pub(super) fn too_slow<'a>(
    mut members: impl Iterator<Item = &'a Ready>,
    latency: Option<&Latency>,
    slots: &[Wanted],
    bounds: &Bounds,
) -> Option<Refusal> {
    let (plugin, reason) = latency?.over(slots, bounds.latency_max?)?;
    let of_it =
        |ready: &&Ready| plugin.as_ref().is_none_or(|plugin| ready.generation.plugin == *plugin);
    let Ready { generation, .. } = members.find(of_it)?;
    Some(Refusal::new(Code::BudgetExceeded, reason).of(&generation.plugin, &generation.version))
}
