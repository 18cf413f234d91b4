//! Publishing: from what is prepared to what serves, with one store.

use super::books::record;
use super::drain::Draining;
use super::update::{Good, Update};
use super::worker::{answer, answer_if};
use super::{Control, PluginState};
use crate::event::EventKind;
use crate::host::Applied;
use crate::refusal::{Code, Refusal};
use crate::release::{Generation, Release};
use crate::status::Residency;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

/// A generation that could be published.
pub(super) struct Ready {
    pub(super) generation: Arc<Generation>,
    pub(super) update: Update,
}

impl Control {
    /// Of one plugin the newest waits; what it overtakes never served.
    pub(super) fn await_switch_point(&mut self, group: &Arc<str>, ready: Ready) {
        self.shared.waiting.store(true, SeqCst);
        self.records.insert(ready.generation.number, record(&ready.generation, Residency::Prepared));
        self.changed = true;
        let Some(state) = self.groups.get_mut(group) else { return };
        let same = |other: &Ready| other.generation.plugin == ready.generation.plugin;
        let overtaken = state.ready.iter().position(same).map(|at| state.ready.remove(at));
        state.ready.push(ready);
        if let Some(overtaken) = overtaken {
            self.withdraw(overtaken, Code::Superseded, "a newer version of it is prepared");
        }
    }

    pub(super) fn withdraw(&mut self, ready: Ready, code: Code, why: &str) {
        let Ready { generation, update } = ready;
        let refusal = Refusal::new(code, why).of(&update.plugin, &update.version);
        self.refuse(Some(update.generation), refusal, update.reply);
        self.dismiss(generation);
    }

    /// Publishes what waits: of each group with one store.
    pub(super) fn switch_point(&mut self, reply: &SyncSender<usize>) {
        self.shared.waiting.store(false, SeqCst);
        let mut switched = 0;
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for group in groups {
            let ready = self.groups.get_mut(&group).map(|state| mem::take(&mut state.ready));
            if let Some(ready) = ready.filter(|ready| !ready.is_empty()) {
                switched += ready.len();
                self.activate(&group, ready);
            }
        }
        answer(reply, switched);
    }

    /// The one store, and what follows for the books.
    pub(super) fn activate(&mut self, group: &Arc<str>, ready: Vec<Ready>) {
        let Some(state) = self.groups.get_mut(group) else { return };
        let mut replaced = Vec::new();
        for Ready { generation: new, .. } in &ready {
            let at = state.active.iter().position(|active| active.plugin == new.plugin);
            replaced.push(at.map(|at| state.active.swap_remove(at)));
            state.active.push(Arc::clone(new));
        }
        let release = self.publish(group);
        for (Ready { generation: new, update }, old) in ready.iter().zip(&replaced) {
            self.records.insert(new.number, record(new, Residency::Active));
            if let Some(plugin) = self.plugins.get_mut(&new.plugin) {
                plugin.activate(new, old.as_deref(), update.rollback);
            }
            if let Some(old) = old {
                self.mark(old.number, Residency::Retiring);
            }
        }
        self.show();
        for (Ready { generation: new, update }, old) in ready.into_iter().zip(replaced) {
            let took = update.began.elapsed();
            let previous = old.as_ref().map(|old| old.number);
            self.shared.events.add(update.about(), took, EventKind::Active { release, previous });
            // Before the answer: who has it may wait for the old one.
            let applied = Applied { previous, ..self.applied(&new, took) };
            if let Some(old) = old {
                self.retire(old);
            }
            answer_if(update.reply.as_ref(), Ok(applied));
        }
    }

    /// Makes a release of the group's active generations the current one.
    pub(super) fn publish(&mut self, group: &Arc<str>) -> u64 {
        let Some(state) = self.groups.get(group) else {
            return 0;
        };
        self.releases += 1;
        let release = Release::new(self.releases, state.active.clone(), &self.slots);
        let old = state.cell.publish(Arc::new(release));
        let since = Instant::now();
        self.draining.push(Draining { retired: old, since, by_lease: Vec::new(), given_up: false });
        self.changed = true;
        self.releases
    }
}

impl PluginState {
    pub(super) fn activate(&mut self, new: &Generation, old: Option<&Generation>, rollback: bool) {
        self.active = Some(new.number);
        self.config = Arc::clone(&new.config);
        self.last_good = old
            .filter(|_| !rollback)
            .map(|old| Good { image: Arc::clone(&old.image), config: Arc::clone(&old.config) });
        if let Some(old) = old.filter(|_| rollback) {
            self.held.insert(*old.image.digest.as_bytes());
        }
        // Last: going back to another configuration of the same content holds nothing.
        self.held.remove(new.image.digest.as_bytes());
    }
}
