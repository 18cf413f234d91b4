//! The drain: nobody is let in any more. The plugin is told so; who is inside is waited for,
//! reported, or given up.

use super::Control;
use super::agenda::Item;
use super::books::record;
use super::worker::{Duty, answer};
use crate::command::Command;
use crate::event::EventKind;
use crate::gate::cell::Retired;
use crate::gate::pin::Inside;
use crate::generation::Generation;
use crate::holder::{Held, Holder, Holders};
use crate::refusal::{Code, Refusal};
use crate::runtime::threads;
use crate::status::Residency;
use midflight_inspect::text;
use midflight_plugin::rt::Hook;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

/// How often the status is told who or what keeps a generation.
pub(super) const HOLDERS_POLL: Duration = Duration::from_millis(100);

/// Why a generation stays whose plugin has not returned from its `retiring`.
pub(super) const RETIRING: &str = "retiring still running";

/// A generation that is in no current release.
pub(super) struct Retiring {
    pub(super) generation: Arc<Generation>,
    pub(super) since: Instant,
    /// When its holders were last looked at.
    pub(super) looked: Instant,
    /// The drain has taken too long, which was told.
    pub(super) stalled: bool,
    pub(super) telling: Telling,
}

/// How far the plugin is with its `retiring`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// A worker is in it, and has a share of the generation.
    Running,
    /// So it is, past its deadline, which was reported.
    Late,
    /// It has returned, or it was never to be told.
    Over,
}

/// A release that was replaced. Its generations are let go when nobody is inside.
pub(super) struct Draining {
    pub(super) retired: Retired,
    /// Who is pinned now was so then: nobody enters any more.
    pub(super) since: Instant,
    /// Who was seen inside by a lease, which can be entered again, and since when.
    pub(super) by_lease: Vec<(u32, Instant)>,
    /// A generation of it was given up: nobody waits for the release.
    pub(super) given_up: bool,
}

/// A handle that waits for a generation to drain.
pub(super) struct Awaiting {
    pub(super) generation: u64,
    pub(super) until: Instant,
    pub(super) reply: SyncSender<Option<Holders>>,
}

impl Retiring {
    /// Nothing of its way out has taken longer than it may.
    pub(super) fn is_in_time(&self) -> bool {
        !self.stalled && self.telling != Telling::Late
    }
}

impl Control {
    /// It served, and gets no new calls: its plugin is told.
    pub(super) fn retire(&mut self, generation: Arc<Generation>) {
        self.drain_and(generation, |generation| {
            generation.retiring().map_err(|fault| fault.to_string())
        });
    }

    /// It never served: its plugin is told no more than that.
    pub(super) fn dismiss(&mut self, generation: Arc<Generation>) {
        self.drain_and(generation, |generation| generation.hook(Hook::AfterReturn));
    }

    /// It served a share, and is not switched in.
    pub(super) fn take_back(&mut self, generation: Arc<Generation>) {
        self.drain_and(generation, |generation| {
            let returned = generation.hook(Hook::AfterReturn);
            generation.retiring().map_err(|fault| fault.to_string()).and(returned)
        });
    }

    fn drain_and(
        &mut self,
        generation: Arc<Generation>,
        tell: impl FnOnce(&Generation) -> Result<(), String> + Send + 'static,
    ) {
        self.drain(Arc::clone(&generation), Telling::Running);
        let commands = self.shared.commands();
        self.must(Duty::Tell, generation.number, move || {
            let result = tell(&generation);
            commands.post(Command::Told { generation, result });
        });
    }

    fn drain(&mut self, generation: Arc<Generation>, telling: Telling) {
        // One that never became active has none yet, and is in memory all the same.
        let (number, now) = (generation.number, Instant::now());
        if !self.records.contains_key(&number) {
            self.enter(record(&generation, Residency::Retiring));
        }
        self.mark(number, Residency::Retiring);
        self.tell(number, Duration::ZERO, EventKind::Retiring);
        let retiring = Retiring { generation, since: now, looked: now, stalled: false, telling };
        self.retiring.insert(number, retiring);
        self.agenda.hurry(Item::Retiring(number));
    }

