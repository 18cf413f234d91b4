//! Futures: what a plugin's `async fn` began on one version ends on it, or is dropped there, before
//! that version goes.

use awaiting_contracts::{Awaiting, Bells as BellsContract, Panic, Refused};
use futures_executor::{LocalPool, ThreadPool, block_on};
use midflight::{CallError, Fault, HostBuilder, Residency, Slot};
use midflight_tests::{Fixture, Rig, in_child};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// What the plugin waits for. The host keeps the wakers, as a timer would.
#[derive(Default)]
struct Bells {
    state: Mutex<State>,
    plugin: OnceLock<Slot<dyn Awaiting>>,
    kept: Mutex<Option<Kept>>,
}

type Executor = fn(Kept) -> Result<Vec<u32>, Fault>;
type Kept = Pin<Box<dyn Future<Output = Result<Vec<u32>, Fault>> + Send>>;

#[derive(Default)]
struct State {
    rung: BTreeSet<u64>,
    waiting: BTreeMap<u64, Vec<Waker>>,
}

impl Bells {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plugin(&self) -> &Slot<dyn Awaiting> {
        self.plugin.get().expect("the scene has set it")
    }

    fn ring(&self, number: u64) {
        let mut state = self.state();
        state.rung.insert(number);
        let waiting = state.waiting.remove(&number).unwrap_or_default();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How many wakers are kept for a bell: what waits leaves one at each poll.
    fn waiting(&self, number: u64) -> usize {
        self.state().waiting.get(&number).map_or(0, Vec::len)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BellsContract for Bells {
    async fn rung(&self, number: u64) -> u64 {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.rung.contains(&number) {
                return Poll::Ready(number);
            }
            state.waiting.entry(number).or_default().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn build(&self) -> u32 {
        self.plugin().build().expect("a build")
    }

    fn poll_kept(&self) -> u32 {
        let mut kept = self.kept();
        let polled =
            kept.as_mut().map(|kept| kept.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        match polled {
            Some(Poll::Ready(Ok(seen))) => seen[2],
            other => panic!("{other:?}"),
        }
    }

    fn deeper(&self, depth: u32) -> u32 {
        match depth.checked_sub(1) {
            Some(depth) => self.plugin().drop_kept(depth).map_or(depth, |at| at),
            None => {
                drop(self.kept().take());
                0
            }
        }
    }
}

struct Scene {
    rig: Rig,
    bells: Arc<Bells>,
    plugin: Slot<dyn Awaiting>,
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
        let bells = Arc::new(Bells::default());
        let service = Arc::clone(&bells);
        let rig = Rig::with(|builder| {
            configure(builder.provide::<dyn BellsContract, _>(service).contract::<dyn Awaiting>())
        });
        let plugin = rig.host.slot::<dyn Awaiting>("awaiting").expect("a slot");
        assert!(bells.plugin.set(plugin.clone()).is_ok());
        rig.apply(Fixture::Awaiting);
        Scene { rig, bells, plugin }
    }

    /// Polls it once, which does not end it.
    #[track_caller]
    fn begin<F: Future<Output: std::fmt::Debug> + Unpin>(&self, future: &mut F) {
        let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "{polled:?}");
    }

    fn switch(&self) {
        self.apply(Fixture::AwaitingV2);
        assert_eq!(self.plugin.build(), Ok(2));
    }
}

/// Of `wait`: it began on build 1, and what it asked on its way was build 1.
const OF_ONE: [u32; 4] = [1, 1, 1, 1];

#[test]
fn a09_a_future_ends_on_the_version_that_it_began_on() {
    let executors: [(&str, Executor); 5] = [
        ("block_on", |kept| block_on(kept)),
        ("a local pool", |kept| LocalPool::new().run_until(kept)),
        ("a thread pool", |kept| {
            let (send, receive) = std::sync::mpsc::channel();
            let pool = ThreadPool::builder().pool_size(2).create().expect("a pool");
            pool.spawn_ok(async move { send.send(kept.await).expect("somebody waits") });
            receive.recv().expect("an answer")
        }),
        ("tokio, one thread", |kept| {
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(kept)
        }),
        ("tokio, many threads", |kept| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(runtime.spawn(kept)).expect("no panic")
        }),
    ];
    for (executor, run) in executors {
        let scene = Scene::new();
        let mut future = scene.plugin.wait(1);
        scene.begin(&mut future);
        scene.switch();
        scene.log.wait("retiring", 1);
        assert_eq!(scene.residency(1), Residency::Retiring, "{executor}");
        let bells = Arc::clone(&scene.bells);
        let waits = thread::spawn(move || run(Box::pin(future)));
        // Its second poll, on the executor.
        while bells.waiting(1) < 2 {
            thread::yield_now();
        }
        bells.ring(1);
        assert_eq!(waits.join().expect("no panic"), Ok(OF_ONE.to_vec()), "{executor}");
        scene.log.wait("unmapped", 1);
        assert_eq!(block_on(scene.plugin.wait(1)), Ok(vec![2, 2, 2, 2]), "{executor}");
        scene.rig.end();
    }
}

#[test]
fn a09_a_call_is_bound_when_it_is_made_and_not_at_its_first_poll() {
    let scene = Scene::new();
    let future = scene.plugin.wait(1);
    scene.switch();
    scene.bells.ring(1);
    assert_eq!(block_on(future), Ok(OF_ONE.to_vec()));
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a09_an_operator_is_told_where_it_was_made() {
    let scene = Scene::with(|builder| builder.drain_deadline(Duration::from_millis(20)));
    let (first, line) = (scene.plugin.wait(1), line!());
    let second = scene.plugin.wait(2);
    scene.switch();
    let stalled = scene.log.wait("stalled", 1);
    let told = format!("held by 2 answers, the oldest taken at {}:{line}", file!());
    assert!(stalled.to_string().ends_with(&told), "{stalled}");
    let status = scene.host.status();
    let record = status.generations.iter().find(|record| record.generation == 1).expect("a record");
    let [held] = &record.held_by.holds[..] else { panic!("{record:?}") };
    assert_eq!((held.what.as_str(), held.count), ("answer", 2));
    assert_eq!(held.taken_at, format!("{}:{line}", file!()));
    drop((first, second));
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a09_a_cancelled_future_is_dropped_before_its_version_goes() {
    let scene = Scene::new();
    let (never_polled, mut begun) = (scene.plugin.wait(1), scene.plugin.wait(1));
    scene.begin(&mut begun);
    scene.switch();
    drop(never_polled);
    assert_eq!(scene.residency(1), Residency::Retiring);
    thread::spawn(move || drop(begun)).join().expect("no panic");
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a09_requests_and_leases_make_futures_of_their_release() {
    let scene = Scene::new();
    let group = scene.host.group("awaiting");
    let lease = group.lease().expect("a lease");
    scene.switch();
    scene.bells.ring(1);
    assert_eq!(block_on(lease.get(&scene.plugin).wait(1)), Ok(OF_ONE.to_vec()));
    let answer = group.request(|r| {
        let future = r.get(&scene.plugin).wait(1);
        scene.apply(Fixture::Awaiting);
        block_on(future)
    });
    assert_eq!(answer, Ok(vec![2, 2, 2, 2]));
    drop(lease);
    scene.log.wait("unmapped", 1);
    scene.log.wait("unmapped", 2);
    scene.rig.end();
}

#[test]
fn a32_errors_of_futures_count_for_the_version_that_they_began_on() {
    let scene = Scene::with(|builder| builder.probation(Duration::from_secs(3600)).errors_max(0));
    let refused = Refused { what: "all".into() };
    let mut of_one = scene.plugin.lend("", &[1, 2], Some(&refused));
    scene.begin(&mut of_one);
    scene.switch();
    scene.bells.ring(1);
    scene.begin(&mut of_one);
    scene.bells.ring(2);
    assert_eq!(block_on(of_one), Err(CallError::Declined(refused.clone())));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(scene.plugin.build(), Ok(2), "it was the old version's error");
    assert_eq!(
        block_on(scene.plugin.lend("", &[1, 2], Some(&refused))),
        Err(CallError::Declined(refused))
    );
    let returned = scene.log.wait("returned", 2).to_string();
    assert!(returned.contains("budget_exceeded: 1 of its calls returned errors"), "{returned}");
    assert_eq!(scene.plugin.build(), Ok(1));
    scene.rig.end();
}

#[test]
fn a09_what_is_lent_stays_until_the_answer_is_there() {
    let scene = Scene::new();
    let (text, numbers, refused) =
        (String::from("lent"), vec![1, 2], Refused { what: "all".into() });
    let mut future = scene.plugin.lend(&text, &numbers, Some(&refused));
    scene.begin(&mut future);
    scene.switch();
    scene.bells.ring(1);
    scene.begin(&mut future);
    scene.bells.ring(2);
    assert_eq!(block_on(future), Err(CallError::Declined(refused.clone())));
    assert_eq!(block_on(scene.plugin.lend(&text, &numbers, None)), Ok("lent 2".to_owned()));
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a06_a_future_of_the_old_version_is_polled_inside_of_a_call_of_the_new_one() {
    let scene = Scene::new();
    let mut future = scene.plugin.wait(1);
    scene.begin(&mut future);
    scene.switch();
    scene.bells.ring(1);
    *scene.bells.kept() = Some(Box::pin(future));
    // The new one, what the host got from it; the old one within its poll; and then the new one
    // again.
    assert_eq!(scene.plugin.poll_kept(), Ok(vec![2, 2, 1, 2]));
    drop(scene.bells.kept().take());
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a15_a_future_is_dropped_however_deep_the_thread_is() {
    let scene = Scene::new();
    // The last is inside of as many calls as a thread can be.
    for depth in [0, 1, 62, 63] {
        let mut future = scene.plugin.panics(Panic::Drop, 1);
        scene.begin(&mut future);
        *scene.bells.kept() = Some(Box::pin(async { future.await.map(|_| Vec::new()) }));
        assert_eq!(scene.plugin.drop_kept(depth), Ok(0));
        assert!(scene.bells.kept().is_none());
        // It was dropped by its own code, which said so.
        assert_eq!(scene.log.count("panicked"), 1);
        scene.log.clear();
    }
    scene.switch();
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a12_futures_that_panic() {
    let scene = Scene::new();
    let message = |answer: Result<u64, Fault>| match answer {
        Err(Fault::Panicked(report)) => {
            assert_eq!((report.plugin.as_str(), report.generation), ("awaiting", 1));
            assert!(report.location.contains("src/lib.rs:"), "{report}");
            report.message.clone()
        }
        other => panic!("{other:?}"),
    };
    scene.bells.ring(1);
    assert_eq!(message(block_on(scene.plugin.panics(Panic::FirstPoll, 1))), "at the first poll");
    assert_eq!(message(block_on(scene.plugin.panics(Panic::SecondPoll, 1))), "at the second poll");
    // At its end within the poll that it ends in.
    assert_eq!(message(block_on(scene.plugin.panics(Panic::Drop, 1))), "at the drop");
    assert_eq!(message(block_on(scene.plugin.panics(Panic::PollAndDrop, 1))), "at the first poll");
    assert_eq!(block_on(scene.plugin.panics(Panic::Never, 1)), Ok(1));
    assert_eq!(scene.log.count("panicked"), 0);

    // Dropped while it waits, it has nobody to tell.
    let mut waits = scene.plugin.panics(Panic::Drop, 2);
    scene.begin(&mut waits);
    drop(waits);
    let event = scene.log.wait("panicked", 1);
    assert!(event.to_string().contains("at the drop"), "{event}");
    scene.switch();
    scene.log.wait("unmapped", 1);
    scene.rig.end();
}

#[test]
fn a_future_of_what_is_not_there() {
    let scene = Scene::new();
    let absent = scene.host.slot::<dyn Awaiting>("absent").expect("a slot");
    let answer = absent.wait(1);
    assert_eq!(block_on(answer), Err(Fault::NotLoaded { plugin: "absent".into() }));
    scene.rig.end();
}

#[test]
fn wakers_of_a_plugins_own_are_not_called_after_it() {
    in_child(|| {
        let scene = Scene::new();
        // They wake it while it is there…
        let (bells, future) = (Arc::clone(&scene.bells), scene.plugin.join(vec![1, 2, 3]));
        let waits = thread::spawn(move || block_on(future));
        for number in [3, 1, 2] {
            while bells.waiting(number) == 0 {
                thread::yield_now();
            }
            bells.ring(number);
        }
        assert_eq!(waits.join().expect("no panic"), Ok(6));

        // …and stay with the host when it goes: of what was cancelled, and of what was forgotten.
        let mut cancelled = scene.plugin.join(vec![4, 5]);
        scene.begin(&mut cancelled);
        drop(cancelled);
        assert_eq!(block_on(scene.plugin.forget(6)), Ok(1));
        scene.switch();
        scene.log.wait("unmapped", 1);
        assert_eq!(scene.mappings(1), [""; 0]);
        for number in [4, 5, 6] {
            assert!(scene.bells.waiting(number) > 0, "{number}");
            scene.bells.ring(number);
        }
        scene.rig.end();
    });
}

#[test]
fn bells_ring_on_many_threads_while_versions_go() {
    const ROUNDS: u64 = 200;
    in_child(|| {
        let scene = Scene::with(|builder| builder.generations_max(64));
        let ringing = |number: u64| {
            let bells = Arc::clone(&scene.bells);
            thread::spawn(move || {
                while bells.waiting(number) == 0 {
                    thread::yield_now();
                }
                bells.ring(number);
            })
        };
        for round in 0..ROUNDS {
            let numbers: Vec<u64> = (0..3).map(|at| 10 + 3 * round + at).collect();
            let ring: Vec<_> = numbers.iter().map(|number| ringing(*number)).collect();
            let mut future = scene.plugin.join(numbers.clone());
            scene.begin(&mut future);
            scene.apply([Fixture::AwaitingV2, Fixture::Awaiting][(round % 2) as usize]);
            match round % 3 {
                // Cancelled while it is woken.
                0 => drop(future),
                _ => assert_eq!(block_on(future), Ok(numbers.iter().sum())),
            }
            ring.into_iter().for_each(|ring| ring.join().expect("no panic"));
        }
        scene.log.wait("unmapped", ROUNDS);
        scene.rig.end();
    });
}

#[test]
fn a_fixed_slot_has_futures_too() {
    struct Fixed;
    impl Awaiting for Fixed {
        fn build(&self) -> u32 {
            7
        }
        async fn wait(&self, number: u64) -> Vec<u32> {
            vec![number as u32]
        }
        async fn lend(
            &self,
            text: &str,
            _: &[u64],
            _: Option<&Refused>,
        ) -> Result<String, Refused> {
            Ok(text.to_owned())
        }
        async fn join(&self, _: Vec<u64>) -> u64 {
            panic!("no bells")
        }
        async fn forget(&self, number: u64) -> u64 {
            number
        }
        async fn panics(&self, _: Panic, number: u64) -> u64 {
            number
        }
        fn poll_kept(&self) -> Vec<u32> {
            Vec::new()
        }
        fn drop_kept(&self, depth: u32) -> u32 {
            depth
        }
    }
    let slot = Slot::<dyn Awaiting>::fixed(Fixed);
    assert_eq!(block_on(slot.wait(3)), Ok(vec![3]));
    assert_eq!(block_on(slot.lend("text", &[], None)), Ok("text".to_owned()));
    let Err(Fault::Panicked(report)) = block_on(slot.join(Vec::new())) else { panic!("no fault") };
    assert_eq!(report.message, "no bells");
    // On another thread, after its slot.
    let future = slot.wait(4);
    drop(slot);
    assert_eq!(thread::spawn(|| block_on(future)).join().expect("no panic"), Ok(vec![4]));
}
