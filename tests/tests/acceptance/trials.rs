//! From the store to the commit, or back: hooks, probation, health, and who ends it.

use midflight::{Code, Fault, Residency};
use midflight_tests::{Fixture, Rig, WITHIN, Way, both_ways, check_answers, trade};
use probe_contracts::{Begin, Panic, Probe, Risk};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

both_ways![a20_a_first_version_has_hooks_too];

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// By then the control thread has looked many times.
const SETTLED: Duration = Duration::from_millis(100);
/// So short that a test sees many.
const SHORT: Duration = Duration::from_millis(5);

/// `probe` 1.0.0 serves, and what comes after it stays on probation.
fn on_probation() -> Rig {
    let rig = Rig::with(|builder| builder.probation(LONG).check_interval(SHORT));
    rig.apply(Fixture::V1);
    rig
}

fn panic_once(rig: &Rig) {
    rig.probe.panic(0, Panic::Text).expect_err("a panic");
}

fn a20_a_first_version_has_hooks_too(way: Way) {
    let rig = Rig::serving_by(way);
    assert_eq!(rig.desk.hooks(), ["probe 1 before_switch", "probe 1 after_switch"]);
    rig.end();
}

#[test]
fn a20_hooks_run_up_and_down_in_their_order() {
    let rig = on_probation();
    assert_eq!(rig.host.apply(Fixture::V2.path()).expect("applied").previous, Some(1));
    check_answers(&rig.probe, 2);
    assert_eq!(rig.residency(1), Residency::Standby);
    let back = rig.host.rollback("probe").expect("a way back");
    assert_eq!(
        (back.generation, back.previous),
        (1, Some(2)),
        "the very generation, with one store"
    );
    check_answers(&rig.probe, 1);
    rig.log.wait("unmapped", 2);
    assert_eq!(
        rig.desk.hooks(),
        [
            "probe 1 before_switch",
            "probe 1 after_switch",
            "probe 2 before_switch",
            "probe 2 after_switch",
            "probe 2 before_return",
            "probe 2 after_return",
        ]
    );
    assert_eq!(rig.desk.told(), [2], "the first was never told that it retires");
    rig.end();
}

#[test]
fn a20_the_life_of_a_trial_reads_as_the_golden_log() {
    let rig = on_probation();
    rig.log.clear();
    rig.apply(Fixture::V2);
    rig.host.rollback("probe").expect("a way back");
    rig.log.wait("unmapped", 2);
    assert_eq!(
        rig.log.text(),
        "\
probe 2.0.0 (generation 2): staged
probe 2.0.0 (generation 2): loaded
probe 2.0.0 (generation 2): prepared
probe 2.0.0 (generation 2): active in release 2, after generation 1
probe 2.0.0 (generation 2): probation
probe 2.0.0 (generation 2): switched out again: cancelled: an operator rolled it back
probe 1.0.0 (generation 1): active in release 3, after generation 2
probe 2.0.0 (generation 2): retiring
probe 2.0.0 (generation 2): drained
probe 2.0.0 (generation 2): stopped
probe 2.0.0 (generation 2): unmapped
"
    );
    rig.end();
}

#[test]
fn a21_a_version_that_does_not_want_to_be_switched_in() {
    for begin in [Begin::Fail, Begin::Panic(Panic::Text)] {
        let rig = Rig::serving(Fixture::V1);
        rig.desk.when_hooked(2, "before_switch", begin);
        let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
        assert_eq!(refusal.code(), Code::SwitchRefused, "{refusal}");
        assert_eq!(
            rig.desk.hooks().last().map(String::as_str),
            Some("probe 2 before_switch"),
            "no other ran"
        );
        // A refusal is told when nothing of the candidate is left.
        assert_eq!(rig.mappings(2), [""; 0]);
        rig.apply(Fixture::V3);
        rig.end();
    }
}

