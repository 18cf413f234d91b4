//! The control plane: one thread that owns every transition of a host.
//!
//! It never waits for anything but its queue. What runs a plugin's code or may block there goes to a worker, which answers through the
//! same queue and is given up at its deadline; so a start that hangs holds up its own group's updates and nothing else.
//!
//! The life of an update: `Candidate` in the queue of its group → `Transition` on a worker → published → the old generation
//! `Retiring` (drains) → `Ending` (stops, waits for what it left with threads, closes) → unmapped, or resident with its reasons.

use crate::event::{About, EventKind};
use crate::gate::cell::{GroupCell, Retired};
use crate::gate::pin::Inside;
use crate::holder::{Holder, Holders};
use crate::host::{Applied, Handle, Publish};
use crate::library::is_mapped;
use crate::refusal::{Code, Refusal};
use crate::release::{Generation, Known, Left, Release, Stopped, Wanted};
use crate::runtime::{Provided, threads};
use crate::shared::Shared;
use crate::stage::image::{Image, RunDirectory};
use crate::stage::{self, Candidate, Order, Refused, Step};
use crate::status::{GenerationStatus, PluginStatus, Residency, Status};
use midflight_plugin::rt::Linked;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many unmapped generations the status remembers.
const UNMAPPED_KEPT_MAX: usize = 256;
/// A change of filters is announced in its middle; what the plugins then ask for should be its end.
const FILTERS_SETTLE: Duration = Duration::from_millis(20);
/// How often a generation that stayed mapped is looked at again.
const RESIDENT_POLL: Duration = Duration::from_millis(500);
/// How often the holders of a stalled drain are looked at again.
const HOLDERS_POLL: Duration = Duration::from_millis(100);

pub(crate) type Reply = SyncSender<Result<Applied, Refusal>>;

/// What arrives in the control plane's queue: from handles and the watcher above, from workers below.
pub(crate) enum Command {
    Update {
        candidate: Box<Candidate>,
        by: By,
        took: Duration,
    },
    Rollback {
        plugin: String,
        reply: Reply,
    },
    Slot {
        wanted: Wanted,
        reply: SyncSender<Result<usize, Refusal>>,
    },
    /// Which plugins offer a contract?
    Implementers {
        contract: &'static str,
        reply: SyncSender<Vec<Arc<str>>>,
    },
    Configure {
        plugin: String,
        config: Arc<str>,
        reply: Reply,
    },
    Link {
        plugin: String,
        linked: Linked,
        reply: Reply,
    },
    /// The filters of the host's subscriber are being changed.
    FiltersChanged,
    SwitchPoint {
        reply: SyncSender<usize>,
    },
    /// Answered when the generation has drained, or with who holds it then.
    AwaitDrained {
        generation: u64,
        until: Instant,
        reply: SyncSender<Option<Holders>>,
    },
    Force {
        plugin: String,
        generation: u64,
        reply: SyncSender<Result<(), Refusal>>,
    },
    Shutdown {
        deadline: Duration,
        reply: Option<SyncSender<()>>,
    },

    Progress {
        generation: u64,
        step: Step,
    },
    Prepared {
        generation: u64,
        result: Result<Box<Generation>, Refused>,
    },
    Compared {
        job: u64,
        result: Result<(), Refusal>,
    },
    Stopped {
        generation: u64,
        panic: Option<String>,
        stopped: Box<Stopped>,
    },
    Closed {
        generation: u64,
        left: Left,
    },
}

/// On whose word an update comes.
pub(crate) enum By {
    Watcher,
    /// What lay in the directory when the host was started.
    Start(Reply),
    Operator(Reply),
}

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
}

pub(crate) struct Control {
    shared: Arc<Shared>,
    services: Arc<[Provided]>,
    known: Vec<Known>,
    overrides: BTreeMap<String, String>,
    configs: BTreeMap<String, Arc<str>>,

    groups: BTreeMap<Arc<str>, GroupState>,
    plugins: BTreeMap<Arc<str>, PluginState>,
    /// By slot index.
    slots: Vec<Wanted>,
    records: BTreeMap<u64, GenerationStatus>,

    draining: Vec<Draining>,
    retiring: Vec<Retiring>,
    awaiting: Vec<Awaiting>,
    /// Generations that are never waited for again, and who held them.
    given_up: BTreeMap<u64, Holders>,
    ending: BTreeMap<u64, Ending>,
    /// Starts and loads that were given up and have not returned.
    lost: BTreeSet<u64>,

    generations: u64,
    releases: u64,
    jobs: u64,
    /// Looks at the drains since something last happened: they get rarer.
    looks: u32,
    changed: bool,
    /// When plugins are to be told that the log filters have changed.
    relisten: Option<Instant>,
    shutdown: Option<Shutdown>,
    /// Last, since it can be removed only when no image is left.
    run: Arc<RunDirectory>,
}

struct GroupState {
    cell: Arc<GroupCell>,
    active: Vec<Arc<Generation>>,
    transition: Option<Transition>,
    waiting: VecDeque<Operation>,
    /// Prepared, and waiting for a switch point. Of one plugin at most one.
    ready: Vec<Ready>,
}

/// A generation that could be published.
struct Ready {
    generation: Arc<Generation>,
    update: Update,
}

/// One update on its way.
struct Update {
    generation: u64,
    plugin: Arc<str>,
    version: Arc<str>,
    /// It goes back: what it replaces is held.
    rollback: bool,
    config: Arc<str>,
    publish: Publish,
    began: Instant,
    reply: Option<Reply>,
}

#[derive(Default)]
struct PluginState {
    group: Arc<str>,
    active: Option<u64>,
    last_good: Option<Good>,
    held: BTreeSet<[u8; 32]>,
    config: Arc<str>,
    /// No file replaces it.
    linked: bool,
    /// A watched file that waits for older generations to make room. At most one: the newest.
    parked: Option<(Box<Candidate>, Duration)>,
}

/// What can be made a generation of again.
#[derive(Clone)]
struct Good {
    image: Arc<Image>,
    config: Arc<str>,
}

/// What waits for its turn in a group.
enum Operation {
    Update { candidate: Box<Candidate>, by: By, took: Duration },
    Rollback { plugin: Arc<str>, reply: Reply },
    Configure { plugin: Arc<str>, config: Arc<str>, reply: Reply },
    Link { plugin: Arc<str>, linked: Linked, reply: Reply },
    Slot { wanted: Wanted, reply: SyncSender<Result<usize, Refusal>> },
}

/// The one operation of a group that a worker is at.
enum Transition {
    Update { update: Update, step: Option<Step>, step_began: Instant, loader: Option<JoinHandle<()>> },
    Slot { job: u64, wanted: Wanted, reply: SyncSender<Result<usize, Refusal>> },
}

