//! The dynamic symbols, each by itself: where it is, what it is called, and that no other is called
//! the same.
//!
//! The loader looks a symbol up by its name and its version alone, and writes what it finds into
//! the plugin. A name that has become another one is a function that is called in the place of
//! another. So each name is that of one symbol, and no name is a part of another that nobody has.

use super::dynamic::only;
use super::headers::{Elf, Section, inconsistent};
use crate::refusal::Refusal;
use object::LittleEndian as Little;
use object::elf::{self, Sym64};
use object::read::elf::Sym;
use std::collections::HashSet;

/// Names may share their ends, so that the sum of their lengths can be more than what they take;
/// not so much more.
const NAME_BYTES_FACTOR: usize = 8;
const NAME_BYTES_MIN: usize = 64 * 1024;

/// The dynamic symbols with their names.
pub(super) struct Table<'data> {
    pub(super) all: &'data [Sym64<Little>],
    pub(super) names: Vec<&'data [u8]>,
    /// So many at its beginning are not seen by others.
    pub(super) locals: usize,
}

impl<'data> Table<'data> {
    /// None where the file has no such section.
    pub(super) fn read(elf: &Elf<'data>) -> Result<Option<Table<'data>>, Refusal> {
        let Some(section) = only(elf, elf::SHT_DYNSYM)? else { return Ok(None) };
        let count = section.range.in_file / size_of::<Sym64<Little>>() as u64;
        let all: &[Sym64<Little>] = elf.records(section.range.offset, count, "symbols")?;
        let strings = elf.sections.get(section.link as usize);
        let strings = strings
            .map_or(Ok(&[][..]), |names| elf.bytes(names.range.offset, names.range.in_file))?;
        let names = Names {
            strings,
            left: NAME_BYTES_MIN.max(strings.len().saturating_mul(NAME_BYTES_FACTOR)),
        };
        let locals = section.info as usize;
        Ok(Some(Table { all, names: names.of(section, all)?, locals }))
    }

    pub(super) fn check(&self, elf: &Elf<'_>) -> Result<(), Refusal> {
        let first = self.all.first();
        let is_null = |first: &Sym64<Little>| {
            (first.st_name(Little), first.st_info().0, first.st_value(Little)) == (0, 0, 0)
                && first.st_shndx(Little) == elf::SHN_UNDEF
        };
        if !first.is_some_and(is_null) || self.locals == 0 || self.locals > self.all.len() {
            return Err(inconsistent("the dynamic symbols do not begin with an empty one".into()));
        }
        for (index, symbol) in self.all.iter().enumerate().skip(1) {
            self.check_one(elf, index, symbol).map_err(|what| {
                inconsistent(format!("symbol {index} ({}) {what}", self.name(index)))
            })?;
        }
        Ok(())
    }

    pub(super) fn name(&self, index: usize) -> String {
        self.names.get(index).map_or(String::new(), |name| name.escape_ascii().to_string())
    }

    pub(super) fn get(&self, index: u32) -> Option<&Sym64<Little>> {
        self.all.get(usize::try_from(index).ok()?)
    }

    fn check_one(&self, elf: &Elf<'_>, index: usize, symbol: &Sym64<Little>) -> Result<(), String> {
        let (kind, bind) = (symbol.st_type(), symbol.st_bind());
        let is_local = bind == elf::STB_LOCAL;
        if !is_local && ![elf::STB_GLOBAL, elf::STB_WEAK, elf::STB_GNU_UNIQUE].contains(&bind) {
            return Err(format!("has the unknown binding {}", bind.0));
        }
        if is_local != (index < self.locals) {
            let locals = self.locals;
            return Err(format!(
                "is of the wrong kind: the first {locals} are local, and no others"
            ));
        }
        let visibility = symbol.st_other().0 & 3;
        let other = symbol.st_other().0 & !VARIANT & !3;
        if other != 0 || ![elf::STV_DEFAULT.0, elf::STV_PROTECTED.0].contains(&visibility) {
            return Err(format!("has the odd visibility {:#x}", symbol.st_other().0));
        }
        let section = symbol.st_shndx(Little);
        if section == elf::SHN_UNDEF {
            let known = [elf::STT_NOTYPE, elf::STT_OBJECT, elf::STT_FUNC, elf::STT_TLS];
            return match () {
                () if symbol.st_value(Little) != 0 => {
                    Err("is imported, but has an address".to_owned())
                }
                () if visibility != 0 => Err("is imported, but not visible".to_owned()),
                () if !known.contains(&kind) => {
                    Err(format!("is imported as the unknown type {}", kind.0))
                }
                () => Ok(()),
            };
        }
        if section == elf::SHN_ABS {
            // Such as the names of versions.
            return Ok(());
        }
        let at = section.index().and_then(|index| elf.sections.get(usize::from(index)));
        let Some(at) = at.filter(|at| at.is_allocated()) else {
            return Err(format!("is in section {}, which no loader maps", section.0));
        };
        check_defined(elf, symbol, at)
    }
}

/// What a vendor of aarch64 functions says of how they are called.
#[cfg(target_arch = "aarch64")]
const VARIANT: u8 = 0x80;
#[cfg(not(target_arch = "aarch64"))]
const VARIANT: u8 = 0;

fn check_defined(
    elf: &Elf<'_>,
    symbol: &Sym64<Little>,
    section: &Section<'_>,
) -> Result<(), String> {
    let (address, size) = (symbol.st_value(Little), symbol.st_size(Little));
    let range = match symbol.st_type() {
        // Linkers put ends of things behind what they are the end of.
        elf::STT_NOTYPE | elf::STT_SECTION if size == 0 => return Ok(()),
        elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC | elf::STT_GNU_IFUNC => {
            section.range.address..section.range.end()
        }
        elf::STT_TLS => {
            let tls = elf.segments.iter().find(|segment| segment.kind == elf::PT_TLS);
            0..tls.map_or(0, |tls| tls.range.in_memory)
        }
        other => return Err(format!("is defined as the unknown type {}", other.0)),
    };
    let end = address.checked_add(size);
    if address < range.start || end.is_none_or(|end| end > range.end) {
        return Err(format!("is {size:#x} bytes at {address:#x}, which is not inside {section}"));
    }
    let is_code = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
    match is_code && !section.flags.contains(elf::SHF_EXECINSTR) {
        true => Err(format!("is a function, but {section} holds no code")),
        false => Ok(()),
    }
}

/// The names, found with work that is bounded by the table's size.
struct Names<'data> {
    strings: &'data [u8],
    left: usize,
}

