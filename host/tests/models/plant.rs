//! Faults that are planted in the protocol's parts. Each must be found.

use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The announcement may become visible after the second look.
    NoFenceInReader,
    /// The hazards may be read before the new release is visible.
    NoFenceInWriter,
    /// What was announced is used, whatever the mirror says by then.
    NoSecondLook,
    /// The release may be entered before what it was made of is visible: on the writer's side …
    PublishRelaxed,
    /// … and on the reader's, where a release at an old one's address is one that the fence has not
    /// acquired.
    SecondLookRelaxed,
    /// What the call did may become visible after its release is freed: by its own last store …
    ClearRelaxed,
    /// … and by the next announcement, which takes the place of that.
    AnnounceRelaxed,
    /// What was read in a release that leads elsewhere may be read after it is freed.
    OverRelaxed,
    /// What it leads to is freed with it.
    SidesForgotten,
    /// The same for what was done through a lease.
    ShareRelaxed,
    /// A share may be found to be counted before it is found to be there.
    SharesRelaxed,
    /// A nested call takes over a release, and says so to nobody.
    NoCopies,
    /// What was copied may be read before the frames are.
    NoFenceAfterLook,
    /// A record may be found before what it was made of is visible.
    AppendRelaxed,
    /// A record's next owner may see what its last one wrote before: on the last one's side …
    HandOnRelaxed,
    /// … and on the next one's.
    TakeOverRelaxed,
    /// A thread may attend and not see to what: on the control plane's side …
    AskRelaxed,
    /// … and on its own.
    AttendRelaxed,
}

thread_local! {
    // All threads of a model run on the test's own.
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

pub(crate) fn planted(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

pub(crate) fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
}