/// A release that was replaced. Its generations are let go when nobody is inside.
struct Draining {
    retired: Retired,
    /// Who is pinned now was so then: nobody enters any more.
    since: Instant,
    /// Who was seen inside by a lease, which can be entered again, and since when.
    by_lease: Vec<(u32, Instant)>,
    /// A generation of it was given up: nobody waits for the release.
    given_up: bool,
}

/// A generation that is in no current release.
struct Retiring {
    generation: Arc<Generation>,
    since: Instant,
    /// When its holders were last looked at, once the drain has stalled.
    stalled: Option<Instant>,
}

/// A handle that waits for a generation to drain.
struct Awaiting {
    generation: u64,
    until: Instant,
    reply: SyncSender<Option<Holders>>,
}

/// A generation without an instance, on its way out of memory.
struct Ending {
    phase: Phase,
    /// When the phase began.
    began: Instant,
    looked: Instant,
    /// Why it is still there, as it was last reported; empty while it is within its deadlines.
    reasons: Vec<String>,
    /// It never served: the answer to its update, which comes when nothing of it is left.
    refused: Option<(Refusal, Option<Reply>)>,
}

enum Phase {
    /// A worker drops the instance.
    Stopping,
    /// Threads end, destructors run.
    Leaving(Stopped),
    /// A worker unmaps it.
    Closing,
    /// It was closed, and is still there.
    Kept(Left),
}

struct Shutdown {
    /// None: so far away that it never comes.
    until: Option<Instant>,
    replies: Vec<SyncSender<()>>,
}

impl Control {
    pub(crate) fn new(setup: Setup) -> Self {
        Control {
            shared: setup.shared,
            services: setup.services,
            known: setup.known,
            overrides: setup.groups,
            configs: setup.configs,
            groups: BTreeMap::new(),
            plugins: BTreeMap::new(),
            slots: Vec::new(),
            records: BTreeMap::new(),
            draining: Vec::new(),
            retiring: Vec::new(),
            awaiting: Vec::new(),
            given_up: BTreeMap::new(),
            ending: BTreeMap::new(),
            lost: BTreeSet::new(),
            generations: 0,
            releases: 0,
            jobs: 0,
            looks: 0,
            changed: false,
            relisten: None,
            shutdown: None,
            run: setup.run,
        }
    }

    /// The thread's body: until a shutdown is over.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(self.pause()) {
                Ok(command) => {
                    self.looks = 0;
                    self.take(command);
                }
                Err(RecvTimeoutError::Timeout) => self.looks = self.looks.saturating_add(1),
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
            Command::Rollback { plugin, reply } => self.rollback(&plugin, reply),
            Command::Slot { wanted, reply } => self.slot(wanted, reply),
            Command::Implementers { contract, reply } => answer(&reply, self.implementers(contract)),
            Command::Configure { plugin, config, reply } => self.configure(&plugin, config, reply),
            Command::Link { plugin, linked, reply } => self.link(&plugin, linked, reply),
            Command::FiltersChanged => self.relisten = Some(Instant::now() + FILTERS_SETTLE),
            Command::SwitchPoint { reply } => self.switch_point(&reply),
            Command::AwaitDrained { generation, until, reply } => {
                self.awaiting.push(Awaiting { generation, until, reply });
            }
            Command::Force { plugin, generation, reply } => {
                answer(&reply, self.force(&plugin, generation));
            }
            Command::Shutdown { deadline, reply } => self.shut_down(deadline, reply),
            Command::Progress { generation, step } => self.progress(generation, step),
            Command::Prepared { generation, result } => self.prepared(generation, result),
            Command::Compared { job, result } => self.compared(job, result),
            Command::Stopped { generation, panic, stopped } => self.stopped(generation, panic, *stopped),
            Command::Closed { generation, left } => self.closed(generation, left),
        }
    }
}

/// Operations: into their group's queue, and out of it one at a time.
impl Control {
    fn update(&mut self, candidate: Box<Candidate>, by: By, took: Duration) {
        let manifest = candidate.manifest();
        let group = match self.admit_to_group(&manifest.name, manifest.group.as_deref()) {
            Ok(group) => group,
            Err(refusal) => return self.refuse(None, candidate.refused(refusal), by.reply()),
        };
        // Of watched files only the newest waits.
        if matches!(by, By::Watcher) {
            self.drop_waiting(&group, &manifest.name);
        }
        self.drop_parked(&manifest.name);
        self.enqueue(&group, Operation::Update { candidate, by, took });
    }

    fn link(&mut self, name: &str, linked: Linked, reply: Reply) {
        match self.admit_to_group(name, Some(linked.group).filter(|group| !group.is_empty())) {
            Ok(group) => self.enqueue(&group, Operation::Link { plugin: name.into(), linked, reply }),
            Err(refusal) => self.refuse(None, refusal.of(name, linked.version), Some(reply)),
        }
    }

    /// The group of a plugin whose author names `authors`: it is made at need, and stays the same once the plugin has run.
    fn admit_to_group(&mut self, name: &str, authors: Option<&str>) -> Result<Arc<str>, Refusal> {
        let chosen = self.overrides.get(name).map(String::as_str);
        let group: Arc<str> = chosen.or(authors).unwrap_or(name).into();
        match self.plugins.get(name) {
            Some(plugin) if plugin.linked => {
                let reason = format!("{name} is linked into the host");
                return Err(Refusal::new(Code::LinkedIn, reason));
            }
            Some(plugin) if plugin.group == group => return Ok(group),
            Some(plugin) if plugin.active.is_some() || self.is_coming(name, &plugin.group) => {
                let reason = format!("it runs in group {}, this version names {group}", plugin.group);
                return Err(Refusal::new(Code::GroupChanged, reason));
            }
            _ => {}
        }
        let name: Arc<str> = name.into();
        let cell = self.shared.join(&name, &group);
        self.groups.entry(Arc::clone(&group)).or_insert_with(|| GroupState::new(cell));
        let config = self.configs.get(&*name).cloned().unwrap_or_default();
        let state = PluginState { group: Arc::clone(&group), config, ..PluginState::default() };
        self.plugins.insert(name, state);
        Ok(group)
    }

    /// Is a version of it on its way to serve in `group`?
    fn is_coming(&self, name: &str, group: &str) -> bool {
        let Some(state) = self.groups.get(group) else { return false };
        let now =
            matches!(&state.transition, Some(Transition::Update { update, .. }) if *update.plugin == *name);
        let ready = state.ready.iter().any(|ready| *ready.generation.plugin == *name);
        let waiting = state.waiting.iter().any(
            |operation| matches!(operation, Operation::Update { candidate, .. } if candidate.manifest().name == name),
        );
        now || ready || waiting
    }

