//! What a restart of the service brings back: the last that was committed, and nothing that was
//! found bad.

use midflight::{Code, EventKind, Fault, Host, HostBuilder, HostError, Slot};
use midflight_tests::{
    Desk, Fixture, Log, Rig, WITHIN, check_answers, in_child, process, run_child, trade,
    with_children,
};
use probe_contracts::{Desk as DeskContract, Probe, Risk};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::{TempDir, tempdir};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

fn directory() -> TempDir {
    tempdir().expect("a directory")
}

/// A host with a journal.
fn start(journal: &Path) -> Rig {
    Rig::with(|builder| builder.journal(journal))
}

/// The same, where versions stay on probation.
fn on_probation(builder: HostBuilder, journal: &Path) -> HostBuilder {
    builder.journal(journal).probation(LONG)
}

fn die() {
    let kill = rustix::process::Signal::KILL;
    rustix::process::kill_process(rustix::process::getpid(), kill).expect("the end");
}

/// What a child of `test` that dies has written.
#[track_caller]
fn left_by_the_dead(test: &'static str) -> TempDir {
    let journal = directory();
    let died = run_child(test, &journal.path().display().to_string());
    assert_eq!(died.signal(), Some(libc::SIGKILL), "{died:?}");
    journal
}

fn held(rig: &Rig) -> usize {
    rig.host.status().plugins.iter().map(|plugin| plugin.held.len()).sum()
}

#[test]
fn a33_what_was_committed_comes_back_with_its_configuration() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.host.configure("probe", "factor = 3").expect("configured");
    let fee = rig.probe.fee(&trade(7)).expect("a fee");
    rig.end();

    let rig = start(journal.path());
    assert_eq!(rig.probe.version(), Ok(2));
    assert_eq!(rig.probe.fee(&trade(7)), Ok(fee));
    rig.end();
}

#[test]
fn a33_what_was_not_committed_does_not_come_back() {
    let journal = directory();
    let rig = Rig::with(|builder| on_probation(builder, journal.path()));
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    rig.end();

    let rig = start(journal.path());
    check_answers(&rig.probe, 1);
    assert_eq!(held(&rig), 0, "an orderly end says nothing against it");
    rig.apply(Fixture::V2);
    rig.end();
}

#[test]
fn a33_a_whole_set_comes_back_with_one_store() {
    let journal = directory();
    let start = || {
        Rig::with(|builder| {
            builder.journal(journal.path()).group("probe", "desk").group("other", "desk")
        })
    };
    let rig = start();
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    rig.apply(Fixture::V2);
    rig.end();
    let rig = start();
    for generation in [1, 2] {
        let active = rig.log.wait("active", generation).to_string();
        assert!(active.ends_with("active in release 1"), "{active}");
    }
    check_answers(&rig.probe, 2);
    assert_eq!(rig.host.status().plugins.len(), 2);
    rig.end();
}

#[test]
fn a34_what_was_on_probation_when_the_process_died_is_held() {
    let dies = |journal: &str| {
        let rig = Rig::with(|builder| on_probation(builder, Path::new(journal)));
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        die();
    };
    with_children(dies, |test| {
        let journal = left_by_the_dead(test);

        let rig =
            Rig::watching(&[(Fixture::V2, "probe.so")], |builder| builder.journal(journal.path()));
        check_answers(&rig.probe, 1);
        assert_eq!(held(&rig), 1, "and the file in the plugins' directory does not bring it back");
        // An operator may.
        rig.apply(Fixture::V2);
        assert_eq!(held(&rig), 0);
        rig.end();
        let rig = start(journal.path());
        check_answers(&rig.probe, 2);
        rig.end();
    });
}

#[test]
fn a34_a_canary_that_the_process_died_of_is_held() {
    let dies = |journal: &str| {
        let rig = Rig::with(|builder| builder.journal(journal).canary("probe", 0.5, LONG));
        rig.apply(Fixture::V1);
        let host = rig.host.clone();
        std::thread::spawn(move || host.apply(Fixture::V2.path()));
        rig.log.wait("canary", 2);
        die();
    };
    with_children(dies, |test| {
        let journal = left_by_the_dead(test);

        let rig =
            Rig::watching(&[(Fixture::V2, "probe.so")], |builder| builder.journal(journal.path()));
        check_answers(&rig.probe, 1);
        assert_eq!(held(&rig), 1);
        rig.end();
    });
}

