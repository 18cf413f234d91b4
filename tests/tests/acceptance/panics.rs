//! Panics: one call's fault, and nobody else's.

use midflight::{EventKind, Fault, PanicReport};
use midflight_plugin::rt::Gate;
use midflight_tests::{Fixture, Rig, WITHIN, Way, both_ways, check_answers, in_child};
use probe_contracts::{End, Panic, ProbeCalls};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

both_ways![
    a12_a_panic_through_each_way_in in child,
    a12_a_panic_of_the_hosts_own_inside_of_a_request,
    a12_a_panic_in_a_service_of_the_hosts,
    a12_a_panic_in_the_last_stop in child,
];

const ALL: [Panic; 6] = [
    Panic::Text,
    Panic::Formatted,
    Panic::Number,
    Panic::DropPanics,
    Panic::DropPanicsAgain,
    Panic::Resumed,
];

#[test]
fn a12_a_panic_during_a_swap() {
    in_child(|| {
        for (token, how) in (1..).zip(ALL) {
            let rig = Rig::serving(Fixture::V1);
            thread::scope(|scope| {
                let inside = scope.spawn(|| rig.probe.panic(token, how));
                rig.desk.until_inside(token);
                rig.apply(Fixture::V2);
                rig.desk.let_go(token);
                check_fault(inside.join().expect("no panic out of a call"), how, 1, Way::Dynamic);
            });
            // Its pin is released, and so is what it held.
            rig.log.wait("unmapped", 1);
            check_answers(&rig.probe, 2);
            rig.end();
        }
    });
}

fn a12_a_panic_through_each_way_in(way: Way) {
    let rig = Rig::serving_by(way);
    check_each_way_in(&rig, 1, way);
    rig.end();
}

#[test]
fn a12_a_panic_of_what_was_switched_in() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        rig.apply(Fixture::V2);
        check_each_way_in(&rig, 2, Way::Dynamic);
        rig.apply(Fixture::V1);
        rig.log.wait("unmapped", 2);
        check_answers(&rig.probe, 1);
        rig.end();
    });
}