    pub(super) fn told(&mut self, generation: &Generation, result: Result<(), String>) {
        let number = generation.number;
        if let Err(reason) = result {
            self.tell(number, Duration::ZERO, EventKind::RetiringFailed { reason });
        }
        // It may have been given up meanwhile.
        let given_up = self.given_up.get_mut(&number);
        let Some(retiring) = self.retiring.get_mut(&number).or(given_up) else { return };
        let was = mem::replace(&mut retiring.telling, Telling::Over);
        if self.retiring.contains_key(&number) {
            // The worker's share is given back with the command.
            self.agenda.hurry(Item::Retiring(number));
        }
        if was == Telling::Late {
            self.mark(number, Residency::Retiring);
        }
    }

    /// Puts a release on its way out.
    pub(super) fn begin_drain(&mut self, draining: Draining) {
        self.drains += 1;
        self.draining.insert(self.drains, draining);
        self.agenda.hurry(Item::Drain(self.drains));
    }

    pub(super) fn look_at_drain(&mut self, number: u64) {
        let Some(draining) = self.draining.remove(&number) else {
            return self.agenda.remove(Item::Drain(number));
        };
        let (since, given_up) = (draining.since, draining.given_up);
        let generations = draining.retired.release().numbers();
        match draining.retired.look() {
            Ok(sides) => {
                self.agenda.remove(Item::Drain(number));
                for retired in sides {
                    self.begin_drain(Draining { retired, since, by_lease: Vec::new(), given_up });
                }
                // Its shares in them are gone.
                for generation in generations {
                    if self.retiring.contains_key(&generation) {
                        self.agenda.hurry(Item::Retiring(generation));
                    }
                }
            }
            Err(retired) => {
                self.draining.insert(number, Draining { retired, ..draining });
                self.agenda.again(Item::Drain(number));
            }
        }
    }

    pub(super) fn look_at_retiring(&mut self, number: u64) {
        self.look_at_telling(number);
        let Some(mut retiring) = self.retiring.remove(&number) else {
            return self.agenda.remove(Item::Retiring(number));
        };
        let took = retiring.since.elapsed();
        match Arc::try_unwrap(retiring.generation) {
            Ok(generation) => {
                self.agenda.remove(Item::Retiring(number));
                self.tell(number, took, EventKind::Drained);
                self.end_generation(generation);
            }
            Err(generation) => {
                let stalls = !retiring.stalled && took >= self.shared.bounds.drain_deadline;
                if stalls || retiring.looked.elapsed() >= HOLDERS_POLL {
                    retiring.looked = Instant::now();
                    retiring.stalled |= stalls;
                    self.hold(&generation, retiring.telling, stalls.then_some(took));
                }
                self.retiring.insert(number, Retiring { generation, ..retiring });
                self.agenda.again(Item::Retiring(number));
            }
        }
    }

    fn look_at_telling(&mut self, number: u64) {
        let Some(retiring) = self.retiring.get_mut(&number) else { return };
        let is_late = retiring.since.elapsed() >= self.shared.bounds.retire_deadline;
        if retiring.telling == Telling::Running && is_late {
            retiring.telling = Telling::Late;
            let waits = |why: &str| format!("retiring waits: {why}");
            let why = self.workless.why(Duty::Tell, number).map(waits);
            self.reside(number, vec![why.unwrap_or_else(|| RETIRING.to_owned())]);
        }
    }

    /// Shows who holds a generation; and tells it, if its drain has stalled just now.
    fn hold(&mut self, generation: &Arc<Generation>, telling: Telling, stalled: Option<Duration>) {
        let holders = self.holders(generation, telling);
        if let Some(record) = self.records.get_mut(&generation.number) {
            record.held_by = holders.clone();
        }
        if let Some(took) = stalled {
            self.tell(generation.number, took, EventKind::Stalled { holders });
        }
    }

