//! Handed-over state: carried whole or left as it was, with calls that wait and none that fails.

use futures_executor::block_on;
use keeping_contracts::{Account, Clerk, Keeping};
use midflight::{Code, EventKind, Fault, Host, HostBuilder, Lease, Publish, Slot};
use midflight_tests::{Fixture, Log, WITHIN, run_child, with_children};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// What the plugin calls, and what calls it back.
#[derive(Default)]
struct Asking {
    slot: OnceLock<Slot<dyn Keeping>>,
    /// Held while a call stands between the two.
    between: parking::Stop,
    /// Held while a state waits to be saved or restored.
    leave: parking::Stop,
    /// What is done in the middle of a call.
    within: Mutex<Option<Within>>,
}

type Within = Box<dyn FnOnce() + Send>;

mod parking {
    //! A place to stand at.
    use std::sync::{Condvar, Mutex};

    #[derive(Default)]
    pub(super) struct Stop {
        state: Mutex<(bool, bool)>,
        changed: Condvar,
    }

    impl Stop {
        pub(super) fn close(&self) {
            *self.state.lock().expect("no panic") = (true, false);
        }

        pub(super) fn open(&self) {
            self.state.lock().expect("no panic").0 = false;
            self.changed.notify_all();
        }

        pub(super) fn until_somebody_stands(&self) {
            let state = self.state.lock().expect("no panic");
            drop(self.changed.wait_while(state, |(_, stands)| !*stands).expect("no panic"));
        }

        pub(super) fn pass(&self) {
            let mut state = self.state.lock().expect("no panic");
            state.1 = true;
            self.changed.notify_all();
            drop(self.changed.wait_while(state, |(closed, _)| *closed).expect("no panic"));
        }
    }
}

impl Clerk for Asking {
    fn sum(&self) -> i64 {
        self.between.pass();
        let within = self.within.lock().expect("no panic").take();
        within.into_iter().for_each(|within| within());
        self.slot.get().expect("a slot").sum().expect("a nested call passes")
    }

    fn leave(&self, _: &str) {
        self.leave.pass();
    }
}

struct Scene {
    host: Host,
    slot: Slot<dyn Keeping>,
    clerk: Arc<Asking>,
    log: Log,
    home: tempfile::TempDir,
}

