//! The dynamic section against the sections: each table that the loader finds by an address has a
//! section of the same place and size.
//!
//! The loader looks at nothing else than these addresses and sizes. One wrong bit in them and it
//! relocates with other bytes, runs other code at the unload than was linked for it, or reads
//! symbols behind the last one. The linker wrote the same numbers into the section headers. So each
//! entry that stands for a section is compared with it, an entry without its section is refused,
//! and so is a section without its entry; what no library needs is refused by its tag.

use super::dynamic::{entries, only};
use super::headers::{Elf, Section, inconsistent};
use crate::refusal::Refusal;
use object::elf::{self, DynamicTag, SectionType};

pub(super) const RELOCATION_BYTES: u64 = 24;
const SYMBOL_BYTES: u64 = 24;
const WORD_BYTES: u64 = 8;

/// Flags with which the loader does nothing that a plugin must not ask for.
const FLAGS: u64 =
    elf::DF_ORIGIN.0 | elf::DF_SYMBOLIC.0 | elf::DF_BIND_NOW.0 | elf::DF_STATIC_TLS.0;
const FLAGS_1: u64 = elf::DF_1_NOW.0
    | elf::DF_1_NODELETE.0
    | elf::DF_1_ORIGIN.0
    | elf::DF_1_NODEFLIB.0
    | elf::DF_1_PIE.0;

/// Entries that stand for no section: names, of which there can be several of what is needed,
/// flags, and what the loader leaves unread where it binds at once. Not DT_FILTER and DT_AUXILIARY:
/// the loader would bring in another library in the place of the plugin, and never let go of both.
const ALONE: [DynamicTag; 12] = [
    elf::DT_NEEDED,
    elf::DT_SONAME,
    elf::DT_RPATH,
    elf::DT_RUNPATH,
    elf::DT_FLAGS,
    elf::DT_FLAGS_1,
    elf::DT_BIND_NOW,
    elf::DT_SYMBOLIC,
    elf::DT_DEBUG,
    elf::DT_RELACOUNT,
    elf::DT_TLSDESC_PLT,
    elf::DT_TLSDESC_GOT,
];
/// What marks the kind of the stubs on aarch64.
#[cfg(target_arch = "aarch64")]
const STUBS: [DynamicTag; 3] =
    [elf::DT_AARCH64_BTI_PLT, DynamicTag(0x7000_0003), elf::DT_AARCH64_VARIANT_PCS];
#[cfg(not(target_arch = "aarch64"))]
const STUBS: [DynamicTag; 0] = [];

/// A dynamic section that was found to say what the sections say.
pub(super) struct Tags(Vec<(DynamicTag, u64)>);

impl Tags {
    /// Refuses a dynamic section that differs from the sections.
    pub(super) fn check(elf: &Elf<'_>) -> Result<Tags, Refusal> {
        let Some(section) = only(elf, elf::SHT_DYNAMIC)? else {
            return Err(inconsistent("the file has no dynamic section".into()));
        };
        let entries =
            entries(elf, section)?.into_iter().map(|(_, tag, value)| (tag, value)).collect();
        let tags = Tags(entries);
        tags.check_once()?;
        let mut expected = Vec::new();
        tables(elf, &mut expected)?;
        relocations(elf, &mut expected)?;
        code(elf, &mut expected)?;
        for (tag, expected) in &expected {
            tags.compare(*tag, *expected)?;
        }
        for (tag, _) in &tags.0 {
            let stands_for_a_section = expected.iter().any(|(known, _)| known == tag);
            if !stands_for_a_section && ![&ALONE[..], &STUBS].concat().contains(tag) {
                return Err(inconsistent(format!(
                    "{section} has {}, which no plugin needs",
                    Tag(*tag)
                )));
            }
        }
        tags.check_slots(elf)?;
        tags.check_flags(section)?;
        Ok(tags)
    }

