//! Pointers that the loader and the host follow: what runs when a library is opened and closed, and
//! its entry.
//!
//! The file holds none of them, only the relocations that will write them. So each is looked up
//! there, and has to lead to code, or to data that lies in the library.

use super::dynamic::only;
use super::headers::{Elf, Range, Segment, inconsistent};
use super::relocations::Relocations;
use super::{Symbol, Symbols};
use crate::refusal::Refusal;
use midflight_format::{FORMAT, entry};
use object::elf;

const POINTER_BYTES: u64 = 8;
/// A plugin with hundreds of contracts has no more.
const OFFERS_MAX: u64 = 4096;
const NAME_BYTES_MAX: u64 = 4096;
/// A function of some thousand C++ files each.
const ARRAY_BYTES_MAX: u64 = 64 * 1024 * POINTER_BYTES;

/// Refuses an array of functions in which one is no code.
pub(super) fn check_arrays(elf: &Elf<'_>, relocations: &Relocations) -> Result<(), Refusal> {
    let view = View { elf, relocations };
    for kind in [elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY] {
        let Some(section) = only(elf, kind)? else { continue };
        let Range { address, in_memory, .. } = section.range;
        if !in_memory.is_multiple_of(POINTER_BYTES) || in_memory > ARRAY_BYTES_MAX {
            return Err(inconsistent(format!(
                "{section} has {in_memory} bytes, which is no array of functions"
            )));
        }
        for at in (0..in_memory).step_by(POINTER_BYTES as usize) {
            let function = view.function(address.wrapping_add(at));
            function.map_err(|what| {
                inconsistent(format!("{section} has a function at {at:#x} which {what}"))
            })?;
        }
    }
    Ok(())
}

/// Refuses an entry whose pointers don't lead to what they are for.
pub(super) fn check_entry(
    elf: &Elf<'_>,
    symbols: &Symbols,
    relocations: &Relocations,
) -> Result<(), Refusal> {
    let Some(Symbol { address, size, .. }) = symbols.entry.first().copied() else { return Ok(()) };
    let view = View { elf, relocations };
    let at = |field: usize| address.wrapping_add(field as u64);
    let odd = |what: String| Err(inconsistent(format!("`midflight_entry` {what}")));
    if size < entry::BYTES as u64 || !address.is_multiple_of(POINTER_BYTES) {
        return odd(format!("is {size} bytes at {address:#x}, expected {}", entry::BYTES));
    }
    let format = view.number(address);
    if format.map(|format| format as u32) != Some(FORMAT) {
        return odd(format!("does not begin with the format {FORMAT}"));
    }
    for (name, field) in entry::FUNCTIONS {
        view.function(at(field))
            .or_else(|what| odd(format!("has the function `{name}`, which {what}")))?;
    }
    view.offers(at(entry::OFFERS)).or_else(|what| odd(format!("has offers, of which {what}")))?;
    for (name, field) in [("name", entry::NAME), ("version", entry::VERSION)] {
        view.text(at(field)).or_else(|what| odd(format!("has a {name} that {what}")))?;
    }
    view.state(at(entry::STATE))
        .or_else(|what| odd(format!("has a state's table, which {what}")))?;
    for (name, field) in entry::WRITABLE {
        let is_writable =
            |address| view.load(address, 1).is_some_and(|load| load.contains(elf::PF_W));
        if !relocations.target(at(field)).is_some_and(is_writable) {
            return odd(format!("has `{name}` in no memory that may be written"));
        }
    }
    Ok(())
}

/// The library as it will be.
struct View<'a> {
    elf: &'a Elf<'a>,
    relocations: &'a Relocations,
}

impl View<'_> {
    /// The flags of the segment that `size` bytes at `address` are in.
    fn load(&self, address: u64, size: u64) -> Option<elf::ProgramFlags> {
        let end = address.checked_add(size)?;
        let inside = |load: &&Segment| load.range.address <= address && end <= load.range.end();
        self.elf.loads().find(inside).map(|load| load.flags)
    }

    fn number(&self, address: u64) -> Option<u64> {
        let (_, offset) = self.elf.in_file(address, POINTER_BYTES)?;
        let bytes = self.elf.bytes(offset, POINTER_BYTES).ok()?;
        Some(u64::from_le_bytes(*bytes.first_chunk()?))
    }

    fn function(&self, field: u64) -> Result<(), String> {
        if self.relocations.is_import(field) {
            return Ok(());
        }
        let target = self.relocations.target(field).ok_or("is not relocated")?;
        let is_code = self.load(target, 1).is_some_and(|load| load.contains(elf::PF_X));
        if is_code { Ok(()) } else { Err(format!("leads to {target:#x}, which is no code")) }
    }

    /// A pointer to data of `size` bytes. Of none it may lead anywhere.
    fn data(&self, field: u64, size: u64) -> Result<u64, String> {
        let target = self.relocations.target(field).ok_or("is not relocated")?;
        let is_data = self.load(target, size).is_some();
        if is_data {
            Ok(target)
        } else {
            Err(format!("leads to {size:#x} bytes at {target:#x}, outside of the library"))
        }
    }

    /// A pointer and a length.
    fn text(&self, field: u64) -> Result<(), String> {
        let size = self.number(field.wrapping_add(POINTER_BYTES)).unwrap_or(u64::MAX);
        if size > NAME_BYTES_MAX {
            return Err(format!("has {size} bytes, expected up to {NAME_BYTES_MAX}"));
        }
        if size == 0 { Ok(()) } else { self.data(field, size).map(drop) }
    }

    fn offers(&self, field: u64) -> Result<(), String> {
        const SIZE: u64 = entry::OFFERED_BYTES as u64;
        let count = self.number(field.wrapping_add(POINTER_BYTES)).unwrap_or(u64::MAX);
        if count > OFFERS_MAX {
            return Err(format!("there are {count}, expected up to {OFFERS_MAX}"));
        }
        if count == 0 {
            return Ok(());
        }
        let first = self.data(field, count * SIZE)?;
        for index in 0..count {
            let offered =
                |field: usize| first.wrapping_add(index * SIZE).wrapping_add(field as u64);
            let one = || {
                self.text(offered(entry::OFFERED_NAME))?;
                self.text(offered(entry::OFFERED_VERSION))?;
                entry::OFFERED_DATA
                    .iter()
                    .try_for_each(|field| self.data(offered(*field), POINTER_BYTES).map(drop))
            };
            one().map_err(|what| format!("number {index} {what}"))?;
        }
        Ok(())
    }

    fn state(&self, field: u64) -> Result<(), String> {
        // None of them: nothing is written there.
        if self.relocations.target(field).is_none() && self.number(field) == Some(0) {
            return Ok(());
        }
        let table = self.data(field, entry::STATE_BYTES as u64)?;
        for function in entry::STATE_FUNCTIONS {
            self.function(table.wrapping_add(function as u64))?;
        }
        Ok(())
    }
}