/// The commit of the version that a canary runs beside closes the journal's record of both.
#[test]
fn a34_a_canary_beside_a_commit_is_held_when_the_process_dies_after_that() {
    let dies = |journal: &str| {
        let rig = Rig::with(|builder| {
            let builder = builder.canary("probe", 0.5, Duration::from_secs(2));
            builder.journal(journal).probation(Duration::from_secs(1))
        });
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        let host = rig.host.clone();
        std::thread::spawn(move || host.apply(Fixture::V3.path()));
        rig.log.wait("canary", 3);
        rig.log.wait("committed", 2);
        die();
    };
    with_children(dies, |test| {
        let journal = left_by_the_dead(test);

        let rig =
            Rig::watching(&[(Fixture::V3, "probe.so")], |builder| builder.journal(journal.path()));
        check_answers(&rig.probe, 2);
        assert_eq!(held(&rig), 1);
        rig.end();
    });
}

/// What serves is committed while the next version is a canary, whose library must not go with
/// those that are needed no more.
#[test]
fn a33_a_commit_leaves_the_library_of_a_canary() {
    let journal = directory();
    let rig = Rig::with(|builder| {
        let builder = builder.canary("probe", 0.5, Duration::from_secs(3));
        builder.journal(journal.path()).probation(Duration::from_millis(1_500))
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.apply(Fixture::V3);
    rig.log.wait("committed", 3);
    let order: Vec<_> = rig
        .log
        .seen()
        .iter()
        .filter_map(|event| {
            let told = ["canary", "committed"].contains(&event.kind.name());
            told.then(|| (event.kind.name(), event.generation))
        })
        .collect();
    let commits = [("canary", Some(3)), ("committed", Some(2)), ("committed", Some(3))];
    assert_eq!(order[1..], commits, "the second was committed beside the third's canary");
    rig.end();
    let rig = start(journal.path());
    check_answers(&rig.probe, 3);
    rig.end();
}

/// A service is killed in the midst of its updates, and started again.
#[test]
fn a35_killed_at_any_moment() {
    let mut killing = std::process::Command::new(env!("CARGO_BIN_EXE_killing"));
    let killed = killing.args(["--kills", "12", "--json"]).output().expect("it runs");
    let report = String::from_utf8_lossy(&killed.stdout);
    let report: serde_json::Value = serde_json::from_str(&report).expect("a report");
    assert_eq!(
        (&report["kills"], &report["wrong"]),
        (&12.into(), &serde_json::json!([])),
        "{report:#}"
    );
    assert!(killed.status.success());
}

#[test]
fn a36_what_was_rolled_back_is_held_after_a_restart() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.host.rollback("probe").expect("a way back");
    rig.end();
    let rig =
        Rig::watching(&[(Fixture::V2, "probe.so")], |builder| builder.journal(journal.path()));
    check_answers(&rig.probe, 1);
    assert_eq!(held(&rig), 1);
    rig.end();
}

#[test]
fn a_file_that_the_journal_does_not_know_is_a_candidate() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V2);
    rig.end();
    let files = [(Fixture::V1, "old.so"), (Fixture::V3, "new.so")];
    let rig = Rig::watching(&files, |builder| builder.journal(journal.path()));
    check_answers(&rig.probe, 3);
    rig.end();
}

#[test]
fn what_can_not_be_remembered_is_not_switched_in() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    fs::remove_dir_all(journal.path()).expect("no directory");
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!(refusal.code(), Code::JournalUnavailable, "{refusal}");
    assert!(refusal.reason().contains("No such file"), "{refusal}");
    rig.end();
}

