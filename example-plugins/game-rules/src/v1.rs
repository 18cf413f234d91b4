//! Version 1: a point for each move.

use crate::step;
use game_contracts::{Move, Moved, Played, Rules};
use midflight_plugin::{Context, Handed, Plugin, StartError, State, Table, plugin};
use serde::{Deserialize, Serialize};

/// What is kept of a player: schema 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Score {
    pub(crate) points: u64,
}

/// The rules.
#[plugin(implements(Rules), group = "game", state = scores)]
pub struct Walking {
    generation: u64,
    scores: Handed<Table<u32, Score>>,
}

impl Plugin for Walking {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(Walking { generation: cx.generation(), scores: Handed::default() })
    }
}

impl Rules for Walking {
    fn play(&self, moves: &[Move]) -> Played {
        let mut scores = self.scores.write();
        let play = |step_of: &Move| {
            let mut score = scores.get(&step_of.player).cloned().unwrap_or_default();
            score.points += 1;
            let moved = Moved { at: step(*step_of, 1), points: score.points };
            scores.insert(step_of.player, score);
            moved
        };
        Played { generation: self.generation, moved: moves.iter().map(play).collect() }
    }

    fn points(&self, player: u32) -> u64 {
        self.scores.read().get(&player).map_or(0, |score| score.points)
    }
}
