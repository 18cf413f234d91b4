//! The segments against the sections: nothing that the loader or the unwinder reads may stand
//! alone.
//!
//! The loader believes each program header by itself. A damaged one that is still plausible maps
//! the right bytes to the wrong place, protects memory that is written to, or hides the unwind
//! tables from the first panic. The linker derived all of them from the sections, so each field
//! that is used at run time is derived here again and compared. Fields that nothing reads differ
//! between linkers (the alignment of PT_GNU_STACK, the flags of PT_GNU_RELRO) and are left alone.

use super::headers::{Elf, Range, Section, Segment, inconsistent};
use crate::refusal::{Code, Refusal};
use object::elf::{self, ProgramFlags, ProgramType};

/// The smallest page of the machines that we run on. The loader itself refuses alignments below the
/// real one.
const PAGE_BYTES: u64 = 4096;
/// Far above what a linker asks for; what is above is refused before the loader reserves address
/// space for it.
const ALIGN_MAX: u64 = 1 << 30;
/// Some hundred times what a plugin with a runtime of its own has. Buffers belong on the heap.
const TLS_BYTES_MAX: u64 = 16 << 20;
const TLS_ALIGN_MAX: u64 = 64 << 10;

/// Refuses a file whose program headers are not those that a linker makes of its sections.
pub(super) fn check(elf: &Elf<'_>) -> Result<(), Refusal> {
    check_types(elf)?;
    check_loads(elf)?;
    check_dynamic(elf)?;
    check_same(elf, elf::PT_GNU_EH_FRAME, ".eh_frame_hdr", Missing::Refused)?;
    check_same(elf, elf::PT_GNU_PROPERTY, ".note.gnu.property", Missing::Allowed)?;
    check_same(elf, elf::PT_GNU_SFRAME, ".sframe", Missing::Allowed)?;
    check_tls(elf)?;
    check_relro(elf)?;
    check_notes(elf)?;
    check_table(elf)?;
    check_stack(elf)
}

/// Refuses a library in which no panic could be caught: it would abort the process instead.
pub(super) fn check_unwinds(elf: &Elf<'_>) -> Result<(), Refusal> {
    match elf.section(".eh_frame_hdr") {
        Some(_) => Ok(()),
        None => Err(inconsistent(
            "there is no .eh_frame_hdr: the first panic would end the process".into(),
        )),
    }
}

const MANY: [ProgramType; 3] = [elf::PT_NULL, elf::PT_LOAD, elf::PT_NOTE];
const ONCE: [ProgramType; 8] = [
    elf::PT_DYNAMIC,
    elf::PT_PHDR,
    elf::PT_TLS,
    elf::PT_GNU_EH_FRAME,
    elf::PT_GNU_STACK,
    elf::PT_GNU_RELRO,
    elf::PT_GNU_PROPERTY,
    elf::PT_GNU_SFRAME,
];

fn check_types(elf: &Elf<'_>) -> Result<(), Refusal> {
    for (index, segment) in elf.segments.iter().enumerate() {
        if segment.kind == elf::PT_INTERP && elf.section(".interp").is_some() {
            let reason =
                "the file names an interpreter, as a program does, expected a shared library";
            return Err(Refusal::new(Code::WrongFileType, reason));
        }
        if !MANY.contains(&segment.kind) && !ONCE.contains(&segment.kind) {
            return Err(inconsistent(format!("{segment} is of no type that a library has")));
        }
        let mut before = elf.segments.iter().take(index);
        if ONCE.contains(&segment.kind)
            && let Some(other) = before.find(|other| other.kind == segment.kind)
        {
            return Err(inconsistent(format!("{other} and {segment} are of the same type")));
        }
        if segment.align != 0 && !segment.align.is_power_of_two() {
            let align = segment.align;
            return Err(inconsistent(format!(
                "{segment} has the alignment {align:#x}, no power of two"
            )));
        }
        let known = elf::PF_R | elf::PF_W | elf::PF_X;
        if !segment.flags.contains(elf::PF_R) || segment.flags | known != known {
            let flags = segment.flags.0;
            return Err(inconsistent(format!(
                "{segment} has the flags {flags:#x}, expected 4 (read) to 7"
            )));
        }
        if segment.range.in_file > segment.range.in_memory {
            let range = segment.range;
            return Err(inconsistent(format!(
                "{segment} has more bytes in the file than in memory: {range}"
            )));
        }
    }
    Ok(())
}

