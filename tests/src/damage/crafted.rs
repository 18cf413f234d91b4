//! Crafted libraries: each field that the loader, the unwinder or the host reads, with values that
//! somebody could have put there.
//!
//! A flipped bit is one wrong value of billions. A linker with a fault, a tool that edits
//! libraries, or somebody who means harm puts others there: zero, one more, one less, a page away,
//! the address of another segment, a huge number, a negative one. And where two fields have to
//! agree, both.

use super::cases::Case;
use super::places::Places;
use object::read::elf::{ElfFile64, FileHeader};
use object::{LittleEndian, Object, ObjectSection};
use std::collections::BTreeMap;

/// The tags of dynamic entries that a loader knows.
const TAGS: [u64; 24] = [
    0x6fff_fef5,
    0x6fff_fef6,
    0x6fff_fef7,
    0x6fff_fef9,
    0x6fff_fefa,
    0x6fff_fefb,
    0x6fff_fefc,
    0x6fff_fefe,
    0x6fff_fff0,
    0x6fff_fff9,
    0x6fff_fffa,
    0x6fff_fffb,
    0x6fff_fffc,
    0x6fff_fffd,
    0x6fff_fffe,
    0x6fff_ffff,
    0x6fff_fdf5,
    0x6fff_fdf8,
    0x7000_0000,
    0x7000_0001,
    0x7fff_fffd,
    0x7fff_ffff,
    1 << 63,
    u64::MAX,
];
const DT_NAMES_MAX: u64 = 40;
/// Where a section header has the address.
const SECTION_ADDRESS: usize = 16;
/// Where a section header has the size.
const SECTION_SIZE: usize = 32;
/// What a needed library may be called.
const NEEDED: [&str; 10] = [
    "",
    ".",
    "/tmp",
    "/dev/zero",
    "./x.so",
    "$ORIGIN/x",
    "$LIB",
    "nope.so.9",
    "a\n\x1b[31mb",
    "libm.so.6",
];
/// Lines of the note, and what they may say instead.
const LINES: [(&str, &[&str]); 8] = [
    ("name", &["", ".", "..", "../x", "/etc", "a b", "\x1b[2J", "a\0b", "other"]),
    ("version", &["", "1", "1.0", "-1.0.0", "01.0.0", "1.0.0-a/b", "9.9.9"]),
    ("group", &["/", "..", "a b", "other"]),
    ("panic", &["", "abort", "never"]),
    ("optimisation", &["", "9", "x"]),
    ("target", &["", "x", "\x1b"]),
    ("preflight_start", &["yes", "true"]),
    ("rustc", &["", "\x1b[2J", "x"]),
];

/// What is done to a library.
#[derive(Debug, Clone)]
pub struct Craft {
    label: String,
    edits: Vec<(usize, Vec<u8>)>,
    /// It has so many bytes in the end.
    length: Option<usize>,
}

impl Craft {
    /// What is done.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The crafted library.
    pub fn bytes(&self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for (at, value) in &self.edits {
            bytes[*at..at + value.len()].copy_from_slice(value);
        }
        if let Some(length) = self.length {
            bytes.resize(length, 0);
        }
        bytes
    }

    /// The same with its place.
    pub fn case(&self, sound: &[u8], places: &Places) -> Case {
        Case::of(self.label.clone(), sound, self.bytes(sound), places)
    }
}

/// All of them. Those that would change nothing are left out.
pub fn all(sound: &[u8]) -> Vec<Craft> {
    let mut sheet = Sheet::of(sound);
    sheet.headers();
    sheet.section_headers();
    sheet.dynamic();
    sheet.symbols();
    sheet.tables();
    sheet.relocations();
    sheet.entry();
    sheet.note();
    sheet.pairs();
    sheet.lengths();
    let differs = |craft: &Craft| {
        craft.length.is_some()
            || craft.edits.iter().any(|(at, value)| sound[*at..at + value.len()] != value[..])
    };
    sheet.all.into_iter().filter(differs).collect()
}

