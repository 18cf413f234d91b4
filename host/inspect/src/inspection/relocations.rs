//! The relocations: what the loader writes into the mapped library before any of it runs.
//!
//! It takes an address, a type, a symbol and an addend from the file and asks nothing. So each
//! address must be a word of its own in memory that may be written, and each value one that a
//! linker has it written there: the address of something in the library, of an import that the
//! symbols name, or the number of its thread-local block. A linker sorts them and counts them, and
//! wrote into the words either nothing or what it then put into the addend. So a relocation that
//! has moved is one in the wrong order, or over a word that is something else.

use super::dynamic::only;
use super::headers::{Elf, inconsistent};
use super::symbols::Table;
use super::tags::{Tags, relocation_sections};
use super::versions::Known;
use crate::refusal::{Code, Refusal};
use object::LittleEndian as Little;
use object::elf::{self, Rela64};
use object::read::elf::Sym;
use std::ops::Range;

const WORD_BYTES: u64 = 8;
/// The loader has the first slots for itself.
const SLOTS_OF_THE_LOADER: u64 = 3;

/// What a relocation does, whatever the machine calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    /// A symbol's address and an addend.
    Absolute,
    /// A symbol's address in a slot that code reads.
    Slot,
    /// The same for a stub that jumps there.
    Stub,
    /// An address in the library.
    Relative,
    /// What a function of the library's answers while it is loaded.
    Answer,
    Module,
    Offset,
    /// An offset in the static block of thread-locals.
    Static,
    Descriptor,
}

impl Kind {
    #[cfg(target_arch = "x86_64")]
    fn of(kind: elf::RelocationType) -> Option<Kind> {
        Some(match kind {
            elf::R_X86_64_NONE => Kind::Nothing,
            elf::R_X86_64_64 => Kind::Absolute,
            elf::R_X86_64_GLOB_DAT => Kind::Slot,
            elf::R_X86_64_JUMP_SLOT => Kind::Stub,
            elf::R_X86_64_RELATIVE => Kind::Relative,
            elf::R_X86_64_IRELATIVE => Kind::Answer,
            elf::R_X86_64_DTPMOD64 => Kind::Module,
            elf::R_X86_64_DTPOFF64 => Kind::Offset,
            elf::R_X86_64_TPOFF64 => Kind::Static,
            elf::R_X86_64_TLSDESC => Kind::Descriptor,
            _ => return None,
        })
    }

    #[cfg(target_arch = "aarch64")]
    fn of(kind: elf::RelocationType) -> Option<Kind> {
        Some(match kind {
            elf::R_AARCH64_NONE => Kind::Nothing,
            elf::R_AARCH64_ABS64 => Kind::Absolute,
            elf::R_AARCH64_GLOB_DAT => Kind::Slot,
            elf::R_AARCH64_JUMP_SLOT => Kind::Stub,
            elf::R_AARCH64_RELATIVE => Kind::Relative,
            elf::R_AARCH64_IRELATIVE => Kind::Answer,
            elf::R_AARCH64_TLS_DTPMOD => Kind::Module,
            elf::R_AARCH64_TLS_DTPREL => Kind::Offset,
            elf::R_AARCH64_TLS_TPREL => Kind::Static,
            elf::R_AARCH64_TLSDESC => Kind::Descriptor,
            _ => return None,
        })
    }

    fn bytes(self) -> u64 {
        if self == Kind::Descriptor { 2 * WORD_BYTES } else { WORD_BYTES }
    }
}

#[derive(Debug, Clone, Copy)]
struct Relocation {
    kind: Kind,
    offset: u64,
    symbol: u32,
    addend: u64,
}

/// The relocations of a library, found to be such as a linker makes.
pub(super) struct Relocations {
    /// Those that write an address of the library, in the order of where.
    relative: Vec<(u64, u64)>,
    /// Where an import's address is written.
    imported: Vec<u64>,
}