impl Scene {
    fn with(configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Scene {
        let scene = Scene::starting(configure);
        let first = thread::scope(|scope| {
            let first = scope.spawn(|| scene.host.apply(Fixture::Keeping.path()));
            // With `Publish::Manual` it waits for that.
            while !first.is_finished() {
                let _ = scene.host.switch_point();
                thread::yield_now();
            }
            first.join().expect("no panic")
        });
        first.unwrap_or_else(|refusal| panic!("{refusal}"));
        scene
    }

    /// With no plugin but those that come by themselves.
    fn starting(configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Scene {
        let home = tempfile::tempdir().expect("a directory");
        let clerk = Arc::new(Asking::default());
        let builder = Host::builder().provide::<dyn Clerk, _>(Arc::clone(&clerk));
        let host = configure(builder.run_directory(home.path())).start().expect("a host");
        let slot = host.slot::<dyn Keeping>("keeping").expect("a slot");
        assert!(clerk.slot.set(slot.clone()).is_ok());
        Scene { log: Log::of(&host), host, slot, clerk, home }
    }

    fn new() -> Scene {
        // Machines that test are slow, and the bound has a test of its own.
        Scene::with(|builder| builder.handover_wait_max(WITHIN))
    }

    fn on_probation() -> Scene {
        Scene::with(|builder| {
            builder.handover_wait_max(WITHIN).probation(Duration::from_secs(3600))
        })
    }

    #[track_caller]
    fn apply(&self, fixture: Fixture) {
        self.host.apply(fixture.path()).unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    #[track_caller]
    fn refused(&self, fixture: Fixture, code: Code) -> String {
        let before = (self.slot.version(), self.all());
        let refusal = self.host.apply(fixture.path()).expect_err("refused");
        assert_eq!(refusal.code(), code, "{refusal}");
        assert_eq!((self.slot.version(), self.all()), before, "as it was, after {refusal}");
        refusal.to_string()
    }

    fn all(&self) -> Vec<Option<Account>> {
        let count = self.slot.count().expect("a count");
        (0..count).map(|number| self.slot.account(number).expect("an answer")).collect()
    }

    #[track_caller]
    fn end(self) {
        let status = self.host.shutdown(WITHIN);
        for record in &status.generations {
            assert_eq!(record.residency.to_string(), "unmapped", "{record:?}\n{}", self.log.text());
        }
    }
}

#[test]
fn a40_every_item_is_carried_and_what_is_new_has_its_default() {
    let scene = Scene::new();
    scene.slot.open(5_000).expect("opened");
    let before = scene.all();
    scene.apply(Fixture::KeepingV2);
    assert_eq!(scene.slot.version(), Ok(2));
    assert_eq!(scene.all(), before, "payments are 0 in both");
    scene.slot.pay(7, 3).expect("paid");
    let paid = scene.slot.account(7).expect("an answer").expect("an account");
    assert_eq!((paid.total, paid.payments), (10, 1));
    assert!(matches!(
        scene.log.wait("handed_over", 2).kind,
        EventKind::HandedOver { schema: 1, .. }
    ));
    scene.end();
}

#[test]
fn a41_a_state_goes_back_to_the_older_schema() {
    let scene = Scene::new();
    scene.apply(Fixture::KeepingV2);
    scene.slot.open(100).expect("opened");
    scene.slot.pay(7, 3).expect("paid");
    let back = scene.host.rollback("keeping").expect("a way back");
    assert_eq!(back.version, "1.0.0");
    assert_eq!((scene.slot.count(), scene.slot.sum()), (Ok(100), Ok(99 * 100 / 2 + 3)));
    scene.end();
}

#[test]
fn a42_a_schema_without_a_migration_is_refused_before_the_switch() {
    let scene = Scene::new();
    scene.slot.open(10).expect("opened");
    let refusal = scene.refused(Fixture::KeepingStuck, Code::StateIncompatible);
    assert!(refusal.contains("from schema 1 of the state to 2"), "{refusal}");
    assert_eq!(scene.log.count("handed_over"), 0);
    scene.apply(Fixture::KeepingV2);
    scene.end();
}

#[test]
fn a42_nor_is_there_a_way_to_an_older_one() {
    let scene = Scene::new();
    scene.apply(Fixture::KeepingV2);
    scene.apply(Fixture::KeepingStuck); // of the same schema
    scene.slot.open(10).expect("opened");
    scene.refused(Fixture::Keeping, Code::StateIncompatible);
    scene.end();
}

#[test]
fn a31_a_state_that_is_handed_over_has_no_canary() {
    let scene = Scene::with(|builder| builder.canary("keeping", 0.5, Duration::from_millis(1)));
    scene.slot.open(10).expect("opened");
    let refusal = scene.refused(Fixture::KeepingV2, Code::CanaryWithState);
    assert!(refusal.contains("hands its state over"), "{refusal}");
    assert_eq!(scene.log.count("canary"), 0);
    scene.end();
}

#[test]
fn a32_what_is_refused_after_what_serves_was_timed_leaves_it_bare() {
    let scene = Scene::with(|builder| {
        let timed = builder.latency_max(2.0).check_interval(Duration::from_millis(50));
        timed.probation(Duration::from_millis(50))
    });
    let group = scene.host.group("keeping");
    let before = group.release_number();
    scene.refused(Fixture::KeepingStuck, Code::StateIncompatible);
    assert_eq!(group.release_number(), before + 2, "one that measures, and one that does not");
    // A state goes along with what was timed as without.
    scene.slot.open(10).expect("opened");
    scene.apply(Fixture::KeepingV2);
    assert_eq!((scene.slot.version(), scene.slot.count()), (Ok(2), Ok(10)));
    scene.end();
}

#[test]
fn a43_versions_that_share_a_schema_share_the_state() {
    let scene = Scene::new();
    scene.apply(Fixture::KeepingV2);
    scene.slot.open(100).expect("opened");
    scene.slot.pay(7, 3).expect("paid");
    let before = scene.all();
    scene.apply(Fixture::KeepingV3);
    assert_eq!((scene.slot.version(), scene.all()), (Ok(3), before));
    scene.end();
}

#[test]
fn a44_a_migration_that_fails_leaves_everything_as_it_was() {
    let scene = Scene::new();
    scene.slot.open(5_000).expect("opened");
    scene.slot.name(4_321, "no up").expect("named");
    let refusal = scene.refused(Fixture::KeepingV2, Code::HandoverFailed);
    assert!(refusal.contains("4321") && refusal.contains("the name says no"), "{refusal}");
    // Whatever was in the way is gone, and it works.
    scene.slot.name(4_321, "fine").expect("named");
    scene.apply(Fixture::KeepingV2);
    assert_eq!(scene.slot.count(), Ok(5_000));
    scene.end();
}

/// Threads and futures pay all the time, each into an account of its own.
fn paying<R>(scene: &Scene, while_they_pay: impl FnOnce() -> R) -> (R, Vec<i64>) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let payers: Vec<_> = (0..4_u64)
            .map(|number| {
                let (slot, over) = (scene.slot.clone(), &over);
                scope.spawn(move || {
                    let mut paid = 0;
                    while !over.load(SeqCst) {
                        let now = match number % 2 {
                            0 => slot.pay(number, 1),
                            _ => block_on(slot.pay_later(number, 1)),
                        };
                        paid += 1;
                        assert_eq!(now, Ok(paid), "none is lost, none fails");
                    }
                    paid
                })
            })
            .collect();
        let result = while_they_pay();
        over.store(true, SeqCst);
        (result, payers.into_iter().map(|payer| payer.join().expect("no panic")).collect())
    })
}

