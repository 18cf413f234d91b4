//! What the data plane, the control plane and the user's handles share.

use crate::command::{Command, Commands};
use crate::contained::contained;
use crate::contracts::Wanted;
use crate::event::{About, EventKind, EventLog};
use crate::gate::Home;
use crate::gate::cell::GroupCell;
use crate::gate::release::Release;
use crate::refusal::Refusal;
use crate::runtime::Surroundings;
use crate::runtime::attached::AttachedData;
use crate::settings::Bounds;
use crate::shown::Shown;
use arc_swap::ArcSwap;
use midflight_inspect::Spare;
use midflight_plugin::rt::with_cure;
use midflight_plugin::{Absent, Fault, PanicReport};
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One host, as its handles see it. Slots and leases keep it; the host's threads end without it.
pub(crate) struct Shared {
    pub(crate) bounds: Bounds,
    pub(crate) events: Arc<EventLog>,
    /// What a version on probation is asked beside its own health.
    pub(crate) checks: Arc<Checks>,
    /// What the next library is read into.
    pub(crate) spare: Spare,
    pub(crate) shown: Arc<Shown>,
    pub(crate) attached: AttachedData,
    /// The group of plugins that are not there: it never gets a release.
    vacant: Arc<GroupCell>,
    /// Something waits for a switch point: set by the control plane, read at every switch point.
    pub(crate) waiting: AtomicBool,
    groups: Directory,
    /// The group of each plugin.
    plugins: Directory,
    pub(crate) commands: Commands,
}

/// The host's own health checks.
#[derive(Default)]
pub(crate) struct Checks(pub(crate) Vec<Check>);

pub(crate) type Check = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

impl Checks {
    /// Asks each about `group`, up to the first that is not content. A panic of one is an answer as
    /// well.
    pub(crate) fn ask(&self, group: &str) -> Result<(), String> {
        let panicked = |text| Err(format!("a health check of the host panicked: {text}"));
        let ask = |check: &Check| contained(|| check(group)).unwrap_or_else(panicked);
        self.0.iter().try_for_each(ask)
    }
}

/// Cells by name, for threads that may be in a call and so wait for nobody.
///
/// A map is replaced where one is added to it, and there are as many names as plugins: so there are
/// many maps, and each has few.
///
/// INVARIANT: cells are added and never removed: `Link`s point to them.
struct Directory {
    maps: [ArcSwap<BTreeMap<Arc<str>, Arc<GroupCell>>>; MAPS],
    hasher: RandomState,
}

const MAPS: usize = 256;

impl Default for Directory {
    fn default() -> Self {
        let maps = std::array::from_fn(|_| ArcSwap::default());
        Directory { maps, hasher: RandomState::new() }
    }
}

impl Directory {
    fn get(&self, name: &str) -> Option<Arc<GroupCell>> {
        self.map_of(name).load().get(name).cloned()
    }

    /// The control plane alone calls it.
    fn insert(&self, name: &Arc<str>, cell: &Arc<GroupCell>) {
        let mut map = BTreeMap::clone(&self.map_of(name).load());
        map.insert(Arc::clone(name), Arc::clone(cell));
        self.map_of(name).store(Arc::new(map));
    }

    fn map_of(&self, name: &str) -> &ArcSwap<BTreeMap<Arc<str>, Arc<GroupCell>>> {
        let hash = self.hasher.hash_one(name);
        &self.maps[(hash % MAPS as u64) as usize]
    }
}

impl Shared {
    pub(crate) fn new(bounds: Bounds, checks: Checks, commands: Commands) -> Self {
        Shared {
            events: Arc::new(EventLog::new(bounds.events_kept_max)),
            checks: Arc::new(checks),
            spare: Spare::default(),
            shown: Arc::default(),
            attached: AttachedData::default(),
            // Counts as no group: a call finds out there which one it belongs to.
            vacant: Arc::new(vacant("", bounds.calls_nested_max, usize::MAX)),
            waiting: AtomicBool::new(false),
            groups: Directory::default(),
            plugins: Directory::default(),
            bounds,
            commands,
        }
    }

    /// Puts `plugin` into `group`, for good. The control plane alone calls it.
    pub(crate) fn join(&self, plugin: &Arc<str>, group: &Arc<str>) -> Arc<GroupCell> {
        let cell = self.groups.get(group).unwrap_or_else(|| {
            let Bounds { calls_nested_max, groups_nested_max, .. } = self.bounds;
            let cell = Arc::new(vacant(group, calls_nested_max, groups_nested_max));
            self.groups.insert(group, &cell);
            cell
        });
        self.plugins.insert(plugin, &cell);
        cell
    }

    /// Writes down a refusal of a file that never became a candidate of a plugin.
    pub(crate) fn refused(&self, refusal: &Refusal, took: Duration) {
        let about = About {
            plugin: refusal.plugin().unwrap_or(""),
            version: refusal.version().unwrap_or(""),
            generation: None,
        };
        self.events.add(about, took, EventKind::Refused(refusal.clone()));
    }

    pub(crate) fn commands(&self) -> Commands {
        self.commands.clone()
    }
}

impl Home for Shared {
    fn vacant(&self) -> &Arc<GroupCell> {
        &self.vacant
    }

    fn group(&self, name: &str) -> Option<Arc<GroupCell>> {
        self.groups.get(name)
    }

    fn group_of(&self, plugin: &str) -> Option<Arc<GroupCell>> {
        self.plugins.get(plugin)
    }

    fn absent(&self, plugin: &str) -> Absent {
        Absent::new(plugin, &self.shown.status().serving())
    }

    fn index_of(&self, wanted: Wanted) -> Result<usize, Refusal> {
        self.commands.ask(|reply| Command::Slot { wanted, reply })?
    }

    /// Writes down a panic of something that a plugin had handed out or left, and that was dropped:
    /// no call of anybody's brings it.
    fn lost(&self, fault: Fault) {
        let Fault::Panicked(report) = fault else { return };
        let about = About {
            plugin: &report.plugin,
            version: &report.version,
            generation: Some(report.generation),
        };
        self.events.add(about, Duration::ZERO, EventKind::Panicked(report.to_string()));
    }
}

impl Surroundings for Shared {
    fn attached(&self) -> &AttachedData {
        &self.attached
    }

    /// Writes down that calls of a plugin panic at one place; `count` of them by now.
    fn call_panicked(&self, report: &PanicReport, count: u64) {
        let about = About {
            plugin: &report.plugin,
            version: &report.version,
            generation: Some(report.generation),
        };
        let (location, message) =
            (report.location.clone(), with_cure(&report.message).into_owned());
        self.events.add(
            about,
            Duration::ZERO,
            EventKind::CallPanicked { location, message, count },
        );
    }
}

fn vacant(group: &str, calls_nested_max: usize, groups_nested_max: usize) -> GroupCell {
    GroupCell::new(group, Arc::new(Release::vacant()), calls_nested_max, groups_nested_max)
}
