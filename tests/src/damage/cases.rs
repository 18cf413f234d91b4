//! Cases: one damaged library each, and single flipped bits as the plainest of them.

use super::places::{Places, is_code};
use crate::Random;
use std::collections::BTreeSet;
use std::ops::Range;

/// A damaged library.
#[derive(Debug)]
pub struct Case {
    /// What is wrong with it.
    pub label: String,
    /// Where that is.
    pub place: String,
    /// Some of it is in code, data, addends or tables of exceptions.
    pub is_code: bool,
    /// The library.
    pub bytes: Vec<u8>,
}

impl Case {
    /// The library `bytes`, which was made of the sound one `from`. Its place is that of the first
    /// byte that differs.
    pub fn of(label: String, from: &[u8], bytes: Vec<u8>, places: &Places) -> Case {
        let mut changed: Vec<_> = from
            .iter()
            .zip(&bytes)
            .enumerate()
            .filter(|(_, (a, b))| a != b)
            .map(|(at, _)| at)
            .collect();
        if bytes.len() != from.len() || changed.is_empty() {
            changed.push(bytes.len().min(from.len()));
        }
        let names: BTreeSet<_> = changed.iter().map(|at| places.name(*at)).collect();
        Case {
            label,
            place: places.name(changed[0]),
            is_code: names.iter().any(|name| is_code(name)),
            bytes,
        }
    }
}

/// The library `from` with bit `bit` of it flipped.
pub fn flip(from: &[u8], bit: usize, places: &Places) -> Case {
    let mut bytes = from.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let place = places.name(bit / 8);
    let label = format!("bit {bit} (byte {:#x}, bit {})", bit / 8, bit % 8);
    Case { label, is_code: is_code(&place), place, bytes }
}

/// `count` bits to flip. Where a place is named, they are of it, all of them if there are not more.
/// Else half of them lie anywhere, and the other half in what is not code, the same number in each
/// place: without that nearly all would be code.
pub fn flips(
    from: &[u8],
    places: &Places,
    count: usize,
    within: Option<&str>,
    random: &mut Random,
) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    let structure = places.structure();
    if let Some(within) = within {
        let mut bits: Vec<usize> = match structure.get(within) {
            Some(bits) => bits.clone(),
            None => {
                (0..from.len()).filter(|at| places.name(*at) == within).flat_map(bits_of).collect()
            }
        };
        return shuffled(&mut bits, count, random);
    }
    let mut left = count / 2;
    let mut all: Vec<_> = structure.into_values().collect();
    all.sort_by_key(Vec::len);
    let mut places_left = all.len();
    for mut bits in all {
        let share = shuffled(&mut bits, left / places_left, random);
        left -= share.len();
        places_left -= 1;
        chosen.extend(share);
    }
    while chosen.len() < count.min(8 * from.len()) {
        chosen.insert(random.below(8 * from.len()));
    }
    let mut chosen: Vec<_> = chosen.into_iter().collect();
    let count = chosen.len();
    shuffled(&mut chosen, count, random)
}

fn bits_of(byte: usize) -> Range<usize> {
    8 * byte..8 * byte + 8
}

/// The first `count` of `all`, once that is in no order.
fn shuffled(all: &mut Vec<usize>, count: usize, random: &mut Random) -> Vec<usize> {
    for end in (1..all.len()).rev() {
        all.swap(end, random.below(end + 1));
    }
    all.truncate(count);
    std::mem::take(all)
}
