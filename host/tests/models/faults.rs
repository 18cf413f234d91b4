//! Each step of the protocol left out in turn. A fault that a model does not find is a failure of
//! the model.
//!
//! Two are missing, since they are none. A scan that acquires nothing: `Arc::try_unwrap` has an
//! acquire fence after it. The mirror stored before the owner is swapped: both releases are owned
//! all the time, and there is one publisher ([`two_publishers`] is what that is for).

use super::gate::is_pinned;
use super::plant::{self, Plant};
use super::protocol::{
    a_call_that_is_left_elsewhere, a_lease_against_a_publish, a_lease_that_is_outlasted,
    a_record_is_handed_on, an_address_that_comes_again, another_group_after_a_publish, attending,
    calls_against_a_publish, going_over,
};
use super::{Arc, Bounds, Release, call, explore, group, look, look_at_last, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Nothing orders the use of a release and its end.
const RACE: &str = "Causality violation: Concurrent";
const FREED: &str = "is used after it was freed";

/// Each is found with this many preemptions.
const ENOUGH: Bounds = Bounds { short: Some(3), full: Some(3) };

#[track_caller]
fn found(plant: Option<Plant>, model: fn(), expected: &[&str]) {
    plant::set(plant);
    let explored = catch_unwind(AssertUnwindSafe(|| explore("not found", ENOUGH, model)));
    let payload = explored.expect_err("the fault is not found");
    let text = (payload.downcast_ref::<String>().map(String::as_str))
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("");
    assert!(
        expected.iter().any(|expected| text.contains(expected)),
        "found something else: {text}"
    );
    println!("{plant:?}: {}", text.lines().find(|line| !line.trim().is_empty()).unwrap_or(""));
}

#[test]
fn no_fence_in_the_reader() {
    found(Some(Plant::NoFenceInReader), calls_against_a_publish, &[RACE, FREED]);
}

#[test]
fn no_fence_in_the_writer() {
    found(Some(Plant::NoFenceInWriter), calls_against_a_publish, &[RACE, FREED]);
}

#[test]
fn no_second_look() {
    found(Some(Plant::NoSecondLook), calls_against_a_publish, &[RACE, FREED]);
}

#[test]
fn a_second_look_that_acquires_nothing() {
    found(Some(Plant::SecondLookRelaxed), an_address_that_comes_again, &[RACE]);
}

#[test]
fn a_publish_that_releases_nothing() {
    found(Some(Plant::PublishRelaxed), calls_against_a_publish, &[RACE]);
}

#[test]
fn a_hazard_that_is_cleared_relaxed() {
    found(Some(Plant::ClearRelaxed), calls_against_a_publish, &[RACE]);
}

/// As it was until loom found it: the second call's announcement hides that the first one's end was
/// not seen.
#[test]
fn a_hazard_that_is_announced_relaxed() {
    found(Some(Plant::AnnounceRelaxed), another_group_after_a_publish, &[RACE]);
}

#[test]
fn going_over_that_releases_nothing() {
    found(Some(Plant::OverRelaxed), going_over, &[RACE]);
}

#[test]
fn what_a_release_leads_to_freed_with_it() {
    found(Some(Plant::SidesForgotten), going_over, &[RACE, FREED]);
}

#[test]
fn a_share_that_is_dropped_relaxed() {
    found(Some(Plant::ShareRelaxed), a_lease_against_a_publish, &[RACE]);
}

/// A lease that is counted and not yet seen to be there is outlasted by a call made under it.
#[test]
fn a_share_that_is_counted_relaxed() {
    found(Some(Plant::SharesRelaxed), a_lease_that_is_outlasted, &[RACE, FREED]);
}

#[test]
fn a_release_that_is_copied_secretly() {
    found(Some(Plant::NoCopies), a_call_that_is_left_elsewhere, &[RACE, FREED]);
}

#[test]
fn no_fence_between_the_frames_and_what_was_copied() {
    found(Some(Plant::NoFenceAfterLook), a_call_that_is_left_elsewhere, &[RACE, FREED]);
}

#[test]
fn a_record_that_is_appended_relaxed() {
    found(Some(Plant::AppendRelaxed), calls_against_a_publish, &[RACE, "Causality violation"]);
}

#[test]
fn a_record_that_is_handed_on_relaxed() {
    found(Some(Plant::HandOnRelaxed), a_record_is_handed_on, &[RACE]);
}

#[test]
fn a_record_that_is_taken_over_relaxed() {
    found(Some(Plant::TakeOverRelaxed), a_record_is_handed_on, &[RACE]);
}

#[test]
fn asking_that_releases_nothing() {
    found(Some(Plant::AskRelaxed), attending, &["did not see what for"]);
}

#[test]
fn attending_that_acquires_nothing() {
    found(Some(Plant::AttendRelaxed), attending, &["did not see what for"]);
}

/// A pinned thread takes its lease after the shares were counted and before the pins were looked
/// at.
#[test]
fn shares_counted_before_the_pins() {
    fn model() {
        let group = group(1);
        let caller = {
            let group = group.clone();
            spawn(move || group.lease().expect("within the bounds").used())
        };
        let retired = group.publish(Arc::new(Release::new(2)));
        // `Retired::look` the wrong way round.
        let retired = std::mem::ManuallyDrop::new(retired);
        let only = retired.leases() == 0;
        if only && !is_pinned(retired.release()) {
            // SAFETY: none, which is what is shown.
            drop(unsafe { std::ptr::read(retired.release()) });
        }
        caller.join().expect("no panic");
    }
    found(None, model, &[RACE, FREED]);
}

/// Two publishers: the owner changes in one order, the mirror in the other.
#[test]
fn two_publishers() {
    fn model() {
        let group = group(1);
        let second = {
            let group = group.clone();
            spawn(move || look(group.publish(Arc::new(Release::new(2)))))
        };
        let first = look(group.publish(Arc::new(Release::new(3))));
        let second = second.join().expect("no panic");
        call(&group);
        look_at_last(first);
        look_at_last(second);
    }
    found(None, model, &[FREED]);
}
