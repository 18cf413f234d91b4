//! Consistency: a call never sees half an update.

use midflight::{CallError, Event, EventKind, Fault, Host, HostBuilder, Request, Slot};
use midflight_tests::{
    Desk, Either, Fixture, Rig, WITHIN, Way, both_ways, check_answers, in_child, process, trade,
};
use probe_contracts::{Begin, Probe};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::thread;
use std::time::Duration;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

both_ways![
    a06_a_lease_ends_on_another_thread,
    a07_fifty_calls_deep,
    a08_one_release_for_a_request_of_two_plugins,
    a08_a_plugin_of_another_group_is_a_fault,
    a15_calls_within_calls_beyond_the_bound,
    a15_calls_within_calls_beyond_the_default_bound,
    a15_groups_within_groups_beyond_the_bound,
];

#[test]
fn a02_a_request_stands_between_its_two_calls() {
    let rig = Rig::serving(Fixture::V1);
    let seen = rig.group.request(|r| {
        let (release, generation) = (r.release_number(), r.generation(&rig.probe));
        let first = r.get(&rig.probe).version()?;
        rig.apply(Fixture::V2);
        assert_eq!((r.release_number(), r.generation(&rig.probe)), (release, generation));
        check_answers(&r.get(&rig.probe), 1);
        Ok::<_, Fault>((first, r.get(&rig.probe).version()?))
    });
    assert_eq!(seen, Ok((1, 1)));
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn a02_a_plugin_stands_in_the_host() {
    let rig = Rig::serving(Fixture::V1);
    swap_between(&rig, 0, Fixture::V2);
    assert_eq!(rig.probe.nested(1), Ok(vec![1, 1]), "plugin, host, and the plugin again");
    assert_eq!(rig.probe.nested(1), Ok(vec![2, 2]));
    rig.end();
}

#[test]
fn a03_the_thread_inside_is_old_and_the_one_outside_is_new() {
    let rig = Rig::serving(Fixture::V1);
    thread::scope(|scope| {
        let inside = scope.spawn(|| rig.probe.wait(1));
        rig.desk.until_inside(1);
        rig.apply(Fixture::V2);
        check_answers(&rig.probe, 2);
        rig.desk.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
    });
    rig.log.wait("unmapped", 1);
    rig.end();
}

#[test]
fn a04_a_thousand_swaps_under_full_load() {
    const SWAPS: u64 = 1_000;
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        // Switched to, as far as an operator has been told.
        let active = AtomicU64::new(1);
        let over = AtomicBool::new(false);
        let threads = 2 * thread::available_parallelism().expect("a number of cores").get();
        let tally = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| Tally::of(&rig, &active, &over))).collect();
            let over = Over(&over);
            for generation in 2..SWAPS + 2 {
                let fixture = if generation % 2 == 0 { Fixture::V2 } else { Fixture::V1 };
                assert_eq!(rig.apply(fixture), generation);
                active.store(generation, SeqCst);
                if let Some(before) = generation.checked_sub(2).filter(|before| *before > 0) {
                    rig.log.wait("unmapped", before);
                }
            }
            drop(over);
            clients
                .into_iter()
                .map(|client| client.join().expect("no panic"))
                .reduce(Tally::and)
                .expect("clients")
        });
        println!("{threads} threads: {tally:?}");
        assert_eq!(
            (tally.mixed, tally.failed, tally.wrong, tally.stale),
            (0, 0, 0, 0),
            "{tally:?}"
        );
        assert_eq!(tally.begun, tally.answered, "no call is lost");
        assert!(tally.spanning >= SWAPS, "the calls stand where the swaps happen: {tally:?}");

        rig.log.wait("unmapped", SWAPS);
        let images = process::mappings().into_iter().filter(|line| line.contains("/probe."));
        assert!(
            images.clone().all(|line| line.contains(&format!("/probe.{}.", SWAPS + 1))),
            "{:?}",
            images.collect::<Vec<_>>()
        );
        rig.end();
    });
}

/// Lets the clients end, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What one client saw.
#[derive(Debug, Default)]
struct Tally {
    begun: u64,
    answered: u64,
    /// Answers of two generations in one witness call.
    mixed: u64,
    failed: u64,
    /// One of those that failed, so that a run that fails says how.
    fault: Option<Fault>,
    /// Answers that are not the build's.
    wrong: u64,
    /// Answers of a generation that had been replaced before the call began.
    stale: u64,
    /// Witness calls during which the operator was told of a swap.
    spanning: u64,
}

