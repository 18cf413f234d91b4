//! Sequences: what operators do to two plugins of one group, each with a state, in any order,
//! against a model of what must come of it.
//!
//! The model knows of each plugin which version serves, what its state is, whether it is on trial,
//! with whom it came, and what it would go back to. After each operation the host has to say the
//! same: so no state is lost without a word, nobody goes back whom nobody asked to, and what serves
//! is what may. A run that fails prints its seed, with which it can be had again.

use keeping_contracts::{Clerk, Keeping};
use midflight::{Code, Host, Refusal, Slot};
use midflight_tests::{Fixture, Log, Random, WITHIN};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// Of one sequence.
const OPERATIONS: usize = 25;

struct NoClerk;

impl Clerk for NoClerk {
    fn sum(&self) -> i64 {
        0
    }

    fn leave(&self, _: &str) {}
}

/// One plugin, and what is to be said of it.
struct Modelled {
    name: &'static str,
    slot: Slot<dyn Keeping>,
    builds: [Fixture; 2],
    version: u32,
    total: i64,
    /// It can't be saved as it is.
    spoiled: bool,
    trial: Option<Tried>,
    /// What a rollback goes back to when it is not on trial.
    last_good: Option<u32>,
}

#[derive(Debug, Clone)]
struct Tried {
    /// What came in one release has the same.
    unit: usize,
    /// What is on standby, with the state that it had at its switch.
    version: u32,
    total: i64,
}

struct Run {
    host: Host,
    log: Log,
    plugins: [Modelled; 2],
    on_probation: bool,
    units: usize,
    lost: usize,
    done: Vec<String>,
    home: TempDir,
}

