//! The headers: a file's own description, read once and turned into ranges that lie inside the
//! file.

use crate::refusal::{Code, Refusal};
use object::LittleEndian as Little;
use object::elf::{self, DataEncoding, FileClass, FileHeader64, Ident};
use object::elf::{
    ProgramFlags, ProgramHeader64, ProgramType, SectionFlags, SectionHeader64, SectionType,
};
use object::pod::Pod;
use object::read::ReadRef;
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use std::fmt;

/// Linkers write a tenth of each; what has more is refused unread.
const SEGMENTS_MAX: u16 = 64;
const SECTIONS_MAX: u16 = 4096;
const SECTION_NAME_BYTES_MAX: usize = 256;
const NOTES_MAX: usize = 64;

#[cfg(target_arch = "x86_64")]
pub(super) const HOST_MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
pub(super) const HOST_MACHINE: elf::Machine = elf::EM_AARCH64;

/// A 64-bit little-endian shared object for this machine, all of whose tables and ranges lie inside
/// the file.
pub(super) struct Elf<'data> {
    data: &'data [u8],
    /// Of the program headers: offset and size.
    pub(super) table: (u64, u64),
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section<'data>>,
}

/// What the loader reads.
pub(super) struct Segment {
    index: usize,
    pub(super) kind: ProgramType,
    pub(super) flags: ProgramFlags,
    pub(super) range: Range,
    pub(super) align: u64,
}

/// What the linker said to every other tool.
pub(super) struct Section<'data> {
    index: usize,
    pub(super) name: &'data [u8],
    pub(super) kind: SectionType,
    pub(super) flags: SectionFlags,
    pub(super) range: Range,
    pub(super) align: u64,
    pub(super) entry_size: u64,
    /// The index of the section that it goes with, such as a symbol table's strings.
    pub(super) link: u32,
    /// What it counts, by its type: local symbols, needed libraries.
    pub(super) info: u32,
}

/// One stretch, as the file has it and as the loader maps it. INVARIANT: both ends are below 2^64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) in_file: u64,
    pub(super) in_memory: u64,
}

/// An ELF note.
#[derive(Clone, Copy)]
pub(super) struct Note<'data> {
    pub(super) name: &'data [u8],
    pub(super) kind: u32,
    pub(super) text: &'data [u8],
}

impl<'data> Elf<'data> {
    pub(super) fn read(data: &'data [u8]) -> Result<Self, Refusal> {
        check_class(data)?;
        let header = read_header(data)?;
        check_ident(&header.e_ident)?;
        check_header(header)?;
        let table = segment_table(header)?;
        let headers: &[ProgramHeader64<Little>] =
            read_table(data, table.0, header.e_phnum(Little).into(), "program headers")?;
        // Before the single ranges: whatever was cut off, the table at the end of the file is gone.
        let sections = read_sections(data, header)?;
        let segments =
            headers.iter().enumerate().map(|(index, header)| Segment::read(data, index, header));
        Ok(Elf { data, table, segments: segments.collect::<Result<_, _>>()?, sections })
    }

    /// `size` bytes from `offset`.
    pub(super) fn bytes(&self, offset: u64, size: u64) -> Result<&'data [u8], Refusal> {
        self.data
            .read_bytes_at(offset, size)
            .map_err(|()| truncated(self.data, offset.saturating_add(size)))
    }

    /// `count` records from `offset`.
    pub(super) fn records<T: Pod>(
        &self,
        offset: u64,
        count: u64,
        what: &str,
    ) -> Result<&'data [T], Refusal> {
        read_table(self.data, offset, count, what)
    }

    /// The segment that maps `size` bytes at `address` from the file, and where they are there.
    pub(super) fn in_file(&self, address: u64, size: u64) -> Option<(&Segment, u64)> {
        let end = address.checked_add(size)?;
        let load = self.loads().find(|load| {
            let Range { address: start, in_file, .. } = load.range;
            start <= address && end <= start.saturating_add(in_file)
        })?;
        let offset = address.checked_sub(load.range.address)?.checked_add(load.range.offset)?;
        Some((load, offset))
    }

    pub(super) fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == elf::PT_LOAD)
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'data>> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// The notes that are part of the loaded library.
    pub(super) fn notes(&self) -> Result<Vec<Note<'data>>, Refusal> {
        let mut notes = Vec::new();
        for section in self.sections.iter().filter(|section| section.is_note()) {
            let unreadable =
                |error| inconsistent(format!("the notes in {section} can't be followed: {error}"));
            let bytes = self.bytes(section.range.offset, section.range.in_file)?;
            let all = NoteIterator::<FileHeader64<Little>>::new(Little, section.align, bytes);
            for note in all.map_err(unreadable)? {
                let note = note.map_err(unreadable)?;
                if notes.len() == NOTES_MAX {
                    return Err(inconsistent(format!("more than {NOTES_MAX} notes")));
                }
                notes.push(Note {
                    name: note.name(),
                    kind: note.n_type(Little).0,
                    text: note.desc(),
                });
            }
        }
        Ok(notes)
    }
}

