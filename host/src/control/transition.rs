//! Transitions: the one operation of a group that a worker is at, and what the worker answers.

use super::books::{Record, about};
use super::publish::Ready;
use super::update::Update;
use super::worker::answer_if;
use super::{Control, GroupState};
use crate::contracts::Wanted;
use crate::event::EventKind;
use crate::generation::Generation;
use crate::holder::Holders;
use crate::refusal::{Code, Refusal};
use crate::settings::{Bounds, Publish};
use crate::stage::preflight;
use crate::stage::{Refused, Step};
use crate::status::{GenerationStatus, Mapped, Residency};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The one operation of a group that a worker is at.
pub(super) enum Transition {
    Update {
        update: Update,
        step: Option<Step>,
        step_began: Instant,
        loader: Option<JoinHandle<()>>,
        /// Whom to tell that it was dropped.
        cancelled: Option<SyncSender<Result<(), Refusal>>>,
    },
    Slot {
        job: u64,
        wanted: Wanted,
        reply: SyncSender<Result<usize, Refusal>>,
    },
}

impl Control {
    pub(super) fn transition(&mut self, generation: u64) -> Option<(Arc<str>, &mut Transition)> {
        let of_it = |state: &GroupState| matches!(&state.transition, Some(Transition::Update { update, .. }) if update.generation == generation);
        let (group, state) = self.groups.find_noted(of_it)?;
        Some((group, state.transition.as_mut()?))
    }

    pub(super) fn progress(&mut self, of: u64, now_at: Step, at: Instant) {
        let Some((_, transition)) = self.transition(of) else {
            return;
        };
        let Transition::Update { update, step, step_began, .. } = transition else {
            return;
        };
        let (took, kind) = match now_at {
            Step::Staged(took) => {
                let hex = update.digest.map(|digest| digest.to_hex());
                let build = hex.map(|hex| hex[..8].to_owned()).unwrap_or_default();
                (took, EventKind::Staged { build })
            }
            Step::Preflighted => (at.duration_since(*step_began), EventKind::Preflighted),
            Step::Loaded => (at.duration_since(*step_began), EventKind::Loaded),
        };
        *step = Some(now_at);
        *step_began = at;
        let (plugin, version) = (Arc::clone(&update.plugin), Arc::clone(&update.version));
        self.shared.events.add(about(&plugin, &version, Some(of)), took, kind);
    }

    pub(super) fn prepared(
        &mut self,
        number: u64,
        result: Result<Box<Generation>, Refused>,
        at: Instant,
    ) {
        self.keep_spare();
        let Some((group, _)) = self.transition(number) else {
            return self.returned_late(number, result);
        };
        self.keeping.want();
        let Some(Transition::Update { update, step_began, loader, cancelled, .. }) =
            self.groups.get_mut(&group).and_then(|state| state.transition.take())
        else {
            return;
        };
        let release = update.release.filter(|_| result.is_err());
        match result {
            Ok(mut generation) => {
                generation.loader = loader;
                let took = at.duration_since(step_began);
                let Update { plugin, version, publish, .. } = &update;
                let (plugin, version, publish) =
                    (Arc::clone(plugin), Arc::clone(version), *publish);
                let prepared = about(&plugin, &version, Some(number));
                let ready = Ready::new(Arc::new(*generation), update);
                if let Some(reply) = cancelled {
                    let release = ready.update.release;
                    self.withdraw(ready, Code::Cancelled, "an operator cancelled it");
                    release.into_iter().for_each(|release| self.scatter(&group, release));
                    answer_if(Some(&reply), Ok(()));
                    return self.next(&group);
                }
                if self.shutdown.is_some() {
                    return self.withdraw(ready, Code::ShuttingDown, "the host is ending");
                }
                match publish {
                    Publish::AtOnce if ready.update.release.is_some() => {
                        self.shared.events.add(prepared, took, EventKind::Prepared);
                        return self.gathered(&group, ready);
                    }
                    // Who is told may come to a switch point at once, and finds it waiting there.
                    Publish::Manual if ready.update.release.is_some() => {
                        self.gathered(&group, ready);
                        self.show();
                        return self.shared.events.add(prepared, took, EventKind::Prepared);
                    }
                    Publish::AtOnce => {
                        self.shared.events.add(prepared, took, EventKind::Prepared);
                        self.switch_or_wait(&group, vec![ready]);
                    }
                    Publish::Manual => {
                        self.await_switch_point(&group, ready);
                        self.show();
                        self.shared.events.add(prepared, took, EventKind::Prepared);
                    }
                }
            }
            // What ended by itself need not be cancelled any more.
            Err(Refused { refusal, stopped }) if cancelled.is_some() => {
                answer_if(cancelled.as_ref(), Ok(()));
                match stopped {
                    Some(stopped) => self.leave(number, *stopped, Some((refusal, update.reply))),
                    None => self.refuse(Some(number), refusal, update.reply),
                }
            }
            Err(Refused { refusal, stopped: None }) => {
                self.refuse(Some(number), refusal, update.reply)
            }
            Err(Refused { refusal, stopped: Some(stopped) }) => {
                self.leave(number, *stopped, Some((refusal, update.reply)));
            }
        }
        if let Some(release) = release {
            self.scatter(&group, release);
        }
        self.next(&group);
    }

