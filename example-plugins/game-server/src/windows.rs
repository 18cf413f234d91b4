//! Windows: quiet ones and switching ones take turns, so that what the machine does to both of them
//! is not taken for the doing of a switch.

use crate::tick::TICKS_A_SECOND;

/// Long enough for some switches, and short enough for many turns.
const WINDOW_TICKS: u32 = TICKS_A_SECOND / 2;

/// What happens to the rules meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Quiet,
    Switching,
}

impl Window {
    pub(crate) fn of(tick: u32) -> Self {
        if (tick / WINDOW_TICKS).is_multiple_of(2) { Window::Quiet } else { Window::Switching }
    }
}

/// The ticks that began later than the next one should have.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Missed {
    quiet: Stalls,
    switching: Stalls,
    /// The last tick was one of them.
    goes_on: bool,
}

/// Ticks that are missed one after the other are one stall.
#[derive(Debug, Default, Clone, Copy)]
struct Stalls {
    ticks: u64,
    stalls: u64,
}

impl Missed {
    pub(crate) fn note(&mut self, window: Window, missed: bool) {
        let of = match window {
            Window::Quiet => &mut self.quiet,
            Window::Switching => &mut self.switching,
        };
        of.ticks += u64::from(missed);
        of.stalls += u64::from(missed && !self.goes_on);
        self.goes_on = missed;
    }

    pub(crate) fn ticks(&self) -> u64 {
        self.quiet.ticks + self.switching.ticks
    }

    pub(crate) fn while_quiet(&self) -> u64 {
        self.quiet.ticks
    }

    pub(crate) fn while_switching(&self) -> u64 {
        self.switching.ticks
    }

    /// How many stalls more there were while rules were switched, if chance does not explain it: a
    /// stall of the machine's falls into either kind of window as heads or tails, and of `n` tosses
    /// the difference is more than three times the root of `n` once in some hundreds of runs.
    pub(crate) fn by_switches(&self) -> u64 {
        let more = self.switching.stalls.saturating_sub(self.quiet.stalls);
        let all = self.switching.stalls + self.quiet.stalls;
        if more * more > 9 * all { more } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Missed, WINDOW_TICKS, Window};

    /// Stalls of three ticks each.
    fn stalls(quiet: usize, switching: usize) -> Missed {
        let mut missed = Missed::default();
        for (window, stalls) in [(Window::Quiet, quiet), (Window::Switching, switching)] {
            for _ in 0..stalls {
                [true, true, true, false].into_iter().for_each(|late| missed.note(window, late));
            }
        }
        missed
    }

    #[test]
    fn u19_a_stall_of_the_machine_is_no_fault_of_a_switch() {
        // As three runs on a quiet machine had it, when all of them were a switch's.
        for (quiet, switching) in [(0, 0), (0, 1), (3, 4), (0, 7), (100, 120)] {
            assert_eq!(stalls(quiet, switching).by_switches(), 0, "{quiet} and {switching}");
        }
        assert_eq!(stalls(3, 4).while_quiet(), 9);
        assert_eq!(stalls(3, 4).while_switching(), 12);
    }

    #[test]
    fn u19_switches_that_stall_the_game_are_seen() {
        for (quiet, switching) in [(0, 10), (2, 20), (100, 160)] {
            let more = u64::try_from(switching - quiet).expect("more");
            assert_eq!(stalls(quiet, switching).by_switches(), more, "{quiet} and {switching}");
        }
    }

    #[test]
    fn u19_windows_take_turns() {
        let of_first = |ticks: u32| (0..ticks).map(Window::of).collect::<Vec<_>>();
        let turn = of_first(2 * WINDOW_TICKS);
        let (quiet, switching) = turn.split_at(turn.len() / 2);
        assert!(quiet.iter().all(|window| *window == Window::Quiet));
        assert!(switching.iter().all(|window| *window == Window::Switching));
        assert_eq!(of_first(4 * WINDOW_TICKS)[turn.len()..], turn);
    }
}
