//! What safe code of a service can try against its host, and what comes of it.

use midflight::Slot;
use midflight::bench::Turns;
use midflight_tests::{Desk, Rig, Way};
use probe_contracts::Desk as DeskContract;

#[test]
#[allow(unsafe_code, reason = "the door of the benchmarks is closed to safe code")]
fn s04_a_slot_takes_turns_in_its_own_host_alone() {
    let (rig, other) = (Rig::serving_by(Way::Linked), Rig::serving_by(Way::Linked));
    let lease = rig.group.lease().expect("it serves");
    // SAFETY: the plugin serves nobody but this test, and has no state.
    let turns = unsafe { Turns::new(&lease, &lease) };
    let own = turns.slot(&rig.probe).expect("a slot of that host");
    assert_eq!(own.version(), Ok(1));
    // Its index is 0, as that of the host's first slot, which is of another contract.
    let fixed = Slot::<dyn DeskContract>::fixed(Desk::default());
    assert!(turns.slot(&fixed).is_none(), "a fixed slot");
    assert!(turns.slot(&other.probe).is_none(), "a slot of another host");
    assert!(turns.slot(&own).is_none(), "a slot that takes turns already");
    drop((own, turns, lease));
    rig.end();
    other.end();
}
