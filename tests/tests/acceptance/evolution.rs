//! Evolution: a host and a plugin of different versions of one contract, as
//! `midflight_plugin::docs::evolution` has them.
//!
//! A plugin that is linked in is of its host's version, since this binary holds one build of the
//! contracts' crate. So it has everything, and what an older or a newer one lacks is a matter of
//! libraries.

use super::boundary::Keeps;
use evolving_contracts::{Evolving, Host as HostContract, Keeper, Limits, Mirror, Reason};
use midflight::{Fault, Host, HostBuilder, Slot};
use midflight_tests::{Either, Fixture, WITHIN, Way, both_ways};
use std::sync::Arc;
use tempfile::TempDir;

both_ways![the_same_version_has_everything];

/// The service, of the present version.
pub(crate) struct TheHost;

impl HostContract for TheHost {
    fn number(&self, number: u64) -> u64 {
        number
    }
    fn double(&self, number: u64) -> u64 {
        2 * number + 1 // not what the trait's body says
    }
}

struct Rig {
    host: Host,
    evolving: Slot<dyn Evolving>,
    way: Way,
    _home: TempDir,
}

impl Rig {
    fn serving(fixture: Fixture) -> Rig {
        Rig::start(Way::Dynamic, |builder| {
            let host = builder.start().expect("a host");
            // Asked for first, so that the version is checked against it.
            let evolving = host.slot("evolving").expect("a slot");
            host.apply(fixture.path()).unwrap_or_else(|refusal| panic!("{refusal}"));
            (host, evolving)
        })
    }

    fn serving_by(way: Way) -> Rig {
        Rig::start(way, |builder| {
            let host = way
                .start(builder, &[Either::EVOLVING])
                .unwrap_or_else(|refusal| panic!("{refusal}"));
            let evolving = host.slot("evolving").expect("a slot");
            (host, evolving)
        })
    }

    fn start(way: Way, start: impl FnOnce(HostBuilder) -> (Host, Slot<dyn Evolving>)) -> Rig {
        let home = tempfile::tempdir().expect("a directory");
        let builder = Host::builder()
            .provide::<dyn HostContract, _>(Arc::new(TheHost))
            .provide::<dyn Keeper, _>(Arc::new(Keeps::default()))
            .contract::<dyn Mirror>()
            .run_directory(home.path());
        let (host, evolving) = start(builder);
        Rig { host, evolving, way, _home: home }
    }

    fn end(self) {
        let status = self.host.shutdown(WITHIN);
        assert!(
            status.generations.iter().all(|record| record.residency == self.way.end()),
            "{status:?}"
        );
    }
}

fn limits(orders_max: u32) -> Limits {
    Limits { name: "the host's".into(), orders_max, burst_max: 9 }
}

#[test]
fn an_older_plugin_serves_and_the_bodies_of_later_methods_run_in_the_host() {
    let rig = Rig::serving(Fixture::EvolvingOlder);
    assert_eq!((rig.evolving.build(), rig.evolving.tenfold()), (Ok(1), Ok(10)));
    let missing = Fault::MethodMissing { plugin: "evolving".into(), method: "bare" };
    assert_eq!(rig.evolving.bare(), Err(missing.clone()));
    assert_eq!(rig.evolving.barely(), Err(missing));
    // Its own service calls see what it knows.
    assert_eq!(rig.evolving.ask(5).unwrap(), ["Ok(5)"]);
    rig.end();
}

#[test]
fn a_newer_plugin_serves_and_its_bodies_stand_in_for_what_the_host_lacks() {
    let rig = Rig::serving(Fixture::EvolvingNewer);
    assert_eq!((rig.evolving.build(), rig.evolving.tenfold()), (Ok(3), Ok(35)), "its own method");
    assert_eq!((rig.evolving.bare(), rig.evolving.barely()), (Ok(3), Ok(4)));
    let said = rig.evolving.ask(5).unwrap();
    let missing = "plugin `evolving-contracts::Host` has no method `bare`";
    assert_eq!(said, ["Ok(5)", "Ok(11)", "Ok(15)", missing]);
    rig.end();
}

fn the_same_version_has_everything(way: Way) {
    let rig = Rig::serving_by(way);
    assert_eq!(
        (rig.evolving.build(), rig.evolving.tenfold(), rig.evolving.barely()),
        (Ok(2), Ok(20), Ok(3))
    );
    assert_eq!(rig.evolving.ask(5).unwrap(), ["Ok(5)", "Ok(11)"]);
    assert_eq!(
        rig.evolving.limits().unwrap(),
        Limits { name: "the plugin's".into(), orders_max: 2, burst_max: 8 }
    );
    assert_eq!(rig.evolving.reason(Reason::Halted).unwrap(), (Reason::Halted, "Halted".to_owned()));
    rig.end();
}

#[test]
fn fields_that_an_older_plugin_lacks_have_their_defaults() {
    let rig = Rig::serving(Fixture::EvolvingOlder);
    let shown = rig.evolving.show(&limits(1), vec![limits(2)]).unwrap();
    let theirs = |max| format!(r#"Limits {{ name: "the host's", orders_max: {max} }}"#);
    assert_eq!(shown, format!("{} [{}]", theirs(1), theirs(2)));
    let mut own = rig.evolving.limits().unwrap();
    rig.end();
    assert_eq!(own, Limits { name: "the plugin's".into(), orders_max: 1, burst_max: 7 });
    own.name.push_str(" no more");
}

#[test]
fn fields_that_the_host_lacks_have_their_defaults_in_a_newer_plugin() {
    let rig = Rig::serving(Fixture::EvolvingNewer);
    let shown = rig.evolving.show(&limits(1), vec![limits(2)]).unwrap();
    let theirs = |max| {
        format!(r#"Limits {{ name: "the host's", orders_max: {max}, burst_max: 9, tags: [] }}"#)
    };
    assert_eq!(shown, format!("{} [{}]", theirs(1), theirs(2)));
    let mut own = rig.evolving.limits().unwrap();
    rig.end();
    assert_eq!(own, Limits { name: "the plugin's".into(), orders_max: 3, burst_max: 8 });
    own.name.push_str(" no more");
}

#[test]
fn variants_that_one_side_lacks_are_its_unknown_one() {
    let rig = Rig::serving(Fixture::EvolvingOlder);
    assert_eq!(rig.evolving.reason(Reason::Halted).unwrap(), (Reason::Closed, "Other".to_owned()));
    rig.end();
    let rig = Rig::serving(Fixture::EvolvingNewer);
    assert_eq!(rig.evolving.reason(Reason::Halted).unwrap(), (Reason::Other, "Halted".to_owned()));
    rig.end();
}

#[test]
fn one_slot_serves_through_updates_between_versions() {
    let rig = Rig::serving(Fixture::EvolvingOlder);
    for (fixture, build, tenfold) in [
        (Fixture::Evolving, 2, 20),
        (Fixture::EvolvingNewer, 3, 35),
        (Fixture::EvolvingOlder, 1, 10),
    ] {
        rig.host.apply(fixture.path()).unwrap_or_else(|refusal| panic!("{refusal}"));
        assert_eq!((rig.evolving.build(), rig.evolving.tenfold()), (Ok(build), Ok(tenfold)));
    }
    rig.end();
}