#[test]
fn a45_calls_wait_and_none_fails() {
    let scene = Scene::new();
    let ((), paid) = paying(&scene, || {
        for _ in 0..5 {
            scene.apply(Fixture::KeepingV2);
            scene.host.rollback("keeping").expect("a way back");
        }
    });
    for (number, paid) in (0..).zip(paid) {
        let account = scene.slot.account(number).expect("an answer").expect("an account");
        assert_eq!(account.total, paid, "of account {number}");
    }
    assert_eq!(scene.log.count("handed_over"), 10);
    scene.end();
}

#[test]
fn a45_a_nested_call_passes_the_door() {
    let scene = Scene::new();
    scene.slot.open(10).expect("opened");
    scene.clerk.between.close();
    thread::scope(|scope| {
        let asking = scope.spawn(|| scene.slot.ask_the_clerk());
        scene.clerk.between.until_somebody_stands();
        let applying = scope.spawn(|| scene.apply(Fixture::KeepingV2));
        scene.log.wait("prepared", 2);
        // The door is shut when a call from outside waits.
        let waiting = scope.spawn(|| {
            let (mut longest, mut version) = (Duration::ZERO, Ok(1));
            while version == Ok(1) {
                let began = Instant::now();
                version = scene.slot.version();
                longest = longest.max(began.elapsed());
            }
            (longest, version)
        });
        thread::sleep(Duration::from_millis(300));
        assert!(!applying.is_finished() && !waiting.is_finished(), "a call is inside");
        scene.clerk.between.open();
        assert_eq!(asking.join().expect("no panic"), Ok(45));
        applying.join().expect("no panic");
        let (longest, version) = waiting.join().expect("no panic");
        assert_eq!(version, Ok(2));
        assert!(longest >= Duration::from_millis(20), "it waited: {longest:?}");
    });
    scene.end();
}

/// Shuts the door and keeps it shut until the lease is dropped that it answers with.
fn shut(scene: &Scene, fixture: Fixture) -> (Lease, thread::JoinHandle<()>) {
    let (lease, host) = (scene.host.lease("keeping").expect("a lease"), scene.host.clone());
    let applying = thread::spawn(move || {
        host.apply(fixture.path()).unwrap_or_else(|refusal| panic!("{refusal}"));
    });
    let began = Instant::now();
    // What is begun and not polled does nothing.
    while format!("{:?}", scene.slot.pay_later(0, 0)) != "Answer(waiting)" {
        assert!(began.elapsed() < WITHIN, "the door is shut");
        thread::yield_now();
    }
    (lease, applying)
}

