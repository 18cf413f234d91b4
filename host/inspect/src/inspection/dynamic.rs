//! The dynamic section: which other libraries the loader would bring in, and what it would run and
//! keep.

use super::headers::{Elf, Section, inconsistent, text};
use super::imports::{BYTES_MAX, FORBIDDEN, OWN_EXPORTS, STOOD_FOR};
use crate::refusal::{Code, Refusal};
use memchr::memchr;
use object::LittleEndian as Little;
use object::elf::{self, Dyn64, Sym64};
use object::read::elf::{Dyn, Sym};
use std::ffi::CString;

const ENTRIES_MAX: u64 = 4096;
const STRING_BYTES_MAX: usize = 4096;
const POINTER_BYTES: u64 = 8;

/// Libraries that call nothing back and keep no pointer into a plugin.
pub(super) const FAMILIAR: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
];

/// The entries that matter to us, as the loader would take them: the last of a tag counts.
#[derive(Default)]
pub(super) struct Dynamic {
    pub(super) soname: Option<String>,
    pub(super) needed: Vec<String>,
    pub(super) nodelete: Option<usize>,
    pub(super) constructors: usize,
    static_tls: bool,
    runpath: Option<String>,
    position_independent_executable: bool,
    preinit: bool,
    strings: Strings,
    symbols: u64,
}

/// Index, address and size of the section with the names.
#[derive(Default, Clone, Copy)]
struct Strings {
    section: u32,
    address: u64,
    size: u64,
}

impl Dynamic {
    pub(super) fn read(elf: &Elf<'_>) -> Result<Self, Refusal> {
        let Some(section) = only(elf, elf::SHT_DYNAMIC)? else {
            return Err(inconsistent(
                "the file has no dynamic section: is it a file of debug symbols?".into(),
            ));
        };
        let names = elf.sections.get(section.link as usize);
        let Some(names) = names.filter(|names| names.kind == elf::SHT_STRTAB) else {
            return Err(inconsistent(format!("{section} has no string table")));
        };
        let strings = elf.bytes(names.range.offset, names.range.in_file)?;
        let string = |value| {
            let bytes = text(strings, value, STRING_BYTES_MAX);
            let string = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            string.map(str::to_owned).ok_or_else(|| {
                let most = STRING_BYTES_MAX;
                inconsistent(format!(
                    "{section} has an unreadable name: no text of less than {most} bytes"
                ))
            })
        };
        let mut dynamic = Dynamic {
            strings: Strings { section: section.link, ..Strings::default() },
            ..Dynamic::default()
        };
        for (offset, tag, value) in entries(elf, section)? {
            match tag {
                elf::DT_SONAME => dynamic.soname = Some(string(value)?),
                elf::DT_NEEDED => dynamic.needed.push(string(value)?),
                elf::DT_RPATH | elf::DT_RUNPATH => dynamic.runpath = Some(string(value)?),
                elf::DT_FLAGS => dynamic.static_tls = value & elf::DF_STATIC_TLS.0 != 0,
                elf::DT_FLAGS_1 => {
                    dynamic.nodelete = (value & elf::DF_1_NODELETE.0 != 0).then_some(offset);
                    dynamic.position_independent_executable = value & elf::DF_1_PIE.0 != 0;
                }
                elf::DT_INIT => dynamic.constructors = dynamic.constructors.saturating_add(1),
                elf::DT_INIT_ARRAYSZ => {
                    let count = usize::try_from(value / POINTER_BYTES).unwrap_or(usize::MAX);
                    dynamic.constructors = dynamic.constructors.saturating_add(count);
                }
                elf::DT_PREINIT_ARRAY => dynamic.preinit = true,
                elf::DT_STRTAB => dynamic.strings.address = value,
                elf::DT_STRSZ => dynamic.strings.size = value,
                elf::DT_SYMTAB => dynamic.symbols = value,
                _ => {}
            }
        }
        // The loader follows these addresses, we follow the sections: they must be the same.
        let (found, range) = (dynamic.strings, names.range);
        if (found.address, found.size) != (range.address, range.in_file) {
            let says = format!("{:#x} bytes of strings at {:#x}", found.size, found.address);
            return Err(inconsistent(format!("{section} says {says}, {names} has {range}")));
        }
        Ok(dynamic)
    }

