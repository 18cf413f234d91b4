//! When and with what a version is switched in: switch points, configuration, warm-ups, and plugins
//! that are linked in.

use midflight::{Code, Fault, Host, HostBuilder, HostError, Publish, Residency};
use midflight_plugin::{Context, Plugin, StartError, plugin};
use midflight_tests::{Either, Fixture, Rig, Way, both_ways, check_answers, trade};
use probe_contracts::{Probe, Risk};
use std::sync::Arc;
use std::thread;

both_ways![
    a37_a_configuration_is_read_at_the_first_start,
    a37_a_configuration_that_is_wrong_is_refused_at_the_first_start,
    every_plugin_of_a_contract_is_found,
];

#[test]
fn a38_nothing_switches_before_the_switch_point() {
    let rig =
        Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.publish(Publish::Manual));
    check_answers(&rig.probe, 1); // what lay there was switched in by the start

    rig.install(Fixture::V2, "probe.so");
    rig.log.wait("prepared", 2);
    check_answers(&rig.probe, 1);
    assert_eq!(rig.residency(2), Residency::Prepared);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    check_answers(&rig.probe, 2);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 0);
    rig.end();
}

#[test]
fn a38_an_operator_waits_for_the_switch_point() {
    let rig = Rig::with(|builder| builder.publish(Publish::Manual));
    let host = rig.host.clone();
    let applied = thread::spawn(move || host.apply(Fixture::V1.path()));
    rig.log.wait("prepared", 1);
    assert!(!applied.is_finished());
    assert_eq!(rig.probe.version(), Err(Fault::NotLoaded { plugin: "probe".into() }));
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    assert_eq!(applied.join().expect("no panic").expect("applied").generation, 1);
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a38_a_newer_version_overtakes_one_that_waits() {
    let rig =
        Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder.publish(Publish::Manual));
    let host = rig.host.clone();
    let overtaken = thread::spawn(move || host.apply(Fixture::V2.path()));
    rig.log.wait("prepared", 2);
    rig.install(Fixture::V3, "probe.so");
    rig.log.wait("prepared", 3);
    let refusal = overtaken.join().expect("no panic").expect_err("overtaken");
    assert_eq!(refusal.code(), Code::Superseded);
    rig.log.wait("unmapped", 2);
    check_answers(&rig.probe, 1);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 1);
    check_answers(&rig.probe, 3);
    rig.end();
}

