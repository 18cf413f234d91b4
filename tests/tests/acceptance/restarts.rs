//! What a restart of the service brings back: the last that was committed, and nothing that was
//! found bad.

use midflight::{Code, HostBuilder, HostError};
use midflight_tests::{Fixture, Rig, check_answers, run_child, trade, with_children};
use std::fs;
use std::path::Path;
use std::time::Duration;
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
