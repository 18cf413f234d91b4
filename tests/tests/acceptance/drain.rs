//! Drain and unload: nothing is unmapped that may still run, and all else is.

use midflight::{Code, Event, EventKind, Fault, Publish, Residency};
use midflight_tests::{
    Either, Fixture, Log, Rig, WITHIN, Way, both_ways, check_answers, in_child, process,
    run_child_with, with_children,
};
use probe_contracts::{End, Panic, Probe};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

both_ways![
    a_shutdown_waits_for_calls_and_leaves_nothing in child,
    a_shutdown_at_its_deadline_stops_nothing_that_is_called,
    a_shutdown_may_wait_for_ever,
    the_last_handle_ends_the_host in child,
];

#[test]
fn a13_a_call_that_never_returns_holds_up_its_own_group_alone() {
    let rig = Rig::serving(Fixture::V1);
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    let replaced = rig.apply(Fixture::Other);
    thread::scope(|scope| {
        let stuck = scope.spawn(|| other.wait(1));
        rig.desk.until_inside(1);
        let again = rig.host.configure("other", "").expect("another generation of it");
        rig.log.wait("retiring", replaced);
        rig.apply(Fixture::V2);
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.residency(replaced), Residency::Retiring);
        assert_eq!(other.generation(), Ok(again.generation));
        rig.desk.let_go(1);
        assert_eq!(stuck.join().expect("no panic"), Ok(1));
    });
    rig.log.wait("unmapped", replaced);
    rig.end();
}

#[test]
fn a50_a_call_in_flight_keeps_its_version() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        thread::scope(|scope| {
            let inside = scope.spawn(|| rig.probe.wait(1));
            rig.desk.until_inside(1);
            // Later versions drain and go, so the drains have been looked at each time.
            for (fixture, version) in [(Fixture::V2, 2), (Fixture::V3, 3), (Fixture::V2, 2)] {
                let replaced = rig.probe.generation().expect("a generation");
                rig.apply(fixture);
                check_answers(&rig.probe, version);
                if replaced != 1 {
                    rig.log.wait("unmapped", replaced);
                }
                assert_eq!(rig.residency(1), Residency::Retiring);
                assert_ne!(rig.mappings(1), [""; 0]);
            }
            assert_eq!(rig.desk.lives().1, [2, 3], "it was not stopped either");
            rig.desk.let_go(1);
            assert_eq!(inside.join().expect("no panic"), Ok(1));
        });
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.mappings(1), [""; 0]);
        rig.end();
    });
}

#[test]
fn a51_a_stalled_drain_is_reported_and_goes_on() {
    let rig = Rig::with(|builder| builder.drain_deadline(Duration::from_millis(50)));
    rig.apply(Fixture::V1);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        let tid = rig.desk.until_inside(1);
        rig.apply(Fixture::V2);
        let stalled = rig.log.wait("stalled", 1);
        let EventKind::Stalled { holders } = &stalled.kind else { panic!("{stalled}") };
        let [holder] = &holders.calls[..] else { panic!("{stalled}") };
        assert_eq!(
            (holder.tid, holder.plugin.as_str(), holder.method.as_deref()),
            (tid, "probe", Some("wait"))
        );
        assert_eq!(holders.holds, []);
        assert_eq!(rig.residency(1), Residency::Retiring);
        check_answers(&rig.probe, 2);
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    rig.log.wait("unmapped", 1);

    let (lease, line) = (rig.group.lease().expect("a lease"), line!());
    let place = format!("{}:{line}", file!());
    rig.apply(Fixture::V1);
    let stalled = rig.log.wait("stalled", 2);
    assert_eq!(stalled.kind.to_string(), format!("stalled: held by a lease taken at {place}"));
    check_answers(&lease.get(&rig.probe), 2);
    drop(lease);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.log.count("stalled"), 2, "once each:\n{}", rig.log.text());
    rig.end();
}

