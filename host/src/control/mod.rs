//! The control plane: one thread that owns every transition of a host.
//!
//! It never waits for anything but its queue. What runs a plugin's code or may block there goes to
//! a worker, which answers through the same queue and is given up at its deadline; so a start that
//! hangs holds up its own group's updates and nothing else.
//!
//! The life of an update: an `Operation` in the queue of its group → `Update`, in a `Transition`,
//! on a worker → `Ready` → published → the old generation `Retiring` (is told, drains) → `Ending`
//! (stops, waits for what it left with threads, closes) → unmapped, or resident with its reasons.
//! Each has its file here, and each file its part of `Control`.

mod agenda;
mod books;
pub(crate) mod canary;
mod drain;
mod ending;
mod gather;
mod handover;
mod keeping;
mod noted;
mod parked;
mod publish;
mod queue;
pub(crate) mod recall;
mod seats;
mod shutdown;
mod slots;
mod transition;
mod trial;
mod update;
mod worker;
use crate::command::Command;
use crate::contained::contained;
use crate::contracts::{Known, Slots};
use crate::event::EventKind;
use crate::gate::cell::GroupCell;
use crate::gate::door::Door;
use crate::generation::Generation;
use crate::meter::Latency;
use crate::run::RunDirectory;
use crate::runtime::{Provided, logs};
use crate::shared::Shared;
use agenda::{Agenda, Item};
use books::{Record, about};
use canary::Canary;
use drain::{Awaiting, Draining, Retiring};
use ending::{Ending, Looked};
use gather::Gathering;
use handover::HandOver;
use keeping::{CHILD_POLL, Keeping};
use noted::Noted;
use parked::Parked;
use publish::{Point, Ready};
use queue::Operation;
pub(crate) use recall::Recall;
use shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use transition::Transition;
use trial::Trial;
use update::Good;
use worker::{Duty, Workless, answer};

/// A change of filters is announced in its middle; what the plugins then ask for should be its end.
const FILTERS_SETTLE: Duration = Duration::from_millis(20);
/// A pause that is longer than it was to be by so much is one of the process or the machine.
const STOPPED: Duration = Duration::from_secs(1);

/// How many commands may come before what is due by time is looked at.
const COMMANDS_OF_A_LOOK: usize = 64;
/// How often what a look makes due is looked at in the same pass.
const LOOKS_OF_A_PASS: usize = 4;

/// What the control plane is started with.
pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run: Arc<RunDirectory>,
    pub(crate) services: Arc<[Provided]>,
    pub(crate) known: Vec<Known>,
    /// Plugin to group, where the operator overrides the author.
    pub(crate) groups: BTreeMap<String, String>,
    /// Plugin to configuration, as toml.
    pub(crate) configs: BTreeMap<String, Arc<str>>,
    pub(crate) recall: Option<Recall>,
}

pub(crate) struct Control {
    shared: Arc<Shared>,
    services: Arc<[Provided]>,
    known: Vec<Known>,
    overrides: BTreeMap<String, String>,
    configs: BTreeMap<String, Arc<str>>,
    recall: Option<Recall>,

    /// Noted are those of which something is under way, or was changed since the last look.
    groups: Noted<Arc<str>, GroupState>,
    /// Noted, here and of the records, is what the status does not show yet.
    plugins: Noted<Arc<str>, PluginState>,
    /// Those for which a watched file waits.
    parked: BTreeSet<Arc<str>>,
    slots: Slots,
    records: Noted<u64, Record>,
    /// Of the records, those of generations that are not unmapped, by plugin.
    in_memory: BTreeMap<String, BTreeSet<u64>>,
    /// Those of unmapped ones.
    unmapped: BTreeSet<u64>,

    draining: BTreeMap<u64, Draining>,
    /// By generation, as are those that follow.
    retiring: BTreeMap<u64, Retiring>,
    awaiting: Vec<Awaiting>,
    /// Generations that nobody waits for any more: each has a share that is never given back.
    given_up: BTreeMap<u64, Retiring>,
    ending: BTreeMap<u64, Ending>,
    /// Starts and loads that were given up and have not returned.
    lost: BTreeSet<u64>,

