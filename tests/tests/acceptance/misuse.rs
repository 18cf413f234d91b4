//! What safe code of a service can try against its host, and what comes of it.

use midflight::bench::Turns;
use midflight::{Fault, Host, Residency, Slot};
use midflight_tests::{Desk, Fixture, Log, Rig, Way, in_child, run_child, with_children};
use probe_contracts::{Begin, Desk as DeskContract, End, Probe};
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

#[test]
#[allow(unsafe_code, reason = "the door of the benchmarks is closed to safe code")]
fn s04_a_slot_takes_turns_in_its_own_host_alone() {
    let (rig, other) = (Rig::serving_by(Way::Linked), Rig::serving_by(Way::Linked));
    let lease = rig.group.lease().expect("it serves");
    // SAFETY: the plugin serves nobody but this test, and has no state.
    let turns = unsafe { Turns::new(&lease, &lease) };
    let own = turns.slot(&rig.probe).expect("a slot of that host");
    assert_eq!(own.version(), Ok(1));
    // Its index is 0, as that of the host's first slot, which is of another contract.
    let fixed = Slot::<dyn DeskContract>::fixed(Desk::default());
    assert!(turns.slot(&fixed).is_none(), "a fixed slot");
    assert!(turns.slot(&other.probe).is_none(), "a slot of another host");
    assert!(turns.slot(&own).is_none(), "a slot that takes turns already");
    drop((own, turns, lease));
    rig.end();
    other.end();
}

#[test]
fn s04_a_release_knows_no_generation_of_another_hosts_slot() {
    let (rig, other) = (Rig::serving_by(Way::Linked), Rig::serving_by(Way::Linked));
    let lease = rig.group.lease().expect("it serves");
    assert_eq!(lease.generation(&rig.probe), Some(1));
    assert_eq!(lease.generation(&other.probe), None, "by a lease");
    let asked = rig.group.request(|request| {
        Ok::<_, Fault>((request.generation(&rig.probe), request.generation(&other.probe)))
    });
    assert_eq!(asked, Ok((Some(1), None)), "in a request");
    drop(lease);
    rig.end();
    other.end();
}

/// A subscriber that can't write, as one whose pipe is closed.
struct Broken {
    /// In its filter, before any event comes to it.
    at_once: bool,
}

impl Broken {
    fn write(&self, target: &str) {
        assert!(!target.starts_with("midflight"), "the log's pipe is closed");
    }
}

impl<S: Subscriber> Layer<S> for Broken {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if self.at_once {
            self.write(metadata.target());
        }
        true
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.write(event.metadata().target());
    }
}

#[test]
fn s15_a_subscriber_that_panics_ends_nothing() {
    let body = |at_once: &str| {
        tracing_subscriber::registry().with(Broken { at_once: at_once == "at_once" }).init();
        let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
        assert_eq!(rig.probe.version(), Ok(1));
        let second = rig.apply(Fixture::V2);
        rig.log.wait("unmapped", 1);
        assert_eq!(rig.probe.version(), Ok(2));
        // The watcher's thread speaks as well.
        std::fs::write(rig.plugins().join("broken.so"), "no library").expect("a file");
        rig.log.wait_for("a refusal", |event| event.kind.name() == "refused");
        rig.install(Fixture::V3, "probe.so");
        rig.log.wait("active", second + 1);
        assert_eq!(rig.probe.version(), Ok(3));
        rig.host.rollback("probe").expect("the version before");
        assert_eq!(rig.probe.version(), Ok(2));
        rig.refused(|host| host.apply("/nowhere.so"));
        let text = rig.log.text();
        assert_eq!(rig.log.count("subscriber_panicked"), 1, "told, and told once:\n{text}");
        assert!(text.contains("the log's pipe is closed"), "{text}");
        rig.end();
    };
    with_children(body, |test| {
        run_child(test, "late").assert_ok();
        run_child(test, "at_once").assert_ok();
    });
}

type Coroutine = generator::Generator<'static, (), u32>;