impl Run {
    fn new(on_probation: bool) -> Run {
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder().provide::<dyn Clerk, _>(Arc::new(NoClerk));
        let builder = builder.run_directory(home.path().join("images")).generations_max(64);
        let builder = builder.group("keeping", "desk").group("keeping-other", "desk");
        let builder = builder.handover_wait_max(WITHIN).events_kept_max(10_000);
        let builder = if on_probation { builder.probation(LONG) } else { builder };
        let host = builder.start().expect("a host");
        let log = Log::of(&host);
        let plugin = |name: &'static str, builds: [Fixture; 2]| {
            host.apply(builds[0].path()).unwrap_or_else(|refusal| panic!("{refusal}"));
            let slot = host.slot::<dyn Keeping>(name).expect("a slot");
            slot.pay(0, 100).expect("paid");
            let (trial, last_good) = (None, None);
            Modelled {
                name,
                slot,
                builds,
                version: 1,
                total: 100,
                spoiled: false,
                trial,
                last_good,
            }
        };
        let plugins = [
            plugin("keeping", [Fixture::Keeping, Fixture::KeepingV2]),
            plugin("keeping-other", [Fixture::KeepingOther, Fixture::KeepingOtherV2]),
        ];
        let (units, lost, done) = (0, 0, Vec::new());
        Run { host, log, plugins, on_probation, units, lost, done, home }
    }

    fn step(&mut self, random: &mut Random) {
        let at = random.below(2);
        let name = self.plugins[at].name;
        match random.below(10) {
            0 => {
                let amount = random.below(1_000) as i64 - 500;
                self.done.push(format!("{name}: pay {amount}"));
                self.plugins[at].slot.pay(0, amount).expect("paid");
                self.plugins[at].total += amount;
            }
            1 => {
                let spoiled = random.below(2) == 0;
                self.done.push(format!("{name}: spoiled {spoiled}"));
                let name = if spoiled { "no save" } else { "fine" };
                self.plugins[at].slot.name(0, name).expect("named");
                self.plugins[at].spoiled = spoiled;
            }
            2..=4 => {
                let version = 1 + random.below(2) as u32;
                self.done.push(format!("{name}: apply {version}"));
                let path = self.plugins[at].builds[version as usize - 1].path();
                let applied = self.host.apply(path).map(drop);
                self.switched(&[(at, version)], false, &applied);
            }
            5 => {
                let versions = [1 + random.below(2) as u32, 1 + random.below(2) as u32];
                self.done.push(format!("release {versions:?}"));
                let applied = self.host.apply_release(self.release(versions)).map(drop);
                self.switched(&[(0, versions[0]), (1, versions[1])], false, &applied);
            }
            6 => {
                self.done.push(format!("{name}: configure"));
                let config = format!("number = {}", self.done.len());
                let applied = self.host.configure(name, &config).map(drop);
                self.switched(&[(at, self.plugins[at].version)], true, &applied);
            }
            7 => {
                self.done.push(format!("{name}: cancel"));
                let cancelled = self.host.cancel(name);
                match self.plugins[at].trial.is_some() {
                    true => self.returned(at, &cancelled),
                    false => refused(&cancelled, Code::NothingToCancel),
                }
            }
            _ => {
                self.done.push(format!("{name}: rollback"));
                let back = self.host.rollback(name).map(drop);
                let plugin = &self.plugins[at];
                match (plugin.trial.is_some(), plugin.last_good) {
                    (true, _) => self.returned(at, &back),
                    (false, None) => refused(&back, Code::NothingToRollBack),
                    (false, Some(_)) if plugin.spoiled => refused(&back, Code::HandoverFailed),
                    (false, Some(version)) => {
                        worked(&back);
                        let plugin = &mut self.plugins[at];
                        (plugin.version, plugin.last_good) = (version, None);
                    }
                }
            }
        }
        self.check();
    }

    fn release(&self, versions: [u32; 2]) -> std::path::PathBuf {
        let mut text = String::new();
        for (plugin, version) in self.plugins.iter().zip(versions) {
            let file = plugin.builds[version as usize - 1].path();
            let name = plugin.name;
            text += "[[plugin]]\n";
            text += &format!("name = {name:?}\nversion = \"{version}.0.0\"\nfile = {file:?}\n");
        }
        let path = self.home.path().join("release.toml");
        fs::write(&path, text).expect("a release file");
        path
    }

    /// What was asked for together is switched together, or not at all.
    fn switched(&mut self, to: &[(usize, u32)], anew: bool, applied: &Result<(), Refusal>) {
        let changes = |(at, version): &&(usize, u32)| anew || self.plugins[*at].version != *version;
        let to: Vec<_> = to.iter().filter(changes).copied().collect();
        if to.iter().any(|(at, _)| self.plugins[*at].spoiled) {
            return refused(applied, Code::HandoverFailed);
        }
        worked(applied);
        self.units += 1;
        let (unit, on_probation) = (self.units, self.on_probation);
        for (at, version) in to {
            let plugin = &mut self.plugins[at];
            let before = Tried { unit, version: plugin.version, total: plugin.total };
            plugin.last_good = (!on_probation).then_some(before.version);
            plugin.trial = match plugin.trial.take() {
                // What it supersedes was never good.
                Some(tried) => Some(Tried { unit, ..tried }),
                None => on_probation.then_some(before),
            };
            plugin.version = version;
        }
    }

    /// It goes back from its trial, with all that came with it.
    fn returned(&mut self, at: usize, back: &Result<(), Refusal>) {
        worked(back);
        let unit = self.plugins[at].trial.as_ref().expect("it is on trial").unit;
        let with = |plugin: &&mut Modelled| plugin.trial.as_ref().is_some_and(|it| it.unit == unit);
        let members: Vec<_> = self.plugins.iter_mut().filter(with).collect();
        let moves = members.iter().all(|plugin| !plugin.spoiled);
        for plugin in members {
            let Some(Tried { version, total, .. }) = plugin.trial.take() else { continue };
            plugin.version = version;
            if !moves {
                (plugin.total, plugin.spoiled) = (total, false);
                self.lost += 1;
            }
        }
    }

    fn check(&self) {
        let status = self.host.status();
        for plugin in &self.plugins {
            let Modelled { name, slot, version, total, trial, .. } = plugin;
            assert_eq!((slot.version(), slot.sum()), (Ok(*version), Ok(*total)), "of {name}");
            let standby = status.generations.iter().filter(|record| {
                record.plugin == *name && record.residency == midflight::Residency::Standby
            });
            assert_eq!(standby.count(), usize::from(trial.is_some()), "of {name}: {trial:?}");
        }
        assert_eq!(self.log.count("state_lost"), self.lost, "states that were lost");
    }
}

#[track_caller]
fn worked(result: &Result<(), Refusal>) {
    result.as_ref().unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[track_caller]
fn refused(result: &Result<(), Refusal>, code: Code) {
    assert_eq!(result.as_ref().expect_err("refused").code(), code, "{result:?}");
}

/// Says which sequence failed.
struct Said<'r>(u64, &'r mut Run);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: {:#?}\n{}", self.0, self.1.done, self.1.log.text());
        }
    }
}

fn run(seed: u64) {
    let mut run = Run::new(!seed.is_multiple_of(3));
    let mut random = Random::new(seed);
    {
        let said = Said(seed, &mut run);
        for _ in 0..OPERATIONS {
            said.1.step(&mut random);
        }
    }
    let status = run.host.shutdown(WITHIN);
    for record in &status.generations {
        assert_eq!(record.residency.to_string(), "unmapped", "seed {seed}: {record:?}");
    }
}

#[test]
fn j00_sequences_of_operations_are_as_the_model_says() {
    (1..=4).for_each(run);
}

#[test]
fn j00_a_sequence_that_nobody_has_seen_is_as_the_model_says() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    run(now.as_nanos() as u64);
}
