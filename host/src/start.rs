//! The start: from what the journal knows and what lies in the plugins' directory to what serves.
//!
//! What was committed comes back first, each set with one store. A file in the directory that beats
//! it is an ordinary update after that. `docs::restarts` has it from the outside.

use crate::command::{Command, Named, Recalled, Source};
use crate::event::{About, EventKind};
use crate::journal::{Brought, Digest, JournalState, Member, Store, bring_back};
use crate::settings::Publish;
use crate::shared::Shared;
use crate::watch::File;
use midflight_inspect::text;
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// What a start goes by.
pub(crate) struct Start<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) state: &'a JournalState,
    pub(crate) store: &'a Store,
    /// What lies in the plugins' directory.
    pub(crate) files: &'a [File],
    /// By plugin, where the operator overrides the author.
    pub(crate) groups: &'a BTreeMap<String, String>,
    /// By plugin, as the builder gives them.
    pub(crate) configs: &'a BTreeMap<String, Arc<str>>,
    /// The plugins that no library replaces.
    pub(crate) linked: &'a BTreeSet<String>,
}

impl Start<'_> {
    /// Brings back what was committed. What can't be brought back is an event.
    pub(crate) fn recall(&self) {
        let mut fell = Vec::new();
        let mut refused = BTreeSet::new();
        for (group, committed) in &self.state.committed {
            let chosen: Vec<_> =
                committed.iter().map(|member| self.with_builders(member)).collect();
            if chosen != *committed {
                if self.bring(&chosen, false) {
                    continue;
                }
                let theirs = |(one, other): &(&Member, &Member)| one != other;
                let differ = chosen.iter().zip(committed).filter(theirs);
                refused.extend(differ.map(|(member, _)| member.plugin.clone()));
            }
            match bring_back(self.state, group, |set| self.bring(set, true)) {
                Brought::Committed => {}
                Brought::Before(set) => {
                    self.tell_fallen(committed, &set);
                    fell.push(group.clone());
                }
                Brought::Parts(parts) => self.tell_fallen(committed, &parts),
            }
            committed.iter().for_each(|member| self.tell_config(member, &refused));
        }
        let mut built = self.built();
        // What was refused is tried again at the next start.
        for plugin in refused {
            let before = self.state.built.as_ref().and_then(|built| built.get(&plugin));
            match before {
                Some(digest) => drop(built.insert(plugin, *digest)),
                None => drop(built.remove(&plugin)),
            }
        }
        let _ = self.shared.commands.ask(|reply| Command::Recalled { fell, built, reply });
    }

    /// Tries to have this set serve, each group's part of it with one store.
    fn bring(&self, set: &[Member], as_committed: bool) -> bool {
        let mut answers = Vec::new();
        let mut by_group = BTreeMap::<_, Vec<_>>::new();
        for member in set.iter().filter(|member| !self.linked.contains(&member.plugin)) {
            let (reply, answer) = sync_channel(1);
            answers.push(answer);
            let group = self.group_of(member);
            let (member, places) = (member.clone(), self.places(member));
            let config = Some(member.config.as_str().into());
            let recalled = Recalled { member, places, group: group.clone(), as_committed };
            let source = Source::Journal(Box::new(recalled));
            let named = Named { source, config, took: Duration::ZERO, reply };
            by_group.entry(group).or_default().push(named);
        }
        for named in by_group.into_values() {
            let _ = self.shared.commands.send(Command::Release { named, publish: Publish::AtOnce });
        }
        // All of them, since the next set would come between. A refusal is an event.
        let served: Vec<_> =
            answers.into_iter().map(|answer| matches!(answer.recv(), Ok(Ok(_)))).collect();
        served.iter().all(|serves| *serves)
    }

    /// Where the library of `member` may lie: in the store, or still in the plugins' directory.
    fn places(&self, member: &Member) -> Vec<std::path::PathBuf> {
        let is_it = |file: &&File| {
            let library = file.library.as_ref();
            library.is_ok_and(|library| Digest::from(library.digest) == member.digest)
        };
        let files = self.files.iter().filter(is_it).map(|file| file.path.clone());
        [self.store.path(&member.digest)].into_iter().chain(files).collect()
    }

    /// The group in which `member` is to run: the operator's choice, or its author's. Where a file
    /// is about to replace it, that file's, since a plugin that runs can't change its group.
    fn group_of(&self, member: &Member) -> String {
        let plugin = &member.plugin;
        if let Some(group) = self.groups.get(plugin) {
            return group.clone();
        }
        let ours = (member.version.parse::<Version>().ok(), member.modified_ns);
        let libraries = self.files.iter().filter_map(|file| file.library.as_ref().ok());
        let beats = libraries.filter(|library| {
            library.plugin == *plugin
                && !self.state.knows(plugin, &library.digest.into())
                && (Some(library.version.clone()), library.modified_ns) > ours
        });
        let best = beats.max_by_key(|library| (library.version.clone(), library.modified_ns));
        let named = best.map_or(&member.group, |library| &library.group);
        named.clone().unwrap_or_else(|| plugin.clone())
    }

    /// The digests of what the builder gives.
    fn built(&self) -> BTreeMap<String, Digest> {
        let configs = self.configs.iter();
        configs.map(|(plugin, config)| (plugin.clone(), Digest::of(config.as_bytes()))).collect()
    }

    /// With the builder's configuration, if that is another one than it was at the last start: what
    /// the operator changed last counts.
    fn with_builders(&self, member: &Member) -> Member {
        let plugin = &member.plugin;
        let Some(before) = &self.state.built else { return member.clone() };
        let now = self.configs.get(plugin);
        if before.get(plugin) == now.map(|config| Digest::of(config.as_bytes())).as_ref() {
            return member.clone();
        }
        let config = now.map(|config| config.to_string()).unwrap_or_default();
        Member { config, ..member.clone() }
    }

    /// The builder gives another configuration than the one that is used.
    fn tell_config(&self, member: &Member, refused: &BTreeSet<String>) {
        let Some(config) = self.configs.get(&member.plugin) else { return };
        if **config == *member.config || self.linked.contains(&member.plugin) {
            return;
        }
        let reason = if refused.contains(&member.plugin) {
            "the builder's was refused, and is tried again at the next start"
        } else if self.state.built.is_some() {
            "it was set after the builder's, which has not changed since"
        } else {
            "nobody knows which of the two is the later one: the journal was written by an older \
             host; set it with Host::configure, or change the builder's once more"
        };
        let kind = EventKind::ConfigKept { reason: reason.to_owned() };
        self.tell(&member.plugin, &member.version, kind);
    }

    /// Others serve than what was committed.
    fn tell_fallen(&self, committed: &[Member], serving: &[Member]) {
        for member in committed.iter().filter(|member| !self.linked.contains(&member.plugin)) {
            let now = serving.iter().find(|now| now.plugin == member.plugin);
            if now.is_some_and(|now| now.is_same(member)) {
                continue;
            }
            let lost = text::name(&member.version);
            let reason = match now {
                Some(now) if now.digest == member.digest => {
                    "it could not be started with the configuration that was committed last, and \
                     serves with the one before"
                        .to_owned()
                }
                Some(_) => format!(
                    "{lost} was committed last and could not be brought back; this one was \
                     committed before it"
                ),
                None => format!(
                    "{lost} was committed and could not be brought back, nor what was \
                                 before it: its calls are not loaded until a version is applied"
                ),
            };
            let version = now.map_or(&member.version, |now| &now.version);
            self.tell(&member.plugin, version, EventKind::FellBack { reason });
        }
    }

    fn tell(&self, plugin: &str, version: &str, kind: EventKind) {
        let about = About { plugin, version, generation: None };
        self.shared.events.add(about, Duration::ZERO, kind);
    }
}
