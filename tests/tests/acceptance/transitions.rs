//! Transitions: one at a time, whole or not at all, and told in order.

use midflight::{Code, EventKind, Fault, HostBuilder, Refusal, Residency, Slot, Stage};
use midflight_tests::{
    Desk, Either, Fixture, Rig, Way, both_ways, check_answers, in_child, process,
};
use probe_contracts::{Begin, Panic, Probe};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

both_ways![
    a27_a_first_start_that_returns_an_error,
    a27_a_first_start_that_panics in child,
    a27_a_first_start_that_never_returns,
    a27_a_first_start_without_its_service,
];

#[test]
fn a01_there_and_back_again() {
    let rig = Rig::serving(Fixture::V1);
    check_answers(&rig.probe, 1);
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    rig.log.wait("unmapped", 1);
    let back = rig.host.rollback("probe").expect("the way back");
    assert_eq!(
        (back.plugin.as_str(), back.version.as_str(), back.generation, back.switched),
        ("probe", "1.0.0", 3, true)
    );
    check_answers(&rig.probe, 1);
    rig.log.wait("unmapped", 2);
    // The answers' own panics are told by the threads that call, at any time.
    let log = rig.log.text();
    let log: String =
        log.split_inclusive('\n').filter(|line| !line.contains("a call panicked")).collect();
    assert_eq!(log, include_str!("a01.log"));
    rig.end();
}

/// Keeps the thread that tells of updates from telling, and from all else.
struct Held(Arc<AtomicBool>);

impl<S: Subscriber> Layer<S> for Held {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        while thread::current().name() == Some("midflight") && self.0.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A step takes what it takes the worker, not what the host takes to hear of it.
#[test]
fn a_step_is_as_long_as_it_was_however_late_it_is_told() {
    const START: Duration = Duration::from_millis(50);
    in_child(|| {
        let is_held = Arc::new(AtomicBool::new(false));
        tracing_subscriber::registry().with(Held(Arc::clone(&is_held))).init();
        let rig = Rig::serving(Fixture::V1);
        rig.desk.hang(2);
        is_held.store(true, SeqCst);
        let second = thread::scope(|scope| {
            let second = scope.spawn(|| rig.apply(Fixture::V2));
            rig.desk.until_hung(2);
            thread::sleep(START);
            rig.desk.unhang(2);
            // The worker is done before anybody hears of its steps.
            while process::threads().iter().any(|name| name == "midflight-stage") {
                thread::yield_now();
            }
            is_held.store(false, SeqCst);
            second.join().expect("no panic")
        });
        let took = rig.log.wait("prepared", second).took;
        assert!(took >= START, "{took:?}");
        rig.end();
    });
}

#[test]
fn a26_a_slot_from_before_its_plugin() {
    let rig = Rig::new();
    let (probe, group) = (rig.probe.clone(), rig.group.clone());
    let absent = Fault::NotLoaded { plugin: "probe".into() };
    assert_eq!(probe.version(), Err(absent.clone()));
    assert_eq!(group.request(|r| r.get(&probe).version()), Err(absent.clone()));
    assert_eq!(group.lease().err(), Some(absent));
    assert_eq!(group.release_number(), 0);

    rig.apply(Fixture::V1);
    check_answers(&probe, 1);
    assert_eq!(group.request(|r| r.get(&probe).version()), Ok(1));
    assert_eq!(group.lease().expect("a lease").get(&probe).version(), Ok(1));
    assert!(group.release_number() > 0);
    rig.end();
}

#[test]
fn a26_many_threads_use_a_handle_from_before_at_once() {
    const HANDLES: usize = 300;
    let rig = Rig::new();
    let slots: Vec<Slot<dyn Probe>> =
        (0..HANDLES).map(|_| rig.host.slot("probe").expect("a slot")).collect();
    let groups: Vec<_> = (0..HANDLES).map(|_| rig.host.group("probe")).collect();
    rig.apply(Fixture::V1);
    let (at_once, answers) = (Barrier::new(4), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (slot, group) in slots.iter().zip(&groups) {
                    at_once.wait();
                    let seen = [slot.version(), group.request(|r| r.get(slot).version())];
                    answers.lock().expect("no panic").extend(seen);
                }
            });
        }
    });
    let answers = answers.into_inner().expect("no panic");
    assert_eq!(answers.len(), 4 * 2 * HANDLES);
    assert!(
        answers.iter().all(|answer| *answer == Ok(1)),
        "{:?}",
        answers.iter().find(|one| one.is_err())
    );
    rig.end();
}