impl Segment {
    fn read(data: &[u8], index: usize, header: &ProgramHeader64<Little>) -> Result<Self, Refusal> {
        let segment = Segment {
            index,
            kind: header.p_type(Little),
            flags: header.p_flags(Little),
            range: Range {
                offset: header.p_offset(Little),
                address: header.p_vaddr(Little),
                in_file: header.p_filesz(Little),
                in_memory: header.p_memsz(Little),
            },
            align: header.p_align(Little),
        };
        segment.range.check(data, &segment)?;
        let physical = header.p_paddr(Little);
        if physical != 0 && physical != segment.range.address {
            let address = segment.range.address;
            return Err(inconsistent(format!(
                "{segment} has the physical address {physical:#x}, but the virtual one {address:#x}"
            )));
        }
        Ok(segment)
    }
}

impl<'data> Section<'data> {
    fn read(
        data: &'data [u8],
        index: usize,
        header: &SectionHeader64<Little>,
        names: &'data [u8],
    ) -> Result<Self, Refusal> {
        let (kind, size) = (header.sh_type(Little), header.sh_size(Little));
        let name = text(names, header.sh_name(Little).into(), SECTION_NAME_BYTES_MAX);
        let section = Section {
            index,
            name: name
                .ok_or_else(|| inconsistent(format!("section {index} has no name that ends")))?,
            kind,
            flags: header.sh_flags(Little),
            range: Range {
                offset: header.sh_offset(Little),
                address: header.sh_addr(Little),
                in_file: if kind == elf::SHT_NOBITS { 0 } else { size },
                in_memory: size,
            },
            align: header.sh_addralign(Little),
            entry_size: header.sh_entsize(Little),
            link: header.sh_link(Little),
            info: header.sh_info(Little),
        };
        section.range.check(data, &section)?;
        Ok(section)
    }

    pub(super) fn is_allocated(&self) -> bool {
        self.flags.contains(elf::SHF_ALLOC)
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_allocated() && self.flags.contains(elf::SHF_TLS)
    }

    /// Zeros of each thread's own: they take no room in the mapped image.
    pub(super) fn is_thread_zeros(&self) -> bool {
        self.is_tls() && self.kind == elf::SHT_NOBITS
    }

    pub(super) fn is_note(&self) -> bool {
        self.is_allocated() && self.kind == elf::SHT_NOTE
    }
}

impl Range {
    fn check(&self, data: &[u8], owner: &dyn fmt::Display) -> Result<(), Refusal> {
        let in_file = self.offset.checked_add(self.in_file);
        let in_memory = self.address.checked_add(self.in_memory);
        let (Some(in_file), Some(_)) = (in_file, in_memory) else {
            return Err(inconsistent(format!("{owner} wraps around the end of memory: {self}")));
        };
        // A section of zeros may stand anywhere: it has no bytes there.
        if self.in_file != 0 && in_file > data.len() as u64 {
            let (size, found) = (data.len(), self.offset);
            let reason =
                format!("{owner} is bytes {found:#x}..{in_file:#x} of a file of {size:#x} bytes");
            return Err(Refusal::new(Code::FileTruncated, reason));
        }
        Ok(())
    }

    pub(super) fn file_end(&self) -> u64 {
        self.offset.saturating_add(self.in_file)
    }

    pub(super) fn end(&self) -> u64 {
        self.address.saturating_add(self.in_memory)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { offset, address, in_file, in_memory } = self;
        write!(f, "{in_file:#x} bytes from {offset:#x} as {in_memory:#x} bytes at {address:#x}")
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            elf::PT_NULL => "PT_NULL",
            elf::PT_LOAD => "PT_LOAD",
            elf::PT_DYNAMIC => "PT_DYNAMIC",
            elf::PT_INTERP => "PT_INTERP",
            elf::PT_NOTE => "PT_NOTE",
            elf::PT_PHDR => "PT_PHDR",
            elf::PT_TLS => "PT_TLS",
            elf::PT_GNU_EH_FRAME => "PT_GNU_EH_FRAME",
            elf::PT_GNU_STACK => "PT_GNU_STACK",
            elf::PT_GNU_RELRO => "PT_GNU_RELRO",
            elf::PT_GNU_PROPERTY => "PT_GNU_PROPERTY",
            elf::PT_GNU_SFRAME => "PT_GNU_SFRAME",
            other => return write!(f, "segment {} (type {:#x})", self.index, other.0),
        };
        write!(f, "segment {} ({name})", self.index)
    }
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "section {} ({})", self.index, self.name.escape_ascii())
    }
}