#[test]
fn a31_a_host_that_starts_does_not_wait_for_a_canary() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    rig.end();
    let began = std::time::Instant::now();
    let rig = Rig::watching(&[(Fixture::V2, "new.so")], |builder| {
        builder.journal(journal.path()).canary("probe", 0.5, LONG)
    });
    assert!(began.elapsed() < LONG);
    rig.log.wait_for("a canary", |event| event.kind.name() == "canary");
    let versions: Vec<_> = (0..200).map(|_| rig.probe.version().expect("a version")).collect();
    assert!(versions.contains(&1) && versions.contains(&2), "{versions:?}");
    rig.end();
}

/// At once, whatever other processes are being started meanwhile.
#[test]
fn a_host_that_has_ended_gives_its_journal_back() {
    let journal = directory();
    let others = std::thread::spawn(|| {
        for _ in 0..200 {
            std::process::Command::new("true").status().expect("it runs");
        }
    });
    // Nothing is done between the end of one and the start of the next.
    let mut ended = Vec::new();
    while !others.is_finished() {
        let host = midflight::Host::builder().run_directory(journal.path().join("run"));
        let host = host.journal(journal.path().join("journal")).start().expect("a host");
        host.shutdown(LONG);
        ended.push(host);
    }
    others.join().expect("no panic");
}

#[test]
fn a_journal_belongs_to_one_host() {
    let journal = directory();
    let rig = start(journal.path());
    let other =
        midflight::Host::builder().run_directory(rig.path("other")).journal(journal.path()).start();
    let Err(HostError::Journal(reason)) = other else { panic!("{other:?}") };
    assert!(reason.to_string().contains("belongs to another host"), "{reason}");
    rig.end();
}

#[test]
fn a_library_that_is_not_what_was_committed_is_refused() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    rig.end();
    let store = journal.path().join("store");
    let kept =
        fs::read_dir(&store).expect("a store").next().expect("a library").expect("an entry").path();
    fs::copy(Fixture::V2.path(), &kept).expect("another");
    let rig = start(journal.path());
    let refused = rig.log.wait_for("a refusal", |event| event.kind.name() == "refused").to_string();
    assert!(refused.contains("not what was committed"), "{refused}");
    rig.end();
    // The file that it came from is better than nothing.
    let rig =
        Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.journal(journal.path()));
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a36_the_way_back_is_there_after_a_restart() {
    let journal = directory();
    let rig = start(journal.path());
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.end();
    let rig = start(journal.path());
    assert_eq!(rig.host.status().plugins[0].rollback_to.as_deref(), Some("1.0.0"));
    let back = rig.host.rollback("probe").expect("a way back");
    assert_eq!(back.version, "1.0.0");
    assert_eq!(held(&rig), 1);
    let refusal = rig.refused(|host| host.rollback("probe"));
    assert_eq!(refusal.code(), Code::NothingToRollBack);
    rig.end();
    let rig = start(journal.path());
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a33_a_commit_leaves_the_libraries_of_what_is_still_on_probation() {
    let journal = directory();
    let rig =
        Rig::with(|builder| builder.journal(journal.path()).probation(Duration::from_secs(2)));
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.apply(Fixture::Other); // a group of its own, committed at once
    assert_eq!(rig.log.count("committed"), 0);
    rig.log.wait("committed", 2);
    rig.end();
    let rig = start(journal.path());
    check_answers(&rig.probe, 2);
    rig.end();
}

// The plugins' directory and the journal.

/// A service as one is written: its slots are asked for after the start, and an error of one ends
/// it.
struct Service {
    host: Host,
    log: Log,
    probe: Slot<dyn Probe>,
}

impl Service {
    fn start(home: &Path, configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Service {
        let builder = Host::builder().provide::<dyn DeskContract, _>(Arc::new(Desk::default()));
        let builder = builder.run_directory(home.join("run")).plugins(plugins(home));
        let host = configure(builder).start().expect("a host");
        let log = Log::of(&host);
        let probe = host.slot::<dyn Probe>("probe").expect("a slot, whatever lies there");
        Service { host, log, probe }
    }

    fn end(self) {
        self.host.shutdown(WITHIN);
    }

    fn held(&self) -> usize {
        self.host.status().plugins.iter().map(|plugin| plugin.held.len()).sum()
    }

    #[track_caller]
    fn check_serves(&self, version: u32) {
        assert_eq!(self.probe.version(), Ok(version), "{}", self.log.text());
    }
}

fn plugins(home: &Path) -> PathBuf {
    let plugins = home.join("plugins");
    fs::create_dir_all(&plugins).expect("a directory");
    plugins
}

/// `fixture` in the plugins' directory, written `age` ago.
fn lay(home: &Path, fixture: Fixture, name: &str, age: Duration) {
    let path = plugins(home).join(name);
    fs::copy(fixture.path(), &path).expect("a copy");
    let file = fs::File::options().write(true).open(path).expect("the copy");
    file.set_modified(SystemTime::now() - age).expect("an age");
}

const HOUR: Duration = Duration::from_secs(3600);

fn with_journal(home: &Path) -> impl Fn(HostBuilder) -> HostBuilder {
    let journal = home.join("journal");
    move |builder| builder.journal(&journal)
}

fn libraries_in_store(home: &Path) -> Vec<PathBuf> {
    let store = fs::read_dir(home.join("journal/store")).expect("a store");
    store.map(|entry| entry.expect("an entry").path()).collect()
}

/// The library of `fixture` in the store.
fn stored(home: &Path, fixture: Fixture) -> PathBuf {
    let all = libraries_in_store(home).into_iter();
    let mut found = all.filter(|path| fs::read(path).expect("a library") == fixture.bytes());
    found.next().expect("it is in the store")
}

#[test]
fn w01_an_older_file_beside_what_was_committed_is_left_where_it_lies() {
    let home = directory();
    lay(home.path(), Fixture::V1, "old.so", HOUR);
    lay(home.path(), Fixture::V2, "new.so", 2 * HOUR);
    for _ in 0..3 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(2);
        assert_eq!(service.log.count("active"), 1, "{}", service.log.text());
        service.end();
    }
    // The journal comes later.
    let home = directory();
    lay(home.path(), Fixture::V2, "new.so", HOUR);
    lay(home.path(), Fixture::V1, "old.so", HOUR);
    let service = Service::start(home.path(), |builder| builder);
    service.check_serves(2);
    service.end();
    for _ in 0..2 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(2);
        service.end();
    }
}