/// On the one thread that has what the door waits for: would it wait as a thread, it would wait for
/// itself.
#[test]
fn a45_calls_of_async_methods_wait_as_futures() {
    let scene = Scene::new();
    scene.slot.open(10).expect("opened");
    let (lease, applying) = shut(&scene, Fixture::KeepingV2);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let name = "lent until the end".to_owned();
    let mut answers: Vec<_> = (0..5).map(|_| scene.slot.pay_later(7, 1)).collect();
    let renamed = scene.slot.name_later(3, &name);
    for answer in &mut answers {
        assert!(Pin::new(answer).poll(&mut context).is_pending());
    }
    assert_eq!(format!("{:?}", answers[0]), "Answer(waiting)");
    // One that is given up is never begun; one that was never asked is, when it is.
    answers.truncate(4);
    assert_eq!(woken.0.load(SeqCst), 0);
    assert_eq!(lease.get(&scene.slot).account(7).expect("an answer").expect("an account").total, 7);
    drop(lease);
    applying.join().expect("applied");
    let began = Instant::now();
    while woken.0.load(SeqCst) < 4 {
        assert!(began.elapsed() < WITHIN, "woken");
        thread::yield_now();
    }
    let mut paid: Vec<_> =
        answers.into_iter().map(|answer| block_on(answer).expect("paid")).collect();
    paid.sort_unstable();
    assert_eq!(paid, [8, 9, 10, 11]);
    assert_eq!(block_on(renamed), Ok(2), "the version that answers");
    let account = scene.slot.account(3).expect("an answer").expect("an account");
    assert_eq!(account.name.as_str(), name);
    scene.end();
}

/// What counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a45_a_future_that_waits_at_a_door_that_shuts_again() {
    let scene = Scene::new();
    scene.slot.open(10).expect("opened");
    let (lease, applying) = shut(&scene, Fixture::KeepingV2);
    let mut answer = scene.slot.pay_later(7, 1);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut answer).poll(&mut context).is_pending());
    drop(lease);
    applying.join().expect("applied");
    let (lease, applying) = shut(&scene, Fixture::KeepingV3);
    assert!(Pin::new(&mut answer).poll(&mut context).is_pending(), "at the next door");
    drop(lease);
    applying.join().expect("applied");
    assert_eq!(block_on(answer), Ok(8));
    assert_eq!(scene.slot.version(), Ok(3));
    scene.end();
}

#[test]
fn a45_at_the_bound_the_old_version_goes_on() {
    let scene = Scene::with(|builder| builder.handover_wait_max(Duration::from_secs(1)));
    scene.slot.open(10).expect("opened");
    let lease = scene.host.lease("keeping").expect("a lease");
    let refusal = scene.host.apply(Fixture::KeepingV2.path()).expect_err("a lease is inside");
    assert_eq!(refusal.code(), Code::HandoverTimedOut, "{refusal}");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(1), Ok(45)));
    assert_eq!(lease.get(&scene.slot).sum(), Ok(45));
    drop(lease);
    scene.log.wait("unmapped", 2);
    scene.apply(Fixture::KeepingV2);
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(2), Ok(45)));
    scene.end();
}

#[test]
fn a45_requests_and_leases_wait_as_well() {
    let scene = Scene::new();
    scene.slot.open(10).expect("opened");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let group = scene.host.group("keeping");
        let (slot, over) = (&scene.slot, &over);
        let requests = scope.spawn(move || {
            let mut seen = Vec::new();
            while !over.load(SeqCst) {
                let both = group
                    .request(|r| Ok::<_, Fault>((r.get(slot).version()?, r.get(slot).version()?)));
                let (one, other) = both.expect("no fault");
                assert_eq!(one, other);
                let lease = group.lease().expect("a lease");
                assert!(lease.get(slot).version().expect("no fault") >= one);
                seen.push(one);
            }
            seen
        });
        for fixture in [Fixture::KeepingV2, Fixture::KeepingV3] {
            scene.apply(fixture);
            thread::sleep(Duration::from_millis(5));
        }
        over.store(true, SeqCst);
        let seen = requests.join().expect("no panic");
        assert!(seen.is_sorted() && seen.last() == Some(&3), "{seen:?}");
    });
    scene.end();
}

#[test]
fn a47_going_back_brings_the_state_of_now() {
    let scene = Scene::on_probation();
    scene.slot.open(100).expect("opened");
    scene.apply(Fixture::KeepingV2);
    scene.slot.pay(7, 3).expect("paid");
    let back = scene.host.rollback("keeping").expect("a way back");
    assert_eq!(back.generation, 1, "the one that was on standby");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(1), Ok(99 * 100 / 2 + 3)));
    assert_eq!(scene.log.count("state_lost"), 0);
    scene.end();
}

