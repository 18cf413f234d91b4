//! The rules of the example's game, in two versions.
//!
//! In real life the versions would be commits of one file; here they stand side by side, so that a
//! single checkout can build both.

pub mod v1;
pub mod v2;

use game_contracts::{Move, PLACES};

/// Where a move ends, at a speed.
fn step(Move { at, thrust, .. }: Move, speed: i32) -> u32 {
    let places = i64::from(PLACES);
    let to = i64::from(at) + i64::from(thrust) * i64::from(speed);
    u32::try_from(to.rem_euclid(places)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::step;
    use game_contracts::Move;

    #[test]
    fn the_ring_has_no_end() {
        let moves = |at, thrust| step(Move { player: 0, at, thrust }, 2);
        assert_eq!(
            (moves(10, 3), moves(999, 1), moves(1, -1), moves(0, i32::MIN)),
            (16, 1, 999, 704)
        );
    }
}