/// The string at `offset` of a table, if it ends within `bytes_max`.
pub(super) fn text(table: &[u8], offset: u64, bytes_max: usize) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(offset).ok()?..)?;
    let near = rest.get(..bytes_max).unwrap_or(rest);
    let end = near.iter().position(|byte| *byte == 0)?;
    near.get(..end)
}

pub(super) fn inconsistent(what: String) -> Refusal {
    Refusal::new(Code::HeadersInconsistent, what)
}

fn truncated(data: &[u8], end: u64) -> Refusal {
    let reason = format!("something ends at byte {end:#x} of a file of {:#x} bytes", data.len());
    Refusal::new(Code::FileTruncated, reason)
}

/// What every ELF file begins with, and what says how to read the rest.
fn check_class(data: &[u8]) -> Result<(), Refusal> {
    if !data.starts_with(&elf::ELFMAG) {
        let start = data.get(..4).unwrap_or(data);
        let reason =
            format!("it begins with \"{}\", an ELF file with \"\\x7fELF\"", start.escape_ascii());
        return Err(Refusal::new(Code::NotElf, reason));
    }
    let (Some(class), Some(encoding)) = (data.get(4), data.get(5)) else {
        return Err(truncated(data, 6));
    };
    let class = match (FileClass(*class), DataEncoding(*encoding)) {
        (elf::ELFCLASS64, elf::ELFDATA2LSB) => return Ok(()),
        (elf::ELFCLASS64, elf::ELFDATA2MSB) => "64-bit big-endian".to_owned(),
        (elf::ELFCLASS32, elf::ELFDATA2LSB) => "32-bit little-endian".to_owned(),
        (elf::ELFCLASS32, elf::ELFDATA2MSB) => "32-bit big-endian".to_owned(),
        (class, encoding) => format!("class {} with data encoding {}", class.0, encoding.0),
    };
    let reason = format!("the file is {class}, this host 64-bit little-endian");
    Err(Refusal::new(Code::WrongClass, reason))
}

/// As strict as the loader.
fn check_ident(ident: &Ident) -> Result<(), Refusal> {
    if ident.version != elf::EV_CURRENT {
        let version = ident.version.0;
        return Err(inconsistent(format!(
            "the ELF identification has version {version}, expected 1"
        )));
    }
    if !matches!(ident.os_abi, elf::ELFOSABI_NONE | elf::ELFOSABI_GNU) || ident.abi_version != 0 {
        let (abi, version) = (ident.os_abi.0, ident.abi_version);
        return Err(inconsistent(format!(
            "the OS ABI is {abi} version {version}, expected 0 or 3 version 0"
        )));
    }
    if ident.padding != [0; 7] {
        return Err(inconsistent("the ELF identification is not padded with zeros".into()));
    }
    Ok(())
}

/// The entry point is not looked at: dlopen never goes there, and linkers differ in what they write
/// for a library.
fn check_header(header: &FileHeader64<Little>) -> Result<(), Refusal> {
    let machine = header.e_machine(Little);
    if machine != HOST_MACHINE {
        let reason =
            format!("the file is for {}, this host is {}", Machine(machine), Machine(HOST_MACHINE));
        return Err(Refusal::new(Code::WrongMachine, reason));
    }
    let kind = match header.e_type(Little) {
        elf::ET_DYN => None,
        elf::ET_REL => Some("an object file".to_owned()),
        elf::ET_EXEC => Some("an executable".to_owned()),
        elf::ET_CORE => Some("a core dump".to_owned()),
        other => Some(format!("of the unknown type {}", other.0)),
    };
    if let Some(kind) = kind {
        let reason = format!("the file is {kind}, expected a shared library");
        return Err(Refusal::new(Code::WrongFileType, reason));
    }
    let expect =
        |what: &str, found: u32, expected: usize| match usize::try_from(found) == Ok(expected) {
            true => Ok(()),
            false => {
                Err(inconsistent(format!("the ELF header has {what} {found}, expected {expected}")))
            }
        };
    expect("version", header.e_version(Little), 1)?;
    expect("flags", header.e_flags(Little).0, 0)?;
    expect("its own size as", header.e_ehsize(Little).into(), size_of::<FileHeader64<Little>>())?;
    let segment = size_of::<ProgramHeader64<Little>>();
    expect("a program header's size as", header.e_phentsize(Little).into(), segment)?;
    let section = size_of::<SectionHeader64<Little>>();
    expect("a section header's size as", header.e_shentsize(Little).into(), section)
}