#[test]
fn a32_a_state_that_can_not_be_saved_is_no_error_of_a_call() {
    let scene = Scene::with(|builder| {
        builder.probation(Duration::from_secs(3600)).errors_max(0).panics_max(0)
    });
    scene.slot.open(100).expect("opened");
    scene.apply(Fixture::KeepingV2);
    scene.slot.name(50, "no down").expect("named");
    scene.refused(Fixture::Keeping, Code::HandoverFailed);
    // By then the control thread has looked many times.
    thread::sleep(Duration::from_millis(100));
    assert_eq!((scene.slot.version(), scene.log.count("returned")), (Ok(2), 0));
    scene.end();
}

#[test]
fn a47_a_state_that_can_not_go_back_is_that_of_the_switch_and_it_says_so() {
    let scene = Scene::on_probation();
    scene.slot.open(100).expect("opened");
    scene.apply(Fixture::KeepingV2);
    scene.slot.pay(7, 3).expect("paid");
    scene.slot.name(50, "no down").expect("named");
    scene.host.rollback("keeping").expect("a way back");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(1), Ok(99 * 100 / 2)));
    let lost = scene.log.wait("state_lost", 1).to_string();
    assert!(lost.contains("what changed since is lost") && lost.contains("50"), "{lost}");
    scene.end();
}

#[test]
fn a38_a_switch_point_is_over_when_the_state_is_there() {
    let scene = Scene::with(|builder| {
        builder.publish(midflight::Publish::Manual).handover_wait_max(Duration::from_secs(1))
    });
    scene.slot.open(100).expect("opened");
    let apply = |generation| {
        let host = scene.host.clone();
        let applied = thread::spawn(move || host.apply(Fixture::KeepingV2.path()));
        scene.log.wait("prepared", generation);
        applied
    };
    // A tick that still holds the old version can't be switched under.
    let (lease, refused) = (scene.host.lease("keeping").expect("a lease"), apply(2));
    assert_eq!(
        (scene.host.switch_point().expect("a switch point"), scene.slot.version()),
        (0, Ok(1))
    );
    assert_eq!(refused.join().expect("no panic").expect_err("held").code(), Code::HandoverTimedOut);
    drop(lease);
    let applied = apply(3);
    assert_eq!(
        (scene.host.switch_point().expect("a switch point"), scene.slot.version()),
        (1, Ok(2))
    );
    applied.join().expect("no panic").expect("applied");
    assert_eq!(scene.slot.count(), Ok(100));
    scene.end();
}

#[test]
fn a34_a_hand_over_that_was_given_up_leaves_what_is_on_probation_on_probation() {
    let dies = |journal: &str| {
        let wait = Duration::from_millis(200);
        let scene = Scene::with(|builder| {
            builder.journal(journal).handover_wait_max(wait).probation(Duration::from_secs(3600))
        });
        scene.apply(Fixture::KeepingV2);
        let _lease = scene.host.lease("keeping").expect("a lease");
        let refusal = scene.host.apply(Fixture::KeepingV3.path()).expect_err("a lease is inside");
        assert_eq!(refusal.code(), Code::HandoverTimedOut, "{refusal}");
        let kill = rustix::process::Signal::KILL;
        rustix::process::kill_process(rustix::process::getpid(), kill).expect("the end");
    };
    with_children(dies, |test| {
        let journal = tempfile::tempdir().expect("a directory");
        let died = run_child(test, &journal.path().display().to_string());
        assert_eq!(died.signal(), Some(libc::SIGKILL), "{died:?}");
        let scene = Scene::starting(|builder| builder.journal(journal.path()));
        assert_eq!(scene.slot.version(), Ok(1));
        let status = scene.host.status();
        assert_eq!(status.plugins[0].held.len(), 1, "it was on probation: {status:#?}");
        scene.end();
    });
}