    pub(super) fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value)
    }

    fn check_once(&self) -> Result<(), Refusal> {
        let mut tags: Vec<_> = self.0.iter().map(|(tag, _)| tag.0).collect();
        tags.sort_unstable();
        let twice = tags.windows(2).find(|pair| pair[0] == pair[1] && pair[0] != elf::DT_NEEDED.0);
        match twice {
            Some(pair) => Err(inconsistent(format!(
                "the dynamic section has {} twice",
                Tag(DynamicTag(pair[0]))
            ))),
            None => Ok(()),
        }
    }

    fn compare(&self, tag: DynamicTag, expected: Expected) -> Result<(), Refusal> {
        let found = self.value(tag);
        let refuse = |what: String| Err(inconsistent(format!("the dynamic section has {what}")));
        match (found, expected) {
            (None, Expected::Nothing | Expected::Maybe(_)) => Ok(()),
            (Some(found), Expected::Value(value) | Expected::Maybe(value)) if found == value => {
                Ok(())
            }
            (None, Expected::Value(value)) => {
                refuse(format!("no {}, of which the section headers say {value:#x}", Tag(tag)))
            }
            (Some(found), Expected::Value(value) | Expected::Maybe(value)) => refuse(format!(
                "{} {found:#x}, of which the section headers say {value:#x}",
                Tag(tag)
            )),
            (Some(found), Expected::Nothing) => {
                refuse(format!("{} {found:#x}, but the file no section for it", Tag(tag)))
            }
        }
    }

    /// Where the slots of imported functions are: in a section of their own, or in that of all
    /// slots.
    fn check_slots(&self, elf: &Elf<'_>) -> Result<(), Refusal> {
        let stubs = self.value(elf::DT_JMPREL).is_some();
        let Some(found) = self.value(elf::DT_PLTGOT) else {
            return match stubs {
                true => {
                    Err(inconsistent("the dynamic section has DT_JMPREL, but no DT_PLTGOT".into()))
                }
                false => Ok(()),
            };
        };
        let expected = elf.section(".got.plt").or_else(|| elf.section(".got"));
        match expected {
            Some(section) if section.range.address == found => Ok(()),
            _ => Err(inconsistent(format!(
                "the dynamic section has DT_PLTGOT {found:#x}, where no section of slots begins"
            ))),
        }
    }

    fn check_flags(&self, section: &Section<'_>) -> Result<(), Refusal> {
        for (tag, known) in [(elf::DT_FLAGS, FLAGS), (elf::DT_FLAGS_1, FLAGS_1)] {
            let found = self.value(tag).unwrap_or(0);
            if found & !known != 0 {
                let odd = found & !known;
                return Err(inconsistent(format!(
                    "{section} has the flags {found:#x} in {}: no plugin needs {odd:#x}",
                    Tag(tag)
                )));
            }
        }
        Ok(())
    }
}

/// What an entry has to be.
#[derive(Clone, Copy)]
enum Expected {
    /// There is none.
    Nothing,
    /// There is one, of this value.
    Value(u64),
    /// Of this value, if there is one.
    Maybe(u64),
}

type List = Vec<(DynamicTag, Expected)>;

/// Address and size of a section, with the tags for both. Of an empty one nothing is demanded.
fn expect(
    list: &mut List,
    section: Option<&Section<'_>>,
    address: DynamicTag,
    size: Option<DynamicTag>,
) {
    let is_empty = section.is_some_and(|section| section.range.in_memory == 0);
    let expected =
        |value: u64| if is_empty { Expected::Maybe(value) } else { Expected::Value(value) };
    let of = |value: Option<u64>| value.map_or(Expected::Nothing, expected);
    list.push((address, of(section.map(|section| section.range.address))));
    if let Some(size) = size {
        list.push((size, of(section.map(|section| section.range.in_memory))));
    }
}