impl Tally {
    fn of(rig: &Rig, active: &AtomicU64, over: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        while !over.load(SeqCst) {
            let before = active.load(SeqCst);
            tally.begun += 1;
            let seen = match tally.begun % 3 {
                0 => request(rig),
                1 => rig.probe.nested(3),
                _ => lease(rig),
            };
            tally.answered += 1;
            tally.spanning += u64::from(active.load(SeqCst) > before);
            match seen {
                Err(fault) => {
                    tally.failed += 1;
                    tally.fault.get_or_insert(fault);
                }
                Ok(seen) => {
                    tally.mixed += u64::from(seen.iter().any(|generation| *generation != seen[0]));
                    tally.stale += u64::from(seen[0] < before);
                    tally.wrong += u64::from(seen.len() != 4);
                }
            }
        }
        tally
    }

    fn and(self, other: Tally) -> Tally {
        Tally {
            begun: self.begun + other.begun,
            answered: self.answered + other.answered,
            mixed: self.mixed + other.mixed,
            failed: self.failed + other.failed,
            fault: self.fault.or(other.fault),
            wrong: self.wrong + other.wrong,
            stale: self.stale + other.stale,
            spanning: self.spanning + other.spanning,
        }
    }
}

/// Four answers on one release, with the host's own work between them.
fn request(rig: &Rig) -> Result<Vec<u64>, Fault> {
    rig.group.request(|r| {
        let probe = r.get(&rig.probe);
        let first = probe.generation()?;
        thread::yield_now();
        let fee = probe.fee(&trade(1))?;
        thread::yield_now();
        let said = r.generation(&rig.probe).unwrap_or_default();
        Ok(vec![first, generation_of(fee, first), said, probe.generation()?])
    })
}

fn lease(rig: &Rig) -> Result<Vec<u64>, Fault> {
    let lease = rig.group.lease()?;
    let first = lease.get(&rig.probe).generation()?;
    thread::yield_now();
    let chain = lease.get(&rig.probe).nested(1)?;
    let quantity = match lease.get(&rig.probe).quote("ABC") {
        Ok(quote) => quote.quantity,
        Err(CallError::Declined(_)) => 0,
        Err(CallError::Fault(fault)) => return Err(fault),
    };
    Ok([vec![first, generation_of(quantity.into(), first)], chain].concat())
}

/// Odd generations are of build 1, even ones of build 2: 0 where `build` is not that of
/// `generation`.
fn generation_of(build: u64, generation: u64) -> u64 {
    if build == 2 - generation % 2 { generation } else { 0 }
}

#[test]
fn a05_a_swap_at_every_boundary_of_a_chain() {
    const DEPTH: u32 = 6;
    for boundary in 0..DEPTH {
        let rig = Rig::serving(Fixture::V1);
        swap_between(&rig, boundary, Fixture::V2);
        assert_eq!(
            rig.probe.nested(DEPTH),
            Ok(vec![1; DEPTH as usize + 1]),
            "with a swap at {boundary}"
        );
        assert_eq!(rig.probe.nested(DEPTH), Ok(vec![2; DEPTH as usize + 1]));
        rig.end();
    }
}

/// Calls of every shape, one after the other, with a boundary before, between and inside of them;
/// at one of which something happens.
struct Script {
    host: Host,
    desk: Arc<Desk>,
    probe: Slot<dyn Probe>,
    passed: AtomicUsize,
    happens_at: usize,
    happen: fn(&Host, &Arc<Desk>),
}

impl Script {
    fn boundary(&self) {
        if self.passed.fetch_add(1, SeqCst) == self.happens_at {
            (self.happen)(&self.host, &self.desk);
        }
    }

    /// The generations that served, by call.
    fn run(&self) -> Result<[Vec<u64>; 4], Fault> {
        self.boundary();
        let nested = self.probe.nested(2)?;
        self.boundary();
        let request = self.host.request("probe", |request| {
            let probe = request.get(&self.probe);
            let first = probe.generation()?;
            self.boundary();
            let between = probe.nested(1)?;
            self.boundary();
            Ok::<_, Fault>([vec![first], between, vec![probe.generation()?]].concat())
        })?;
        self.boundary();
        let lease = self.host.lease("probe")?;
        self.boundary();
        let mut leased = lease.get(&self.probe).nested(1)?;
        self.boundary();
        leased.push(lease.get(&self.probe).generation()?);
        drop(lease);
        self.boundary();
        Ok([nested, request, leased, vec![self.probe.generation()?]])
    }
}

