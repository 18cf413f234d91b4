//! Queues: what is asked of a group waits there for its turn, and is done one at a time.

use super::books::about;
use super::transition::Transition;
use super::update::not_brought_back;
use super::worker::answer;
use super::{Control, GroupState, PluginState};
use crate::command::{By, Named, Reply};
use crate::contracts::Wanted;
use crate::event::EventKind;
use crate::refusal::{Code, Refusal};
use crate::settings::Publish;
use crate::stage::Candidate;
use midflight_plugin::rt::Linked;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// What waits for its turn in a group.
pub(super) enum Operation {
    Update { candidate: Box<Candidate>, by: By, took: Duration },
    Release { named: Vec<Named>, publish: Publish },
    Rollback { plugin: Arc<str>, reply: Reply },
    Configure { plugin: Arc<str>, config: Arc<str>, reply: Reply },
    Link { plugin: Arc<str>, linked: Linked, reply: Reply },
    Slot { wanted: Wanted, reply: SyncSender<Result<usize, Refusal>> },
}

impl Operation {
    /// It is to bring a generation of `plugin`.
    fn brings(&self, plugin: &str) -> bool {
        match self {
            Operation::Update { candidate, .. } => candidate.manifest().name == *plugin,
            Operation::Release { named, .. } => {
                named.iter().any(|named| named.source.plugin() == plugin)
            }
            Operation::Link { plugin: linked, .. } => **linked == *plugin,
            Operation::Rollback { .. } | Operation::Configure { .. } | Operation::Slot { .. } => {
                false
            }
        }
    }
}

impl Control {
    pub(super) fn update(&mut self, candidate: Box<Candidate>, by: By, took: Duration) {
        let manifest = candidate.manifest();
        let group = match self.admit_to_group(&manifest.name, manifest.group.as_deref()) {
            Ok(group) => group,
            Err(refusal) => return self.refuse(None, candidate.refused(refusal), by.reply()),
        };
        if let By::Impatient(_) = by
            && let Some(state) = self.groups.get(&group)
            && (state.transition.is_some() || !state.waiting.is_empty() || state.is_switching())
        {
            let refusal =
                Refusal::new(Code::Busy, format!("another update of group {group} is under way"));
            return self.refuse(None, candidate.refused(refusal), by.reply());
        }
        if let Some(plugin) = self.plugins.get_mut(manifest.name.as_str()) {
            let digest = *candidate.digest().as_bytes();
            if matches!(by, By::Watcher { again: true, .. }) && plugin.asked != Some(digest) {
                let version = manifest.version.to_string();
                let about = about(&manifest.name, &version, None);
                return self.shared.events.add(about, took, EventKind::Superseded);
            }
            plugin.asked = Some(digest);
        }
        // Of watched files only the newest waits.
        if matches!(by, By::Watcher { .. }) {
            self.drop_waiting(&group, &manifest.name);
        }
        self.drop_parked(&manifest.name);
        self.enqueue(&group, Operation::Update { candidate, by, took });
    }

    /// All of them belong to one group, or none is switched in.
    pub(super) fn release(&mut self, named: Vec<Named>, publish: Publish) {
        let mut groups = Vec::new();
        let mut refused = None;
        for Named { source, .. } in &named {
            match self.admit_to_group(source.plugin(), source.group()) {
                Ok(group) => {
                    if let Some(plugin) = self.plugins.get_mut(source.plugin()) {
                        plugin.asked = Some(*source.digest().as_bytes());
                    }
                    groups.push((source.plugin().to_owned(), group));
                }
                Err(refusal) => refused = Some(refusal),
            }
        }
        let other = groups.iter().find(|(_, group)| *group != groups[0].1);
        if let (None, Some((name, group))) = (&refused, other) {
            let (first, of_first) = &groups[0];
            let reason = format!(
                "{first} is of group {of_first}, {name} of {group}: a release is of one group"
            );
            refused = Some(Refusal::new(Code::ReleaseInvalid, reason));
        }
        if let Some(refusal) = refused {
            return self.refuse_release(named, &refusal);
        }
        let Some((_, group)) = groups.into_iter().next() else { return };
        self.enqueue(&group, Operation::Release { named, publish });
    }

    pub(super) fn link(&mut self, name: &str, linked: Linked, reply: Reply) {
        match self.admit_to_group(name, Some(linked.group).filter(|group| !group.is_empty())) {
            Ok(group) => {
                self.enqueue(&group, Operation::Link { plugin: name.into(), linked, reply })
            }
            Err(refusal) => self.refuse(None, refusal.of(name, linked.version), Some(reply)),
        }
    }

    pub(super) fn rollback(&mut self, plugin: &str, reply: Reply) {
        self.drop_parked(plugin);
        if let Some(plugin) = self.plugins.get_mut(plugin) {
            plugin.asked = None;
        }
        self.enqueue_for(plugin, reply, |plugin, reply| Operation::Rollback { plugin, reply });
    }

    pub(super) fn configure(&mut self, plugin: &str, config: Arc<str>, reply: Reply) {
        self.enqueue_for(plugin, reply, |plugin, reply| Operation::Configure {
            plugin,
            config,
            reply,
        });
    }

