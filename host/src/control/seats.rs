//! Seats: where a generation of a group stands until it is on its way out.
//!
//! | seat | since | until |
//! |---|---|---|
//! | `Left` | the store back from its trial | `after_return` has run: it retires |
//! | `Standby` | the store of its successor | the commit: it retires; or the way back: it serves |
//! | `Serving` | its store | the next store that replaces it |
//! | `Canary` | its fork | the canary's end: the switch, or it is withdrawn |
//! | `Moving` | the begin of the hand-over to it | the store, or it is withdrawn |
//! | `Ready` | it is prepared | a switch point |
//! | `Behind` | it is prepared | no hooks and no canary come first any more |
//! | `Gathered` | it is prepared | the last plugin of its release is |
//!
//! A generation has one seat. Whoever asks where one can be asks [`GroupState::seats`], so that no
//! place is forgotten.

use super::GroupState;
use super::publish::Ready;
use crate::generation::Generation;
use std::sync::Arc;

/// In the order of versions: of one plugin, the generation in the last seat is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seat {
    Left,
    Standby,
    Serving,
    Canary,
    Moving,
    Ready,
    Behind,
    Gathered,
}

impl Seat {
    /// It may serve when what it waits for is over.
    pub(super) fn is_coming(self) -> bool {
        self > Seat::Serving
    }
}

impl GroupState {
    /// Each generation of the group that is not on its way out, with its one seat.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Seat, &Arc<Generation>)> {
        // What is on trial serves, or has left; what it replaced is the other of the two.
        let trials = self.trials.iter().flat_map(|trial| {
            let has_left = trial.has_left();
            trial.members.iter().filter_map(move |tried| match has_left {
                true => Some((Seat::Left, &tried.ready.generation)),
                false => tried.standby.as_ref().map(|standby| (Seat::Standby, standby)),
            })
        });
        let serving = self.active.iter().map(|generation| (Seat::Serving, generation));
        let canary = self.canary.iter().flat_map(|canary| &canary.members);
        let moving = self.handover.iter().flat_map(|handover| handover.ready());
        let gathered = self.gathering.iter().flat_map(|gathering| &gathering.ready);
        trials
            .chain(serving)
            .chain(canary.map(at(Seat::Canary)))
            .chain(moving.map(at(Seat::Moving)))
            .chain(self.ready.iter().map(at(Seat::Ready)))
            .chain(self.behind.iter().map(at(Seat::Behind)))
            .chain(gathered.map(at(Seat::Gathered)))
    }

    /// What serves, or is the next to.
    pub(super) fn newest(&self, plugin: &str) -> Option<&Arc<Generation>> {
        let of_it = self
            .seats()
            .filter(|(seat, generation)| *seat >= Seat::Serving && *generation.plugin == *plugin);
        Some(of_it.max_by_key(|(seat, _)| *seat)?.1)
    }
}

fn at(seat: Seat) -> impl Fn(&Ready) -> (Seat, &Arc<Generation>) {
    move |ready| (seat, &ready.generation)
}
