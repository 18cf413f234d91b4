//! What a sequence is run on: a host with two plugins of one group, and what the test says to them.

use super::WITHIN;
use keeping_contracts::{Clerk, Keeping};
use midflight::{Event, EventKind, Fault, Group, Host, HostBuilder, Publish, Slot};

use midflight_tests::{Fixture, Log, trade};
use probe_contracts::{Begin, Desk, End, Probe};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// So short that a probation is over when somebody has asked.
const SHORT: Duration = Duration::from_millis(1);
/// How long a hand-over and a hook may take where some are to be late.
pub(super) const HANDOVER: Duration = Duration::from_millis(200);
pub(super) const HOOK: Duration = Duration::from_secs(1);

/// What is the same in all of one sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    /// The plugins hand a state over; else they have hooks.
    pub(super) keeps: bool,
    /// Nothing is switched in before a switch point.
    pub(super) manual: bool,
    pub(super) probation: Probation,
    /// What comes runs on a share first.
    pub(super) canary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probation {
    /// What is switched in is committed.
    None,
    /// It ends when what is on it is not well, or goes. Who is asked may be late.
    Long,
    /// Its time is over, and the last check is held until the test says how it ends.
    Held,
}

impl World {
    pub(super) fn of(seed: u64) -> World {
        use Probation::{Held, Long, None};
        let keeps = seed.is_multiple_of(2);
        let probation = [Long, Held, None, Long, Held][(seed / 2 % 5) as usize];
        World {
            keeps,
            manual: (seed / 10).is_multiple_of(2) != (seed / 2).is_multiple_of(3),
            probation,
            canary: !keeps && probation != None && !(seed / 3).is_multiple_of(3),
        }
    }

    /// Workers may be late, since somebody gives them up.
    pub(super) fn has_late_workers(&self) -> bool {
        self.probation != Probation::Held
    }
}

/// One of the two plugins, as a caller has it.
#[derive(Clone)]
pub(super) enum Caller {
    Keeping(Slot<dyn Keeping>),
    Probe(Slot<dyn Probe>),
}

impl Caller {
    /// The build that answers, and what it says: the sum of its state, or what its configuration
    /// and build make of one.
    pub(super) fn ask(&self) -> Result<(u32, i64), Fault> {
        match self {
            Caller::Keeping(slot) => Ok((slot.version()?, slot.sum()?)),
            Caller::Probe(slot) => {
                Ok((slot.version()?, i64::try_from(slot.fee(&trade(1))?).unwrap_or(-1)))
            }
        }
    }

    fn generation(&self, request: &midflight::Request<'_>) -> Option<u64> {
        match self {
            Caller::Keeping(slot) => request.generation(slot),
            Caller::Probe(slot) => request.generation(slot),
        }
    }
}

/// What a hook does instead of nothing, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Fails,
    Panics,
    /// And says no when it is let go.
    Hangs,
    /// And does nothing then.
    Waits,
}

/// The clerk, the desk and the service's own health check.
#[derive(Default)]
pub(super) struct Say {
    state: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    /// Who moves a state that waits is held.
    is_closed: bool,
    /// So many are let through all the same.
    passes: usize,
    /// So many have come.
    came: usize,
    /// The next hook of that name of a build of a plugin.
    hooks: Vec<(String, u32, &'static str, Deed)>,
    hung: usize,
    let_go: usize,
    check: Option<Result<(), String>>,
}

impl Say {
    /// From here on who moves a state that waits is held.
    pub(super) fn close(&self) {
        *self.lock() = Said { is_closed: true, ..Said::default() };
    }

    pub(super) fn open(&self) {
        self.lock().is_closed = false;
        self.changed.notify_all();
    }

    pub(super) fn let_one_through(&self) {
        self.lock().passes += 1;
        self.changed.notify_all();
    }

    /// Waits until so many have come, or something else has happened.
    pub(super) fn until_came(&self, count: usize, or: impl Fn() -> bool) {
        self.until(|said| said.came >= count || or());
    }

    pub(super) fn when_hooked(&self, plugin: &str, version: u32, hook: &'static str, deed: Deed) {
        self.lock().hooks.push((plugin.to_owned(), version, hook, deed));
    }

    /// Everything that was planned has happened.
    pub(super) fn has_hooked(&self) -> bool {
        self.lock().hooks.is_empty()
    }