    /// A load or start that was given up came back after all.
    fn returned_late(&mut self, number: u64, result: Result<Box<Generation>, Refused>) {
        self.lost.remove(&number);
        match result {
            Ok(generation) => self.dismiss(Arc::new(*generation)),
            Err(Refused { stopped: None, .. }) => self.unmapped(number),
            Err(Refused { stopped: Some(stopped), .. }) => self.leave(number, *stopped, None),
        }
    }

    pub(super) fn look_at_deadlines(&mut self) {
        let bounds = &self.shared.bounds;
        let late: Vec<_> = (self.groups.noted())
            .filter(|(_, state)| matches!(state.transition, Some(Transition::Update { step, step_began, .. }) if step_began.elapsed() >= deadline_at(step, bounds)))
            .map(|(group, _)| Arc::clone(group))
            .collect();
        for group in late {
            self.give_up(&group);
        }
    }

    /// The worker stays behind in the plugin's code; its group goes on without it.
    fn give_up(&mut self, group: &Arc<str>) {
        let Some(Transition::Update { update, step, cancelled, .. }) =
            self.groups.get_mut(group).and_then(|state| state.transition.take())
        else {
            return;
        };
        let Update { generation, plugin, version, reply, release, .. } = update;
        let deadline = self.shared.bounds.start_deadline;
        let (code, what) = match step {
            Some(Step::Loaded) => (Code::StartTimedOut, "start"),
            Some(Step::Staged(_) | Step::Preflighted) | None => (Code::LoadTimedOut, "load"),
        };
        answer_if(cancelled.as_ref(), Ok(()));
        self.lost.insert(generation);
        let status = GenerationStatus {
            plugin: plugin.to_string(),
            version: version.to_string(),
            generation,
            build_id: String::new(),
            stamped: false,
            residency: Residency::Retiring,
            held_by: Holders::default(),
            memory: None,
            mapped: Mapped::default(),
        };
        self.enter(Record::new(status, None));
        let reason = format!("{what} has not returned within {deadline:?}");
        self.refuse(Some(generation), Refusal::new(code, reason).of(&plugin, &version), reply);
        self.reside(generation, vec![format!("{what} still running")]);
        if let Some(release) = release {
            self.scatter(group, release);
        }
        self.next(group);
    }
}

/// How long a worker may be at what follows `step`. A preflight comes before a load and ends by
/// itself.
fn deadline_at(step: Option<Step>, bounds: &Bounds) -> Duration {
    match step {
        None | Some(Step::Staged(_)) => {
            let preflight = preflight::limit(bounds).unwrap_or_default();
            bounds.start_deadline.saturating_add(preflight)
        }
        Some(Step::Preflighted | Step::Loaded) => bounds.start_deadline,
    }
}