#[test]
fn a38_two_plugins_of_a_group_are_switched_with_one_store() {
    let rig = Rig::with(|builder| {
        builder.publish(Publish::Manual).group("probe", "desk").group("other", "desk")
    });
    let group = rig.host.group("desk");
    let applied: Vec<_> = [Fixture::V1, Fixture::Other]
        .into_iter()
        .zip(1..)
        .map(|(fixture, generation)| {
            let host = rig.host.clone();
            let applied = thread::spawn(move || host.apply(fixture.path()));
            rig.log.wait("prepared", generation);
            applied
        })
        .collect();
    let before = group.release_number();
    assert_eq!(rig.host.switch_point().expect("a switch point"), 2);
    assert_eq!(group.release_number(), before + 1, "one release for both");
    for applied in applied {
        applied.join().expect("no panic").expect("applied");
    }
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a37_another_configuration_is_an_update() {
    let rig = Rig::with(|builder| builder.config("probe", "factor = 2"));
    rig.apply(Fixture::V1);
    let fee = |factor: u64| factor * 7;
    assert_eq!(rig.probe.fee(&trade(7)), Ok(fee(2)));

    let applied = rig.host.configure("probe", "factor = 5").expect("another configuration");
    assert_eq!(
        (applied.generation, applied.version.as_str(), applied.switched),
        (2, "1.0.0", true)
    );
    assert_eq!(rig.probe.fee(&trade(7)), Ok(fee(5)));
    rig.log.wait("unmapped", 1);

    for (config, expected) in [
        ("factor = -1", "invalid value"),
        ("factory = 3", "unknown field"),
        ("factor = ", "TOML parse error"),
    ] {
        let Err(refusal) = rig.host.configure("probe", config) else {
            panic!("{config} was taken")
        };
        assert_eq!(refusal.code(), Code::StartFailed, "{refusal}");
        assert!(refusal.reason().contains(expected), "{refusal}");
        assert_eq!(rig.probe.fee(&trade(7)), Ok(fee(5)));
    }

    // An update keeps the configuration, and the way back brings back what belonged to the version.
    rig.apply(Fixture::V2);
    assert_eq!(rig.probe.fee(&trade(7)), Ok(2 * fee(5)));
    rig.host.configure("probe", "factor = 7").expect("another configuration");
    rig.host.rollback("probe").expect("the way back");
    assert_eq!(rig.probe.fee(&trade(7)), Ok(2 * fee(5)));
    let held = &rig.host.status().plugins[0].held;
    assert!(held.is_empty(), "the content is the same, so none is held: {held:?}");
    rig.end();
}

#[test]
fn a37_a_missing_configuration_is_refused_at_the_start() {
    let rig = Rig::with(|builder| builder.config("probe", "cold = 3"));
    let Err(refusal) = rig.host.apply(Fixture::V1.path()) else { panic!("it started") };
    assert_eq!(refusal.code(), Code::StartFailed);
    assert!(refusal.reason().contains("the configuration"), "{refusal}");
    let Err(refusal) = rig.host.configure("nobody", "") else { panic!("nobody was configured") };
    assert_eq!(refusal.code(), Code::UnknownPlugin);
    rig.end();
}

fn a37_a_configuration_is_read_at_the_first_start(way: Way) {
    let rig = Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| {
        builder.config("probe", "factor = 2")
    });
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    assert_eq!((rig.probe.fee(&trade(7)), other.fee(&trade(7))), (Ok(2 * 7), Ok(7)));
    rig.end();
}

fn a37_a_configuration_that_is_wrong_is_refused_at_the_first_start(way: Way) {
    for (config, expected) in [
        ("factor = -1", "invalid value"),
        ("factory = 3", "unknown field"),
        ("factor = ", "TOML parse error"),
        ("cold = true", "the warm-up: it is too cold"),
    ] {
        let desk = Arc::<midflight_tests::Desk>::default();
        let configure = |builder: HostBuilder| builder.config("probe", config);
        let Err(refusal) = Rig::try_of(way, &[Either::PROBE], Arc::clone(&desk), configure) else {
            panic!("{config} was taken")
        };
        assert_eq!(refusal.code(), Code::StartFailed, "{refusal}");
        assert!(refusal.reason().contains(expected), "{refusal}");
        // Too cold it was only when its instance was there, which is stopped.
        let (started, stopped) = desk.lives();
        assert_eq!(started, stopped);
        assert_eq!(started.is_empty(), config != "cold = true");
    }
}

#[test]
fn a_warm_up_that_fails_keeps_the_old_version() {
    let rig = Rig::serving(Fixture::V1);
    let refusal = rig.refused(|host| host.configure("probe", "cold = true"));
    assert_eq!(refusal.code(), Code::StartFailed);
    assert!(refusal.reason().contains("the warm-up: it is too cold"), "{refusal}");
    rig.end();
}

fn every_plugin_of_a_contract_is_found(way: Way) {
    let nobody = Rig::of(way, &[], |builder| builder);
    assert_eq!(nobody.host.slots::<dyn Risk>().expect("no slots").len(), 0);
    nobody.end();
    let rig = Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| builder);
    let risks = rig.host.slots::<dyn Risk>().expect("two slots");
    assert_eq!(risks.len(), 2);
    for slot in &risks {
        assert_eq!(
            (slot.limit(), slot.allows(5, 4), slot.allows(5, 5)),
            (Ok(1), Ok(false), Ok(true))
        );
    }
    let slots = rig.host.slots::<dyn Probe>().expect("two slots");
    let names: Vec<_> = slots.iter().map(|slot| slot.plugin()).collect();
    assert_eq!(names, ["other", "probe"]);
    for slot in &slots {
        assert_eq!(slot.version(), Ok(1), "{slot:?}");
    }
    rig.end();
}

