//! No allocation on the way of a call: plain values and borrowed arguments go through a slot, a
//! request and a lease without one.
#![allow(unsafe_code, reason = "counting allocations takes an allocator")]

use bench_contracts::Trade;
use midflight::Fault;
use midflight_benches::libraries::Libraries;
use midflight_benches::rig::Rig;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! { static MADE: Cell<u64> = const { Cell::new(0) }; }

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MADE.set(MADE.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this binary on this thread while `f` runs: the gate's, the proxies', those of
/// rebuilt results.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = MADE.get();
    f();
    MADE.get() - before
}

#[test]
fn plain_values_and_borrowed_arguments_cross_without_an_allocation() {
    let libraries = Libraries::build();
    let rig = Rig::start(&libraries, "allocations");
    let trade = Trade { symbol: "ABC".into(), quantity: 7, price_ticks: 3 };
    let list: Vec<u64> = (0..64).collect();
    let slot = &rig.slot;

    // A thread's first call makes its record.
    assert_eq!(slot.add(1, 2), Ok(3));
    assert_eq!(slot.text_out(0).map(|text| text.len()), Ok(32), "the counter counts");
    assert!(allocations(|| drop(slot.text_out(0))) > 0, "the counter counts");

    let by_slot = allocations(|| {
        for number in 0..1_000 {
            assert_eq!(slot.add(number, 2), Ok(number + 2));
            assert_eq!(slot.fee(&trade), Ok(21));
            assert_eq!(slot.text_in("a text of some length"), Ok(21));
            assert_eq!(slot.list_in(&list), Ok(64));
        }
    });
    assert_eq!(by_slot, 0);

    let by_request = allocations(|| {
        let sum = rig.group.request(|release| {
            let work = release.get(slot);
            Ok::<_, Fault>(work.add(1, 2)? + work.fee(&trade)?)
        });
        assert_eq!(sum, Ok(24));
    });
    assert_eq!(by_request, 0);

    let lease = rig.group.lease().expect("a release");
    let by_lease = allocations(|| {
        assert_eq!(lease.get(slot).add(1, 2), Ok(3));
        assert_eq!(lease.get(slot).fee(&trade), Ok(21));
    });
    assert_eq!(by_lease, 0);
}