    generations: u64,
    releases: u64,
    drains: u64,
    jobs: u64,
    points: Vec<Point>,
    /// What must be done and has no thread.
    workless: Workless,
    agenda: Agenda,
    /// When the process's mappings were last looked at.
    looked: Looked,
    /// When plugins are to be told that the log filters have changed.
    relisten: Option<Instant>,
    /// How verbose the service's log was at the last look.
    verbosity: u8,
    shutdown: Option<Shutdown>,
    keeping: Keeping,
    /// When the memory of a large library is given back.
    spare_until: Option<Instant>,
    run: Arc<RunDirectory>,
}

struct GroupState {
    cell: Arc<GroupCell>,
    active: Vec<Arc<Generation>>,
    /// Of its current release: above the start, up to the end. A canary's has three.
    numbers: Range<u64>,
    transition: Option<Transition>,
    waiting: VecDeque<Operation>,
    /// Prepared, and waiting for a switch point. Of one plugin at most one.
    ready: Vec<Ready>,
    /// A release of several plugins, of which one is being prepared.
    gathering: Option<Gathering>,
    /// What was switched in and is not committed, the newest last. Of one plugin at most one.
    trials: Vec<Trial>,
    /// What runs for a share of what comes, before it is switched in.
    canary: Option<Canary>,
    /// How what is on trial compares with what was before it, where there is a budget.
    latency: Option<Latency>,
    /// A state that is on its way from one generation to another.
    handover: Option<HandOver>,
    /// Shut while it is, once nobody may use it.
    door: Option<Arc<Door>>,
    /// Prepared while the hooks of a trial ran, which come first.
    behind: Vec<Ready>,
}

#[derive(Default)]
struct PluginState {
    group: Arc<str>,
    active: Option<u64>,
    last_good: Option<Good>,
    /// Contents that the watcher does not bring back, and why.
    held: BTreeMap<[u8; 32], String>,
    /// What was asked for last. A watched file is tried again only as long as it is that one.
    asked: Option<[u8; 32]>,
    /// What served before, the latest last.
    past: VecDeque<[u8; 32]>,
    /// The generation that no slot could use, and that was to go back for that.
    unfit: Option<u64>,
    config: Arc<str>,
    /// No file replaces it.
    linked: bool,
    /// What its author was told to do so that it can be unloaded.
    advised: BTreeSet<String>,
    /// A watched file that waits for older generations to make room. At most one: the newest.
    parked: Option<Parked>,
}

impl Control {
    pub(crate) fn new(setup: Setup) -> Self {
        Control {
            keeping: Keeping::new(&setup.shared.bounds),
            shared: setup.shared,
            services: setup.services,
            known: setup.known,
            overrides: setup.groups,
            configs: setup.configs,
            recall: setup.recall,
            groups: Noted::new(),
            plugins: Noted::new(),
            parked: BTreeSet::new(),
            slots: Slots::default(),
            records: Noted::new(),
            in_memory: BTreeMap::new(),
            unmapped: BTreeSet::new(),
            draining: BTreeMap::new(),
            retiring: BTreeMap::new(),
            awaiting: Vec::new(),
            given_up: BTreeMap::new(),
            ending: BTreeMap::new(),
            lost: BTreeSet::new(),
            generations: 0,
            releases: 0,
            drains: 0,
            jobs: 0,
            points: Vec::new(),
            workless: Workless::default(),
            agenda: Agenda::default(),
            looked: Looked::default(),
            relisten: None,
            verbosity: logs::verbosity(),
            shutdown: None,
            spare_until: None,
            run: setup.run,
        }
    }

    /// The thread's body. Code of the service's is contained where it runs, so a panic that comes
    /// here is a bug of ours: the thread ends, who waits for it is told that the host has ended,
    /// and everybody else by an event.
    pub(crate) fn run_contained(setup: Setup, commands: &Receiver<Command>) {
        let events = Arc::clone(&setup.shared.events);
        if let Err(panic) = contained(|| Control::new(setup).run(commands)) {
            events.add(about("", "", None), Duration::ZERO, EventKind::ControlPanicked(panic));
        }
    }

