//! Objects and callbacks: what a plugin hands out holds its version, what it leaves does not.

use handing_contracts::{Board as BoardContract, End, Feed, Handing, Listener, Session};
use midflight::{Callback, EventKind, Fault, HostBuilder, Object, Residency, Slot};
use midflight_plugin::contract;
use midflight_tests::{Fixture, Rig, WITHIN, in_child, process};
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the plugin `handing` calls.
#[derive(Default)]
struct Board {
    left: Mutex<Vec<Callback<dyn Listener>>>,
    /// What was dropped, as the plugin says it: build, and what it was told meanwhile.
    dropped: Mutex<Vec<(u32, u32)>>,
    handing: OnceLock<Slot<dyn Handing>>,
    tokens: Mutex<(Vec<u64>, Vec<u64>)>,
    changed: Condvar,
    /// What the first call through a listener gave that came in its own start.
    early: Mutex<Vec<Result<u64, Fault>>>,
    feeds: Arc<AtomicU64>,
}

struct Counts(Arc<AtomicU64>);
impl Feed for Counts {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, SeqCst)
    }
}
impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1000, SeqCst);
    }
}

impl BoardContract for Board {
    fn subscribe(&self, listener: Callback<dyn Listener>) {
        self.early.lock().unwrap().push(listener.tick(0));
        self.left.lock().unwrap().push(listener);
    }

    fn take_back(&self) -> Option<Callback<dyn Listener>> {
        self.left.lock().unwrap().pop()
    }

    fn ask(&self) -> u32 {
        self.handing.get().expect("a slot").build().unwrap_or(0)
    }

    fn dropped(&self, build: u32, told: u32) {
        self.dropped.lock().unwrap().push((build, told));
    }

    fn wait(&self, token: u64) {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.0.push(token);
        self.changed.notify_all();
        let waited =
            self.changed.wait_timeout_while(tokens, WITHIN, |(_, let_go)| !let_go.contains(&token));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn feed(&self) -> Option<Box<dyn Feed>> {
        Some(Box::new(Counts(Arc::clone(&self.feeds))))
    }
}

impl Board {
    /// The listeners that are left, oldest first.
    fn left(&self) -> Vec<Callback<dyn Listener>> {
        self.left.lock().unwrap().clone()
    }

    fn newest(&self) -> Callback<dyn Listener> {
        self.left.lock().unwrap().last().expect("a listener").clone()
    }

    fn clear(&self) {
        let left = std::mem::take(&mut *self.left.lock().unwrap());
        drop(left);
    }

    fn told(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut *self.dropped.lock().unwrap())
    }

    fn let_go(&self, token: u64) {
        self.tokens.lock().unwrap().1.push(token);
        self.changed.notify_all();
    }

    #[track_caller]
    fn until_waiting(&self, token: u64) {
        let tokens = self.tokens.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(tokens, WITHIN, |(waiting, _)| !waiting.contains(&token));
        assert!(!waited.unwrap().1.timed_out(), "nobody waits with token {token}");
    }
}

/// What the instance says when it is stopped.
const STOPPED: u32 = 100;

/// A rig with the plugin `handing`.
struct Scene {
    rig: Rig,
    board: Arc<Board>,
    handing: Slot<dyn Handing>,
}