#[test]
fn a22_two_plugins_go_back_together_when_one_fails() {
    let rig = Rig::with(|builder| {
        builder.publish(midflight::Publish::Manual).group("probe", "desk").group("other", "desk")
    });
    let apply = |fixture: Fixture, generation| {
        let host = rig.host.clone();
        let applied = thread::spawn(move || host.apply(fixture.path()));
        rig.log.wait("prepared", generation);
        applied
    };
    let first = [apply(Fixture::V1, 1), apply(Fixture::Other, 2)];
    assert_eq!(rig.host.switch_point().expect("a switch point"), 2);
    for applied in first {
        applied.join().expect("no panic").expect("applied");
    }

    // The same version of the other once more, with another configuration; its after-hook fails
    // this time.
    let host = rig.host.clone();
    let second = apply(Fixture::V2, 3);
    let other = thread::spawn(move || host.configure("other", "factor = 5"));
    rig.log.wait("prepared", 4);
    rig.desk.when_hooked(1, "after_switch", Begin::Fail);
    let before = rig.host.group("desk").release_number();
    assert_eq!(rig.host.switch_point().expect("a switch point"), 2);
    for refused in [second, other] {
        let refusal = refused.join().expect("no panic").expect_err("it went back");
        assert_eq!(refusal.code(), Code::AfterSwitchFailed, "{refusal}");
        assert_eq!(refusal.plugin(), Some("other"));
    }
    rig.log.wait("unmapped", 3);
    rig.log.wait("unmapped", 4);
    assert_eq!(rig.host.group("desk").release_number(), before + 2, "one store there, one back");
    check_answers(&rig.probe, 1);
    let hooks = rig.desk.hooks();
    assert_eq!(
        hooks[hooks.len() - 5..],
        [
            "probe 2 after_switch",
            "other 1 after_switch",
            "probe 2 before_return",
            "other 1 after_return",
            "probe 2 after_return",
        ]
    );
    rig.end();
}

#[test]
fn a23_an_after_hook_that_fails_brings_the_old_version_back() {
    for begin in [Begin::Fail, Begin::Panic(Panic::Text)] {
        let rig = Rig::serving(Fixture::V1);
        rig.desk.when_hooked(2, "after_switch", begin);
        let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
        assert_eq!(refusal.code(), Code::AfterSwitchFailed, "{refusal}");
        let returned = rig.log.wait("returned", 2).to_string();
        assert!(returned.contains("after_switch_failed"), "{returned}");
        rig.log.wait("unmapped", 2);
        assert_eq!(rig.residency(1), Residency::Active, "the very generation");
        assert_eq!(
            rig.desk.hooks()[2..],
            ["probe 2 before_switch", "probe 2 after_switch", "probe 2 after_return"],
            "what failed is not undone, what it rests on is"
        );
        rig.end();
    }
}

#[test]
fn a23_an_after_hook_that_hangs_brings_the_old_version_back() {
    let rig = Rig::with(|builder| builder.hook_deadline(Duration::from_secs(1)));
    rig.apply(Fixture::V1);
    rig.desk.hang_hook(2, "after_switch");
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!(refusal.code(), Code::AfterSwitchFailed, "{refusal}");
    assert!(refusal.reason().contains("within 1s"), "{refusal}");
    rig.desk.unhang_hook();
    rig.log.wait("unmapped", 2);
    rig.apply(Fixture::V3);
    rig.end();
}

#[test]
fn a23_a_version_that_is_not_well_goes_by_itself() {
    for begin in [Begin::Fail, Begin::Panic(Panic::Text)] {
        let rig = on_probation();
        rig.apply(Fixture::V2);
        rig.desk.until_asked_again(3);
        check_answers(&rig.probe, 2);
        rig.desk.when_hooked(2, "health", begin);
        let returned = rig.log.wait("returned", 2).to_string();
        assert!(returned.contains("unhealthy"), "{returned}");
        rig.log.wait("unmapped", 2);
        check_answers(&rig.probe, 1);
        assert_eq!(
            rig.host.status().plugins[0].held.len(),
            1,
            "the watcher does not bring it back"
        );
        rig.end();
    }
}

#[test]
fn a23_a_check_of_the_hosts_that_fails_panics_or_hangs() {
    for how in ["fails", "panics", "hangs"] {
        let (ill, hung) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
        let (is_ill, hangs) = (Arc::clone(&ill), Arc::clone(&hung));
        let check = move |group: &str| {
            assert_eq!(group, "probe");
            if !is_ill.load(SeqCst) {
                return Ok(());
            }
            assert!(how != "panics", "a check panics");
            while how == "hangs" && hangs.load(SeqCst) {
                thread::sleep(SHORT);
            }
            Err("the queue is too long".to_owned())
        };
        let rig = Rig::with(|builder| {
            let builder = builder.probation(LONG).check_interval(SHORT);
            builder.hook_deadline(Duration::from_secs(1)).health_check(check)
        });
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        rig.desk.until_asked_again(3);
        ill.store(true, SeqCst);
        let returned = rig.log.wait("returned", 2).to_string();
        let expected = match how {
            "fails" => "unhealthy: the queue is too long",
            "panics" => "unhealthy: a health check of the host panicked",
            _ => "unhealthy: it has not returned within 1s",
        };
        assert!(returned.contains(expected), "{how}: {returned}");
        check_answers(&rig.probe, 1);
        hung.store(false, SeqCst);
        rig.log.wait("unmapped", 2);
        rig.end();
    }
}