    /// Until a shutdown is over.
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let (pause, began) = (self.pause(), Instant::now());
            let command = commands.recv_timeout(pause);
            self.forgive(began.elapsed().saturating_sub(pause));
            match command {
                Ok(command) => {
                    self.agenda.stir();
                    self.take(command);
                    // What has come meanwhile is looked at together.
                    for command in commands.try_iter().take(COMMANDS_OF_A_LOOK) {
                        self.take(command);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look();
            self.look_at_shutdown();
            self.show();
            if self.is_over() {
                break;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Update { candidate, by, took } => self.update(candidate, by, took),
            Command::Release { named, publish } => self.release(named, publish),
            Command::Rollback { plugin, reply } => self.rollback(&plugin, reply),
            Command::Slot { wanted, reply } => self.slot(wanted, reply),
            Command::Implementers { contract, reply } => {
                answer(&reply, self.implementers(contract))
            }
            Command::Rank { files, reply } => {
                answer(&reply, files.iter().map(|file| self.standing(file)).collect());
            }
            Command::Recalled { fell, built, reply } => {
                self.note_start(fell, built);
                answer(&reply, ());
            }
            Command::Configure { plugin, config, reply } => self.configure(&plugin, config, reply),
            Command::Link { plugin, linked, reply } => self.link(&plugin, linked, reply),
            Command::FiltersChanged => self.relisten = Some(Instant::now() + FILTERS_SETTLE),
            Command::SwitchPoint { reply } => self.switch_point(&reply),
            Command::Within { groups, plugin, reply } => {
                answer(&reply, self.allow_within(&groups, plugin.as_deref()));
            }
            Command::AwaitDrained { generation, until, reply } => {
                self.awaiting.push(Awaiting { generation, until, reply });
            }
            Command::Force { plugin, generation, reply } => {
                answer(&reply, self.force(&plugin, generation));
            }
            Command::Shutdown { deadline, reply } => self.shut_down(deadline, reply),
            Command::Progress { generation, step, at } => self.progress(generation, step, at),
            Command::Prepared { generation, result, at } => self.prepared(generation, result, at),
            Command::Compared { job, result } => self.compared(job, result),
            Command::Told { generation, result } => self.told(&generation, result),
            Command::Stopped { generation, panic, stopped } => {
                self.stopped(generation, panic, *stopped)
            }
            Command::Hooked { trial, ran, failed } => self.hooked(trial, ran, failed),
            Command::Carried { number, result } => self.carried(number, result),
            Command::Checked { trial, result } => self.checked(trial, result),
            Command::Cancel { plugin, reply } => self.cancel(&plugin, reply),
            Command::Closed { generation, left } => self.closed(generation, left),
            #[cfg(test)]
            Command::Panic => panic!("a bug"),
        }
    }

    /// What is due by time: drains that may have ended, deadlines, code that may have gone.
    fn look(&mut self) {
        self.look_at_workless();
        self.look_at_agenda();
        self.look_at_awaiting();
        self.look_at_deadlines();
        self.look_at_handovers();
        self.look_at_trials();
        self.look_at_canaries();
        self.look_at_parked();
        self.look_at_keeping();
        self.look_at_spare();
        // Of a logger's level nobody is told that it has changed.
        let verbosity = logs::verbosity();
        if mem::replace(&mut self.verbosity, verbosity) != verbosity {
            self.relisten.get_or_insert_with(|| Instant::now() + FILTERS_SETTLE);
        }
        if self.relisten.is_some_and(|due| Instant::now() >= due) {
            self.relisten = None;
            self.tell_filters();
        }
        self.groups.keep_noted(GroupState::is_busy);
    }

    fn look_at_agenda(&mut self) {
        // A look can put the next step on the agenda, which is then due at once.
        for _ in 0..LOOKS_OF_A_PASS {
            let due = self.agenda.due();
            if due.is_empty() {
                return;
            }
            let (ended, other): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|item| matches!(item, Item::Ending(_)));
            for item in other {
                match item {
                    Item::Drain(number) => self.look_at_drain(number),
                    Item::Retiring(number) => self.look_at_retiring(number),
                    Item::Ending(_) => {}
                }
            }
            self.look_at_endings(ended);
        }
    }

    /// Time for which this thread did not come back was nobody's: the process was stopped, or the
    /// machine was. Who had a deadline meanwhile has done nothing either, and what was to be
    /// observed was not.
    fn forgive(&mut self, lost: Duration) {
        if lost < STOPPED {
            return;
        }
        for state in self.groups.all_mut().filter(|state| state.is_busy()) {
            state.trials.iter_mut().for_each(|trial| trial.forgive(lost));
            state.canary.iter_mut().for_each(|canary| canary.forgive(lost));
            state.handover.iter_mut().for_each(|handover| handover.forgive(lost));
            if let Some(Transition::Update { step_began, .. }) = &mut state.transition {
                *step_began += lost;
            }
        }
        for retiring in self.retiring.values_mut() {
            retiring.since += lost;
        }
    }

    /// How long the queue may be waited for before something is due.
    fn pause(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let working =
            self.groups.noted().any(|(_, state)| state.transition.is_some() || state.is_timed());
        let waits = self.shutdown.is_some() || self.relisten.is_some() || self.keeping.is_due();
        let polled = if working || waits || !self.awaiting.is_empty() {
            Duration::from_millis(10)
        } else if self.keeping.has_begun() {
            CHILD_POLL
        } else {
            Duration::from_secs(3600)
        };
        let timed = [self.workless.due().map(until), self.spare_until.map(until)];
        timed.into_iter().chain([self.agenda.pause()]).flatten().fold(polled, Duration::min)
    }

    fn tell_filters(&mut self) {
        // What does not serve yet, or no more, may do so later.
        let started = self.groups.values().flat_map(GroupState::seats);
        let started = started.map(|(_, it)| (it.number, Arc::downgrade(it)));
        for (number, generation) in started.collect::<Vec<_>>() {
            self.must(Duty::Filters, number, move || {
                generation.upgrade().into_iter().for_each(|generation| generation.relisten());
            });
        }
    }
}

/// What is left when the thread ends stays as it is: mapped, with all that its code may use. That
/// also holds where it ends by a panic of ours: releases that are only pinned must not be freed.
impl Drop for Control {
    fn drop(&mut self) {
        // Who waits for an answer is told that none will come.
        let points = mem::take(&mut self.points);
        let refused = self.ending.values_mut().map(|ending| ending.refused.take());
        drop((points, refused.collect::<Vec<_>>(), mem::take(&mut self.awaiting)));
        for state in self.groups.all_mut() {
            let tried = state.trials.iter_mut().flat_map(|trial| &mut trial.members);
            let canary = state.canary.iter_mut().flat_map(|canary| &mut canary.members);
            let ready = state.ready.iter_mut().chain(&mut state.behind).chain(canary);
            ready
                .chain(tried.map(|tried| &mut tried.ready))
                .for_each(|ready| ready.update.reply = None);
        }
        self.workless.forget();
        mem::forget(mem::take(&mut self.draining));
        mem::forget(mem::take(&mut self.retiring));
        mem::forget(mem::take(&mut self.ending));
        for state in self.groups.all_mut() {
            mem::forget(mem::take(&mut state.active));
            mem::forget(mem::take(&mut state.ready));
            mem::forget(mem::take(&mut state.gathering));
            mem::forget(mem::take(&mut state.trials));
            mem::forget(mem::take(&mut state.canary));
            mem::forget(mem::take(&mut state.behind));
            mem::forget(mem::take(&mut state.handover));
        }
    }
}

impl GroupState {
    fn new(cell: Arc<GroupCell>) -> Self {
        GroupState {
            cell,
            active: Vec::new(),
            numbers: 0..0,
            transition: None,
            waiting: VecDeque::new(),
            ready: Vec::new(),
            gathering: None,
            trials: Vec::new(),
            canary: None,
            latency: None,
            handover: None,
            door: None,
            behind: Vec::new(),
        }
    }

    /// Something of it is due by time.
    fn is_timed(&self) -> bool {
        !self.trials.is_empty() || self.canary.is_some() || self.handover.is_some()
    }

    /// Something of it is under way, or waits.
    fn is_busy(&self) -> bool {
        let waits = !(self.waiting.is_empty() && self.ready.is_empty() && self.behind.is_empty());
        waits || self.transition.is_some() || self.gathering.is_some() || self.is_timed()
    }

    /// Hooks around a switch are running: no other switch may come between.
    fn is_switching(&self) -> bool {
        self.handover.is_some() || self.switching().is_some()
    }
}