impl<'data> Names<'data> {
    fn of(
        mut self,
        section: &Section<'_>,
        symbols: &[Sym64<Little>],
    ) -> Result<Vec<&'data [u8]>, Refusal> {
        let mut names = Vec::with_capacity(symbols.len());
        let mut starts = HashSet::with_capacity(symbols.len());
        for (index, symbol) in symbols.iter().enumerate() {
            let start = symbol.st_name(Little) as usize;
            let name = self.at(start);
            let name = name.ok_or_else(|| {
                inconsistent(format!("symbol {index} of {section} has no name that ends"))
            })?;
            names.push(name);
            starts.insert(start);
        }
        for (index, symbol) in symbols.iter().enumerate().skip(1) {
            let start = symbol.st_name(Little) as usize;
            // A linker lets a name be the end of a longer one only where that is somebody's.
            if let Some(whole) = self.whole(start)
                && !starts.contains(&whole)
            {
                let name = names.get(index).copied().unwrap_or_default().escape_ascii();
                return Err(inconsistent(format!(
                    "symbol {index} ({name}) of {section} has a part of a name that nobody has"
                )));
            }
        }
        Ok(names)
    }

    fn at(&mut self, start: usize) -> Option<&'data [u8]> {
        let rest = self.strings.get(start..)?;
        let near = rest.get(..self.left).unwrap_or(rest);
        let end = near.iter().position(|byte| *byte == 0)?;
        self.left -= end;
        near.get(..end)
    }

    /// Where the string begins in whose middle `start` is.
    fn whole(&mut self, start: usize) -> Option<usize> {
        let before = self.strings.get(..start)?;
        let before = &before[before.len().saturating_sub(self.left)..];
        let back = before.iter().rev().position(|byte| *byte == 0).unwrap_or(before.len());
        self.left -= back;
        (back != 0).then_some(start - back)
    }
}
