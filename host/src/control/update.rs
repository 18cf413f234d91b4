//! Updates: from what was asked for to the worker that prepares it.

use super::Control;
use super::books::about;
use super::parked::Parked;
use super::recall::unavailable;
use super::transition::Transition;
use super::trial::Asked;
use super::worker::{answer_if, spawn};
use crate::command::{Applied, By, Command, Reply};
use crate::event::{About, EventKind};
use crate::generation::Generation;
use crate::holder::Holders;
use crate::image::Image;
use crate::mappings;
use crate::refusal::{Code, Refusal};
use crate::runtime::Surroundings;
use crate::settings::Publish;
use crate::stage::preflight;
use crate::stage::{self, Candidate, Order, Refused, Step};
use crate::status::{GenerationStatus, Residency};
use midflight_inspect::Spare;
use midflight_plugin::rt::{Hook, Linked};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// One update on its way.
pub(super) struct Update {
    pub(super) generation: u64,
    pub(super) plugin: Arc<str>,
    pub(super) version: Arc<str>,
    /// It goes back: what it replaces is held.
    pub(super) rollback: bool,
    /// The journal has brought it back, and knows of it.
    pub(super) recalled: bool,
    pub(super) config: Arc<str>,
    /// Of its library; of what is linked in there is none.
    pub(super) digest: Option<blake3::Hash>,
    pub(super) publish: Publish,
    /// The host's start waits for it.
    pub(super) starts: bool,
    /// It is part of a release of several, which goes with one store.
    pub(super) release: Option<u64>,
    pub(super) began: Instant,
    pub(super) reply: Option<Reply>,
}

/// What can be made a generation of again.
#[derive(Clone)]
pub(super) struct Good {
    pub(super) image: Arc<Image>,
    pub(super) config: Arc<str>,
}

impl Control {
    pub(super) fn begin_update(
        &mut self,
        group: &Arc<str>,
        candidate: Box<Candidate>,
        by: By,
        took: Duration,
    ) {
        let version: Arc<str> = candidate.manifest().version.to_string().into();
        let Some((name, plugin)) = self.plugins.get_key_value(candidate.manifest().name.as_str())
        else {
            return;
        };
        let name = Arc::clone(name);
        let digest = candidate.digest();
        let serving = self.groups.get(group).and_then(|state| state.newest(&name));
        if let Some(serving) = serving.filter(|serving| serving.image.digest == digest) {
            let applied = Applied { switched: false, ..self.applied(serving, took) };
            let about = about(&name, &version, Some(serving.number));
            self.shared.events.add(about, took, EventKind::Unchanged);
            return answer_if(by.reply().as_ref(), Ok(applied));
        }
        if let (By::Watcher { .. }, Some(reason)) = (&by, plugin.held.get(digest.as_bytes())) {
            let held = EventKind::Held { reason: reason.clone() };
            return self.shared.events.add(about(&name, &version, None), took, held);
        }
        let config = Arc::clone(&plugin.config);
        if let Err(refusal) = self.admit(&name) {
            return match by {
                By::Watcher { reply, .. } if self.is_making_room(&name) => {
                    self.park(&name, Parked { candidate, took, reply })
                }
                by => self.refuse(None, candidate.refused(refusal), by.reply()),
            };
        }
        let update = Update {
            generation: self.next_generation(),
            plugin: name,
            version,
            rollback: false,
            recalled: false,
            config,
            publish: match by {
                By::Start(_) => Publish::AtOnce,
                By::Watcher { .. } | By::Operator(_) | By::Impatient(_) => {
                    self.shared.bounds.publish
                }
            },
            digest: Some(digest),
            starts: matches!(by, By::Start(_)),
            release: None,
            began: Instant::now().checked_sub(took).unwrap_or_else(Instant::now),
            reply: by.reply(),
        };
        self.begin_candidate(group, update, candidate, took);
    }

    pub(super) fn begin_candidate(
        &mut self,
        group: &Arc<str>,
        update: Update,
        mut candidate: Box<Candidate>,
        took: Duration,
    ) {
        candidate.keep_memory();
        self.begin(group, update, move |order, progress| stage(&candidate, took, order, progress));
    }