/// What the sections inside one PT_LOAD add up to.
struct Contents {
    start: u64,
    file_end: u64,
    end: u64,
    flags: ProgramFlags,
    /// There is a section of zeros among them.
    has_zeros: bool,
}

fn check_loads(elf: &Elf<'_>) -> Result<(), Refusal> {
    let mut previous: Option<&Segment> = None;
    for load in elf.loads() {
        if !(PAGE_BYTES..=ALIGN_MAX).contains(&load.align) {
            let align = load.align;
            return Err(inconsistent(format!(
                "{load} has the alignment {align:#x}, expected one of pages"
            )));
        }
        let Range { offset, address, .. } = load.range;
        if !address.wrapping_sub(offset).is_multiple_of(PAGE_BYTES) {
            let reason = format!(
                "{load} puts byte {offset:#x} at {address:#x}, which no mapping of pages can"
            );
            return Err(inconsistent(reason));
        }
        if let Some(previous) = previous
            && page_up(previous.range.end()) > page_down(address)
        {
            let end = previous.range.end();
            let reason = format!(
                "{previous} ends at {end:#x} and {load} starts at {address:#x}: they share a page"
            );
            return Err(inconsistent(reason));
        }
        previous = Some(load);
    }
    let all: Vec<_> =
        elf.loads().map(|load| Ok((load, contents(elf, load)?))).collect::<Result<_, Refusal>>()?;
    // Tools that edit a finished library append segments of their own.
    let linked =
        all.iter().rposition(|(_, contents)| contents.has_zeros).map_or(0, |last| last + 1);
    for (index, (load, contents)) in all.iter().enumerate() {
        check_contents(load, contents, index >= linked)?;
    }
    for section in elf.sections.iter().filter(|section| is_mapped(section)) {
        if !elf.loads().any(|load| touches(load, section)) {
            return Err(inconsistent(format!(
                "{section} is part of the library, but of no PT_LOAD"
            )));
        }
    }
    Ok(())
}

fn is_mapped(section: &Section<'_>) -> bool {
    section.is_allocated() && !section.is_thread_zeros() && section.range.in_memory != 0
}

fn touches(load: &Segment, section: &Section<'_>) -> bool {
    section.range.address < load.range.end() && load.range.address < section.range.end()
}

fn contents(elf: &Elf<'_>, load: &Segment) -> Result<Contents, Refusal> {
    let mut contents =
        Contents { start: u64::MAX, file_end: 0, end: 0, flags: elf::PF_R, has_zeros: false };
    for section in
        elf.sections.iter().filter(|section| is_mapped(section) && touches(load, section))
    {
        let range = section.range;
        let moved = range.address.wrapping_sub(range.offset)
            != load.range.address.wrapping_sub(load.range.offset);
        if range.in_file != 0 && moved {
            return Err(inconsistent(format!(
                "{section} is {range}, but {load} is {}",
                load.range
            )));
        }
        contents.start = contents.start.min(range.address);
        contents.end = contents.end.max(range.end());
        if range.in_file != 0 {
            contents.file_end = contents.file_end.max(range.file_end());
        }
        contents.has_zeros |= section.kind == elf::SHT_NOBITS;
        if section.flags.contains(elf::SHF_WRITE) {
            contents.flags |= elf::PF_W;
        }
        if section.flags.contains(elf::SHF_EXECINSTR) {
            contents.flags |= elf::PF_X;
        }
    }
    // A section without bytes can be the last one, with room for alignment before it.
    let inside = load.range.address..=load.range.end();
    let empty = |section: &&Section<'_>| section.is_allocated() && section.range.in_memory == 0;
    for section in
        elf.sections.iter().filter(empty).filter(|section| inside.contains(&section.range.address))
    {
        contents.end = contents.end.max(section.range.address);
        if section.kind != elf::SHT_NOBITS && section.range.offset <= load.range.file_end() {
            contents.file_end = contents.file_end.max(section.range.offset);
        }
    }
    Ok(contents)
}