impl Relocations {
    pub(super) fn check(
        elf: &Elf<'_>,
        tags: &Tags,
        table: Option<&Table<'_>>,
        known: &Known,
    ) -> Result<Self, Refusal> {
        let (others, stubs) = relocation_sections(elf)?;
        let mut all = Vec::new();
        for section in others {
            read(elf, section, &mut all)?;
        }
        let main = all.len();
        if let Some(section) = stubs {
            read(elf, section, &mut all)?;
        }
        let counted = check_order(&all[..main], tags)?;
        check_slots(&all[main..], tags)?;
        let memory = Memory::of(elf)?;
        for one in &all {
            check_one(&memory, table, one)?;
        }
        check_symbols(&all, table, known)?;
        all.retain(|one| one.kind != Kind::Nothing);
        // Mostly they are.
        if !all.is_sorted_by_key(|one| one.offset) {
            all.sort_by_key(|one| one.offset);
        }
        check_apart(&all)?;
        check_thread_locals(&memory, &all, table)?;
        let descriptors: Vec<u64> = all
            .iter()
            .filter(|one| one.kind == Kind::Descriptor && cfg!(target_arch = "x86_64"))
            .map(|one| one.offset)
            .collect();
        if !descriptors.is_empty() {
            for load in elf.loads().filter(|load| load.flags.contains(elf::PF_X)) {
                let code = elf.bytes(load.range.offset, load.range.in_file)?;
                check_descriptors(code, load.range.address, &descriptors)?;
            }
        }
        let mut relative: Vec<_> = all
            .iter()
            .filter(|one| one.kind == Kind::Relative)
            .map(|one| (one.offset, one.addend))
            .collect();
        check_words(elf, &relative, counted)?;
        packed(elf, &memory, &mut relative)?;
        let imported = all.iter().filter(|one| matches!(one.kind, Kind::Absolute | Kind::Slot));
        Ok(Relocations { imported: imported.map(|one| one.offset).collect(), relative })
    }

    /// The address in the library that is written to the word at `address`.
    pub(super) fn target(&self, address: u64) -> Option<u64> {
        let at = self.relative.binary_search_by_key(&address, |(offset, _)| *offset).ok()?;
        Some(self.relative[at].1)
    }

    /// Is an import's address written there?
    pub(super) fn is_import(&self, address: u64) -> bool {
        self.imported.binary_search(&address).is_ok()
    }
}

fn read(
    elf: &Elf<'_>,
    section: &super::headers::Section<'_>,
    into: &mut Vec<Relocation>,
) -> Result<(), Refusal> {
    let count = section.range.in_file / size_of::<Rela64<Little>>() as u64;
    let all: &[Rela64<Little>] = elf.records(section.range.offset, count, "relocations")?;
    into.reserve(all.len());
    for (index, one) in all.iter().enumerate() {
        let kind = one.r_type(Little, false);
        let Some(kind) = Kind::of(kind) else {
            return Err(inconsistent(format!(
                "relocation {index} of {section} has the type {}, which no plugin needs",
                kind.0
            )));
        };
        let (offset, symbol) = (one.r_offset.get(Little), one.r_sym(Little, false));
        into.push(Relocation { kind, offset, symbol, addend: one.r_addend.get(Little) as u64 });
    }
    Ok(())
}

/// The loader takes the first as many as DT_RELACOUNT says for relative ones, without a look at
/// their types.
fn check_order(main: &[Relocation], tags: &Tags) -> Result<bool, Refusal> {
    let Some(count) = tags.value(elf::DT_RELACOUNT) else { return Ok(false) };
    let found = main.iter().take_while(|one| one.kind == Kind::Relative).count();
    if count != found as u64 {
        return Err(inconsistent(format!(
            "the dynamic section has DT_RELACOUNT {count}, of {found} relative relocations at the beginning"
        )));
    }
    match main[..found].windows(2).position(|pair| pair[0].offset >= pair[1].offset) {
        Some(at) => {
            let (one, other) = (main[at].offset, main[at + 1].offset);
            Err(inconsistent(format!(
                "a relocation at {one:#x} stands before one at {other:#x}: they are sorted"
            )))
        }
        None => Ok(true),
    }
}

/// Stubs have one slot after the other. What some linkers put between them is of other kinds.
fn check_slots(stubs: &[Relocation], tags: &Tags) -> Result<(), Refusal> {
    let mut slots: Vec<_> = stubs.iter().filter(|one| one.kind != Kind::Nothing).collect();
    slots.sort_by_key(|one| one.offset);
    let mut next =
        tags.value(elf::DT_PLTGOT).unwrap_or(0).wrapping_add(SLOTS_OF_THE_LOADER * WORD_BYTES);
    for Relocation { kind, offset, .. } in slots {
        if *offset == next {
            next = next.wrapping_add(kind.bytes());
        } else if *kind == Kind::Stub {
            return Err(inconsistent(format!(
                "an import's slot is at {offset:#x}, the next one in the row at {next:#x}"
            )));
        }
    }
    Ok(())
}