/// The end is reached only if the panic's pin is released.
fn a12_a_panic_of_the_hosts_own_inside_of_a_request(way: Way) {
    let rig = Rig::serving_by(way);
    let request = || {
        rig.group.request(|r| {
            way.check_answers(&r.get(&rig.probe), 1);
            std::panic::resume_unwind(Box::new("the host's own"));
            #[expect(unreachable_code, reason = "the closure's type")]
            Ok::<_, Fault>(())
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(request)).is_err(), "it is not ours to catch");
    way.check_answers(&rig.probe, 1);
    rig.end();
}

fn a12_a_panic_in_a_service_of_the_hosts(way: Way) {
    let rig = Rig::serving_by(way);
    let told = rig.probe.panic_of_desk().expect("the plugin lives, and tells");
    assert_eq!(told, "service `probe-contracts::Desk` panicked: the desk panics");
    way.check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a_panics_frames_are_named_and_nothing_maps_the_file() {
    in_child(|| {
        let rig = Rig::with(|builder| builder.panic_frames_max(32));
        rig.apply(Fixture::V1);
        let plain = rig.mappings(1).len();
        for how in ALL {
            let fault = rig.probe.panic(0, how).expect_err("a panic");
            check_fault(Err(fault.clone()), how, 1, Way::Dynamic);
            let Fault::Panicked(report) = fault else { panic!("{fault}") };
            let told = format!("{report:#}");
            println!("{told}");
            if how == Panic::Resumed {
                assert!(report.frames.is_empty(), "it came past the hook");
                continue;
            }
            assert!(report.frames.len() <= 32);
            let first = &report.frames[0];
            assert_eq!(first.module, "probe", "{told}");
            let function = first.function.as_deref().expect("a name");
            assert!(function.contains("probe::panic"), "{told}");
            assert!(
                told.contains(&format!("\n    probe+{:#x} {function}", first.offset)),
                "{told}"
            );
            // Further out is the host.
            let this = std::env::current_exe().expect("the path of this test");
            let this = this.file_name().and_then(|name| name.to_str()).expect("a name");
            assert!(report.frames.iter().any(|frame| frame.module == this), "{told}");
            assert!(!format!("{report}").contains("probe+"), "only if asked for");
        }
        assert_eq!(rig.mappings(1).len(), plain);
        rig.apply(Fixture::V2);
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.mappings(1), [""; 0]);
        rig.end();

        let rig = Rig::serving(Fixture::V1);
        let Err(Fault::Panicked(report)) = rig.probe.panic(0, Panic::Text) else {
            panic!("no panic")
        };
        assert_eq!(report.frames, [], "nobody asked");
        rig.end();
    });
}

#[test]
fn a12_a_panic_in_stop() {
    in_child(|| {
        for how in ALL {
            let rig = Rig::serving(Fixture::V1);
            rig.desk.end(1, End::Panic(how));
            rig.apply(Fixture::V2);
            check_stop(&rig, how);
            rig.log.wait("unmapped", 1);
            check_answers(&rig.probe, 2);
            rig.end();
        }
    });
}

fn a12_a_panic_in_the_last_stop(way: Way) {
    for how in ALL {
        let rig = Rig::serving_by(way);
        rig.desk.end(1, End::Panic(how));
        rig.host.shutdown(WITHIN);
        check_stop(&rig, how);
        rig.end();
    }
}

fn check_stop(rig: &Rig, how: Panic) {
    let stopped = rig.log.wait("stopped", 1);
    let EventKind::Stopped { panic: Some(told) } = &stopped.kind else { panic!("{stopped}") };
    assert!(told.starts_with("plugin `probe` 1.0.0 (generation 1) panicked"), "{told}");
    assert!(told.ends_with(&format!(": {}", text(how, 1))), "{told}");
}

fn check_each_way_in(rig: &Rig, version: u32, way: Way) {
    let check = |panic: &dyn Fn(Panic) -> Result<u64, Fault>| {
        ALL.into_iter().for_each(|how| check_fault(panic(how), how, version, way))
    };
    check(&|how| rig.probe.panic(0, how));
    check(&|how| rig.group.request(|r| r.get(&rig.probe).panic(0, how)));
    check(&|how| rig.group.lease()?.get(&rig.probe).panic(0, how));
    rig.group
        .request(|r| {
            check_survives(&r.get(&rig.probe), version, way);
            Ok::<_, Fault>(())
        })
        .expect("a request with panics in it");
}

fn check_survives<G: Gate>(probe: &ProbeCalls<G>, version: u32, way: Way) {
    for how in ALL {
        check_fault(probe.panic(0, how), how, version, way);
        way.check_answers(probe, version);
    }
}

/// The fault is of the build `version`, which is that generation too.
#[track_caller]
fn check_fault(answer: Result<u64, Fault>, how: Panic, version: u32, way: Way) {
    let Err(Fault::Panicked(report)) = answer else { panic!("{answer:?} is no panic") };
    let PanicReport { plugin, version: semver, generation, message, location, .. } = *report;
    assert_eq!(
        (plugin.as_str(), semver, generation),
        ("probe", format!("{version}.0.0"), version.into())
    );
    assert_eq!(message, text(how, version));
    // What came past the hook comes from nowhere.
    let right = if how == Panic::Resumed { location.is_empty() } else { way.knows(&location) };
    assert!(right, "{how:?} at {location:?}");
}

fn text(how: Panic, version: u32) -> String {
    match how {
        Panic::Text => "a plain panic".to_owned(),
        Panic::Formatted => format!("a panic of build {version}"),
        Panic::Number | Panic::DropPanics | Panic::DropPanicsAgain => {
            "a payload that is no text".to_owned()
        }
        Panic::Resumed => "a resumed panic".to_owned(),
    }
}
