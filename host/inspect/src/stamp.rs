//! Stamps: the hash of a library, written into the library.
//!
//! An inspection sees what the loader and the unwinder read. It can't see that an instruction, a
//! constant or a relocation's addend is another than the linker wrote: such a file is loaded, and
//! kills the process at some call. A hash beside the file would tell, but it gets lost. So a
//! plugin's file has room for its own ([`StampNote`](midflight_format::StampNote)), which is filled
//! in when the file is finished ([`stamp`]).
//!
//! The room is found by a mark, not through the headers, and before anything else is believed: else
//! a damaged header would hide that there is a stamp. It holds one of two words, *stamped* and
//! *unstamped*, which differ in so many bits that damage turns neither into the other; what is
//! neither is damaged. The hash is of the whole file, with word and hash as zeros. So a stamped
//! file that was damaged anywhere, cut or continued is refused, whatever its other bytes say, but
//! for damage to the mark: then no stamp is found. But each plugin has a mark, so a file with a
//! plugin's note and no mark is damaged as well ([`inspect`](crate::inspect)).
//!
//! A stamp is against damage. It is no signature: whoever can change the file can stamp it again.

mod file;

use crate::refusal::{Code, Refusal};
use blake3::hazmat::{ChainingValue, HasherExt, Mode};
use blake3::hazmat::{left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};
use blake3::{CHUNK_LEN, Hash, Hasher, OUT_LEN};
use memchr::memmem;
use midflight_format::{MARK_INVERTED, STAMPED, UNSTAMPED};
use std::hint::black_box;
use std::ops::Range;

pub use file::{StampError, stamp_file};

/// What a file says about its own hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The file is as it was when it was stamped.
    Stamped,
    /// Nobody has stamped it yet, so nobody can tell whether it is whole.
    Unstamped,
}

/// What [`stamp`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamping {
    /// The file had no stamp.
    New,
    /// The file was changed after it had been stamped, and has a new stamp.
    Renewed,
    /// The file had the right stamp: no byte was changed.
    Unchanged,
}

/// Writes the hash of `file`, the bytes of a plugin's library, into the room that it has for that.
///
/// A build does it last: after `strip`, `patchelf` and whatever else changes the file. Where one of
/// them came later, it is done again. The machine that the library is for does not matter. Refuses
/// what has no room (`not_a_plugin`, `not_elf`, `wrong_file_type`) and what has a damaged one
/// (`file_damaged`), and leaves that as it is.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut library = std::fs::read("target/release/libfees.so")?;
/// midflight_inspect::stamp(&mut library)?;
/// std::fs::write("dist/fees.so", library)?;
/// # Ok(())
/// # }
/// ```
pub fn stamp(file: &mut [u8]) -> Result<Stamping, Refusal> {
    let room = room(file)?;
    let (stamp, hash) = (room.says(file)?, room.hashes(file).zeroed);
    let done = match stamp {
        Stamp::Unstamped => Stamping::New,
        Stamp::Stamped if room.hash(file) == hash => return Ok(Stamping::Unchanged),
        Stamp::Stamped => Stamping::Renewed,
    };
    file[room.word()].copy_from_slice(&STAMPED);
    file[room.sum()].copy_from_slice(hash.as_bytes());
    Ok(done)
}

/// Takes the stamp out of `file` again, for tools that change files to see what an inspection makes
/// of them.
///
/// Refuses what [`stamp`] refuses.
pub fn unstamp(file: &mut [u8]) -> Result<(), Refusal> {
    let room = room(file)?;
    room.says(file)?;
    file[room.word()].copy_from_slice(&UNSTAMPED);
    file[room.sum()].fill(0);
    Ok(())
}

/// Whether `file`, the bytes of a plugin's library, has a stamp. One that is not its own is refused
/// (`file_damaged`), and so is what has no room for one (`not_a_plugin`).
///
/// ```no_run
/// # use midflight_inspect::{Stamp, verify};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// assert_eq!(verify(&std::fs::read("dist/fees.so")?)?, Stamp::Stamped);
/// # Ok(())
/// # }
/// ```
pub fn verify(file: &[u8]) -> Result<Stamp, Refusal> {
    Checked::of(file)?.stamp.ok_or_else(|| roomless(file))
}

