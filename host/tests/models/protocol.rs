//! The protocol as it is: no order of anything frees what is used, and everything is freed in the
//! end.

use super::gate::cell::Retired;
use super::gate::{Suspended, over, pin, sync, through};
use super::runtime::locals::ATTENDED;
use super::{Arc, Bounds, Release, call, call_with, explore, group, look, look_at_last, spawn};
use loom::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Where all orders take no more than two minutes.
const ALL_OR_2: Bounds = Bounds { short: Some(2), full: None };
/// Where they do.
const THREE_OR_2: Bounds = Bounds { short: Some(2), full: Some(3) };
/// What it is there to find takes three.
const OUTLASTED: Bounds = Bounds { short: Some(3), full: Some(3) };

/// One publish under a thread that calls twice, from its registration to its end.
pub(super) fn calls_against_a_publish() {
    let group = group(1);
    let caller = {
        let group = group.clone();
        spawn(move || {
            let first = call(&group);
            assert!(call(&group) >= first, "it went back");
        })
    };
    let retired = group.publish(Arc::new(Release::new(2)));
    let left = look(retired);
    caller.join().expect("no panic");
    look_at_last(left);
}

#[test]
fn a_caller_against_a_publish() {
    explore("a caller against a publish", ALL_OR_2, calls_against_a_publish);
}

/// The call that a scan finds in the frame is another group's, and comes after one of the release
/// that is freed.
pub(super) fn another_group_after_a_publish() {
    let (group, other) = (group(1), group(11));
    let caller = {
        let group = group.clone();
        spawn(move || {
            call(&group);
            call(&other);
        })
    };
    let left = look(group.publish(Arc::new(Release::new(2))));
    caller.join().expect("no panic");
    look_at_last(left);
}

#[test]
fn another_groups_call_against_a_publish() {
    explore("another group's call", ALL_OR_2, another_group_after_a_publish);
}

/// A second publish, so that the first retirement goes on beside it.
#[test]
fn a_caller_against_two_publishes() {
    explore("a caller against two publishes", THREE_OR_2, || {
        let group = group(1);
        let caller = {
            let group = group.clone();
            spawn(move || call(&group))
        };
        let first = look(group.publish(Arc::new(Release::new(2))));
        let second = look(group.publish(Arc::new(Release::new(3))));
        let first = first.and_then(look);
        caller.join().expect("no panic");
        look_at_last(first);
        look_at_last(second);
    });
}

/// The release that is published last is where the first one was.
pub(super) fn an_address_that_comes_again() {
    sync::use_memory_again();
    let group = group(1);
    let caller = {
        let group = group.clone();
        spawn(move || call(&group))
    };
    let first = look(group.publish(Arc::new(Release::new(2))));
    let second = look(group.publish(Arc::new(Release::new(3))));
    caller.join().expect("no panic");
    look_at_last(first);
    look_at_last(second);
}

#[test]
fn an_address_again() {
    explore("an address that comes again", THREE_OR_2, an_address_that_comes_again);
}

/// Both register, beside each other and beside the scan.
#[test]
fn two_callers_against_a_publish() {
    explore("two callers against a publish", THREE_OR_2, || {
        let group = group(1);
        let callers = [(); 2].map(|()| {
            let group = group.clone();
            spawn(move || call(&group))
        });
        let left = look(group.publish(Arc::new(Release::new(2))));
        let _ = callers.map(|caller| caller.join().expect("no panic"));
        look_at_last(left);
    });
}

/// What `publish` returned from is entered by nobody who learned of it.
#[test]
fn who_knows_of_a_publish_calls_what_was_published() {
    explore("who knows of a publish", ALL_OR_2, || {
        let group = group(1);
        let known = std::sync::Arc::new(AtomicBool::new(false));
        let caller = {
            let (group, known) = (group.clone(), known.clone());
            spawn(move || {
                if known.load(std::sync::atomic::Ordering::Acquire) {
                    assert_eq!(call(&group), 2);
                }
            })
        };
        let left = group.publish(Arc::new(Release::new(2)));
        known.store(true, std::sync::atomic::Ordering::Release);
        caller.join().expect("no panic");
        look_at_last(Some(left));
    });
}

/// A lease is taken inside of a call, used after it, and dropped, while its release is retired.
pub(super) fn a_lease_against_a_publish() {
    let group = group(1);
    let caller = {
        let group = group.clone();
        spawn(move || {
            let lease = group.lease().expect("within the bounds");
            lease.used();
        })
    };
    let left = look(group.publish(Arc::new(Release::new(2))));
    let left = left.and_then(look);
    caller.join().expect("no panic");
    look_at_last(left);
}

#[test]
fn a_lease_taken_against_a_publish() {
    explore("a lease against a publish", THREE_OR_2, a_lease_against_a_publish);
}

/// A caller goes over from one release into what it leads to, while both are retired.
pub(super) fn going_over() {
    let group = group(1);
    let none = look(group.publish(Arc::new(Release::leading(2, 3))));
    assert!(none.is_none());
    let caller = {
        let group = group.clone();
        spawn(move || over(&group, |number| assert_eq!(call(&group), number)))
    };
    let mut left = vec![group.publish(Arc::new(Release::new(4)))];
    let looked = |left: Vec<Retired>| -> Vec<Retired> {
        left.into_iter()
            .flat_map(|retired| retired.look().unwrap_or_else(|left| vec![left]))
            .collect()
    };
    left = looked(looked(left));
    caller.join().expect("no panic");
    left = looked(looked(left));
    assert!(left.is_empty(), "both drain");
}

#[test]
fn a_caller_that_goes_over() {
    explore("going over", THREE_OR_2, going_over);
}