#[test]
fn a52_a_stalled_drain_is_given_up_by_hand() {
    in_child(|| {
        let rig = Rig::with(|builder| builder.drain_deadline(Duration::from_millis(50)));
        rig.apply(Fixture::V1);
        let not_stalled = |generation| {
            rig.host.force("probe", generation).expect_err("nothing has stalled").code()
                == Code::NotStalled
        };
        assert!(not_stalled(1), "it serves");
        let held = thread::scope(|scope| {
            let inside = scope.spawn(|| rig.probe.wait(1));
            let tid = rig.desk.until_inside(1);
            let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
            let stall = applied.wait_retired(Duration::ZERO).expect_err("a call is inside");
            assert_eq!((stall.plugin.as_str(), stall.generation), ("probe", 1));
            assert_eq!(stall.holders.calls[0].tid, tid);
            rig.log.wait("stalled", 1);

            rig.host.force("probe", 1).expect("given up");
            let event = rig.log.wait("given_up", 1);
            assert!(
                matches!(&event.kind, EventKind::GivenUp { holders } if holders.calls[0].tid == tid)
            );
            let Residency::Resident(reasons) = rig.residency(1) else { panic!("{event}") };
            assert!(
                reasons[0].starts_with(&format!("given up while held by tid {tid} ")),
                "{reasons:?}"
            );
            assert!(applied.wait_retired(WITHIN).is_err(), "at once, since nobody waits for it");
            assert!(not_stalled(1), "once is enough");
            check_answers(&rig.probe, 2);
            rig.desk.let_go(1);
            assert_eq!(inside.join().expect("no panic"), Ok(1));
            // Who has let go holds it no more, though it stays.
            applied.wait_retired(WITHIN).expect("nobody is inside");
            reasons
        });
        // The call has ended, and its code stays all the same.
        rig.apply(Fixture::V3);
        rig.log.wait("unmapped", 2);
        let mapped = rig.mappings(1);
        assert!(
            !mapped.is_empty() && mapped.iter().all(|line| !line.ends_with("(deleted)")),
            "{mapped:?}"
        );
        let status = rig.host.shutdown(WITHIN);
        assert_eq!(status.generations[0].residency, Residency::Resident(held));
        assert_eq!(rig.log.count("unmapped"), 2, "{}", rig.log.text());
    });
}

#[test]
fn a_drain_is_waited_for() {
    let rig = Rig::serving(Fixture::V1);
    let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
    assert_eq!(applied.wait_retired(WITHIN), Ok(()));
    assert_eq!(rig.log.count("drained"), 1);
    rig.end();
}

#[test]
fn retiring_is_told_before_the_drain_ends_and_the_stop_comes_last() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.hang_retiring(1);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        assert_eq!(rig.desk.told(), [0; 0], "it serves");
        rig.apply(Fixture::V2);
        // With the call inside.
        rig.desk.until_retiring_hangs(1);
        check_answers(&rig.probe, 2);
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    // No call is left, and it is neither drained nor stopped while it is being told.
    rig.apply(Fixture::V3);
    rig.log.wait("unmapped", 2);
    assert_eq!(rig.residency(1), Residency::Retiring);
    assert_eq!(rig.desk.lives().1, [2]);
    rig.desk.unhang_retiring(1);
    rig.log.wait("unmapped", 1);
    let of_first = |event: &Event| event.generation == Some(1);
    let told: Vec<_> =
        rig.log.seen().into_iter().filter(of_first).map(|event| event.kind.name()).collect();
    assert_eq!(told[told.len() - 4..], ["retiring", "drained", "stopped", "unmapped"]);
    assert_eq!((rig.desk.told(), rig.desk.lives().1), (vec![1, 2], vec![2, 1]));
    rig.end();
}

#[test]
fn a_call_that_waits_inside_is_let_go_by_its_own_version() {
    let rig = Rig::serving(Fixture::V1);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait_until_retiring(1));
        rig.desk.until_inside(1);
        rig.desk.let_go(1);
        let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
        assert_eq!(inside.join().expect("no panic"), Ok(1), "nobody else lets it go");
        assert_eq!(applied.wait_retired(WITHIN), Ok(()));
    });
    rig.log.wait("unmapped", 1);
    rig.end();
}

