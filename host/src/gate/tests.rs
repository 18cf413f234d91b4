//! Of the gate what needs the system: threads that end, panics, bounds, reports. The orders of its
//! steps are in `tests/models`.

use super::cell::{GroupCell, Retired, share};
use super::pin::{self, Call, Inside};
use super::sync;
use super::ways::{Detour, Fork};
use crate::gate::release::Release;
use midflight_plugin::Fault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

const CALL: Call = Call::REQUEST;

fn release(number: u64) -> Arc<Release> {
    let mut release = Release::vacant();
    release.number = number;
    Arc::new(release)
}

fn group(number: u64) -> GroupCell {
    bounded(number, pin::FRAMES, 8)
}

fn bounded(number: u64, calls_nested_max: usize, groups_nested_max: usize) -> GroupCell {
    GroupCell::new("", release(number), calls_nested_max, groups_nested_max)
}

impl GroupCell {
    fn enter<R>(
        &self,
        call: Call,
        f: impl FnOnce(&Release) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        pin::enter(self, call, |entered| f(entered.release()))
    }

    fn lease(&self) -> Result<Arc<Release>, Fault> {
        // SAFETY: entered.
        self.enter(CALL, |release| Ok(unsafe { share(release) }))
    }
}

/// A release that leads to `number` and `number + 1` alike.
fn fork(number: u64) -> Arc<Release> {
    let (serves, tried) = (release(number), release(number + 1));
    Arc::new(Release::leading(
        0,
        Detour::Fork(Fork { serves, tried, share: u64::MAX / 2, salt: 0 }),
    ))
}

fn settled<R>(group: &GroupCell, f: impl FnOnce(&Release) -> Result<R, Fault>) -> Result<R, Fault> {
    group.settle(CALL, Fork::by_chance, f)
}

/// The number of the release that a call on this thread is inside of.
fn call(group: &GroupCell) -> Result<u64, Fault> {
    group.enter(CALL, |release| Ok(release.number))
}

/// The others of these tests wait. Their threads announce releases that may be gone, which are
/// compared and not used; a scan of this test would find one at an address that is its own now.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing here.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn drained(retired: Retired) {
    match retired.look() {
        Ok(sides) => sides.into_iter().for_each(drained),
        Err(retired) => panic!("held by {:?} and {} leases", retired.inside(), retired.leases()),
    }
}

#[test]
fn a_panic_inside_of_a_call_lets_go() {
    let _alone = alone();
    let group = group(1);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        group.enter(CALL, |_| {
            group.enter(CALL, |_| -> Result<(), Fault> { panic!("in the plugin") }).map(|_: ()| ())
        })
    }));
    assert!(caught.is_err());
    drained(group.publish(release(2)));
    assert_eq!(call(&group), Ok(2), "and the frames are left");
}

#[test]
fn nesting_is_bounded() {
    let _alone = alone();
    fn deep(group: &GroupCell) -> Result<u64, Fault> {
        group.enter(CALL, |_| Ok(1 + deep(group)?))
    }
    fn count(group: &GroupCell, left: usize) -> Result<(), Fault> {
        group.enter(CALL, |_| if left == 0 { Ok(()) } else { count(group, left - 1) })
    }
    let group = bounded(1, 5, 8);
    assert_eq!(deep(&group), Err(Fault::NestedTooDeep { bound: 5 }));
    assert_eq!(count(&group, 4), Ok(()));
    assert_eq!(count(&group, 5), Err(Fault::NestedTooDeep { bound: 5 }));
    fn held(group: &GroupCell, release: &Release, left: usize) -> Result<(), Fault> {
        let deeper = || if left == 0 { Ok(()) } else { held(group, release, left - 1) };
        pin::enter_held(group, release, CALL, deeper)
    }
    let lease = group.lease().expect("a lease");
    assert_eq!(held(&group, &lease, 4), Ok(()));
    assert_eq!(held(&group, &lease, 5), Err(Fault::NestedTooDeep { bound: 5 }));
    drop(lease);
    drained(group.publish(release(2)));
}

