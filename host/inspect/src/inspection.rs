//! The inspection: what the bytes of a library say before any of it runs.
//!
//! The loader trusts the headers. A file that was cut is mapped and the first touch beyond its end
//! is a SIGBUS; a damaged program header moves code, thread-local data or unwind tables, and the
//! process dies in a place that has nothing to do with it. And the constructors have run before the
//! loader's caller can look at anything. Linkers describe a file twice, in segments for the loader
//! and in sections for tools, so we read both as data and demand that they agree ([`segments`]),
//! follow the dynamic section and its symbols as the loader would ([`dynamic`]), and only then
//! believe the plugin's own note.

mod dynamic;
mod hash;
mod headers;
mod imports;
mod pointers;
mod relocations;
mod segments;
mod symbols;
mod tags;
mod versions;

use crate::manifest::{HOST_TARGET, Manifest};
use crate::refusal::{Code, Refusal};
use crate::stamp::{Checked, Stamp, damaged};
use dynamic::{Dynamic, Symbol, Symbols};
use headers::{Elf, Note};
use midflight_format::{NOTE_NAME, PLACE_MAGIC};
use object::elf;
use relocations::Relocations;
use std::ffi::CString;
use symbols::Table;
use tags::Tags;
use versions::Known;

/// A library's bytes, looked at as data and found to be a plugin's.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the plugin says about itself.
    pub manifest: Manifest,
    /// The hash of the file.
    pub digest: blake3::Hash,
    /// Whether the file says itself that it is whole.
    pub stamp: Stamp,
    /// The linker's GNU build id in hex, where it made one.
    pub build_id: Option<String>,
    /// Where the host's table goes.
    pub place: Place,
    /// Offset in the file of the 64-bit value of DT_FLAGS_1, where that has DF_1_NODELETE
    /// ([`DF_1_NODELETE`]).
    pub nodelete: Option<usize>,
    /// Every library that it needs, as it names them.
    pub needed: Vec<String>,
    /// Those of them that can keep pointers into the plugin: all but the C library's own and
    /// libgcc.
    pub unfamiliar: Vec<String>,
    /// Functions that run inside dlopen.
    pub constructors: usize,
    /// Has STB_GNU_UNIQUE symbols: the loader never unmaps it.
    pub unique_symbols: bool,
    /// What it defines for others by name, beside the plugin's own entry and place: in a process
    /// that has the name already, the loader binds the plugin's references to that.
    pub exports: Vec<CString>,
}

/// The bit in DT_FLAGS_1 that keeps the loader from ever unmapping the library.
pub const DF_1_NODELETE: u64 = elf::DF_1_NODELETE.0;

/// Where the host writes the address of its table before the library is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset in the file of the 8-byte word behind the magic. The word is 0 and aligned, and is
    /// mapped writable.
    pub table_offset: usize,
}

/// Looks at `bytes` as data, in passes whose work is bounded by their number. Never panics.
///
/// A stamp that is not the file's own is refused before anything else is looked at.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Refusal> {
    let checked = Checked::of(bytes)?;
    let elf = Elf::read(bytes)?;
    let dynamic = Dynamic::read(&elf)?;
    segments::check(&elf)?;
    dynamic.check()?;
    let manifest = manifest(&elf, &dynamic)?;
    let (name, version) = (&manifest.name, manifest.version.to_string());
    segments::check_unwinds(&elf)?;
    let symbols = Symbols::read(&elf, &dynamic)?;
    let place = place(&elf, &symbols)
        .and_then(|place| symbols.check().map(|()| place))
        .and_then(|place| dynamic.check_tls().map(|()| place))
        .and_then(|place| check_tables(&elf, &dynamic, &symbols).map(|()| place))
        .map_err(|refusal| refusal.of(name, &version))?;
    let unmarked = || damaged("it has a plugin's note, but no mark of a stamp").of(name, &version);
    let stamp = checked.stamp.ok_or_else(unmarked)?;
    Ok(Inspection {
        digest: checked.digest(bytes),
        stamp,
        build_id: build_id(&elf)?,
        place,
        nodelete: dynamic.nodelete,
        unfamiliar: dynamic.unfamiliar(),
        constructors: dynamic.constructors,
        unique_symbols: symbols.unique,
        exports: symbols.exports,
        needed: dynamic.needed,
        manifest,
    })
}