    /// Who holds a release that `generation` is part of, and whether its own plugin does.
    pub(super) fn holders(&mut self, generation: &Arc<Generation>, telling: Telling) -> Holders {
        let mut holders = Holders { retiring: telling != Telling::Over, ..Holders::default() };
        // Taken, and not written down: perhaps not yet.
        let (mut shares, now) = (0, Instant::now());
        for draining in self.draining.values_mut() {
            let release = draining.retired.release();
            if !release.has(generation) {
                continue;
            }
            release.holds.add_to(&mut holders.holds, now);
            shares += draining.retired.leases().saturating_sub(release.holds.count());
            let inside = draining.retired.inside();
            draining.by_lease.retain(|(tid, _)| {
                inside.iter().any(|inside| inside.by_lease && inside.tid == *tid)
            });
            for Inside { tid, call, by_lease } in inside {
                let since = match draining.by_lease.iter().find(|(seen, _)| *seen == tid) {
                    Some((_, since)) => *since,
                    None if by_lease => {
                        draining.by_lease.push((tid, Instant::now()));
                        Instant::now()
                    }
                    None => draining.since,
                };
                let called =
                    call.method().and_then(|(slot, method)| Some((self.slots.get(slot)?, method)));
                let plugin = called.map_or(&generation.plugin, |(wanted, _)| &wanted.plugin);
                let method =
                    called.and_then(|(wanted, method)| wanted.contract.methods.get(method));
                holders.calls.push(Holder {
                    tid,
                    thread: text::name(&threads::comm(tid).unwrap_or_default()),
                    plugin: plugin.to_string(),
                    method: method.map(|method| (*method).to_owned()),
                    by_lease,
                    since: since.elapsed(),
                });
            }
        }
        for (what, since) in generation.work() {
            // That has a word of its own.
            if what != Generation::RETIRING {
                let (what, oldest) = (format!("worker in its {what}"), now - since);
                holders.holds.push(Held { what, count: 1, oldest, taken_at: String::new() });
            }
        }
        if shares > 0 {
            let what = "share".to_owned();
            holders.holds.push(Held {
                what,
                count: shares,
                oldest: Duration::ZERO,
                taken_at: String::new(),
            });
        }
        holders
    }

    pub(super) fn look_at_awaiting(&mut self) {
        for awaiting in mem::take(&mut self.awaiting) {
            if let Some(Retiring { generation, telling, .. }) =
                self.given_up.get(&awaiting.generation)
            {
                // Nobody waits for it; but who held it when it was given up may have let go since.
                let (generation, telling) = (Arc::clone(generation), *telling);
                let holders = self.holders(&generation, telling);
                answer(&awaiting.reply, Some(holders).filter(|holders| !holders.is_empty()));
                continue;
            }
            let retiring = self.retiring.get(&awaiting.generation);
            match retiring.map(|retiring| (Arc::clone(&retiring.generation), retiring.telling)) {
                // On standby it waits for the commit first.
                None if self.is_standby(awaiting.generation) => {
                    match Instant::now() >= awaiting.until {
                        true => answer(
                            &awaiting.reply,
                            Some(Holders { standby: true, ..Holders::default() }),
                        ),
                        false => self.awaiting.push(awaiting),
                    }
                }
                None => answer(&awaiting.reply, None),
                Some((generation, telling)) if Instant::now() >= awaiting.until => {
                    let holders = self.holders(&generation, telling);
                    answer(&awaiting.reply, Some(holders));
                }
                Some(_) => self.awaiting.push(awaiting),
            }
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn force(&mut self, plugin: &str, number: u64) -> Result<(), Refusal> {
        let stalled = self.retiring.remove(&number);
        let has_stalled = |it: &Retiring| *it.generation.plugin == *plugin && it.stalled;
        let retiring = match stalled {
            Some(stalled) if has_stalled(&stalled) => stalled,
            other => {
                self.retiring.extend(other.map(|other| (number, other)));
                let reason = format!("no drain of generation {number} of {plugin} has stalled");
                return Err(Refusal::new(Code::NotStalled, reason).of_plugin(plugin));
            }
        };
        self.agenda.remove(Item::Retiring(number));
        let (generation, since) = (Arc::clone(&retiring.generation), retiring.since);
        let holders = self.holders(&generation, retiring.telling);
        for draining in self.draining.values_mut() {
            draining.given_up |= draining.retired.release().has(&generation);
        }
        // A share that is never given back: what holds it may let go yet, and then its release
        // goes, but not its code.
        mem::forget(generation);
        self.mark(number, Residency::Resident(vec![format!("given up while held by {holders}")]));
        self.given_up.insert(number, retiring);
        self.tell(number, since.elapsed(), EventKind::GivenUp { holders });
        Ok(())
    }

    pub(super) fn is_draining(&self) -> bool {
        !self.retiring.is_empty() || self.draining.values().any(|draining| !draining.given_up)
    }
}
