//! Canaries: what is prepared runs for a share of what comes before it is switched in for all; and
//! what it is compared with is measured.
//!
//! ```text
//! prepared ─▶ Canary: a fork is published ──its time is over──▶ the switch, as without one
//!               │ unhealthy, over a budget, rolled back, cancelled, or a newer one came
//!               └─▶ withdrawn: what served serves all again; after_return, and it retires
//! ```
//! A canary has its own instance and state, and nothing is handed over to it: a group that hands a
//! state over can have none. With a budget of latency and no canary it is the same with a share of
//! nothing: what serves is measured for one check's interval.
//!
//! It stands beside a group's trial, and is no part of it: each of the two may end first, and what
//! is published is made of both.

use super::books::record;
use super::publish::{NEWER, Ready};
use super::trial::{Asked, over_budget, too_slow};
use super::worker::Duty;
use super::{Control, GroupState};
use crate::command::{Applied, Unwell};
use crate::contracts::Slots;
use crate::event::EventKind;
use crate::gate::release::Release;
use crate::gate::ways::{Detour, Fork};
use crate::generation::Generation;
use crate::meter::Latency;
use crate::refusal::{Code, Refusal};
use crate::settings::{Publish, Share};
use crate::status::Residency;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Canary {
    /// Answers of workers name it.
    number: u64,
    pub(super) members: Vec<Ready>,
    /// `None`: what serves is measured, and that is all.
    share: Option<Share>,
    began: Instant,
    length: Duration,
    /// A worker asks for its health.
    checking: bool,
    checked: Instant,
    /// It was asked when its time was over.
    is_well_if: bool,
    /// And was well.
    is_well: bool,
    latency: Option<Latency>,
}

impl Canary {
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.members.iter().any(|ready| *ready.update.plugin == *plugin)
    }

    /// It answers calls.
    pub(super) fn serves(&self) -> bool {
        self.share.is_some()
    }

    /// Time in which nothing of this process ran counts for nobody.
    pub(super) fn forgive(&mut self, lost: Duration) {
        self.began += lost;
        self.checked += lost;
    }

    /// `active`, with the canary's own in the place of what they are to replace.
    fn beside(&self, active: &[Arc<Generation>]) -> Vec<Arc<Generation>> {
        let stays = active.iter().filter(|active| !self.has(&active.plugin));
        stays.chain(self.members.iter().map(|ready| &ready.generation)).cloned().collect()
    }
}

impl Control {
    /// Takes those of `ready` that are tried on a share first, and gives back those that are not.
    pub(super) fn try_first(&mut self, group: &Arc<str>, ready: Vec<Ready>) -> Vec<Ready> {
        let Some(state) = self.groups.get(group) else { return ready };
        let share = self.shared.bounds.canaries.get(&**group).copied();
        let measures = self.shared.bounds.latency_max.is_some()
            && (share.is_some() || self.shared.bounds.probation > Duration::ZERO);
        if share.is_none() && !measures {
            return ready;
        }
        let wants = |ready: &Ready| {
            let replaces =
                state.active.iter().any(|active| active.plugin == ready.generation.plugin);
            replaces && !ready.was_tried && !ready.update.rollback
        };
        // A release is tried as a whole.
        let tried: Vec<_> = ready.iter().map(|one| with_its_release(one, &ready, wants)).collect();
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (ready, tried) in ready.into_iter().zip(tried) {
            match tried {
                true => first.push(ready),
                false => rest.push(ready),
            }
        }
        if !first.is_empty() {
            self.begin_canary(group, first, share, measures);
        }
        rest
    }