/// `appended` ones come after all that the linker made. A tool such as patchelf makes them
/// writable, and moves sections on to the next one when it edits again: what they hold besides is
/// read by nobody.
fn check_contents(load: &Segment, contents: &Contents, appended: bool) -> Result<(), Refusal> {
    let is_whole = load.range.in_file == load.range.in_memory;
    let has_room = appended && is_whole && !load.flags.contains(elf::PF_X);
    let address = load.range.address;
    if address > contents.start {
        let start = contents.start;
        return Err(inconsistent(format!(
            "{load} starts at {address:#x}, its first section at {start:#x}"
        )));
    }
    let end = (load.range.end(), contents.end);
    if end.0 != end.1 && !(has_room && end.0 > end.1) {
        return Err(inconsistent(format!(
            "{load} ends at {:#x}, its last section at {:#x}",
            end.0, end.1
        )));
    }
    let file_end = (load.range.file_end(), contents.file_end);
    let rest_is_room = has_room && file_end.0 > file_end.1;
    if file_end.0 != file_end.1
        && !rest_is_room
        && (load.range.in_file, contents.file_end) != (0, 0)
    {
        let (found, expected) = file_end;
        let reason = format!(
            "{load} ends at byte {found:#x}, its last section in the file at {expected:#x}"
        );
        return Err(inconsistent(reason));
    }
    if load.flags != contents.flags && !(has_room && load.flags == contents.flags | elf::PF_W) {
        let (found, expected) = (load.flags.0, contents.flags.0);
        return Err(inconsistent(format!(
            "{load} has the flags {found:#x}, its sections {expected:#x}"
        )));
    }
    if load.flags.contains(elf::PF_W) && load.flags.contains(elf::PF_X) {
        return Err(inconsistent(format!("{load} is writable and executable")));
    }
    Ok(())
}

fn check_dynamic(elf: &Elf<'_>) -> Result<(), Refusal> {
    let Some(section) = elf.sections.iter().find(|section| section.kind == elf::SHT_DYNAMIC) else {
        return Err(inconsistent("the file has no dynamic section".into()));
    };
    let Some(segment) = only(elf, elf::PT_DYNAMIC) else {
        return Err(inconsistent(format!("{section} has no PT_DYNAMIC")));
    };
    let writable = section.flags.contains(elf::SHF_WRITE);
    let flags = if writable { elf::PF_R | elf::PF_W } else { elf::PF_R };
    if segment.flags != flags {
        let (found, expected) = (segment.flags.0, flags.0);
        return Err(inconsistent(format!(
            "{segment} has the flags {found:#x}, {section} {expected:#x}"
        )));
    }
    compare(segment, section)
}

enum Missing {
    Allowed,
    Refused,
}

/// The segment of this type is the section of this name.
fn check_same(
    elf: &Elf<'_>,
    kind: ProgramType,
    name: &str,
    missing: Missing,
) -> Result<(), Refusal> {
    match (only(elf, kind), elf.section(name), missing) {
        (None, None, _) | (None, Some(_), Missing::Allowed) => Ok(()),
        (None, Some(section), Missing::Refused) => {
            Err(inconsistent(format!("{section} has no program header of its own")))
        }
        (Some(segment), None, _) => Err(inconsistent(format!("{segment} has no section {name}"))),
        (Some(segment), Some(section), _) => compare(segment, section),
    }
}

fn compare(segment: &Segment, section: &Section<'_>) -> Result<(), Refusal> {
    let (found, expected) = (segment.range, section.range);
    match found == expected {
        true => Ok(()),
        false => Err(inconsistent(format!("{segment} is {found}, {section} is {expected}"))),
    }
}

