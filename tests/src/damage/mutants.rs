//! Mutants: libraries with a few random changes, most of them where the loader looks.
//!
//! The inspection meets all of them, and has to say yes or no within a moment. Those that it
//! accepts are as bad as what it can't see.

use super::cases::Case;
use super::places::Places;
use crate::Random;
use midflight_inspect::inspect;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

const EDITS_MAX: usize = 3;
/// Of four edits one is anywhere.
const ANYWHERE_EACH: usize = 4;
const PROGRESS_EACH: u64 = 100_000;
/// Longer than the inspection of any library takes, on a machine that does much else.
const MOMENT: Duration = Duration::from_secs(5);

/// The mutants of one library.
pub struct Mutants<'a> {
    sound: &'a [u8],
    /// The bytes of each place that is no code.
    structure: Vec<Vec<usize>>,
    seed: u64,
}

/// What the inspection said to many.
#[derive(Debug, Default)]
pub struct Inspected {
    /// The numbers of those that it accepts, in order.
    pub accepted: Vec<u64>,
    /// Of those that it panicked at.
    pub panicked: Vec<u64>,
    /// Of those that took it longer than a moment.
    pub slow: Vec<u64>,
}

impl<'a> Mutants<'a> {
    /// Those of `sound` and `seed`.
    pub fn of(sound: &'a [u8], places: &Places, seed: u64) -> Mutants<'a> {
        let bytes = |bits: Vec<usize>| bits.into_iter().step_by(8).map(|bit| bit / 8).collect();
        Mutants { sound, structure: places.structure().into_values().map(bytes).collect(), seed }
    }

    /// Number `number`.
    pub fn one(&self, number: u64) -> Vec<u8> {
        let mut random =
            Random::new(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(number));
        let mut bytes = self.sound.to_vec();
        for _ in 0..=random.below(EDITS_MAX) {
            let at = match random.below(ANYWHERE_EACH) {
                0 => random.below(bytes.len()),
                _ => {
                    let place = random.below(self.structure.len());
                    *random.one_of(&self.structure[place])
                }
            };
            self.edit(&mut bytes, at, &mut random);
        }
        bytes
    }

    /// As a case.
    pub fn case(&self, number: u64, places: &Places) -> Case {
        Case::of(
            format!("mutant {number} of seed {}", self.seed),
            self.sound,
            self.one(number),
            places,
        )
    }

    fn edit(&self, bytes: &mut [u8], at: usize, random: &mut Random) {
        const EXTREME: [u64; 8] = [0, 1, 8, 1 << 31, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX];
        let word = (at & !7).min(bytes.len() - 8);
        let old = u64::from_le_bytes(*bytes[word..].first_chunk().expect("a word"));
        let new = match random.below(6) {
            0 => {
                bytes[at] ^= 1 << random.below(8);
                return;
            }
            1 => {
                bytes[at] = random.number() as u8;
                return;
            }
            2 => *random.one_of(&EXTREME),
            3 => old.wrapping_add(*random.one_of(&[
                1,
                8,
                24,
                0x1000,
                0_u64.wrapping_sub(8),
                0_u64.wrapping_sub(24),
            ])),
            4 => old ^ (1 << random.below(64)) ^ (1 << random.below(64)),
            // A word of the file's own.
            _ => {
                let from = random.below(bytes.len() - 8) & !7;
                u64::from_le_bytes(*bytes[from..].first_chunk().expect("a word"))
            }
        };
        bytes[word..word + 8].copy_from_slice(&new.to_le_bytes());
    }

    /// Shows the first `count` to the inspection.
    pub fn inspect(&self, count: u64, workers: usize) -> Inspected {
        let one_worker = |worker: usize| {
            let mut found = Inspected::default();
            for number in (0..count).skip(worker).step_by(workers) {
                if number % PROGRESS_EACH == 0 {
                    eprintln!(
                        "{number} of {count} mutants, {} accepted by one of {workers}",
                        found.accepted.len()
                    );
                }
                let bytes = self.one(number);
                let began = Instant::now();
                match catch_unwind(AssertUnwindSafe(|| inspect(&bytes).is_ok())) {
                    Ok(true) if bytes != self.sound => found.accepted.push(number),
                    Ok(_) => {}
                    Err(_) => found.panicked.push(number),
                }
                if began.elapsed() > MOMENT {
                    found.slow.push(number);
                }
            }
            found
        };
        let mut all = Inspected::default();
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..workers).map(|worker| scope.spawn(move || one_worker(worker))).collect();
            for worker in workers {
                let found = worker.join().expect("its panics are caught");
                all.accepted.extend(found.accepted);
                all.panicked.extend(found.panicked);
                all.slow.extend(found.slow);
            }
        });
        all.accepted.sort_unstable();
        all
    }
}
