//! Slots: what the host's handles ask for, and the index by which releases answer it.

use super::Control;
use super::queue::Operation;
use super::seats::Seat;
use super::transition::Transition;
use super::trial::Asked;
use super::worker::{answer, spawn};
use crate::command::Command;
use crate::contracts::{Known, Wanted};
use crate::event::EventKind;
use crate::generation::Generation;
use crate::refusal::Refusal;
use crate::status::Residency;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

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
        let unchecked: Vec<_> = (state.seats())
            .filter(|(_, generation)| {
                generation.plugin == wanted.plugin && !generation.is_checked(&wanted.contract)
            })
            .map(|(seat, generation)| (seat, Arc::clone(generation)))
            .collect();
        if unchecked.is_empty() {
            let index = self.bind_slot(group, wanted);
            return answer(&reply, Ok(index));
        }
        self.jobs += 1;
        let (job, contract) = (self.jobs, wanted.contract.clone());
        let commands = self.shared.commands();
        let started = spawn("midflight-check", move || {
            let result = unchecked.iter().try_for_each(|(seat, generation)| {
                match generation.check(&contract) {
                    // Should it come back, it answers the slot with `not_loaded`.
                    Err(_) if *seat < Seat::Serving => Ok(()),
                    checked => checked.map_err(|refusal| (generation.number, refusal)),
                }
            });
            drop(unchecked);
            commands.post(Command::Compared { job, result });
        });
        match (started, self.groups.get_mut(group)) {
            (Ok(_), Some(state)) => {
                state.transition = Some(Transition::Slot { job, wanted, reply })
            }
            (Ok(_), None) => {}
            (Err(refusal), _) => answer(&reply, Err(refusal.of_plugin(&wanted.plugin))),
        }
    }

    pub(super) fn compared(&mut self, answered: u64, result: Result<(), (u64, Refusal)>) {
        let found = self.groups.find_noted(|state| {
            matches!(state.transition, Some(Transition::Slot { job, .. }) if job == answered)
        });
        let Some((group, state)) = found else { return };
        let Some(Transition::Slot { wanted, reply, .. }) = state.transition.take() else { return };
        let refusal = match result {
            Ok(()) => {
                let index = self.bind_slot(&group, wanted);
                answer(&reply, Ok(index));
                return self.next(&group);
            }
            Err((number, refusal)) => match self.unused(&group, &wanted, number) {
                Some(unfit) => return self.replace_unfit(&group, &unfit, refusal, (wanted, reply)),
                None => refusal,
            },
        };
        answer(&reply, Err(refusal));
        self.next(&group);
    }

    /// The generation of that number, where it serves and no slot of the host can use it.
    fn unused(&self, group: &Arc<str>, wanted: &Wanted, number: u64) -> Option<Arc<Generation>> {
        let active = self.groups.get(group)?.active.iter();
        let unfit = active.clone().find(|active| active.number == number)?;
        let mut of_it = self.slots.of(&wanted.plugin);
        let is_used = of_it.any(|(_, slot)| unfit.is_checked(&slot.contract));
        let is_linked = self.plugins.get(&wanted.plugin).is_some_and(|plugin| plugin.linked);
        (!is_used && !is_linked).then(|| Arc::clone(unfit))
    }

    /// What the first slot of its plugin can't use is of no use to this host, whatever its start
    /// said: what served before it comes back, or nothing. The slot is asked for again then.
    fn replace_unfit(
        &mut self,
        group: &Arc<str>,
        unfit: &Arc<Generation>,
        refusal: Refusal,
        (wanted, reply): (Wanted, SyncSender<Result<usize, Refusal>>),
    ) {
        let (number, name) = (unfit.number, Arc::clone(&unfit.plugin));
        let refusal = refusal.of(&name, &unfit.version);
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        let is_again = plugin.unfit.replace(number) == Some(number);
        let reason = format!("{}: {}", refusal.code(), refusal.reason());
        plugin.held.insert(*unfit.image.digest.as_bytes(), reason);
        if let Some(state) = self.groups.get_mut(group) {
            state.waiting.push_front(Operation::Slot { wanted, reply });
        }
        if is_again {
            self.unseat(group, unfit, &refusal);
            return self.next(group);
        }
        self.refuse(Some(number), refusal.clone(), None);
        // Nobody waits for the way back.
        let (nobody, _) = sync_channel(1);
        if self.is_on_trial(group, &name) {
            let (nobody, _) = sync_channel(1);
            return self.go_back(group, &name, refusal, Asked::Cancel(nobody));
        }
        self.note_unfit(unfit, &refusal);
        let good = self.plugins.get(&name).and_then(|plugin| plugin.last_good.clone());
        match (good, self.good_before(&name).cloned()) {
            (Some(good), _) => self.begin_again(group, good, true, nobody),
            (None, Some(member)) => self.begin_rollback_to(group, &name, member, nobody),
            (None, None) => self.unseat(group, unfit, &refusal),
        }
        self.next(group);
    }

    /// Its calls are not loaded from here on.
    fn unseat(&mut self, group: &Arc<str>, unfit: &Arc<Generation>, refusal: &Refusal) {
        let Some(state) = self.groups.get_mut(group) else { return };
        state.active.retain(|active| active.number != unfit.number);
        if let Some(plugin) = self.plugins.get_mut(&unfit.plugin) {
            (plugin.active, plugin.last_good) = (None, None);
        }
        self.publish(group);
        self.mark(unfit.number, Residency::Retiring);
        let reason = format!("{}: {}", refusal.code(), refusal.reason());
        self.tell(unfit.number, Duration::ZERO, EventKind::Returned { reason, past: None });
        self.retire(Arc::clone(unfit));
    }

    /// The slot's index, bound in the current release.
    fn bind_slot(&mut self, group: &Arc<str>, wanted: Wanted) -> usize {
        let known = self.slots.len();
        let state = self.groups.get(group);
        let mut active = state.iter().flat_map(|state| &state.active);
        let of_it = active.find(|active| active.plugin == wanted.plugin);
        if of_it.is_some_and(|active| active.is_checked(&wanted.contract)) {
            self.note_slot(&wanted);
        }
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
