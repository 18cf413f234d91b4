//! Books: the records of generations, and the status and events that are made of them.

use super::Control;
use super::ending::Phase;
use crate::event::{About, EventKind, REASONS_MAX};
use crate::holder::Holders;
use crate::host::{Applied, Handle};
use crate::release::Generation;
use crate::status::{GenerationStatus, PluginStatus, Residency, Status};
use midflight_inspect::text;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

impl Control {
    pub(super) fn mark(&mut self, number: u64, residency: Residency) {
        self.changed = true;
        let residency = match residency {
            Residency::Resident(reasons) => Residency::Resident(text::list(reasons, REASONS_MAX)),
            plain => plain,
        };
        if let Some(record) = self.records.get_mut(&number) {
            record.residency = residency;
            record.held_by = Holders::default();
        }
    }

    pub(super) fn is_standby(&self, number: u64) -> bool {
        self.records.get(&number).is_some_and(|record| record.residency == Residency::Standby)
    }

    pub(super) fn tell(&mut self, number: u64, took: Duration, kind: EventKind) {
        self.show();
        if let Some(record) = self.records.get(&number) {
            self.shared.events.add(
                about(&record.plugin, &record.version, Some(number)),
                took,
                kind,
            );
        }
    }

    /// Whoever is told of a change finds it in the status: so this comes before the event and the
    /// answer.
    pub(super) fn show(&mut self) {
        if mem::take(&mut self.changed) {
            self.count_memory();
            self.shared.status.store(Arc::new(self.status()));
        }
    }

    /// Of those whose code is mapped and in no worker's hands.
    fn count_memory(&mut self) {
        let groups = self.groups.values();
        let serving = groups.flat_map(|group| {
            let tried = group.canary.iter().flat_map(|canary| &canary.members);
            group.ready.iter().chain(tried).map(|ready| &ready.generation).chain(&group.active)
        });
        let retiring = self.retiring.iter().map(|retiring| &retiring.generation);
        let started =
            serving.chain(retiring).map(|generation| (generation.number, generation.memory()));
        let leaving = self.ending.iter().filter_map(|(number, ending)| match &ending.phase {
            Phase::Leaving(stopped) => Some((*number, stopped.memory())),
            _ => None,
        });
        for (number, memory) in started.chain(leaving) {
            if let Some(record) = self.records.get_mut(&number) {
                record.memory = memory;
            }
        }
    }

    fn status(&self) -> Status {
        let plugins = self.plugins.iter().map(|(name, plugin)| PluginStatus {
            name: name.to_string(),
            group: plugin.group.to_string(),
            active: plugin.active,
            version: plugin
                .active
                .and_then(|active| Some(self.records.get(&active)?.version.clone())),
            rollback_to: match &plugin.last_good {
                Some(good) => Some(good.image.version.to_string()),
                None => self.good_before(name).map(|member| member.version.clone()),
            },
            held: plugin
                .held
                .iter()
                .map(|digest| blake3::Hash::from(*digest).to_hex().to_string())
                .collect(),
        });
        Status { plugins: plugins.collect(), generations: self.records.values().cloned().collect() }
    }

    pub(super) fn applied(&self, to: &Generation, took: Duration) -> Applied {
        Applied {
            plugin: to.plugin.to_string(),
            version: to.version.to_string(),
            generation: to.number,
            switched: true,
            took,
            previous: None,
            host: Handle(Arc::clone(&self.shared)),
        }
    }
}

pub(super) fn record(generation: &Generation, residency: Residency) -> GenerationStatus {
    GenerationStatus {
        plugin: generation.plugin.to_string(),
        version: generation.version.to_string(),
        generation: generation.number,
        build_id: generation.image.build_id.clone(),
        stamped: generation.image.stamped,
        residency,
        held_by: Holders::default(),
        memory: generation.memory(),
        mapped: generation.mapped(),
    }
}

pub(super) fn about<'a>(plugin: &'a str, version: &'a str, generation: Option<u64>) -> About<'a> {
    About { plugin, version, generation }
}
