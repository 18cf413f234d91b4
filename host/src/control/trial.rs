//! Trials: from the store to the commit, or back to what served before.
//!
//! What a switch replaces is not let go with the store: it stays started, on standby, so that going
//! back is one store too.
//!
//! ```text
//! store ─▶ Following ──all after_switch returned──▶ Probation ──its time is over, and it is well──▶ committed: the standby retires
//!              │ one failed, or is late                │ unhealthy, over budget, rolled back, cancelled
//!              └────────────────▶ Leaving ◀────────────┘                a newer update ─▶ superseded: its standby is inherited
//!                 before_return    │ store: the standby serves
//!                                  ▼
//!                               Returned ──after_return──▶ over: what was tried retires, and is held
//! ```
//!
//! What is switched in with one store is one trial until its hooks have returned. From then on what
//! was asked for alone is alone: a release of several plugins stays one trial, and each other
//! plugin has one of its own. A group has as many trials on probation as it likes, each with its
//! own end, and at most one in another phase.

use super::publish::Ready;
use super::transition::Transition;
use super::update::Good;
use super::worker::{Duty, answer, answer_if};
use super::{Control, GroupState};
use crate::command::{Applied, Command, Reply, Unwell};
use crate::contracts::Wanted;
use crate::event::EventKind;
use crate::generation::Generation;
use crate::meter::Latency;
use crate::refusal::{Code, Refusal};
use crate::settings::Bounds;
use crate::status::Residency;
use midflight_plugin::rt::{Hook, PlaceOfPanics};
use std::mem;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What was switched in together, and can be switched out again with one store.
pub(super) struct Trial {
    /// Answers of workers name it: a late one is of no trial.
    number: u64,
    pub(super) members: Vec<Tried>,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When its store was.
    began: Instant,
    hooks: Arc<Hooks>,
    /// How long it is on probation.
    probation: Duration,
    /// It is to go back when no hooks run any more: of which plugin, and why.
    then: Vec<(Arc<str>, Back)>,
    /// How it compares with what was before it, where there is a budget.
    pub(super) latency: Option<Latency>,
}

/// How far the worker is that runs a phase's hooks.
#[derive(Default)]
struct Hooks {
    /// How many have returned well.
    ran: AtomicUsize,
    /// Nobody waits for the worker any more: it runs no other.
    given_up: AtomicBool,
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
    /// What served between the standby and it, and was never committed.
    pub(super) passed: Option<Passed>,
    /// Its `after_switch` has returned well.
    followed: bool,
}

/// What a way back leads past.
#[derive(Clone)]
pub(super) struct Passed {
    /// The last of them.
    version: Arc<str>,
    generation: u64,
    before: usize,
}

enum Phase {
    /// A worker runs `after_switch`.
    Following,
    /// It serves, and is looked at.
    Probation(Checks),
    /// A worker runs `before_return`.
    Leaving(Back),
    /// The standby serves. A worker runs `after_return`.
    Returned,
}

/// The questions for its health.
struct Checks {
    /// When the worker was sent that is asking now.
    asked: Option<Instant>,
    /// When the last one came back.
    checked: Instant,
    /// It was asked when its time was over, and was well.
    is_well: bool,
}

/// Why a trial ends before its commit.
struct Back {
    refusal: Refusal,
    asked: Vec<Asked>,
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
        passed: Option<Passed>,
    ) -> Self {
        Tried { ready, standby, last_good, applied, passed, followed: false }
    }

    /// What a way back from its successor leads past: it, and what it came after.
    pub(super) fn passed_over(&self) -> Passed {
        let new = &self.ready.generation;
        let before = self.passed.as_ref().map_or(0, |passed| passed.before + 1);
        Passed { version: Arc::clone(&new.version), generation: new.number, before }
    }

    /// A first version has nothing to go back to, and what goes back was good.
    fn is_probationary(&self) -> bool {
        self.standby.is_some() && !self.ready.update.rollback
    }

    fn answer(&mut self) {
        if let Some(reply) = self.ready.update.reply.take() {
            answer(&reply, Ok(self.applied.clone()));
        }
    }
}

impl std::fmt::Display for Passed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Passed { version, generation, before } = self;
        write!(f, "{version} (generation {generation})")?;
        match before {
            0 => f.write_str(", which was never committed"),
            before => write!(f, " and {before} before it, none of which was ever committed"),
        }
    }
}