#[test]
fn a24_cancelled_before_the_publish() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.hang(2);
    let host = rig.host.clone();
    let applied = thread::spawn(move || host.apply(Fixture::V2.path()));
    rig.desk.until_hung(2);
    let host = rig.host.clone();
    let cancelled = thread::spawn(move || host.cancel("probe"));
    // It is cancelled when it can be: not in the middle of its start.
    rig.desk.unhang(2);
    let outcome = applied.join().expect("no panic");
    match cancelled.join().expect("no panic") {
        Ok(()) => {
            assert_eq!(outcome.expect_err("cancelled").code(), Code::Cancelled);
            check_answers(&rig.probe, 1);
        }
        // The start was over first.
        Err(refusal) => {
            assert_eq!(refusal.code(), Code::NothingToCancel);
            outcome.expect("applied");
        }
    }
    rig.end();
}

#[test]
fn a24_cancelled_at_a_switch_point() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
        builder.publish(midflight::Publish::Manual)
    });
    let host = rig.host.clone();
    let applied = thread::spawn(move || host.apply(Fixture::V2.path()));
    rig.log.wait("prepared", 2);
    rig.host.cancel("probe").expect("cancelled");
    assert_eq!(applied.join().expect("no panic").expect_err("cancelled").code(), Code::Cancelled);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.desk.hooks().last().map(String::as_str), Some("probe 2 after_return"), "undone");
    assert_eq!(rig.host.switch_point().expect("a switch point"), 0);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a24_cancelled_on_probation_and_after_the_commit() {
    let rig = on_probation();
    let refusal = rig.host.cancel("probe").expect_err("a first version is committed at once");
    assert_eq!(refusal.code(), Code::NothingToCancel);
    rig.apply(Fixture::V2);
    rig.host.cancel("probe").expect("cancelled");
    check_answers(&rig.probe, 1);
    assert_eq!(rig.host.cancel("probe").expect_err("over").code(), Code::NothingToCancel);
    assert_eq!(rig.host.cancel("nobody").expect_err("unknown").code(), Code::NothingToCancel);
    rig.log.wait("unmapped", 2);
    rig.end();
}

#[test]
fn a25_only_the_hooks_of_the_version_that_comes_run() {
    let rig = Rig::serving(Fixture::V1);
    rig.apply(Fixture::V2);
    let before = rig.desk.hooks().len();
    rig.apply(Fixture::V3);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.desk.hooks()[before..], ["probe 3 before_switch", "probe 3 after_switch"]);
    rig.end();
}

#[test]
fn a29_who_does_not_wait_is_told_that_it_is_busy() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.hang(2);
    let host = rig.host.clone();
    let first = thread::spawn(move || host.apply(Fixture::V2.path()));
    rig.desk.until_hung(2);
    let refusal = rig.refused(|host| host.try_apply(Fixture::V3.path()));
    assert_eq!(refusal.code(), Code::Busy, "{refusal}");
    rig.desk.unhang(2);
    first.join().expect("no panic").expect("applied");
    rig.host.try_apply(Fixture::V3.path()).expect("nothing is under way");
    check_answers(&rig.probe, 3);
    rig.end();
}