    fn drop_waiting(&mut self, group: &str, name: &str) {
        let Some(state) = self.groups.get_mut(group) else {
            return;
        };
        state.waiting.retain(|operation| match operation {
            Operation::Update { candidate, by: By::Watcher, took } if candidate.manifest().name == *name => {
                let version = candidate.manifest().version.to_string();
                self.shared.events.add(about(name, &version, None), *took, EventKind::Superseded);
                false
            }
            _ => true,
        });
    }

    /// Whoever comes later than a parked file has the last word.
    fn drop_parked(&mut self, name: &str) {
        let parked = self.plugins.get_mut(name).and_then(|plugin| plugin.parked.take());
        if let Some((candidate, took)) = parked {
            let version = candidate.manifest().version.to_string();
            self.shared.events.add(about(name, &version, None), took, EventKind::Superseded);
        }
    }

    fn rollback(&mut self, plugin: &str, reply: Reply) {
        self.drop_parked(plugin);
        self.enqueue_for(plugin, reply, |plugin, reply| Operation::Rollback { plugin, reply });
    }

    fn configure(&mut self, plugin: &str, config: Arc<str>, reply: Reply) {
        self.enqueue_for(plugin, reply, |plugin, reply| Operation::Configure { plugin, config, reply });
    }

    fn enqueue_for(
        &mut self,
        plugin: &str,
        reply: Reply,
        operation: impl FnOnce(Arc<str>, Reply) -> Operation,
    ) {
        match self.plugins.get_key_value(plugin) {
            Some((name, state)) => {
                let (name, group) = (Arc::clone(name), Arc::clone(&state.group));
                self.enqueue(&group, operation(name, reply));
            }
            None => {
                let reason = format!("no plugin {plugin} was ever loaded");
                self.refuse(None, Refusal::new(Code::UnknownPlugin, reason), Some(reply));
            }
        }
    }

    fn implementers(&self, contract: &str) -> Vec<Arc<str>> {
        let active = self.groups.values().flat_map(|group| &group.active);
        let mut plugins: Vec<_> = active
            .filter(|generation| generation.offers(contract))
            .map(|generation| Arc::clone(&generation.plugin))
            .collect();
        plugins.sort();
        plugins
    }

    fn slot(&mut self, wanted: Wanted, reply: SyncSender<Result<usize, Refusal>>) {
        match self.plugins.get(&wanted.plugin).map(|plugin| Arc::clone(&plugin.group)) {
            Some(group) => self.enqueue(&group, Operation::Slot { wanted, reply }),
            None => {
                let index = self.index_of(wanted);
                answer(&reply, Ok(index));
            }
        }
    }

    fn enqueue(&mut self, group: &Arc<str>, operation: Operation) {
        if self.shutdown.is_some() {
            return self.turn_away(operation);
        }
        if let Some(state) = self.groups.get_mut(group) {
            state.waiting.push_back(operation);
        }
        self.next(group);
    }

    fn turn_away(&mut self, operation: Operation) {
        let refusal = || Refusal::new(Code::ShuttingDown, "the host is ending");
        match operation {
            Operation::Update { candidate, by, .. } => {
                self.refuse(None, candidate.refused(refusal()), by.reply());
            }
            Operation::Rollback { reply, .. }
            | Operation::Configure { reply, .. }
            | Operation::Link { reply, .. } => {
                self.refuse(None, refusal(), Some(reply));
            }
            Operation::Slot { reply, .. } => answer(&reply, Err(refusal())),
        }
    }

    /// Begins the group's next operation that a worker must do; those that need none are done on the way.
    fn next(&mut self, group: &Arc<str>) {
        while let Some(state) = self.groups.get_mut(group)
            && state.transition.is_none()
            && let Some(operation) = state.waiting.pop_front()
        {
            match operation {
                Operation::Update { candidate, by, took } => self.begin_update(group, candidate, by, took),
                Operation::Rollback { plugin, reply } => self.begin_rollback(group, &plugin, reply),
                Operation::Configure { plugin, config, reply } => {
                    self.begin_configure(group, &plugin, config, reply);
                }
                Operation::Link { plugin, linked, reply } => self.begin_link(group, plugin, linked, reply),
                Operation::Slot { wanted, reply } => self.begin_slot(group, wanted, reply),
            }
        }
    }

    fn begin_update(&mut self, group: &Arc<str>, candidate: Box<Candidate>, by: By, took: Duration) {
        let version: Arc<str> = candidate.manifest().version.to_string().into();
        let Some((name, plugin)) = self.plugins.get_key_value(candidate.manifest().name.as_str()) else {
            return;
        };
        let name = Arc::clone(name);
        let digest = candidate.digest();
        let serving = self.groups.get(group).and_then(|state| state.newest(&name));
        if let Some(serving) = serving.filter(|serving| serving.image.digest == digest) {
            let applied = Applied { switched: false, ..self.applied(serving, took) };
            let about = about(&name, &version, Some(serving.number));
            self.shared.events.add(about, took, EventKind::Unchanged);
            return answer_if(by.reply().as_ref(), Ok(applied));
        }
        if matches!(by, By::Watcher) && plugin.held.contains(digest.as_bytes()) {
            return self.shared.events.add(about(&name, &version, None), took, EventKind::Held);
        }
        let config = Arc::clone(&plugin.config);
        if let Err(refusal) = self.admit(&name) {
            if matches!(by, By::Watcher) && self.is_making_room(&name) {
                return self.park(&name, candidate, took);
            }
            return self.refuse(None, candidate.refused(refusal), by.reply());
        }
        let update = Update {
            generation: self.next_generation(),
            plugin: name,
            version,
            rollback: false,
            config,
            publish: match by {
                By::Start(_) => Publish::AtOnce,
                By::Watcher | By::Operator(_) => self.shared.bounds.publish,
            },
            began: Instant::now().checked_sub(took).unwrap_or_else(Instant::now),
            reply: by.reply(),
        };
        self.begin(group, update, move |order, progress| stage(&candidate, took, order, progress));
    }

    /// Nobody applies a watched file a second time, so it waits for generations that are only on their way out.
    fn park(&mut self, name: &str, candidate: Box<Candidate>, took: Duration) {
        let version = candidate.manifest().version.to_string();
        if let Some(plugin) = self.plugins.get_mut(name) {
            plugin.parked = Some((candidate, took));
        }
        self.shared.events.add(about(name, &version, None), took, EventKind::Waiting);
    }

    /// Is a generation of `plugin` draining or ending, and within its deadlines?
    fn is_making_room(&self, plugin: &str) -> bool {
        let of_it = |number: &u64| self.records.get(number).is_some_and(|record| record.plugin == plugin);
        let mut draining = self.retiring.iter().filter(|retiring| retiring.stalled.is_none());
        let mut ending = self.ending.iter().filter(|(_, ending)| ending.reasons.is_empty());
        draining.any(|retiring| *retiring.generation.plugin == *plugin)
            || ending.any(|(number, _)| of_it(number))
    }