#[test]
fn a_lease_outlives_its_thread() {
    explore("a lease that outlives its thread", ALL_OR_2, || {
        let group = group(1);
        let caller = {
            let group = group.clone();
            spawn(move || group.lease().expect("within the bounds"))
        };
        let left = look(group.publish(Arc::new(Release::new(2))));
        let lease = caller.join().expect("no panic");
        let left = left.and_then(look);
        lease.used();
        assert_eq!(left.is_some(), lease.number == 1, "held by the lease alone");
        drop(lease);
        look_at_last(left);
    });
}

/// Two threads, one of which may get the other's record when that has ended. Each nests, since that
/// reads what a record's last owner left.
pub(super) fn a_record_is_handed_on() {
    let group = group(1);
    let callers = [(); 2].map(|()| {
        let group = group.clone();
        spawn(move || {
            call_with(&group, || {
                call(&group);
            })
        })
    });
    let left = look(group.publish(Arc::new(Release::new(2))));
    let _ = callers.map(|caller| caller.join().expect("no panic"));
    look_at_last(left);
}

#[test]
fn a_record_handed_on_against_a_scan() {
    explore("a record handed on", THREE_OR_2, a_record_is_handed_on);
}

/// A thread that ends inside of a call takes its record with it: nothing is freed, and nobody gets
/// the record.
#[test]
fn a_thread_that_ends_inside_of_a_call() {
    explore("an end inside of a call", THREE_OR_2, || {
        let group = group(1);
        let ended = {
            let group = group.clone();
            loom::thread::spawn(move || {
                // Its frames are never left: that is what such an end is.
                let mut inside = 0;
                let call = group.enter(pin::Call::REQUEST, |release| {
                    inside = release.number;
                    sync::thread_ends();
                    // The next call would be another thread's.
                    let next = call(&group);
                    assert!(next >= inside);
                    sync::thread_ends();
                    Err::<(), _>(midflight_plugin::Fault::TooManyGroups { bound: 0 })
                });
                assert!(call.is_err());
                inside
            })
        };
        let left = look(group.publish(Arc::new(Release::new(2))));
        ended.join().expect("no panic");
        look_at_last(left);
    });
}

/// Inside of a call: the same release again; a lease's in between, and the outer one after it;
/// another group by itself.
#[test]
fn nesting_against_publishes() {
    explore("nesting", THREE_OR_2, || {
        let (group, other) = (group(1), super::group(11));
        let lease = group.lease().expect("within the bounds");
        let caller = {
            let (group, other) = (group.clone(), other.clone());
            spawn(move || {
                call_with(&group, || {
                    let outer = call(&group);
                    through(&group, &lease, || {
                        lease.used();
                        assert_eq!(call(&group), 1, "the lease was entered last");
                    });
                    drop(lease);
                    assert_eq!(call(&group), outer);
                    call_with(&other, || assert_eq!(call(&group), outer));
                });
            })
        };
        let left = look(group.publish(Arc::new(Release::new(2))));
        let other_left = look(other.publish(Arc::new(Release::new(12))));
        caller.join().expect("no panic");
        look_at_last(left);
        look_at_last(other_left);
    });
}

/// A call goes on on another thread, and is left there, while its own thread makes one that
/// inherits from it.
pub(super) fn a_call_that_is_left_elsewhere() {
    sync::look_at_copies();
    let group = group(1);
    call(&group);
    let outer = Suspended::begin(&group, true);
    let left = group.publish(Arc::new(Release::new(2)));
    let elsewhere = spawn(move || outer.end());
    let scan = spawn(move || look(left));
    let nested = Suspended::begin(&group, false);
    nested.end();
    elsewhere.join().expect("no panic");
    let left = scan.join().expect("no panic");
    look_at_last(left);
}

#[test]
fn s18_a_call_that_is_left_elsewhere() {
    explore("a call left elsewhere", THREE_OR_2, a_call_that_is_left_elsewhere);
}

/// A call that was made within one through a lease outlasts both that call and the lease, which was
/// taken while the release was looked at.
pub(super) fn a_lease_that_is_outlasted() {
    let group = group(1);
    call(&group);
    let outer = Suspended::begin(&group, true);
    let left = group.publish(Arc::new(Release::new(2)));
    let scan = spawn(move || look(left));
    let lease = outer.lease();
    outer.end();
    let nested = through(&group, &lease, || Suspended::begin(&group, false));
    drop(lease);
    nested.end();
    let left = scan.join().expect("no panic");
    look_at_last(left);
}

#[test]
fn s18_a_call_that_outlasts_the_lease_that_it_was_made_under() {
    explore("a lease that is outlasted", OUTLASTED, a_lease_that_is_outlasted);
}

/// What is wanted is said, then the threads are asked: who attends sees it, or is still asked.
pub(super) fn attending() {
    let group = group(1);
    let wanted = std::sync::Arc::new(AtomicBool::new(false));
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let attended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let caller = {
        let (group, wanted, seen, attended) =
            (group.clone(), wanted.clone(), seen.clone(), attended.clone());
        spawn(move || {
            let attend = move || {
                attended.store(true, Relaxed);
                if wanted.load(Relaxed) {
                    seen.store(true, Relaxed);
                }
            };
            // A thread owes something only after it was in a call.
            call(&group);
            ATTENDED.with(|this| this.set(Some(Box::new(attend))));
            call(&group);
            pin::checkpoint();
            ATTENDED.with(|this| this.set(None));
        })
    };
    wanted.store(true, Relaxed);
    pin::ask_all();
    caller.join().expect("no panic");
    assert!(
        seen.load(Relaxed) || !attended.load(Relaxed),
        "it was asked, and did not see what for"
    );
}

#[test]
fn attention_against_a_call() {
    explore("attention", ALL_OR_2, attending);
}