fn word(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Where a section is.
#[derive(Debug, Clone, Copy)]
struct Part {
    header: usize,
    offset: usize,
    address: u64,
    size: usize,
}

struct Sheet<'a> {
    sound: &'a [u8],
    parts: BTreeMap<String, Part>,
    segments: Vec<usize>,
    /// An address in each kind of memory.
    addresses: Vec<u64>,
    all: Vec<Craft>,
}

impl<'a> Sheet<'a> {
    fn of(sound: &'a [u8]) -> Sheet<'a> {
        let file = ElfFile64::<LittleEndian>::parse(sound).expect("a sound library");
        let header = file.elf_header();
        let (segments, sections) =
            (header.e_phoff(LittleEndian) as usize, header.e_shoff(LittleEndian) as usize);
        let count = usize::from(header.e_phnum(LittleEndian));
        let part = |section: object::read::elf::ElfSection64<'_, '_, LittleEndian>| {
            let (offset, size) = section.file_range().unwrap_or((0, 0));
            let part = Part {
                header: sections + 64 * section.index().0,
                offset: offset as usize,
                address: section.address(),
                size: size as usize,
            };
            (section.name().expect("a name").to_owned(), part)
        };
        let parts: BTreeMap<_, _> = file.sections().map(part).collect();
        let kinds = [
            ".text",
            ".rodata",
            ".data.rel.ro",
            ".dynamic",
            ".got",
            ".data",
            ".bss",
            ".dynsym",
            ".fini",
        ];
        let addresses = kinds
            .iter()
            .filter_map(|name| parts.get(*name))
            .map(|part| part.address + 16)
            .collect();
        let segments = (0..count).map(|index| segments + 56 * index).collect();
        Sheet { sound, parts, segments, addresses, all: Vec::new() }
    }

    fn part(&self, name: &str) -> Option<Part> {
        self.parts.get(name).copied().filter(|part| part.size != 0)
    }

    fn number(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.sound[at..at + width]);
        u64::from_le_bytes(bytes)
    }

    fn craft(&mut self, label: String, edits: Vec<(usize, Vec<u8>)>) {
        self.all.push(Craft { label, edits, length: None });
    }

    fn set(&mut self, what: &str, at: usize, width: usize, values: &[u64]) {
        for value in values {
            let bytes = value.to_le_bytes()[..width].to_vec();
            self.craft(format!("{what} = {value:#x}"), vec![(at, bytes)]);
        }
    }

    /// All values that may mean something.
    fn vary(&mut self, what: &str, at: usize, width: usize) {
        let old = self.number(at, width);
        let mut values = vec![0, 1, old.wrapping_sub(1), old.wrapping_add(1), old.wrapping_add(8)];
        values.extend([
            old.wrapping_sub(8),
            old ^ 0x1000,
            old.wrapping_add(0x1000),
            old.wrapping_mul(2),
        ]);
        match width {
            8 => {
                values.extend([0x7fff_ffff, 1 << 40, 1 << 47, 1 << 63, u64::MAX, u64::MAX - 0xfff]);
                values.extend(&self.addresses);
            }
            4 => values.extend([0x7fff_ffff, 1 << 31, 0xffff_ffff, old.wrapping_add(24)]),
            _ => values.extend([2, 3, 10, 0x7fff, 0xff00, 0xfff1, 0xfff2, 0xffff]),
        }
        values.sort_unstable();
        values.dedup();
        self.set(what, at, width, &values);
    }