#[test]
fn a27_a_start_that_returns_an_error() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.begin(2, Begin::Fail);
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!((refusal.code(), refusal.stage()), (Code::StartFailed, Stage::Start));
    assert_eq!(refusal.reason(), "start says: the desk is closed");
    assert_eq!((refusal.plugin(), refusal.version()), (Some("probe"), Some("2.0.0")));
    check_no_trace(&rig, 2);
    rig.desk.begin(2, Begin::Go);
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn a27_a_start_that_panics() {
    let rig = Rig::serving(Fixture::V1);
    for how in [Panic::Formatted, Panic::DropPanics, Panic::DropPanicsAgain] {
        rig.desk.begin(2, Begin::Panic(how));
        let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
        assert_eq!((refusal.code(), refusal.stage()), (Code::StartPanicked, Stage::Start));
        let said = if how == Panic::Formatted {
            "a panic of build 2"
        } else {
            "a payload that is no text"
        };
        assert!(refusal.reason().starts_with("plugin `probe` 2.0.0 (generation "), "{refusal}");
        assert!(
            refusal.reason().contains("src/lib.rs:") && refusal.reason().ends_with(said),
            "{refusal}"
        );
    }
    check_no_trace(&rig, 4);
    rig.end();
}

#[test]
fn a27_a_start_that_never_returns() {
    // Enough for those that do return, on a busy machine as well.
    const DEADLINE: Duration = Duration::from_secs(2);
    let rig = Rig::with(|builder| builder.start_deadline(DEADLINE));
    rig.apply(Fixture::V1);
    rig.desk.hang(2);
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!((refusal.code(), refusal.stage()), (Code::StartTimedOut, Stage::Start));
    assert_eq!(refusal.reason(), format!("start has not returned within {DEADLINE:?}"));
    let resident = rig.log.wait("resident", 2);
    assert_eq!(resident.kind.to_string(), "resident(start still running)");
    assert_eq!(rig.residency(2), Residency::Resident(vec!["start still running".to_owned()]));

    // The plugin's other updates go on, and so does its code that hangs.
    rig.apply(Fixture::V3);
    check_answers(&rig.probe, 3);
    rig.log.wait("unmapped", 1);
    assert_ne!(rig.mappings(2), [""; 0], "code that runs is mapped");

    // What comes late is not published any more.
    rig.desk.unhang(2);
    rig.log.wait("unmapped", 2);
    check_answers(&rig.probe, 3);
    rig.end();
}

/// The first version of a library is refused like any other. With what is linked in the host does
/// not start, and the refusal is the reason.
fn a27_a_first_start_that_returns_an_error(way: Way) {
    let desk = Arc::<Desk>::default();
    desk.begin(1, Begin::Fail);
    let refusal = refused_first(way, &desk, |builder| builder);
    assert_eq!((refusal.code(), refusal.stage()), (Code::StartFailed, Stage::Start));
    assert_eq!(refusal.reason(), "start says: the desk is closed");
    assert_eq!((refusal.plugin(), refusal.version()), (Some("probe"), Some("1.0.0")));

    // Another host is not the worse for it.
    let rig = Rig::serving_by(way);
    way.check_answers(&rig.probe, 1);
    rig.end();
}

fn a27_a_first_start_that_panics(way: Way) {
    for how in
        [Panic::Formatted, Panic::Number, Panic::DropPanics, Panic::DropPanicsAgain, Panic::Resumed]
    {
        let desk = Arc::<Desk>::default();
        desk.begin(1, Begin::Panic(how));
        let refusal = refused_first(way, &desk, |builder| builder);
        assert_eq!((refusal.code(), refusal.stage()), (Code::StartPanicked, Stage::Start));
        let (location, said) = refusal.reason().rsplit_once(": ").expect("a place and a text");
        let who = "plugin `probe` 1.0.0 (generation 1) panicked";
        let location = location.strip_prefix(who).unwrap_or_else(|| panic!("{refusal}"));
        let right = if how == Panic::Resumed { location.is_empty() } else { way.knows(location) };
        assert!(right, "{refusal}");
        assert_eq!(
            said,
            match how {
                Panic::Formatted => "a panic of build 1",
                Panic::Resumed => "a resumed panic",
                _ => "a payload that is no text",
            }
        );
    }
}

