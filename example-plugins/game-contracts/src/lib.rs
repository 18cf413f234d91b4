//! What the example's game server and its rules know of each other.
//!
//! The world is the server's: who plays, and where each player is. What the rules keep of their own
//! are the points, which they hand over from version to version.

midflight_plugin::contract_crate!();

use midflight_plugin::{contract, record};

/// One player's input of one tick, and where that finds the player.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Who.
    pub player: u32,
    /// The place on the ring.
    pub at: u32,
    /// Which way, and how strongly.
    pub thrust: i32,
}

/// What becomes of a move.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The player's new place on the ring.
    pub at: u32,
    /// The player's points: one for each move.
    pub points: u64,
}

/// What becomes of a shard's moves.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// The generation of the rules that played them.
    pub generation: u64,
    /// One for each move, in their order.
    pub moved: midflight_plugin::List<Moved>,
}

/// The rules of the game.
#[contract]
pub trait Rules {
    /// Plays the moves of one shard in one tick. Shards play at the same time.
    fn play(&self, moves: &[Move]) -> Played;

    /// The points of a player; 0 for one that has not moved.
    fn points(&self, player: u32) -> u64;
}

/// How many places the ring has.
pub const PLACES: u32 = 1_000;
