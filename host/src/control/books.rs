//! Books: the records of generations, and the status and events that are made of them.

use super::{Control, PluginState};
use crate::command::{Applied, Handle};
use crate::event::{About, EventKind, REASONS_MAX};
use crate::generation::{Footprint, Generation, Left};
use crate::holder::Holders;
use crate::shown::Changes;
use crate::status::{GenerationStatus, Mapped, PluginStatus, Residency};
use midflight_inspect::text;
use midflight_plugin::Absent;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

impl Control {
    /// Writes down what is known of a generation, instead of what was known.
    pub(super) fn enter(&mut self, record: Record) {
        let (number, plugin) = (record.generation, record.plugin.as_str());
        match self.in_memory.get_mut(plugin) {
            Some(of_plugin) => drop(of_plugin.insert(number)),
            None => drop(self.in_memory.insert(plugin.to_owned(), BTreeSet::from([number]))),
        }
        self.records.insert(number, record);
    }

    pub(super) fn mark(&mut self, number: u64, residency: Residency) {
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
    /// answer. It costs what has changed, and not what there is: who asks for a status makes it.
    pub(super) fn show(&mut self) {
        let (plugins, records) = (self.plugins.take_noted(), self.records.take_noted());
        if plugins.is_empty() && records.is_empty() {
            return;
        }
        let mut changes = Changes::default();
        for number in records {
            changes.generations.push((number, self.records.get(&number).map(Record::shown)));
        }
        for name in plugins {
            let shown = self.plugins.get(&name).map(|plugin| self.plugin_status(&name, plugin));
            changes.plugins.extend(shown.map(|shown| (name, shown)));
        }
        self.shared.shown.apply(changes);
    }

    fn plugin_status(&self, name: &str, plugin: &PluginState) -> PluginStatus {
        PluginStatus {
            name: name.to_owned(),
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
                .keys()
                .map(|digest| blake3::Hash::from(*digest).to_hex().to_string())
                .collect(),
        }
    }

    /// `; loaded are: fees, risk`, for who asks for a plugin that is none of them.
    pub(super) fn loaded_are(&mut self) -> String {
        self.show();
        Absent::new("", &self.shared.shown.status().serving()).loaded_are()
    }

    pub(super) fn applied(&self, to: &Generation, took: Duration) -> Applied {
        Applied {
            plugin: to.plugin.to_string(),
            version: to.version.to_string(),
            generation: to.number,
            switched: true,
            took,
            previous: None,
            host: Handle {
                commands: self.shared.commands(),
                shown: Arc::clone(&self.shared.shown),
            },
        }
    }
}

/// What is known of a generation.
pub(super) struct Record {
    status: GenerationStatus,
    /// Where what it takes is counted, while it is loaded.
    footprint: Option<Footprint>,
}

impl Record {
    pub(super) fn new(status: GenerationStatus, footprint: Option<Footprint>) -> Self {
        Record { status, footprint }
    }

    /// It is gone, and this is what it has left.
    pub(super) fn leave(&mut self, left: &Left) {
        self.footprint = None;
        self.status.memory = left.memory;
        self.status.mapped = left.mapped;
    }

    fn shown(&self) -> (GenerationStatus, Option<Footprint>) {
        (self.status.clone(), self.footprint.clone())
    }
}

impl Deref for Record {
    type Target = GenerationStatus;

    fn deref(&self) -> &GenerationStatus {
        &self.status
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut GenerationStatus {
        &mut self.status
    }
}

pub(super) fn record(generation: &Generation, residency: Residency) -> Record {
    let status = GenerationStatus {
        plugin: generation.plugin.to_string(),
        version: generation.version.to_string(),
        generation: generation.number,
        build_id: generation.image.build_id.clone(),
        stamped: generation.image.stamped,
        residency,
        held_by: Holders::default(),
        memory: None,
        mapped: Mapped::default(),
    };
    Record::new(status, Some(generation.footprint()))
}

pub(super) fn about<'a>(plugin: &'a str, version: &'a str, generation: Option<u64>) -> About<'a> {
    About { plugin, version, generation }
}