#[test]
fn a30_a_version_on_probation_that_is_replaced_was_never_good() {
    let rig = on_probation();
    rig.apply(Fixture::V2);
    rig.apply(Fixture::V3);
    check_answers(&rig.probe, 3);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.residency(1), Residency::Standby, "the last that was committed");
    rig.desk.when_hooked(3, "health", Begin::Fail);
    rig.log.wait("returned", 3);
    rig.log.wait("unmapped", 3);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a32_more_panics_than_the_budget_bring_the_old_version_back() {
    let rig = Rig::with(|builder| builder.probation(LONG).check_interval(LONG).panics_max(2));
    rig.apply(Fixture::V1);
    // Of a version that is committed nobody counts.
    (0..5).for_each(|_| panic_once(&rig));
    rig.apply(Fixture::V2);
    (0..2).for_each(|_| panic_once(&rig));
    // An error is no panic.
    rig.probe.quote("").expect_err("it is closed");
    thread::sleep(SETTLED);
    assert_eq!(rig.probe.version(), Ok(2));
    panic_once(&rig);
    let returned = rig.log.wait("returned", 2).to_string();
    assert!(
        returned.contains("budget_exceeded: 3 of its calls panicked on probation, and 2 may"),
        "{returned}"
    );
    check_answers(&rig.probe, 1);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.host.status().plugins[0].held.len(), 1, "the watcher does not bring it back");
    rig.end();
}