fn a27_a_first_start_that_never_returns(way: Way) {
    const DEADLINE: Duration = Duration::from_secs(2);
    let desk = Arc::<Desk>::default();
    desk.hang(1);
    let refusal = refused_first(way, &desk, |builder| builder.start_deadline(DEADLINE));
    assert_eq!((refusal.code(), refusal.stage()), (Code::StartTimedOut, Stage::Start));
    assert_eq!(refusal.reason(), format!("start has not returned within {DEADLINE:?}"));

    // What comes late is stopped, though its host has ended.
    desk.unhang(1);
    desk.until_stopped(1);
    assert_eq!(desk.lives(), (vec![1], vec![1]));
}

fn a27_a_first_start_without_its_service(way: Way) {
    let refused = Rig::try_of(way, &[Either::EVOLVING], Arc::default(), |builder| builder);
    let Err(refusal) = refused else { panic!("it started") };
    assert_eq!(refusal.code(), Code::ServiceMissing);
    let reason = "start says: the host provides no evolving-contracts::Host; it provides: probe-contracts::Desk";
    assert_eq!(refusal.reason(), reason);
}

fn refused_first(
    way: Way,
    desk: &Arc<Desk>,
    configure: impl FnOnce(HostBuilder) -> HostBuilder,
) -> Refusal {
    match Rig::try_of(way, &[Either::PROBE], Arc::clone(desk), configure) {
        Ok(_) => panic!("it started"),
        Err(refusal) => refusal,
    }
}

#[test]
fn a28_a_start_that_calls_back_into_its_group() {
    let rig = Rig::serving(Fixture::V1);
    let probe = rig.probe.clone();
    rig.desk
        .when_starting(move |_| assert_eq!(probe.version(), Ok(1), "what serves until the switch"));
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    rig.end();
}

/// What it waits for waits for it: the deadline ends that.
#[test]
fn a28_a_start_that_asks_the_host_for_what_comes_after_it() {
    let rig = Rig::with(|builder| builder.start_deadline(Duration::from_millis(500)));
    rig.apply(Fixture::V1);
    let host = rig.host.clone();
    rig.desk.when_starting(move |generation| {
        if generation == 2 {
            // Neither waits for the update that this is.
            assert_eq!(host.try_apply(Fixture::V3.path()).expect_err("refused").code(), Code::Busy);
            assert_eq!(host.status().plugins[0].active, Some(1));
            // This does, and is answered when the update was given up.
            assert!(host.rollback("probe").is_err());
        }
    });
    let refusal = rig.refused(|host| host.apply(Fixture::V2.path()));
    assert_eq!(refusal.code(), Code::StartTimedOut, "{refusal}");
    // It returns late, and goes the way of all.
    rig.log.wait("unmapped", 2);
    rig.apply(Fixture::V3);
    rig.end();
}

#[test]
fn a29_updates_of_one_group_wait_their_turn() {
    const UPDATES: usize = 10;
    let rig = Rig::with(|builder| builder.generations_max(64));
    rig.apply(Fixture::V1);
    let (starting, together) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let most = Arc::clone(&together);
    rig.desk.when_starting(move |_| {
        let now = starting.fetch_add(1, SeqCst) + 1;
        most.fetch_max(now, SeqCst);
        (0..100).for_each(|_| thread::yield_now());
        starting.fetch_sub(1, SeqCst);
    });
    let client = |fixtures: [Fixture; 2]| {
        for update in 0..UPDATES {
            let path = fixtures[update % 2].path();
            rig.host.apply(path).unwrap_or_else(|refusal| panic!("{refusal}"));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| client([Fixture::V1, Fixture::V2]));
        scope.spawn(|| client([Fixture::V2, Fixture::V3]));
        scope.spawn(|| client([Fixture::V3, Fixture::V1]));
    });
    assert_eq!(together.load(SeqCst), 1, "one at a time");
    check_answers(&rig.probe, rig.probe.version().expect("a version"));
    rig.end();
}