struct Machine(elf::Machine);

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            elf::EM_386 => "x86",
            elf::EM_X86_64 => "x86-64",
            elf::EM_ARM => "arm",
            elf::EM_AARCH64 => "aarch64",
            elf::EM_RISCV => "risc-v",
            elf::EM_PPC64 => "powerpc64",
            elf::EM_S390 => "s390",
            other => return write!(f, "machine {}", other.0),
        };
        f.write_str(name)
    }
}

fn segment_table(header: &FileHeader64<Little>) -> Result<(u64, u64), Refusal> {
    let count = header.e_phnum(Little);
    if count == 0 || count > SEGMENTS_MAX {
        return Err(inconsistent(format!("{count} program headers, expected 1 to {SEGMENTS_MAX}")));
    }
    let size = u64::from(count).saturating_mul(size_of::<ProgramHeader64<Little>>() as u64);
    Ok((header.e_phoff(Little), size))
}

fn read_sections<'data>(
    data: &'data [u8],
    header: &FileHeader64<Little>,
) -> Result<Vec<Section<'data>>, Refusal> {
    let (offset, count) = (header.e_shoff(Little), header.e_shnum(Little));
    if offset == 0 || count == 0 {
        let why = "they are the second description, with which the program headers are compared";
        return Err(inconsistent(format!("the section headers were stripped, but {why}")));
    }
    if count > SECTIONS_MAX {
        return Err(inconsistent(format!(
            "{count} section headers, expected at most {SECTIONS_MAX}"
        )));
    }
    let headers: &[SectionHeader64<Little>] =
        read_table(data, offset, count.into(), "section headers")?;
    let null = headers.first().is_some_and(|null| {
        let ranges = [null.sh_addr(Little), null.sh_offset(Little), null.sh_size(Little)];
        null.sh_type(Little) == elf::SHT_NULL && ranges == [0; 3]
    });
    if !null {
        return Err(inconsistent("section 0 is not empty".into()));
    }
    let index = header.e_shstrndx(Little).0;
    let names =
        headers.get(usize::from(index)).filter(|names| names.sh_type(Little) == elf::SHT_STRTAB);
    let Some(names) = names else {
        return Err(inconsistent(format!(
            "section {index} of {count} is to hold the sections' names, and is no string table"
        )));
    };
    let (offset, size) = (names.sh_offset(Little), names.sh_size(Little));
    let names = data
        .read_bytes_at(offset, size)
        .map_err(|()| truncated(data, offset.saturating_add(size)))?;
    let sections =
        headers.iter().enumerate().map(|(index, header)| Section::read(data, index, header, names));
    sections.collect()
}

fn read_header(data: &[u8]) -> Result<&FileHeader64<Little>, Refusal> {
    let expected = size_of::<FileHeader64<Little>>();
    if data.len() < expected {
        let reason = format!("the file ends after {} bytes, its header has {expected}", data.len());
        return Err(Refusal::new(Code::FileTruncated, reason));
    }
    data.read_at(0).map_err(|()| inconsistent("the ELF header is not aligned in memory".into()))
}

fn read_table<'data, T: Pod>(
    data: &'data [u8],
    offset: u64,
    count: u64,
    what: &str,
) -> Result<&'data [T], Refusal> {
    let size = data.len() as u64;
    let end = count.checked_mul(size_of::<T>() as u64).and_then(|bytes| offset.checked_add(bytes));
    let Some(end) = end.filter(|end| *end <= size) else {
        let reason =
            format!("{count} {what} from byte {offset:#x} go beyond a file of {size:#x} bytes");
        return Err(Refusal::new(Code::FileTruncated, reason));
    };
    let count = usize::try_from(count).ok();
    let table = count.and_then(|count| data.read_slice_at(offset, count).ok());
    table.ok_or_else(|| {
        inconsistent(format!("the {what} at bytes {offset:#x}..{end:#x} are not aligned"))
    })
}