/// Where the loader may write, and what it may write.
struct Memory {
    writable: Vec<Range<u64>>,
    code: Vec<Range<u64>>,
    slots: Vec<Range<u64>>,
    dynamic: Range<u64>,
    all: Range<u64>,
    tls: u64,
}

impl Memory {
    fn of(elf: &Elf<'_>) -> Result<Memory, Refusal> {
        let writable = elf.loads().filter(|load| load.flags.contains(elf::PF_W));
        let code = elf.loads().filter(|load| load.flags.contains(elf::PF_X));
        let slots = [".got", ".got.plt"].into_iter().filter_map(|name| elf.section(name));
        let dynamic =
            only(elf, elf::SHT_DYNAMIC)?.map(|section| section.range.address..section.range.end());
        let start = elf.loads().map(|load| load.range.address).min().unwrap_or(0);
        let end = elf.loads().map(|load| load.range.end()).max().unwrap_or(0);
        let tls = elf.segments.iter().find(|segment| segment.kind == elf::PT_TLS);
        Ok(Memory {
            // What has no bytes in the file has no word that a linker would have written.
            writable: writable
                .map(|load| {
                    let address = load.range.address;
                    address..address.saturating_add(load.range.in_file)
                })
                .collect(),
            code: code.map(|load| load.range.address..load.range.end()).collect(),
            slots: slots.map(|section| section.range.address..section.range.end()).collect(),
            dynamic: dynamic.unwrap_or_default(),
            all: start..end,
            tls: tls.map_or(0, |tls| tls.range.in_memory),
        })
    }

    fn may_be_written(&self, address: u64, size: u64) -> bool {
        let Some(end) = address.checked_add(size) else { return false };
        let inside = |range: &Range<u64>| range.start <= address && end <= range.end;
        let is_dynamic = address < self.dynamic.end && self.dynamic.start < end;
        address.is_multiple_of(WORD_BYTES) && self.writable.iter().any(inside) && !is_dynamic
    }

    fn is_code(&self, address: u64) -> bool {
        self.code.iter().any(|range| range.contains(&address))
    }

    fn is_slot(&self, address: u64) -> bool {
        self.slots.iter().any(|range| range.contains(&address))
    }

    /// The end is an address of the library as well: that of the byte behind its last.
    fn has(&self, address: u64) -> bool {
        (self.all.start..=self.all.end).contains(&address)
    }
}

fn check_one(memory: &Memory, table: Option<&Table<'_>>, one: &Relocation) -> Result<(), Refusal> {
    let Relocation { kind, offset, symbol, addend } = *one;
    let refuse = |what: String| Err(inconsistent(format!("the relocation at {offset:#x} {what}")));
    if kind == Kind::Nothing {
        return match (offset, symbol, addend) {
            (0, 0, 0) => Ok(()),
            _ => refuse("is of the type that does nothing".to_owned()),
        };
    }
    if !memory.may_be_written(offset, kind.bytes()) {
        return refuse("is of no word that may be written".to_owned());
    }
    let found = table.and_then(|table| table.get(symbol));
    let Some(found) =
        found.filter(|_| symbol != 0 || !matches!(kind, Kind::Absolute | Kind::Slot | Kind::Stub))
    else {
        return refuse(format!("is for symbol {symbol}, which there is not"));
    };
    let is_local = symbol == 0;
    match kind {
        Kind::Relative | Kind::Answer if !is_local => {
            refuse(format!("is for symbol {symbol}, expected none"))
        }
        Kind::Relative if !memory.has(addend) => {
            refuse(format!("has the address {addend:#x}, outside of the library"))
        }
        Kind::Answer if !memory.is_code(addend) => {
            refuse(format!("calls {addend:#x}, which is no code"))
        }
        Kind::Slot | Kind::Stub | Kind::Module if addend != 0 => {
            refuse(format!("adds {addend:#x}, expected 0"))
        }
        Kind::Absolute | Kind::Slot | Kind::Stub if found.st_type() == elf::STT_TLS => {
            refuse(format!("is for symbol {symbol}, which each thread has its own of"))
        }
        Kind::Absolute | Kind::Slot | Kind::Stub if found.st_shndx(Little) == elf::SHN_ABS => {
            refuse(format!("is for symbol {symbol}, which is no address"))
        }
        Kind::Slot | Kind::Module if !memory.is_slot(offset) => {
            refuse("is outside of the slots".to_owned())
        }
        Kind::Module | Kind::Offset | Kind::Static | Kind::Descriptor
            if !is_local && found.st_type() != elf::STT_TLS =>
        {
            refuse(format!("is for symbol {symbol}, which is no thread-local"))
        }
        Kind::Module | Kind::Offset | Kind::Descriptor if is_local && memory.tls == 0 => {
            refuse("is for a thread-local, and there are none".to_owned())
        }
        Kind::Offset | Kind::Descriptor if is_local && addend > memory.tls => {
            refuse(format!("is for the thread-local at {addend:#x}, behind the last one"))
        }
        Kind::Static => Err(Refusal::new(
            Code::StaticTls,
            "it has a relocation for the static block of thread-locals, of which a process can load a few copies only",
        )),
        _ => Ok(()),
    }
}