impl Deref for Scene {
    type Target = Rig;
    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Scene {
    fn new() -> Scene {
        Scene::with(|builder| builder)
    }

    fn with(configure: impl FnOnce(HostBuilder) -> HostBuilder) -> Scene {
        let board = Arc::new(Board::default());
        let service = Arc::clone(&board);
        let rig = Rig::with(|builder| {
            configure(builder.provide::<dyn BoardContract, _>(service).contract::<dyn Handing>())
        });
        let handing = rig.host.slot::<dyn Handing>("handing").expect("a slot");
        assert!(board.handing.set(handing.clone()).is_ok());
        rig.apply(Fixture::Handing);
        Scene { rig, board, handing }
    }

    #[track_caller]
    fn open(&self, end: End) -> Object<dyn Session> {
        self.handing.open(end).expect("a session")
    }

    /// Waits until a generation is gone, and looks for itself.
    #[track_caller]
    fn gone(&self, generation: u64) {
        self.log.wait("unmapped", generation);
        assert_eq!(self.residency(generation), Residency::Unmapped);
        assert_eq!(self.mapped(generation), [""; 0]);
    }

    fn mapped(&self, generation: u64) -> Vec<String> {
        let image = format!("/handing.{generation}.");
        process::mappings().into_iter().filter(|line| line.contains(&image)).collect()
    }

    /// It is retired, and for as long as this waits it goes no further.
    #[track_caller]
    fn held(&self, generation: u64) {
        self.log.wait("retiring", generation);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(self.residency(generation), Residency::Retiring, "{}", self.log.text());
        assert_ne!(self.mapped(generation), [""; 0]);
    }

    /// The texts of the events `panicked`.
    fn panics(&self) -> Vec<String> {
        let panicked = |event: midflight::Event| match event.kind {
            EventKind::Panicked(text) => Some(text),
            _ => None,
        };
        self.log.seen().into_iter().filter_map(panicked).collect()
    }

    fn end(self) {
        self.board.clear();
        let Scene { rig, handing, .. } = self;
        drop(handing);
        rig.end();
    }
}

fn revoked<T>() -> Result<T, Fault> {
    Err(Fault::Revoked { plugin: "handing".into() })
}

#[test]
fn a10_a_callback_and_a_timer_that_were_left_with_the_host() {
    in_child(|| {
        let scene = Scene::new();
        let listener = scene.board.newest();
        assert_eq!(listener.tick(7), Ok(1007));
        // A timer: calls for as long as it is answered, and says how it ended.
        let (ticks, timer) = (Arc::new(AtomicU64::new(0)), listener.clone());
        let counted = Arc::clone(&ticks);
        let timer = thread::spawn(move || {
            loop {
                match timer.tick(1) {
                    Ok(answer) => assert_eq!(answer, 1001),
                    Err(fault) => break fault,
                }
                counted.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let deadline = Instant::now() + WITHIN;
        while ticks.load(SeqCst) < 5 {
            assert!(Instant::now() < deadline, "the timer ticks");
            thread::yield_now();
        }
        scene.apply(Fixture::HandingV2);
        assert_eq!(listener.tick(7), revoked());
        assert_eq!(Err::<(), _>(timer.join().expect("no panic")), revoked());
        let fault = listener.tick(7).unwrap_err();
        assert_eq!((fault.code(), fault.plugin()), ("revoked", Some("handing")));
        // The host still has it, and that keeps nothing.
        scene.gone(1);
        assert_eq!(
            scene.board.told(),
            [(1, 0), (1, STOPPED)],
            "the object was dropped, then the instance"
        );
        assert_eq!(scene.panics(), [""; 0]);
        assert_eq!(listener.tick(7), revoked());
        assert_eq!(format!("{listener:?}"), "Callback(handing-contracts::Listener, of handing)");
        assert_eq!(scene.board.newest().tick(1), Ok(2001), "the new version has left its own");
        drop(listener);
        scene.end();
    });
}

#[test]
fn a10_a_callback_that_is_called_before_its_version_serves() {
    in_child(|| {
        let scene = Scene::new();
        assert_eq!(*scene.board.early.lock().unwrap(), [revoked()], "in its own start");
        assert_eq!(scene.board.newest().tick(1), Ok(1001));
        scene.apply(Fixture::HandingV2);
        assert_eq!(*scene.board.early.lock().unwrap(), [revoked(), revoked()]);
        let [old, new] = &scene.board.left()[..] else { panic!("two listeners") };
        assert_eq!((old.tick(1), new.tick(1)), (revoked(), Ok(2001)));
        // A new copy of the old version does not bring the old one's back.
        scene.gone(1);
        scene.apply(Fixture::Handing);
        assert_eq!((old.tick(1), new.tick(1)), (revoked(), revoked()));
        assert_eq!(scene.board.newest().tick(1), Ok(1001));
        scene.end();
    });
}

#[test]
fn a31_callbacks_and_objects_of_both_sides_of_a_canary() {
    in_child(|| {
        let scene =
            Scene::with(|builder| builder.canary("handing", 0.5, Duration::from_secs(3600)));
        let host = scene.host.clone();
        let answer = thread::spawn(move || host.apply(Fixture::HandingV2.path()));
        scene.log.wait("canary", 2);
        let [old, new] = &scene.board.left()[..] else { panic!("two listeners") };
        for _ in 0..50 {
            assert_eq!((old.tick(1), new.tick(1)), (Ok(1001), Ok(2001)));
        }
        let sessions: Vec<_> = (0..50).map(|_| scene.open(End::Says)).collect();
        scene.host.cancel("handing").expect("withdrawn");
        answer.join().expect("no panic").expect_err("withdrawn");
        assert_eq!((old.tick(1), new.tick(1)), (Ok(1001), revoked()));
        scene.held(2);
        drop(sessions);
        scene.gone(2);
        scene.end();
    });
}

#[test]
fn a10_a_callback_inside_of_calls_on_the_old_version() {
    in_child(|| {
        let scene = Scene::new();
        let (old, lease) =
            (scene.board.newest(), scene.host.group("handing").lease().expect("a lease"));
        let inside = old.clone();
        let (board, slot) = (Arc::clone(&scene.board), scene.handing.clone());
        let waits = thread::spawn(move || inside.wait(1));
        scene.board.until_waiting(1);
        scene.apply(Fixture::HandingV2);
        assert_eq!(old.through(), revoked(), "another thread gets the current version");
        // Through a lease on it, the old version calls what it had left, and gets itself.
        let refused = slot.call(old.clone()).unwrap_err().to_string();
        // Nobody has compared the contract of the two versions beyond what the host knows of it.
        assert_eq!(refused, "declined: \"foreign_callback\"", "nor may the new version call it");
        assert_eq!(lease.get(&slot).call(old.clone()), Ok(1003));
        board.let_go(1);
        assert_eq!(waits.join().expect("no panic"), Ok(1));
        scene.held(1);
        drop(lease);
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn a10_a_call_through_a_callback_holds_its_version() {
    in_child(|| {
        let scene = Scene::new();
        let listener = scene.board.newest();
        let inside = thread::spawn(move || listener.wait(1));
        scene.board.until_waiting(1);
        scene.apply(Fixture::HandingV2);
        scene.held(1);
        scene.board.let_go(1);
        assert_eq!(inside.join().expect("no panic"), Ok(1));
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn a10_a_callback_that_is_dropped_by_the_host() {
    in_child(|| {
        let scene = Scene::new();
        scene.handing.subscribe(End::Asks).expect("an answer");
        let (listener, other) = (scene.board.take_back().expect("one"), scene.board.newest());
        drop(listener.clone());
        assert_eq!(scene.board.told(), [], "a handle is left");
        thread::spawn(move || drop(listener)).join().expect("no panic");
        assert_eq!(scene.board.told(), [(1, 1)], "in its drop it gets its own version");
        assert_eq!(other.tick(1), Ok(1001), "the other is left alone");
        drop(other);
        scene.apply(Fixture::HandingV2);
        scene.gone(1);
        assert_eq!(scene.board.told(), [(1, 0), (1, STOPPED)], "only what was left");
        scene.end();
    });
}

#[test]
fn a10_a_drop_by_the_host_with_a_switch_in_it() {
    in_child(|| {
        let scene = Scene::new();
        scene.handing.subscribe(End::Waits(1)).expect("an answer");
        let listener = scene.board.take_back().expect("one");
        let drops = thread::spawn(move || drop(listener));
        scene.board.until_waiting(1);
        scene.apply(Fixture::HandingV2);
        scene.held(1);
        scene.board.let_go(1);
        drops.join().expect("no panic");
        scene.gone(1);
        assert_eq!(scene.board.told()[0], (1, 1), "to its end on its own version, as a call");
        scene.end();
    });
}

#[test]
fn a10_a_drop_by_the_host_on_the_way_out() {
    in_child(|| {
        let scene = Scene::new();
        scene.handing.subscribe(End::Waits(1)).expect("an answer");
        let listener = scene.board.take_back().expect("one");
        // Retired, but held: the drop is neither a call of the current version nor one of its own.
        let session = scene.open(End::Says);
        scene.apply(Fixture::HandingV2);
        assert_eq!(listener.tick(1), revoked());
        let drops = thread::spawn(move || drop(listener));
        scene.board.until_waiting(1);
        drop(session);
        // It is stopped meanwhile, and stays mapped under the drop.
        scene.log.wait("stopped", 1);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(scene.log.count("unmapped"), 0, "{}", scene.log.text());
        assert_ne!(scene.mapped(1), [""; 0]);
        scene.board.let_go(1);
        drops.join().expect("no panic");
        scene.gone(1);
        let mut told = scene.board.told();
        told.sort();
        assert_eq!(
            told,
            [(1, 0), (1, 0), (1, 2), (1, STOPPED)],
            "it belongs to no release any more"
        );
        scene.end();
    });
}

#[test]
fn a10_a_thread_that_leaves_a_callback_after_the_end() {
    in_child(|| {
        let scene = Scene::with(|builder| builder.stop_deadline(Duration::from_millis(20)));
        scene.handing.subscribe_late(1).expect("an answer");
        scene.board.until_waiting(1);
        scene.apply(Fixture::HandingV2);
        scene.log.wait("resident", 1);
        assert_eq!(scene.board.told(), [(1, 0), (1, STOPPED)]);
        scene.board.let_go(1);
        scene.board.until_waiting(2);
        assert_eq!(scene.board.told(), [(1, 0)], "its maker has dropped it");
        assert_eq!(scene.board.newest().tick(1), revoked());
        scene.board.let_go(2);
        // Who starts a thread owes its copy of std a destructor.
        let deadline = Instant::now() + WITHIN;
        while scene.residency(1) != Residency::Unmapped {
            assert!(Instant::now() < deadline, "{:?}", scene.residency(1));
            assert_eq!(scene.handing.build(), Ok(2));
        }
        scene.gone(1);
        assert_eq!(scene.board.newest().tick(1), revoked());
        scene.end();
    });
}

#[test]
fn a10_a_start_that_fails_after_it_has_left_a_callback() {
    in_child(|| {
        let scene = Scene::new();
        let refusal = scene.host.apply(Fixture::HandingFails.path()).unwrap_err();
        assert_eq!(refusal.code().to_string(), "start_failed");
        let left = scene.board.newest();
        assert_eq!((left.tick(1), left.through()), (revoked(), revoked()));
        assert_eq!(scene.board.told(), [(2, 0)], "dropped, with its code");
        assert_eq!(scene.mapped(2), [""; 0]);
        assert_eq!(scene.handing.build(), Ok(1));
        scene.end();
    });
}

#[test]
fn a12_panics_of_objects_and_callbacks() {
    in_child(|| {
        let scene = Scene::new();
        let (session, listener) = (scene.open(End::Panics), scene.board.newest());
        let Err(Fault::Panicked(report)) = session.panic() else { panic!("a fault") };
        assert_eq!((report.plugin.as_str(), report.generation), ("handing", 1));
        assert_eq!(report.message, "a session panics");
        assert!(report.location.contains("src/lib.rs:"), "{report}");
        let Err(Fault::Panicked(report)) = listener.panic() else { panic!("a fault") };
        assert_eq!(
            (report.message.as_str(), report.version.as_str()),
            ("a listener panics", "1.0.0")
        );
        assert!(report.location.contains("src/lib.rs:"), "{report}");
        assert_eq!((session.build(), listener.tick(1)), (Ok(1), Ok(1001)), "they answer as before");

        drop(session);
        scene.handing.subscribe(End::Panics).expect("an answer");
        drop(scene.board.take_back());
        scene.handing.subscribe(End::Panics).expect("an answer");
        scene.apply(Fixture::HandingV2);
        scene.gone(1);
        let panics = scene.panics();
        assert_eq!(
            panics.len(),
            3,
            "an object's, a callback's by the host, one at its version's end: {panics:?}"
        );
        for panic in panics {
            assert!(
                panic.starts_with("plugin `handing` 1.0.0 (generation 1) panicked at "),
                "{panic}"
            );
            assert!(panic.ends_with(": a drop panics"), "{panic}");
        }
        assert_eq!(
            scene.board.told().last(),
            Some(&(1, STOPPED)),
            "the instance is dropped all the same"
        );
        assert_eq!(scene.handing.build(), Ok(2));
        scene.end();
    });
}

#[test]
fn a14_a_plugin_that_keeps_an_object_of_its_own_in_a_static() {
    in_child(|| {
        let scene = Scene::new();
        scene.handing.keep().expect("an answer");
        assert_eq!(scene.handing.call_kept(), Ok("1007".to_owned()));
        scene.apply(Fixture::HandingV2);
        assert_eq!(scene.handing.call_kept(), Ok("none".to_owned()), "its static is another one");
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn a06_an_object_that_is_kept_past_a_switch() {
    in_child(|| {
        let scene = Scene::with(|builder| builder.drain_deadline(Duration::from_millis(20)));
        let session = scene.open(End::Asks);
        assert_eq!((session.build(), session.through()), (Ok(1), Ok(1)));
        scene.apply(Fixture::HandingV2);
        assert_eq!(scene.handing.build(), Ok(2));
        assert_eq!(
            (session.build(), session.through()),
            (Ok(1), Ok(1)),
            "to the end on its own version"
        );
        scene.log.wait("stalled", 1);
        scene.held(1);
        let status = scene.host.status();
        let record =
            status.generations.iter().find(|record| record.generation == 1).expect("a record");
        let [held] = &record.held_by.holds[..] else { panic!("{record:?}") };
        assert_eq!((held.what.as_str(), held.count), ("answer", 1), "{record:?}");
        assert!(held.taken_at.starts_with(file!()), "{record:?}");
        let other = session.clone();
        drop(session);
        assert_eq!(other.through(), Ok(1));
        scene.board.told();
        thread::spawn(move || drop(other)).join().expect("no panic");
        assert_eq!(scene.board.told()[0], (1, 1), "and so does its drop");
        scene.gone(1);
        assert_eq!(scene.panics(), [""; 0]);
        scene.end();
    });
}

#[test]
fn a06_objects_out_of_objects_leases_and_requests() {
    in_child(|| {
        let scene = Scene::new();
        let group = scene.host.group("handing");
        let lease = group.lease().expect("a lease");
        let session = lease.get(&scene.handing).open(End::Says).expect("a session");
        let child = session.child().expect("a session");
        let of_request = group
            .request(|r| r.get(&scene.handing).find(true))
            .expect("a request")
            .expect("a session");
        drop((lease, session));
        scene.apply(Fixture::HandingV2);
        assert_eq!((child.build(), child.through(), of_request.through()), (Ok(1), Ok(1), Ok(1)));
        let grandchild = child.child().expect("a session");
        drop((child, of_request));
        scene.held(1);
        assert_eq!(grandchild.through(), Ok(1));
        drop(grandchild);
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn a06_objects_in_options_and_results() {
    in_child(|| {
        let scene = Scene::new();
        let handing = &scene.handing;
        assert!(handing.find(false).expect("an answer").is_none());
        assert!(handing.look(Some(false)).expect("an answer").is_none());
        assert_eq!(handing.check(false).unwrap_err().to_string(), "declined: \"none\"");
        assert_eq!(handing.look(None).unwrap_err().to_string(), "declined: \"not asked\"");
        let all = [
            handing.find(true).expect("an answer").expect("a session"),
            handing.check(true).expect("a session"),
            handing.look(Some(true)).expect("an answer").expect("a session"),
        ];
        scene.apply(Fixture::HandingV2);
        assert_eq!(all.each_ref().map(|session| session.through()), [Ok(1), Ok(1), Ok(1)]);
        scene.held(1);
        drop(all);
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn an_object_that_is_forgotten_keeps_its_version() {
    in_child(|| {
        let scene = Scene::new();
        std::mem::forget(scene.open(End::Says));
        scene.apply(Fixture::HandingV2);
        scene.held(1);
        assert_eq!(scene.handing.build(), Ok(2));
        let status = scene.rig.host.shutdown(Duration::from_millis(200));
        let record =
            status.generations.iter().find(|record| record.generation == 1).expect("a record");
        let Residency::Resident(reasons) = &record.residency else { panic!("{record:?}") };
        let [reason] = &reasons[..] else { panic!("{reasons:?}") };
        assert!(reason.starts_with("answers: 1, oldest ") && reason.contains(file!()), "{reason}");
    });
}

#[test]
fn an_object_that_outlives_its_host() {
    in_child(|| {
        let scene = Scene::new();
        let (session, listener) = (scene.open(End::Says), scene.board.newest());
        let Scene { rig, board, handing } = scene;
        rig.host.shutdown(Duration::from_millis(200));
        assert_eq!(session.build(), Ok(1));
        assert_eq!(listener.tick(1), revoked());
        board.told();
        drop((session, handing));
        assert_eq!(board.told()[0], (1, 0));
        drop((listener, board));
    });
}

#[test]
fn calls_of_objects_and_callbacks_are_bounded() {
    in_child(|| {
        let scene = Scene::with(|builder| builder.calls_nested_max(1));
        let (session, listener) = (scene.open(End::Asks), scene.board.newest());
        let group = scene.host.group("handing");
        let refused = Fault::NestedTooDeep { bound: 1 };
        let nested = group.request(|_| Ok::<_, Fault>((session.build(), listener.tick(1))));
        assert_eq!(nested, Ok((Err(refused.clone()), Err(refused))));
        // A drop is not refused, and nor is what it frees.
        scene.board.told();
        group
            .request(|_| {
                drop(session);
                Ok::<_, Fault>(())
            })
            .expect("a request");
        assert_eq!(scene.board.told(), [(1, 0)], "it could ask nobody");
        assert_eq!(listener.tick(1), Ok(1001));
        drop(listener);
        scene.apply(Fixture::HandingV2);
        scene.gone(1);
        scene.end();
    });
}

#[test]
fn objects_and_callbacks_of_the_hosts_own() {
    struct Own(Arc<AtomicBool>);
    impl Listener for Own {
        fn tick(&self, number: u64) -> u64 {
            number * 2
        }
        fn through(&self) -> u32 {
            0
        }
        fn panic(&self) -> u64 {
            panic!("the host's own")
        }
        fn wait(&self, _: u64) -> u32 {
            0
        }
    }
    impl Drop for Own {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    in_child(|| {
        let scene = Scene::new();
        assert_eq!(scene.handing.feed(), Ok(1), "the plugin has called it twice");
        assert_eq!(scene.board.feeds.load(SeqCst), 1002, "and dropped it once");
        let dropped = Arc::new(AtomicBool::new(false));
        let own = Callback::<dyn Listener>::new(Own(Arc::clone(&dropped)));
        assert_eq!(scene.handing.call(own.clone()), Ok(6));
        scene.apply(Fixture::HandingV2);
        assert_eq!(scene.handing.call(own.clone()), Ok(6), "nobody revokes it");
        scene.gone(1);
        assert!(!dropped.load(SeqCst));
        drop(own);
        assert!(dropped.load(SeqCst));
        scene.end();
    });
}

/// For an object that is linked in.
#[contract]
trait Own {
    fn feed(&self) -> Result<Box<dyn Feed>, String>;
    fn call(&self, feed: Callback<dyn Feed>) -> u64;
}

#[test]
fn objects_and_callbacks_of_a_fixed_slot() {
    struct Linked(Arc<AtomicU64>);
    impl Own for Linked {
        fn feed(&self) -> Result<Box<dyn Feed>, String> {
            Ok(Box::new(Counts(Arc::clone(&self.0))))
        }
        fn call(&self, feed: Callback<dyn Feed>) -> u64 {
            feed.next().expect("an answer") + 100
        }
    }
    let count = Arc::new(AtomicU64::new(0));
    let slot = Slot::<dyn Own>::fixed(Linked(Arc::clone(&count)));
    let feed = slot.feed().expect("a feed");
    let callback = Callback::<dyn Feed>::new(Counts(Arc::clone(&count)));
    assert_eq!(
        (feed.next(), slot.call(callback.clone()), callback.next()),
        (Ok(0), Ok(101), Ok(2))
    );
    drop(slot);
    assert_eq!(feed.next(), Ok(3), "it holds what it came from");
    drop(feed);
    assert_eq!((count.load(SeqCst), callback.next()), (1004, Ok(1004)));
    drop(callback);
    assert_eq!(count.load(SeqCst), 2005);
}
