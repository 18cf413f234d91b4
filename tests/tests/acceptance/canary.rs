//! Canaries: a version that runs for a share of what comes before it is switched in for all; and
//! how long its calls may take.

use midflight::{Applied, Code, Fault, Host, HostError, Publish, Refusal, Residency};
use midflight_tests::{Fixture, Rig, WITHIN, check_answers, trade};
use probe_contracts::{Begin, Panic};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// So short that a test sees many.
const SHORT: Duration = Duration::from_millis(5);

type Answer = JoinHandle<Result<Applied, Refusal>>;

fn applying(rig: &Rig, fixture: Fixture) -> Answer {
    let host = rig.host.clone();
    thread::spawn(move || host.apply(fixture.path()))
}

/// `probe` 1.0.0 serves, and 2.0.0 is its canary, for `share` of the calls.
fn trying(share: f64) -> (Rig, Answer) {
    let rig = Rig::with(|builder| {
        builder.canary("probe", share, LONG).check_interval(SHORT).panics_max(2)
    });
    rig.apply(Fixture::V1);
    let answer = applying(&rig, Fixture::V2);
    rig.log.wait("canary", 2);
    (rig, answer)
}

/// What the update is answered with, and how it is left.
#[track_caller]
fn withdrawn(rig: &Rig, answer: Answer) -> Refusal {
    let refusal = answer.join().expect("no panic").expect_err("withdrawn");
    assert_eq!((0..200).filter(|_| rig.probe.version() != Ok(1)).count(), 0, "after {refusal}");
    check_answers(&rig.probe, 1);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.residency(1), Residency::Active);
    refusal
}

#[test]
fn a31_a_share_by_chance_and_one_version_for_each_request() {
    const CALLS: u32 = 20_000;
    let (rig, answer) = trying(0.25);
    assert_eq!(rig.residency(2), Residency::Canary);
    assert!(!answer.is_finished(), "it is answered when it is switched in for all");
    let near = |tried: usize, of: u32| {
        let (tried, of) = (f64::from(u32::try_from(tried).expect("few")), f64::from(of));
        // Six standard deviations.
        let bound = 6.0 * (of * 0.25 * 0.75).sqrt();
        assert!((tried - of * 0.25).abs() < bound, "{tried} of {of}");
    };
    let one = (0..CALLS).filter(|_| rig.probe.version() == Ok(2)).count();
    near(one, CALLS);

    let request = |_: &u32| {
        let version = rig.host.request("probe", |request| {
            let probe = request.get(&rig.probe);
            let (first, nested, last) = (probe.version()?, probe.nested(2)?, probe.version()?);
            assert_eq!((first, nested), (last, vec![u64::from(first); 3]));
            assert_eq!(request.generation(&rig.probe), Some(u64::from(first)));
            Ok::<_, Fault>(first)
        });
        version == Ok(2)
    };
    near((0..CALLS / 10).filter(request).count(), CALLS / 10);

    let lease = |_: &u32| {
        let lease = rig.host.lease("probe").expect("a lease");
        let probe = lease.get(&rig.probe);
        let (first, nested) =
            (probe.version().expect("a version"), probe.nested(1).expect("a chain"));
        assert_eq!(nested, [u64::from(first); 2]);
        first == 2
    };
    near((0..CALLS / 10).filter(lease).count(), CALLS / 10);
    // A slot that comes while it runs is served by both sides.
    let risk = rig.host.slot::<dyn probe_contracts::Risk>("probe").expect("a slot");
    let limits: Vec<_> = (0..200).map(|_| risk.limit().expect("a limit")).collect();
    assert!(limits.contains(&1) && limits.contains(&2));
    rig.host.cancel("probe").expect("withdrawn");
    assert_eq!(withdrawn(&rig, answer).code(), Code::Cancelled);
    rig.end();
}