/// No import has a slot twice, and each function of a well-known library has one or is named in
/// data: what is left without one has lost it to another. (Of objects, and of functions of other
/// libraries, some linkers name more than they need.)
fn check_symbols(
    all: &[Relocation],
    table: Option<&Table<'_>>,
    known: &Known,
) -> Result<(), Refusal> {
    let Some(table) = table else { return Ok(()) };
    let mut slots = vec![[false; 2]; table.all.len()];
    let mut named = vec![false; table.all.len()];
    for one in all {
        let at = one.symbol as usize;
        let slot = match one.kind {
            Kind::Slot => Some(0),
            Kind::Stub => Some(1),
            _ => None,
        };
        if let Some(slot) = slot
            && std::mem::replace(&mut slots[at][slot], true)
        {
            let name = table.name(at);
            return Err(inconsistent(format!("symbol {at} ({name}) has two slots")));
        }
        named[at] = true;
    }
    let is_function = |index: &usize| {
        let symbol = &table.all[*index];
        symbol.st_shndx(Little) == elf::SHN_UNDEF && symbol.st_type() == elf::STT_FUNC
    };
    let mut functions =
        (1..table.all.len()).filter(is_function).filter(|index| known.is_familiar(*index));
    match functions.find(|index| !named[*index]) {
        Some(index) => {
            let name = table.name(index);
            Err(inconsistent(format!("symbol {index} ({name}) is imported, but goes nowhere")))
        }
        None => Ok(()),
    }
}

/// No word is written twice.
fn check_apart(all: &[Relocation]) -> Result<(), Refusal> {
    match all
        .windows(2)
        .find(|pair| pair[0].offset.saturating_add(pair[0].kind.bytes()) > pair[1].offset)
    {
        Some(pair) => {
            let (one, other) = (pair[0].offset, pair[1].offset);
            Err(inconsistent(format!(
                "the relocations at {one:#x} and {other:#x} write the same word"
            )))
        }
        None => Ok(()),
    }
}

/// The number of a thread-local's block and the offset in it are two slots in a row, of one symbol
/// or of none; where it is none, the linker has filled in the offset. Code that asks for
/// thread-locals by their numbers has such slots.
fn check_thread_locals(
    memory: &Memory,
    all: &[Relocation],
    table: Option<&Table<'_>>,
) -> Result<(), Refusal> {
    let at =
        |offset: u64| all.binary_search_by_key(&offset, |one| one.offset).ok().map(|at| all[at]);
    let alone = |one: &Relocation| match one.kind {
        Kind::Module => {
            let offset = one.offset.wrapping_add(WORD_BYTES);
            let fits = match at(offset) {
                Some(other) => other.kind == Kind::Offset && other.symbol == one.symbol,
                None => one.symbol == 0 && memory.is_slot(offset),
            };
            !fits
        }
        Kind::Offset => {
            let module = at(one.offset.wrapping_sub(WORD_BYTES));
            !module.is_some_and(|other| other.kind == Kind::Module && other.symbol == one.symbol)
        }
        _ => false,
    };
    if let Some(one) = all.iter().find(|one| alone(one)) {
        let reason =
            format!("the relocation at {:#x} is of one half of a thread-local", one.offset);
        return Err(inconsistent(reason));
    }
    let asks = table.is_some_and(|table| {
        (1..table.all.len()).any(|index| {
            table.names.get(index).is_some_and(|name| *name == *b"__tls_get_addr")
                && table.all[index].st_shndx(Little) == elf::SHN_UNDEF
        })
    });
    let module = all.iter().find(|one| one.kind == Kind::Module);
    let reason = match module {
        None if asks => "it asks for thread-locals by their numbers, and has no slot for one",
        Some(_) if !asks && table.is_some() => {
            "it has a slot for the number of thread-locals, and asks for none by their numbers"
        }
        _ => return Ok(()),
    };
    Err(inconsistent(reason.to_owned()))
}