    /// What waits for room has it now, or waits in vain: then it is refused.
    fn look_at_parked(&mut self) {
        let parked = self.plugins.iter().filter(|(_, plugin)| plugin.parked.is_some());
        let due: Vec<_> = parked
            .filter(|(name, _)| self.admit(name).is_ok() || !self.is_making_room(name))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in due {
            let Some(plugin) = self.plugins.get_mut(&name) else { continue };
            let group = Arc::clone(&plugin.group);
            if let Some((candidate, took)) = plugin.parked.take() {
                self.enqueue(&group, Operation::Update { candidate, by: By::Watcher, took });
            }
        }
    }

    fn begin_rollback(&mut self, group: &Arc<str>, name: &Arc<str>, reply: Reply) {
        match self.plugins.get(name).and_then(|plugin| plugin.last_good.clone()) {
            Some(good) => self.begin_again(group, good, true, reply),
            None => {
                let reason = format!("no version of {name} was replaced since it was last rolled back");
                self.refuse(None, Refusal::new(Code::NothingToRollBack, reason), Some(reply));
            }
        }
    }

    /// Another configuration is an update like any other: of the version that serves, to itself.
    fn begin_configure(&mut self, group: &Arc<str>, name: &Arc<str>, config: Arc<str>, reply: Reply) {
        let serving = self.groups.get(group).and_then(|state| state.newest(name));
        match serving.map(|serving| Arc::clone(&serving.image)) {
            Some(image) => self.begin_again(group, Good { image, config }, false, reply),
            None => {
                let reason = format!("no version of {name} serves");
                self.refuse(None, Refusal::new(Code::UnknownPlugin, reason), Some(reply));
            }
        }
    }

    fn begin_again(&mut self, group: &Arc<str>, good: Good, rollback: bool, reply: Reply) {
        let Good { image, config } = good;
        if let Err(refusal) = self.admit(&image.plugin) {
            return self.refuse(None, refusal.of(&image.plugin, &image.version), Some(reply));
        }
        let update = Update {
            generation: self.next_generation(),
            plugin: Arc::clone(&image.plugin),
            version: Arc::clone(&image.version),
            rollback,
            config,
            publish: self.shared.bounds.publish,
            began: Instant::now(),
            reply: Some(reply),
        };
        self.begin(group, update, move |order, progress| {
            let began = Instant::now();
            let candidate = Candidate::again(&image).map_err(Refused::early)?;
            stage(&candidate, began.elapsed(), order, progress)
        });
    }

    fn begin_link(&mut self, group: &Arc<str>, name: Arc<str>, linked: Linked, reply: Reply) {
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        plugin.linked = true;
        let config = Arc::clone(&plugin.config);
        let update = Update {
            generation: self.next_generation(),
            plugin: Arc::clone(&name),
            version: linked.version.into(),
            rollback: false,
            config,
            publish: Publish::AtOnce,
            began: Instant::now(),
            reply: Some(reply),
        };
        self.begin(group, update, move |order, _| {
            stage::prepare_linked(&name, linked, order).map_err(Refused::early)
        });
    }

    /// Is there room for one more generation of `plugin`?
    fn admit(&self, plugin: &str) -> Result<(), Refusal> {
        let mut there = Vec::new();
        for record in self.records.values().filter(|record| *record.plugin == *plugin) {
            if record.residency != Residency::Unmapped {
                there.push(format!("generation {} {}", record.generation, record.residency));
            }
        }
        let max = self.shared.bounds.generations_max;
        if there.len() < max {
            return Ok(());
        }
        Err(Refusal::new(
            Code::TooManyGenerations,
            format!("generations_max is {max}, in memory are: {}", there.join(", ")),
        ))
    }

    fn begin(
        &mut self,
        group: &Arc<str>,
        update: Update,
        prepare: impl FnOnce(Order, &mut dyn FnMut(Step)) -> Result<Generation, Refused> + Send + 'static,
    ) {
        let generation = update.generation;
        let order = Order {
            generation,
            run: Arc::clone(&self.run),
            services: Arc::clone(&self.services),
            host: Arc::downgrade(&self.shared),
            known: self.known.clone(),
            required: self.required(&update.plugin),
            config: Arc::clone(&update.config),
        };
        if let Some(state) = self.groups.get_mut(group) {
            let step_began = Instant::now();
            state.transition = Some(Transition::Update { update, step: None, step_began, loader: None });
        }
        let commands = self.shared.commands();
        let started = spawn("midflight-stage", move || {
            let mut progress = |step| post(&commands, Command::Progress { generation, step });
            let result = prepare(order, &mut progress).map(Box::new);
            post(&commands, Command::Prepared { generation, result });
        });
        match (started, self.transition(generation)) {
            (Ok(thread), Some((_, Transition::Update { loader, .. }))) => *loader = Some(thread),
            (Ok(_), _) => {}
            (Err(refusal), _) => self.prepared(generation, Err(Refused::early(refusal))),
        }
    }

    fn begin_slot(&mut self, group: &Arc<str>, wanted: Wanted, reply: SyncSender<Result<usize, Refusal>>) {
        let Some(state) = self.groups.get(group) else { return };
        let ready = state.ready.iter().map(|ready| &ready.generation);
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
            (Ok(_), Some(state)) => state.transition = Some(Transition::Slot { job, wanted, reply }),
            (Ok(_), None) => {}
            (Err(refusal), _) => answer(&reply, Err(refusal)),
        }
    }

    /// The slot's index, bound in the current release.
    fn bind_slot(&mut self, group: &Arc<str>, wanted: Wanted) -> usize {
        let known = self.slots.len();
        let index = self.index_of(wanted);
        if index >= known {
            self.publish(group);
        }
        index
    }

    /// The index of what a slot asks for; the same for the same question.
    fn index_of(&mut self, wanted: Wanted) -> usize {
        let same =
            |slot: &Wanted| slot.plugin == wanted.plugin && slot.contract.layout == wanted.contract.layout;
        if let Some(index) = self.slots.iter().position(same) {
            return index;
        }
        if self.known.iter().all(|known| known.layout != wanted.contract.layout) {
            self.known.push(wanted.contract.clone());
        }
        self.slots.push(wanted);
        self.slots.len() - 1
    }

    fn required(&self, plugin: &str) -> Vec<Known> {
        let of_plugin = self.slots.iter().filter(|wanted| *wanted.plugin == *plugin);
        of_plugin.map(|wanted| wanted.contract.clone()).collect()
    }

    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }

    fn refuse(&mut self, generation: Option<u64>, refusal: Refusal, reply: Option<Reply>) {
        let (plugin, version) = (refusal.plugin().unwrap_or(""), refusal.version().unwrap_or(""));
        let about = about(plugin, version, generation);
        self.shared.events.add(about, Duration::ZERO, EventKind::Refused(refusal.clone()));
        answer_if(reply.as_ref(), Err(refusal));
    }
}