    fn headers(&mut self) {
        for at in 4..16 {
            self.vary(&format!("e_ident[{at}]"), at, 1);
        }
        for (name, at, width) in [
            ("e_type", 16, 2),
            ("e_machine", 18, 2),
            ("e_version", 20, 4),
            ("e_entry", 24, 8),
            ("e_phoff", 32, 8),
            ("e_shoff", 40, 8),
            ("e_flags", 48, 4),
            ("e_ehsize", 52, 2),
            ("e_phentsize", 54, 2),
            ("e_phnum", 56, 2),
            ("e_shentsize", 58, 2),
            ("e_shnum", 60, 2),
            ("e_shstrndx", 62, 2),
        ] {
            self.vary(name, at, width);
        }
        const FIELDS: [(&str, usize, usize); 8] = [
            ("p_type", 0, 4),
            ("p_flags", 4, 4),
            ("p_offset", 8, 8),
            ("p_vaddr", 16, 8),
            ("p_paddr", 24, 8),
            ("p_filesz", 32, 8),
            ("p_memsz", 40, 8),
            ("p_align", 48, 8),
        ];
        for (index, at) in self.segments.clone().into_iter().enumerate() {
            for (name, field, width) in FIELDS {
                self.vary(&format!("{name} of segment {index}"), at + field, width);
            }
            self.set(&format!("p_flags of segment {index}"), at + 4, 4, &[2, 3, 4, 5, 6, 7]);
            self.set(
                &format!("p_type of segment {index}"),
                at,
                4,
                &[2, 3, 4, 5, 6, 7, 0x6474_e551, 0x6474_e552],
            );
        }
        for pair in self.segments.clone().windows(2) {
            let header = |at: usize| self.sound[at..at + 56].to_vec();
            let edits = vec![(pair[0], header(pair[1])), (pair[1], header(pair[0]))];
            self.craft(
                format!("the program headers at {} and {} in the other order", pair[0], pair[1]),
                edits,
            );
        }
    }

    fn section_headers(&mut self) {
        const FIELDS: [(&str, usize, usize); 10] = [
            ("sh_name", 0, 4),
            ("sh_type", 4, 4),
            ("sh_flags", 8, 8),
            ("sh_addr", 16, 8),
            ("sh_offset", 24, 8),
            ("sh_size", 32, 8),
            ("sh_link", 40, 4),
            ("sh_info", 44, 4),
            ("sh_addralign", 48, 8),
            ("sh_entsize", 56, 8),
        ];
        for (name, part) in self.parts.clone() {
            for (field, at, width) in FIELDS {
                self.vary(&format!("{field} of {name}"), part.header + at, width);
            }
        }
    }

    fn dynamic(&mut self) {
        let part = self.part(".dynamic").expect("a dynamic section");
        for index in 0..part.size / 16 {
            let at = part.offset + 16 * index;
            let name = format!("entry {index} (tag {:#x}) of .dynamic", self.number(at, 8));
            self.vary(&name, at + 8, 8);
            let tags: Vec<_> = (0..DT_NAMES_MAX).chain(TAGS).collect();
            self.set(&format!("the tag of {name}"), at, 8, &tags);
        }
        let names = self.part(".dynstr").expect("names");
        let table = &self.sound[names.offset..names.offset + names.size];
        const OLD: &[u8] = b"\0libgcc_s.so.1\0";
        if let Some(at) = table.windows(OLD.len()).position(|name| name == OLD) {
            for name in NEEDED {
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(OLD.len() - 2, 0);
                self.craft(format!("needs {name:?}"), vec![(names.offset + at + 1, bytes)]);
            }
        }
    }

    fn symbols(&mut self) {
        let part = self.part(".dynsym").expect("symbols");
        let count = part.size / 24;
        for index in [0, 1, 4, count / 2, count - 3, count - 2, count - 1] {
            let at = part.offset + 24 * index;
            for (name, field, width) in [
                ("st_name", 0, 4),
                ("st_info", 4, 1),
                ("st_other", 5, 1),
                ("st_shndx", 6, 2),
                ("st_value", 8, 8),
                ("st_size", 16, 8),
            ] {
                self.vary(&format!("{name} of symbol {index}"), at + field, width);
            }
            let kinds: Vec<_> = (0..=255).step_by(3).collect();
            self.set(&format!("st_info of symbol {index}"), at + 4, 1, &kinds);
        }
    }