/// Two slots are either the number and the offset of a thread-local, or its descriptor, and no
/// description but the type of their relocation tells which. The code that takes their address
/// does: it hands the number and the offset to `__tls_get_addr` in `rdi`, and a descriptor to the
/// function that is named in it in `rax`.
fn check_descriptors(code: &[u8], start: u64, descriptors: &[u64]) -> Result<(), Refusal> {
    /// `lea …(%rip), %rdi`, before the distance from its end.
    const ADDRESS_TO_RDI: [u8; 3] = [0x48, 0x8d, 0x3d];
    const INSTRUCTION_BYTES: usize = 7;
    for (at, bytes) in code.windows(INSTRUCTION_BYTES).enumerate() {
        let Some(distance) = bytes.strip_prefix(&ADDRESS_TO_RDI) else { continue };
        let distance = distance.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes));
        let end = start.wrapping_add((at + INSTRUCTION_BYTES) as u64);
        let slot = end.wrapping_add_signed(distance.into());
        if descriptors.binary_search(&slot).is_ok() {
            return Err(inconsistent(format!(
                "the relocation at {slot:#x} is of a thread-local's descriptor, where code asks for a thread-local by its number"
            )));
        }
    }
    Ok(())
}

/// The words under relative relocations hold nothing, or what will be there but for where the
/// library is loaded: one of both in all of them, where the linker sorted them.
fn check_words(elf: &Elf<'_>, relative: &[(u64, u64)], counted: bool) -> Result<(), Refusal> {
    let (mut seen, mut words) = ([None; 2], Words::of(elf));
    for (offset, addend) in relative {
        let found = words.at(*offset)?;
        if found != 0 && found != *addend {
            return Err(inconsistent(format!(
                "the word at {offset:#x} is {found:#x}, but is to become the address {addend:#x}"
            )));
        }
        if *addend != 0 {
            seen[usize::from(found == 0)] = Some(*offset);
        }
    }
    match seen {
        [Some(filled), Some(empty)] if counted && cfg!(target_arch = "x86_64") => {
            Err(inconsistent(format!(
                "the word at {filled:#x} is filled in and the one at {empty:#x} is not: a linker does one or the other"
            )))
        }
        _ => Ok(()),
    }
}

/// The words that the file has, mostly asked for one after the other.
struct Words<'elf, 'data> {
    elf: &'elf Elf<'data>,
    /// Where the segment of the last one begins, and what the file has of it.
    near: (u64, &'data [u8]),
}

impl<'elf, 'data> Words<'elf, 'data> {
    fn of(elf: &'elf Elf<'data>) -> Self {
        Words { elf, near: (0, &[]) }
    }

    /// What the file has for the word at `address`; 0 where it has nothing.
    fn at(&mut self, address: u64) -> Result<u64, Refusal> {
        if let Some(word) = self.in_near(address) {
            return Ok(word);
        }
        let Some((load, _)) = self.elf.in_file(address, WORD_BYTES) else { return Ok(0) };
        let range = load.range;
        self.near = (range.address, self.elf.bytes(range.offset, range.in_file)?);
        Ok(self.in_near(address).unwrap_or(0))
    }

    fn in_near(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.near.0)?).ok()?;
        self.near.1.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}