/// A file of which nothing but its stamp was looked at.
pub(crate) struct Checked {
    /// `None`: no mark was found.
    pub(crate) stamp: Option<Stamp>,
    /// Of the whole file, if it had to be found out.
    digest: Option<Hash>,
}

impl Checked {
    /// Refuses what was damaged after it was stamped.
    pub(crate) fn of(file: &[u8]) -> Result<Self, Refusal> {
        let Some(room) = Room::find(file)? else {
            return Ok(Checked { stamp: None, digest: None });
        };
        let stamp = room.says(file)?;
        if stamp == Stamp::Unstamped {
            return Ok(Checked { stamp: Some(stamp), digest: None });
        }
        let (hashes, expected) = (room.hashes(file), room.hash(file));
        if hashes.zeroed != expected {
            let (found, expected) = (short(&hashes.zeroed), short(&expected));
            return Err(damaged(format!(
                "it was stamped with the hash {expected}…, and has {found}…: it was changed after that"
            )));
        }
        Ok(Checked { stamp: Some(stamp), digest: Some(hashes.plain) })
    }

    /// The hash of the file as it is.
    pub(crate) fn digest(&self, file: &[u8]) -> Hash {
        self.digest.unwrap_or_else(|| blake3::hash(file))
    }
}

pub(crate) fn damaged(reason: impl Into<String>) -> Refusal {
    Refusal::new(Code::FileDamaged, reason)
}

const MARK_BYTES: usize = MARK_INVERTED.len();
const WORD_BYTES: usize = UNSTAMPED.len();

/// Where a file has room for its stamp. INVARIANT: mark, word and hash lie inside the file.
struct Room {
    mark: usize,
}

impl Room {
    fn find(file: &[u8]) -> Result<Option<Room>, Refusal> {
        // What is linked into a plugin must not have the mark, so the compiler may not know that it
        // is a constant.
        let mark = black_box(MARK_INVERTED).map(|byte| !byte);
        let finder = memmem::Finder::new(&mark);
        let mut found = finder.find_iter(file);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(one), Some(other)) => Err(damaged(format!(
                "it has the mark of a stamp at byte {one:#x} and at byte {other:#x}, a plugin has one"
            ))),
            (Some(mark), None) if file.len() - mark < MARK_BYTES + WORD_BYTES + OUT_LEN => {
                Err(damaged("it ends within the room for its stamp"))
            }
            (Some(mark), None) => Ok(Some(Room { mark })),
        }
    }

    fn word(&self) -> Range<usize> {
        let start = self.mark + MARK_BYTES;
        start..start + WORD_BYTES
    }

    fn sum(&self) -> Range<usize> {
        let start = self.word().end;
        start..start + OUT_LEN
    }

    fn says(&self, file: &[u8]) -> Result<Stamp, Refusal> {
        let (word, sum) = (&file[self.word()], &file[self.sum()]);
        if word == STAMPED {
            return Ok(Stamp::Stamped);
        }
        if word != UNSTAMPED {
            return Err(damaged("its stamp says neither stamped nor unstamped"));
        }
        match sum.iter().all(|byte| *byte == 0) {
            true => Ok(Stamp::Unstamped),
            false => Err(damaged("its stamp says unstamped, and has a hash")),
        }
    }

    /// What the file says.
    fn hash(&self, file: &[u8]) -> Hash {
        let mut hash = [0; OUT_LEN];
        hash.copy_from_slice(&file[self.sum()]);
        Hash::from_bytes(hash)
    }

    /// What is true.
    fn hashes(&self, file: &[u8]) -> Hashes {
        Hashes::of(file, self.word().start..self.sum().end)
    }
}