    /// Hashes and versions, word by word.
    fn tables(&mut self) {
        for (name, width) in
            [(".gnu.hash", 4), (".hash", 4), (".gnu.version_r", 4), (".gnu.version", 2)]
        {
            let Some(part) = self.part(name) else { continue };
            for at in (0..part.size).step_by(width) {
                self.vary(&format!("{name}+{at:#x}"), part.offset + at, width);
            }
        }
        for name in [".init_array", ".fini_array", ".got.plt"] {
            let Some(part) = self.part(name) else { continue };
            for at in (0..part.size).step_by(8) {
                self.vary(&format!("{name}+{at:#x}"), part.offset + at, 8);
            }
        }
    }

    fn relocations(&mut self) {
        for name in [".rela.dyn", ".rela.plt"] {
            let Some(part) = self.part(name) else { continue };
            let count = part.size / 24;
            let relative = (0..count)
                .take_while(|index| self.number(part.offset + 24 * index + 8, 4) == 8)
                .count();
            let mut chosen = vec![
                0,
                1,
                relative / 2,
                relative.saturating_sub(1),
                relative,
                count - 2,
                count - 1,
            ];
            chosen.retain(|index| *index < count);
            chosen.sort_unstable();
            chosen.dedup();
            for index in chosen {
                let at = part.offset + 24 * index;
                self.vary(&format!("r_offset of {index} of {name}"), at, 8);
                self.vary(&format!("the symbol of {index} of {name}"), at + 12, 4);
                self.vary(&format!("r_addend of {index} of {name}"), at + 16, 8);
                let types: Vec<_> = (0..=42).chain([255, 1025, 1026, 1027, 0xffff_ffff]).collect();
                self.set(&format!("the type of {index} of {name}"), at + 8, 4, &types);
            }
        }
    }

    /// The words of the entry and of the place.
    fn entry(&mut self) {
        let file = ElfFile64::<LittleEndian>::parse(self.sound).expect("a sound library");
        use object::ObjectSymbol;
        let found: Vec<_> = file
            .dynamic_symbols()
            .filter_map(|symbol| {
                Some((symbol.name().ok()?.to_owned(), symbol.address(), symbol.size()))
            })
            .filter(|(name, ..)| name.starts_with("midflight_"))
            .collect();
        for (name, address, size) in found {
            let holds = |part: &&Part| {
                part.size != 0 && (part.address..part.address + part.size as u64).contains(&address)
            };
            let Some(part) =
                self.parts.values().filter(|part| part.address != 0).find(holds).copied()
            else {
                continue;
            };
            let offset = part.offset + (address - part.address) as usize;
            for at in (0..size as usize).step_by(8) {
                self.vary(&format!("{name}+{at:#x}"), offset + at, 8);
            }
        }
    }

    fn note(&mut self) {
        let part = self.part(".note.midflight").expect("a note");
        for at in [0, 4, 8] {
            self.vary(&format!(".note.midflight+{at}"), part.offset + at, 4);
        }
        let start = part.offset + 24;
        let text = self.sound[start..part.offset + part.size].to_vec();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for (key, values) in LINES {
            let begin = format!("{key}=");
            for value in values {
                let changed = lines.iter().map(|line| match line.starts_with(begin.as_bytes()) {
                    true => format!("{begin}{value}").into_bytes(),
                    false => line.clone(),
                });
                let mut changed = changed.collect::<Vec<_>>().join(&b'\n');
                // The note's end is line breaks: room for what is longer.
                changed.resize(text.len(), b'\n');
                self.craft(format!("the note says {key}={value:?}"), vec![(start, changed)]);
            }
        }
    }

    /// Fields of two descriptions that agree with each other.
    fn pairs(&mut self) {
        self.zeros();
        self.alignments();
        self.agreeing();
    }

    /// The first program header of this kind that is wanted.
    fn segment(&self, kind: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        self.segments
            .iter()
            .copied()
            .filter(|at| self.number(*at, 4) == kind)
            .find(|at| wanted(*at))
    }

