//! The host's end.

use super::Control;
use super::drain::{RETIRING, Telling};
use super::ending::{Ending, Phase};
use super::parked::Parked;
use super::queue::Operation;
use super::worker::answer;
use crate::command::By;
use crate::library::Maps;
use crate::refusal::{Code, Refusal};
use crate::settings::Publish;
use crate::status::Residency;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

pub(super) struct Shutdown {
    /// None: so far away that it never comes.
    pub(super) until: Option<Instant>,
    pub(super) replies: Vec<SyncSender<()>>,
}

impl Control {
    pub(super) fn shut_down(&mut self, deadline: Duration, reply: Option<SyncSender<()>>) {
        let until = Instant::now().checked_add(deadline);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = [shutdown.until, until].into_iter().flatten().min();
            shutdown.replies.extend(reply);
            return;
        }
        self.shutdown = Some(Shutdown { until, replies: reply.into_iter().collect() });
        for name in mem::take(&mut self.parked) {
            let parked = self.plugins.get_mut(&name).and_then(|plugin| plugin.parked.take());
            if let Some(Parked { candidate, took, reply }) = parked {
                let by = By::Watcher { reply, again: false };
                self.turn_away(Operation::Update { candidate, by, took });
            }
        }
        self.keeping.kept.close();
        self.note_end();
        self.end_handovers();
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for group in groups {
            self.end_canary(&group, &Refusal::new(Code::ShuttingDown, "the host is ending"), None);
            let Some(state) = self.groups.get_mut(&group) else {
                continue;
            };
            let mut waiting = mem::take(&mut state.waiting);
            let active = mem::take(&mut state.active);
            let mut ready = mem::take(&mut state.ready);
            ready.append(&mut state.behind);
            let trials = mem::take(&mut state.trials);
            let gathering = state.gathering.take();
            let (gathered, named) =
                gathering.map(|gathering| (gathering.ready, gathering.named)).unwrap_or_default();
            ready.extend(gathered);
            waiting
                .push_front(Operation::Release { named: named.into(), publish: Publish::AtOnce });
            for operation in waiting {
                self.turn_away(operation);
            }
            for ready in ready {
                self.withdraw(ready, Code::ShuttingDown, "the host is ending");
            }
            for trial in trials {
                self.end_trial(trial);
            }
            if active.is_empty() {
                continue;
            }
            self.publish(&group);
            for generation in active {
                if let Some(plugin) = self.plugins.get_mut(&generation.plugin) {
                    plugin.active = None;
                    plugin.last_good = None;
                }
                self.retire(generation);
            }
        }
    }

    /// Answers who waits for the end: when all that can go is gone, or at the deadline, with the
    /// reasons for what is left.
    pub(super) fn look_at_shutdown(&mut self) {
        let Some(shutdown) = &self.shutdown else { return };
        if shutdown.replies.is_empty() {
            return;
        }
        let due = shutdown.until.is_some_and(|until| Instant::now() >= until);
        if !self.is_settled() && !due {
            return;
        }
        self.report_all();
        self.show();
        // Before the answer: who has it may start the next host on the same journal.
        self.recall = None;
        self.run.close();
        let replies = self.shutdown.as_mut().map(|shutdown| mem::take(&mut shutdown.replies));
        for reply in replies.unwrap_or_default() {
            answer(&reply, ());
        }
    }

    /// Everything that was active is gone, or stays for a reason that has been told.
    pub(super) fn is_settled(&self) -> bool {
        let busy = self.groups.noted().any(|(_, state)| state.transition.is_some());
        let ending = self.ending.values().any(|ending| ending.reasons.is_empty());
        !busy && !ending && !self.is_draining()
    }

    /// Why each generation that is left is still there.
    fn report_all(&mut self) {
        let retiring = self.retiring.values();
        let retiring: Vec<_> =
            retiring.map(|retiring| (Arc::clone(&retiring.generation), retiring.telling)).collect();
        for (generation, telling) in retiring {
            let mut holders = self.holders(&generation, Telling::Over);
            let told = (telling != Telling::Over).then(|| RETIRING.to_owned());
            // With their ages, since this is the status and no event.
            let holds: Vec<_> = holders.holds.drain(..).map(|held| held.to_string()).collect();
            let named = told.is_some() || !holds.is_empty();
            let calls = (!named || !holders.is_empty()).then(|| format!("held by {holders}"));
            let reasons = told.into_iter().chain(calls).chain(holds).collect();
            self.mark(generation.number, Residency::Resident(reasons));
        }
        let maps = Maps::now();
        let reasons = |(number, ending): (&u64, &Ending)| {
            (*number, ending.phase.reasons(*number, &self.workless, Some(&maps)))
        };
        for (number, reasons) in self.ending.iter().map(reasons).collect::<Vec<_>>() {
            if !reasons.is_empty() {
                self.report(number, reasons);
            }
        }
    }

    /// Nothing will come any more that this thread would have to see to. Else it lives on behind
    /// the handles' back, so that what ends late is taken down as it should be.
    pub(super) fn is_over(&self) -> bool {
        let Some(shutdown) = &self.shutdown else { return false };
        let stays = |ending: &Ending| matches!(&ending.phase, Phase::Leaving(stopped) if stopped.is_for_good());
        shutdown.replies.is_empty()
            && self.is_settled()
            && self.lost.is_empty()
            && self.ending.values().all(stays)
    }
}