/// What a call does inside of the desk.
const SUSPEND: u64 = 1;
const END_THE_OTHER: u64 = 2;

thread_local! {
    /// A call that is suspended.
    static OTHER: RefCell<Option<Coroutine>> = const { RefCell::new(None) };
}

/// A service with coroutines: `wait` suspends the call, or ends another that is suspended.
#[derive(Default)]
struct Weaving {
    host: OnceLock<Host>,
}

impl Weaving {
    fn is_unmapped(&self, generation: u64) -> bool {
        let status = self.host.get().expect("started").status();
        let mut generations = status.generations.iter();
        generations.any(|one| one.generation == generation && one.residency == Residency::Unmapped)
    }
}

impl DeskContract for Weaving {
    fn starting(&self, _: u32, _: u64) -> Begin {
        Begin::Go
    }

    fn retiring(&self, _: u32, _: u64) -> End {
        End::Quietly
    }

    fn stopping(&self, _: u32, _: u64) -> End {
        End::Quietly
    }

    fn hook(&self, _: &str, _: u32, _: &str) -> Begin {
        Begin::Go
    }

    #[allow(deprecated, reason = "what a library deep inside of a service would call")]
    fn wait(&self, token: u64) {
        match token {
            SUSPEND => generator::yield_with(0_u32),
            _ => {
                let mut other = OTHER.take().expect("a call that is suspended");
                assert_eq!(other.resume(), Some(1));
                drop(other);
                // Long enough for what nothing held to be unmapped.
                thread::sleep(Duration::from_millis(300));
                assert!(!self.is_unmapped(1), "under a call that is inside");
            }
        }
    }

    fn nested(&self, _: u32) -> Vec<u64> {
        Vec::new()
    }

    fn panic(&self) {}
}

/// A host on which version 1 serves, and a way to call it and be suspended there.
fn weaving() -> (Arc<Weaving>, Slot<dyn Probe>, Log) {
    let weaving = Arc::new(Weaving::default());
    let builder = Host::builder()
        .contract::<dyn Probe>()
        .provide::<dyn DeskContract, _>(Arc::clone(&weaving));
    let host = builder.start().expect("a host");
    host.apply(Fixture::V1.path()).expect("version 1");
    let (probe, log) = (host.slot::<dyn Probe>("probe").expect("a slot"), Log::of(&host));
    assert!(weaving.host.set(host).is_ok());
    (weaving, probe, log)
}

#[allow(deprecated, reason = "as above")]
fn suspended(probe: &Slot<dyn Probe>) -> Coroutine {
    let probe = probe.clone();
    let mut coroutine = generator::Gn::<()>::new(move || probe.wait(SUSPEND).expect("an answer"));
    assert_eq!(coroutine.resume(), Some(0));
    coroutine
}

#[test]
fn s18_a_call_is_ended_inside_of_a_later_one() {
    in_child(|| {
        let (weaving, probe, log) = weaving();
        OTHER.set(Some(suspended(&probe)));
        weaving.host.get().expect("started").apply(Fixture::V2.path()).expect("version 2");
        assert_eq!(probe.version(), Ok(1), "this thread is inside of a call of version 1");
        assert_eq!(probe.wait(END_THE_OTHER), Ok(1));
        log.wait("unmapped", 1);
        assert_eq!(probe.version(), Ok(2));
    });
}

#[test]
fn s18_a_call_goes_on_on_another_thread() {
    in_child(|| {
        let (weaving, probe, log) = weaving();
        let outer = suspended(&probe);
        let mut nested = suspended(&probe);
        weaving.host.get().expect("started").apply(Fixture::V2.path()).expect("version 2");
        let elsewhere = thread::spawn(move || {
            let mut outer = outer;
            outer.resume()
        });
        assert_eq!(elsewhere.join().expect("no panic"), Some(1));
        thread::sleep(Duration::from_millis(300));
        assert!(!weaving.is_unmapped(1), "under a call that is inside");
        assert_eq!(nested.resume(), Some(1));
        log.wait("unmapped", 1);
        assert_eq!(probe.version(), Ok(2));
    });
}