#[test]
fn groups_are_bounded() {
    let _alone = alone();
    fn through(groups: &[GroupCell]) -> Result<(), Fault> {
        let Some((first, rest)) = groups.split_first() else { return Ok(()) };
        first.enter(CALL, |_| through(rest))
    }
    let groups: Vec<_> = (0..4).map(|number| bounded(number, pin::FRAMES, 3)).collect();
    assert_eq!(through(&groups[..3]), Ok(()));
    assert_eq!(through(&groups), Err(Fault::TooManyGroups { bound: 3 }));
    // One that it is in already is none more.
    let again = groups[0]
        .enter(CALL, |_| groups[1].enter(CALL, |_| groups[2].enter(CALL, |_| call(&groups[0]))));
    assert_eq!(again, Ok(0));
    // So is a second lease on one.
    let lease = groups[0].lease().expect("a lease");
    let held =
        |f: &mut dyn FnMut() -> Result<u64, Fault>| pin::enter_held(&groups[0], &lease, CALL, f);
    let within = held(&mut || held(&mut || held(&mut || call(&groups[1]))));
    assert_eq!(within, Ok(1));
}

#[test]
fn a_nested_call_stays_on_its_release() {
    let _alone = alone();
    let (group, other) = (group(1), group(11));
    let lease = group.lease().expect("a lease");
    let retired = group.publish(release(2));
    let seen = group.enter(CALL, |outer| {
        let retired = group.publish(release(3));
        let retired_other = other.publish(release(12));
        let nested = call(&group)?;
        let through = pin::enter_held(&group, &lease, CALL, || call(&group))?;
        let beside = other.enter(CALL, |other| Ok((other.number, call(&group)?)))?;
        drained(retired_other);
        let left = retired.look().err().expect("this call is inside");
        assert_eq!(left.leases(), 0);
        std::mem::forget(left);
        Ok::<_, Fault>((outer.number, nested, through, beside))
    });
    assert_eq!(seen, Ok((2, 2, 1, (12, 2))));
    assert_eq!(call(&group), Ok(3));
    let retired = retired.look().err().expect("the lease is there");
    assert_eq!((retired.leases(), retired.inside()), (1, vec![]));
    drop(lease);
    drained(retired);
}

/// A frame keeps the group of the call that was there before; one that inherits must not be taken
/// for that.
#[test]
fn a_frame_forgets_the_group_before() {
    let _alone = alone();
    let (group, other) = (group(1), group(11));
    assert_eq!(group.enter(CALL, |_| call(&other)), Ok(11));
    assert_eq!(group.enter(CALL, |_| group.enter(CALL, |_| call(&other))), Ok(11));
}

#[test]
fn who_is_inside_is_told() {
    let _alone = alone();
    let group = group(1);
    let lease = group.lease().expect("a lease");
    let (inside, is_inside) = channel();
    let (leave, may_leave) = channel::<()>();
    let called = Call::new(3).of(2);
    assert_eq!(called.method(), Some((3, 2)));
    assert_eq!(Call::REQUEST.method(), None);
    assert_eq!(
        Call::new(usize::MAX).of(2).method(),
        None,
        "it says nothing of a slot that it has no room for"
    );
    // `move`: a panic here drops `leave`, and the thread ends.
    let (group, inside) = (&group, &inside);
    thread::scope(move |scope| {
        scope.spawn(move || {
            group.enter(called, |_| {
                // The outermost call is the one that is told.
                group.enter(Call::new(3).of(7), |_| {
                    inside.send(sync::tid()).expect("it waits");
                    may_leave.recv().expect("it answers");
                    Ok::<_, Fault>(())
                })
            })
        });
        let tid = is_inside.recv().expect("it is inside");
        let retired = group.publish(release(2));
        assert_eq!(retired.inside(), [Inside { tid, call: called, by_lease: false }]);
        let through = pin::enter_held(group, &lease, called, || Ok::<_, Fault>(retired.inside()));
        let own = Inside { tid: sync::tid(), call: called, by_lease: true };
        assert!(through.expect("within the bounds").contains(&own));
        leave.send(()).expect("it waits");
        drop(lease);
        let mut left = Some(retired);
        while let Some(retired) = left.take() {
            left = retired.look().err();
            thread::yield_now();
        }
    });
}