/// The room of what is to be stamped.
fn room(file: &[u8]) -> Result<Room, Refusal> {
    const SHARED_OBJECT: &[u8] = &object::elf::ET_DYN.0.to_le_bytes();
    if !file.starts_with(&object::elf::ELFMAG) {
        return Err(Refusal::new(Code::NotElf, "it is no ELF file"));
    }
    if file.get(16..18) != Some(SHARED_OBJECT) {
        return Err(Refusal::new(Code::WrongFileType, "it is an ELF file, but no shared library"));
    }
    Room::find(file)?.ok_or_else(|| roomless(file))
}

fn roomless(file: &[u8]) -> Refusal {
    let elf = file.starts_with(&object::elf::ELFMAG);
    let what = if elf { "it has" } else { "it is no ELF file, and has" };
    Refusal::new(Code::NotAPlugin, format!("{what} no room for a stamp, which `export!` makes"))
}

fn short(hash: &Hash) -> String {
    hash.to_hex()[..12].to_owned()
}

/// The hash of some bytes, and that of the same bytes with a few of them as zeros.
///
/// BLAKE3 is a tree of chunks. What is zeroed lies in one or two of them, so all other subtrees are
/// hashed once for both.
#[derive(Debug, PartialEq, Eq)]
struct Hashes {
    plain: Hash,
    zeroed: Hash,
}

/// The same of a subtree.
struct Values {
    plain: ChainingValue,
    zeroed: ChainingValue,
}

impl Hashes {
    fn of(bytes: &[u8], zeroed: Range<usize>) -> Self {
        if bytes.len() <= CHUNK_LEN {
            return Hashes {
                plain: blake3::hash(bytes),
                zeroed: blake3::hash(with_zeros(bytes, 0, &zeroed, &mut [0; CHUNK_LEN])),
            };
        }
        let (left, right) = Values::of_children(bytes, 0, &zeroed);
        Hashes {
            plain: merge_subtrees_root(&left.plain, &right.plain, Mode::Hash),
            zeroed: merge_subtrees_root(&left.zeroed, &right.zeroed, Mode::Hash),
        }
    }
}

impl Values {
    /// Of the subtree `bytes`, which lies at `offset` of all.
    fn of(bytes: &[u8], offset: usize, zeroed: &Range<usize>) -> Self {
        let value = |bytes: &[u8]| {
            let mut hasher = Hasher::new();
            hasher.set_input_offset(offset as u64).update(bytes).finalize_non_root()
        };
        if zeroed.end <= offset || offset + bytes.len() <= zeroed.start {
            let value = value(bytes);
            return Values { plain: value, zeroed: value };
        }
        if bytes.len() <= CHUNK_LEN {
            let mut copy = [0; CHUNK_LEN];
            return Values {
                plain: value(bytes),
                zeroed: value(with_zeros(bytes, offset, zeroed, &mut copy)),
            };
        }
        let (left, right) = Values::of_children(bytes, offset, zeroed);
        Values {
            plain: merge_subtrees_non_root(&left.plain, &right.plain, Mode::Hash),
            zeroed: merge_subtrees_non_root(&left.zeroed, &right.zeroed, Mode::Hash),
        }
    }

    /// Of the two halves of more than one chunk.
    fn of_children(bytes: &[u8], offset: usize, zeroed: &Range<usize>) -> (Self, Self) {
        // Less than the length of a slice.
        let middle = left_subtree_len(bytes.len() as u64) as usize;
        let (left, right) = bytes.split_at(middle);
        (Values::of(left, offset, zeroed), Values::of(right, offset + middle, zeroed))
    }
}

/// A copy of the chunk `bytes`, which lies at `offset` of all, with what of it is in `zeroed` as
/// zeros.
fn with_zeros<'copy>(
    bytes: &[u8],
    offset: usize,
    zeroed: &Range<usize>,
    copy: &'copy mut [u8; CHUNK_LEN],
) -> &'copy [u8] {
    let copy = &mut copy[..bytes.len()];
    copy.copy_from_slice(bytes);
    let within = |at: usize| at.saturating_sub(offset).min(bytes.len());
    copy[within(zeroed.start)..within(zeroed.end)].fill(0);
    copy
}

#[cfg(test)]
pub(crate) mod tests;
