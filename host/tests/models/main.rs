//! The pin protocol under loom: `host/src/gate/pin.rs` and `cell.rs` themselves, over
//! `gate/sync.rs` of this folder.
//!
//! Loom runs each model in every order that its threads' steps may have, and lets each load read
//! every store that the memory model allows. A release that is freed is dropped, and its memory
//! kept, so that a use after that is a failed assertion, or loom's causality violation where
//! nothing orders the two.
//!
//! A model that can't find a fault is no model: in `faults` each step of the protocol is left out
//! in turn, and found.
//!
//! A test run explores what two preemptions reach; `.ci/models` everything, and of the larger
//! models what three reach. Loom takes sequentially consistent *accesses* for acquire and release;
//! in the place of the pin's exchange it has a store and a fence. It takes the fences to order all
//! that is around them, which for this protocol is what the language gives; the two sides are left
//! out in turn. What it does not try by itself is in `gate/sync.rs` at `Turn`.
#![allow(unsafe_code, reason = "it stands in for the gate's surroundings")]
#![allow(dead_code, reason = "of the gate the models use what they need")]

mod gate {
    #[path = "../../../src/gate/cell.rs"]
    pub(crate) mod cell;
    #[path = "../../../src/gate/pin.rs"]
    pub(crate) mod pin;
    pub(crate) mod release;
    pub(crate) mod sync;

    pub(crate) fn is_pinned(release: &crate::gate::release::Release) -> bool {
        pin::is_pinned(release)
    }

    impl cell::GroupCell {
        pub(crate) fn enter<R>(
            &self,
            call: pin::Call,
            f: impl FnOnce(&crate::gate::release::Release) -> Result<R, midflight_plugin::Fault>,
        ) -> Result<R, midflight_plugin::Fault> {
            pin::enter(self, call, |entered| f(entered.release()))
        }

        pub(crate) fn lease(
            &self,
        ) -> Result<sync::Arc<crate::gate::release::Release>, midflight_plugin::Fault> {
            // SAFETY: entered.
            self.enter(pin::Call::REQUEST, |release| Ok(unsafe { cell::share(release) }))
        }
    }

    /// A call that uses what it enters, and then what that leads to.
    pub(crate) fn over(group: &cell::GroupCell, inside: impl FnOnce(u64)) {
        let called = pin::enter(group, pin::Call::REQUEST, |entered| {
            entered.release().used();
            let Some(side) = entered.release().side() else { return Ok(()) };
            // SAFETY: the outer one owns it.
            let entered = unsafe { entered.over(side) };
            entered.release().used();
            inside(entered.release().number);
            entered.release().used();
            Ok::<_, midflight_plugin::Fault>(())
        });
        called.expect("within the bounds");
    }

    /// A call that is left by whoever gets it, as that of a coroutine is.
    pub(crate) struct Suspended {
        entered: Option<pin::Entered>,
    }

    // SAFETY: it is what is to be shown: that a call may be left by another thread.
    unsafe impl Send for Suspended {}

    impl Suspended {
        /// `outer`: as the outermost call of its thread.
        pub(crate) fn begin(group: &std::sync::Arc<cell::GroupCell>, outer: bool) -> Self {
            let call = pin::Call::REQUEST;
            let entered = match outer {
                true => pin::enter_plainly(group, call).expect("registered, and in no call"),
                false => pin::enter_rarely(group, call).expect("within the bounds"),
            };
            entered.release().used();
            Suspended { entered: Some(entered) }
        }

        pub(crate) fn lease(&self) -> sync::Arc<crate::gate::release::Release> {
            let entered = self.entered.as_ref().expect("it has not ended");
            // SAFETY: entered.
            unsafe { cell::share(entered.release()) }
        }

        pub(crate) fn end(mut self) {
            let entered = self.entered.take().expect("it has not ended");
            entered.release().used();
        }
    }

    /// A call through a lease.
    pub(crate) fn through<R>(
        group: &cell::GroupCell,
        lease: &crate::gate::release::Release,
        f: impl FnOnce() -> R,
    ) -> R {
        let held = pin::enter_held(group, lease, pin::Call::REQUEST, || {
            Ok::<_, midflight_plugin::Fault>(f())
        });
        held.expect("within the bounds")
    }
}
mod faults;
mod plant;
mod protocol;
mod runtime;

use gate::cell::{GroupCell, Retired};
use gate::pin::Call;
use gate::release::Release;
use gate::sync::{self, Arc};
use midflight_plugin::Fault;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// How often a thread is preempted at most; as often as can be where it is none.
#[derive(Clone, Copy)]
struct Bounds {
    /// In any test run.
    short: Option<usize>,
    /// With `MODELS=full`.
    full: Option<usize>,
}

/// Runs `model` in all orders within the bounds.
fn explore(name: &str, bounds: Bounds, model: impl Fn() + Sync + Send + 'static) {
    let began = Instant::now();
    let orders = std::sync::Arc::new(AtomicUsize::new(0));
    let is_full = std::env::var("MODELS").is_ok_and(|models| models == "full");
    let preemptions = if is_full { bounds.full } else { bounds.short };
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    let counted = std::sync::Arc::clone(&orders);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        sync::begin_execution();
        model();
    });
    let bound =
        preemptions.map_or("all".to_owned(), |bound| format!("at most {bound} preemptions"));
    println!("{name}: {} orders ({bound}), {:.1?}", orders.load(Relaxed), began.elapsed());
}

/// A thread as the system runs it: with an end that the gate is told of.
fn spawn<T: 'static>(body: impl FnOnce() -> T + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::spawn(move || {
        let result = body();
        sync::thread_ends();
        result
    })
}

fn group(number: u64) -> std::sync::Arc<GroupCell> {
    std::sync::Arc::new(GroupCell::new(
        "",
        Arc::new(Release::new(number)),
        sync::FRAMES,
        sync::FRAMES,
    ))
}

/// One call: it uses the release throughout, and says which it was.
fn call(group: &GroupCell) -> u64 {
    call_with(group, || ())
}

fn call_with(group: &GroupCell, inside: impl FnOnce()) -> u64 {
    let called = group.enter(Call::REQUEST, |release| {
        release.used();
        inside();
        release.used();
        Ok::<_, Fault>(release.number)
    });
    called.expect("within the bounds")
}

/// What the control plane does at each look.
fn look(retired: Retired) -> Option<Retired> {
    match retired.look() {
        Ok(sides) => {
            assert!(sides.is_empty(), "it leads nowhere");
            None
        }
        Err(retired) => Some(retired),
    }
}

/// When nobody is left, everything goes.
fn look_at_last(retired: Option<Retired>) {
    if let Some(left) = retired.and_then(look) {
        panic!(
            "release {} does not drain: {:?}, {} leases",
            left.release().number,
            left.inside(),
            left.leases()
        );
    }
}