impl Trial {
    /// What it was replaced by serves again.
    pub(super) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Returned)
    }

    /// No other switch may come between: hooks are running.
    pub(super) fn is_switching(&self) -> bool {
        !matches!(self.phase, Phase::Probation(_))
    }

    pub(super) fn has(&self, plugin: &str) -> bool {
        self.members.iter().any(|tried| *tried.ready.update.plugin == *plugin)
    }

    /// Time in which nothing of this process ran counts for nobody.
    pub(super) fn forgive(&mut self, lost: Duration) {
        self.since += lost;
        if let Phase::Probation(checks) = &mut self.phase {
            checks.checked += lost;
            checks.asked = checks.asked.map(|asked| asked + lost);
        }
    }

    /// What happened to a hook, as a refusal of the member that it was of.
    fn refusal(&self, code: Code, member: Option<usize>, reason: String) -> Refusal {
        let refusal = Refusal::new(code, reason);
        match self.members.get(member.unwrap_or(0)) {
            Some(tried) => refusal.of(&tried.ready.update.plugin, &tried.ready.update.version),
            None => refusal,
        }
    }
}

impl GroupState {
    /// The trial whose hooks run.
    pub(super) fn switching(&self) -> Option<&Trial> {
        self.trials.iter().find(|trial| trial.is_switching())
    }

    fn switching_mut(&mut self) -> Option<&mut Trial> {
        self.trials.iter_mut().find(|trial| trial.is_switching())
    }

    fn has_trial(&self, number: u64) -> bool {
        self.trials.iter().any(|trial| trial.number == number)
    }

    fn trial_mut(&mut self, number: u64) -> Option<&mut Trial> {
        self.trials.iter_mut().find(|trial| trial.number == number)
    }

    fn take_trial(&mut self, number: u64) -> Option<Trial> {
        let at = self.trials.iter().position(|trial| trial.number == number)?;
        Some(self.trials.remove(at))
    }

    /// Takes the member out of its trial whose new generation this is: another supersedes it.
    pub(super) fn take_tried(&mut self, generation: u64) -> Option<Tried> {
        let of_it = |tried: &Tried| tried.ready.generation.number == generation;
        let at = self.trials.iter().position(|trial| trial.members.iter().any(of_it))?;
        let trial = &mut self.trials[at];
        let tried = trial.members.remove(trial.members.iter().position(of_it)?);
        if trial.members.is_empty() {
            self.trials.remove(at);
        }
        Some(tried)
    }

    /// The measure that what is published has: the newest trial's that has one.
    pub(super) fn measured(&self) -> Option<Latency> {
        self.trials.iter().rev().find_map(|trial| trial.latency.clone())
    }
}

impl Control {
    /// The members were switched in.
    pub(super) fn begin_trial(
        &mut self,
        group: &Arc<str>,
        members: Vec<Tried>,
        latency: Option<Latency>,
    ) {
        let hooks = members
            .iter()
            .map(|tried| (Arc::downgrade(&tried.ready.generation), Hook::AfterSwitch))
            .collect();
        let (number, now) = (self.next_job(), Instant::now());
        let trial = Trial {
            number,
            members,
            phase: Phase::Following,
            since: now,
            began: now,
            hooks: Arc::default(),
            probation: Duration::ZERO,
            then: Vec::new(),
            latency,
        };
        if let Some(state) = self.groups.get_mut(group) {
            state.trials.push(trial);
        }
        self.run_hooks(number, hooks);
    }

    /// Runs hooks one after the other on a worker, up to the first that fails. It holds a
    /// generation while it is in its hook, and no longer.
    fn run_hooks(&mut self, trial: u64, list: Vec<(Weak<Generation>, Hook)>) {
        let commands = self.shared.commands();
        let hooks: Arc<Hooks> = Arc::default();
        let of_it = self.groups.find_noted(|state| state.has_trial(trial));
        if let Some(of_it) = of_it.and_then(|(_, state)| state.trial_mut(trial)) {
            of_it.hooks = Arc::clone(&hooks);
        }
        self.must(Duty::Hooks, trial, move || {
            let mut failed = None;
            for (generation, hook) in list {
                // What was given up may have been switched out meanwhile, or serve again.
                if hooks.given_up.load(SeqCst) {
                    break;
                }
                let Some(generation) = generation.upgrade() else { continue };
                let result = generation.hook(hook);
                drop(generation);
                if let Err(reason) = result {
                    failed = Some(reason);
                    // On the way back there is nothing to stop for.
                    if hook == Hook::AfterSwitch {
                        break;
                    }
                }
                hooks.ran.fetch_add(1, Relaxed);
            }
            commands.post(Command::Hooked { trial, ran: hooks.ran.load(Relaxed), failed });
        });
    }