/// DT_RELR: an even word is an address; an odd one says which of the 63 words behind the last are
/// addresses too.
fn packed(elf: &Elf<'_>, memory: &Memory, relative: &mut Vec<(u64, u64)>) -> Result<(), Refusal> {
    let Some(section) = only(elf, elf::SHT_RELR)? else { return Ok(()) };
    let bytes = elf.bytes(section.range.offset, section.range.in_file)?;
    let odd = |what: String| inconsistent(format!("{section} {what}"));
    if !bytes.len().is_multiple_of(WORD_BYTES as usize) {
        return Err(odd("ends within a word".to_owned()));
    }
    let (mut previous, mut words) = (None, Words::of(elf));
    // Sorted and each of a word in the file, so there are no more of them than words.
    let mut take = |address: u64| {
        let target = words.at(address)?;
        let is_word =
            memory.may_be_written(address, WORD_BYTES) && target != 0 && memory.has(target);
        if !is_word || previous.replace(address).is_some_and(|previous| previous >= address) {
            return Err(odd(format!("makes an address of {target:#x} at {address:#x}")));
        }
        relative.push((address, target));
        Ok(())
    };
    let mut next = None;
    for entry in bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)) {
        if entry & 1 == 0 {
            take(entry)?;
            next = Some(entry.wrapping_add(WORD_BYTES));
            continue;
        }
        let Some(base) = next else { return Err(odd("begins with no address".to_owned())) };
        for bit in (0..63_u64).filter(|bit| entry >> (bit + 1) & 1 != 0) {
            take(base.wrapping_add(bit * WORD_BYTES))?;
        }
        next = Some(base.wrapping_add(63 * WORD_BYTES));
    }
    relative.sort_unstable();
    match relative.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(odd(format!("writes {:#x} once more", pair[0].0))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d01_a_thread_locals_block_and_offset_are_two_slots_of_one_symbol() {
        const SLOTS: Range<u64> = 0x100..0x140;
        let memory = Memory {
            writable: vec![SLOTS],
            code: Vec::new(),
            slots: vec![SLOTS],
            dynamic: 0..0,
            all: 0..0x1000,
            tls: 0x40,
        };
        let one = |kind, offset, symbol| Relocation { kind, offset, symbol, addend: 0 };
        let check = |all: &[Relocation]| {
            check_thread_locals(&memory, all, None).map_err(|refusal| refusal.reason().to_owned())
        };
        let sound = [
            one(Kind::Module, 0x100, 0),
            one(Kind::Slot, 0x110, 3),
            one(Kind::Module, 0x118, 2),
            one(Kind::Offset, 0x120, 2),
        ];
        assert_eq!(check(&sound), Ok(()));
        let refused = |at: usize, changed: Relocation, place: &str| {
            let mut all = sound;
            all[at] = changed;
            let expected = format!("the relocation at {place} is of one half of a thread-local");
            assert_eq!(check(&all), Err(expected));
        };
        refused(0, one(Kind::Module, 0x108, 0), "0x108");
        refused(0, one(Kind::Offset, 0x100, 0), "0x100");
        refused(2, one(Kind::Descriptor, 0x118, 2), "0x120");
        refused(3, one(Kind::Module, 0x138, 0), "0x118");
        refused(3, one(Kind::Offset, 0x120, 4), "0x118");
    }

    #[test]
    fn d01_a_descriptor_is_none_where_code_asks_by_number() {
        // `lea distance(%rip), register`, at 0x1001.
        let code = |register: u8, distance: i32| {
            [&[0x66, 0x48, 0x8d, register][..], &distance.to_le_bytes(), &[0xff, 0x10]].concat()
        };
        const RAX: u8 = 0x05;
        const RDI: u8 = 0x3d;
        let check = |code: &[u8]| {
            check_descriptors(code, 0x1000, &[0x500, 0x2000, 0x3000])
                .map_err(|refusal| refusal.reason().to_owned())
        };
        assert_eq!(check(&code(RAX, 0x2000 - 0x1008)), Ok(()), "a descriptor's call");
        assert_eq!(check(&code(RDI, 0x2010 - 0x1008)), Ok(()), "another thread-local's");
        for slot in [0x2000, 0x500] {
            let reason = check(&code(RDI, slot - 0x1008)).unwrap_err();
            assert!(reason.contains(&format!("at {slot:#x} is of a thread-local's descriptor")));
        }
        assert_eq!(check(&code(RDI, 0x2000 - 0x1008)[..6]), Ok(()), "cut off");
    }
}