#[test]
fn a_retiring_that_panics_is_told_and_does_no_harm() {
    let rig = Rig::serving(Fixture::V1);
    for (generation, how) in [(1, Panic::Formatted), (3, Panic::DropPanicsAgain)] {
        rig.desk.when_retiring(1, End::Panic(how));
        rig.apply(Fixture::V2);
        let event = rig.log.wait("retiring_failed", generation);
        let text = event.kind.to_string();
        assert!(text.starts_with("retiring failed: plugin `probe` 1.0.0"), "{text}");
        assert!(text.contains("src/lib.rs:"), "{text}");
        rig.log.wait("unmapped", generation);
        check_answers(&rig.probe, 2);
        rig.apply(Fixture::V1);
        rig.log.wait("unmapped", generation + 1);
    }
    assert_eq!(rig.log.count("retiring_failed"), 2, "{}", rig.log.text());
    rig.end();
}

#[test]
fn a_retiring_that_hangs_is_reported_and_holds_up_nothing_else() {
    let short = Duration::from_millis(50);
    let rig = Rig::with(|builder| builder.retire_deadline(short).drain_deadline(4 * short));
    rig.apply(Fixture::V1);
    rig.desk.hang_retiring(1);
    let applied = rig.host.apply(Fixture::V2.path()).expect("applied");
    rig.desk.until_retiring_hangs(1);
    let event = rig.log.wait("resident", 1);
    assert_eq!(event.kind.to_string(), "resident(retiring still running)");
    assert_eq!(rig.residency(1), Residency::Resident(vec!["retiring still running".to_owned()]));
    check_answers(&rig.probe, 2);
    // It is no call that holds it, and the report says so.
    let event = rig.log.wait("stalled", 1);
    assert_eq!(event.kind.to_string(), "stalled: held by its own retiring");
    let stall = applied.wait_retired(Duration::ZERO).expect_err("it has not returned");
    assert!(
        stall.holders.retiring && stall.holders.calls.is_empty() && stall.holders.holds.is_empty(),
        "{stall}"
    );
    // Another group and its own go on.
    rig.apply(Fixture::Other);
    rig.apply(Fixture::V3);
    rig.log.wait("unmapped", 2);
    check_answers(&rig.probe, 3);
    assert_ne!(rig.mappings(1), [""; 0], "code that runs is mapped");
    assert_eq!(rig.desk.lives().1, [2], "what runs is not stopped");

    rig.desk.unhang_retiring(1);
    rig.log.wait("unmapped", 1);
    assert_eq!(rig.mappings(1), [""; 0]);
    rig.end();
}

#[test]
fn a_shutdown_tells_what_serves() {
    let rig = Rig::serving(Fixture::V1);
    rig.apply(Fixture::Other);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait_until_retiring(1));
        rig.desk.until_inside(1);
        rig.desk.let_go(1);
        let status = rig.host.shutdown(WITHIN);
        assert!(status.generations.iter().all(|record| record.residency == Residency::Unmapped));
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    let mut told = rig.desk.told();
    told.sort();
    assert_eq!(told, [1, 2]);
    rig.end();
}

#[test]
fn a_shutdown_that_gives_up_names_a_retiring() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.hang_retiring(1);
    let status = rig.host.shutdown(Duration::from_millis(50));
    assert_eq!(
        status.generations[0].residency,
        Residency::Resident(vec!["retiring still running".to_owned()])
    );
    rig.desk.until_retiring_hangs(1);
    assert_ne!(rig.mappings(1), [""; 0]);
    rig.desk.unhang_retiring(1);
    rig.log.wait("unmapped", 1);
    rig.end();
}

#[test]
fn what_never_served_is_not_told() {
    let rig = Rig::with(|builder| builder.publish(Publish::Manual));
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.host.apply(Fixture::V1.path()));
        rig.log.wait("prepared", 1);
        let second = scope.spawn(|| rig.host.apply(Fixture::V2.path()));
        let refusal = first.join().expect("no panic").expect_err("it was overtaken");
        assert_eq!(refusal.code(), Code::Superseded);
        rig.log.wait("unmapped", 1);
        rig.log.wait("prepared", 2);
        assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
        second.join().expect("no panic").expect("applied");
    });
    assert_eq!(rig.desk.told(), [0; 0]);
    rig.host.shutdown(WITHIN);
    assert_eq!(rig.desk.told(), [2]);
    rig.end();
}