    fn begin_canary(
        &mut self,
        group: &Arc<str>,
        mut members: Vec<Ready>,
        share: Option<Share>,
        measures: bool,
    ) {
        // A host that starts up does not wait for the end of one.
        for ready in members.iter_mut().filter(|ready| ready.update.starts) {
            ready.update.reply = None;
        }
        let Some(state) = self.groups.get_mut(group) else { return };
        let newer =
            |canary: &Canary| members.iter().any(|ready| canary.has(&ready.generation.plugin));
        match &state.canary {
            Some(canary) if newer(canary) => {
                let refusal = Refusal::new(Code::Superseded, NEWER);
                self.withdraw_canary(group, &refusal, None);
            }
            // One at a time.
            Some(_) => return self.wait_behind(group, members),
            None => {}
        }
        let refused = match share {
            Some(_) => self
                .refuse_state(group, &members)
                .or_else(|| self.note_trial(group, &members).err()),
            None => None,
        };
        if let Some(refusal) = refused {
            for ready in members.into_iter().rev() {
                self.withdraw(ready, refusal.code(), refusal.reason());
            }
            return;
        }
        let (number, now) = (self.next_job(), Instant::now());
        let of_it = |plugin: &str| members.iter().any(|ready| *ready.generation.plugin == *plugin);
        let latency = measures.then(|| Latency::new(&self.slots, of_it));
        let length = share.map_or(self.shared.bounds.check_interval(), |share| share.length);
        let new: Vec<_> = members.iter().map(|ready| Arc::clone(&ready.generation)).collect();
        let canary = Canary {
            number,
            members,
            share,
            began: now,
            length,
            checking: false,
            checked: now,
            is_well_if: false,
            is_well: false,
            latency,
        };
        // What waited for the end of one that is replaced now is older.
        let behind = |ready| self.take_overtaken(group, ready, |state| &mut state.behind);
        let overtaken: Vec<_> = canary.members.iter().filter_map(behind).collect();
        if let Some(state) = self.groups.get_mut(group) {
            state.canary = Some(canary);
        }
        self.publish(group);
        if let Some(Share { of_all, .. }) = share {
            for generation in new {
                self.enter(record(&generation, Residency::Canary));
                self.tell(generation.number, Duration::ZERO, EventKind::Canary { share: of_all });
            }
        }
        self.refuse_overtaken(group, overtaken);
    }

    /// What keeps a state that goes from version to version can't run twice.
    fn refuse_state(&self, group: &Arc<str>, members: &[Ready]) -> Option<Refusal> {
        let active = &self.groups.get(group)?.active;
        let mut all = active.iter().chain(members.iter().map(|ready| &ready.generation));
        let keeps = all.find(|generation| generation.schema().is_some())?;
        let reason = format!("{} {} hands its state over", keeps.plugin, keeps.version);
        Some(Refusal::new(Code::CanaryWithState, reason))
    }

    /// Until the canary is over. Of one plugin the newest waits.
    fn wait_behind(&mut self, group: &Arc<str>, ready: Vec<Ready>) {
        for ready in ready {
            match ready.update.publish {
                Publish::Manual => self.await_switch_point(group, ready),
                Publish::AtOnce => self.await_behind(group, ready),
            }
        }
    }

    /// What a group enters: its active generations, or a fork while a canary of it serves.
    pub(super) fn entrance(state: &GroupState, releases: &mut u64, slots: &Slots) -> Release {
        let mut release = |generations, meters| {
            *releases += 1;
            Release::new(*releases, generations, slots, meters)
        };
        let measured = state.canary.as_ref().and_then(|canary| canary.latency.as_ref());
        let before = measured.map(|latency| &latency.before);
        let serves = release(
            state.active.clone(),
            before.or(state.latency.as_ref().map(|latency| &latency.now)),
        );
        let Some((canary, share)) =
            state.canary.as_ref().and_then(|canary| Some((canary, canary.share?)))
        else {
            return serves;
        };
        let tried = release(canary.beside(&state.active), measured.map(|latency| &latency.now));
        *releases += 1;
        // Saturates, and a share is less than 1.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let share = (share.of_all * u64::MAX as f64) as u64;
        let (serves, tried, salt) = (Arc::new(serves), Arc::new(tried), canary.number);
        Release::leading(*releases, Detour::Fork(Fork { serves, tried, share, salt }))
    }