    /// Zeros that go on behind their end, in the section and in its segment.
    fn zeros(&mut self) {
        const GROWTH: [u64; 10] =
            [1, 4096, 1 << 20, 1 << 30, 1 << 34, 1 << 36, 1 << 40, 1 << 46, 1 << 62, 1 << 63];
        for (section, kind) in [(".bss", 1), (".tbss", 7)] {
            let Some(part) = self.parts.get(section).copied() else { continue };
            let size = self.number(part.header + SECTION_SIZE, 8);
            let end = part.address.wrapping_add(size);
            let ends_there =
                |at: usize| self.number(at + 16, 8).wrapping_add(self.number(at + 40, 8)) == end;
            let Some(at) = self.segment(kind, ends_there) else { continue };
            for more in GROWTH {
                let memory = self.number(at + 40, 8).wrapping_add(more);
                let edits = vec![
                    (part.header + SECTION_SIZE, word(size.wrapping_add(more))),
                    (at + 40, word(memory)),
                ];
                self.craft(format!("{section} is {more:#x} bytes more"), edits);
            }
        }
    }

    /// The alignment of thread-locals, in their first section and in their segment.
    fn alignments(&mut self) {
        let (part, at) = (self.parts.get(".tdata").copied(), self.segment(7, |_| true));
        let (Some(part), Some(at)) = (part, at) else { return };
        for align in [0, 1, 16, 64, 4096, 1 << 16, 1 << 20, 1 << 30, 1 << 40, 1 << 63] {
            let edits = vec![(part.header + 48, word(align)), (at + 48, word(align))];
            self.craft(format!("thread-locals are aligned to {align:#x}"), edits);
        }
    }

    /// A section's header, and the dynamic entry that says the same.
    fn agreeing(&mut self) {
        const AGREEING: [(&str, usize, u64); 12] = [
            (".rela.dyn", SECTION_SIZE, 8),
            (".rela.plt", SECTION_SIZE, 2),
            (".init_array", SECTION_SIZE, 0x1b),
            (".fini_array", SECTION_SIZE, 0x1c),
            (".dynstr", SECTION_SIZE, 10),
            (".init", SECTION_ADDRESS, 12),
            (".fini", SECTION_ADDRESS, 13),
            (".rela.plt", SECTION_ADDRESS, 0x17),
            (".gnu.hash", SECTION_ADDRESS, 0x6fff_fef5),
            (".gnu.version", SECTION_ADDRESS, 0x6fff_fff0),
            (".gnu.version_r", SECTION_ADDRESS, 0x6fff_fffe),
            (".got.plt", SECTION_ADDRESS, 3),
        ];
        let dynamic = self.part(".dynamic").expect("a dynamic section");
        for (section, field, tag) in AGREEING {
            let mut entries = (dynamic.offset..dynamic.offset + dynamic.size).step_by(16);
            let entry = entries.find(|at| self.number(*at, 8) == tag);
            let (Some(part), Some(entry)) = (self.part(section), entry) else { continue };
            let old = self.number(part.header + field, 8);
            for value in [
                0,
                8,
                old.wrapping_sub(24),
                old.wrapping_sub(8),
                old.wrapping_add(8),
                old.wrapping_add(24),
                1 << 40,
            ] {
                let edits = vec![(part.header + field, word(value)), (entry + 8, word(value))];
                self.craft(format!("both descriptions say {value:#x} of {section}"), edits);
            }
        }
    }

    fn lengths(&mut self) {
        let length = self.sound.len();
        for cut in [
            0,
            1,
            4,
            16,
            63,
            64,
            120,
            1000,
            4096,
            length / 2,
            length - 64,
            length - 1,
            length + 1,
            2 * length,
        ] {
            let label = format!("{cut} bytes of {length}");
            self.all.push(Craft { label, edits: Vec::new(), length: Some(cut) });
        }
    }
}
