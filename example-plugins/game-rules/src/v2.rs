//! Version 2: who keeps its direction gets faster.

use crate::{step, v1};
use game_contracts::{Move, Moved, Played, Rules};
use midflight_plugin::{Context, Handed, Plugin, StartError, State, Table, plugin};
use serde::{Deserialize, Serialize};

/// The longest run that still makes faster.
const RUN_MAX: u8 = 5;

/// What is kept of a player: schema 2 remembers how long it has kept its direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, State)]
#[state(version = 2, up = v1::Score, down = v1::Score)]
pub struct Score {
    points: u64,
    forward: bool,
    run: u8,
}

impl TryFrom<v1::Score> for Score {
    type Error = &'static str;

    fn try_from(v1::Score { points }: v1::Score) -> Result<Self, Self::Error> {
        Ok(Score { points, ..Score::default() })
    }
}

impl From<&Score> for v1::Score {
    fn from(Score { points, .. }: &Score) -> Self {
        v1::Score { points: *points }
    }
}

/// The rules.
#[plugin(implements(Rules), group = "game", state = scores)]
pub struct Running {
    generation: u64,
    scores: Handed<Table<u32, Score>>,
}

impl Plugin for Running {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(Running { generation: cx.generation(), scores: Handed::default() })
    }
}

impl Rules for Running {
    fn play(&self, moves: &[Move]) -> Played {
        let mut scores = self.scores.write();
        let play = |step_of: &Move| {
            let Score { points, forward, run } =
                scores.get(&step_of.player).cloned().unwrap_or_default();
            let goes_forward = step_of.thrust >= 0;
            let run = if goes_forward == forward { (run + 1).min(RUN_MAX) } else { 0 };
            let score = Score { points: points + 1, forward: goes_forward, run };
            let moved = Moved { at: step(*step_of, 1 + i32::from(run)), points: score.points };
            scores.insert(step_of.player, score);
            moved
        };
        Played { generation: self.generation, moved: moves.iter().map(play).collect() }
    }

    fn points(&self, player: u32) -> u64 {
        self.scores.read().get(&player).map_or(0, |score| score.points)
    }
}

#[cfg(test)]
mod tests {
    use super::{Score, v1};
    use midflight_plugin::State;

    #[test]
    fn points_go_up_and_down() {
        let mut bytes = Vec::new();
        v1::Score { points: 7 }.save(1, &mut bytes).expect("saved");
        let up = Score::restore(1, &mut &*bytes).expect("restored");
        assert_eq!(up, Score { points: 7, forward: false, run: 0 });
        bytes.clear();
        Score { points: 9, forward: true, run: 3 }.save(1, &mut bytes).expect("saved");
        assert_eq!(v1::Score::restore(1, &mut &*bytes).expect("restored"), v1::Score { points: 9 });
    }
}