    /// Refuses what no plugin needs.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.position_independent_executable {
            let reason = "the file is a position-independent executable, expected a shared library";
            return Err(Refusal::new(Code::WrongFileType, reason));
        }
        if self.preinit {
            return Err(inconsistent(
                "it has functions to run before a program's own, but is a library".into(),
            ));
        }
        if let Some(path) = &self.runpath {
            let reason = format!(
                "RPATH or RUNPATH is {path:?}: which libraries it gets depends on what lies there"
            );
            return Err(Refusal::new(Code::RunpathSet, reason));
        }
        if self.needed.iter().any(String::is_empty) {
            return Err(inconsistent("it needs a library of no name".into()));
        }
        // What lies there is opened as it is: a FIFO would hold the loader's lock until somebody
        // writes to it.
        if let Some(name) = self.needed.iter().find(|name| name.contains(['/', '$'])) {
            let reason = format!("it needs {name:?}, which is a path and no name of a library");
            return Err(Refusal::new(Code::NeededPath, reason));
        }
        if let Some(name) = self.needed.iter().find(|name| is_libstd(name)) {
            let reason = format!(
                "it needs {name}: a panic hook or thread of one plugin would live in all of them"
            );
            return Err(Refusal::new(Code::SharedLibstd, reason));
        }
        Ok(())
    }

    /// The static TLS block of a process has room for a few copies of such a library, and a space
    /// between two others is not used again: some update, nobody knows which, would be the loader's
    /// "cannot allocate memory in static TLS block". So it is the first.
    pub(super) fn check_tls(&self) -> Result<(), Refusal> {
        match self.static_tls {
            false => Ok(()),
            true => Err(Refusal::new(
                Code::StaticTls,
                "it has DF_STATIC_TLS: something in it uses thread-locals of the initial-exec model, of which a process can load a few copies only",
            )),
        }
    }

    /// Needed libraries that may keep pointers into the plugin.
    pub(super) fn unfamiliar(&self) -> Vec<String> {
        self.needed.iter().filter(|name| !FAMILIAR.contains(&name.as_str())).cloned().collect()
    }
}

fn is_libstd(file: &str) -> bool {
    file.starts_with("libstd-") && file.ends_with(".so")
}

/// Offset in the file of the value, tag and value of each entry before the DT_NULL.
pub(super) fn entries(
    elf: &Elf<'_>,
    section: &Section<'_>,
) -> Result<Vec<(usize, elf::DynamicTag, u64)>, Refusal> {
    const SIZE: u64 = size_of::<Dyn64<Little>>() as u64;
    let count = section.range.in_file / SIZE;
    if count > ENTRIES_MAX || !section.range.in_file.is_multiple_of(SIZE) {
        let size = section.range.in_file;
        return Err(inconsistent(format!(
            "{section} has {size} bytes, expected up to {ENTRIES_MAX} × {SIZE}"
        )));
    }
    let all: &[Dyn64<Little>] = elf.records(section.range.offset, count, "dynamic entries")?;
    let values = (section.range.offset.saturating_add(POINTER_BYTES)..).step_by(SIZE as usize);
    let mut entries = Vec::new();
    for (entry, offset) in all.iter().zip(values) {
        let tag = entry.d_tag(Little);
        if tag == elf::DT_NULL {
            return Ok(entries);
        }
        entries.push((usize::try_from(offset).unwrap_or(usize::MAX), tag, entry.d_val(Little)));
    }
    Err(inconsistent(format!("{section} has no last entry: the loader would read on")))
}

/// What the dynamic symbols say. Names are compared, and searched for their end up to a bound, so
/// the work is one pass.
#[derive(Default)]
pub(super) struct Symbols {
    pub(super) entry: Vec<Symbol>,
    pub(super) place: Vec<Symbol>,
    /// Some definition is STB_GNU_UNIQUE.
    pub(super) unique: bool,
    /// Functions that the plugin's runtime should stand for, and that this file takes from the C
    /// library instead.
    escaped: Vec<&'static str>,
    /// What of the C library no plugin may take.
    forbidden: Vec<&'static str>,
    /// What it defines for others, beside the runtime's own. The loader may find others' in its
    /// place.
    pub(super) exports: Vec<CString>,
}

/// Names of exports that are looked up, all together.
const EXPORT_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy)]
pub(super) struct Symbol {
    pub(super) kind: elf::SymbolType,
    pub(super) bind: elf::SymbolBind,
    pub(super) defined: bool,
    pub(super) address: u64,
    pub(super) size: u64,
}