#[test]
fn a46_what_is_attached_to_an_object_is_there_once_through_all_versions() {
    const THREADS: u64 = 3;
    const VISITS: u64 = 2_000;
    let scene = Scene::new();
    let attached = scene.host.attached();
    assert_eq!(
        (attached.names(), attached.len()),
        (vec!["visits".to_owned()], 0),
        "asked for by the start"
    );
    let began = std::sync::Barrier::new(usize::try_from(THREADS).expect("few") + 1);
    thread::scope(|scope| {
        let visiting = || {
            began.wait();
            // All at the same object at once, which has nothing yet; and each at one of its own.
            let own =
                1_000 + u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
            (0..VISITS).fold(0, |before, _| {
                let common = scene.slot.visit(7).expect("an answer");
                assert!(common > before, "{common} after {before}");
                scene.slot.visit(own).expect("an answer");
                common
            })
        };
        let visitors: Vec<_> = (0..THREADS).map(|_| scope.spawn(visiting)).collect();
        began.wait();
        scene.apply(Fixture::KeepingV2);
        scene.apply(Fixture::KeepingV3);
        scene.host.rollback("keeping").expect("a way back");
        for visitor in visitors {
            visitor.join().expect("no panic");
        }
    });
    scene.log.wait("unmapped", 1);
    assert_eq!(scene.slot.visit(7), Ok(THREADS * VISITS + 1), "each was counted once");
    assert_eq!(attached.len() as u64, THREADS + 1, "one for each object and name");

    // It ends with its object, once.
    assert_eq!((attached.forget(7), attached.forget(7)), (1, 0));
    assert_eq!(scene.slot.visit(7), Ok(1), "another object that has its number");
    assert_eq!(attached.forget(7), 1);
    assert_eq!(attached.len() as u64, THREADS);
    // What a version attached is the host's, and goes with nobody else.
    scene.apply(Fixture::KeepingV3);
    assert_eq!(attached.len() as u64, THREADS);
    assert!(attached.bytes() as u64 >= THREADS);
    scene.end();
}

#[test]
fn j01_a_late_restore_changes_nothing_in_what_serves_again() {
    // Who clears up after it is there before it, or has given that up.
    for late in [Duration::ZERO, Duration::from_millis(1_500)] {
        restores_late(late);
    }
}

/// A restore that ends so `late` after it was given up.
#[track_caller]
fn restores_late(late: Duration) {
    let wait = Duration::from_millis(200);
    let scene = Scene::with(|builder| {
        let builder = builder.handover_wait_max(wait).hook_deadline(wait);
        builder.probation(Duration::from_secs(3600))
    });
    scene.slot.open(10).expect("opened");
    scene.apply(Fixture::KeepingV2);
    scene.slot.pay(7, 1_000).expect("paid");
    scene.slot.name(3, "waits to be restored").expect("named");
    scene.clerk.leave.close();
    scene.host.rollback("keeping").expect("a way back");
    scene.clerk.leave.until_somebody_stands();
    let lost = scene.log.wait("state_lost", 1).to_string();
    assert!(lost.contains("keeping 1.0.0 was still in the restore of its state"), "{lost}");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(1), Ok(45)));
    scene.slot.pay(7, 1).expect("paid");
    thread::sleep(late);
    // The worker that was given up restores what it was to restore, now.
    scene.clerk.leave.open();
    let began = Instant::now();
    let at_work = || {
        let status = scene.host.status();
        status.generations.iter().any(|record| record.residency.to_string() == "retiring")
    };
    while at_work() {
        assert!(began.elapsed() < WITHIN, "the second version goes");
        assert_eq!(scene.slot.sum(), Ok(46), "{late:?}: what serves has what was paid since");
    }
    // The next one to come by waits for the end of that.
    scene.apply(Fixture::KeepingV3);
    scene.slot.pay(7, 1).expect("paid");
    scene.host.rollback("keeping").expect("a way back");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(1), Ok(47)), "{late:?}");
    assert_eq!(scene.log.count("state_lost"), 1);
    scene.end();
}

impl Scene {
    /// Of two plugins in one group, of which what comes stays on probation.
    fn of_two() -> (Scene, Slot<dyn Keeping>) {
        let scene = Scene::starting(|builder| {
            let builder = builder.group("keeping", "desk").group("keeping-other", "desk");
            builder.handover_wait_max(WITHIN).probation(Duration::from_secs(3600))
        });
        let other = scene.host.slot::<dyn Keeping>("keeping-other").expect("a slot");
        scene.release("1.0.0", Fixture::Keeping, Fixture::KeepingOther);
        for slot in [&scene.slot, &other] {
            slot.pay(0, 100).expect("paid");
        }
        (scene, other)
    }

    /// Both, with one store.
    #[track_caller]
    fn release(&self, version: &str, one: Fixture, other: Fixture) {
        self.apply_release(&[("keeping", version, one, ""), ("keeping-other", version, other, "")]);
    }