    pub(super) fn hooked(&mut self, number: u64, ran: usize, failed: Option<String>) {
        let Some(group) = self.group_on_trial(number) else { return };
        let Some(trial) = self.groups.get_mut(&group).and_then(|state| state.trial_mut(number))
        else {
            return;
        };
        match &trial.phase {
            Phase::Following => {
                for tried in trial.members.iter_mut().take(ran) {
                    tried.followed = true;
                }
                match failed {
                    None => self.followed(&group, number),
                    Some(reason) => {
                        let refusal = trial.refusal(Code::AfterSwitchFailed, Some(ran), reason);
                        let then = mem::take(&mut trial.then).into_iter();
                        let asked = then.flat_map(|(_, back)| back.asked).collect();
                        self.leave_trial(&group, number, Back { refusal, asked });
                    }
                }
            }
            Phase::Leaving(_) => self.hand_back(&group, failed),
            Phase::Returned => self.returned(&group, number, failed),
            Phase::Probation(_) => {}
        }
    }

    /// The hooks have returned well: whoever asked for the update is told, and the probation
    /// begins, of each that was asked for alone.
    fn followed(&mut self, group: &Arc<str>, number: u64) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.take_trial(number))
        else {
            return;
        };
        let mut parts: Vec<Trial> = Vec::new();
        let Trial { members, mut then, began, latency, .. } = trial;
        for tried in members {
            let release = tried.ready.update.release;
            let with = |part: &&mut Trial| {
                release.is_some() && part.members[0].ready.update.release == release
            };
            match parts.iter_mut().find(with) {
                Some(part) => part.members.push(tried),
                None => parts.push(self.probation_of(tried, began)),
            }
        }
        for part in &mut parts {
            if part.members.iter().any(Tried::is_probationary) {
                part.probation = self.shared.bounds.probation;
            }
            let of_it =
                |plugin: &Arc<str>| part.members.iter().any(|it| it.ready.update.plugin == *plugin);
            part.then = then.extract_if(.., |(plugin, _)| of_it(plugin)).collect();
        }
        for part in parts.iter_mut().filter(|part| part.probation > Duration::ZERO) {
            part.latency.clone_from(&latency);
        }
        let stays = |part: &Trial| part.probation > Duration::ZERO || !part.then.is_empty();
        let (stay, committed): (Vec<_>, Vec<_>) = parts.into_iter().partition(stays);
        let numbers: Vec<_> = stay.iter().map(|part| part.number).collect();
        if let Some(state) = self.groups.get_mut(group) {
            state.trials.extend(stay);
        }
        if !committed.is_empty() {
            let members = committed.into_iter().flat_map(|part| part.members).collect();
            self.commit(group, members, began, Duration::ZERO);
        }
        for number in numbers {
            self.begin_probation(group, number);
        }
        self.resume(group);
    }

    fn probation_of(&mut self, tried: Tried, began: Instant) -> Trial {
        let now = Instant::now();
        Trial {
            number: self.next_job(),
            members: vec![tried],
            phase: Phase::Probation(Checks { asked: None, checked: now, is_well: false }),
            since: now,
            began,
            hooks: Arc::default(),
            probation: Duration::ZERO,
            then: Vec::new(),
            latency: None,
        }
    }

    fn begin_probation(&mut self, group: &Arc<str>, number: u64) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial_mut(number))
        else {
            return;
        };
        // It goes back at once.
        if !trial.then.is_empty() {
            return;
        }
        let members = trial.members.iter();
        let new: Vec<_> = members.clone().map(|tried| tried.ready.generation.number).collect();
        let standby: Vec<_> =
            members.filter_map(|tried| Some(tried.standby.as_ref()?.number)).collect();
        standby.iter().for_each(|number| self.mark(*number, Residency::Standby));
        new.iter().for_each(|number| self.tell(*number, Duration::ZERO, EventKind::Probation));
        let trial = self.groups.get_mut(group).and_then(|state| state.trial_mut(number));
        if let Some(trial) = trial {
            trial.members.iter_mut().for_each(Tried::answer);
        }
    }

    /// Nobody goes back from here in one store: what was on standby retires.
    fn commit(
        &mut self,
        group: &Arc<str>,
        mut members: Vec<Tried>,
        began: Instant,
        probation: Duration,
    ) {
        self.note_commit(group, &members);
        self.note_others(group);
        self.measure_anew(group);
        for tried in &mut members {
            tried.ready.generation.tally().want(false);
            if probation > Duration::ZERO {
                let number = tried.ready.generation.number;
                self.tell(number, began.elapsed(), EventKind::Committed);
            }
            // Before the answer: who has it may wait for the old one.
            if let Some(old) = tried.standby.take() {
                self.retire(old);
            }
            tried.answer();
        }
    }

    /// What serves is measured for as long as a trial that compares is there, and no longer.
    fn measure_anew(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let measured = state.measured();
        let changes = match (&measured, &state.latency) {
            (Some(now), Some(before)) => !now.is(before),
            (None, None) => false,
            _ => true,
        };
        state.latency = measured;
        if changes {
            self.publish(group);
        }
    }

    /// The host ends: whatever of a trial does not serve retires beside what does.
    pub(super) fn end_trial(&mut self, trial: Trial) {
        let refusal = Refusal::new(Code::ShuttingDown, "the host is ending");
        trial.hooks.given_up.store(true, SeqCst);
        let returned = trial.has_left();
        let leaving = match trial.phase {
            Phase::Leaving(back) => Some(back),
            _ => None,
        };
        let then = trial.then.into_iter().map(|(_, back)| back);
        let asked = leaving.into_iter().chain(then).flat_map(|back| back.asked);
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
        let trials = self.groups.noted().flat_map(|(group, state)| {
            state.trials.iter().map(move |trial| (Arc::clone(group), trial.number))
        });
        for (group, number) in trials.collect::<Vec<_>>() {
            self.look_at_trial(&group, number);
        }
    }

    fn look_at_trial(&mut self, group: &Arc<str>, number: u64) {
        let bounds = &self.shared.bounds;
        let (hooks, interval) = (bounds.hook_deadline, bounds.check_interval());
        let Some(state) = self.groups.get_mut(group) else { return };
        let moves = state.handover.is_some();
        let Some(trial) = state.trial_mut(number) else { return };
        let late = || format!("it has not returned within {hooks:?}");
        // No clock runs for what waits for a thread.
        if self.workless.why(Duty::Hooks, number).is_some() {
            trial.since = Instant::now();
        }
        if self.workless.why(Duty::Check, number).is_some()
            && let Phase::Probation(checks) = &mut trial.phase
        {
            checks.asked = Some(Instant::now());
        }
        let Phase::Probation(checks) = &trial.phase else {
            let count = u32::try_from(trial.members.len()).unwrap_or(1);
            // While its state goes back, no hook runs.
            if !moves && trial.since.elapsed() >= hooks.saturating_mul(count) {
                // Who is left behind in it answers for no trial any more, and runs no other hook.
                trial.hooks.given_up.store(true, SeqCst);
                let ran = trial.hooks.ran.load(Relaxed);
                self.jobs += 1;
                trial.number = self.jobs;
                self.hooked(self.jobs, ran, Some(late()));
            }
            return;
        };
        if !trial.then.is_empty() {
            return;
        }
        let over = trial.since.elapsed() >= trial.probation;
        // Before the commit is looked at: the last calls count as the first.
        let members = || trial.members.iter().map(|tried| &tried.ready);
        let too_much = over_budget(members(), bounds)
            .or_else(|| too_slow(members(), trial.latency.as_ref(), &self.slots, bounds));
        match *checks {
            _ if let Some(refusal) = too_much => self.give_back(group, number, refusal),
            Checks { asked: Some(asked), .. } if asked.elapsed() >= hooks => {
                self.checked(number, Err((Some(0), late())));
            }
            Checks { asked: Some(_), .. } => {}
            Checks { is_well: true, .. } if over => {
                let trial = state.take_trial(number);
                if let Some(Trial { members, began, probation, .. }) = trial {
                    self.commit(group, members, began, probation);
                }
            }
            Checks { checked, .. } if over || checked.elapsed() >= interval => {
                self.check(group, number);
            }
            Checks { .. } => {}
        }
    }

    /// Asks the host's checks and the plugins' own, on a worker.
    fn check(&mut self, group: &Arc<str>, number: u64) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial_mut(number))
        else {
            return;
        };
        if let Phase::Probation(checks) = &mut trial.phase {
            checks.asked = Some(Instant::now());
        }
        let plugins: Vec<_> =
            trial.members.iter().map(|tried| Arc::downgrade(&tried.ready.generation)).collect();
        self.ask_health(number, group, plugins);
    }

    /// On a worker, which answers to whoever has this number. It holds a generation while it is in
    /// its code, and no longer.
    pub(super) fn ask_health(
        &mut self,
        number: u64,
        group: &Arc<str>,
        plugins: Vec<Weak<Generation>>,
    ) {
        let (checks, group) = (Arc::clone(&self.shared.checks), Arc::clone(group));
        let commands = self.shared.commands();
        self.must(Duty::Check, number, move || {
            let mut own = plugins.iter().enumerate();
            let own = own.try_for_each(|(at, plugin)| match plugin.upgrade() {
                Some(plugin) => plugin.hook(Hook::Health).map_err(|reason| (Some(at), reason)),
                None => Ok(()),
            });
            let result = own.and_then(|()| checks.ask(&group).map_err(|reason| (None, reason)));
            commands.post(Command::Checked { trial: number, result });
        });
    }

    pub(super) fn checked(&mut self, number: u64, result: Result<(), Unwell>) {
        if self.canary_checked(number, &result) {
            return;
        }
        let Some(group) = self.group_on_trial(number) else { return };
        let Some(state) = self.groups.get_mut(&group) else { return };
        let Some(trial) = state.trial_mut(number) else { return };
        let (since, probation) = (trial.since, trial.probation);
        let Phase::Probation(checks) = &mut trial.phase else { return };
        let Some(asked) = checks.asked.take() else { return };
        checks.checked = Instant::now();
        // A check of the host's is of the group: what came last is what it has not stood yet.
        let at_fault = match &result {
            Ok(()) => {
                checks.is_well = asked.saturating_duration_since(since) >= probation;
                return;
            }
            Err((Some(_), _)) => Some(&*trial),
            Err((None, _)) => {
                state.trials.iter().filter(|trial| !trial.is_switching()).max_by_key(|it| it.began)
            }
        };
        if let (Some(trial), Err((at, reason))) = (at_fault, result) {
            let (number, refusal) = (trial.number, trial.refusal(Code::Unhealthy, at, reason));
            self.give_back(&group, number, refusal);
        }
    }

    /// Is `plugin` on trial, so that going back is one store?
    pub(super) fn is_on_trial(&self, group: &Arc<str>, plugin: &str) -> bool {
        let trials = self.groups.get(group).map(|state| &state.trials).into_iter().flatten();
        let mut goes_on =
            trials.filter(|trial| !matches!(trial.phase, Phase::Leaving(_) | Phase::Returned));
        goes_on.any(|trial| trial.has(plugin))
    }

    /// Goes back from the trial of `plugin`, now or when no hooks run any more.
    pub(super) fn go_back(
        &mut self,
        group: &Arc<str>,
        plugin: &str,
        refusal: Refusal,
        asked: Asked,
    ) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let waits = state.is_switching();
        let Some(trial) = state.trials.iter_mut().find(|trial| trial.has(plugin)) else { return };
        if trial.then.iter().any(|(other, _)| **other == *plugin) {
            let reason = "it is on its way back already";
            return asked.refuse(Refusal::new(Code::NothingToCancel, reason).of_plugin(plugin));
        }
        let (number, back) = (trial.number, Back { refusal, asked: vec![asked] });
        match waits {
            true => trial.then.push((plugin.into(), back)),
            false => self.leave_trial(group, number, back),
        }
    }

    /// What is on probation is no good: it goes back, now or when no hooks of others run any more.
    fn give_back(&mut self, group: &Arc<str>, number: u64, refusal: Refusal) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let waits = state.is_switching();
        let Some(trial) = state.trial_mut(number) else { return };
        let back = Back { refusal, asked: Vec::new() };
        match (waits, trial.members.first()) {
            (true, Some(first)) => {
                trial.then.push((Arc::clone(&first.ready.update.plugin), back));
            }
            _ => self.leave_trial(group, number, back),
        }
    }

    /// The way back begins: `before_return` of those whose `after_switch` has returned well, the
    /// last first.
    fn leave_trial(&mut self, group: &Arc<str>, number: u64, back: Back) {
        let next = self.next_job();
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.trial_mut(number))
        else {
            return;
        };
        trial.number = next;
        trial.since = Instant::now();
        trial.phase = Phase::Leaving(back);
        let followed = trial.members.iter().rev().filter(|tried| tried.followed);
        let hooks = followed
            .map(|tried| (Arc::downgrade(&tried.ready.generation), Hook::BeforeReturn))
            .collect();
        self.run_hooks(next, hooks);
    }

    /// Ends what is not committed of `plugin`: on a worker, at a switch point, or on trial.
    pub(super) fn cancel(&mut self, plugin: &str, reply: SyncSender<Result<(), Refusal>>) {
        let why = "an operator cancelled it";
        let nothing = || {
            Refusal::new(Code::NothingToCancel, format!("nothing of {plugin} is on its way"))
                .of_plugin(plugin)
        };
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
            true => {
                let refusal = Refusal::new(Code::Cancelled, why);
                self.go_back(&group, plugin, refusal, Asked::Cancel(reply));
            }
            false => answer(&reply, Err(nothing())),
        }
    }

    /// The one store back.
    pub(super) fn switch_back(&mut self, group: &Arc<str>, failed: Option<String>) {
        let number = self.next_job();
        let Some(state) = self.groups.get_mut(group) else { return };
        let mut active = mem::take(&mut state.active);
        let Some(trial) = state.switching_mut() else { return };
        let began = mem::replace(&mut trial.since, Instant::now());
        trial.number = number;
        trial.latency = None;
        let Phase::Leaving(back) = mem::replace(&mut trial.phase, Phase::Returned) else { return };
        for tried in &trial.members {
            let left = tried.ready.generation.number;
            active.retain(|active| active.number != left);
            active.extend(tried.standby.clone());
        }
        let hooks = trial.members.iter().rev();
        let hooks = hooks
            .map(|tried| (Arc::downgrade(&tried.ready.generation), Hook::AfterReturn))
            .collect();
        let (mut changed, mut passed) = (Vec::new(), Vec::new());
        for tried in &mut trial.members {
            let new = &tried.ready.generation;
            let reply = tried.ready.update.reply.take();
            changed.push((Arc::clone(new), tried.standby.clone(), tried.last_good.take(), reply));
            passed.push(tried.passed.as_ref().map(Passed::to_string));
        }
        state.active = active;
        state.latency = state.measured();
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
                    let reason = back.refusal.reason().to_owned();
                    plugin.held.insert(*new.image.digest.as_bytes(), reason);
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
        self.note_others(group);
        self.show();
        for ((new, standby, ..), past) in changed.iter().zip(passed) {
            let reason = format!("{}: {}", back.refusal.code(), back.refusal.reason());
            self.tell(new.number, Duration::ZERO, EventKind::Returned { reason, past });
            if let Some(old) = standby {
                let previous = Some(new.number);
                self.tell(old.number, Duration::ZERO, EventKind::Active { release, previous });
            }
        }
        let of = |refusal: &Refusal| {
            let asked_of = |new: &Generation| refusal.plugin().is_none_or(|it| *it == *new.plugin);
            let mut serving =
                changed.iter().filter_map(|(new, standby, ..)| Some((new, standby.as_ref()?)));
            let (new, old) = serving.clone().find(|(new, _)| asked_of(new)).or(serving.next())?;
            let previous = Some(new.number);
            Some(Applied { previous, ..self.applied(old, began.elapsed()) })
        };
        let applied = of(&back.refusal);
        for asked in back.asked {
            asked.answer(applied.clone().ok_or_else(|| back.refusal.clone()));
        }
        for (_, _, _, reply) in changed {
            answer_if(reply.as_ref(), Err(back.refusal.clone()));
        }
        self.run_hooks(number, hooks);
    }

    fn returned(&mut self, group: &Arc<str>, number: u64, failed: Option<String>) {
        let Some(trial) = self.groups.get_mut(group).and_then(|state| state.take_trial(number))
        else {
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
        if state.is_switching() {
            return;
        }
        // First what is to go back: what comes may come after it.
        let due = state.trials.iter_mut().find(|trial| !trial.then.is_empty());
        if let Some(trial) = due {
            let mut backs = mem::take(&mut trial.then).into_iter().map(|(_, back)| back);
            let (number, first) = (trial.number, backs.next());
            if let Some(Back { refusal, asked }) = first {
                let asked = asked.into_iter().chain(backs.flat_map(|back| back.asked)).collect();
                return self.leave_trial(group, number, Back { refusal, asked });
            }
        }
        let Some(state) = self.groups.get_mut(group) else { return };
        let ready = mem::take(&mut state.behind);
        if !ready.is_empty() {
            self.switch(group, ready);
        }
        self.next(group);
    }

    fn group_on_trial(&self, number: u64) -> Option<Arc<str>> {
        let on_trial = |(group, state): (&Arc<str>, &GroupState)| {
            state.has_trial(number).then(|| Arc::clone(group))
        };
        self.groups.noted().find_map(on_trial)
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