/// A kind of transition, how it comes about, and which generations may serve after it.
type Kind = (&'static str, fn(&Host, &Arc<Desk>), &'static [u64]);

/// What is switched in stays on probation, so that each kind of way back can be taken.
const TRANSITIONS: [Kind; 9] = [
    ("an update", |host, _| drop(host.apply(Fixture::V2.path()).expect("applied")), &[2]),
    (
        "two updates",
        |host, _| {
            host.apply(Fixture::V2.path()).expect("applied");
            host.apply(Fixture::V3.path()).expect("applied");
        },
        &[3],
    ),
    (
        "a configuration",
        |host, _| drop(host.configure("probe", "factor = 2").expect("applied")),
        &[2],
    ),
    (
        "a way back from a trial",
        |host, _| {
            host.apply(Fixture::V2.path()).expect("applied");
            host.rollback("probe").expect("a way back");
        },
        &[1],
    ),
    (
        "a trial that supersedes one, and is cancelled",
        |host, _| {
            host.apply(Fixture::V2.path()).expect("applied");
            host.apply(Fixture::V3.path()).expect("applied");
            host.cancel("probe").expect("a way back");
        },
        &[1],
    ),
    (
        "a start that fails",
        |host, desk| {
            desk.begin(2, Begin::Fail);
            host.apply(Fixture::V2.path()).expect_err("refused");
        },
        &[1],
    ),
    (
        "a version that does not want to be switched in",
        |host, desk| {
            desk.when_hooked(2, "before_switch", Begin::Fail);
            host.apply(Fixture::V2.path()).expect_err("refused");
        },
        &[1],
    ),
    (
        "a version that fails after its switch",
        |host, desk| {
            desk.when_hooked(2, "after_switch", Begin::Fail);
            host.apply(Fixture::V2.path()).expect_err("refused");
        },
        &[1],
    ),
    ("a text", |host, _| drop(host.apply("Cargo.toml").expect_err("refused")), &[1]),
];

#[test]
fn a05_every_transition_at_every_boundary() {
    for kind in TRANSITIONS {
        at_every_boundary(kind, |builder| builder.probation(LONG));
    }
}

/// Until it is withdrawn, each call is for one of the two.
const CANARIES: [Kind; 2] = [
    ("a canary", |host, _| begin_canary(host), &[1, 2]),
    (
        "a canary that is withdrawn",
        |host, _| {
            begin_canary(host);
            host.cancel("probe").expect("withdrawn");
        },
        &[1],
    ),
];

fn begin_canary(host: &Host) {
    let (applying, mut events) = (host.clone(), host.events());
    thread::spawn(move || applying.apply(Fixture::V2.path()));
    let other = |event: &Event| !matches!(event.kind, EventKind::Canary { .. });
    while other(&events.next_timeout(WITHIN).expect("a canary")) {}
}

#[test]
fn a05_canaries_at_every_boundary() {
    for kind in CANARIES {
        at_every_boundary(kind, |builder| builder.canary("probe", 0.5, LONG));
    }
}

fn at_every_boundary((what, happen, serve): Kind, configure: fn(HostBuilder) -> HostBuilder) {
    let mut happens_at = 0;
    loop {
        let rig = Rig::with(configure);
        rig.apply(Fixture::V1);
        let script = Arc::new(Script {
            host: rig.host.clone(),
            desk: Arc::clone(&rig.desk),
            probe: rig.probe.clone(),
            passed: AtomicUsize::new(0),
            happens_at,
            happen,
        });
        let within = Arc::clone(&script);
        rig.desk.between(move |_| within.boundary());
        let calls = script.run().unwrap_or_else(|fault| panic!("{what} at {happens_at}: {fault}"));
        let has_happened = script.passed.load(SeqCst) > happens_at;
        for (call, generations) in calls.iter().enumerate() {
            let mixed = generations.iter().any(|generation| *generation != generations[0]);
            assert!(!mixed, "{what} at {happens_at}, in call {call}: {generations:?}");
        }
        let firsts: Vec<_> = calls.iter().map(|generations| generations[0]).collect();
        let back = serve.len() == 1 && !firsts.is_sorted();
        assert!(!back && firsts[0] >= 1, "{what} at {happens_at}: {firsts:?}");
        let after = rig.probe.generation().expect("a generation");
        let may = if has_happened { serve } else { &[1] };
        assert!(may.contains(&after), "{what} at {happens_at}: generation {after}");
        // The desk has shares in the host.
        rig.desk.between(|_| {});
        drop(script);
        rig.end();
        if !has_happened {
            break;
        }
        happens_at += 1;
    }
    assert_eq!(happens_at, 12, "so many boundaries has the script");
}