#[test]
fn a53_a_plain_plugin_leaves_no_line_in_the_maps() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        check_answers(&rig.probe, 1);
        assert_ne!(rig.mappings(1), [""; 0]);
        rig.apply(Fixture::V2);
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.residency(1), Residency::Unmapped);
        assert_eq!(rig.mappings(1), [""; 0]);
        check_answers(&rig.probe, 2);
        rig.host.shutdown(WITHIN);
        assert_eq!(
            process::mappings()
                .into_iter()
                .filter(|line| line.contains("/probe."))
                .collect::<Vec<_>>(),
            [""; 0]
        );
        rig.end();
    });
}

#[test]
fn a57_a_thousand_swaps_leave_nothing() {
    const WARM_UP: u64 = 100;
    const SWAPS: u64 = 1_000;
    with_children(
        |_| {
            let rig = Rig::serving(Fixture::V1);
            let mut swap = |generation: u64| {
                let (fixture, version) =
                    [(Fixture::V2, 2), (Fixture::V1, 1)][generation as usize % 2];
                assert_eq!(rig.apply(fixture), generation);
                assert_eq!(rig.probe.nested(1), Ok(vec![generation; 2]));
                assert_eq!(rig.probe.quote("ABC").map(|quote| quote.quantity), Ok(version));
                assert!(rig.probe.panic(0, Panic::Formatted).is_err());
                rig.log.wait("unmapped", generation - 1);
                rig.log.clear();
            };
            (2..WARM_UP).for_each(&mut swap);
            fill_the_cache_of_stacks();
            let before = Footprint::now();
            (WARM_UP..SWAPS).for_each(&mut swap);
            let after = Footprint::now();
            println!("before: {before:#?}\nafter: {after:#?}");
            assert_eq!(after.descriptors, before.descriptors);
            assert_eq!(after.libraries(), before.libraries());
            // AddressSanitizer keeps what was freed for a while.
            if !process::has_address_sanitizer() {
                assert_eq!(after.mappings.len(), before.mappings.len());
                assert!(after.resident_kib < before.resident_kib + 2 * 1024);
            }
            rig.end();
        },
        // One arena for all threads: how many the C library makes depends on which threads happen
        // to run at once.
        |test| {
            run_child_with(test, "", |child| {
                child.env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
            })
            .assert_ok()
        },
    );
}

