//! The versions of symbols: which of them each symbol has, and which libraries are to offer them.
//!
//! The loader takes a symbol's version as an index into a table that it makes of the needed
//! versions, without a look at the table's end. And it compares versions by a hash that the file
//! brings along.

use super::dynamic::{FAMILIAR, only};
use super::headers::{Elf, Section, inconsistent, text};
use super::symbols::Table;
use crate::refusal::Refusal;
use object::elf;
use std::collections::HashMap;

const INDEX_MASK: u16 = 0x7fff;
/// A symbol of no library's version, and one of the file's own.
const PLAIN: [u16; 2] = [0, 1];
const NAME_BYTES_MAX: usize = 256;
/// A library needs some tens.
const VERSIONS_MAX: usize = 4096;
const NEED_BYTES: usize = 16;

/// Which symbols are of libraries that are the C library's own, or of libgcc.
#[derive(Default)]
pub(super) struct Known {
    /// By symbol.
    familiar: Vec<bool>,
}

impl Known {
    pub(super) fn is_familiar(&self, symbol: usize) -> bool {
        self.familiar.get(symbol).copied().unwrap_or(false)
    }
}

/// Refuses indices that no version has, and versions that can't be those that the linker saw.
pub(super) fn check(elf: &Elf<'_>, table: &Table<'_>, needed: &[String]) -> Result<Known, Refusal> {
    // Each index, and whether it is of a well-known library.
    let mut known = PLAIN.map(|index| (index, false)).into_iter().collect();
    if let Some(section) = only(elf, elf::SHT_GNU_VERNEED)? {
        Needs::of(elf, section)?.read(needed, &mut known)?;
    }
    if let Some(section) = only(elf, elf::SHT_GNU_VERDEF)? {
        defined(elf, section, &mut known)?;
    }
    let Some(section) = only(elf, elf::SHT_GNU_VERSYM)? else {
        return match known.len() > PLAIN.len() {
            true => Err(inconsistent("there are versions, but no symbol has one".into())),
            false => Ok(Known::default()),
        };
    };
    let indices = elf.bytes(section.range.offset, section.range.in_file)?;
    let (expected, found) = (table.all.len(), indices.len() / 2);
    if found != expected || !indices.len().is_multiple_of(2) {
        return Err(inconsistent(format!(
            "{section} is for {found} symbols, there are {expected}"
        )));
    }
    let mut familiar = Vec::with_capacity(expected);
    for (symbol, index) in
        indices.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).enumerate()
    {
        let Some(is_familiar) = known.get(&(index & INDEX_MASK)) else {
            let name = table.name(symbol);
            return Err(inconsistent(format!(
                "symbol {symbol} ({name}) has the unknown version {index}"
            )));
        };
        familiar.push(*is_familiar);
    }
    Ok(Known { familiar })
}

/// The versions that are needed of other libraries.
struct Needs<'elf, 'data> {
    section: &'elf Section<'data>,
    bytes: &'data [u8],
    names: &'data [u8],
}

impl<'elf, 'data> Needs<'elf, 'data> {
    fn of(elf: &Elf<'data>, section: &'elf Section<'data>) -> Result<Self, Refusal> {
        let names = elf.sections.get(section.link as usize);
        let names = names
            .map_or(Ok(&[][..]), |names| elf.bytes(names.range.offset, names.range.in_file))?;
        Ok(Needs { section, bytes: elf.bytes(section.range.offset, section.range.in_file)?, names })
    }

    /// Each library once, each version of it once, and each index once.
    fn read(&self, needed: &[String], known: &mut HashMap<u16, bool>) -> Result<(), Refusal> {
        let mut at = 0;
        for library in 0..self.section.info {
            let [version, count] = self.halves(at)?;
            let [file, versions, next] = self.words(at + 4)?;
            let file = self.name(file)?;
            if version != 1 || !needed.iter().any(|needed| needed.as_bytes() == file) {
                let (section, file) = (self.section, file.escape_ascii());
                return Err(inconsistent(format!(
                    "{section} has versions of {file}, which is not needed"
                )));
            }
            if count == 0 {
                let (section, file) = (self.section, file.escape_ascii());
                return Err(inconsistent(format!("{section} has no versions of {file}")));
            }
            let is_familiar = FAMILIAR.iter().any(|name| name.as_bytes() == file);
            let mut version = self.after(at, versions)?;
            for index in 0..count {
                version = self.read_one(version, index + 1 == count, is_familiar, known)?;
            }
            if (next == 0) != (library + 1 == self.section.info) {
                return Err(inconsistent(format!(
                    "{} has not as many libraries as it says",
                    self.section
                )));
            }
            at = self.after(at, next)?;
        }
        Ok(())
    }