#[test]
fn a_thread_that_ends_inside_of_a_call_keeps_its_record() {
    let _alone = alone();
    let group = group(1);
    thread::scope(|scope| {
        let ended = scope.spawn(|| {
            group.enter(CALL, |_| {
                pin::end_this_thread();
                let retired = group.publish(release(2));
                let retired = retired.look().err().expect("the ended call holds it");
                // What calls next on this system thread has a record of its own.
                assert_eq!(call(&group), Ok(2));
                Ok::<_, Fault>(retired)
            })
        });
        drained(ended.join().expect("no panic").expect("within the bounds"));
    });
}

/// Each registers, mostly with the record of one that has ended, under a publisher that frees what
/// they are about to enter.
#[test]
fn thousands_of_threads_end_under_publishing() {
    let _alone = alone();
    const THREADS: u64 = 4_000;
    let group = group(1);
    let (published, ended, wrong) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while ended.fetch_add(1, Relaxed) < THREADS {
                    let short = thread::Builder::new().spawn_scoped(scope, || {
                        for _ in 0..3 {
                            let before = published.load(SeqCst);
                            let entered = group.enter(CALL, |release| {
                                Ok::<_, Fault>((release.number, call(&group)?))
                            });
                            let after = published.load(SeqCst) + 1;
                            let is_right = |(entered, nested)| {
                                entered == nested && (before..=after).contains(&entered)
                            };
                            if !entered.is_ok_and(is_right) {
                                wrong.fetch_add(1, Relaxed);
                            }
                        }
                    });
                    short.expect("a thread").join().expect("no panic");
                }
            });
        }
        let mut left = Vec::new();
        while ended.load(Relaxed) < THREADS {
            let number = published.load(SeqCst) + 1;
            left.push(group.publish(release(number)));
            published.store(number, SeqCst);
            left = left.into_iter().filter_map(|retired| retired.look().err()).collect();
        }
        while !left.is_empty() {
            left = left.into_iter().filter_map(|retired| retired.look().err()).collect();
            thread::yield_now();
        }
    });
    assert_eq!(wrong.into_inner(), 0, "calls entered what was freed, or two releases");
    // Those of this test, and of others that run beside it.
    assert!(pin::records() < 100, "{} records", pin::records());
}

#[test]
fn what_a_fork_led_to_drains_after_it() {
    let _alone = alone();
    let group = group(1);
    drained(group.publish(fork(10)));
    let (retired, lease) = settled(&group, |side| {
        assert_eq!(call(&group), Ok(side.number), "what is called from within is on the same side");
        // SAFETY: entered.
        let lease = unsafe { share(side) };
        let retired = group.publish(release(2));
        let sides = retired.look().ok().expect("nobody is in the fork itself");
        let (own, other): (Vec<_>, Vec<_>) =
            sides.into_iter().partition(|retired| retired.release().number == side.number);
        other.into_iter().for_each(drained);
        let own = own.into_iter().next().expect("one of the two");
        let own = own.look().err().expect("this call is inside");
        assert_eq!(own.inside(), [Inside { tid: sync::tid(), call: CALL, by_lease: false }]);
        Ok((own, lease))
    })
    .expect("within the bounds");
    let retired = retired.look().err().expect("the lease is there");
    drop(lease);
    drained(retired);
}

/// Threads go over into the sides of forks that come and go under them.
#[test]
fn forks_that_come_and_go() {
    let _alone = alone();
    const THREADS: usize = 3;
    let group = group(0);
    let (calls, over) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while over.load(SeqCst) == 0 {
                    let same = settled(&group, |side| {
                        Ok((side.number, call(&group)?, side.bound(0).is_some()))
                    });
                    let same = same.expect("within the bounds");
                    assert_eq!((same.0, same.2), (same.1, false));
                    calls.fetch_add(1, Relaxed);
                }
            });
        }
        let (mut left, mut number) = (Vec::new(), 0);
        while calls.load(Relaxed) < 20_000 || number < 2_000 {
            number += 2;
            let next = if number % 3 == 0 { release(number) } else { fork(number) };
            left.push(group.publish(next));
            left = left.into_iter().flat_map(look).collect();
        }
        over.store(1, SeqCst);
        while !left.is_empty() {
            left = left.into_iter().flat_map(look).collect();
            thread::yield_now();
        }
    });
}