#[test]
fn a32_more_errors_than_the_budget_bring_the_old_version_back() {
    let rig = Rig::with(|builder| builder.probation(LONG).check_interval(LONG).errors_max(2));
    rig.apply(Fixture::V1);
    let lease = rig.host.lease("probe").expect("it serves");
    rig.apply(Fixture::V2);
    // What calls of the old version answer is not the new one's.
    (0..5).for_each(|_| drop(lease.get(&rig.probe).quote("").expect_err("it is closed")));
    drop(lease);
    (0..2).for_each(|_| drop(rig.probe.quote("").expect_err("it is closed")));
    rig.probe.quote("ABC").expect("a quote");
    panic_once(&rig);
    thread::sleep(SETTLED);
    assert_eq!(rig.probe.version(), Ok(2));
    let refused = rig.host.request("probe", |request| request.get(&rig.probe).quote(""));
    refused.expect_err("it is closed");
    let returned = rig.log.wait("returned", 2).to_string();
    assert!(
        returned
            .contains("budget_exceeded: 3 of its calls returned errors on probation, and 2 may"),
        "{returned}"
    );
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a32_errors_within_the_budget_end_in_a_commit() {
    let rig = Rig::with(|builder| {
        builder
            .probation(Duration::from_millis(200))
            .check_interval(SHORT)
            .panics_max(1)
            .errors_max(1)
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.probe.quote("").expect_err("it is closed");
    panic_once(&rig);
    rig.log.wait("committed", 2);
    (0..3).for_each(|_| panic_once(&rig));
    thread::sleep(SETTLED);
    assert_eq!(rig.probe.version(), Ok(2));
    rig.end();
}

#[test]
fn a_version_that_stays_well_is_committed() {
    let rig = Rig::with(|builder| builder.probation(Duration::from_secs(1)).check_interval(SHORT));
    rig.apply(Fixture::V1);
    let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
    let stall = applied.wait_retired(Duration::ZERO).expect_err("it is on standby");
    assert!(stall.to_string().contains("standby"), "{stall}");
    assert_eq!(rig.desk.told(), [0; 0]);
    rig.log.wait("committed", 2);
    applied.wait_retired(WITHIN).expect("nobody holds it");
    rig.log.wait("unmapped", 1);
    // From here the way back is a load.
    assert_eq!(rig.host.rollback("probe").expect("a way back").generation, 3);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a_host_that_ends_takes_what_is_on_trial_along() {
    let rig = on_probation();
    rig.apply(Fixture::V2);
    assert_eq!(rig.residency(1), Residency::Standby);
    rig.end();
}

/// A release file of the test's own, over copies of fixtures.
fn release(rig: &Rig, plugins: &[(&str, &str, Fixture, &str)]) -> std::path::PathBuf {
    let mut text = String::new();
    for (name, version, fixture, config) in plugins {
        let file = format!("{name}-{version}.so");
        rig.copy(*fixture, &file);
        text += &format!(
            "[[plugin]]\nname = \"{name}\"\nversion = \"{version}\"\nfile = \"{file}\"\n{config}\n"
        );
    }
    let path = rig.path("release.toml");
    std::fs::write(&path, text).expect("a release file");
    path
}

/// `probe` and `other` are one group.
fn of_one_group() -> Rig {
    Rig::with(|builder| builder.group("probe", "desk").group("other", "desk"))
}

#[test]
fn a22_a_release_is_switched_in_with_one_store() {
    let rig = of_one_group();
    let file = release(
        &rig,
        &[
            ("probe", "1.0.0", Fixture::V1, ""),
            ("other", "1.0.0", Fixture::Other, "config = { factor = 3 }"),
        ],
    );
    let before = rig.host.group("desk").release_number();
    let applied = rig.host.apply_release(&file).expect("applied");
    assert_eq!(rig.host.group("desk").release_number(), before + 1);
    assert!(applied.iter().all(|applied| applied.switched));
    let fees = rig.host.slot::<dyn Probe>("other").expect("a slot");
    assert_eq!(fees.fee(&trade(7)).expect("a fee"), 3 * rig.probe.fee(&trade(7)).expect("a fee"));

    // What serves already is left as it is; a version that is another goes alone.
    let applied = rig.host.apply_release(&file).expect("nothing to do");
    assert!(applied.iter().all(|applied| !applied.switched));
    let file = release(
        &rig,
        &[("probe", "2.0.0", Fixture::V2, ""), ("other", "1.0.0", Fixture::Other, "")],
    );
    let switched: Vec<_> =
        rig.host.apply_release(&file).expect("applied").iter().map(|a| a.switched).collect();
    assert_eq!(switched, [true, false]);
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn a22_a_release_of_which_the_second_refuses_changes_nothing() {
    let rig = of_one_group();
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let file = release(
        &rig,
        &[
            ("probe", "2.0.0", Fixture::V2, ""),
            ("other", "1.0.0", Fixture::Other, "config = { factor = 2 }"),
        ],
    );
    rig.desk.when_hooked(1, "before_switch", Begin::Fail);
    let hooks = rig.desk.hooks().len();
    let before = rig.host.group("desk").release_number();
    let refusal =
        rig.refused(|host| host.apply_release(&file).map(|mut applied| applied.remove(0)));
    assert_eq!(
        (refusal.code(), refusal.plugin()),
        (Code::SwitchRefused, Some("other")),
        "{refusal}"
    );
    rig.log.wait("unmapped", 3);
    assert_eq!(rig.host.group("desk").release_number(), before, "no store");
    assert_eq!(
        rig.desk.hooks()[hooks..],
        ["probe 2 before_switch", "other 1 before_switch", "probe 2 after_return"]
    );
    assert_eq!(rig.log.wait("refused", 3).to_string().matches("release_refused").count(), 1);
    rig.apply(Fixture::V3);
    rig.end();
}

#[test]
fn a22_a_release_waits_for_the_switch_point_and_is_cancelled_as_a_whole() {
    let rig = Rig::with(|builder| {
        builder.publish(midflight::Publish::Manual).group("probe", "desk").group("other", "desk")
    });
    let file = release(
        &rig,
        &[("probe", "1.0.0", Fixture::V1, ""), ("other", "1.0.0", Fixture::Other, "")],
    );
    let apply = || {
        let (host, file) = (rig.host.clone(), file.clone());
        thread::spawn(move || host.apply_release(file))
    };
    let cancelled = apply();
    rig.log.wait("prepared", 2);
    rig.host.cancel("other").expect("cancelled");
    assert_eq!(cancelled.join().expect("no panic").expect_err("cancelled").code(), Code::Cancelled);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 0, "no half of it");
    rig.log.wait("unmapped", 1);
    rig.log.wait("unmapped", 2);
    let applied = apply();
    rig.log.wait("prepared", 4);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 2);
    assert_eq!(applied.join().expect("no panic").expect("applied").len(), 2);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a_release_file_that_is_wrong_is_refused_with_what_is_wrong() {
    let rig = Rig::serving(Fixture::V1);
    let case = |text: &str, code: Code, says: &str| {
        rig.copy(Fixture::V2, "v2.so");
        rig.copy(Fixture::Other, "other.so");
        std::fs::write(rig.path("release.toml"), text).expect("a release file");
        let refusal = rig.refused(|host| {
            host.apply_release(rig.path("release.toml")).map(|mut applied| applied.remove(0))
        });
        assert_eq!(refusal.code(), code, "{text}: {refusal}");
        assert!(refusal.to_string().contains(says), "{text}: {refusal}");
    };
    let probe = "[[plugin]]\nname = \"probe\"\nversion = \"2.0.0\"\nfile = \"v2.so\"\n";
    let other = "[[plugin]]\nname = \"other\"\nversion = \"1.0.0\"\nfile = \"other.so\"\n";
    case("what?", Code::ReleaseInvalid, "line 1");
    case("plugin = []", Code::ReleaseInvalid, "no plugin");
    case(&format!("{probe}speed = 3"), Code::ReleaseInvalid, "speed");
    case(&format!("{probe}{probe}"), Code::ReleaseInvalid, "twice");
    case(&probe.replace("2.0.0", "2.1.0"), Code::ReleaseInvalid, "probe 2.0.0");
    case(&probe.replace("v2.so", "v9.so"), Code::FileUnreadable, "No such file");
    case(&format!("{probe}{other}"), Code::ReleaseInvalid, "of one group");
    case(&format!("{probe}config = {{ factor = \"x\" }}"), Code::StartFailed, "factor");
    std::fs::remove_file(rig.path("release.toml")).expect("no release file");
    let absent = rig.host.apply_release(rig.path("release.toml")).expect_err("no file");
    assert_eq!(absent.code(), Code::FileUnreadable);
    rig.end();
}

#[test]
fn a38_what_is_prepared_while_hooks_run_waits_for_a_later_switch_point() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
        builder.publish(midflight::Publish::Manual)
    });
    let apply = |fixture: Fixture| {
        let host = rig.host.clone();
        thread::spawn(move || host.apply(fixture.path()))
    };
    let second = apply(Fixture::V2);
    rig.log.wait("prepared", 2);
    rig.desk.hang(3);
    let third = apply(Fixture::V3);
    rig.desk.until_hung(3);
    rig.desk.hang_hook(2, "after_switch");
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    rig.desk.until_hook_hangs();
    rig.desk.unhang(3);
    rig.log.wait("prepared", 3);
    assert_eq!(
        rig.host.switch_point().expect("a switch point"),
        0,
        "the second version's hook is running"
    );
    rig.desk.unhang_hook();
    second.join().expect("no panic").expect("applied");
    let began = std::time::Instant::now();
    while rig.host.switch_point().expect("a switch point") == 0 {
        assert!(began.elapsed() < WITHIN, "it is forgotten");
        thread::yield_now();
    }
    third.join().expect("no panic").expect("applied");
    check_answers(&rig.probe, 3);
    rig.end();
}

#[test]
fn a23_a_first_version_that_fails_is_held() {
    let rig = Rig::new();
    rig.desk.when_hooked(1, "after_switch", Begin::Fail);
    let refusal = rig.host.apply(Fixture::V1.path()).expect_err("it goes");
    assert_eq!(refusal.code(), Code::AfterSwitchFailed, "{refusal}");
    assert_eq!(rig.host.status().plugins[0].held.len(), 1);
    rig.log.wait("unmapped", 1);
    assert!(rig.probe.version().is_err());
    rig.end();
}

/// `probe` and `other` are one group, each of version 1; what comes stays on probation for as long
/// as the test says.
fn neighbours(
    probation: Duration,
    configure: impl FnOnce(midflight::HostBuilder) -> midflight::HostBuilder,
) -> (Rig, midflight::Slot<dyn Probe>) {
    let rig = Rig::with(|builder| {
        let builder = builder.group("probe", "desk").group("other", "desk");
        configure(builder.probation(probation).check_interval(SHORT))
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    (rig, other)
}

/// How the version of `other` that is on probation ends, with generation 4 to go.
type End = (&'static str, fn(&Rig, &midflight::Slot<dyn Probe>));

#[test]
fn j04_what_goes_back_takes_no_neighbour_along() {
    let ends: [End; 5] = [
        ("a rollback", |rig, _| drop(rig.host.rollback("other").expect("a way back"))),
        ("a cancel", |rig, _| rig.host.cancel("other").expect("a way back")),
        ("its panics", |_, other| drop(other.panic(0, Panic::Text).expect_err("a panic"))),
        ("its errors", |_, other| drop(other.quote("").expect_err("it is closed"))),
        ("its health", |rig, _| rig.desk.when_hooked(1, "health", Begin::Fail)),
    ];
    for (what, end) in ends {
        let (rig, other) = neighbours(LONG, |builder| builder.panics_max(0).errors_max(0));
        rig.apply(Fixture::V2);
        rig.host.configure("other", "factor = 5").expect("applied");
        assert_eq!((rig.residency(1), rig.residency(2)), (Residency::Standby, Residency::Standby));
        end(&rig, &other);
        rig.log.wait("returned", 4);
        rig.log.wait("unmapped", 4);
        assert_eq!(other.generation(), Ok(2), "{what}");
        assert_eq!(rig.probe.version(), Ok(2), "{what}");
        assert_eq!(rig.residency(1), Residency::Standby, "{what}: probe is on probation still");
        let status = rig.host.status();
        let probe = status.plugins.iter().find(|plugin| plugin.name == "probe").expect("probe");
        assert_eq!(probe.held, Vec::<String>::new(), "{what}: nobody asked it to go");
        // It still goes by itself.
        let back = rig.host.rollback("probe");
        back.unwrap_or_else(|refusal| panic!("{what}: {refusal}\n{}", rig.log.text()));
        assert_eq!(rig.probe.version(), Ok(1), "{what}");
        rig.end();
    }
}

#[test]
fn j04_a_probation_ends_whatever_its_neighbours_do() {
    let (rig, _) = neighbours(Duration::from_millis(400), |builder| builder.generations_max(64));
    let generation = rig.apply(Fixture::V2);
    let began = std::time::Instant::now();
    let committed = |event: &midflight::Event| {
        event.kind.name() == "committed" && event.generation == Some(generation)
    };
    for factor in 1.. {
        if rig.log.seen().iter().any(committed) {
            break;
        }
        assert!(
            began.elapsed() < WITHIN,
            "a neighbour restarts its probation:\n{}",
            rig.log.text()
        );
        rig.host.configure("other", &format!("factor = {factor}")).expect("applied");
    }
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn j04_a_check_of_the_group_that_fails_is_about_what_came_last() {
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    // Once: what would be left after that is what came last by then.
    let once = move |_: &str| {
        if is_ill.swap(false, SeqCst) { Err("ill".to_owned()) } else { Ok(()) }
    };
    let (rig, other) = neighbours(LONG, |builder| builder.health_check(once));
    rig.apply(Fixture::V2);
    rig.host.configure("other", "factor = 5").expect("applied");
    ill.store(true, SeqCst);
    let returned = rig.log.wait_for("a return", |event| event.kind.name() == "returned");
    assert_eq!(returned.generation, Some(4), "{returned}");
    rig.log.wait("unmapped", 4);
    assert_eq!((rig.probe.generation(), other.generation()), (Ok(3), Ok(2)));
    rig.end();
}

#[test]
fn j04_what_comes_at_one_switch_point_goes_back_alone() {
    let (rig, other) = {
        let rig = Rig::with(|builder| {
            let builder = builder.group("probe", "desk").group("other", "desk").probation(LONG);
            builder.publish(midflight::Publish::Manual)
        });
        let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
        (rig, other)
    };
    let point = |updates: [thread::JoinHandle<_>; 2], generations: [u64; 2]| {
        generations.into_iter().for_each(|generation| drop(rig.log.wait("prepared", generation)));
        assert_eq!(rig.host.switch_point().expect("a switch point"), 2);
        for update in updates {
            let applied: Result<midflight::Applied, _> = update.join().expect("no panic");
            applied.unwrap_or_else(|refusal| panic!("{refusal}"));
        }
    };
    let apply = |fixture: Fixture| {
        let host = rig.host.clone();
        thread::spawn(move || host.apply(fixture.path()))
    };
    point([apply(Fixture::V1), apply(Fixture::Other)], [1, 2]);
    let before = other.generation();
    let second = apply(Fixture::V2);
    rig.log.wait("prepared", 3);
    let host = rig.host.clone();
    point([second, thread::spawn(move || host.configure("other", "factor = 5"))], [3, 4]);
    rig.host.cancel("other").expect("a way back");
    assert_eq!(other.generation(), before);
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn r06_no_probation_is_so_short_that_nobody_asks() {
    let rig = Rig::with(|builder| builder.probation(Duration::from_millis(1)));
    rig.apply(Fixture::V1);
    rig.desk.when_hooked(2, "health", Begin::Fail);
    rig.apply(Fixture::V2);
    let returned = rig.log.wait("returned", 2).to_string();
    assert!(returned.contains("unhealthy"), "{returned}");
    check_answers(&rig.probe, 1);
    let generation = rig.apply(Fixture::V3);
    rig.log.wait("committed", generation);
    rig.end();
}

#[test]
fn r06_a_canary_is_not_switched_in_before_somebody_has_asked() {
    let rig = Rig::with(|builder| builder.canary("probe", 0.5, Duration::from_millis(1)));
    rig.apply(Fixture::V1);
    rig.desk.when_hooked(2, "health", Begin::Fail);
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!(refusal.code(), Code::Unhealthy, "{refusal}");
    rig.apply(Fixture::V3);
    rig.end();
}

#[test]
fn r06_checks_rarer_than_the_probation_is_long_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let builder = midflight::Host::builder().run_directory(home.path());
    let builder = builder.probation(Duration::from_secs(1)).check_interval(Duration::from_secs(2));
    let error = builder.start().expect_err("a contradiction").to_string();
    assert_eq!(error, "check_interval: 2s is longer than the probation of 1s");
}

#[test]
fn u16_a_way_back_says_what_it_leads_past() {
    let rig = on_probation();
    rig.apply(Fixture::V2);
    rig.apply(Fixture::V3);
    let back = rig.host.rollback("probe").expect("a way back");
    assert_eq!((back.version.as_str(), back.generation), ("1.0.0", 1));
    let returned = rig.log.wait("returned", 3).to_string();
    assert!(
        returned.contains("past 2.0.0 (generation 2), which was never committed: cancelled"),
        "{returned}"
    );
    rig.log.wait("unmapped", 3);
    rig.apply(Fixture::V2);
    rig.host.rollback("probe").expect("a way back");
    let returned = rig.log.wait("returned", 4).to_string();
    assert!(!returned.contains("past"), "{returned}");
    rig.end();
}

#[test]
fn u16_two_builds_of_one_version_are_told_apart() {
    let rig = Rig::serving(Fixture::V2);
    // The same version, which does the same but for its constructor.
    rig.apply(Fixture::Constructor);
    let staged = rig.log.seen().into_iter().filter(|event| event.kind.name() == "staged");
    let staged: Vec<_> = staged.map(|event| event.to_string()).collect();
    let [one, other] = &*staged else { panic!("{staged:?}") };
    let build = |line: &str| line.split_once("staged, build ").expect("a build").1.to_owned();
    assert!(build(one) != build(other) && build(one).len() == 8, "{staged:?}");
    rig.end();
}

/// A contract that the host has not known before: what comes back is compared as well.
#[test]
fn h01_a_slot_that_is_asked_for_on_probation_serves_after_the_way_back() {
    let rig = on_probation();
    rig.apply(Fixture::V2);
    let risk = rig.host.slot::<dyn Risk>("probe").expect("both versions offer it");
    assert_eq!(risk.limit(), Ok(2));
    rig.host.rollback("probe").expect("a way back");
    assert_eq!(risk.limit(), Ok(1));
    rig.end();
}

/// What is on standby may lack what is new: the slot is of the version that serves.
#[test]
fn h01_what_the_standby_lacks_is_no_reason_to_refuse_a_slot() {
    let rig = Rig::with(|builder| builder.probation(LONG).check_interval(SHORT));
    rig.apply(Fixture::MissingContract);
    rig.apply(Fixture::V2);
    let risk = rig.host.slot::<dyn Risk>("probe").expect("the version that serves offers it");
    assert_eq!(risk.limit(), Ok(2));
    rig.host.rollback("probe").expect("a way back");
    assert!(matches!(risk.limit(), Err(Fault::NotLoaded { .. })));
    rig.end();
}

/// It is prepared, and waits for the hooks of a neighbour.
#[test]
fn h04_a_first_version_that_waits_for_its_turn_keeps_its_group() {
    let rig =
        Rig::with(|builder| builder.probation(LONG).check_interval(SHORT).group("other", "probe"));
    rig.apply(Fixture::Other);
    rig.host.configure("other", "factor = 3").expect("generation 2, on probation");
    rig.desk.hang(2);
    rig.desk.hang_hook(1, "before_return");
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.host.apply(Fixture::V2.path()));
        rig.desk.until_hung(2);
        let cancelled = scope.spawn(|| rig.host.cancel("other"));
        rig.desk.until_hook_hangs();
        rig.desk.unhang(2);
        rig.log.wait("prepared", 3);
        let refusal = rig.host.apply(Fixture::Grouped.path()).expect_err("another group");
        assert_eq!(refusal.code(), Code::GroupChanged, "{refusal}");
        rig.desk.unhang_hook();
        cancelled.join().expect("no panic").expect("cancelled");
        first.join().expect("no panic").expect("it was only behind");
    });
    check_answers(&rig.probe, 2);
    rig.end();
}