/// The C library keeps the stacks of threads that have ended, as many as were there at once. So
/// more are than ever will be.
fn fill_the_cache_of_stacks() {
    const THREADS: usize = 12;
    let all_are_there = Arc::new(Barrier::new(THREADS));
    let wait = |_| {
        let all_are_there = Arc::clone(&all_are_there);
        thread::spawn(move || all_are_there.wait())
    };
    let threads: Vec<_> = (0..THREADS).map(wait).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

#[derive(Debug)]
struct Footprint {
    mappings: Vec<String>,
    descriptors: usize,
    resident_kib: u64,
}

impl Footprint {
    /// Once the workers have ended: each brings mappings of its own.
    fn now() -> Footprint {
        let deadline = Instant::now() + WITHIN;
        while process::threads().iter().any(|name| name.starts_with("midflight-")) {
            assert!(Instant::now() < deadline, "threads that don't end: {:?}", process::threads());
            thread::yield_now();
        }
        Footprint {
            mappings: process::mappings(),
            descriptors: process::descriptors(),
            resident_kib: process::resident_kib(),
        }
    }

    /// How many of the mappings are of libraries.
    fn libraries(&self) -> usize {
        self.mappings.iter().filter(|line| line.contains(".so")).count()
    }
}

#[test]
fn a58_a_long_call_in_each_version() {
    let rig = Rig::with(|builder| builder.generations_max(3));
    thread::scope(|scope| {
        let (mut inside, mut threads) = (Vec::new(), Vec::new());
        for (token, fixture) in [(1, Fixture::V1), (2, Fixture::V2), (3, Fixture::V3)] {
            assert_eq!(rig.apply(fixture), token);
            let probe = rig.probe.clone();
            inside.push(scope.spawn(move || probe.wait(token)));
            threads.push(rig.desk.until_inside(token));
        }
        let refusal = rig.refused(|host| host.apply(Fixture::V1.path()));
        assert_eq!(refusal.code(), Code::TooManyGenerations);
        // r14: it is named before its drain counts as stalled.
        let name = thread::current().name().expect("a name").chars().take(15).collect::<String>();
        let held = |tid: u32| format!("held by tid {tid} ({name}) in probe.wait");
        assert_eq!(
            refusal.reason(),
            format!(
                "generations_max is 3, in memory are: generation 1 retiring, {}; \
                 generation 2 retiring, {}; generation 3 active",
                held(threads[0]),
                held(threads[1])
            )
        );
        assert_eq!(rig.refused(|host| host.rollback("probe")).code(), Code::TooManyGenerations);

        // No call is killed; when one has ended there is room again.
        rig.desk.let_go(1);
        rig.log.wait("unmapped", 1);
        rig.apply(Fixture::V1);
        check_answers(&rig.probe, 1);
        rig.desk.let_go(2);
        rig.desk.let_go(3);
        let answers: Vec<_> =
            inside.into_iter().map(|call| call.join().expect("no panic")).collect();
        assert_eq!(answers, [Ok(1), Ok(2), Ok(3)]);
    });
    rig.end();
}

#[test]
fn a58_a_watched_file_waits_for_room_and_the_newest_gets_it() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.generations_max(2));
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        rig.install(Fixture::V2, "probe.so");
        rig.log.wait("active", 2);
        for (fixture, version) in [(Fixture::V1, "1.0.0"), (Fixture::V3, "3.0.0")] {
            rig.install(fixture, "probe.so");
            let waits = |event: &Event| event.kind.name() == "waiting" && event.version == version;
            rig.log.wait_for(&format!("{version} waits"), waits);
            check_answers(&rig.probe, 2);
        }
        assert_eq!(
            (rig.log.count("superseded"), rig.log.count("refused")),
            (1, 0),
            "{}",
            rig.log.text()
        );
        rig.desk.let_go(1);
        rig.log.wait("active", 3);
        check_answers(&rig.probe, 3);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    rig.end();
}

#[test]
fn a58_a_watched_file_that_waits_in_vain_is_refused() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| {
        builder.generations_max(2).drain_deadline(Duration::from_millis(50))
    });
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        rig.install(Fixture::V2, "probe.so");
        rig.log.wait("stalled", 1);
        rig.install(Fixture::V3, "probe.so");
        rig.log.wait_for("a refusal", |event| {
            matches!(&event.kind, EventKind::Refused(refusal) if refusal.code() == Code::TooManyGenerations)
        });
        check_answers(&rig.probe, 2);
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    rig.end();
}

fn a_shutdown_waits_for_calls_and_leaves_nothing(way: Way) {
    let rig = Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| builder);
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        let status = scope.spawn(|| rig.host.shutdown(WITHIN));
        rig.log.wait(if way == Way::Dynamic { "unmapped" } else { "resident" }, 2);
        assert_eq!(rig.desk.lives().1, [2], "what is inside of a call is not stopped");
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
        let status = status.join().expect("no panic");
        assert!(
            status.generations.iter().all(|record| record.residency == way.end()),
            "{status:#?}"
        );
    });
    assert_eq!(
        process::mappings().into_iter().filter(|line| line.contains("/run/")).collect::<Vec<_>>(),
        [""; 0]
    );
    assert_eq!(other.version(), Err(Fault::NotLoaded { plugin: "other".into() }));
    let refusal = rig.host.apply(Fixture::V2.path()).expect_err("it has ended");
    assert_eq!(refusal.code(), Code::ShuttingDown);
    rig.end();
}