    fn read_one(
        &self,
        at: usize,
        is_last: bool,
        is_familiar: bool,
        known: &mut HashMap<u16, bool>,
    ) -> Result<usize, Refusal> {
        let [hash] = self.words(at)?;
        let [flags, index] = self.halves(at + 4)?;
        let [name, next] = self.words(at + 8)?;
        let name = self.name(name)?;
        let shown = name.escape_ascii();
        let refuse = |what: &str| {
            Err(inconsistent(format!("{} has the version {shown}, {what}", self.section)))
        };
        if elf::hash(name) != hash {
            return refuse("of another hash");
        }
        if flags & !elf::VER_FLG_WEAK.0 != 0 {
            return refuse("with unknown flags");
        }
        if index & !INDEX_MASK != 0
            || known.len() > VERSIONS_MAX
            || known.insert(index, is_familiar).is_some()
        {
            return refuse("with an index that is taken");
        }
        if (next == 0) != is_last {
            return refuse("which is not the last one, or is");
        }
        self.after(at, next)
    }

    fn after(&self, at: usize, distance: u32) -> Result<usize, Refusal> {
        let distance = distance as usize;
        let next = at.checked_add(distance).filter(|next| next + NEED_BYTES <= self.bytes.len());
        let next = next.filter(|_| distance.is_multiple_of(4));
        next.ok_or_else(|| inconsistent(format!("{} leads out of itself", self.section)))
    }

    fn name(&self, at: u32) -> Result<&'data [u8], Refusal> {
        let name = text(self.names, at.into(), NAME_BYTES_MAX).filter(|name| !name.is_empty());
        name.ok_or_else(|| inconsistent(format!("{} has an unreadable name", self.section)))
    }

    fn words<const N: usize>(&self, at: usize) -> Result<[u32; N], Refusal> {
        let bytes = self.bytes.get(at..at + 4 * N).ok_or_else(|| self.short())?;
        let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
        Ok(std::array::from_fn(|_| words.next().unwrap_or_default()))
    }

    fn halves<const N: usize>(&self, at: usize) -> Result<[u16; N], Refusal> {
        let bytes = self.bytes.get(at..at + 2 * N).ok_or_else(|| self.short())?;
        let mut halves = bytes.as_chunks().0.iter().map(|half| u16::from_le_bytes(*half));
        Ok(std::array::from_fn(|_| halves.next().unwrap_or_default()))
    }

    fn short(&self) -> Refusal {
        inconsistent(format!("{} ends within an entry", self.section))
    }
}

/// The indices of the versions that the file defines itself.
fn defined(
    elf: &Elf<'_>,
    section: &Section<'_>,
    known: &mut HashMap<u16, bool>,
) -> Result<(), Refusal> {
    let bytes = elf.bytes(section.range.offset, section.range.in_file)?;
    let mut at = 0_usize;
    for _ in 0..section.info {
        let half = |offset: usize| {
            let bytes = bytes.get(at + offset..)?.first_chunk()?;
            Some(u16::from_le_bytes(*bytes))
        };
        let next = bytes
            .get(at + 16..)
            .and_then(|rest| rest.first_chunk())
            .map(|next| u32::from_le_bytes(*next));
        let (Some(1), Some(index), Some(next)) = (half(0), half(4), next) else {
            return Err(inconsistent(format!(
                "{section} ends within an entry, or has one of no known kind"
            )));
        };
        if index & !INDEX_MASK != 0
            || known.len() > VERSIONS_MAX
            || (index > 1 && known.insert(index, false).is_some())
        {
            return Err(inconsistent(format!("{section} has the index {index} twice")));
        }
        at = at.saturating_add(next as usize).min(bytes.len());
    }
    Ok(())
}