/// Transitions: what the staging workers answer, and the switch.
impl Control {
    fn progress(&mut self, of: u64, now_at: Step) {
        let Some((_, transition)) = self.transition(of) else {
            return;
        };
        let Transition::Update { update, step, step_began, .. } = transition else {
            return;
        };
        let (took, kind) = match now_at {
            Step::Staged(took) => (took, EventKind::Staged),
            Step::Loaded => (step_began.elapsed(), EventKind::Loaded),
        };
        *step = Some(now_at);
        *step_began = Instant::now();
        let (plugin, version) = (Arc::clone(&update.plugin), Arc::clone(&update.version));
        self.shared.events.add(about(&plugin, &version, Some(of)), took, kind);
    }

    fn transition(&mut self, generation: u64) -> Option<(Arc<str>, &mut Transition)> {
        self.groups.iter_mut().find_map(|(name, state)| match &mut state.transition {
            Some(transition @ Transition::Update { .. }) => match transition {
                Transition::Update { update, .. } if update.generation == generation => {
                    Some((Arc::clone(name), transition))
                }
                _ => None,
            },
            _ => None,
        })
    }

    fn prepared(&mut self, number: u64, result: Result<Box<Generation>, Refused>) {
        let Some((group, _)) = self.transition(number) else {
            return self.returned_late(number, result);
        };
        let Some(Transition::Update { update, step_began, loader, .. }) =
            self.groups.get_mut(&group).and_then(|state| state.transition.take())
        else {
            return;
        };
        match result {
            Ok(mut generation) => {
                generation.loader = loader;
                let took = step_began.elapsed();
                let Update { plugin, version, publish, .. } = &update;
                let (plugin, version, publish) = (Arc::clone(plugin), Arc::clone(version), *publish);
                let prepared = about(&plugin, &version, Some(number));
                let ready = Ready { generation: Arc::new(*generation), update };
                if self.shutdown.is_some() {
                    return self.withdraw(ready, Code::ShuttingDown, "the host is ending");
                }
                match publish {
                    Publish::AtOnce => {
                        self.shared.events.add(prepared, took, EventKind::Prepared);
                        self.activate(&group, vec![ready]);
                    }
                    Publish::Manual => {
                        self.await_switch_point(&group, ready);
                        self.show();
                        self.shared.events.add(prepared, took, EventKind::Prepared);
                    }
                }
            }
            Err(Refused { refusal, stopped: None }) => self.refuse(Some(number), refusal, update.reply),
            Err(Refused { refusal, stopped: Some(stopped) }) => {
                self.leave(number, *stopped, Some((refusal, update.reply)));
            }
        }
        self.next(&group);
    }