#[test]
fn w01_an_unknown_file_that_beats_what_was_committed_is_an_update() {
    let home = directory();
    lay(home.path(), Fixture::V1, "probe.so", HOUR);
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(1);
    service.end();
    lay(home.path(), Fixture::V2, "probe.so", 2 * HOUR);
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(2);
    assert_eq!(service.host.status().plugins[0].rollback_to.as_deref(), Some("1.0.0"));
    // Of equal versions the later one: another build of 2.0.0.
    let bytes = Fixture::V2.unstamped();
    service.end();
    let path = plugins(home.path()).join("again.so");
    fs::write(&path, bytes).expect("another build");
    let age = |age: Duration| {
        // Closed before the start: a file that somebody still writes to is none yet.
        let file = fs::File::options().write(true).open(&path).expect("the file");
        file.set_modified(SystemTime::now() - age).expect("an age");
        drop(file);
        let service = Service::start(home.path(), with_journal(home.path()));
        let active = service.log.count("active");
        service.check_serves(2);
        service.end();
        active
    };
    assert_eq!(age(3 * HOUR), 1, "an older one is left");
    assert_eq!(age(HOUR), 2, "a later one is an update");
    assert_eq!(age(Duration::ZERO), 1, "it is committed, and known");
}

#[test]
fn w01_what_an_operator_went_back_from_does_not_come_back() {
    let home = directory();
    lay(home.path(), Fixture::V3, "probe.so", HOUR);
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(3);
    service.host.apply(Fixture::V2.path()).expect("an older one, on purpose");
    service.end();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(2);
    service.end();
}

