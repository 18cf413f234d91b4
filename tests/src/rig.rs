//! The rig: one host, and everything around it that a test needs.

use crate::{Desk, Either, Fixture, Log, WITHIN, Way, process};
use midflight::{Applied, EventKind, Fault, Group, Host, HostBuilder, Refusal, Residency, Slot};
use probe_contracts::{Desk as DeskContract, Probe};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A host with a [`Desk`], a slot for the plugin `probe`, and a directory for everything, which is
/// removed with it.
pub struct Rig {
    /// The host.
    pub host: Host,
    /// What its plugins call.
    pub desk: Arc<Desk>,
    /// The plugin under test.
    pub probe: Slot<dyn Probe>,
    /// That plugin's group.
    pub group: Group,
    /// The host's events.
    pub log: Log,
    way: Way,
    home: TempDir,
}

impl Rig {
    /// A host with no plugin.
    pub fn new() -> Rig {
        Rig::with(|builder| builder)
    }

    /// A host with no plugin, and bounds of the test's own.
    pub fn with(configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Rig {
        Rig::of(Way::Dynamic, &[], configure)
    }

    /// A host that watches a directory ([`plugins`](Rig::plugins)) in which `fixtures` lie.
    pub fn watching(
        fixtures: &[(Fixture, &str)],
        configure: impl FnOnce(HostBuilder) -> HostBuilder,
    ) -> Rig {
        let home = tempfile::tempdir().expect("a directory");
        let plugins = home.path().join("plugins");
        fs::create_dir(&plugins).expect("a directory for plugins");
        for (fixture, name) in fixtures {
            fs::copy(fixture.path(), plugins.join(name)).expect("a copy");
        }
        let configure = |builder: HostBuilder| configure(builder.plugins(plugins));
        Rig::start(Way::Dynamic, &[], Arc::default(), home, configure).expect("no update")
    }

    /// A host on which `plugins` serve, in this order.
    #[track_caller]
    pub fn of(
        way: Way,
        plugins: &[Either],
        configure: impl FnOnce(HostBuilder) -> HostBuilder,
    ) -> Rig {
        let rig = Rig::try_of(way, plugins, Arc::default(), configure);
        rig.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// As [`of`](Rig::of), with a desk that is prepared, and where the last plugin may be refused.
    pub fn try_of(
        way: Way,
        plugins: &[Either],
        desk: Arc<Desk>,
        configure: impl FnOnce(HostBuilder) -> HostBuilder,
    ) -> Result<Rig, Refusal> {
        Rig::start(way, plugins, desk, tempfile::tempdir().expect("a directory"), configure)
    }

    /// A host on which `probe` 1.0.0 serves.
    #[track_caller]
    pub fn serving_by(way: Way) -> Rig {
        Rig::of(way, &[Either::PROBE], |builder| builder)
    }

    /// A host on which `fixture` serves.
    pub fn serving(fixture: Fixture) -> Rig {
        let rig = Rig::new();
        rig.apply(fixture);
        rig
    }

    fn start(
        way: Way,
        plugins: &[Either],
        desk: Arc<Desk>,
        home: TempDir,
        configure: impl FnOnce(HostBuilder) -> HostBuilder,
    ) -> Result<Rig, Refusal> {
        let builder = Host::builder()
            .provide::<dyn DeskContract, _>(Arc::clone(&desk))
            .contract::<dyn Probe>();
        let builder = builder.run_directory(home.path().join("images"));
        let host = way.start(configure(builder), plugins)?;
        let probe = host.slot::<dyn Probe>("probe").expect("a slot");
        desk.chain_through(probe.clone());
        Ok(Rig { log: Log::of(&host), group: host.group("probe"), host, desk, probe, way, home })
    }

    /// Applies `fixture`, which must work, and gives its generation.
    #[track_caller]
    pub fn apply(&self, fixture: Fixture) -> u64 {
        let applied = self
            .host
            .apply(fixture.path())
            .unwrap_or_else(|refusal| panic!("{fixture:?} is {refusal}"));
        assert!(applied.switched, "{fixture:?} was active already");
        applied.generation
    }

    /// Tries `update`, which must be refused, with `probe` serving before and after it just the
    /// same.
    #[track_caller]
    pub fn refused(&self, update: impl FnOnce(&Host) -> Result<Applied, Refusal>) -> Refusal {
        let before = (self.probe.version().expect("a version"), self.probe.generation());
        let refusal = match update(&self.host) {
            Ok(applied) => panic!("not refused: {applied:?}"),
            Err(refusal) => refusal,
        };
        assert_names(&refusal);
        assert_eq!(
            (self.probe.version().expect("a version"), self.probe.generation()),
            before,
            "after {refusal}"
        );
        self.way.check_answers(&self.probe, before.0);
        refusal
    }

    /// The directory that a [`watching`](Rig::watching) host watches.
    pub fn plugins(&self) -> PathBuf {
        self.home.path().join("plugins")
    }

    /// A path of the test's own, outside of the plugins' directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A copy of `fixture` that is the test's own.
    pub fn copy(&self, fixture: Fixture, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::copy(fixture.path(), &path).expect("a copy");
        path
    }

    /// Puts a file where images go: nothing more can be loaded.
    pub fn block_run_directory(&self) {
        self.remove_run_directory();
        fs::write(self.path("images"), "in the way").expect("a file");
    }

    /// Removes the directory where images go, as who cleans a temporary directory does.
    pub fn remove_run_directory(&self) {
        fs::remove_dir_all(self.path("images")).expect("a directory of images");
    }

    /// Puts `fixture` into the plugins' directory as one should: written beside, renamed in.
    pub fn install(&self, fixture: Fixture, name: &str) {
        fs::rename(self.copy(fixture, "new"), self.plugins().join(name))
            .expect("a new file in its place");
    }

    /// What became of a generation.
    #[track_caller]
    pub fn residency(&self, generation: u64) -> Residency {
        let status = self.host.status();
        let mut generations = status.generations.iter();
        let found = generations.find(|record| record.generation == generation);
        found
            .unwrap_or_else(|| panic!("no generation {generation} in {status:#?}"))
            .residency
            .clone()
    }

    /// The lines of `/proc/self/maps` that a generation of `probe` has in them.
    pub fn mappings(&self, generation: u64) -> Vec<String> {
        let (home, image) =
            (self.home.path().display().to_string(), format!("/probe.{generation}."));
        let mut mappings = process::mappings();
        mappings.retain(|line| line.contains(&home) && line.contains(&image));
        mappings
    }

    /// Ends the host, and asserts that nothing is left: each instance was stopped once, each
    /// generation is unmapped or linked in, and calls say so.
    #[track_caller]
    pub fn end(self) {
        for event in self.log.seen() {
            if let EventKind::Refused(refusal) = &event.kind {
                assert_names(refusal);
            }
        }
        let status = self.host.shutdown(WITHIN);
        for record in &status.generations {
            assert_eq!(record.residency, self.way.end(), "{record:?}\n{}", self.log.text());
        }
        assert!(status.plugins.iter().all(|plugin| plugin.active.is_none()), "{status:#?}");
        let (mut started, mut stopped) = self.desk.lives();
        started.sort();
        stopped.sort();
        assert_eq!(started, stopped, "each instance is stopped, once");
        let told = self.desk.told();
        let once: BTreeSet<_> = told.iter().collect();
        assert_eq!(once.len(), told.len(), "none is told twice: {told:?}");
        assert_eq!(self.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
    }
}

/// Nobody can act on a refusal that says neither of which plugin nor of which file it is.
#[track_caller]
fn assert_names(refusal: &Refusal) {
    let named = refusal.plugin().is_some() || refusal.file().is_some();
    assert!(named, "it names neither plugin nor file: {refusal}");
}

impl Default for Rig {
    fn default() -> Self {
        Rig::new()
    }
}