    pub(super) fn begin_rollback(&mut self, group: &Arc<str>, name: &Arc<str>, reply: Reply) {
        if self.is_on_trial(group, name) {
            let refusal = Refusal::new(Code::Cancelled, "an operator rolled it back");
            return self.go_back(group, name, refusal, Asked::Rollback(reply));
        }
        if self
            .groups
            .get(group)
            .and_then(|state| state.canary.as_ref())
            .is_some_and(|it| it.has(name))
        {
            let refusal = Refusal::new(Code::Cancelled, "an operator rolled it back");
            return self.end_canary(group, &refusal, Some(Asked::Rollback(reply)));
        }
        let before = match self.plugins.get(name).and_then(|plugin| plugin.last_good.clone()) {
            Some(good) => return self.begin_again(group, good, true, reply),
            None => self.good_before(name).cloned(),
        };
        match before {
            Some(member) => self.begin_rollback_to(group, name, member, reply),
            None => {
                let serves = self.plugins.get(name).is_some_and(|plugin| plugin.active.is_some());
                let reason = match self.committed_before(name).filter(|_| !serves) {
                    Some(version) => not_brought_back(name, &version),
                    None => {
                        format!("no version of {name} was replaced since it was last rolled back")
                    }
                };
                let refusal = Refusal::new(Code::NothingToRollBack, reason).of_plugin(name);
                self.refuse(None, refusal, Some(reply));
            }
        }
    }

    /// Another configuration is an update like any other: of the version that serves, to itself.
    pub(super) fn begin_configure(
        &mut self,
        group: &Arc<str>,
        name: &Arc<str>,
        config: Arc<str>,
        reply: Reply,
    ) {
        let serving = self.groups.get(group).and_then(|state| state.newest(name));
        match serving.map(|serving| Arc::clone(&serving.image)) {
            Some(image) => self.begin_again(group, Good { image, config }, false, reply),
            None => {
                let reason = format!("no version of {name} serves");
                let refusal = Refusal::new(Code::UnknownPlugin, reason).of_plugin(name);
                self.refuse(None, refusal, Some(reply));
            }
        }
    }

    pub(super) fn begin_again(
        &mut self,
        group: &Arc<str>,
        good: Good,
        rollback: bool,
        reply: Reply,
    ) {
        let Good { image, config } = good;
        if let Err(refusal) = self.admit(&image.plugin) {
            return self.refuse(None, refusal.of(&image.plugin, &image.version), Some(reply));
        }
        let update = Update {
            generation: self.next_generation(),
            plugin: Arc::clone(&image.plugin),
            version: Arc::clone(&image.version),
            rollback,
            recalled: false,
            config,
            publish: self.shared.bounds.publish,
            digest: Some(image.digest),
            starts: false,
            release: None,
            began: Instant::now(),
            reply: Some(reply),
        };
        let store = self.recall.as_ref().map(|recall| Arc::clone(&recall.store));
        let bounds = self.shared.bounds.clone();
        self.begin(group, update, move |order, progress| {
            let began = Instant::now();
            let from_store = || {
                let path = store?.path(&image.digest.into());
                let found = Candidate::read(&path, &bounds, &Spare::default()).ok()?;
                (found.digest() == image.digest).then(|| found.dated(image.modified_ns))
            };
            let candidate = Candidate::again(&image).or_else(|lost| from_store().ok_or(lost));
            let candidate = candidate.map_err(Refused::early)?;
            stage(&candidate, began.elapsed(), order, progress)
        });
    }

    pub(super) fn begin_link(
        &mut self,
        group: &Arc<str>,
        name: Arc<str>,
        linked: Linked,
        reply: Reply,
    ) {
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        plugin.linked = true;
        let config = Arc::clone(&plugin.config);
        let number = self.next_generation();
        let update = Update {
            generation: number,
            plugin: Arc::clone(&name),
            version: linked.version.into(),
            rollback: false,
            recalled: false,
            config,
            publish: Publish::AtOnce,
            digest: None,
            starts: true,
            release: None,
            began: Instant::now(),
            reply: Some(reply),
        };
        self.begin(group, update, move |order, _| {
            stage::prepare_linked(&name, linked, order).map_err(Refused::early)
        });
        // There is nothing to load: what takes its time is the start.
        if let Some((_, Transition::Update { step, .. })) = self.transition(number) {
            *step = Some(Step::Loaded);
        }
    }

