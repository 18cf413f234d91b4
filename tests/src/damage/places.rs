//! Places: what a byte of a library belongs to, and whether that is code or data of its author's.

use object::read::elf::{ElfFile64, FileHeader};
use object::{LittleEndian, Object, ObjectSection};
use std::collections::BTreeMap;
use std::ops::Range;

/// Size of an ELF header.
const HEADER_BYTES: usize = 64;
/// Size of a relocation with an addend, whose fields are places of their own.
const RELOCATION_BYTES: usize = 24;
/// The sections whose bytes are the author's: code, data, and the tables of its exceptions. Nothing
/// but a hash of the file could tell whether they are right. `.got` begins as data of the linker's
/// that the loader adds nothing to.
const CODE: [&str; 12] = [
    ".text",
    ".init",
    ".fini",
    ".plt",
    ".rodata",
    ".data",
    ".tdata",
    ".eh_frame",
    ".eh_frame_hdr",
    ".gcc_except_table",
    ".got",
    ".tm_clone_table",
];

/// Which bytes of a library are what.
#[derive(Debug)]
pub struct Places {
    /// In the order of the file, without a gap.
    all: Vec<Stretch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    range: Range<usize>,
    name: String,
    fields: bool,
}

impl Places {
    /// Of the sound library `bytes`.
    pub fn of(bytes: &[u8]) -> Places {
        let file = ElfFile64::<LittleEndian>::parse(bytes).expect("a sound library");
        let header = file.elf_header();
        let table = |offset: u64, size: u16, count: u16| {
            let offset = usize::try_from(offset).expect("an offset");
            offset..offset + usize::from(size) * usize::from(count)
        };
        let endian = LittleEndian;
        let segments =
            table(header.e_phoff(endian), header.e_phentsize(endian), header.e_phnum(endian));
        let sections =
            table(header.e_shoff(endian), header.e_shentsize(endian), header.e_shnum(endian));
        let mut known = vec![
            (0..HEADER_BYTES, "ELF header".to_owned()),
            (segments, "program headers".to_owned()),
            (sections, "section headers".to_owned()),
        ];
        known.extend(file.sections().filter_map(|section| {
            let (offset, size) = section.file_range().filter(|(_, size)| *size != 0)?;
            let range = usize::try_from(offset).ok()?..usize::try_from(offset + size).ok()?;
            Some((range, section.name().expect("a name").to_owned()))
        }));
        known.sort_by_key(|(range, _)| range.start);
        Places { all: without_gaps(known, bytes.len()) }
    }

    /// The name of the place of the byte at `offset`; for relocations with their field.
    pub fn name(&self, offset: usize) -> String {
        let at = self.all.partition_point(|stretch| stretch.range.end <= offset);
        let Some(stretch) = self.all.get(at) else { return "beyond the end".to_owned() };
        if !stretch.fields {
            return stretch.name.clone();
        }
        let field = match (offset - stretch.range.start) % RELOCATION_BYTES {
            0..8 => "offset",
            8..12 => "type",
            12..16 => "symbol",
            _ => "addend",
        };
        format!("{} {field}", stretch.name)
    }

    /// The bits of each place that is not the author's code or data, by name.
    pub fn structure(&self) -> BTreeMap<String, Vec<usize>> {
        let mut bits: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for offset in self
            .all
            .iter()
            .filter(|stretch| !is_code(&stretch.name))
            .flat_map(|one| one.range.clone())
        {
            let name = self.name(offset);
            if !is_code(&name) && is_read(&name) {
                bits.entry(name).or_default().extend(8 * offset..8 * offset + 8);
            }
        }
        bits
    }
}

fn without_gaps(known: Vec<(Range<usize>, String)>, end: usize) -> Vec<Stretch> {
    let mut all = Vec::new();
    let mut at = 0;
    let gap = |range| Stretch { range, name: "between sections".to_owned(), fields: false };
    for (range, name) in known {
        if at < range.start {
            all.push(gap(at..range.start));
        }
        at = at.max(range.end);
        let fields = name.starts_with(".rela");
        all.push(Stretch { range, name, fields });
    }
    if at < end {
        all.push(gap(at..end));
    }
    all
}

/// Is what lies there code, data, an addend or a table of exceptions?
pub fn is_code(name: &str) -> bool {
    // The addend of an import is not its author's: it is 0.
    name == ".rela.dyn addend"
        || CODE.iter().any(|code| {
            name.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// Does the loader, the unwinder or the host read it?
fn is_read(name: &str) -> bool {
    const UNREAD: [&str; 6] = [".comment", ".symtab", ".strtab", ".debug", "between", ".note.gnu"];
    !UNREAD.iter().any(|unread| name.starts_with(unread))
}