impl Symbols {
    pub(super) fn read(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Self, Refusal> {
        let mut symbols = Symbols::default();
        let Some(section) = only(elf, elf::SHT_DYNSYM)? else {
            return Ok(symbols);
        };
        if section.range.address != dynamic.symbols || section.link != dynamic.strings.section {
            let (found, at) = (dynamic.symbols, section.range.address);
            return Err(inconsistent(format!(
                "the dynamic section has symbols at {found:#x}, {section} is at {at:#x}"
            )));
        }
        const SIZE: u64 = size_of::<Sym64<Little>>() as u64;
        let size = section.range.in_file;
        if section.entry_size != SIZE || !size.is_multiple_of(SIZE) {
            let found = section.entry_size;
            return Err(inconsistent(format!(
                "{section} has {size} bytes in entries of {found}, expected entries of {SIZE}"
            )));
        }
        let names = elf.sections.get(section.link as usize);
        let names = names
            .map_or(Ok(&[][..]), |names| elf.bytes(names.range.offset, names.range.in_file))?;
        let all: &[Sym64<Little>] = elf.records(section.range.offset, size / SIZE, "symbols")?;
        let mut export_bytes = 0;
        for symbol in all {
            let found = Symbol {
                kind: symbol.st_type(),
                bind: symbol.st_bind(),
                defined: is_section(symbol.st_shndx(Little)),
                address: symbol.st_value(Little),
                size: symbol.st_size(Little),
            };
            symbols.unique |= found.defined && found.bind == elf::STB_GNU_UNIQUE;
            let start = usize::try_from(symbol.st_name(Little)).ok();
            let name = start.and_then(|start| names.get(start..)).unwrap_or_default();
            if !found.defined {
                symbols.import(name);
            } else if found.bind != elf::STB_LOCAL && symbol.st_visibility() == elf::STV_DEFAULT {
                export_bytes = symbols.export(name, export_bytes)?;
            }
            for (expected, list) in [
                (&b"midflight_entry\0"[..], &mut symbols.entry),
                (b"midflight_place\0", &mut symbols.place),
            ] {
                // Two are enough to say that there is not one.
                if name.starts_with(expected) && list.len() < 2 {
                    list.push(found);
                }
            }
        }
        Ok(symbols)
    }

    fn import(&mut self, name: &[u8]) {
        // What is longer is none of them.
        let near = name.get(..BYTES_MAX).unwrap_or(name);
        let Some(end) = memchr(0, near) else { return };
        for (known, list) in
            [(&STOOD_FOR[..], &mut self.escaped), (&FORBIDDEN[..], &mut self.forbidden)]
        {
            // Both are sorted, as the table is that they are from.
            let at = known.binary_search_by(|known| known.as_bytes().cmp(&near[..end]));
            if let Ok(at) = at
                && !list.contains(&known[at])
            {
                list.push(known[at]);
            }
        }
    }

    /// Takes a name down, and gives how many bytes there are by then.
    fn export(&mut self, name: &[u8], bytes: usize) -> Result<usize, Refusal> {
        if OWN_EXPORTS.iter().any(|own| ends_as(name, own.as_bytes())) {
            return Ok(bytes);
        }
        let name = text(name, 0, STRING_BYTES_MAX).and_then(|name| CString::new(name).ok());
        let name = name.ok_or_else(|| inconsistent("it exports an unreadable name".into()))?;
        let bytes = bytes + name.as_bytes_with_nul().len();
        if bytes > EXPORT_BYTES_MAX {
            return Err(inconsistent(format!(
                "the names that it exports are longer than {EXPORT_BYTES_MAX} bytes"
            )));
        }
        self.exports.push(name);
        Ok(bytes)
    }

    /// What a plugin gives to the system past its runtime could not be taken back before it is
    /// unmapped.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if !self.escaped.is_empty() {
            let escaped = self.escaped.join(", ");
            let reason = format!("the plugin's runtime should define what it imports: {escaped}");
            return Err(Refusal::new(Code::HookEscaped, reason));
        }
        if !self.forbidden.is_empty() {
            let forbidden = self.forbidden.join(", ");
            let reason = format!("it imports what would lead into it when it is gone: {forbidden}");
            return Err(Refusal::new(Code::ImportForbidden, reason));
        }
        Ok(())
    }
}

/// Is `name`, with whatever follows in the table of names, this one?
fn ends_as(name: &[u8], expected: &[u8]) -> bool {
    name.strip_prefix(expected).is_some_and(|rest| rest.starts_with(&[0]))
}

fn is_section(index: elf::SymbolSection) -> bool {
    index != elf::SHN_UNDEF && index.index().is_some()
}

/// The section of a type that a library has once.
pub(super) fn only<'elf, 'data>(
    elf: &'elf Elf<'data>,
    kind: elf::SectionType,
) -> Result<Option<&'elf Section<'data>>, Refusal> {
    let mut all = elf.sections.iter().filter(|section| section.kind == kind);
    match (all.next(), all.next()) {
        (Some(one), Some(other)) => {
            Err(inconsistent(format!("{one} and {other} are of the same type")))
        }
        (one, _) => Ok(one),
    }
}