    /// Of each its name, its version, its file, and what its configuration has.
    #[track_caller]
    fn apply_release(&self, plugins: &[(&str, &str, Fixture, &str)]) {
        let plugin = |(name, version, fixture, config): &(&str, &str, Fixture, &str)| {
            let file = fixture.path();
            format!(
                "[[plugin]]\nname = {name:?}\nversion = {version:?}\nfile = {file:?}\n\
                 config = {{ {config} }}\n"
            )
        };
        let path = self.home.path().join("release.toml");
        let text = plugins.iter().map(plugin).collect::<String>();
        std::fs::write(&path, text).expect("a release file");
        self.host.apply_release(&path).unwrap_or_else(|refusal| panic!("{refusal}"));
    }
}

#[test]
fn j05_a_return_moves_the_states_of_all_or_of_none() {
    for (name, moves) in [("no down", false), ("no save", false), ("fine", true)] {
        let (scene, other) = Scene::of_two();
        scene.release("2.0.0", Fixture::KeepingV2, Fixture::KeepingOtherV2);
        // From one to the other: what both have is 200 at all times.
        scene.slot.pay(0, 50).expect("paid");
        other.pay(0, -50).expect("paid");
        other.name(0, name).expect("named");
        scene.host.rollback("keeping").expect("a way back");
        assert_eq!((scene.slot.version(), other.version()), (Ok(1), Ok(1)));
        let both = (scene.slot.sum(), other.sum());
        let lost: Vec<_> =
            scene.log.seen().into_iter().filter(|it| it.kind.name() == "state_lost").collect();
        match moves {
            true => assert_eq!((both, lost.len()), ((Ok(150), Ok(50)), 0)),
            false => {
                assert_eq!(both, (Ok(100), Ok(100)), "as at the switch, of both");
                assert_eq!(
                    lost.iter().map(|it| it.generation).collect::<Vec<_>>(),
                    [Some(1), Some(2)]
                );
                assert!(lost[0].to_string().contains("keeping-other 2.0.0"), "{}", lost[0]);
            }
        }
        scene.end();
    }
}

#[test]
fn j05_where_one_state_has_no_way_back_no_other_goes_without_it() {
    let (scene, other) = Scene::of_two();
    scene.release("2.0.0", Fixture::KeepingV2, Fixture::KeepingOtherV2);
    // The one takes over what the version before it has, and knows no other schema.
    scene.apply_release(&[
        ("keeping", "2.0.1", Fixture::KeepingStuck, ""),
        ("keeping-other", "2.0.0", Fixture::KeepingOtherV2, "again = true"),
    ]);
    scene.slot.pay(0, 50).expect("paid");
    other.pay(0, -50).expect("paid");
    scene.host.rollback("keeping").expect("a way back");
    assert_eq!((scene.slot.version(), other.version()), (Ok(1), Ok(1)));
    let both = (scene.slot.sum(), other.sum());
    assert_eq!(both, (Ok(100), Ok(100)), "as at the switch, of both");
    for (generation, why) in [(1, "from schema 2 of the state to 1"), (2, "that of keeping stays")]
    {
        let lost = scene.log.wait("state_lost", generation).to_string();
        assert!(lost.contains(why), "{lost}");
    }
    scene.end();
}

#[test]
fn j10_a_guard_that_was_forgotten_is_named_and_nothing_piles_up() {
    let scene = Scene::with(|builder| {
        let builder = builder.start_deadline(Duration::from_secs(3)).generations_max(2);
        builder.handover_wait_max(Duration::from_millis(200))
    });
    scene.slot.err("forget a guard", 1).expect("forgotten");
    for generation in [2, 3] {
        let refusal = scene.host.apply(Fixture::KeepingV2.path()).expect_err("it is held");
        assert_eq!(refusal.code(), Code::HandoverTimedOut, "{refusal}");
        let named = "a guard of the state of keeping 1.0.0 (Handed::read, Handed::write)";
        assert!(refusal.reason().contains(named), "{refusal}");
        scene.log.wait("unmapped", generation);
    }
    assert_eq!(scene.slot.version(), Ok(1));
    scene.end();
}