#[test]
fn w02_a_look_at_the_whole_directory_elects_as_a_start_does() {
    let home = directory();
    lay(home.path(), Fixture::V1, "z-old.so", HOUR);
    lay(home.path(), Fixture::V2, "a-new.so", 2 * HOUR);
    let service = Service::start(home.path(), |builder| builder);
    service.check_serves(2);
    // It is there when all that was seen before has been looked at.
    let mut round = 0;
    let mut settle = |service: &Service| {
        round += 1;
        let name = format!("mark-{round}.so");
        fs::write(plugins(home.path()).join(&name), b"no library").expect("a mark");
        service.log.wait_for("the mark", |event| match &event.kind {
            EventKind::Refused(refusal) => refusal.file().is_some_and(|file| file.ends_with(&name)),
            _ => false,
        });
    };
    let directory = plugins(home.path());
    std::os::unix::fs::symlink("z-old.so", directory.join("latest")).expect("a link");
    settle(&service);
    service.check_serves(2);
    fs::rename(&directory, home.path().join("p")).expect("moved away");
    fs::rename(home.path().join("p"), &directory).expect("and back");
    settle(&service);
    service.check_serves(2);
    // What is better is taken up by a look as well.
    let other = home.path().join("p");
    fs::create_dir(&other).expect("another directory");
    fs::copy(Fixture::V3.path(), other.join("a.so")).expect("a copy");
    fs::copy(Fixture::V1.path(), other.join("b.so")).expect("a copy");
    fs::rename(&directory, home.path().join("old")).expect("moved away");
    fs::rename(&other, &directory).expect("in its place");
    service
        .log
        .wait_for("version 3", |event| event.kind.name() == "active" && event.version == "3.0.0");
    settle(&service);
    service.check_serves(3);
    service.end();
}

#[test]
fn j02_a_plugin_that_changes_its_group_comes_back_in_its_latest_version() {
    let home = directory();
    let in_group = |group: Option<&str>| {
        let builder = with_journal(home.path());
        let group = group.map(str::to_owned);
        Service::start(home.path(), move |it| match &group {
            Some(group) => builder(it).group("probe", group),
            None => builder(it),
        })
    };
    let service = in_group(None);
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.end();
    let service = in_group(Some("a-group"));
    service.check_serves(1);
    service.host.apply(Fixture::V2.path()).expect("the next");
    service.end();
    for group in [Some("a-group"), None, Some("z-group")] {
        let service = in_group(group);
        service.check_serves(2);
        assert_eq!(service.host.status().plugins[0].group, group.unwrap_or("probe"));
        assert_eq!(service.host.status().plugins[0].rollback_to.as_deref(), Some("1.0.0"));
        service.end();
    }
}

#[test]
fn j03_a_version_that_names_another_group_runs_after_a_restart() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    let refusal = service.host.apply(Fixture::Grouped.path()).expect_err("another group");
    assert_eq!(refusal.code(), Code::GroupChanged);
    assert!(refusal.advice().contains("start the host again"), "{refusal}");
    service.check_serves(1);
    service.end();
    // With the file in the plugins' directory, as the advice says.
    lay(home.path(), Fixture::Grouped, "probe.so", HOUR);
    for _ in 0..2 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(2);
        assert_eq!(service.host.status().plugins[0].group, "billing");
        service.end();
    }
}

#[test]
fn j03_a_group_of_the_builders_is_a_way_out_as_well() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.end();
    let service =
        Service::start(home.path(), |it| with_journal(home.path())(it).group("probe", "billing"));
    service.host.apply(Fixture::Grouped.path()).expect("it has the group that it names");
    service.end();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(2);
    service.end();
}

/// What lies in the store is not what was put there.
fn spoil(path: &Path) {
    let mut bytes = fs::read(path).expect("a library");
    let last = bytes.len() / 2;
    bytes[last] ^= 1;
    fs::write(path, bytes).expect("another content");
}