/// What the loader follows without a look: the dynamic section, and the tables that it leads to.
fn check_tables(elf: &Elf<'_>, dynamic: &Dynamic, symbols: &Symbols) -> Result<(), Refusal> {
    let tags = Tags::check(elf)?;
    let table = Table::read(elf)?;
    let mut known = Known::default();
    if let Some(table) = &table {
        table.check(elf)?;
        known = versions::check(elf, table, &dynamic.needed)?;
        hash::check(elf, table)?;
    }
    let relocations = Relocations::check(elf, &tags, table.as_ref(), &known)?;
    pointers::check_arrays(elf, &relocations)?;
    pointers::check_entry(elf, symbols, &relocations)
}

fn manifest(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Manifest, Refusal> {
    let mut ours: Option<Note<'_>> = None;
    for note in elf.notes()? {
        if note.name != NOTE_NAME.as_bytes() {
            continue;
        }
        if ours.replace(note).is_some() {
            let reason = format!("the file has two notes `{NOTE_NAME}`, a plugin has one");
            return Err(Refusal::new(Code::ManifestInvalid, reason));
        }
    }
    let Some(note) = ours else {
        let name = dynamic.soname.as_deref().map_or(String::new(), |name| format!(" ({name})"));
        let reason = format!("a sound shared library{name}, but it has no note `{NOTE_NAME}`");
        return Err(Refusal::new(Code::NotAPlugin, reason));
    };
    Manifest::parse(note.kind, note.text, HOST_TARGET)
}

fn build_id(elf: &Elf<'_>) -> Result<Option<String>, Refusal> {
    let id = elf
        .notes()?
        .into_iter()
        .find(|note| note.name == b"GNU" && note.kind == elf::NT_GNU_BUILD_ID.0);
    let hex = |note: Note<'_>| note.text.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(id.filter(|note| !note.text.is_empty()).map(hex))
}

/// Finds both exports, and proves that the place can be written in the file.
fn place(elf: &Elf<'_>, symbols: &Symbols) -> Result<Place, Refusal> {
    let missing = |what: &str| Refusal::new(Code::EntryMissing, what);
    let object = |name: &str, found: &[Symbol]| {
        let symbol = match *found {
            [symbol] => symbol,
            [] => return Err(missing(&format!("the dynamic symbols have no `{name}`"))),
            _ => return Err(missing(&format!("the dynamic symbols have `{name}` twice"))),
        };
        if symbol.kind != elf::STT_OBJECT || symbol.bind != elf::STB_GLOBAL || !symbol.defined {
            return Err(missing(&format!(
                "`{name}` is no static that this file defines and exports"
            )));
        }
        Ok(symbol)
    };
    object("midflight_entry", &symbols.entry)?;
    let place = object("midflight_place", &symbols.place)?;
    const WORD: u64 = 8;
    let size = PLACE_MAGIC.len() as u64 + WORD;
    if place.size < size {
        let reason = format!("`midflight_place` has {} bytes, expected {size}", place.size);
        return Err(missing(&reason));
    }
    if !place.address.is_multiple_of(WORD) {
        return Err(missing(&format!(
            "`midflight_place` at {:#x} is not aligned to {WORD}",
            place.address
        )));
    }
    let Some((load, offset)) = elf.in_file(place.address, size) else {
        let reason = format!("`midflight_place` at {:#x} has no bytes in the file", place.address);
        return Err(missing(&reason));
    };
    if !load.flags.contains(elf::PF_W) {
        return Err(missing("`midflight_place` is not in writable memory"));
    }
    let bytes = elf.bytes(offset, size)?;
    let Some(word) = bytes.strip_prefix(PLACE_MAGIC.as_slice()) else {
        return Err(missing("`midflight_place` does not begin with its magic"));
    };
    if word.iter().any(|byte| *byte != 0) {
        return Err(missing("the word in `midflight_place` is set already, expected 0"));
    }
    let table_offset =
        usize::try_from(offset).ok().and_then(|offset| offset.checked_add(PLACE_MAGIC.len()));
    let table_offset = table_offset.ok_or_else(|| missing("`midflight_place` is out of reach"))?;
    Ok(Place { table_offset })
}

#[cfg(test)]
mod tests;