#[test]
fn a31_a_key_stays_on_its_side() {
    const KEYS: u32 = 2_000;
    let (rig, answer) = trying(0.25);
    let by_key = |key: &u32| {
        let key = format!("customer {key}");
        rig.host
            .request_keyed("probe", &*key, |request| request.get(&rig.probe).version())
            .expect("a version")
    };
    let first: Vec<_> = (0..KEYS).map(|key| by_key(&key)).collect();
    let tried = first.iter().filter(|version| **version == 2).count();
    assert!((380..620).contains(&tried), "{tried} of {KEYS}");
    let again: Vec<_> = (0..KEYS).map(|key| by_key(&key)).collect();
    assert_eq!(first, again);
    for (key, version) in (0..KEYS).zip(&first).take(200) {
        let lease = rig.group.lease_keyed(&*format!("customer {key}")).expect("a lease");
        assert_eq!(lease.get(&rig.probe).version(), Ok(*version));
    }
    rig.host.cancel("probe").expect("withdrawn");
    withdrawn(&rig, answer);
    assert!((0..200).all(|key| by_key(&key) == 1));
    rig.end();
}

#[test]
fn a31_a_canary_that_stays_well_is_switched_in_for_all() {
    let rig = Rig::with(|builder| {
        builder.canary("probe", 0.5, Duration::from_millis(200)).check_interval(SHORT)
    });
    rig.apply(Fixture::V1);
    assert_eq!(rig.log.count("canary"), 0, "a first version has nothing beside it");
    rig.log.clear();
    let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
    assert_eq!((applied.previous, applied.generation), (Some(1), 2));
    assert!((0..200).all(|_| rig.probe.version() == Ok(2)));
    rig.log.wait("unmapped", 1);
    assert_eq!(
        rig.log.text(),
        "\
probe 2.0.0 (generation 2): staged
probe 2.0.0 (generation 2): loaded
probe 2.0.0 (generation 2): prepared
probe 2.0.0 (generation 2): canary, for 50 % of the calls
probe 2.0.0 (generation 2): active in release 5, after generation 1
probe 1.0.0 (generation 1): retiring
probe 1.0.0 (generation 1): drained
probe 1.0.0 (generation 1): stopped
probe 1.0.0 (generation 1): unmapped
"
    );
    // The way back has no canary.
    assert_eq!(rig.host.rollback("probe").expect("a way back").version, "1.0.0");
    assert_eq!(rig.log.count("canary"), 1);
    assert_eq!(rig.desk.hooks()[2..4], ["probe 2 before_switch", "probe 2 after_switch"]);
    rig.end();
}

#[test]
fn a31_a_canary_that_is_not_well_is_withdrawn() {
    let (rig, answer) = trying(0.5);
    rig.desk.until_asked_again(2);
    rig.desk.when_hooked(2, "health", Begin::Fail);
    let refusal = withdrawn(&rig, answer);
    assert_eq!(refusal.code(), Code::Unhealthy);
    assert_eq!(refusal.version(), Some("2.0.0"));
    assert_eq!(rig.desk.hooks()[2..], ["probe 2 before_switch", "probe 2 after_return"]);
    assert_eq!(rig.desk.told(), [2], "it served, so it is told that it retires");
    let status = rig.host.status();
    assert_eq!((status.plugins[0].active, status.plugins[0].held.len()), (Some(1), 1));
    rig.end();
}

#[test]
fn a31_a_canary_of_which_calls_panic_is_withdrawn() {
    let (rig, answer) = trying(0.5);
    // Of both sides; and only its own count.
    while !answer.is_finished() {
        rig.probe.panic(0, Panic::Text).expect_err("a panic");
    }
    let refusal = withdrawn(&rig, answer);
    assert_eq!(refusal.code(), Code::BudgetExceeded);
    assert!(refusal.reason().contains("and 2 may"), "{refusal}");
    rig.end();
}

#[test]
fn a31_a_canary_that_is_rolled_back() {
    let (rig, answer) = trying(0.5);
    let back = rig.host.rollback("probe").expect("it is gone");
    assert_eq!((back.generation, back.previous), (1, Some(2)));
    assert_eq!(withdrawn(&rig, answer).code(), Code::Cancelled);
    assert_eq!(rig.host.status().plugins[0].held.len(), 1);
    rig.end();
}