#[test]
fn j07_where_what_was_committed_is_damaged_the_one_before_serves_and_an_event_says_so() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.host.apply(Fixture::V2.path()).expect("the next");
    service.end();
    let two = stored(home.path(), Fixture::V2);
    spoil(&two);
    for _ in 0..2 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(1);
        let fell = service.log.wait_for("a fall", |event| event.kind.name() == "fell_back");
        assert!(fell.to_string().contains("2.0.0 was committed last"), "{fell}");
        assert_eq!(fell.version, "1.0.0");
        service.end();
    }
    // What was good stays the way back of what comes next.
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V3.path()).expect("the next");
    assert_eq!(service.host.status().plugins[0].rollback_to.as_deref(), Some("1.0.0"));
    service.end();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(3);
    assert_eq!(service.host.rollback("probe").expect("a way back").version, "1.0.0");
    service.end();
    // With the file still in the plugins' directory nothing is lost.
    let one = stored(home.path(), Fixture::V1);
    fs::remove_file(&one).expect("it was there");
    lay(home.path(), Fixture::V1, "probe.so", HOUR);
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(1);
    assert_eq!(service.log.count("fell_back"), 0, "{}", service.log.text());
    service.end();
    assert_eq!(fs::read(&one).expect("it is there again"), Fixture::V1.bytes());
}

#[test]
fn j07_one_that_is_missing_keeps_no_other_away_and_is_named() {
    let home = directory();
    let start = || {
        Service::start(home.path(), |builder| {
            with_journal(home.path())(builder).group("probe", "desk").group("other", "desk")
        })
    };
    let service = start();
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.host.apply(Fixture::Other.path()).expect("another plugin");
    service.end();
    fs::remove_file(stored(home.path(), Fixture::Other)).expect("it was there");
    let service = start();
    service.check_serves(1);
    let fell = service.log.wait_for("a fall", |event| event.kind.name() == "fell_back");
    assert!(fell.plugin == "other" && fell.to_string().contains("not loaded"), "{fell}");
    let refusal = service.host.rollback("other").expect_err("nothing of it serves");
    assert!(refusal.reason().contains("could not be brought back"), "{refusal}");
    // It is not forgotten by what is committed beside it.
    service.host.apply(Fixture::V2.path()).expect("the next");
    let other = service.host.slot::<dyn Probe>("other").expect("a slot");
    assert_eq!(other.version(), Err(Fault::NotLoaded { plugin: "other".into() }));
    service.host.apply(Fixture::Other.path()).expect("another plugin");
    service.end();
    let service = start();
    service.check_serves(2);
    assert_eq!(service.host.status().plugins.len(), 2);
    service.end();
}

#[test]
fn j07_a_configuration_that_does_not_start_any_more_falls_back_to_the_one_before() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.host.configure("probe", "factor = 3").expect("configured");
    service.end();
    // As if the plugin did not take it any more: what the journal has is no toml for it.
    edit_journal(home.path(), "factor = 3", "factor = x");
    let service = Service::start(home.path(), with_journal(home.path()));
    service.check_serves(1);
    let fell = service.log.wait_for("a fall", |event| event.kind.name() == "fell_back");
    assert!(fell.to_string().contains("with the one before"), "{fell}");
    service.end();
}

/// Replaces a text in all lines of the journal, with their checksums made anew.
fn edit_journal(home: &Path, from: &str, to: &str) {
    let path = home.join("journal/journal");
    let text = fs::read_to_string(&path).expect("a journal");
    assert!(text.contains(from), "{text}");
    let sealed = text.lines().map(|line| {
        let (_, body) = line.split_once(' ').expect("a checksum");
        let body = body.replace(from, to);
        format!("{} {body}\n", &blake3::hash(body.as_bytes()).to_hex()[..16])
    });
    fs::write(&path, sealed.collect::<String>()).expect("written");
}