#[test]
fn j10_who_holds_a_state_that_is_being_saved_is_named() {
    let scene = Scene::with(|builder| {
        let builder = builder.probation(Duration::from_secs(3600)).drain_deadline(Duration::ZERO);
        builder.handover_wait_max(Duration::from_millis(200))
    });
    scene.slot.open(10).expect("opened");
    scene.apply(Fixture::KeepingV2);
    scene.slot.name(3, "waits to be saved").expect("named");
    scene.clerk.leave.close();
    scene.host.rollback("keeping").expect("a way back");
    let lost = scene.log.wait("state_lost", 1).to_string();
    assert!(lost.contains("keeping 2.0.0 was still in the save of its state"), "{lost}");
    let stalled = scene.log.wait("stalled", 2).to_string();
    assert!(stalled.contains("a worker in its save of its state"), "{stalled}");
    scene.clerk.leave.open();
    scene.log.wait("unmapped", 2);
    scene.end();
}

#[test]
fn j11_an_update_within_an_update_returns() {
    let scene = Scene::new();
    let told = scene.slot.err("update within an update", 1).expect("an answer");
    assert!(told.contains("is not updated: `change` wrote it"), "{told}");
    assert!(told.ends_with("and now Some(10)"), "{told}");
    scene.end();
}

#[test]
fn j38_what_would_wait_for_the_very_call_is_refused_at_once() {
    let scene = Scene::with(|builder| builder.publish(Publish::Manual).handover_wait_max(WITHIN));
    scene.slot.open(10).expect("opened");
    let host = scene.host.clone();
    let applied = thread::spawn(move || host.apply(Fixture::KeepingV2.path()));
    scene.log.wait("prepared", 2);
    let (host, (told, refused)) = (scene.host.clone(), std::sync::mpsc::channel());
    *scene.clerk.within.lock().expect("no panic") = Some(Box::new(move || {
        let refusals = [
            host.switch_point().map(drop),
            host.apply(Fixture::KeepingV3.path()).map(drop),
            host.try_apply(Fixture::KeepingV3.path()).map(drop),
            host.rollback("keeping").map(drop),
            host.configure("keeping", "").map(drop),
            host.cancel("keeping"),
        ];
        told.send(refusals).expect("somebody listens");
    }));
    assert_eq!(scene.slot.ask_the_clerk(), Ok(45));
    for refused in refused.recv().expect("refusals") {
        let refusal = refused.expect_err("it would wait for itself");
        assert_eq!(refusal.code(), Code::InsideCall, "{refusal}");
        assert!(refusal.reason().contains("group keeping"), "{refusal}");
    }
    // Nothing was thrown away.
    assert_eq!(scene.host.switch_point().expect("a switch point"), 1);
    applied.join().expect("no panic").expect("applied");
    assert_eq!((scene.slot.version(), scene.slot.sum()), (Ok(2), Ok(45)));
    scene.end();
}

#[test]
fn j05_a_release_that_is_ready_while_another_goes_back_comes_after_it() {
    let (scene, other) = Scene::of_two();
    scene.apply(Fixture::KeepingV2);
    scene.slot.name(0, "waits to be saved").expect("named");
    scene.clerk.leave.close();
    let path = scene.home.path().join("release.toml");
    let file = Fixture::KeepingOtherV2.path();
    let text =
        format!("[[plugin]]\nname = \"keeping-other\"\nversion = \"2.0.0\"\nfile = {file:?}\n");
    std::fs::write(&path, text).expect("a release file");
    let [release, back] = [scene.host.clone(), scene.host.clone()];
    let release = thread::spawn(move || release.apply_release(path).map(drop));
    scene.log.wait("staged", 4);
    let back = thread::spawn(move || back.cancel("keeping"));
    scene.clerk.leave.until_somebody_stands();
    scene.log.wait("prepared", 4);
    scene.clerk.leave.open();
    back.join().expect("no panic").expect("it went back");
    release.join().expect("no panic").expect("applied");
    assert_eq!((scene.slot.version(), other.version()), (Ok(1), Ok(2)));
    assert_eq!((scene.slot.sum(), other.sum()), (Ok(100), Ok(100)));
    let active = scene.log.seen();
    let active: Vec<_> = active.iter().filter(|it| it.kind.name() == "active").collect();
    let last: Vec<_> = active.iter().rev().take(2).filter_map(|it| it.generation).collect();
    assert_eq!(last, [4, 1], "first the one that was on its way back");
    assert_eq!(scene.log.count("state_lost"), 0);
    scene.end();
}