#[test]
fn a06_a_lease_keeps_its_release_for_what_is_called_through_it() {
    let rig = Rig::serving(Fixture::V1);
    let lease = rig.group.lease().expect("a lease");
    let release = lease.release_number();
    rig.apply(Fixture::V2);
    rig.apply(Fixture::V3);
    rig.log.wait("unmapped", 2);
    assert_eq!((lease.release_number(), lease.generation(&rig.probe)), (release, Some(1)));
    assert_eq!(
        lease.get(&rig.probe).nested(2),
        Ok(vec![1, 1, 1]),
        "plugin, host, and the plugin again"
    );
    assert_eq!(rig.probe.nested(2), Ok(vec![3, 3, 3]));
    check_answers(&lease.get(&rig.probe), 1);
    check_answers(&rig.probe, 3);

    // What was entered last counts: the lease inside of a call, and not the call around it.
    let (inner, probe) = (rig.group.lease().expect("a lease"), rig.probe.clone());
    rig.apply(Fixture::V1);
    rig.desk.between(move |_| assert_eq!(inner.get(&probe).wait(0), Ok(3)));
    assert_eq!(rig.probe.nested(1), Ok(vec![4, 4]));

    // It may end on another thread.
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(lease.get(&rig.probe).version(), Ok(1))).join()
    })
    .expect("no panic");
    drop(lease);
    rig.log.wait("unmapped", 1);
    rig.desk.between(|_| {});
    rig.end();
}

fn a06_a_lease_ends_on_another_thread(way: Way) {
    let rig = Rig::serving_by(way);
    let lease = rig.group.lease().expect("a lease");
    assert_eq!(
        (lease.release_number(), lease.generation(&rig.probe)),
        (rig.group.release_number(), Some(1))
    );
    assert_eq!(
        lease.get(&rig.probe).nested(2),
        Ok(vec![1, 1, 1]),
        "plugin, host, and the plugin again"
    );
    thread::scope(|scope| {
        scope.spawn(|| {
            way.check_answers(&lease.get(&rig.probe), 1);
            drop(lease);
        });
    });
    way.check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a06_another_thread_inherits_nothing() {
    let rig = Rig::serving(Fixture::V1);
    let seen = rig.group.request(|r| {
        rig.apply(Fixture::V2);
        let there =
            thread::scope(|scope| scope.spawn(|| rig.probe.version()).join()).expect("no panic");
        Ok::<_, Fault>((r.get(&rig.probe).version()?, there?, rig.probe.version()?))
    });
    assert_eq!(
        seen,
        Ok((1, 2, 1)),
        "the request, another thread, a slot on the request's own thread"
    );
    rig.end();
}

#[test]
fn a07_fifty_calls_deep_with_a_swap_at_the_twenty_fifth() {
    let rig = Rig::serving(Fixture::V1);
    swap_between(&rig, 25, Fixture::V2);
    assert_eq!(rig.probe.nested(49), Ok(vec![1; 50]));
    assert_eq!(rig.probe.nested(49), Ok(vec![2; 50]));
    rig.end();
}

fn a07_fifty_calls_deep(way: Way) {
    let rig = Rig::serving_by(way);
    assert_eq!(rig.probe.nested(49), Ok(vec![1; 50]));
    let in_request = rig.group.request(|r| r.get(&rig.probe).nested(49));
    assert_eq!(in_request, Ok(vec![1; 50]));
    let lease = rig.group.lease().expect("a lease");
    assert_eq!(lease.get(&rig.probe).nested(49), Ok(vec![1; 50]));
    drop(lease);
    rig.end();
}

#[test]
fn a08_a_request_sees_one_release_of_all_its_plugins() {
    let rig = Rig::with(|builder| builder.group("other", "probe"));
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    rig.apply(Fixture::V1);
    rig.apply(Fixture::Other);
    let seen = rig.group.request(|r| {
        let both = || Ok((r.get(&rig.probe).generation()?, r.get(&other).generation()?));
        let before = both()?;
        rig.apply(Fixture::V2);
        Ok::<_, Fault>((before, both()?, other.generation()?))
    });
    assert_eq!(seen, Ok(((1, 2), (1, 2), 2)));
    assert_eq!((rig.probe.generation(), other.generation()), (Ok(3), Ok(2)));
    rig.end();
}

fn a08_one_release_for_a_request_of_two_plugins(way: Way) {
    let rig =
        Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| builder.group("other", "probe"));
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    let seen = rig.group.request(|r| {
        let generations = (r.generation(&rig.probe), r.generation(&other));
        assert_eq!(
            (r.release_number(), generations),
            (rig.group.release_number(), (Some(1), Some(2)))
        );
        Ok::<_, Fault>((
            r.get(&rig.probe).nested(1)?,
            r.get(&other).generation()?,
            other.generation()?,
        ))
    });
    assert_eq!(seen, Ok((vec![1, 1], 2, 2)));
    rig.end();
}