#[test]
fn a80_what_is_a_canary_already_is_applied_again() {
    let (rig, answer) = trying(0.5);
    let again = rig.host.apply(Fixture::V2.path()).expect("nothing to do");
    assert_eq!((again.switched, again.generation), (false, 2));
    assert_eq!(rig.log.count("unchanged"), 1);
    assert_eq!(rig.residency(2), Residency::Canary);
    rig.host.cancel("probe").expect("withdrawn");
    withdrawn(&rig, answer);
    rig.end();
}

#[test]
fn a31_a_canary_is_replaced_by_a_newer_version() {
    let (rig, answer) = trying(0.5);
    let newer = applying(&rig, Fixture::V3);
    rig.log.wait("canary", 3);
    assert_eq!(answer.join().expect("no panic").expect_err("replaced").code(), Code::Superseded);
    let versions: Vec<_> = (0..200).map(|_| rig.probe.version().expect("a version")).collect();
    assert!(
        versions.contains(&1) && versions.contains(&3) && !versions.contains(&2),
        "{versions:?}"
    );
    assert_eq!(rig.host.status().plugins[0].held.len(), 0, "nothing was found against it");
    rig.host.cancel("probe").expect("withdrawn");
    newer.join().expect("no panic").expect_err("withdrawn");
    rig.end();
}