    /// The time-driven part.
    pub(super) fn look_at_canaries(&mut self) {
        let groups = self
            .groups
            .noted()
            .filter(|(_, state)| state.canary.is_some() && !state.is_switching());
        let groups: Vec<_> = groups.map(|(group, _)| Arc::clone(group)).collect();
        let (hooks, interval) =
            (self.shared.bounds.hook_deadline, self.shared.bounds.check_interval());
        for group in groups {
            let Some(canary) = self.groups.get_mut(&group).and_then(|state| state.canary.as_mut())
            else {
                continue;
            };
            if canary.share.is_some() {
                let (members, bounds) = (|| canary.members.iter(), &self.shared.bounds);
                let over = over_budget(members(), bounds)
                    .or_else(|| too_slow(members(), canary.latency.as_ref(), &self.slots, bounds));
                if let Some(refusal) = over {
                    self.end_canary(&group, &refusal, None);
                    continue;
                }
            }
            let number = canary.number;
            if self.workless.why(Duty::Check, number).is_some() {
                canary.checked = Instant::now();
            }
            let over = canary.began.elapsed() >= canary.length;
            if canary.checking && canary.checked.elapsed() >= hooks {
                let late = format!("it has not returned within {hooks:?}");
                self.checked(number, Err((Some(0), late)));
            } else if canary.checking {
            } else if over && (canary.is_well || canary.share.is_none()) {
                self.switch_tried(&group);
            } else if canary.share.is_some() && (over || canary.checked.elapsed() >= interval) {
                canary.is_well_if = over;
                (canary.checking, canary.checked) = (true, Instant::now());
                let members =
                    canary.members.iter().map(|ready| Arc::downgrade(&ready.generation)).collect();
                self.ask_health(number, &group, members);
            }
        }
    }

    /// Its health, as a worker has found it. False: there is no such canary.
    pub(super) fn canary_checked(&mut self, number: u64, result: &Result<(), Unwell>) -> bool {
        let of_it = |state: &GroupState| {
            state.canary.as_ref().is_some_and(|canary| canary.number == number)
        };
        let Some((group, state)) = self.groups.find_noted(of_it) else { return false };
        let Some(canary) = state.canary.as_mut() else { return false };
        (canary.checking, canary.checked) = (false, Instant::now());
        canary.is_well = canary.is_well_if && result.is_ok();
        if let Err((at, reason)) = result {
            let refusal = Refusal::new(Code::Unhealthy, reason.clone());
            let refusal = match canary.members.get(at.unwrap_or(0)) {
                Some(ready) => refusal.of(&ready.update.plugin, &ready.update.version),
                None => refusal,
            };
            self.end_canary(&group, &refusal, None);
        }
        true
    }

    /// Its time is over: it is switched in for all, at once or at the next switch point.
    fn switch_tried(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let Some(Canary { mut members, latency, share, .. }) = state.canary.take() else { return };
        for ready in &mut members {
            (ready.was_tried, ready.served) = (true, share.is_some());
            ready.latency.clone_from(&latency);
        }
        let manual = members.iter().any(|ready| ready.update.publish == Publish::Manual);
        // Nothing switches before the switch point: until then, what served serves all. And what
        // was only measured is measured no more.
        if manual || share.is_none() {
            self.publish(group);
        }
        match manual {
            true => self.await_second_point(group, members),
            false => drop(self.switch(group, members)),
        }
        self.resume(group);
    }

    /// What waits there already was prepared after what was tried, and so is newer.
    fn await_second_point(&mut self, group: &Arc<str>, members: Vec<Ready>) {
        let Some(state) = self.groups.get(group) else { return };
        let is_overtaken = |ready: &Ready| {
            let mut waiting = state.ready.iter();
            waiting.any(|waits| waits.generation.plugin == ready.generation.plugin)
        };
        let overtaken: Vec<_> =
            members.iter().map(|one| with_its_release(one, &members, is_overtaken)).collect();
        for (ready, overtaken) in members.into_iter().zip(overtaken).rev() {
            match overtaken {
                true => self.withdraw(ready, Code::Superseded, NEWER),
                false => self.await_switch_point(group, ready),
            }
        }
    }