/// Around the number of slots whose entries a call finds with one load.
#[test]
fn a_slot_after_hundreds_is_called_as_the_first() {
    for before in [253, 254, 255] {
        let rig = Rig::with(|builder| builder.group("other", "probe"));
        for number in 0..before {
            rig.host.slot::<dyn Probe>(&format!("nobody-{number}")).expect("a slot");
        }
        let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
        assert_eq!(other.generation().map_err(|fault| fault.code()), Err("not_loaded"));
        rig.apply(Fixture::V1);
        rig.apply(Fixture::Other);
        assert_eq!((rig.probe.generation(), other.generation()), (Ok(1), Ok(2)), "{before} before");
        let lease = rig.group.lease().expect("a lease");
        assert_eq!(lease.get(&other).generation(), Ok(2));
        let both =
            |r: &Request<'_>| Ok((r.get(&rig.probe).generation()?, r.get(&other).generation()?));
        assert_eq!(rig.group.request(|r| both(r)), Ok::<_, Fault>((1, 2)));
        drop(lease);
        rig.end();
    }
}

fn a08_a_plugin_of_another_group_is_a_fault(way: Way) {
    let rig = Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| builder);
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    let absent = rig.host.slot::<dyn Probe>("absent").expect("a slot");
    let wrong = Fault::WrongGroup { plugin: "other".into(), group: "probe".into() };
    assert_eq!(rig.group.request(|r| r.get(&other).version()), Err(wrong.clone()));
    assert_eq!(rig.group.lease().expect("a lease").get(&other).version(), Err(wrong));
    let not_loaded = |name: &str| Fault::NotLoaded { plugin: name.into() };
    assert_eq!(rig.group.request(|r| r.get(&absent).version()), Err(not_loaded("absent")));
    assert_eq!(rig.host.request("nobody", |_| Ok(())), Err(not_loaded("nobody")));
    way.check_answers(&rig.probe, 1);
    rig.end();
}

fn a15_calls_within_calls_beyond_the_bound(way: Way) {
    let rig = Rig::of(way, &[Either::PROBE], |builder| builder.calls_nested_max(8));
    assert_eq!(rig.probe.nested(20), Ok(vec![1; 8]));
    assert_eq!(rig.desk.faults(), [Fault::NestedTooDeep { bound: 8 }]);
    way.check_answers(&rig.probe, 1);
    rig.end();
}

fn a15_calls_within_calls_beyond_the_default_bound(way: Way) {
    let rig = Rig::serving_by(way);
    assert_eq!(rig.probe.nested(80), Ok(vec![1; 64]));
    assert_eq!(rig.desk.faults(), [Fault::NestedTooDeep { bound: 64 }]);
    way.check_answers(&rig.probe, 1);
    rig.end();
}

fn a15_groups_within_groups_beyond_the_bound(way: Way) {
    let rig = Rig::of(way, &[Either::PROBE, Either::OTHER], |builder| builder.groups_nested_max(1));
    let other = rig.host.slot::<dyn Probe>("other").expect("a slot");
    assert_eq!(other.nested(1), Ok(vec![2]), "what it called was in another group");
    assert_eq!(rig.desk.faults(), [Fault::TooManyGroups { bound: 1 }]);
    way.check_answers(&rig.probe, 1);
    way.check_answers(&rig.probe, 1);
    rig.end();
}

/// Switches to `fixture` when a chain has `left` calls to come, once.
fn swap_between(rig: &Rig, left: u32, fixture: Fixture) {
    let (host, mut done) = (rig.host.clone(), false);
    rig.desk.between(move |depth| {
        if depth == left && !done {
            host.apply(fixture.path()).expect("a swap");
            done = true;
        }
    });
}
