//! Slots: what the host's handles ask for, and the index by which releases answer it.

use super::queue::Operation;
use super::transition::Transition;
use super::worker::{answer, post, spawn};
use super::{Command, Control};
use crate::refusal::Refusal;
use crate::release::{Known, Wanted};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

impl Control {
    pub(super) fn slot(&mut self, wanted: Wanted, reply: SyncSender<Result<usize, Refusal>>) {
        match self.plugins.get(&wanted.plugin).map(|plugin| Arc::clone(&plugin.group)) {
            Some(group) => self.enqueue(&group, Operation::Slot { wanted, reply }),
            None => {
                let index = self.index_of(wanted);
                answer(&reply, Ok(index));
            }
        }
    }

    pub(super) fn implementers(&self, contract: &str) -> Vec<Arc<str>> {
        let active = self.groups.values().flat_map(|group| &group.active);
        let mut plugins: Vec<_> = active
            .filter(|generation| generation.offers(contract))
            .map(|generation| Arc::clone(&generation.plugin))
            .collect();
        plugins.sort();
        plugins
    }

    pub(super) fn begin_slot(
        &mut self,
        group: &Arc<str>,
        wanted: Wanted,
        reply: SyncSender<Result<usize, Refusal>>,
    ) {
        let Some(state) = self.groups.get(group) else { return };
        let tried = state.canary.iter().flat_map(|canary| &canary.members);
        let ready =
            state.ready.iter().chain(&state.behind).chain(tried).map(|ready| &ready.generation);
        let unchecked: Vec<_> = (state.active.iter().chain(ready))
            .filter(|generation| {
                generation.plugin == wanted.plugin && !generation.is_checked(&wanted.contract)
            })
            .cloned()
            .collect();
        if unchecked.is_empty() {
            let index = self.bind_slot(group, wanted);
            return answer(&reply, Ok(index));
        }
        self.jobs += 1;
        let (job, contract) = (self.jobs, wanted.contract.clone());
        let commands = self.shared.commands();
        let started = spawn("midflight-check", move || {
            let result = unchecked.iter().try_for_each(|generation| generation.check(&contract));
            drop(unchecked);
            post(&commands, Command::Compared { job, result });
        });
        match (started, self.groups.get_mut(group)) {
            (Ok(_), Some(state)) => {
                state.transition = Some(Transition::Slot { job, wanted, reply })
            }
            (Ok(_), None) => {}
            (Err(refusal), _) => answer(&reply, Err(refusal)),
        }
    }

    pub(super) fn compared(&mut self, answered: u64, result: Result<(), Refusal>) {
        let found = self.groups.find_noted(|state| {
            matches!(state.transition, Some(Transition::Slot { job, .. }) if job == answered)
        });
        let Some((group, state)) = found else { return };
        let Some(Transition::Slot { wanted, reply, .. }) = state.transition.take() else { return };
        let result = result.map(|()| self.bind_slot(&group, wanted));
        answer(&reply, result);
        self.next(&group);
    }

    /// The slot's index, bound in the current release.
    fn bind_slot(&mut self, group: &Arc<str>, wanted: Wanted) -> usize {
        let known = self.slots.all.len();
        let index = self.index_of(wanted);
        if index >= known {
            self.publish_again(group);
        }
        index
    }

    /// The index of what a slot asks for; the same for the same question.
    fn index_of(&mut self, wanted: Wanted) -> usize {
        if let Some(index) = self.slots.find(&wanted) {
            return index;
        }
        if self.known.iter().all(|known| known.layout != wanted.contract.layout) {
            self.known.push(wanted.contract.clone());
        }
        self.slots.add(wanted)
    }

    pub(super) fn required(&self, plugin: &str) -> Vec<Known> {
        self.slots.of(plugin).map(|(_, wanted)| wanted.contract.clone()).collect()
    }
}

/// Everything that slots have asked for.
#[derive(Default)]
pub(crate) struct Slots {
    /// By index.
    all: Vec<Wanted>,
    /// The indices of a plugin's: what is to be done about one plugin must not cost a look at all.
    by_plugin: BTreeMap<Arc<str>, Vec<usize>>,
}

impl Slots {
    /// Those of `plugin`, with their indices.
    pub(crate) fn of(&self, plugin: &str) -> impl Iterator<Item = (usize, &Wanted)> {
        let indices = self.by_plugin.get(plugin).into_iter().flatten();
        indices.map(|index| (*index, &self.all[*index]))
    }

    fn find(&self, wanted: &Wanted) -> Option<usize> {
        let mut same = self.of(&wanted.plugin);
        let same = same.find(|(_, slot)| slot.contract.layout == wanted.contract.layout);
        same.map(|(index, _)| index)
    }

    fn add(&mut self, wanted: Wanted) -> usize {
        let index = self.all.len();
        self.by_plugin.entry(Arc::clone(&wanted.plugin)).or_default().push(index);
        self.all.push(wanted);
        index
    }
}

impl Deref for Slots {
    type Target = [Wanted];

    fn deref(&self) -> &[Wanted] {
        &self.all
    }
}
