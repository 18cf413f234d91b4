//! The lanes of a trivial call, and those of calls that carry something.

use crate::lanes::{CALLS_OF_A_REQUEST, Lane, Loop, dependent, tight};
use crate::libraries::Libraries;
use crate::peers::{self, Bare, Dynamic, Relib, hot_lib};
use crate::rig::Rig;
use crate::rounds::{self, Ratio, Timed, Until};
use crate::{gates, lane};
use bench_contracts::{Trade, Work, Worker};
use midflight::{Fault, Group, Slot};
use midflight_plugin::Text;
use serde::Serialize;
use std::hint::black_box;
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::Acquire;
use subsecond::HotFn;

#[inline(never)]
fn add_here(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

/// A bare function behind a pointer that could be swapped.
struct BarePointer(AtomicPtr<()>);

impl BarePointer {
    #[inline(always)]
    #[allow(unsafe_code, reason = "a function has to be called through a pointer that can change")]
    fn add(&self, a: u64, b: u64) -> u64 {
        let function = self.0.load(Acquire);
        // SAFETY: stored below, from a function of this type.
        let function: extern "C" fn(u64, u64) -> u64 = unsafe { std::mem::transmute(function) };
        function(a, b)
    }
}

/// Times the trivial call in every lane.
///
/// # Panics
/// A library does not load.
pub fn trivial(libraries: &Libraries, until: Until) -> Vec<Timed> {
    with_lanes(libraries, |lanes| rounds::run(lanes, until))
}

/// Runs `time` with the lanes of the trivial call.
///
/// # Panics
/// A library does not load.
#[allow(unsafe_code, reason = "the other gates take what the slot calls")]
pub fn with_lanes<R>(libraries: &Libraries, time: impl FnOnce(&[Lane<'_>]) -> R) -> R {
    let rig = Rig::start(libraries, "calls");
    let (lease, bound) = rig.bound();
    let bare = BarePointer(AtomicPtr::new(Bare::open(&libraries.peers[0]).add as *mut ()));
    // SAFETY: an instance of `Work`, held by the lease.
    let (limit, swap, locked) =
        unsafe { (gates::limit(bound), gates::arc_swap(bound), gates::rwlock(bound)) };
    let (limit, swap, locked, bare) = (&limit, &swap, &locked, &bare);
    let dynamic = Dynamic::start(libraries);
    let plugins = dynamic.plugins();
    let relib = &Relib::start(libraries);
    peers::set_up_hot_lib(libraries);

    let pointer: fn(u64, u64) -> u64 = black_box(add_here);
    let object: Box<dyn Work + Sync> = black_box(Box::new(Worker::new(0)));
    let object = &*object;
    let (slot, group) = (&rig.slot, &rig.group);
    let leased = lease.get(slot);
    let leased = &leased;

    let lanes = [
        lane!(shared "static", |a, b| add_here(a, b)),
        lane!(shared "fn_pointer", |a, b| black_box(pointer)(a, b)),
        lane!(shared "dyn_trait", |a, b| black_box(object).add(a, b)),
        lane!(shared "limit_bare", |a, b| bare.add(a, b)),
        lane!(shared "limit", |a, b| limit.add(a, b).unwrap_or(0)),
        lane!(shared "slot", |a, b| slot.add(a, b).unwrap_or(0)),
        Lane::shared(
            "request",
            move |calls| in_requests_tight(group, slot, calls),
            move |calls| in_requests_dependent(group, slot, calls),
        )
        .noted("64 calls inside of one open request; opening it is included"),
        lane!(shared "lease", |a, b| leased.add(a, b).unwrap_or(0)),
        lane!(shared "arc_swap", |a, b| swap.add(a, b).unwrap_or(0)),
        lane!(shared "rwlock", |a, b| locked.add(a, b).unwrap_or(0)),
        lane!(shared "hot_lib_reloader", |a, b| hot_lib::add(a, b)),
        lane!(shared "dynamic_reload", |a, b| plugins.add(a, b))
            .noted("looks the function up for each call, as its example does"),
        lane!(local "relib", |a, b| relib.add(a, b)),
        lane!(shared "subsecond", |a, b| HotFn::current(add_here).call((a, b))).noted(
            "before its first patch; it takes itself out of release builds, so its debug assertions are on",
        ),
    ];
    time(&lanes)
}

#[inline(never)]
fn in_requests_tight(group: &Group, slot: &Slot<dyn Work>, calls: u64) {
    for request in 0..calls / CALLS_OF_A_REQUEST {
        let done = group.request(|release| {
            let work = release.get(slot);
            tight(CALLS_OF_A_REQUEST, request * CALLS_OF_A_REQUEST, |a, b| {
                work.add(a, b).unwrap_or(0)
            });
            Ok::<_, Fault>(())
        });
        assert_eq!(done, Ok(()));
    }
}

#[inline(never)]
fn in_requests_dependent(group: &Group, slot: &Slot<dyn Work>, calls: u64) {
    let mut value = 1;
    for _ in 0..calls / CALLS_OF_A_REQUEST {
        let next = group.request(|release| {
            let work = release.get(slot);
            Ok::<_, Fault>(dependent(CALLS_OF_A_REQUEST, value, |a, b| work.add(a, b).unwrap_or(0)))
        });
        value = next.unwrap_or(0);
    }
    black_box(value);
}

/// The ratios that say whether a promise is kept, and those that say where the others stand.
pub fn ratios(timed: &[Timed]) -> Vec<Ratio> {
    let pairs = [
        ("slot", "limit"),
        ("request", "limit"),
        ("lease", "limit"),
        ("arc_swap", "limit"),
        ("rwlock", "limit"),
        ("arc_swap", "slot"),
        ("rwlock", "slot"),
        ("hot_lib_reloader", "slot"),
        ("dynamic_reload", "slot"),
        ("relib", "slot"),
        ("subsecond", "slot"),
    ];
    pairs.iter().flat_map(|(lane, to)| rounds::ratios(timed, lane, to)).collect()
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Payload {
    what: &'static str,
    lane: &'static str,
    min_ns: Option<f64>,
    median_ns: Option<f64>,
}

/// Times calls that carry something: `static` is the same method with no boundary, `limit` the
/// exported one without a pin.
///
/// # Panics
/// A library does not load.
#[allow(unsafe_code, reason = "the other gate takes what the slot calls")]
pub fn payload(libraries: &Libraries, until: Until) -> Vec<Payload> {
    let rig = Rig::start(libraries, "payload");
    let (_lease, bound) = rig.bound();
    // SAFETY: an instance of `Work`, held by the lease.
    let limit = unsafe { gates::limit(bound) };
    let (slot, limit, worker) = (&rig.slot, &limit, &Worker::new(0));
    let text = "thirty-two bytes of ordinary tex";
    let list: Vec<u64> = (0..64).collect();
    let trade = Trade { symbol: Text::from("ABC"), quantity: 7, price_ticks: 3 };
    let (list, trade) = (&*list, &trade);

    macro_rules! lanes {
        ($($what:literal: $method:ident($argument:expr) $(=> $read:expr)?;)*) => {
            vec![$((
                $what,
                [
                    lane!(shared "static", |_, _| lanes!(@ worker.$method(black_box($argument)) $(, $read)?)),
                    lane!(shared "limit", |_, _| limit.$method(black_box($argument)).map_or(0, |out| lanes!(@ out $(, $read)?))),
                    lane!(shared "slot", |_, _| slot.$method(black_box($argument)).map_or(0, |out| lanes!(@ out $(, $read)?))),
                ],
            )),*]
        };
        (@ $out:expr, $read:expr) => { $read($out) };
        (@ $out:expr) => { $out };
    }
    let all = lanes! {
        "record_in": fee(trade);
        "text_in_32": text_in(text);
        "list_in_64": list_in(list);
        "text_out_32": text_out(0) => |out: String| black_box(out).len() as u64;
        "list_out_64": list_out(64) => |out: Vec<u64>| black_box(out).len() as u64;
        "steps_64": steps(64);
        "steps_told_64": steps_told(64);
        "record_out": record_out(7) => |out: bench_contracts::Quote| black_box(out).price_ticks.cast_unsigned();
    };
    let share = match until {
        Until::Time(time) => Until::Time(time / all.len() as u32),
        rounds @ Until::Rounds(_) => rounds,
    };
    let timed = all.iter().flat_map(|(what, lanes)| {
        let timed = rounds::run_alone(lanes, Loop::Tight, share);
        timed.into_iter().map(|timed| Payload {
            what,
            lane: timed.lane,
            min_ns: timed.min().map(rounds::rounded),
            median_ns: timed.median().map(rounds::rounded),
        })
    });
    timed.collect()
}