/// Symbols, their versions and their hashes.
fn tables(elf: &Elf<'_>, list: &mut List) -> Result<(), Refusal> {
    let counted = |section: Option<&Section<'_>>| {
        section.map_or(Expected::Nothing, |section| Expected::Value(section.info.into()))
    };
    let symbols = only(elf, elf::SHT_DYNSYM)?;
    expect(list, symbols, elf::DT_SYMTAB, None);
    list.push((
        elf::DT_SYMENT,
        symbols.map_or(Expected::Nothing, |_| Expected::Value(SYMBOL_BYTES)),
    ));
    let names = symbols.and_then(|symbols| elf.sections.get(symbols.link as usize));
    expect(list, names, elf::DT_STRTAB, Some(elf::DT_STRSZ));
    expect(list, only(elf, elf::SHT_HASH)?, elf::DT_HASH, None);
    expect(list, only(elf, elf::SHT_GNU_HASH)?, elf::DT_GNU_HASH, None);
    expect(list, only(elf, elf::SHT_GNU_VERSYM)?, elf::DT_VERSYM, None);
    let (needed, defined) = (only(elf, elf::SHT_GNU_VERNEED)?, only(elf, elf::SHT_GNU_VERDEF)?);
    expect(list, needed, elf::DT_VERNEED, None);
    list.push((elf::DT_VERNEEDNUM, counted(needed)));
    expect(list, defined, elf::DT_VERDEF, None);
    list.push((elf::DT_VERDEFNUM, counted(defined)));
    Ok(())
}

/// The sections of relocations: those for the stubs of functions, and all others, which follow each
/// other.
pub(super) fn relocation_sections<'elf, 'data>(
    elf: &'elf Elf<'data>,
) -> Result<(Vec<&'elf Section<'data>>, Option<&'elf Section<'data>>), Refusal> {
    let is = |section: &&Section<'_>, kind: SectionType| {
        section.is_allocated() && section.kind == kind && section.range.in_memory != 0
    };
    if let Some(section) = elf.sections.iter().find(|section| is(section, elf::SHT_REL)) {
        return Err(inconsistent(format!(
            "{section} has relocations of a kind that this machine has not"
        )));
    }
    let all = elf.sections.iter().filter(|section| is(section, elf::SHT_RELA));
    let (stubs, mut others): (Vec<_>, Vec<_>) =
        all.partition(|section| section.name == b".rela.plt");
    others.sort_by_key(|section| section.range.address);
    for section in stubs.iter().chain(&others) {
        let size = section.range.in_memory;
        if section.entry_size != RELOCATION_BYTES || !size.is_multiple_of(RELOCATION_BYTES) {
            let found = section.entry_size;
            return Err(inconsistent(format!(
                "{section} has {size} bytes in entries of {found}, expected entries of {RELOCATION_BYTES}"
            )));
        }
    }
    if let Some(pair) = others.windows(2).find(|pair| pair[0].range.end() != pair[1].range.address)
    {
        return Err(inconsistent(format!(
            "{} does not follow {}: the loader takes one run",
            pair[1], pair[0]
        )));
    }
    match stubs.as_slice() {
        [] => Ok((others, None)),
        [one] => Ok((others, Some(one))),
        [one, other, ..] => Err(inconsistent(format!("{one} and {other} have the same name"))),
    }
}