    /// Of one plugin the newest waits; what it overtakes never served.
    fn await_switch_point(&mut self, group: &Arc<str>, ready: Ready) {
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

    fn withdraw(&mut self, ready: Ready, code: Code, why: &str) {
        let Ready { generation, update } = ready;
        let refusal = Refusal::new(code, why).of(&update.plugin, &update.version);
        self.refuse(Some(update.generation), refusal, update.reply);
        self.retire(generation);
    }

    /// Publishes what waits: of each group with one store.
    fn switch_point(&mut self, reply: &SyncSender<usize>) {
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
    fn activate(&mut self, group: &Arc<str>, ready: Vec<Ready>) {
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
    fn publish(&mut self, group: &Arc<str>) -> u64 {
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

    fn compared(&mut self, answered: u64, result: Result<(), Refusal>) {
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

    /// A load or start that was given up came back after all.
    fn returned_late(&mut self, number: u64, result: Result<Box<Generation>, Refused>) {
        self.lost.remove(&number);
        self.changed = true;
        match result {
            Ok(generation) => self.retire(Arc::new(*generation)),
            Err(Refused { stopped: None, .. }) => self.unmapped(number),
            Err(Refused { stopped: Some(stopped), .. }) => self.leave(number, *stopped, None),
        }
    }
}

/// The way out: drain, stop, close, prove.
impl Control {
    fn retire(&mut self, generation: Arc<Generation>) {
        // One that never became active has none yet, and is in memory all the same.
        self.records.entry(generation.number).or_insert_with(|| record(&generation, Residency::Retiring));
        self.mark(generation.number, Residency::Retiring);
        self.tell(generation.number, Duration::ZERO, EventKind::Retiring);
        self.retiring.push(Retiring { generation, since: Instant::now(), stalled: None });
    }

    /// What is due by time: drains that may have ended, deadlines, code that may have gone.
    fn look(&mut self) {
        self.look_at_drains();
        self.look_at_awaiting();
        self.look_at_deadlines();
        self.look_at_endings();
        self.look_at_parked();
        if self.relisten.is_some_and(|due| Instant::now() >= due) {
            self.relisten = None;
            self.tell_filters();
        }
    }

    fn tell_filters(&self) {
        for generation in self.groups.values().flat_map(|group| &group.active) {
            let generation = Arc::clone(generation);
            // A plugin that can't be told keeps the filters that it has.
            let _ = spawn("midflight-filters", move || generation.relisten());
        }
    }

    fn look_at_drains(&mut self) {
        for draining in mem::take(&mut self.draining) {
            match draining.retired.look() {
                Ok(release) => drop(release),
                Err(retired) => self.draining.push(Draining { retired, ..draining }),
            }
        }
        let drain_deadline = self.shared.bounds.drain_deadline;
        for mut retiring in mem::take(&mut self.retiring) {
            let (number, took) = (retiring.generation.number, retiring.since.elapsed());
            match Arc::try_unwrap(retiring.generation) {
                Ok(generation) => {
                    self.tell(number, took, EventKind::Drained);
                    self.end_generation(generation);
                }
                Err(generation) => {
                    let due = match retiring.stalled {
                        Some(looked) => looked.elapsed() >= HOLDERS_POLL,
                        None => took >= drain_deadline,
                    };
                    if due {
                        let first = retiring.stalled.replace(Instant::now()).is_none();
                        self.hold(&generation, first.then_some(took));
                    }
                    self.retiring.push(Retiring { generation, ..retiring });
                }
            }
        }
    }

    /// Who holds a release that `generation` is part of.
    fn holders(&mut self, generation: &Arc<Generation>) -> Holders {
        let mut holders = Holders::default();
        for draining in &mut self.draining {
            let release = draining.retired.release();
            if !release.generations().iter().any(|part| Arc::ptr_eq(part, generation)) {
                continue;
            }
            holders.leases += draining.retired.leases();
            let inside = draining.retired.inside();
            draining
                .by_lease
                .retain(|(tid, _)| inside.iter().any(|inside| inside.by_lease && inside.tid == *tid));
            for Inside { tid, call, by_lease } in inside {
                let since = match draining.by_lease.iter().find(|(seen, _)| *seen == tid) {
                    Some((_, since)) => *since,
                    None if by_lease => {
                        draining.by_lease.push((tid, Instant::now()));
                        Instant::now()
                    }
                    None => draining.since,
                };
                let called = call.method().and_then(|(slot, method)| Some((self.slots.get(slot)?, method)));
                let plugin = called.map_or(&generation.plugin, |(wanted, _)| &wanted.plugin);
                let method = called.and_then(|(wanted, method)| wanted.contract.methods.get(method));
                holders.calls.push(Holder {
                    tid,
                    thread: threads::comm(tid).unwrap_or_default(),
                    plugin: plugin.to_string(),
                    method: method.map(|method| (*method).to_owned()),
                    by_lease,
                    since: since.elapsed(),
                });
            }
        }
        holders
    }

    /// Shows who holds a stalled generation; and tells it, if it has stalled just now.
    fn hold(&mut self, generation: &Arc<Generation>, stalled: Option<Duration>) {
        let holders = self.holders(generation);
        self.changed = true;
        if let Some(record) = self.records.get_mut(&generation.number) {
            record.held_by = holders.clone();
        }
        if let Some(took) = stalled {
            self.tell(generation.number, took, EventKind::Stalled { holders });
        }
    }

    fn look_at_awaiting(&mut self) {
        for awaiting in mem::take(&mut self.awaiting) {
            if let Some(holders) = self.given_up.get(&awaiting.generation) {
                answer(&awaiting.reply, Some(holders.clone()));
                continue;
            }
            let retiring =
                self.retiring.iter().find(|retiring| retiring.generation.number == awaiting.generation);
            match retiring.map(|retiring| Arc::clone(&retiring.generation)) {
                None => answer(&awaiting.reply, None),
                Some(generation) if Instant::now() >= awaiting.until => {
                    let holders = self.holders(&generation);
                    answer(&awaiting.reply, Some(holders));
                }
                Some(_) => self.awaiting.push(awaiting),
            }
        }
    }

    /// Nobody waits for it any more.
    fn force(&mut self, plugin: &str, number: u64) -> Result<(), Refusal> {
        let stalled = self.retiring.iter().position(|retiring| {
            let Retiring { generation, stalled, .. } = retiring;
            generation.number == number && *generation.plugin == *plugin && stalled.is_some()
        });
        let Some(at) = stalled else {
            let reason = format!("no drain of generation {number} of {plugin} has stalled");
            return Err(Refusal::new(Code::NotStalled, reason));
        };
        let Retiring { generation, since, .. } = self.retiring.remove(at);
        let holders = self.holders(&generation);
        for draining in &mut self.draining {
            let mut parts = draining.retired.release().generations().iter();
            draining.given_up |= parts.any(|part| Arc::ptr_eq(part, &generation));
        }
        // A share that is never given back: what holds it may let go yet, and then its release goes, but not its code.
        mem::forget(generation);
        self.mark(number, Residency::Resident(vec![format!("given up while held by {holders}")]));
        self.given_up.insert(number, holders.clone());
        self.tell(number, since.elapsed(), EventKind::GivenUp { holders });
        Ok(())
    }

    fn is_draining(&self) -> bool {
        !self.retiring.is_empty() || self.draining.iter().any(|draining| !draining.given_up)
    }

    fn end_generation(&mut self, generation: Generation) {
        let number = generation.number;
        self.ending.insert(number, Ending::new(Phase::Stopping, None));
        let commands = self.shared.commands();
        let job = move |generation: Generation| {
            let (result, stopped) = generation.stop();
            let panic = result.err().map(|fault| fault.to_string());
            post(&commands, Command::Stopped { generation: number, panic, stopped: Box::new(stopped) });
        };
        self.work(number, "midflight-retire", generation, job);
    }

    fn stopped(&mut self, number: u64, panic: Option<String>, stopped: Stopped) {
        let took = self.ending.get(&number).map_or(Duration::ZERO, |ending| ending.began.elapsed());
        self.tell(number, took, EventKind::Stopped { panic });
        self.leave(number, stopped, None);
    }

    /// No instance is left, or never was. What is left is what its code gave to threads.
    fn leave(&mut self, number: u64, stopped: Stopped, refused: Option<(Refusal, Option<Reply>)>) {
        self.ending.insert(number, Ending::new(Phase::Leaving(stopped), refused));
        self.look_at_ending(number);
    }

    fn close(&mut self, number: u64, stopped: Stopped) {
        let commands = self.shared.commands();
        let job = move |stopped: Stopped| {
            let left = stopped.close();
            post(&commands, Command::Closed { generation: number, left });
        };
        self.work(number, "midflight-close", stopped, job);
    }

    fn closed(&mut self, number: u64, left: Left) {
        if let Some(ending) = self.ending.get_mut(&number) {
            ending.enter(Phase::Kept(left));
        }
        self.look_at_ending(number);
    }

    /// A worker for what may not be dropped where no worker can be had: that stays mapped, and says so.
    fn work<T: Send + 'static>(
        &mut self,
        number: u64,
        name: &str,
        subject: T,
        job: impl FnOnce(T) + Send + 'static,
    ) {
        let subject = Arc::new(Mutex::new(Some(subject)));
        let taken = Arc::clone(&subject);
        let started = spawn(name, move || {
            if let Some(subject) = taken.lock().take() {
                job(subject);
            }
        });
        if let Err(refusal) = started {
            mem::forget(subject.lock().take());
            self.report(number, vec![refusal.reason().to_owned()]);
        }
    }

    fn look_at_endings(&mut self) {
        let due = |ending: &Ending| ending.reasons.is_empty() || ending.looked.elapsed() >= RESIDENT_POLL;
        let due: Vec<_> =
            self.ending.iter().filter(|(_, ending)| due(ending)).map(|(number, _)| *number).collect();
        for number in due {
            self.look_at_ending(number);
        }
    }

    fn look_at_ending(&mut self, number: u64) {
        let stop_deadline = self.shared.bounds.stop_deadline;
        let Some(ending) = self.ending.get_mut(&number) else { return };
        ending.looked = Instant::now();
        let overdue = ending.began.elapsed() >= stop_deadline;
        let reasons = match &ending.phase {
            Phase::Stopping => overdue.then(|| vec!["stop still running".to_owned()]),
            Phase::Closing => overdue.then(|| vec!["close still running".to_owned()]),
            Phase::Leaving(stopped) => match stopped.holds() {
                holds if holds.is_empty() => {
                    if let Phase::Leaving(stopped) = ending.enter(Phase::Closing) {
                        self.close(number, stopped);
                    }
                    return;
                }
                holds => (overdue || !stopped.left.image.keeps.is_empty()).then_some(holds),
            },
            Phase::Kept(left) if is_mapped(left.image.path()) => {
                Some(vec!["kept by the loader for a reason that it does not tell".to_owned()])
            }
            Phase::Kept(_) => return self.gone(number),
        };
        if let Some(reasons) = reasons {
            self.report(number, reasons);
        }
    }

    fn gone(&mut self, number: u64) {
        let Some(Ending { phase, refused, .. }) = self.ending.remove(&number) else { return };
        if let (Phase::Kept(left), Some(record)) = (phase, self.records.get_mut(&number)) {
            record.memory = left.memory;
        }
        self.unmapped(number);
        if let Some((refusal, reply)) = refused {
            self.refuse(Some(number), refusal, reply);
        }
    }

    /// The generation stays for now. Looked at again and again; told once.
    fn report(&mut self, number: u64, reasons: Vec<String>) {
        let Some(ending) = self.ending.get_mut(&number) else { return };
        if ending.reasons == reasons {
            return;
        }
        let first = ending.reasons.is_empty();
        ending.reasons.clone_from(&reasons);
        let refused = ending.refused.take();
        if let Phase::Leaving(Stopped { left, .. }) | Phase::Kept(left) = &ending.phase {
            let image = &left.image;
            self.records.entry(number).or_insert_with(|| GenerationStatus {
                plugin: image.plugin.to_string(),
                version: image.version.to_string(),
                generation: number,
                build_id: image.build_id.clone(),
                residency: Residency::Retiring,
                held_by: Holders::default(),
                memory: None,
            });
        }
        match first {
            true => self.reside(number, reasons),
            false => self.mark(number, Residency::Resident(reasons)),
        }
        if let Some((refusal, reply)) = refused {
            self.refuse(Some(number), refusal, reply);
        }
    }

    fn reside(&mut self, number: u64, reasons: Vec<String>) {
        self.mark(number, Residency::Resident(reasons.clone()));
        self.tell(number, Duration::ZERO, EventKind::Resident(reasons));
    }

    fn unmapped(&mut self, number: u64) {
        self.mark(number, Residency::Unmapped);
        let memory = self.records.get(&number).and_then(|record| record.memory);
        self.tell(number, Duration::ZERO, EventKind::Unmapped { memory });
        let mut unmapped = self.records.values().filter(|record| record.residency == Residency::Unmapped);
        let oldest = unmapped.next().map(|record| record.generation);
        if unmapped.count() >= UNMAPPED_KEPT_MAX
            && let Some(oldest) = oldest
        {
            self.records.remove(&oldest);
        }
    }

    fn look_at_deadlines(&mut self) {
        let bounds = &self.shared.bounds;
        let start = bounds.start_deadline;
        let late: Vec<_> = (self.groups.iter())
            .filter(|(_, state)| matches!(state.transition, Some(Transition::Update { step_began, .. }) if step_began.elapsed() >= start))
            .map(|(group, _)| Arc::clone(group))
            .collect();
        for group in late {
            self.give_up(&group);
        }
    }

    /// The worker stays behind in the plugin's code; its group goes on without it.
    fn give_up(&mut self, group: &Arc<str>) {
        let Some(Transition::Update { update, step, .. }) =
            self.groups.get_mut(group).and_then(|state| state.transition.take())
        else {
            return;
        };
        let Update { generation, plugin, version, reply, .. } = update;
        let deadline = self.shared.bounds.start_deadline;
        let (code, what) = match step {
            Some(Step::Loaded) => (Code::StartTimedOut, "start"),
            Some(Step::Staged(_)) | None => (Code::LoadTimedOut, "load"),
        };
        self.lost.insert(generation);
        self.records.insert(
            generation,
            GenerationStatus {
                plugin: plugin.to_string(),
                version: version.to_string(),
                generation,
                build_id: String::new(),
                residency: Residency::Retiring,
                held_by: Holders::default(),
                memory: None,
            },
        );
        let reason = format!("{what} has not returned within {deadline:?}");
        self.refuse(Some(generation), Refusal::new(code, reason).of(&plugin, &version), reply);
        self.reside(generation, vec![format!("{what} still running")]);
        self.next(group);
    }

    /// How long the queue may be waited for before something is due.
    fn pause(&self) -> Duration {
        let leaving = self.ending.values().any(|ending| ending.reasons.is_empty());
        if self.is_draining() || leaving {
            // Calls mostly end within microseconds; what doesn't is looked at ever less often.
            return Duration::from_micros(50 << (self.looks / 8).min(11));
        }
        let working = self.groups.values().any(|state| state.transition.is_some());
        if working || self.shutdown.is_some() || self.relisten.is_some() {
            return Duration::from_millis(10);
        }
        if !self.ending.is_empty() {
            return RESIDENT_POLL;
        }
        Duration::from_secs(3600)
    }
}

/// The host's end.
impl Control {
    fn shut_down(&mut self, deadline: Duration, reply: Option<SyncSender<()>>) {
        let until = Instant::now().checked_add(deadline);
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = [shutdown.until, until].into_iter().flatten().min();
            shutdown.replies.extend(reply);
            return;
        }
        self.shutdown = Some(Shutdown { until, replies: reply.into_iter().collect() });
        let parked: Vec<_> = self.plugins.values_mut().filter_map(|plugin| plugin.parked.take()).collect();
        for (candidate, took) in parked {
            self.turn_away(Operation::Update { candidate, by: By::Watcher, took });
        }
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for group in groups {
            let Some(state) = self.groups.get_mut(&group) else {
                continue;
            };
            let waiting = mem::take(&mut state.waiting);
            let active = mem::take(&mut state.active);
            let ready = mem::take(&mut state.ready);
            for operation in waiting {
                self.turn_away(operation);
            }
            for ready in ready {
                self.withdraw(ready, Code::ShuttingDown, "the host is ending");
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

    /// Answers who waits for the end: when all that can go is gone, or at the deadline, with the reasons for what is left.
    fn look_at_shutdown(&mut self) {
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
        let replies = self.shutdown.as_mut().map(|shutdown| mem::take(&mut shutdown.replies));
        for reply in replies.unwrap_or_default() {
            answer(&reply, ());
        }
    }

    /// Everything that was active is gone, or stays for a reason that has been told.
    fn is_settled(&self) -> bool {
        let busy = self.groups.values().any(|state| state.transition.is_some());
        let ending = self.ending.values().any(|ending| ending.reasons.is_empty());
        !busy && !ending && !self.is_draining()
    }

    /// Why each generation that is left is still there.
    fn report_all(&mut self) {
        let retiring: Vec<_> =
            self.retiring.iter().map(|retiring| Arc::clone(&retiring.generation)).collect();
        for generation in retiring {
            let reasons = vec![format!("held by {}", self.holders(&generation))];
            self.mark(generation.number, Residency::Resident(reasons));
        }
        let ending: Vec<_> =
            self.ending.iter().map(|(number, ending)| (*number, ending.phase.name())).collect();
        for (number, phase) in ending {
            let reasons = match self.ending.get(&number).map(|ending| &ending.phase) {
                Some(Phase::Leaving(stopped)) => stopped.holds(),
                _ => vec![format!("{phase} still running")],
            };
            if !reasons.is_empty() {
                self.report(number, reasons);
            }
        }
    }

    /// Nothing will come any more that this thread would have to see to. Else it lives on behind the handles' back, so that what
    /// ends late is taken down as it should be.
    fn is_over(&self) -> bool {
        let Some(shutdown) = &self.shutdown else { return false };
        let stays =
            |ending: &Ending| matches!(&ending.phase, Phase::Leaving(stopped) if stopped.is_for_good());
        shutdown.replies.is_empty()
            && self.is_settled()
            && self.lost.is_empty()
            && self.ending.values().all(stays)
    }
}

/// What is left when the thread ends stays as it is: mapped, with all that its code may use. That also holds where it ends by a
/// panic of ours: releases that are only pinned must not be freed.
impl Drop for Control {
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.draining));
        mem::forget(mem::take(&mut self.retiring));
        mem::forget(mem::take(&mut self.ending));
        for state in self.groups.values_mut() {
            mem::forget(mem::take(&mut state.active));
            mem::forget(mem::take(&mut state.ready));
        }
    }
}

/// Books.
impl Control {
    fn mark(&mut self, number: u64, residency: Residency) {
        self.changed = true;
        if let Some(record) = self.records.get_mut(&number) {
            record.residency = residency;
            record.held_by = Holders::default();
        }
    }

    /// Whoever is told of a change finds it in the status: so this comes before the event and the answer.
    fn show(&mut self) {
        if mem::take(&mut self.changed) {
            self.count_memory();
            self.shared.status.store(Arc::new(self.status()));
        }
    }

    /// Of those whose code is mapped and in no worker's hands.
    fn count_memory(&mut self) {
        let groups = self.groups.values();
        let serving =
            groups.flat_map(|group| group.ready.iter().map(|ready| &ready.generation).chain(&group.active));
        let retiring = self.retiring.iter().map(|retiring| &retiring.generation);
        let started = serving.chain(retiring).map(|generation| (generation.number, generation.memory()));
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

    fn tell(&mut self, number: u64, took: Duration, kind: EventKind) {
        self.show();
        if let Some(record) = self.records.get(&number) {
            self.shared.events.add(about(&record.plugin, &record.version, Some(number)), took, kind);
        }
    }

    fn status(&self) -> Status {
        let plugins = self.plugins.iter().map(|(name, plugin)| PluginStatus {
            name: name.to_string(),
            group: plugin.group.to_string(),
            active: plugin.active,
            version: plugin.active.and_then(|active| Some(self.records.get(&active)?.version.clone())),
            rollback_to: plugin.last_good.as_ref().map(|good| good.image.version.to_string()),
            held: plugin.held.iter().map(|digest| blake3::Hash::from(*digest).to_hex().to_string()).collect(),
        });
        Status { plugins: plugins.collect(), generations: self.records.values().cloned().collect() }
    }
}

impl Control {
    fn applied(&self, to: &Generation, took: Duration) -> Applied {
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

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Phase::Stopping => "stop",
            Phase::Leaving(_) => "wait",
            Phase::Closing | Phase::Kept(_) => "close",
        }
    }
}

impl Ending {
    fn new(phase: Phase, refused: Option<(Refusal, Option<Reply>)>) -> Self {
        let now = Instant::now();
        Ending { phase, began: now, looked: now, reasons: Vec::new(), refused }
    }

    fn enter(&mut self, phase: Phase) -> Phase {
        self.began = Instant::now();
        mem::replace(&mut self.phase, phase)
    }
}

impl Update {
    fn about(&self) -> About<'_> {
        about(&self.plugin, &self.version, Some(self.generation))
    }
}

impl PluginState {
    fn activate(&mut self, new: &Generation, old: Option<&Generation>, rollback: bool) {
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

impl By {
    fn reply(self) -> Option<Reply> {
        match self {
            By::Watcher => None,
            By::Start(reply) | By::Operator(reply) => Some(reply),
        }
    }
}

impl GroupState {
    fn new(cell: Arc<GroupCell>) -> Self {
        GroupState { cell, active: Vec::new(), transition: None, waiting: VecDeque::new(), ready: Vec::new() }
    }

    /// What serves, or will from the next switch point on.
    fn newest(&self, plugin: &str) -> Option<&Arc<Generation>> {
        let ready = self.ready.iter().map(|ready| &ready.generation);
        ready.chain(&self.active).find(|generation| *generation.plugin == *plugin)
    }
}

impl Command {
    /// Drops what may be dropped. A generation whose end nobody is left to see stays mapped, with what its code may use.
    fn leave(self) {
        match self {
            Command::Prepared { result: Ok(generation), .. } => mem::forget(generation),
            Command::Prepared { result: Err(Refused { stopped, .. }), .. } => mem::forget(stopped),
            Command::Stopped { stopped, .. } => mem::forget(stopped),
            Command::Closed { left, .. } => mem::forget(left),
            other => drop(other),
        }
    }
}

fn record(generation: &Generation, residency: Residency) -> GenerationStatus {
    GenerationStatus {
        plugin: generation.plugin.to_string(),
        version: generation.version.to_string(),
        generation: generation.number,
        build_id: generation.image.build_id.clone(),
        residency,
        held_by: Holders::default(),
        memory: generation.memory(),
    }
}

fn about<'a>(plugin: &'a str, version: &'a str, generation: Option<u64>) -> About<'a> {
    About { plugin, version, generation }
}

fn stage(
    candidate: &Candidate,
    took: Duration,
    order: Order,
    progress: &mut dyn FnMut(Step),
) -> Result<Generation, Refused> {
    progress(Step::Staged(took));
    stage::prepare(candidate, order, progress)
}

/// Nobody need be waiting for it any more.
fn answer<T>(reply: &SyncSender<T>, with: T) {
    let _ = reply.send(with);
}

fn answer_if(reply: Option<&Reply>, with: Result<Applied, Refusal>) {
    if let Some(reply) = reply {
        answer(reply, with);
    }
}

fn post(commands: &Sender<Command>, command: Command) {
    if let Err(unsent) = commands.send(command) {
        unsent.0.leave();
    }
}

/// A thread for one job. It ends with the job, so that what a plugin leaves in its thread-locals ends too.
fn spawn(name: &str, job: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Refusal> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(job);
    let failed = |error| Refusal::new(Code::ThreadUnavailable, format!("can't start a thread: {error}"));
    spawned.map_err(failed)
}