/// And it is stopped when its call has returned after all.
fn a_shutdown_at_its_deadline_stops_nothing_that_is_called(way: Way) {
    let rig = Rig::serving_by(way);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        let status = rig.host.shutdown(Duration::from_millis(50));
        let Residency::Resident(reasons) = &status.generations[0].residency else {
            panic!("{status:#?}")
        };
        assert!(reasons[0].starts_with("held by tid "), "{reasons:?}");
        assert_eq!(rig.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
        assert_eq!(rig.desk.lives(), (vec![1], vec![]));
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
        rig.log.wait("stopped", 1);
        assert_eq!(rig.desk.lives(), (vec![1], vec![1]));
    });
}

#[test]
fn a_shutdown_gives_up_at_its_deadline() {
    let rig = Rig::serving(Fixture::V1);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        let status = rig.host.shutdown(Duration::from_millis(50));
        let Residency::Resident(reasons) = &status.generations[0].residency else {
            panic!("{status:#?}")
        };
        assert!(reasons[0].starts_with("held by tid "), "{reasons:?}");
        assert_ne!(rig.mappings(1), [""; 0], "code that runs is mapped");
        assert_eq!(rig.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
        // What ends late goes as it should all the same.
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.mappings(1), [""; 0]);
    });
}

#[test]
fn a_shutdown_that_gives_up_tells_how_old_leases_are_and_where_they_were_taken() {
    let rig = Rig::serving(Fixture::V1);
    let began = Instant::now();
    let (first, line) = (rig.host.lease("probe").expect("a lease"), line!());
    let second = rig.group.lease().expect("a lease");
    let status = rig.host.shutdown(Duration::from_millis(50));
    let Residency::Resident(reasons) = &status.generations[0].residency else {
        panic!("{status:#?}")
    };
    let [reason] = &reasons[..] else { panic!("{reasons:?}") };
    let age =
        reason.strip_prefix("leases: 2, oldest ").and_then(|rest| rest.split_once(" s, taken at "));
    let (age, place) = age.unwrap_or_else(|| panic!("{reason}"));
    assert!(age.parse::<u64>().expect("seconds") <= began.elapsed().as_secs(), "{reason}");
    assert_eq!(place, format!("{}:{line}", file!()));
    drop((first, second));
    rig.log.wait("unmapped", 1);
    rig.end();
}

fn a_shutdown_may_wait_for_ever(way: Way) {
    let rig = Rig::serving_by(way);
    let status = rig.host.shutdown(Duration::MAX);
    assert_eq!(status.generations[0].residency, way.end(), "no clock reaches that deadline");
    rig.end();
}

#[test]
fn a_start_that_returns_after_the_end_is_not_switched_in() {
    let rig = Rig::serving(Fixture::V1);
    rig.desk.hang(2);
    thread::scope(|scope| {
        let late = scope.spawn(|| rig.host.apply(Fixture::V2.path()));
        rig.desk.until_hung(2);
        let ended = scope.spawn(|| rig.host.shutdown(WITHIN));
        rig.log.wait("unmapped", 1);
        rig.desk.unhang(2);
        let refusal = late.join().expect("no panic").expect_err("the host is ending");
        assert_eq!(refusal.code(), Code::ShuttingDown);
        ended.join().expect("no panic");
    });
    rig.log.wait("stopped", 2);
    assert_eq!(rig.log.count("active"), 1, "{}", rig.log.text());
    assert_eq!(rig.mappings(2), [""; 0]);
    rig.end();
}

#[test]
fn the_last_handle_ends_a_host_that_watches() {
    in_child(|| {
        let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
        drop_handles(rig, Way::Dynamic).wait("unmapped", 1);
    });
}

fn the_last_handle_ends_the_host(way: Way) {
    drop_handles(Rig::serving_by(way), way);
}

fn drop_handles(rig: Rig, way: Way) -> Log {
    let Rig { host, probe, log, desk, .. } = rig;
    let second = host.clone();
    drop(host);
    way.check_answers(&probe, 1);
    drop(second);
    log.wait("stopped", 1);
    assert_eq!(probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
    assert_eq!(desk.lives(), (vec![1], vec![1]));
    log
}