#[test]
fn a31_one_canary_at_a_time_and_the_next_comes_after_it() {
    let rig = Rig::with(|builder| {
        builder
            .canary("desk", 0.5, LONG)
            .check_interval(SHORT)
            .group("probe", "desk")
            .group("other", "desk")
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let answer = applying(&rig, Fixture::V2);
    rig.log.wait("canary", 3);
    let host = rig.host.clone();
    let behind = thread::spawn(move || host.configure("other", "factor = 7"));
    rig.log.wait("prepared", 4);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(rig.log.count("canary"), 1);
    rig.host.cancel("probe").expect("withdrawn");
    answer.join().expect("no panic").expect_err("withdrawn");
    rig.log.wait("canary", 4);
    rig.host.cancel("other").expect("withdrawn");
    behind.join().expect("no panic").expect_err("withdrawn");
    rig.end();
}

/// What serves may be on probation, and end it first: either way the canary goes on beside what is
/// left.
#[test]
fn a31_a_canary_beside_a_trial() {
    for commits in [true, false] {
        let probation = if commits { Duration::from_secs(1) } else { LONG };
        let rig = Rig::with(|builder| {
            let builder =
                builder.canary("probe", 0.5, Duration::from_secs(2)).check_interval(SHORT);
            builder.probation(probation)
        });
        rig.apply(Fixture::V1);
        rig.apply(Fixture::V2);
        // On probation from here on, and the next one is tried beside it.
        let answer = applying(&rig, Fixture::V3);
        rig.log.wait("canary", 3);
        let seen = |among: &[u32]| {
            let versions: Vec<_> =
                (0..200).map(|_| rig.probe.version().expect("a version")).collect();
            assert!(among.iter().all(|version| versions.contains(version)), "{versions:?}");
            assert!(versions.iter().all(|version| among.contains(version)), "{versions:?}");
        };
        seen(&[2, 3]);
        if commits {
            rig.log.wait("committed", 2);
            seen(&[2, 3]);
        } else {
            rig.desk.when_hooked(2, "health", Begin::Fail);
            rig.log.wait("returned", 2);
            seen(&[1, 3]);
        }
        let applied = answer.join().expect("no panic").expect("applied");
        assert_eq!(applied.generation, 3);
        check_answers(&rig.probe, 3);
        rig.end();
    }
}

#[test]
fn a31_a_call_that_stays_holds_its_own_side_alone() {
    let (rig, answer) = trying(0.5);
    let waits = |version: u32| {
        let (probe, group) = (rig.probe.clone(), rig.group.clone());
        let side = |key: &u32| group.request_keyed(key, |request| request.get(&probe).version());
        let key = (0..100_u32).find(|key| side(key) == Ok(version)).expect("one of many");
        let token = 100 + u64::from(version);
        let waits = thread::spawn(move || {
            group.request_keyed(&key, |request| request.get(&probe).wait(token))
        });
        rig.desk.until_inside(token);
        waits
    };
    let [old, new] = [1, 2].map(waits);
    rig.host.cancel("probe").expect("withdrawn");
    answer.join().expect("no panic").expect_err("withdrawn");
    rig.log.wait("retiring", 2);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(rig.residency(2), Residency::Retiring);
    rig.desk.let_go(102);
    assert_eq!(new.join().expect("no panic"), Ok(2));
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.mappings(2), [""; 0]);
    rig.desk.let_go(101);
    assert_eq!(old.join().expect("no panic"), Ok(1));
    rig.end();
}

/// Who holds a side is told as of any other release.
#[test]
fn a31_a_lease_on_a_canary_is_named_when_its_drain_stalls() {
    let rig = Rig::with(|builder| builder.canary("probe", 0.5, LONG).drain_deadline(SHORT));
    rig.apply(Fixture::V1);
    let answer = applying(&rig, Fixture::V2);
    rig.log.wait("canary", 2);
    let lease = (0..100_u32).map(|key| rig.group.lease_keyed(&key).expect("a lease"));
    let lease = lease
        .into_iter()
        .find(|lease| lease.generation(&rig.probe) == Some(2))
        .expect("one of many");
    rig.host.cancel("probe").expect("withdrawn");
    answer.join().expect("no panic").expect_err("withdrawn");
    let stalled = rig.log.wait("stalled", 2).to_string();
    assert!(stalled.contains("lease") && stalled.contains("canary.rs"), "{stalled}");
    drop(lease);
    rig.log.wait("unmapped", 2);
    rig.end();
}

#[test]
fn a31_a_host_that_ends_takes_its_canary_along() {
    let (rig, answer) = trying(0.5);
    rig.end();
    assert_eq!(answer.join().expect("no panic").expect_err("it ends").code(), Code::ShuttingDown);
}

/// `probe` 1.0.0 serves, and 2.0.0 waits for a switch point.
fn at_a_switch_point() -> (Rig, Answer) {
    let rig = Rig::with(|builder| {
        builder
            .publish(Publish::Manual)
            .canary("probe", 0.5, Duration::from_millis(50))
            .check_interval(SHORT)
    });
    let first = applying(&rig, Fixture::V1);
    rig.log.wait("prepared", 1);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    first.join().expect("no panic").expect("applied");
    let answer = applying(&rig, Fixture::V2);
    rig.log.wait("prepared", 2);
    (rig, answer)
}

#[test]
fn a31_with_switch_points_it_begins_and_ends_at_one() {
    let (rig, answer) = at_a_switch_point();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(rig.log.count("canary"), 0);
    assert_eq!(
        rig.host.switch_point().expect("a switch point"),
        0,
        "nothing is switched in for all"
    );
    rig.log.wait("canary", 2);
    until(|| rig.residency(2) == Residency::Prepared);
    assert!((0..200).all(|_| rig.probe.version() == Ok(1)), "until the switch point");
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    assert_eq!(answer.join().expect("no panic").expect("applied").generation, 2);
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn a31_what_is_cancelled_between_its_canary_and_the_switch_point_has_served() {
    let (rig, answer) = at_a_switch_point();
    let _ = rig.host.switch_point();
    rig.log.wait("canary", 2);
    until(|| rig.residency(2) == Residency::Prepared);
    rig.host.cancel("probe").expect("withdrawn");
    assert_eq!(withdrawn(&rig, answer).code(), Code::Cancelled);
    assert_eq!(rig.desk.told(), [2], "it is told that it retires");
    assert_eq!(rig.host.status().plugins[0].held.len(), 1);
    rig.end();
}

#[test]
fn a31_what_was_tried_does_not_overtake_what_was_prepared_later() {
    let (rig, answer) = at_a_switch_point();
    rig.desk.hang_hook(2, "health");
    assert_eq!(rig.host.switch_point().expect("a switch point"), 0, "a canary begins");
    rig.desk.until_hook_hangs();
    let newer = applying(&rig, Fixture::V3);
    rig.log.wait("prepared", 3);
    // It stays well, and is to wait for the second switch point.
    rig.desk.unhang_hook();
    assert_eq!(answer.join().expect("no panic").expect_err("overtaken").code(), Code::Superseded);
    assert_eq!(rig.host.status().plugins[0].held.len(), 0, "nothing was found against it");
    assert_eq!(rig.residency(3), Residency::Prepared);
    rig.host.cancel("probe").expect("it waits");
    assert_eq!(newer.join().expect("no panic").expect_err("cancelled").code(), Code::Cancelled);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a31_what_waits_for_a_canarys_end_is_overtaken_as_well() {
    let rig = Rig::with(|builder| {
        let builder = builder.group("probe", "desk").group("other", "desk");
        builder.canary("desk", 0.5, LONG).check_interval(SHORT)
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let other = rig.host.slot::<dyn probe_contracts::Probe>("other").expect("a slot");
    let tried = applying(&rig, Fixture::V2);
    rig.log.wait("canary", 3);
    let host = rig.host.clone();
    let behind = thread::spawn(move || host.configure("other", "factor = 7"));
    rig.log.wait("prepared", 4);
    // It is in memory, and counts.
    let prepared = |it: &midflight::GenerationStatus| {
        it.generation == 4 && it.residency == Residency::Prepared
    };
    until(|| rig.host.status().generations.iter().any(prepared));
    let file = rig.path("release.toml");
    let plugin = |name: &str, version: u32, fixture: Fixture| {
        let file = fixture.path();
        format!("[[plugin]]\nname = {name:?}\nversion = \"{version}.0.0\"\nfile = {file:?}\n")
    };
    let text = plugin("probe", 3, Fixture::V3) + &plugin("other", 2, Fixture::OtherV2);
    std::fs::write(&file, text).expect("a release file");
    let host = rig.host.clone();
    let release = thread::spawn(move || host.apply_release(file));
    rig.log.wait("refused", 4);
    for answer in [tried, behind] {
        let overtaken = answer.join().expect("no panic").expect_err("overtaken");
        assert_eq!(overtaken.code(), Code::Superseded, "{overtaken}");
    }
    rig.host.cancel("other").expect("withdrawn as a whole");
    release.join().expect("no panic").expect_err("withdrawn");
    assert_eq!(rig.log.count("canary"), 3, "nothing older comes after it");
    assert_eq!((rig.probe.generation(), other.generation()), (Ok(1), Ok(2)));
    rig.end();
}

#[test]
fn a31_a_release_of_two_plugins_is_tried_as_one() {
    let rig = Rig::with(|builder| {
        builder
            .canary("desk", 0.5, LONG)
            .check_interval(SHORT)
            .group("probe", "desk")
            .group("other", "desk")
    });
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let other = rig.host.slot::<dyn probe_contracts::Probe>("other").expect("a slot");
    let file = rig.path("release.toml");
    rig.copy(Fixture::V2, "probe.so");
    rig.copy(Fixture::Other, "other.so");
    let text = "[[plugin]]\nname = \"probe\"\nversion = \"2.0.0\"\nfile = \"probe.so\"\n\
                [[plugin]]\nname = \"other\"\nversion = \"1.0.0\"\nfile = \"other.so\"\nconfig = { factor = 7 }\n";
    std::fs::write(&file, text).expect("a release file");
    let host = rig.host.clone();
    let answer = thread::spawn(move || host.apply_release(file));
    rig.log.wait("canary", 3);
    let mut sides = [0; 2];
    for _ in 0..200 {
        let both = rig.host.request("desk", |request| {
            Ok::<_, Fault>((
                request.get(&rig.probe).version()?,
                request.get(&other).fee(&trade(1))?,
            ))
        });
        match both.expect("within the bounds") {
            (1, 1) => sides[0] += 1,
            (2, 7) => sides[1] += 1,
            mixed => panic!("mixed: {mixed:?}"),
        }
    }
    assert!(sides[0] > 50 && sides[1] > 50, "{sides:?}");
    rig.host.cancel("other").expect("withdrawn as a whole");
    answer.join().expect("no panic").expect_err("withdrawn");
    rig.end();
}

/// Ends what is busy, whatever happens.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Does `f` while two threads do `ask` again and again, with pauses: on a full machine the slowest
/// hundredth is that of its scheduler.
fn while_busy<R>(ask: impl Fn() + Sync, f: impl FnOnce() -> R) -> R {
    let over = AtomicBool::new(false);
    let busy = || {
        while !over.load(SeqCst) {
            ask();
            thread::sleep(Duration::from_micros(50));
        }
    };
    thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(busy);
        scope.spawn(busy);
        f()
    })
}

fn ask_by_slot(rig: &Rig) {
    rig.probe.fee(&trade(1)).expect("a fee");
}

/// So much slower that no machine's moods explain it.
const SLOW: &str = "slow_micros = 5000";
const FACTOR: f64 = 20.0;

#[test]
fn a32_a_canary_that_is_slower_than_it_may_be_is_withdrawn() {
    let withdrawn = |what: &str, ask: &(dyn Fn(&Rig) + Sync)| {
        let rig = Rig::with(|builder| {
            builder.canary("probe", 0.5, LONG).check_interval(SHORT).latency_max(FACTOR)
        });
        rig.apply(Fixture::V1);
        let host = rig.host.clone();
        let slow = thread::spawn(move || host.configure("probe", SLOW));
        while_busy(|| ask(&rig), || until(|| slow.is_finished()));
        let refusal = slow.join().expect("no panic").expect_err("it is slow");
        assert_eq!(refusal.code(), Code::BudgetExceeded);
        assert!(refusal.reason().contains(what), "{refusal}");
        assert_eq!(rig.host.status().plugins[0].held.len(), 0, "its content serves on");
        check_answers(&rig.probe, 1);
        rig.end();
    };
    withdrawn("calls of fee took", &ask_by_slot);
    withdrawn("calls of fee took", &|rig| {
        let lease = rig.host.lease("probe").expect("a lease");
        lease.get(&rig.probe).fee(&trade(1)).expect("a fee");
    });
    withdrawn("requests took", &|rig| {
        let asked = rig.host.request("probe", |request| request.get(&rig.probe).fee(&trade(1)));
        asked.expect("a fee");
    });
}

#[test]
fn a32_a_version_on_probation_that_is_slower_than_it_may_be_goes_back() {
    let rig = Rig::with(|builder| {
        builder.probation(LONG).check_interval(Duration::from_millis(500)).latency_max(FACTOR)
    });
    rig.apply(Fixture::V1);
    let ask = || ask_by_slot(&rig);
    let returned = while_busy(ask, || {
        assert_eq!(rig.host.configure("probe", SLOW).expect("it is switched in").generation, 2);
        rig.log.wait("returned", 2).to_string()
    });
    assert!(
        returned.contains("budget_exceeded") && returned.contains("calls of fee"),
        "{returned}"
    );
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a32_a_version_that_is_no_slower_is_committed_and_not_timed_any_more() {
    let rig = Rig::with(|builder| {
        let times = builder
            .probation(Duration::from_millis(500))
            .check_interval(Duration::from_millis(300));
        times.latency_max(1_000.0)
    });
    rig.apply(Fixture::V1);
    let before = rig.group.release_number();
    let ask = || ask_by_slot(&rig);
    while_busy(ask, || {
        rig.host.configure("probe", "factor = 3").expect("it is switched in");
        rig.log.wait("committed", 2);
    });
    assert_eq!(rig.probe.fee(&trade(1)), Ok(3));
    // What serves is timed and then not, what comes is and then not.
    assert_eq!(rig.group.release_number(), before + 4);
    rig.end();
}

#[test]
fn bounds_that_make_no_sense() {
    let refused = |share: f64, factor: f64| {
        let started = Host::builder().canary("desk", share, LONG).latency_max(factor).start();
        match started.map(drop) {
            Err(HostError::Bound { name, why }) => format!("{name}: {why}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(0.0, 1.0), "canary: 0 of group desk is not between 0 and 1");
    assert_eq!(refused(1.0, 1.0), "canary: 1 of group desk is not between 0 and 1");
    assert_eq!(refused(f64::NAN, 1.0), "canary: NaN of group desk is not between 0 and 1");
    assert_eq!(refused(0.5, 0.9), "latency_max: 0.9 is not a number from 1 on");
    assert_eq!(refused(0.5, f64::NAN), "latency_max: NaN is not a number from 1 on");
}

#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WITHIN, "waited {WITHIN:?}");
        thread::sleep(Duration::from_millis(1));
    }
}