#[test]
fn a_library_of_another_name_than_the_journals_is_refused() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.end();
    edit_journal(home.path(), r#""plugin":"probe""#, r#""plugin":"risky""#);
    let service = Service::start(home.path(), with_journal(home.path()));
    let refused = service.log.wait_for("a refusal", |event| event.kind.name() == "refused");
    assert!(refused.to_string().contains("the journal says risky 1.0.0"), "{refused}");
    assert_eq!(service.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
    service.end();
}

#[test]
fn w08_the_configuration_that_was_changed_last_counts() {
    let home = directory();
    let start = |config: Option<&str>| {
        let config = config.map(str::to_owned);
        let journal = with_journal(home.path());
        Service::start(home.path(), move |builder| match &config {
            Some(config) => journal(builder).config("probe", config),
            None => journal(builder),
        })
    };
    let fee = |service: &Service| service.probe.fee(&trade(7)).expect("a fee");
    let service = start(Some("factor = 1"));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    let one = fee(&service);
    service.end();
    // The operator changes the builder's.
    for _ in 0..2 {
        let service = start(Some("factor = 3"));
        assert_eq!(fee(&service), 3 * one);
        assert_eq!(service.log.count("config_kept"), 0);
        service.end();
    }
    // Or the one that runs: then the builder's, which is as before, is not used, and that is told.
    let service = start(Some("factor = 3"));
    service.host.configure("probe", "factor = 5").expect("configured");
    service.end();
    let service = start(Some("factor = 3"));
    assert_eq!(fee(&service), 5 * one);
    let kept = service.log.wait_for("it is told", |event| event.kind.name() == "config_kept");
    assert!(kept.to_string().contains("set after the builder's"), "{kept}");
    service.end();
    // One that does not start leaves what is committed, and is tried again.
    for _ in 0..2 {
        let service = start(Some("cold = true"));
        assert_eq!(fee(&service), 5 * one);
        let kept = service.log.wait_for("it is told", |event| event.kind.name() == "config_kept");
        assert!(kept.to_string().contains("was refused"), "{kept}");
        service.end();
    }
    let service = start(Some("factor = 7"));
    assert_eq!(fee(&service), 7 * one);
    service.end();
    // Without a word of the builder's, what is committed stays what was said last.
    let service = start(None);
    assert_eq!(fee(&service), one, "the builder's was taken away, and so is what it said");
    service.end();
}

// The boot loop.

/// Ten starts of a service with the README's own pattern, in which `file` lies in the plugins'
/// directory.
fn ten_starts(home: &Path, has_journal: bool, knows: bool, mut each: impl FnMut(usize, &Service)) {
    for start in 0..10 {
        let service = Service::start(home, |builder| {
            let builder = if has_journal { with_journal(home)(builder) } else { builder };
            if knows { builder.contract::<dyn Probe>() } else { builder }
        });
        each(start, &service);
        service.end();
    }
}

/// A refusal of 2.0.0 in the events of this start.
fn is_named(service: &Service) -> bool {
    let refused = |kind: &EventKind| matches!(kind, EventKind::Refused(refusal) if refusal.code() == Code::LayoutMismatch && refusal.version() == Some("2.0.0"));
    service.log.seen().iter().any(|event| refused(&event.kind))
}

#[test]
fn u01_ten_starts_with_a_file_of_another_contract() {
    let mut told = BTreeMap::new();
    for has_journal in [false, true] {
        for knows in [false, true] {
            for bad in [false, true] {
                let home = directory();
                // What was committed, and where there is no journal, what lies there.
                if has_journal {
                    let service = Service::start(home.path(), with_journal(home.path()));
                    service.host.apply(Fixture::V1.path()).expect("a first version");
                    service.end();
                }
                let file = if bad { Fixture::ChangedField } else { Fixture::V2 };
                lay(home.path(), file, "probe.so", HOUR);
                let mut named = Vec::new();
                ten_starts(home.path(), has_journal, knows, |_, service| {
                    let version = service.probe.version();
                    let expected = match (bad, has_journal) {
                        (false, _) => Ok(2),
                        (true, true) => Ok(1),
                        (true, false) => Err(Fault::NotLoaded { plugin: "probe".into() }),
                    };
                    assert_eq!(version, expected, "{}", service.log.text());
                    named.push(is_named(service));
                    if bad && !knows && !has_journal {
                        assert_eq!(service.held(), 1);
                    }
                });
                let all = named.iter().all(|named| *named == bad);
                assert!(all, "{has_journal} {knows} {bad}: {named:?}");
                told.insert((has_journal, knows, bad), named);
            }
        }
    }
    assert_eq!(told.len(), 8);
}

/// Has a version committed by a program that asks it for no contract.
fn commit_unasked(home: &Path, fixture: Fixture) {
    let host = Host::builder()
        .provide::<dyn DeskContract, _>(Arc::new(Desk::default()))
        .run_directory(home.join("run"))
        .journal(home.join("journal"))
        .start()
        .expect("a host");
    host.apply(fixture.path()).expect("nobody knows its contracts");
    host.shutdown(WITHIN);
}

/// Also where the journal knew of no contract yet, as one of a host before format 2.
#[test]
fn u01_a_version_that_the_first_slot_can_not_use_goes_back_and_is_held() {
    let home = directory();
    commit_unasked(home.path(), Fixture::V1);
    lay(home.path(), Fixture::ChangedField, "probe.so", HOUR);
    for start in 0..3 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(1);
        assert_eq!(is_named(&service), start == 0, "{}", service.log.text());
        assert_eq!(service.held(), 1);
        service.end();
    }
}