fn relocations(elf: &Elf<'_>, list: &mut List) -> Result<(), Refusal> {
    let (others, stubs) = relocation_sections(elf)?;
    let first =
        others.first().map_or(Expected::Nothing, |section| Expected::Value(section.range.address));
    let size =
        others.iter().fold(0_u64, |sum, section| sum.saturating_add(section.range.in_memory));
    let size = if others.is_empty() { Expected::Nothing } else { Expected::Value(size) };
    list.extend([(elf::DT_RELA, first), (elf::DT_RELASZ, size)]);
    // Some linkers say the size of an entry wherever there is a relocation of any kind.
    let entry = if others.is_empty() { Expected::Maybe } else { Expected::Value };
    list.push((elf::DT_RELAENT, entry(RELOCATION_BYTES)));
    expect(list, stubs, elf::DT_JMPREL, Some(elf::DT_PLTRELSZ));
    let kind = stubs.map_or(Expected::Nothing, |_| Expected::Value(elf::DT_RELA.0 as u64));
    list.push((elf::DT_PLTREL, kind));
    let slots = elf.section(".got.plt").or_else(|| elf.section(".got"));
    list.push((
        elf::DT_PLTGOT,
        slots.map_or(Expected::Nothing, |slots| Expected::Maybe(slots.range.address)),
    ));
    let packed = only(elf, elf::SHT_RELR)?;
    expect(list, packed, elf::DT_RELR, Some(elf::DT_RELRSZ));
    list.push((elf::DT_RELRENT, packed.map_or(Expected::Nothing, |_| Expected::Value(WORD_BYTES))));
    Ok(())
}

/// What runs when the library is opened and closed.
fn code(elf: &Elf<'_>, list: &mut List) -> Result<(), Refusal> {
    expect(list, elf.section(".init"), elf::DT_INIT, None);
    expect(list, elf.section(".fini"), elf::DT_FINI, None);
    let arrays = [
        (elf::SHT_INIT_ARRAY, elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ),
        (elf::SHT_FINI_ARRAY, elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ),
    ];
    for (kind, address, size) in arrays {
        expect(list, only(elf, kind)?, address, Some(size));
    }
    Ok(())
}

/// A tag by its name, or by its number.
struct Tag(DynamicTag);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            elf::DT_NEEDED => "DT_NEEDED",
            elf::DT_PLTRELSZ => "DT_PLTRELSZ",
            elf::DT_PLTGOT => "DT_PLTGOT",
            elf::DT_HASH => "DT_HASH",
            elf::DT_STRTAB => "DT_STRTAB",
            elf::DT_SYMTAB => "DT_SYMTAB",
            elf::DT_RELA => "DT_RELA",
            elf::DT_RELASZ => "DT_RELASZ",
            elf::DT_RELAENT => "DT_RELAENT",
            elf::DT_STRSZ => "DT_STRSZ",
            elf::DT_SYMENT => "DT_SYMENT",
            elf::DT_INIT => "DT_INIT",
            elf::DT_FINI => "DT_FINI",
            elf::DT_REL => "DT_REL",
            elf::DT_PLTREL => "DT_PLTREL",
            elf::DT_TEXTREL => "DT_TEXTREL",
            elf::DT_JMPREL => "DT_JMPREL",
            elf::DT_INIT_ARRAY => "DT_INIT_ARRAY",
            elf::DT_FINI_ARRAY => "DT_FINI_ARRAY",
            elf::DT_INIT_ARRAYSZ => "DT_INIT_ARRAYSZ",
            elf::DT_FINI_ARRAYSZ => "DT_FINI_ARRAYSZ",
            elf::DT_FLAGS => "DT_FLAGS",
            elf::DT_FLAGS_1 => "DT_FLAGS_1",
            elf::DT_RELR => "DT_RELR",
            elf::DT_RELRSZ => "DT_RELRSZ",
            elf::DT_RELACOUNT => "DT_RELACOUNT",
            elf::DT_GNU_HASH => "DT_GNU_HASH",
            elf::DT_VERSYM => "DT_VERSYM",
            elf::DT_VERNEED => "DT_VERNEED",
            elf::DT_VERNEEDNUM => "DT_VERNEEDNUM",
            elf::DT_VERDEF => "DT_VERDEF",
            elf::DT_VERDEFNUM => "DT_VERDEFNUM",
            elf::DT_AUXILIARY => "DT_AUXILIARY",
            elf::DT_FILTER => "DT_FILTER",
            other => return write!(f, "an entry of the tag {:#x}", other.0),
        };
        f.write_str(name)
    }
}