    /// What served serves all again, and what waited for the canary's end goes on.
    pub(super) fn end_canary(&mut self, group: &Arc<str>, refusal: &Refusal, asked: Option<Asked>) {
        self.withdraw_canary(group, refusal, asked);
        if self.shutdown.is_none() {
            self.resume(group);
        }
    }

    fn withdraw_canary(&mut self, group: &Arc<str>, refusal: &Refusal, asked: Option<Asked>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let Some(canary) = state.canary.take() else { return };
        let began = Instant::now();
        self.publish(group);
        let served = canary.serves();
        if served {
            let left: Vec<_> =
                canary.members.iter().map(|ready| Arc::clone(&ready.generation)).collect();
            self.note_withdrawn(&left, refusal);
        }
        let serving = |ready: &Ready| {
            let active = &self.groups.get(group)?.active;
            active.iter().find(|active| active.plugin == ready.generation.plugin)
        };
        let back = canary.members.iter().find_map(|ready| {
            let applied = self.applied(serving(ready)?, began.elapsed());
            Some(Applied { previous: Some(ready.generation.number), ..applied })
        });
        for Ready { generation, update, .. } in canary.members.into_iter().rev() {
            let refusal = match refusal.plugin() {
                Some(_) => refusal.clone(),
                None => refusal.clone().of(&update.plugin, &update.version),
            };
            self.refuse(Some(update.generation), refusal, update.reply);
            match served {
                true => self.take_back(generation),
                false => self.dismiss(generation),
            }
        }
        if let Some(asked) = asked {
            asked.answer(back.ok_or_else(|| refusal.clone()));
        }
    }

    /// What has served in a canary and is not switched in is held, unless a newer one has come or
    /// the host ends.
    pub(super) fn note_withdrawn(&mut self, left: &[Arc<Generation>], refusal: &Refusal) {
        let of = left.first().and_then(|left| self.plugins.get(&left.plugin));
        let Some(group) = of.map(|plugin| Arc::clone(&plugin.group)) else { return };
        if self.shutdown.is_some() {
            return;
        }
        let held = if refusal.code() == Code::Superseded { &[] } else { left };
        self.note_return(&group, held, refusal.reason());
        if self.groups.get(&group).is_some_and(|state| !state.trials.is_empty()) {
            let failed = self.note_trial(&group, &[]).err();
            self.tell_journal(left.first().map(|left| left.number), failed);
        }
        for generation in held {
            let active = self.groups.get(&group).map(|state| &state.active);
            let mut active = active.into_iter().flatten();
            // A configuration of what serves is not held.
            if !active.any(|active| active.image.digest == generation.image.digest)
                && let Some(plugin) = self.plugins.get_mut(&generation.plugin)
            {
                plugin
                    .held
                    .insert(*generation.image.digest.as_bytes(), refusal.reason().to_owned());
            }
        }
    }

    /// The end of a trial has closed the group's record in the journal, in which its canary is, and
    /// what else is on trial.
    pub(super) fn note_others(&mut self, group: &Arc<str>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let canary = state.canary.take();
        let serves = canary.as_ref().filter(|canary| canary.serves());
        let members = serves.map(|canary| &*canary.members).unwrap_or_default();
        let tried = state.trials.iter().find(|trial| !trial.is_switching());
        let tried = tried.and_then(|trial| trial.members.first()).map(|tried| &tried.ready);
        let other = members.first().or(tried).map(|ready| ready.generation.number);
        let failed = other.and_then(|_| self.note_trial(group, members).err());
        self.tell_journal(other, failed);
        if let Some(state) = self.groups.get_mut(group) {
            state.canary = canary;
        }
    }
}

/// Is it so of `one`, or of another of its release among `all`?
fn with_its_release(one: &Ready, all: &[Ready], is_so: impl Fn(&Ready) -> bool) -> bool {
    let of_its =
        |other: &&Ready| one.update.release.is_some() && one.update.release == other.update.release;
    is_so(one) || all.iter().filter(of_its).any(is_so)
}