#[test]
fn a29_of_watched_files_only_the_newest_waits() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    rig.desk.hang(2);
    rig.install(Fixture::V2, "probe.so");
    rig.desk.until_hung(2);
    // Both come while the second starts.
    rig.install(Fixture::V3, "probe.so");
    rig.install(Fixture::V1, "again.so");
    rig.log.wait_for("the third is superseded", |event| {
        event.kind.name() == "superseded" && event.version == "3.0.0"
    });
    check_answers(&rig.probe, 1);
    rig.desk.unhang(2);
    rig.log.wait("active", 3);
    check_answers(&rig.probe, 1);
    let active = rig.log.seen().into_iter().filter(|event| event.kind.name() == "active");
    assert_eq!(active.map(|event| event.version).collect::<Vec<_>>(), ["1.0.0", "2.0.0", "1.0.0"]);
    rig.end();
}

#[test]
fn a30_a_broken_third_version_leaves_the_second() {
    let rig = Rig::serving(Fixture::V1);
    rig.apply(Fixture::V2);
    rig.desk.begin(3, Begin::Fail);
    let refusal = rig.refused(|host| host.apply(Fixture::V3.path()));
    assert_eq!(refusal.code(), Code::StartFailed);
    check_answers(&rig.probe, 2);
    rig.log.wait("unmapped", 1);
    assert_eq!(
        rig.host.status().plugins[0].rollback_to.as_deref(),
        Some("1.0.0"),
        "what failed is no version to go back from"
    );
    rig.host.rollback("probe").expect("the way back");
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a36_what_was_rolled_back_is_held_until_an_operator_applies_it() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    rig.install(Fixture::V2, "probe.so");
    rig.log.wait("active", 2);
    rig.host.rollback("probe").expect("the way back");
    check_answers(&rig.probe, 1);
    assert_eq!(rig.host.status().plugins[0].held.len(), 1);

    // The bad file is still there, and is written again, under another name too.
    for name in ["probe.so", "other-name.so"] {
        rig.log.clear();
        rig.install(Fixture::V2, name);
        rig.log.wait_for("it is held", |event| {
            event.kind.name() == "held" && event.version == "2.0.0"
        });
        check_answers(&rig.probe, 1);
    }
    let applied = rig.host.apply(rig.plugins().join("probe.so")).expect("an operator's word");
    assert_eq!((applied.version.as_str(), applied.switched), ("2.0.0", true));
    check_answers(&rig.probe, 2);
    assert_eq!(rig.host.status().plugins[0].held, [""; 0]);
    rig.end();
}

#[test]
fn a36_there_is_no_way_back_from_the_first_nor_twice() {
    let rig = Rig::new();
    let refusal = rig.host.rollback("probe").expect_err("nothing was ever active");
    assert_eq!(refusal.code(), Code::UnknownPlugin);
    rig.apply(Fixture::V1);
    assert_eq!(rig.refused(|host| host.rollback("probe")).code(), Code::NothingToRollBack);
    rig.apply(Fixture::V2);
    rig.host.rollback("probe").expect("the way back");
    assert_eq!(rig.refused(|host| host.rollback("probe")).code(), Code::NothingToRollBack);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn what_apply_has_returned_is_in_the_status() {
    let rig = Rig::with(|builder| builder.generations_max(32));
    for (fixture, version) in
        [(Fixture::V1, "1.0.0"), (Fixture::V2, "2.0.0")].into_iter().cycle().take(20)
    {
        let generation = rig.apply(fixture);
        let status = rig.host.status();
        assert_eq!(status.plugins[0].active, Some(generation));
        assert_eq!(status.plugins[0].version.as_deref(), Some(version));
        let active =
            status.generations.iter().filter(|record| record.residency == Residency::Active);
        assert_eq!(active.map(|record| record.generation).collect::<Vec<_>>(), [generation]);
    }
    rig.end();
}

/// The refused generations up to `last` are gone: no mapping, no record, no event but the refusal's
/// own.
fn check_no_trace(rig: &Rig, last: u64) {
    for generation in 2..=last {
        assert_eq!(rig.mappings(generation), [""; 0]);
        let told = rig.log.seen().into_iter().filter(|event| event.generation == Some(generation));
        let told: Vec<_> = told.collect();
        let names: Vec<_> = told.iter().map(|event| event.kind.name()).collect();
        assert_eq!(names, ["staged", "loaded", "refused"]);
        assert!(
            matches!(&told[2].kind, EventKind::Refused(refusal) if refusal.stage() == Stage::Start)
        );
    }
    assert_eq!(rig.host.status().generations.len(), 1);
}