    pub(super) fn until_hung(&self) {
        self.until(|said| said.hung > said.let_go);
    }

    pub(super) fn let_one_hook_go(&self) {
        self.lock().let_go += 1;
        self.changed.notify_all();
    }

    pub(super) fn let_hooks_go(&self) {
        let mut said = self.lock();
        said.let_go = said.hung;
        drop(said);
        self.changed.notify_all();
    }

    /// How checks end from here on; `None`: not yet.
    pub(super) fn check(&self, result: Option<Result<(), String>>) {
        self.lock().check = result;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Said> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn until(&self, is_so: impl Fn(&Said) -> bool) {
        let began = std::time::Instant::now();
        let mut said = self.lock();
        while !is_so(&said) {
            assert!(began.elapsed() < WITHIN, "waited {WITHIN:?}");
            let waited = self.changed.wait_timeout(said, Duration::from_millis(5));
            said = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Clerk for Say {
    fn sum(&self) -> i64 {
        0
    }

    fn leave(&self, _: &str) {
        let mut said = self.lock();
        said.came += 1;
        self.changed.notify_all();
        let number = said.came;
        drop(said);
        self.until(|said| !said.is_closed || said.passes >= number);
    }
}

impl Desk for Say {
    fn starting(&self, _: u32, _: u64) -> Begin {
        Begin::Go
    }

    fn retiring(&self, _: u32, _: u64) -> End {
        End::Quietly
    }

    fn stopping(&self, _: u32, _: u64) -> End {
        End::Quietly
    }

    fn hook(&self, plugin: &str, version: u32, hook: &str) -> Begin {
        let mut said = self.lock();
        let is_meant =
            |it: &(String, u32, &str, Deed)| *it.0 == *plugin && it.1 == version && *it.2 == *hook;
        let planned = said.hooks.iter().position(is_meant).map(|at| said.hooks.remove(at).3);
        match planned {
            None => Begin::Go,
            Some(Deed::Fails) => Begin::Fail,
            Some(Deed::Panics) => Begin::Panic(probe_contracts::Panic::Text),
            Some(hangs) => {
                said.hung += 1;
                self.changed.notify_all();
                let number = said.hung;
                drop(said);
                self.until(|said| said.let_go >= number);
                if hangs == Deed::Hangs { Begin::Fail } else { Begin::Go }
            }
        }
    }

    fn wait(&self, _: u64) {}

    fn nested(&self, _: u32) -> Vec<u64> {
        Vec::new()
    }

    fn panic(&self) {}
}

/// The names of the two plugins, and the libraries of their builds.
pub(super) fn plugins(world: World) -> [(&'static str, &'static [Fixture]); 2] {
    match world.keeps {
        true => [
            ("keeping", &[Fixture::Keeping, Fixture::KeepingV2]),
            ("keeping-other", &[Fixture::KeepingOther, Fixture::KeepingOtherV2]),
        ],
        false => [
            ("probe", &[Fixture::V1, Fixture::V2, Fixture::V3]),
            ("other", &[Fixture::Other, Fixture::OtherV2]),
        ],
    }
}

/// More than what is in memory while one is on trial, one waits, one is late and one comes, and
/// less than what piles up.
const GENERATIONS: usize = 6;

pub(super) fn start(world: World, say: &Arc<Say>, home: &Path) -> Host {
    let asked = Arc::clone(say);
    let check = move |_: &str| {
        if world.probation != Probation::Held {
            return Ok(());
        }
        asked.until(|said| said.check.is_some());
        asked.lock().check.clone().unwrap_or(Ok(()))
    };
    let builder = plain(world, say, home).health_check(check);
    let builder = match world.manual {
        true => builder.publish(Publish::Manual),
        false => builder,
    };
    let builder = match world.probation {
        Probation::None => builder,
        Probation::Long => builder.probation(LONG).check_interval(5 * SHORT),
        Probation::Held => builder.probation(SHORT).check_interval(SHORT),
    };
    let builder = match (world.canary, world.probation) {
        (false, _) => builder,
        (true, Probation::Held) => builder.canary("desk", 0.5, SHORT),
        (true, _) => builder.canary("desk", 0.5, LONG),
    };
    let builder = match world.has_late_workers() {
        true => builder.handover_wait_max(HANDOVER).hook_deadline(HOOK),
        false => builder.handover_wait_max(WITHIN).hook_deadline(WITHIN),
    };
    builder.start().expect("a host")
}

/// With what it needs to serve, and no more.
pub(super) fn plain(world: World, say: &Arc<Say>, home: &Path) -> HostBuilder {
    let builder = Host::builder().run_directory(home.join("images")).journal(home.join("journal"));
    let builder = builder.provide::<dyn Clerk, _>(Arc::clone(say));
    let builder = builder.provide::<dyn Desk, _>(Arc::clone(say));
    let builder = builder.contract::<dyn Probe>().contract::<dyn Keeping>();
    let builder = plugins(world).iter().fold(builder, |it, (name, _)| it.group(name, "desk"));
    // What a preflight finds has tests of its own.
    builder.preflight(false).generations_max(GENERATIONS).events_kept_max(10_000)
}

pub(super) fn caller(host: &Host, world: World, name: &str) -> Caller {
    match world.keeps {
        true => Caller::Keeping(host.slot(name).expect("a slot")),
        false => Caller::Probe(host.slot(name).expect("a slot")),
    }
}

/// Asks both plugins in one request, again and again.
pub(super) struct Asker {
    over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<[u64; 2]>>,
}

impl Asker {
    pub(super) fn of(group: Group, callers: [Caller; 2]) -> Asker {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !is_over.load(SeqCst) {
                seen.insert(together(&group, &callers));
                std::thread::sleep(Duration::from_micros(300));
            }
            seen
        });
        Asker { over, thread }
    }

    /// No request got a version of one plugin with one of the other that did not serve beside it.
    pub(super) fn end(self, log: &Log, names: [&str; 2]) {
        self.over.store(true, SeqCst);
        let seen = self.thread.join().expect("each request was answered by one version of each");
        let served = served_together(&log.seen(), names);
        let mixed: Vec<_> = seen.difference(&served).collect();
        assert!(mixed.is_empty(), "{mixed:?} never served together: {served:?}");
    }
}

/// The two generations that a request finds: of each the same all along.
fn together(group: &Group, callers: &[Caller; 2]) -> [u64; 2] {
    let asked = group.request(|request| {
        let found = || callers.each_ref().map(|it| it.generation(request).unwrap_or_default());
        let before = (found(), callers[0].ask()?.0, callers[1].ask()?.0);
        std::thread::yield_now();
        let after = (found(), callers[0].ask()?.0, callers[1].ask()?.0);
        assert_eq!(before, after, "in one request");
        Ok::<_, Fault>(before.0)
    });
    asked.expect("an answer")
}

/// Each pair of generations that a release had, as the events tell it.
fn served_together(events: &[Event], names: [&str; 2]) -> BTreeSet<[u64; 2]> {
    /// Of what one store switched.
    #[derive(PartialEq)]
    enum Store {
        Of(u64),
        /// One at a time, whose members are told of one after the other.
        Canary(usize),
        Back,
    }
    let mut others = 0;
    let mut store = |event: &Event| match event.kind {
        EventKind::Active { release, .. } => Some(Store::Of(release)),
        EventKind::Canary { .. } => Some(Store::Canary(others)),
        EventKind::Refused(_) => Some(Store::Back),
        _ => {
            others += 1;
            None
        }
    };
    let switches: Vec<_> = events.iter().filter_map(|it| Some((store(it)?, it))).collect();
    let (mut active, mut canary) = ([0; 2], BTreeMap::new());
    let mut served = BTreeSet::new();
    for of_one in switches.chunk_by(|(one, _), (next, _)| one == next) {
        if let [(Store::Canary(_), _), ..] = of_one {
            canary.clear();
        }
        for (store, event) in of_one {
            let at = names.iter().position(|name| **name == *event.plugin);
            let (Some(at), Some(generation)) = (at, event.generation) else { continue };
            match store {
                Store::Canary(_) => drop(canary.insert(at, generation)),
                Store::Of(_) => {
                    active[at] = generation;
                    canary.retain(|_, of| *of != generation);
                }
                Store::Back => canary.retain(|_, of| *of != generation),
            }
        }
        let mut beside = active;
        canary.iter().for_each(|(at, generation)| beside[*at] = *generation);
        served.extend([active, beside]);
    }
    served
}