    fn enqueue_for(
        &mut self,
        plugin: &str,
        reply: Reply,
        operation: impl FnOnce(Arc<str>, Reply) -> Operation,
    ) {
        match self.plugins.get_key_value(plugin) {
            Some((_, state)) if state.linked => self.refuse(None, linked_in(plugin), Some(reply)),
            Some((name, state)) => {
                let (name, group) = (Arc::clone(name), Arc::clone(&state.group));
                self.enqueue(&group, operation(name, reply));
            }
            None => {
                let reason = match self.committed_before(plugin) {
                    Some(version) => not_brought_back(plugin, &version),
                    None => format!("no plugin {plugin} was ever loaded{}", self.loaded_are()),
                };
                let refusal = Refusal::new(Code::UnknownPlugin, reason).of_plugin(plugin);
                self.refuse(None, refusal, Some(reply));
            }
        }
    }

    /// The group of a plugin whose author names `authors`: it is made at need, and stays the same
    /// once the plugin has run.
    fn admit_to_group(&mut self, name: &str, authors: Option<&str>) -> Result<Arc<str>, Refusal> {
        let chosen = self.overrides.get(name).map(String::as_str);
        let group: Arc<str> = chosen.or(authors).unwrap_or(name).into();
        match self.plugins.get(name) {
            Some(plugin) if plugin.linked => return Err(linked_in(name)),
            Some(plugin) if plugin.group == group => return Ok(group),
            Some(plugin) if plugin.active.is_some() || self.is_coming(name, &plugin.group) => {
                let reason =
                    format!("it runs in group {}, this version names {group}", plugin.group);
                return Err(Refusal::new(Code::GroupChanged, reason));
            }
            _ => {}
        }
        let name: Arc<str> = name.into();
        let cell = self.shared.join(&name, &group);
        self.groups.or_insert_with(Arc::clone(&group), || GroupState::new(cell));
        let config = self.configs.get(&*name).cloned().unwrap_or_default();
        let held = self.held_before(&name).collect();
        let state =
            PluginState { group: Arc::clone(&group), config, held, ..PluginState::default() };
        self.plugins.insert(name, state);
        Ok(group)
    }

    /// Is a version of it on its way to serve in `group`?
    fn is_coming(&self, name: &str, group: &str) -> bool {
        let Some(state) = self.groups.get(group) else { return false };
        let now = matches!(&state.transition, Some(Transition::Update { update, .. }) if *update.plugin == *name);
        let seated = state.seats().any(|(seat, it)| seat.is_coming() && *it.plugin == *name);
        let waiting = state.waiting.iter().any(|operation| operation.brings(name));
        let gathering = state.gathering.as_ref().is_some_and(|gathering| gathering.has(name));
        now || seated || waiting || gathering
    }

    fn drop_waiting(&mut self, group: &str, name: &str) {
        let Some(state) = self.groups.get_mut(group) else {
            return;
        };
        state.waiting.retain(|operation| match operation {
            Operation::Update { candidate, by: By::Watcher { .. }, took }
                if candidate.manifest().name == *name =>
            {
                let version = candidate.manifest().version.to_string();
                self.shared.events.add(about(name, &version, None), *took, EventKind::Superseded);
                false
            }
            _ => true,
        });
    }

    pub(super) fn enqueue(&mut self, group: &Arc<str>, operation: Operation) {
        if self.shutdown.is_some() {
            return self.turn_away(operation);
        }
        if let Some(state) = self.groups.get_mut(group) {
            state.waiting.push_back(operation);
        }
        self.next(group);
    }

    pub(super) fn turn_away(&mut self, operation: Operation) {
        let refusal = || Refusal::new(Code::ShuttingDown, "the host is ending");
        match operation {
            Operation::Update { candidate, by, .. } => {
                self.refuse(None, candidate.refused(refusal()), by.reply());
            }
            Operation::Rollback { plugin, reply }
            | Operation::Configure { plugin, reply, .. }
            | Operation::Link { plugin, reply, .. } => {
                self.refuse(None, refusal().of_plugin(&plugin), Some(reply));
            }
            Operation::Release { named, .. } => self.refuse_release(named, &refusal()),
            Operation::Slot { wanted, reply } => {
                answer(&reply, Err(refusal().of_plugin(&wanted.plugin)));
            }
        }
    }

    fn refuse_release(&mut self, named: Vec<Named>, refusal: &Refusal) {
        for Named { source, reply, .. } in named {
            self.refuse(None, source.refused(refusal.clone()), Some(reply));
        }
    }

    /// Begins the group's next operation that a worker must do; those that need none are done on
    /// the way.
    pub(super) fn next(&mut self, group: &Arc<str>) {
        while let Some(state) = self.groups.get_mut(group)
            && state.transition.is_none()
            && !state.is_switching()
            && let Some(operation) = state.waiting.pop_front()
        {
            match operation {
                Operation::Update { candidate, by, took } => {
                    self.begin_update(group, candidate, by, took)
                }
                Operation::Release { named, publish } => self.begin_release(group, named, publish),
                Operation::Rollback { plugin, reply } => self.begin_rollback(group, &plugin, reply),
                Operation::Configure { plugin, config, reply } => {
                    self.begin_configure(group, &plugin, config, reply);
                }
                Operation::Link { plugin, linked, reply } => {
                    self.begin_link(group, plugin, linked, reply)
                }
                Operation::Slot { wanted, reply } => self.begin_slot(group, wanted, reply),
            }
        }
    }
}

fn linked_in(plugin: &str) -> Refusal {
    Refusal::new(Code::LinkedIn, format!("{plugin} is linked into the host")).of_plugin(plugin)
}
