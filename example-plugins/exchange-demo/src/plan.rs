//! The plan of a run: which part of it serves what.
//!
//! Quiet and swapping parts take turns, so that whatever else the machine does meanwhile is shared
//! evenly by both, and their latencies can be compared. The bad files are tried once, in the
//! middle, in a part that counts for neither; nor does the beginning, in which connections are
//! opened and threads started.

use std::time::Duration;

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kind: Kind,
    /// Lasts this long, or until what it is for has been done.
    pub(crate) length: Duration,
}

/// What happens beside the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    WarmUp,
    Quiet,
    Swapping,
    Trials,
}

/// About a second each; as many quiet ones as swapping ones.
pub(crate) fn windows(run: Duration) -> Vec<Window> {
    let warm_up = Duration::from_millis(500);
    let trials = Duration::from_millis(1_500);
    let rest = run - warm_up - trials;
    let turns = (rest.as_secs() as u32 / 2).max(1);
    let length = rest / (2 * turns);
    let mut windows = vec![Window { kind: Kind::WarmUp, length: warm_up }];
    for turn in 0..turns {
        if turn == turns / 2 {
            windows.push(Window { kind: Kind::Trials, length: trials });
        }
        windows.push(Window { kind: Kind::Quiet, length });
        windows.push(Window { kind: Kind::Swapping, length });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(windows: &[Window], kind: Kind) -> Duration {
        windows.iter().filter(|w| w.kind == kind).map(|w| w.length).sum()
    }

    #[test]
    fn a_run_is_as_long_as_it_was_asked_to_be() {
        for seconds in [5, 6, 9, 10, 20, 21, 600] {
            let windows = windows(Duration::from_secs(seconds));
            let sum: Duration = windows.iter().map(|w| w.length).sum();
            assert_eq!(sum.as_millis().div_ceil(10), u128::from(seconds) * 100, "{seconds} s");
        }
    }

    #[test]
    fn quiet_and_swapping_are_equal_and_take_turns() {
        let windows = windows(Duration::from_secs(20));
        assert_eq!(total(&windows, Kind::Quiet), total(&windows, Kind::Swapping));
        assert_eq!(windows.iter().filter(|w| w.kind == Kind::Trials).count(), 1);
        let turns: Vec<_> =
            windows[1..].iter().map(|w| w.kind).filter(|kind| *kind != Kind::Trials).collect();
        assert!(turns.chunks(2).all(|turn| turn == [Kind::Quiet, Kind::Swapping]));
    }

    #[test]
    fn a_swap_each_fifty_milliseconds_is_enough_for_five_a_second() {
        for seconds in [5, 10, 20] {
            let swapping = total(&windows(Duration::from_secs(seconds)), Kind::Swapping);
            assert!(swapping.as_millis() / 50 >= u128::from(5 * seconds), "{seconds} s");
        }
    }
}
