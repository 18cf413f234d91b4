//! Slots: what the host's handles ask for, and the index by which releases answer it.

use super::queue::Operation;
use super::transition::Transition;
use super::worker::{answer, post, spawn};
use super::{Command, Control};
use crate::refusal::Refusal;
use crate::release::{Known, Wanted};
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
        let group = self.groups.iter().find_map(|(name, state)| match state.transition {
            Some(Transition::Slot { job, .. }) if job == answered => Some(Arc::clone(name)),
            _ => None,
        });
        let Some(group) = group else { return };
        let transition = self.groups.get_mut(&group).and_then(|state| state.transition.take());
        let Some(Transition::Slot { wanted, reply, .. }) = transition else { return };
        let result = result.map(|()| self.bind_slot(&group, wanted));
        answer(&reply, result);
        self.next(&group);
    }

    /// The slot's index, bound in the current release.
    fn bind_slot(&mut self, group: &Arc<str>, wanted: Wanted) -> usize {
        let known = self.slots.len();
        let index = self.index_of(wanted);
        if index >= known {
            self.publish_again(group);
        }
        index
    }

    /// The index of what a slot asks for; the same for the same question.
    fn index_of(&mut self, wanted: Wanted) -> usize {
        let same = |slot: &Wanted| {
            slot.plugin == wanted.plugin && slot.contract.layout == wanted.contract.layout
        };
        if let Some(index) = self.slots.iter().position(same) {
            return index;
        }
        if self.known.iter().all(|known| known.layout != wanted.contract.layout) {
            self.known.push(wanted.contract.clone());
        }
        self.slots.push(wanted);
        self.slots.len() - 1
    }

    pub(super) fn required(&self, plugin: &str) -> Vec<Known> {
        let of_plugin = self.slots.iter().filter(|wanted| *wanted.plugin == *plugin);
        of_plugin.map(|wanted| wanted.contract.clone()).collect()
    }
}