/// A coroutine that is suspended inside of a call, made by `enter`, until it is resumed. What it
/// gives then is the release's number.
fn suspended(
    group: &Arc<GroupCell>,
    lease: Option<Arc<Release>>,
) -> generator::Generator<'static, (), u64> {
    let group = Arc::clone(group);
    let mut coroutine = generator::Gn::<()>::new_scoped(move |mut scope| {
        let mut inside = |release: &Release| {
            scope.yield_with(0);
            Ok::<_, Fault>(release.number)
        };
        let number = match &lease {
            Some(lease) => pin::enter_held(&group, lease, CALL, || inside(lease)),
            None => group.enter(CALL, inside),
        };
        number.expect("within the bounds")
    });
    assert_eq!(coroutine.resume(), Some(0), "it is inside");
    coroutine
}

/// Every order in which some calls of a thread, each in a coroutine, can be left: each holds its
/// release to its own end.
#[test]
fn s18_calls_are_left_in_any_order() {
    let _alone = alone();
    const CALLS: usize = 4;
    let orders = (0..CALLS.pow(CALLS as u32)).map(|order| {
        (0..CALLS as u32).map(move |at| order / CALLS.pow(at) % CALLS).collect::<Vec<_>>()
    });
    let all = |order: &Vec<usize>| (0..CALLS).all(|call| order.contains(&call));
    for order in orders.filter(all) {
        let group = Arc::new(group(1));
        let mut calls: Vec<_> = (0..CALLS).map(|_| suspended(&group, None)).collect();
        let mut retired = group.publish(release(2));
        for call in &order {
            retired =
                retired.look().err().unwrap_or_else(|| panic!("freed before {call} of {order:?}"));
            assert_eq!(calls[*call].resume(), Some(1), "{order:?}");
        }
        drained(retired);
        assert_eq!(call(&group), Ok(2));
    }
}

/// A call that was made within one through a lease is still inside when that call is over and the
/// lease is gone.
#[test]
fn s18_a_nested_call_outlives_the_lease_that_it_was_made_under() {
    let _alone = alone();
    let group = Arc::new(group(1));
    let lease = group.lease().expect("a lease");
    let retired = group.publish(release(2));
    let mut outer = suspended(&group, Some(lease));
    let mut nested = suspended(&group, None);
    assert_eq!(outer.resume(), Some(1));
    drop(outer);
    let retired = retired.look().err().expect("the nested call is inside");
    assert_eq!(nested.resume(), Some(1));
    drained(retired);
}

/// Coroutines are moved to another thread inside of their calls, and are left there.
#[test]
fn s18_calls_are_left_by_other_threads() {
    let _alone = alone();
    let group = Arc::new(group(1));
    for number in 2..200 {
        let outer = suspended(&group, None);
        let mut nested = suspended(&group, None);
        let retired = group.publish(release(number));
        let left = thread::spawn(move || {
            let mut outer = outer;
            outer.resume()
        });
        // It may inherit from what is left in this moment.
        let mut last = suspended(&group, None);
        assert_eq!(left.join().expect("no panic"), Some(number - 1));
        let retired = retired.look().err().expect("the nested call is inside");
        assert_eq!(nested.resume(), Some(number - 1));
        let inside = last.resume().expect("its release");
        assert!(inside == number || inside == number - 1, "{inside}");
        drained(retired);
    }
}

/// A thread that ends while a call of its own goes on elsewhere keeps its record, and that holds.
#[test]
fn s18_a_call_outlives_its_thread() {
    let _alone = alone();
    let group = Arc::new(group(1));
    let mut moved = {
        let group = Arc::clone(&group);
        thread::spawn(move || suspended(&group, None)).join().expect("no panic")
    };
    let retired = group.publish(release(2));
    assert_eq!(call(&group), Ok(2));
    let retired = retired.look().err().expect("it is inside");
    assert_eq!(moved.resume(), Some(1));
    drained(retired);
}

/// What is left of it.
fn look(retired: Retired) -> Vec<Retired> {
    retired.look().unwrap_or_else(|left| vec![left])
}