/// A contract for what is linked in; two plugins implement it.
mod names {
    use super::{Context, Plugin, StartError, plugin};
    use midflight_plugin::Service;
    use probe_contracts::Desk;
    use std::sync::OnceLock;

    #[midflight_plugin::contract]
    pub(super) trait Name {
        fn name(&self) -> String;
        fn config(&self) -> String;
    }

    macro_rules! named {
        ($name:ident) => {
            #[plugin(implements(Name), group = "names")]
            pub(super) struct $name(String);
            impl Plugin for $name {
                fn start(cx: &Context<'_>) -> Result<Self, StartError> {
                    Ok($name(cx.config_text().to_owned()))
                }
                fn retiring(&self) {
                    assert_eq!(self.0, "", "no more of it");
                }
            }
            impl Name for $name {
                fn name(&self) -> String {
                    stringify!($name).to_owned()
                }
                fn config(&self) -> String {
                    self.0.clone()
                }
            }
        };
    }
    named!(First);
    named!(Second);

    /// Keeps the host's service, and then does not start.
    #[plugin(implements(Name))]
    pub(super) struct Keeper;
    pub(super) static KEPT: OnceLock<Service<dyn Desk>> = OnceLock::new();
    impl Plugin for Keeper {
        fn start(cx: &Context<'_>) -> Result<Self, StartError> {
            KEPT.set(cx.service::<dyn Desk>()?).expect("kept once");
            Err(StartError::new("it has what it wanted"))
        }
    }
    impl Name for Keeper {
        fn name(&self) -> String {
            unreachable!()
        }
        fn config(&self) -> String {
            unreachable!()
        }
    }
}

/// Its code is never unmapped, so what it was given must stay.
#[test]
fn a_service_outlives_a_linked_plugin_that_did_not_start() {
    let desk = Arc::new(midflight_tests::Desk::default());
    let builder = Host::builder().provide::<dyn probe_contracts::Desk, _>(Arc::clone(&desk));
    let Err(error) = builder.link::<names::Keeper>("keeper").start() else { panic!("it started") };
    let reason = std::error::Error::source(&error).expect("a refusal").to_string();
    assert!(reason.contains("it has what it wanted"), "{reason}");
    let gone = Arc::downgrade(&desk);
    drop(desk);
    let kept = names::KEPT.get().expect("kept");
    assert!(
        matches!(kept.panic(), Err(Fault::Panicked(report)) if report.message == "the desk panics")
    );
    assert!(gone.upgrade().is_some(), "it was called");
}

#[test]
fn a66_two_plugins_of_one_contract_linked_into_one_binary() {
    use names::{First, Name, Second};
    let host = Host::builder()
        .link::<First>("first")
        .link::<Second>("second")
        .config("second", "a = 1")
        .start()
        .expect("a host");
    let (first, second) = (
        host.slot::<dyn Name>("first").expect("a slot"),
        host.slot::<dyn Name>("second").expect("a slot"),
    );
    assert_eq!((first.name(), first.config()), (Ok("First".to_owned()), Ok(String::new())));
    assert_eq!((second.name(), second.config()), (Ok("Second".to_owned()), Ok("a = 1".to_owned())));
    let both: Result<_, Fault> = host.request("names", |r| {
        Ok((r.get(&first).name()?, r.get(&second).name()?, r.generation(&second)))
    });
    assert_eq!(both, Ok(("First".to_owned(), "Second".to_owned(), Some(2))));
    let status = host.shutdown(midflight_tests::WITHIN);
    for record in &status.generations {
        assert_eq!(record.residency, Residency::Resident(vec!["linked into the host".to_owned()]));
    }
    let mut events = host.events_kept().into_iter();
    let told =
        events.find(|event| event.kind.name() == "retiring_failed").expect("the second is told");
    assert!(told.plugin == "second" && told.kind.to_string().contains("no more of it"), "{told}");
    assert_eq!(events.filter(|event| event.kind.name() == "retiring_failed").count(), 0);
    assert_eq!(first.name(), Err(Fault::NotLoaded { plugin: "first".into() }));
}