    pub(super) fn begin(
        &mut self,
        group: &Arc<str>,
        update: Update,
        prepare: impl FnOnce(Order, &mut dyn FnMut(Step)) -> Result<Generation, Refused>
        + Send
        + 'static,
    ) {
        let generation = update.generation;
        let (plugin, version) = (Arc::clone(&update.plugin), Arc::clone(&update.version));
        if let (Some(recall), Some(digest)) = (&mut self.recall, update.digest) {
            recall.comes(group, digest);
        }
        let mut required = self.required(&update.plugin);
        if update.starts && update.digest.is_some() {
            required.extend(self.required_before(&update.plugin));
        }
        let store = self.recall.as_ref().map(|recall| Arc::clone(&recall.store));
        let order = Order {
            generation,
            run: Arc::clone(&self.run),
            services: Arc::clone(&self.services),
            host: Some(Arc::downgrade(&self.shared) as Weak<dyn Surroundings>),
            known: self.known.clone(),
            required,
            config: Arc::clone(&update.config),
            panic_frames_max: self.shared.bounds.panic_frames_max,
            store,
            preflight: preflight::limit(&self.shared.bounds),
            preflight_start: self.shared.bounds.preflight_start,
            kept: Arc::clone(&self.keeping.kept),
        };
        if let Some(state) = self.groups.get_mut(group) {
            let step_began = Instant::now();
            state.transition = Some(Transition::Update {
                update,
                step: None,
                step_began,
                loader: None,
                cancelled: None,
            });
        }
        let commands = self.shared.commands();
        let kept = Arc::clone(&self.keeping.kept);
        let started = spawn("midflight-stage", move || {
            let mut progress = |step| {
                commands.post(Command::Progress { generation, step, at: Instant::now() });
            };
            let result = prepare(order, &mut progress).map(Box::new);
            commands.post(Command::Prepared { generation, result, at: Instant::now() });
            // What was prepared comes first, where both want the same processor.
            thread::yield_now();
            kept.end_spent();
        });
        match (started, self.transition(generation)) {
            (Ok(thread), Some((_, Transition::Update { loader, .. }))) => *loader = Some(thread),
            (Ok(_), _) => {}
            (Err(refusal), _) => {
                let refusal = refusal.of(&plugin, &version);
                self.prepared(generation, Err(Refused::early(refusal)), Instant::now());
            }
        }
    }

    /// Is there room for one more generation of `plugin`?
    pub(super) fn admit(&mut self, plugin: &str) -> Result<(), Refusal> {
        let max = self.shared.bounds.generations_max;
        if self.in_memory(plugin).count() < max {
            return mappings::have_room();
        }
        let there: Vec<GenerationStatus> = self.in_memory(plugin).cloned().collect();
        let there = there.iter().map(|record| {
            let (number, residency) = (record.generation, &record.residency);
            match self.kept_by(number).filter(|_| *residency == Residency::Retiring) {
                Some(holders) => format!("generation {number} {residency}, held by {holders}"),
                None => format!("generation {number} {residency}"),
            }
        });
        let there: Vec<_> = there.collect();
        Err(Refusal::new(
            Code::TooManyGenerations,
            format!("generations_max is {max}, in memory are: {}", there.join("; ")),
        ))
    }

    pub(super) fn in_memory(&self, plugin: &str) -> impl Iterator<Item = &GenerationStatus> {
        let numbers = self.in_memory.get(plugin).into_iter().flatten();
        let records = numbers.filter_map(|number| self.records.get(number)).map(|it| &**it);
        records.filter(|it| it.residency != Residency::Unmapped)
    }

    /// Who or what keeps a generation that is on its way out, as of now.
    fn kept_by(&mut self, number: u64) -> Option<Holders> {
        let retiring = self.retiring.get(&number);
        match retiring.map(|retiring| (Arc::clone(&retiring.generation), retiring.telling)) {
            Some((generation, telling)) => Some(self.holders(&generation, telling)),
            None => self.left_by(number),
        }
    }

    pub(super) fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    pub(super) fn refuse(
        &mut self,
        generation: Option<u64>,
        refusal: Refusal,
        reply: Option<Reply>,
    ) {
        let (plugin, version) = (refusal.plugin().unwrap_or(""), refusal.version().unwrap_or(""));
        let about = about(plugin, version, generation);
        self.shared.events.add(about, Duration::ZERO, EventKind::Refused(refusal.clone()));
        answer_if(reply.as_ref(), Err(refusal));
    }
}

/// Why nothing of a plugin serves that was committed.
pub(super) fn not_brought_back(plugin: &str, version: &str) -> String {
    format!("{plugin} {version} was committed, and could not be brought back at the start")
}

impl Update {
    pub(super) fn about(&self) -> About<'_> {
        about(&self.plugin, &self.version, Some(self.generation))
    }
}

pub(super) fn stage(
    candidate: &Candidate,
    took: Duration,
    order: Order,
    progress: &mut dyn FnMut(Step),
) -> Result<Generation, Refused> {
    progress(Step::Staged(took));
    let store = order.store.clone();
    let generation = stage::prepare(candidate, order, progress)?;
    let stored = store.map_or(Ok(()), |store| {
        let stored = store.put(candidate.digest().into(), candidate.data());
        stored.map_err(|error| unavailable(&error))
    });
    match stored {
        Ok(()) => Ok(generation),
        Err(refusal) => {
            let _ = generation.hook(Hook::AfterReturn);
            let (_, stopped) = generation.stop();
            Err(Refused { refusal: candidate.refused(refusal), stopped: Some(Box::new(stopped)) })
        }
    }
}
