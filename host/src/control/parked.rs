//! Parked files: watched ones that wait for older generations to make room.

use super::Control;
use super::books::about;
use super::queue::Operation;
use crate::command::{By, Reply};
use crate::event::EventKind;
use crate::stage::Candidate;
use std::sync::Arc;
use std::time::Duration;

/// A watched file that waits, and who is told what comes of it.
pub(super) struct Parked {
    pub(super) candidate: Box<Candidate>,
    pub(super) took: Duration,
    pub(super) reply: Reply,
}

impl Control {
    /// Nobody applies a watched file a second time, so it waits for generations that are only on
    /// their way out.
    pub(super) fn park(&mut self, name: &str, parked: Parked) {
        let (version, took) = (parked.candidate.manifest().version.to_string(), parked.took);
        if let Some(plugin) = self.plugins.get_mut(name) {
            plugin.parked = Some(parked);
            self.parked.insert(name.into());
        }
        self.shared.events.add(about(name, &version, None), took, EventKind::Waiting);
    }

    /// Whoever comes later than a parked file has the last word.
    pub(super) fn drop_parked(&mut self, name: &str) {
        if !self.parked.remove(name) {
            return;
        }
        let parked = self.plugins.get_mut(name).and_then(|plugin| plugin.parked.take());
        if let Some(Parked { candidate, took, .. }) = parked {
            let version = candidate.manifest().version.to_string();
            self.shared.events.add(about(name, &version, None), took, EventKind::Superseded);
        }
    }

    /// What waits for room has it now, or waits in vain: then it is refused.
    pub(super) fn look_at_parked(&mut self) {
        let parked = self.parked.iter();
        let max = self.shared.bounds.generations_max;
        let has_room = |name: &str| self.in_memory(name).count() < max;
        let due: Vec<_> =
            parked.filter(|name| has_room(name) || !self.is_making_room(name)).cloned().collect();
        for name in due {
            self.parked.remove(&name);
            let Some(plugin) = self.plugins.get_mut(&name) else { continue };
            let group = Arc::clone(&plugin.group);
            if let Some(Parked { candidate, took, reply }) = plugin.parked.take() {
                let by = By::Watcher { reply, again: false };
                self.enqueue(&group, Operation::Update { candidate, by, took });
            }
        }
    }

    /// Is a generation of `plugin` draining or ending, and within its deadlines?
    pub(super) fn is_making_room(&self, plugin: &str) -> bool {
        let of_it =
            |number: &u64| self.records.get(number).is_some_and(|record| record.plugin == plugin);
        let mut draining = self.retiring.values().filter(|retiring| retiring.is_in_time());
        let mut ending = self.ending.iter().filter(|(_, ending)| ending.reasons.is_empty());
        draining.any(|retiring| *retiring.generation.plugin == *plugin)
            || ending.any(|(number, _)| of_it(number))
    }
}