#[test]
fn a66_nothing_replaces_what_is_linked_in() {
    let rig = Rig::serving_by(Way::Linked);
    assert_eq!(rig.refused(|host| host.apply(Fixture::V2.path())).code(), Code::LinkedIn);
    assert_eq!(rig.refused(|host| host.configure("probe", "factor = 2")).code(), Code::LinkedIn);
    assert_eq!(rig.refused(|host| host.rollback("probe")).code(), Code::LinkedIn);
    // Libraries go on beside it.
    rig.apply(Fixture::Other);
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    assert_eq!((other.version(), other.generation()), (Ok(1), Ok(2)));
    rig.host.shutdown(midflight_tests::WITHIN);
    assert_eq!((rig.residency(1), rig.residency(2)), (Way::Linked.end(), Way::Dynamic.end()));
}

#[test]
fn a66_a_name_is_linked_once() {
    use names::{First, Second};
    let twice = Host::builder().link::<First>("first").link::<Second>("first").start();
    let Err(HostError::Linked(refusal)) = twice else { panic!("{twice:?}") };
    assert_eq!((refusal.code(), refusal.plugin()), (Code::LinkedIn, Some("first")));
}

/// There is nothing that it could serve beside.
#[test]
fn a66_what_is_linked_in_waits_for_no_switch_point() {
    let rig = Rig::of(Way::Linked, &[Either::PROBE], |builder| builder.publish(Publish::Manual));
    Way::Linked.check_answers(&rig.probe, 1);
    assert_eq!(rig.host.switch_point().expect("a switch point"), 0);
    rig.end();
}

#[test]
fn a66_the_fixed_slot_serves_without_a_host_and_inside_of_requests() {
    use names::{First, Name};
    struct Own(Arc<str>);
    impl Name for Own {
        fn name(&self) -> String {
            self.0.to_string()
        }
        fn config(&self) -> String {
            panic!("it has none")
        }
    }
    let name: Arc<str> = "own".into();
    let fixed = midflight::Slot::<dyn Name>::fixed(Own(Arc::clone(&name)));
    assert_eq!(fixed.name(), Ok("own".to_owned()));
    assert!(
        matches!(fixed.config(), Err(Fault::Panicked(report)) if report.message == "it has none")
    );
    let host = Host::builder().link::<First>("first").start().expect("a host");
    assert_eq!(host.request("names", |r| r.get(&fixed).name()), Ok("own".to_owned()));
    let lease = host.lease("names").expect("a lease");
    assert_eq!(lease.get(&fixed).name(), Ok("own".to_owned()));
    drop((lease, fixed));
    assert_eq!(Arc::strong_count(&name), 1, "the object goes with its last slot");
}

#[test]
fn a_slot_of_another_host_finds_nothing() {
    use names::{First, Name};
    let (one, other) = (Host::builder().link::<First>("first"), Rig::serving(Fixture::V1));
    let one = one.start().expect("a host");
    let stranger = one.slot::<dyn Name>("first").expect("a slot");
    let asked = other.group.request(|r| r.get(&stranger).name());
    assert!(asked.is_err(), "index 0 is of another contract there: {asked:?}");
    let lease = other.group.lease().expect("a lease");
    assert!(lease.get(&stranger).name().is_err());
    drop(lease);
    other.end();
}