/// It was committed by a program that never asked, and nothing is there to go back to.
#[test]
fn u01_a_committed_version_that_no_slot_can_use_is_not_brought_back_again() {
    let home = directory();
    commit_unasked(home.path(), Fixture::ChangedField);
    for _ in 0..2 {
        let service = Service::start(home.path(), with_journal(home.path()));
        assert_eq!(service.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
        service.host.slot::<dyn Risk>("probe").expect("a slot");
        service.end();
    }
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V2.path()).expect("one that fits");
    service.check_serves(2);
    service.end();
}

/// A version that answers other slots serves on: one more that it can't answer is an error.
#[test]
fn u01_a_version_that_is_used_is_not_replaced_by_a_slot_that_it_can_not_answer() {
    let home = directory();
    lay(home.path(), Fixture::MissingContract, "probe.so", HOUR);
    let service = Service::start(home.path(), |builder| builder);
    service.check_serves(2);
    let refusal = service.host.slot::<dyn Risk>("probe").expect_err("it has none");
    assert_eq!(refusal.code(), Code::ContractMissing, "{refusal}");
    service.check_serves(2);
    assert_eq!(service.held(), 0);
    service.end();
}

/// What a slot has got in an earlier process is asked for again.
#[test]
fn u01_a_file_without_a_contract_that_was_used_is_not_taken_up_at_a_start() {
    let home = directory();
    let service = Service::start(home.path(), with_journal(home.path()));
    service.host.apply(Fixture::V1.path()).expect("a first version");
    service.host.slot::<dyn Risk>("probe").expect("a slot");
    service.end();
    lay(home.path(), Fixture::MissingContract, "probe.so", HOUR);
    for _ in 0..2 {
        let service = Service::start(home.path(), with_journal(home.path()));
        service.check_serves(1);
        service.host.slot::<dyn Risk>("probe").expect("a slot");
        service.end();
    }
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[test]
fn w09_a_start_has_one_library_in_memory_at_a_time() {
    const APPENDED: u64 = 48 << 20;
    in_child(|| {
        let home = directory();
        // Of one plugin and of several: each was a candidate, and all were kept until the end.
        let files = [Fixture::V1, Fixture::V2, Fixture::V3, Fixture::Other, Fixture::Alone];
        for (number, fixture) in files.into_iter().enumerate() {
            let path = plugins(home.path()).join(format!("{number}.so"));
            let bytes = fixture.unstamped();
            fs::write(&path, &bytes).expect("a copy");
            let file = fs::File::options().write(true).open(&path).expect("the copy");
            file.set_len(bytes.len() as u64 + APPENDED).expect("a longer one");
        }
        let before = peak();
        for _ in ["the first start", "one with a journal"] {
            let service = Service::start(home.path(), with_journal(home.path()));
            service.check_serves(3);
            let taken = peak() - before;
            // AddressSanitizer keeps for a while what was freed.
            if !process::has_address_sanitizer() {
                assert!(taken < 3 * APPENDED, "{taken}");
            }
            service.end();
        }
    });
}