fn check_tls(elf: &Elf<'_>) -> Result<(), Refusal> {
    let sections: Vec<_> = elf.sections.iter().filter(|section| section.is_tls()).collect();
    let Some(first) =
        sections.iter().min_by_key(|section| (section.range.address, section.range.end()))
    else {
        return match only(elf, elf::PT_TLS) {
            Some(segment) => {
                Err(inconsistent(format!("{segment} has no section of thread-local data")))
            }
            None => Ok(()),
        };
    };
    let Some(segment) = only(elf, elf::PT_TLS) else {
        return Err(inconsistent(format!("{first} has no PT_TLS")));
    };
    let data = sections.iter().filter(|section| section.kind != elf::SHT_NOBITS);
    let start = first.range.address;
    let end = sections.iter().map(|section| section.range.end()).max().unwrap_or(start);
    let data_end = data.map(|section| section.range.end()).max().unwrap_or(start);
    let align = sections.iter().map(|section| section.align).max().unwrap_or(1);
    let expected = Range {
        // A linker may leave zeros no place in the file.
        offset: if first.kind == elf::SHT_NOBITS {
            segment.range.offset
        } else {
            first.range.offset
        },
        address: start,
        in_file: data_end.saturating_sub(start),
        in_memory: end.saturating_sub(start),
    };
    // Some linkers round the size up, which no single bit does.
    let rounded = Range {
        in_memory: expected.in_memory.checked_next_multiple_of(align.max(1)).unwrap_or(u64::MAX),
        ..expected
    };
    if segment.range != expected && segment.range != rounded {
        let found = segment.range;
        return Err(inconsistent(format!("{segment} is {found}, its sections are {expected}")));
    }
    if segment.align != align {
        let found = segment.align;
        return Err(inconsistent(format!(
            "{segment} has the alignment {found}, its sections {align}"
        )));
    }
    check_thread(segment)
}

/// Each thread that enters the plugin gets a block of its own, which is reserved, zeroed and freed
/// again.
fn check_thread(segment: &Segment) -> Result<(), Refusal> {
    let (bytes, align) = (segment.range.in_memory, segment.align);
    if bytes > TLS_BYTES_MAX {
        let reason = format!(
            "{bytes} bytes of thread-locals for each thread, at most {TLS_BYTES_MAX} are taken"
        );
        return Err(Refusal::new(Code::TlsTooLarge, reason));
    }
    if align > TLS_ALIGN_MAX {
        let reason = format!(
            "its thread-locals are aligned to {align} bytes, at most {TLS_ALIGN_MAX} are taken"
        );
        return Err(Refusal::new(Code::TlsTooLarge, reason));
    }
    Ok(())
}

/// Sections that are only written to while the library is relocated.
fn is_relro(section: &Section<'_>) -> bool {
    const NAMES: [&[u8]; 12] = [
        b".dynamic",
        b".got",
        b".got.plt",
        b".init_array",
        b".fini_array",
        b".preinit_array",
        b".ctors",
        b".dtors",
        b".jcr",
        b".eh_frame",
        b".gcc_except_table",
        b".relro_padding",
    ];
    let name = section.name;
    section.is_tls()
        || NAMES.contains(&name)
        || name.starts_with(b".data.rel.ro")
        || name.starts_with(b".bss.rel.ro")
}

/// The pages that become read-only hold nothing that is written to later.
fn check_relro(elf: &Elf<'_>) -> Result<(), Refusal> {
    let Some(segment) = only(elf, elf::PT_GNU_RELRO) else {
        return match elf.section(".relro_padding") {
            Some(section) => Err(inconsistent(format!("{section} has no PT_GNU_RELRO"))),
            None => Ok(()),
        };
    };
    let (address, end) = (segment.range.address, segment.range.end());
    let around = |load: &Segment| {
        page_down(load.range.address) <= address && end <= page_up(load.range.end())
    };
    if !elf.loads().any(|load| around(load) && load.flags.contains(elf::PF_W)) {
        return Err(inconsistent(format!(
            "{segment} is {}, which is inside no writable PT_LOAD",
            segment.range
        )));
    }
    // The loader protects whole pages: from the one that the range starts in, without the one that
    // it ends in.
    let protected = page_down(address)..page_down(end);
    for section in elf.sections.iter().filter(|section| is_mapped(section) && !is_relro(section)) {
        let start = section.range.address;
        if start < protected.end && protected.start < section.range.end() {
            let reason = format!(
                "{segment} makes memory read-only up to {end:#x}, but {section} at {start:#x} is data"
            );
            return Err(inconsistent(reason));
        }
    }
    Ok(())
}

/// Each PT_NOTE is a run of note sections, and each note section is in one.
fn check_notes(elf: &Elf<'_>) -> Result<(), Refusal> {
    let notes =
        || elf.sections.iter().filter(|section| section.is_note() && section.range.in_memory != 0);
    let segments = || elf.segments.iter().filter(|segment| segment.kind == elf::PT_NOTE);
    let within = |segment: &Segment, section: &Section<'_>| {
        segment.range.address <= section.range.address && section.range.end() <= segment.range.end()
    };
    for segment in segments() {
        let inside = || notes().filter(|section| within(segment, section));
        let first = inside().min_by_key(|section| section.range.address);
        let last = inside().max_by_key(|section| section.range.end());
        let expected = first.zip(last).map(|(first, last)| Range {
            in_file: last.range.file_end().saturating_sub(first.range.offset),
            in_memory: last.range.end().saturating_sub(first.range.address),
            ..first.range
        });
        if expected != Some(segment.range) {
            return Err(inconsistent(format!(
                "{segment} is {}, which is no run of notes",
                segment.range
            )));
        }
        if !matches!(segment.align, 4 | 8) {
            let found = segment.align;
            return Err(inconsistent(format!(
                "{segment} has the alignment {found}, expected 4 or 8"
            )));
        }
    }
    match notes().find(|section| !segments().any(|segment| within(segment, section))) {
        Some(section) => Err(inconsistent(format!("{section} is in no PT_NOTE"))),
        None => Ok(()),
    }
}

/// Where a PT_PHDR says that the program headers are.
fn check_table(elf: &Elf<'_>) -> Result<(), Refusal> {
    let Some(segment) = only(elf, elf::PT_PHDR) else {
        return Ok(());
    };
    let (offset, size) = elf.table;
    let mapped = elf.in_file(segment.range.address, segment.range.in_memory);
    let range = (segment.range.in_file, segment.range.in_memory);
    let there = mapped.is_some_and(|(_, mapped)| mapped == offset);
    if !there || segment.range.offset != offset || range != (size, size) {
        let found = segment.range;
        let reason =
            format!("{segment} is {found}, the ELF header has {size:#x} bytes from {offset:#x}");
        return Err(inconsistent(reason));
    }
    Ok(())
}

/// Without the header, or with its X, the loader would make every stack of the process executable.
fn check_stack(elf: &Elf<'_>) -> Result<(), Refusal> {
    let Some(segment) = only(elf, elf::PT_GNU_STACK) else {
        return Err(inconsistent(
            "there is no PT_GNU_STACK: stacks would become executable".into(),
        ));
    };
    if segment.flags.contains(elf::PF_X) {
        let reason = format!("{segment} asks for executable stacks, in all threads of the process");
        return Err(Refusal::new(Code::StackExecutable, reason));
    }
    if segment.flags != elf::PF_R | elf::PF_W {
        let found = segment.flags.0;
        return Err(inconsistent(format!(
            "{segment} has the flags {found:#x}, expected 0x6 (read, write)"
        )));
    }
    let Range { offset, address, in_file, .. } = segment.range;
    match (offset, address, in_file) {
        (0, 0, 0) => Ok(()),
        _ => Err(inconsistent(format!("{segment} is {}, expected no range", segment.range))),
    }
}

fn only<'elf>(elf: &'elf Elf<'_>, kind: ProgramType) -> Option<&'elf Segment> {
    elf.segments.iter().find(|segment| segment.kind == kind)
}

fn page_down(address: u64) -> u64 {
    address & !(PAGE_BYTES - 1)
}

fn page_up(address: u64) -> u64 {
    page_down(address.saturating_add(PAGE_BYTES - 1))
}
