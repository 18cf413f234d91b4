use super::*;
use crate::manifest::tests::TEXT;
use crate::stamp::tests::unstamped;
use midflight_format::{FORMAT, entry};

/// A small library laid out as a linker does it, with one or the other thing changed.
struct Sample {
    note: Option<(&'static str, u32, Vec<u8>)>,
    notes: usize,
    /// Mark, word and hash, in a note of their own.
    stamp: Vec<u8>,
    soname: &'static str,
    needed: Vec<&'static str>,
    /// Further dynamic entries with a number.
    numbers: Vec<(i64, u64)>,
    /// Further dynamic entries with a text.
    texts: Vec<(i64, &'static str)>,
    symbols: Vec<(&'static str, Symbol)>,
    place: Vec<u8>,
    /// Functions in its array of constructors.
    init_array: usize,
    bss: u64,
    eh_frame_hdr: &'static str,
    interp: &'static str,
}

const SEGMENTS: usize = 10;
/// Where the segments of a sample are in its table.
const PHDR: usize = 0;
const RELRO_LOAD: usize = 2;
const DATA_LOAD: usize = 3;
const TLS: usize = 4;
const DYNAMIC: usize = 5;
const RELRO: usize = 6;
const EH_FRAME: usize = 7;
const STACK: usize = 8;
const NOTE: usize = 9;
/// Offsets in a program header.
const P_TYPE: usize = 0;
const P_FLAGS: usize = 4;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_PADDR: usize = 24;
const P_FILESZ: usize = 32;
const P_MEMSZ: usize = 40;
const P_ALIGN: usize = 48;

/// Where the sections of a sample are in its table.
const S_NULL: usize = 0;
const S_DYNSYM: usize = 2;
const S_DYNSTR: usize = 3;
const S_GNU_HASH: usize = 5;
const S_VERSYM: usize = 6;
const S_VERNEED: usize = 7;
const S_RELA: usize = 8;
const S_TDATA: usize = 11;
const S_TBSS: usize = 12;
const S_DYNAMIC: usize = 14;
const S_DATA: usize = 16;
const S_COMMENT: usize = 19;
const SECTIONS: usize = 21;
/// Offsets in a section header.
const SH_NAME: usize = 0;
const SH_TYPE: usize = 4;
const SH_FLAGS: usize = 8;
const SH_ADDR: usize = 16;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
const SH_ALIGN: usize = 48;
const SH_ENTSIZE: usize = 56;

const PAGE: u64 = 4096;

fn object(address: u64, size: u64) -> Symbol {
    Symbol { kind: elf::STT_OBJECT, bind: elf::STB_GLOBAL, defined: true, address, size }
}

/// Beyond any real address: replaced by the place's in the finished file.
const AT_PLACE: u64 = 1 << 40;
/// The same for the entry's.
const AT_ENTRY: u64 = 1 << 41;
/// Offsets in a dynamic symbol.
const ST_VALUE: usize = 8;
/// The index of the one version that imports have.
const VERSION: u16 = 2;
/// What the entry's pointers lead to.
#[derive(Clone, Copy)]
enum Target {
    Code,
    Data,
    Writable,
}
/// The pointers of an entry, in their order.
const POINTERS: [(usize, Target); 10] = [
    (entry::NAME, Target::Data),
    (entry::VERSION, Target::Data),
    (entry::FUNCTIONS[0].1, Target::Code),
    (entry::FUNCTIONS[1].1, Target::Code),
    (entry::FUNCTIONS[2].1, Target::Code),
    (entry::FUNCTIONS[3].1, Target::Code),
    (entry::FUNCTIONS[4].1, Target::Code),
    (entry::WRITABLE[0].1, Target::Writable),
    (entry::WRITABLE[1].1, Target::Writable),
    (entry::FUNCTIONS[5].1, Target::Code),
];
const RELATIVE: u64 = if cfg!(target_arch = "x86_64") { 8 } else { 1027 };

impl Sample {
    fn new() -> Self {
        let text = TEXT.replace("x86_64-unknown-linux-gnu", HOST_TARGET);
        Sample {
            note: Some((NOTE_NAME, midflight_format::FORMAT, text.into_bytes())),
            notes: 1,
            stamp: unstamped(),
            soname: "libsample.so",
            needed: vec!["libc.so.6", "libssl.so.3"],
            numbers: Vec::new(),
            texts: Vec::new(),
            symbols: vec![
                ("midflight_entry", object(AT_ENTRY, entry::BYTES as u64)),
                ("midflight_place", object(AT_PLACE, 24)),
            ],
            place: [PLACE_MAGIC.as_slice(), &[0; 8]].concat(),
            init_array: 0,
            bss: 100,
            eh_frame_hdr: ".eh_frame_hdr",
            interp: ".comment",
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut sample = Sample::new();
        change(&mut sample);
        sample.build()
    }

    /// All that is defined in one bucket, with everything let through.
    fn hash(&self) -> Vec<u8> {
        let first = 1 + self.symbols.iter().take_while(|(_, symbol)| !symbol.defined).count();
        let hashes: Vec<_> = self
            .symbols
            .iter()
            .skip(first - 1)
            .map(|(name, _)| elf::gnu_hash(name.as_bytes()))
            .collect();
        let filter = hashes
            .iter()
            .fold(0_u64, |filter, hash| filter | 1 << (hash % 64) | 1 << ((hash >> 6) % 64));
        let start = if hashes.is_empty() { 0 } else { first as u32 };
        let mut words = vec![1, first as u32, 1, 6, filter as u32, (filter >> 32) as u32, start];
        words.extend(hashes.iter().map(|hash| hash & !1));
        if let Some(last) = words.get_mut(7..).and_then(|chain| chain.last_mut()) {
            *last |= 1;
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// The version of each symbol.
    fn indices(&self) -> Vec<u8> {
        let of = |symbol: &Symbol| if symbol.defined { 1 } else { VERSION };
        let all = self.symbols.iter().map(|(_, symbol)| of(symbol));
        std::iter::once(0).chain(all).flat_map(u16::to_le_bytes).collect()
    }

    fn build(&self) -> Vec<u8> {
        let mut file = File { bytes: vec![0; 64 + SEGMENTS * 56], sections: Vec::new(), shift: 0 };
        file.section("", 0, 0, &[], 0);
        let mut notes = Vec::new();
        let stamp = ("midflight-stamp", midflight_format::FORMAT, self.stamp.clone());
        let stamp = self.note.as_ref().map(|_| stamp);
        for (name, kind, text) in self.note.iter().cycle().take(self.notes).chain(&stamp) {
            let sizes = [name.len() as u32 + 1, text.len() as u32, *kind];
            notes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
            notes.extend(name.bytes());
            notes.resize((notes.len() + 1).next_multiple_of(4), 0);
            notes.extend(text);
            notes.resize(notes.len().next_multiple_of(4), b'\n');
        }
        // Without a note of ours there is another one, as in most libraries.
        if notes.is_empty() {
            notes =
                [4u32.to_le_bytes(), 4u32.to_le_bytes(), 3u32.to_le_bytes(), *b"GNU\0", [0xab; 4]]
                    .concat();
        }
        let note = file.section(".note.midflight", 7, 2, &notes, 4);
        let mut strings = vec![0];
        let mut string = |text: &str| {
            strings.extend(text.bytes().chain([0]));
            (strings.len() - text.len() - 1) as u64
        };
        let named: Vec<_> =
            self.symbols.iter().map(|(name, symbol)| (string(name), symbol)).collect();
        let mut entries: Vec<_> =
            self.needed.iter().map(|name| (elf::DT_NEEDED.0, string(name))).collect();
        entries.push((elf::DT_SONAME.0, string(self.soname)));
        entries.extend(self.texts.iter().map(|(tag, text)| (*tag, string(text))));
        entries.extend(&self.numbers);
        let versions = [string("libc.so.6"), string("GLIBC_2.17")];
        let symbols = symbols_of(&named);
        let dynsym = file.section(".dynsym", 11, 2, &symbols, 8);
        let dynstr = file.section(".dynstr", 3, 2, &strings, 1);
        let eh_frame_hdr = file.section(self.eh_frame_hdr, 1, 2, &[1, 0x1b, 3, 0x3b], 4);
        let hash = file.section(".gnu.hash", elf::SHT_GNU_HASH.0, 2, &self.hash(), 8);
        let versym = file.section(".gnu.version", elf::SHT_GNU_VERSYM.0, 2, &self.indices(), 2);
        let verneed =
            file.section(".gnu.version_r", elf::SHT_GNU_VERNEED.0, 2, &needs(versions), 4);
        let relocations = POINTERS.len() + self.init_array;
        let rela = file.section(".rela.dyn", 4, 2, &vec![0; 24 * relocations], 8);
        let init = file.section(".init", 1, 6, &[0xc3; 8], 4);
        let code = file.section(".text", 1, 6, &[0xc3; 16], 16);
        let text_end = file.end();
        file.shift = PAGE;
        let tdata = file.section(".tdata", 1, 0x403, &[5; 8], 8);
        let tbss = file.zeros(".tbss", 0x403, 24, 8);
        let array = file.section(".init_array", 14, 3, &vec![0; 8 * self.init_array], 8);
        entries.extend([
            (elf::DT_STRTAB.0, file.address(dynstr)),
            (elf::DT_STRSZ.0, strings.len() as u64),
        ]);
        entries.extend([(elf::DT_SYMTAB.0, file.address(dynsym)), (elf::DT_SYMENT.0, 24)]);
        entries.extend([
            (elf::DT_GNU_HASH.0, file.address(hash)),
            (elf::DT_VERSYM.0, file.address(versym)),
        ]);
        entries.extend([(elf::DT_VERNEED.0, file.address(verneed)), (elf::DT_VERNEEDNUM.0, 1)]);
        entries.extend([
            (elf::DT_RELA.0, file.address(rela)),
            (elf::DT_RELASZ.0, 24 * relocations as u64),
        ]);
        entries.extend([(elf::DT_RELAENT.0, 24), (elf::DT_RELACOUNT.0, relocations as u64)]);
        entries.push((elf::DT_INIT.0, file.address(init)));
        if self.init_array != 0 {
            let size = 8 * self.init_array as u64;
            entries.extend([
                (elf::DT_INIT_ARRAY.0, file.address(array)),
                (elf::DT_INIT_ARRAYSZ.0, size),
            ]);
        }
        entries.push((elf::DT_NULL.0, 0));
        let entries: Vec<u8> = entries
            .iter()
            .flat_map(|(tag, value)| [*tag as u64, *value])
            .flat_map(u64::to_le_bytes)
            .collect();
        let dynamic = file.section(".dynamic", 6, 3, &entries, 8);
        let relro_end = file.end();
        let padding =
            file.zeros(".relro_padding", 3, (2 * PAGE).checked_sub(relro_end + PAGE).unwrap(), 1);
        file.shift = 2 * PAGE;
        let entry_at = self.place.len().next_multiple_of(8);
        let mut statics = self.place.clone();
        statics.resize(entry_at + entry::BYTES, 0);
        statics[entry_at..][..4].copy_from_slice(&FORMAT.to_le_bytes());
        for length in [entry::NAME, entry::VERSION] {
            statics[entry_at + length + 8] = 4;
        }
        // The last section in the file ends where its segment does.
        statics.extend(self.place.get(24..).unwrap_or_default());
        let data = file.section(".data", 1, 3, &statics, 8);
        file.section(".tm_clone_table", 1, 3, &[], 8);
        let data_end = file.end();
        let bss = file.zeros(".bss", 3, self.bss, 8);
        file.section(self.interp, 1, 0x30, b"/lib/ld.so", 1);
        for (section, link) in [(dynsym, dynstr), (dynamic, dynstr), (verneed, dynstr)] {
            file.sections[section].link = link as u32;
        }
        file.sections[dynsym].entry_size = 24;
        file.sections[rela].entry_size = 24;
        (file.sections[dynsym].info, file.sections[verneed].info) = (1, 1);

        let place = file.address(data);
        let entry_address = place + entry_at as u64;
        let table = file.sections[dynsym].offset as usize;
        for (index, (_, symbol)) in self.symbols.iter().enumerate() {
            let address = match symbol.address {
                AT_PLACE => place,
                AT_ENTRY => entry_address,
                address => address,
            };
            file.put(table + 24 * (index + 1) + ST_VALUE, &address.to_le_bytes());
        }
        let functions =
            (0..self.init_array).map(|at| (file.address(array) + 8 * at as u64, Target::Code));
        let pointers =
            POINTERS.iter().map(|(field, target)| (entry_address + *field as u64, *target));
        for (index, (offset, target)) in
            functions.chain(pointers).collect::<Vec<_>>().into_iter().enumerate()
        {
            let target = match target {
                Target::Code => file.address(code),
                Target::Data => file.address(dynstr),
                Target::Writable => place,
            };
            let at = file.sections[rela].offset as usize + 24 * index;
            file.put(at, &[offset, RELATIVE, target].map(u64::to_le_bytes).concat());
        }
        let tls = [file.sections[tdata], file.sections[tbss]];
        let relro =
            (tls[0].offset, tls[0].address, relro_end - tls[0].offset, 2 * PAGE - tls[0].address);
        let data = file.sections[data];
        let data_memory = file.sections[bss].address + self.bss - data.address;
        let whole = |section: Part| (section.offset, section.address, section.size, section.size);
        let segments = [
            (elf::PT_PHDR, 4, (64, 64, SEGMENTS as u64 * 56, SEGMENTS as u64 * 56), 8),
            (elf::PT_LOAD, 5, (0, 0, text_end, text_end), PAGE),
            (elf::PT_LOAD, 6, relro, PAGE),
            (
                elf::PT_LOAD,
                6,
                (data.offset, data.address, data_end - data.offset, data_memory),
                PAGE,
            ),
            (elf::PT_TLS, 4, (tls[0].offset, tls[0].address, 8, 32), 8),
            (elf::PT_DYNAMIC, 6, whole(file.sections[dynamic]), 8),
            (elf::PT_GNU_RELRO, 4, relro, 1),
            (elf::PT_GNU_EH_FRAME, 4, whole(file.sections[eh_frame_hdr]), 4),
            (elf::PT_GNU_STACK, 6, (0, 0, 0, 0), 0),
            (elf::PT_NOTE, 4, whole(file.sections[note]), 4),
        ];
        assert_eq!(file.sections[padding].address + file.sections[padding].size, 2 * PAGE);
        for (index, (kind, flags, (offset, address, in_file, in_memory), align)) in
            segments.into_iter().enumerate()
        {
            let words = [offset, address, address, in_file, in_memory, align];
            let head = [kind.0.to_le_bytes(), u32::to_le_bytes(flags)].concat();
            file.put(
                64 + index * 56,
                &[head, words.iter().flat_map(|word| word.to_le_bytes()).collect()].concat(),
            );
        }
        file.finish()
    }
}

/// The table of symbols, after the empty one.
fn symbols_of(named: &[(u64, &Symbol)]) -> Vec<u8> {
    let mut symbols = vec![0; 24];
    for (name, symbol) in named {
        let section = if symbol.defined { S_DATA as u8 } else { 0 };
        symbols.extend((*name as u32).to_le_bytes());
        symbols.extend([symbol.bind.0 << 4 | symbol.kind.0, 0, section, 0]);
        symbols.extend([symbol.address, symbol.size].iter().flat_map(|value| value.to_le_bytes()));
    }
    symbols
}

/// One version that one library is needed for.
fn needs([library, version]: [u64; 2]) -> Vec<u8> {
    let head = [1_u16, 1].map(u16::to_le_bytes).concat();
    let library = [library as u32, 16, 0].map(u32::to_le_bytes).concat();
    let hash = elf::hash(b"GLIBC_2.17").to_le_bytes().to_vec();
    let index = [0, VERSION].map(u16::to_le_bytes).concat();
    let version = [version as u32, 0].map(u32::to_le_bytes).concat();
    [head, library, hash, index, version].concat()
}

/// A file as it grows.
struct File {
    bytes: Vec<u8>,
    sections: Vec<Part>,
    /// Addresses are this much above offsets.
    shift: u64,
}

#[derive(Clone, Copy)]
struct Part {
    name: &'static str,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry_size: u64,
}

impl File {
    fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn address(&self, section: usize) -> u64 {
        self.sections[section].address
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn section(
        &mut self,
        name: &'static str,
        kind: u32,
        flags: u64,
        bytes: &[u8],
        align: u64,
    ) -> usize {
        let offset = match align {
            0 => 0,
            align => self.end().next_multiple_of(align),
        };
        self.bytes.resize(self.bytes.len().max(offset as usize), 0);
        self.bytes.extend(bytes);
        let address = if flags & 2 == 0 { 0 } else { offset + self.shift };
        let size = bytes.len() as u64;
        self.sections.push(Part {
            name,
            kind,
            flags,
            address,
            offset,
            size,
            link: 0,
            info: 0,
            align,
            entry_size: 0,
        });
        self.sections.len() - 1
    }

    fn zeros(&mut self, name: &'static str, flags: u64, size: u64, align: u64) -> usize {
        let index = self.section(name, elf::SHT_NOBITS.0, flags, &[], align);
        self.sections[index].size = size;
        index
    }

    fn finish(mut self) -> Vec<u8> {
        let mut names = vec![0];
        let all: Vec<_> = self.sections.iter().map(|part| part.name).chain([".shstrtab"]).collect();
        let at: Vec<_> = all
            .iter()
            .map(|name| {
                names.extend(name.bytes().chain([0]));
                (names.len() - name.len() - 1) as u32
            })
            .collect();
        let strings = self.section(".shstrtab", 3, 0, &names, 1);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let table = self.end();
        for (part, name) in self.sections.iter().zip(at) {
            self.bytes.extend([name, part.kind].iter().flat_map(|word| word.to_le_bytes()));
            let words = [part.flags, part.address, part.offset, part.size];
            self.bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            self.bytes.extend([part.link, part.info].iter().flat_map(|word| word.to_le_bytes()));
            self.bytes
                .extend([part.align, part.entry_size].iter().flat_map(|word| word.to_le_bytes()));
        }
        self.put(0, b"\x7fELF\x02\x01\x01");
        let machine = headers::HOST_MACHINE.0.to_le_bytes();
        self.put(16, &[&[3, 0], &machine[..], &[1, 0, 0, 0]].concat());
        self.put(32, &64u64.to_le_bytes());
        self.put(40, &table.to_le_bytes());
        let sizes = [64, 56, SEGMENTS as u16, 64, strings as u16 + 1, strings as u16];
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        self.put(52, &sizes);
        self.bytes
    }
}

#[track_caller]
fn check(bytes: &[u8], code: Code, reason: &str) {
    let Err(refusal) = inspect(bytes) else { panic!("accepted, and not {code}: {reason}") };
    assert_eq!(refusal.code(), code, "{refusal}");
    assert!(refusal.reason().contains(reason), "{refusal}");
}

/// The good sample with `value` written at `at`.
fn patched<const N: usize>(at: usize, value: [u8; N]) -> Vec<u8> {
    let mut bytes = Sample::new().build();
    bytes[at..at + N].copy_from_slice(&value);
    bytes
}

/// Something that changes one field of one header: which one, where in it, and how.
type Edit = (usize, usize, fn(u64) -> u64);

fn edit(bytes: &mut [u8], at: usize, size: usize, change: impl Fn(u64) -> u64) {
    let mut value = [0; 8];
    value[..size].copy_from_slice(&bytes[at..at + size]);
    let value = change(u64::from_le_bytes(value)).to_le_bytes();
    bytes[at..at + size].copy_from_slice(&value[..size]);
}

/// The good sample with changed program headers.
fn segments(edits: &[Edit]) -> Vec<u8> {
    let mut bytes = Sample::new().build();
    for (index, field, change) in edits {
        edit(&mut bytes, 64 + index * 56 + field, if *field < P_OFFSET { 4 } else { 8 }, change);
    }
    bytes
}

/// Where the dynamic section of a sample has `tag`.
fn tag_at(bytes: &[u8], tag: elf::DynamicTag) -> usize {
    let start = section_at(bytes, S_DYNAMIC);
    (start..).step_by(16).find(|at| bytes[*at..][..8] == tag.0.to_le_bytes()).unwrap()
}

/// Where a section of a sample begins.
fn section_at(bytes: &[u8], section: usize) -> usize {
    let header = section_table(bytes) + section * 64 + SH_OFFSET;
    u64::from_le_bytes(*bytes[header..].first_chunk().unwrap()) as usize
}

fn section_table(bytes: &[u8]) -> usize {
    u64::from_le_bytes(*bytes[40..].first_chunk().unwrap()) as usize
}

/// The good sample with changed section headers.
fn sections(edits: &[Edit]) -> Vec<u8> {
    let mut bytes = Sample::new().build();
    let table = section_table(&bytes);
    for (index, field, change) in edits {
        edit(&mut bytes, table + index * 64 + field, if *field < SH_FLAGS { 4 } else { 8 }, change);
    }
    bytes
}

#[test]
fn a_plugin_is_accepted_and_described() {
    let bytes = Sample::with(|sample| {
        sample.init_array = 3;
        sample.numbers = vec![(elf::DT_FLAGS.0, 0x8), (elf::DT_FLAGS_1.0, 0x9)];
        let unique = Symbol { bind: elf::STB_GNU_UNIQUE, ..object(AT_PLACE, 8) };
        sample.symbols.push(("once", unique));
    });
    let found = inspect(&bytes).unwrap();
    assert_eq!(found.manifest.name, "flat-fees");
    assert_eq!(found.build_id, None);
    assert_eq!(bytes[..found.place.table_offset].last_chunk(), Some(PLACE_MAGIC));
    let nodelete = found.nodelete.unwrap();
    assert_eq!(
        bytes[nodelete - 8..][..16],
        [0x6fff_fffb_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat()
    );
    assert_eq!(found.needed, ["libc.so.6", "libssl.so.3"]);
    assert_eq!(found.unfamiliar, ["libssl.so.3"]);
    assert_eq!(found.constructors, 4);
    assert!(found.unique_symbols);
    let plain = inspect(&Sample::new().build()).unwrap();
    assert_eq!((plain.nodelete, plain.constructors), (None, 1));
    assert!(!plain.unique_symbols);
}

#[test]
fn a_library_for_the_static_tls_block_is_refused() {
    let bytes = Sample::with(|sample| sample.numbers = vec![(elf::DT_FLAGS.0, 0x18)]);
    check(&bytes, Code::StaticTls, "it has DF_STATIC_TLS");
}

#[test]
fn the_build_id_is_the_linkers_note_in_hex() {
    let sample = Sample { note: Some(("GNU", 3, vec![0xab, 0x01])), ..Sample::new() }.build();
    let elf = Elf::read(&sample).unwrap();
    assert_eq!(build_id(&elf).unwrap().as_deref(), Some("ab01"));
    let sample = Sample { note: Some(("GNU", 1, vec![0xab, 0x01])), ..Sample::new() }.build();
    assert_eq!(build_id(&Elf::read(&sample).unwrap()).unwrap(), None);
}

#[test]
fn an_undefined_unique_symbol_pins_nothing() {
    let bytes = Sample::with(|sample| {
        let unique = Symbol { bind: elf::STB_GNU_UNIQUE, defined: false, ..object(0, 8) };
        sample.symbols.insert(0, ("once", unique));
    });
    assert!(!inspect(&bytes).unwrap().unique_symbols);
}

#[test]
fn what_is_no_elf_file_is_not_elf() {
    for bytes in [&b""[..], b"\x7f", b"\x7fEL", b"#!/bin/sh\necho\n", &[0; 5000]] {
        check(bytes, Code::NotElf, "an ELF file with \"\\x7fELF\"");
    }
}

#[test]
fn other_word_sizes_and_byte_orders_are_the_wrong_class() {
    check(
        &patched(4, [1]),
        Code::WrongClass,
        "32-bit little-endian, this host 64-bit little-endian",
    );
    check(&patched(5, [2]), Code::WrongClass, "64-bit big-endian");
    check(&patched(4, [1, 2]), Code::WrongClass, "32-bit big-endian");
    check(&patched(4, [7]), Code::WrongClass, "class 7 with data encoding 1");
    // The header of a 32-bit file is shorter than ours.
    check(&patched(4, [1])[..52], Code::WrongClass, "32-bit");
}

#[test]
fn other_machines_are_named() {
    check(&patched(18, [243, 0]), Code::WrongMachine, "the file is for risc-v, this host is ");
    check(&patched(18, [1, 2]), Code::WrongMachine, "machine 513");
}

#[test]
fn what_is_no_library_is_the_wrong_file_type() {
    check(&patched(16, [1]), Code::WrongFileType, "an object file");
    check(&patched(16, [2]), Code::WrongFileType, "an executable");
    check(&patched(16, [4]), Code::WrongFileType, "a core dump");
    check(&patched(16, [9]), Code::WrongFileType, "unknown type 9");
    let pie = Sample::with(|sample| sample.numbers = vec![(elf::DT_FLAGS_1.0, 0x0800_0000)]);
    check(&pie, Code::WrongFileType, "position-independent executable");
    let mut program = Sample::with(|sample| sample.interp = ".interp");
    program[64 + NOTE * 56] = 3;
    check(&program, Code::WrongFileType, "interpreter");
}

#[test]
fn a_cut_anywhere_is_truncated() {
    let bytes = Sample::new().build();
    let mut within_its_room = 0;
    for length in 4..bytes.len() {
        match inspect(&bytes[..length]).expect_err("accepted").code() {
            Code::FileDamaged => within_its_room += 1,
            code => assert_eq!(code, Code::FileTruncated, "{length} bytes"),
        }
    }
    assert_eq!(within_its_room, unstamped().len() - unstamped()[..16].len());
}

#[test]
fn a_range_beyond_the_end_is_truncated() {
    check(
        &segments(&[(DATA_LOAD, P_FILESZ, |size| size + PAGE)]),
        Code::FileTruncated,
        "of a file of",
    );
    check(
        &sections(&[(S_DATA, SH_SIZE, |size| size + PAGE)]),
        Code::FileTruncated,
        "section 16 (.data) is bytes",
    );
    check(&patched(44, [1]), Code::FileTruncated, "21 section headers from byte 0x1");
    check(&patched(36, [1]), Code::FileTruncated, "10 program headers from byte 0x100000040");
}

#[test]
fn stripped_section_headers_are_refused_with_the_reason() {
    check(&patched(60, [0, 0]), Code::HeadersInconsistent, "section headers were stripped");
    check(&patched(40, [0; 8]), Code::HeadersInconsistent, "second description");
}

#[test]
fn an_odd_elf_header_is_inconsistent() {
    for (at, reason) in [
        (6, "identification has version"),
        (7, "OS ABI is 255 version 0"),
        (8, "OS ABI is 0 version 255"),
        (12, "padded with zeros"),
        (20, "has version 255, expected 1"),
        (48, "has flags 255, expected 0"),
        (52, "its own size as 255, expected 64"),
        (54, "program header's size as 255, expected 56"),
        (56, "255 program headers, expected 1 to 64"),
        (58, "section header's size as 255, expected 64"),
        (61, "section headers, expected at most 4096"),
        (62, "section 255 of 21 is to hold the sections' names"),
    ] {
        check(&patched(at, [255]), Code::HeadersInconsistent, reason);
    }
    check(&patched(56, [0, 0]), Code::HeadersInconsistent, "0 program headers, expected 1 to 64");
}

#[test]
fn program_headers_that_no_linker_makes_are_inconsistent() {
    let refused =
        |edits: &[Edit], reason| check(&segments(edits), Code::HeadersInconsistent, reason);
    refused(
        &[(STACK, P_TYPE, |_| 0x6474_e558)],
        "segment 8 (type 0x6474e558) is of no type that a library has",
    );
    refused(&[(STACK, P_TYPE, |_| 3)], "segment 8 (PT_INTERP) is of no type");
    refused(
        &[(STACK, P_TYPE, |_| 7)],
        "segment 4 (PT_TLS) and segment 8 (PT_TLS) are of the same type",
    );
    refused(&[(EH_FRAME, P_ALIGN, |_| 12)], "the alignment 0xc, no power of two");
    refused(&[(NOTE, P_FLAGS, |_| 12)], "the flags 0xc, expected 4 (read) to 7");
    refused(&[(NOTE, P_FLAGS, |_| 2)], "the flags 0x2, expected 4 (read) to 7");
    refused(&[(DATA_LOAD, P_MEMSZ, |_| 1)], "more bytes in the file than in memory");
    refused(&[(DATA_LOAD, P_MEMSZ, |_| u64::MAX)], "wraps around the end of memory");
    refused(&[(EH_FRAME, P_PADDR, |address| address ^ 64)], "physical address");
}

#[test]
fn loads_that_differ_from_their_sections_are_inconsistent() {
    let refused =
        |edits: &[Edit], reason| check(&segments(edits), Code::HeadersInconsistent, reason);
    for align in [|_| 0, |_| 2048, |_| 1 << 31] {
        refused(&[(RELRO_LOAD, P_ALIGN, align)], "expected one of pages");
    }
    refused(&[(RELRO_LOAD, P_OFFSET, |offset| offset - 64)], "which no mapping of pages can");
    refused(&[(RELRO_LOAD, P_MEMSZ, |size| size + PAGE)], "they share a page");
    refused(
        &[(DATA_LOAD, P_TYPE, |_| 0)],
        "section 16 (.data) is part of the library, but of no PT_LOAD",
    );
    let later: [fn(u64) -> u64; 2] = [|start| start + 4, |size| size - 4];
    let starts = [P_OFFSET, P_VADDR, P_PADDR].map(|field| (RELRO_LOAD, field, later[0]));
    let sizes = [P_FILESZ, P_MEMSZ].map(|field| (RELRO_LOAD, field, later[1]));
    refused(&[&starts[..], &sizes].concat(), "segment 2 (PT_LOAD) starts at");
    refused(&[(DATA_LOAD, P_MEMSZ, |size| size + 1)], "segment 3 (PT_LOAD) ends at");
    refused(&[(DATA_LOAD, P_MEMSZ, |size| size - 1)], "segment 3 (PT_LOAD) ends at");
    refused(&[(RELRO_LOAD, P_FILESZ, |size| size - 8)], "its last section in the file at");
    refused(&[(DATA_LOAD, P_FLAGS, |_| 4)], "has the flags 0x4, its sections 0x6");
    let section =
        |edits: &[Edit], reason| check(&sections(edits), Code::HeadersInconsistent, reason);
    section(&[(S_DATA, SH_OFFSET, |offset| offset - 8)], "but segment 3 (PT_LOAD) is");
    let mut executable = sections(&[(S_DATA, SH_FLAGS, |flags| flags | 4)]);
    executable[64 + DATA_LOAD * 56 + P_FLAGS] = 7;
    check(&executable, Code::HeadersInconsistent, "is writable and executable");
}

#[test]
fn single_segments_that_differ_from_their_sections_are_inconsistent() {
    let refused =
        |edits: &[Edit], reason| check(&segments(edits), Code::HeadersInconsistent, reason);
    refused(&[(DYNAMIC, P_TYPE, |_| 0)], "section 14 (.dynamic) has no PT_DYNAMIC");
    refused(&[(DYNAMIC, P_FLAGS, |_| 4)], "has the flags 0x4, section 14 (.dynamic) 0x6");
    refused(&[(DYNAMIC, P_MEMSZ, |size| size + 16)], "segment 5 (PT_DYNAMIC) is");
    refused(&[(EH_FRAME, P_TYPE, |_| 0)], "(.eh_frame_hdr) has no program header of its own");
    refused(&[(EH_FRAME, P_OFFSET, |offset| offset + 1)], "segment 7 (PT_GNU_EH_FRAME) is");
    refused(
        &[(NOTE, P_TYPE, |_| 0x6474_e553)],
        "(PT_GNU_PROPERTY) has no section .note.gnu.property",
    );
    refused(&[(TLS, P_TYPE, |_| 0)], "section 11 (.tdata) has no PT_TLS");
    refused(&[(TLS, P_MEMSZ, |size| size + 8)], "its sections are 0x8 bytes");
    refused(&[(TLS, P_FILESZ, |size| size - 8)], "its sections are 0x8 bytes");
    refused(&[(TLS, P_ALIGN, |_| 16)], "has the alignment 16, its sections 8");
    refused(&[(NOTE, P_TYPE, |_| 0)], "section 1 (.note.midflight) is in no PT_NOTE");
    refused(&[(NOTE, P_FILESZ, |size| size - 4)], "which is no run of notes");
    refused(&[(NOTE, P_ALIGN, |_| 2)], "has the alignment 2, expected 4 or 8");
    refused(&[(NOTE, P_TYPE, |_| 0x6474_e554)], "(PT_GNU_SFRAME) has no section .sframe");
    refused(&[(PHDR, P_MEMSZ, |size| size + 56)], "the ELF header has 0x230 bytes from 0x40");
    refused(&[(PHDR, P_OFFSET, |offset| offset + 8)], "the ELF header has 0x230 bytes from 0x40");
    let address: [Edit; 2] = [(PHDR, P_VADDR, |at| at + 8), (PHDR, P_PADDR, |at| at + 8)];
    refused(&address, "the ELF header has 0x230 bytes from 0x40");
    refused(&[(STACK, P_TYPE, |_| 0)], "there is no PT_GNU_STACK: stacks would become executable");
    refused(&[(STACK, P_FLAGS, |flags| flags & !2)], "has the flags 0x4, expected 0x6");
    refused(&[(STACK, P_OFFSET, |_| 64)], "expected no range");
    let flags = [(S_TDATA, SH_FLAGS, (|_| 3) as fn(u64) -> u64), (S_TBSS, SH_FLAGS, |_| 0)];
    check(&sections(&flags), Code::HeadersInconsistent, "has no section of thread-local data");
}

#[test]
fn thread_local_data_may_be_rounded_up() {
    // As BFD and as LLD write it.
    for size in [|_| 29, |_| 32] {
        let mut bytes = sections(&[(S_TBSS, SH_SIZE, |_| 21)]);
        edit(&mut bytes, 64 + TLS * 56 + P_MEMSZ, 8, size);
        inspect(&bytes).unwrap();
    }
}

#[test]
fn a_segment_may_end_with_the_room_before_an_empty_section() {
    // As BFD and Gold write it.
    for bss in [0, 100] {
        let bytes = Sample::with(|sample| {
            sample.place.extend([0; 3]);
            sample.bss = bss;
        });
        inspect(&bytes).unwrap();
    }
}

/// patchelf appends one each time that it edits, writable, and moves sections on from the last one.
#[test]
fn a_tool_may_append_segments_with_room_in_them() {
    let appended = |flags: u64, offset: u64, in_file: u64, in_memory: u64| {
        let mut bytes = Sample::with(|sample| sample.bss = 8);
        // In the place of the table's own header, behind the others.
        let table = 64..64 + 56 * SEGMENTS;
        bytes[table.clone()].rotate_left(56);
        let head = u64::from(elf::PT_LOAD.0) | flags << 32;
        let words = [head, offset, 256 * PAGE, 256 * PAGE, in_file, in_memory, PAGE];
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes[table.end - 56..table.end].copy_from_slice(&header);
        bytes
    };
    inspect(&appended(6, 0, 64, 64)).unwrap();
    inspect(&appended(4, 0, 64, 64)).unwrap();
    let refused = |bytes: &[u8], reason| check(bytes, Code::HeadersInconsistent, reason);
    refused(&appended(5, 0, 64, 64), "ends at");
    refused(&appended(6, 0, 64, 72), "ends at");
    refused(&appended(6, 8, 64, 64), "which no mapping of pages can");
}

#[test]
fn a_section_may_end_with_the_file() {
    let mut bytes = sections(&[(S_COMMENT, SH_OFFSET, |_| 0)]);
    let (table, length) = (section_table(&bytes), bytes.len() as u64);
    edit(&mut bytes, table + S_COMMENT * 64 + SH_SIZE, 8, |_| length);
    inspect(&bytes).unwrap();
    edit(&mut bytes, table + S_COMMENT * 64 + SH_SIZE, 8, |_| length + 1);
    check(&bytes, Code::FileTruncated, "section 19 (.comment) is bytes 0x0..");
}

#[test]
fn memory_that_is_written_later_must_not_become_read_only() {
    let refused =
        |edits: &[Edit], reason| check(&segments(edits), Code::HeadersInconsistent, reason);
    refused(&[(RELRO, P_TYPE, |_| 0)], "(.relro_padding) has no PT_GNU_RELRO");
    refused(&[(RELRO, P_MEMSZ, |size| size + PAGE)], "is inside no writable PT_LOAD");
    let text: [Edit; 4] = [
        (RELRO, P_VADDR, |_| 64),
        (RELRO, P_PADDR, |_| 64),
        (RELRO, P_FILESZ, |_| 8),
        (RELRO, P_MEMSZ, |_| 8),
    ];
    refused(&text, "is inside no writable PT_LOAD");
    let data: [Edit; 4] = [
        (RELRO, P_VADDR, |_| 2 * PAGE),
        (RELRO, P_PADDR, |_| 2 * PAGE),
        (RELRO, P_FILESZ, |_| 8),
        (RELRO, P_MEMSZ, |_| PAGE),
    ];
    refused(&data, "makes memory read-only up to 0x3000, but section 16 (.data)");
    // The last page is not protected where the range ends inside it.
    inspect(&segments(&[data[0], data[1], data[2], (RELRO, P_MEMSZ, |_| PAGE - 1)])).unwrap();
}

#[test]
fn odd_sections_are_inconsistent() {
    let refused =
        |edits: &[Edit], reason| check(&sections(edits), Code::HeadersInconsistent, reason);
    refused(&[(S_NULL, SH_TYPE, |_| 1)], "section 0 is not empty");
    refused(&[(S_NULL, SH_SIZE, |_| 70_000)], "section 0 is not empty");
    refused(&[(S_DATA, SH_NAME, |_| 0xffff_fff0)], "section 16 has no name that ends");
    refused(&[(S_DATA, SH_SIZE, |_| u64::MAX)], "section 16 (.data) wraps around");
    refused(&[(SECTIONS - 1, SH_TYPE, |_| 1)], "section 20 of 21 is to hold the sections' names");
    refused(&[(S_DYNAMIC, SH_TYPE, |_| 1)], "the file has no dynamic section");
    refused(
        &[(S_DATA, SH_TYPE, |_| 6)],
        "section 14 (.dynamic) and section 16 (.data) are of the same type",
    );
    refused(&[(S_DYNAMIC, SH_SIZE, |size| size - 8)], "expected up to 4096 × 16");
    refused(&[(S_DYNAMIC, SH_SIZE, |size| size - 16)], "has no last entry");
    refused(&[(S_DYNSTR, SH_TYPE, |_| 1)], "(.dynamic) has no string table");
    refused(&[(S_DYNSTR, SH_ADDR, |address| address + 1)], "bytes of strings at");
    refused(&[(S_DYNSYM, SH_ADDR, |address| address + 1)], "but segment 1 (PT_LOAD) is");
    refused(&[(S_DYNSYM, SH_ENTSIZE, |_| 16)], "expected entries of 24");
    refused(&[(S_DYNSYM, SH_SIZE, |size| size - 1)], "expected entries of 24");
    let dynamic = |tag: elf::DynamicTag, value, reason| {
        let bytes = Sample::with(|sample| sample.numbers = vec![(tag.0, value)]);
        check(&bytes, Code::HeadersInconsistent, reason);
    };
    dynamic(elf::DT_NEEDED, 1 << 30, "unreadable name");
    dynamic(elf::DT_PREINIT_ARRAY, 0x1000, "functions to run before a program's own");
}

#[test]
fn the_symbols_must_be_those_that_the_loader_reads() {
    let mut bytes = Sample::new().build();
    let at = tag_at(&bytes, elf::DT_SYMTAB);
    bytes[at + 8] ^= 8;
    check(&bytes, Code::HeadersInconsistent, "section 2 (.dynsym) is at");
}

#[test]
fn a_library_in_which_no_panic_unwinds_is_inconsistent() {
    let mut bytes = Sample::with(|sample| sample.eh_frame_hdr = ".rodata");
    bytes[64 + EH_FRAME * 56..][..4].fill(0);
    check(&bytes, Code::HeadersInconsistent, "the first panic would end the process");
}

/// The acceptance suite loads real files; here it is only which fields may differ: those that
/// nothing reads.
#[test]
fn a_flipped_bit_is_refused_wherever_the_loader_or_the_unwinder_would_read_it() {
    let good = Sample::new().build();
    let unread = |index: usize, field: usize| match (index, field) {
        (RELRO, _) => ![P_TYPE, P_VADDR, P_PADDR].contains(&field),
        (STACK, P_MEMSZ | P_ALIGN) => true,
        // From an alignment of 2^n to 0 and the write flag: nobody looks.
        (PHDR | DYNAMIC | EH_FRAME, P_ALIGN) | (PHDR | TLS | EH_FRAME | NOTE, P_FLAGS) => true,
        // From an address of 2^n to 0, which some linkers write everywhere.
        (_, P_PADDR) => true,
        _ => false,
    };
    for at in 0..64 + SEGMENTS * 56 {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let accepted = inspect(&bytes).is_ok();
            let entry = (24..32).contains(&at);
            let fields = [P_ALIGN, P_MEMSZ, P_FILESZ, P_PADDR, P_VADDR, P_OFFSET, P_FLAGS, P_TYPE];
            let field = at.checked_sub(64).map(|at| {
                let field = fields.into_iter().find(|field| *field <= at % 56).unwrap();
                (at / 56, field)
            });
            let expected = field.map_or(entry, |(index, field)| unread(index, field));
            assert!(!accepted || expected, "byte {at:#x} bit {bit} was accepted: {field:?}");
        }
    }
}

#[test]
fn a_runpath_is_refused_by_either_name() {
    for tag in [elf::DT_RPATH, elf::DT_RUNPATH] {
        let bytes = Sample::with(|sample| sample.texts = vec![(tag.0, "$ORIGIN/lib")]);
        check(&bytes, Code::RunpathSet, "is \"$ORIGIN/lib\"");
    }
}

#[test]
fn a_shared_libstd_is_refused_wherever_it_lies() {
    for name in ["libstd-d1237ef7159db0a2.so", "libstd-0.so"] {
        check(&Sample::with(|sample| sample.needed.push(name)), Code::SharedLibstd, name);
    }
    inspect(&Sample::with(|sample| sample.needed.push("libstdc++.so.6"))).unwrap();
}

#[test]
fn d01_a_plugin_stands_for_no_other_library() {
    for (tag, name) in [(elf::DT_AUXILIARY, "DT_AUXILIARY"), (elf::DT_FILTER, "DT_FILTER")] {
        let bytes = Sample::with(|sample| sample.texts = vec![(tag.0, "libc.so.6")]);
        check(&bytes, Code::HeadersInconsistent, &format!("has {name}, which no plugin needs"));
    }
}

#[test]
fn a_library_without_the_note_is_no_plugin_and_is_named() {
    let bytes = Sample::with(|sample| sample.note = None);
    check(
        &bytes,
        Code::NotAPlugin,
        "a sound shared library (libsample.so), but it has no note `midflight`",
    );
}

#[test]
fn another_format_is_refused_and_both_are_named() {
    let bytes = Sample::with(|sample| sample.note = Some((NOTE_NAME, 77, Vec::new())));
    check(&bytes, Code::FormatUnsupported, "format 77, this host reads format");
}

#[test]
fn a_note_that_is_there_twice_or_broken_is_invalid() {
    check(&Sample::with(|sample| sample.notes = 2), Code::ManifestInvalid, "two notes `midflight`");
    let note = Some((NOTE_NAME, midflight_format::FORMAT, b"name".to_vec()));
    check(&Sample::with(|sample| sample.note = note), Code::ManifestInvalid, "is not key=value");
    let mut bytes = Sample::new().build();
    let note = bytes.windows(9).position(|name| name == NOTE_NAME.as_bytes()).unwrap() - 12;
    bytes[note + 3] = 255;
    check(
        &bytes,
        Code::HeadersInconsistent,
        "the notes in section 1 (.note.midflight) can't be followed",
    );
}

#[test]
fn many_notes_are_refused_unread() {
    let note = Some(("GNU", 9, Vec::new()));
    check(
        &Sample { note, notes: 65, ..Sample::new() }.build(),
        Code::HeadersInconsistent,
        "more than 64 notes",
    );
}

#[test]
fn missing_or_odd_exports_are_refused_with_the_plugins_name() {
    let refused =
        |change: fn(&mut Sample), reason| check(&Sample::with(change), Code::EntryMissing, reason);
    refused(|sample| sample.symbols.truncate(0), "have no `midflight_entry`");
    refused(|sample| sample.symbols.truncate(1), "have no `midflight_place`");
    refused(|sample| sample.symbols.push(sample.symbols[1]), "have `midflight_place` twice");
    refused(
        |sample| sample.symbols[0].1.defined = false,
        "`midflight_entry` is no static that this file",
    );
    refused(|sample| sample.symbols[0].1.kind = elf::STT_FUNC, "`midflight_entry` is no static");
    refused(|sample| sample.symbols[1].1.bind = elf::STB_WEAK, "`midflight_place` is no static");
    refused(|sample| sample.symbols[1].1.size = 16, "has 16 bytes, expected 24");
    refused(|sample| sample.symbols[1].1.address = 0x2004, "at 0x2004 is not aligned");
    refused(|sample| sample.symbols[1].1.address = 0x1f00, "at 0x1f00 has no bytes in the file");
    refused(|sample| sample.symbols[1].1.address = u64::MAX - 7, "has no bytes in the file");
    refused(|sample| sample.symbols[1].1.address = 0x40, "is not in writable memory");
    refused(|sample| sample.place[3] = b'D', "does not begin with its magic");
    refused(|sample| sample.place[16] = 1, "is set already");
    let refusal = inspect(&Sample::with(|sample| sample.symbols.clear())).unwrap_err();
    assert_eq!((refusal.plugin(), refusal.version()), (Some("flat-fees"), Some("1.2.0")));
}

#[test]
fn a_hooked_function_from_the_c_library_has_escaped() {
    let import = Symbol { kind: elf::STT_FUNC, defined: false, ..object(0, 0) };
    let bytes = Sample::with(|sample| {
        for name in
            ["pthread_create", "on_exit", "pthread_create", "pthread_create_not", "pthread_key"]
        {
            sample.symbols.push((name, import));
        }
    });
    check(&bytes, Code::HookEscaped, "should define what it imports: pthread_create, on_exit");
    assert_eq!(inspect(&bytes).unwrap_err().plugin(), Some("flat-fees"));
    inspect(&Sample::with(|sample| sample.symbols.push(("on_exit", object(AT_PLACE, 8))))).unwrap();
}

#[test]
fn an_absolute_symbol_is_no_static() {
    const SHN_ABS: u64 = 0xfff1;
    let mut bytes = Sample::new().build();
    let symbols = section_at(&bytes, S_DYNSYM);
    edit(&mut bytes, symbols + 2 * 24 + 6, 2, |_| SHN_ABS);
    check(&bytes, Code::EntryMissing, "`midflight_place` is no static");
}

/// Damage of every kind, repeatable: it ends in an answer.
#[test]
fn random_damage_never_panics() {
    let good = Sample::new().build();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len() - 8);
            match random(3) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = random(256) as u8,
                _ => {
                    let extreme = [
                        0,
                        1,
                        u64::MAX,
                        i64::MAX as u64,
                        1 << 63,
                        u32::MAX.into(),
                        good.len() as u64,
                    ];
                    bytes[at & !7..][..8]
                        .copy_from_slice(&extreme[random(extreme.len())].to_le_bytes());
                }
            }
        }
        let _ = inspect(&bytes);
    }
}

#[test]
fn d01_no_bit_of_a_stamped_plugin_can_be_flipped() {
    let mut bytes = Sample::new().build();
    assert_eq!(inspect(&bytes).unwrap().stamp, Stamp::Unstamped);
    crate::stamp(&mut bytes).unwrap();
    let found = inspect(&bytes).unwrap();
    assert_eq!((found.stamp, found.digest), (Stamp::Stamped, blake3::hash(&bytes)));
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let refusal = inspect(&bytes).expect_err("accepted");
        assert_eq!(refusal.code(), Code::FileDamaged, "bit {bit}: {refusal}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    check(&bytes[..bytes.len() - 1], Code::FileDamaged, "it was changed after that");
    check(&[&bytes[..], &[0]].concat(), Code::FileDamaged, "it was changed after that");
}

#[test]
fn a_plugin_without_a_mark_is_damaged() {
    let bytes = Sample::with(|sample| sample.stamp[3] ^= 0x10);
    check(&bytes, Code::FileDamaged, "it has a plugin's note, but no mark of a stamp");
    assert_eq!(inspect(&bytes).unwrap_err().plugin(), Some("flat-fees"));
}

/// The good sample with a number of `size` bytes changed, `at` so far into a section.
fn within(section: usize, at: usize, size: usize, change: impl Fn(u64) -> u64) -> Vec<u8> {
    let mut bytes = Sample::with(|sample| sample.init_array = 2);
    let at = section_at(&bytes, section) + at;
    edit(&mut bytes, at, size, change);
    bytes
}

#[test]
fn d01_the_dynamic_section_says_what_the_sections_say() {
    let refused = |tag: elf::DynamicTag, tag_or_value: usize, change: fn(u64) -> u64, reason| {
        let mut bytes = Sample::with(|sample| sample.init_array = 2);
        let at = tag_at(&bytes, tag) + 8 * tag_or_value;
        edit(&mut bytes, at, 8, change);
        check(&bytes, Code::HeadersInconsistent, reason);
        assert_eq!(inspect(&bytes).unwrap_err().plugin(), Some("flat-fees"));
    };
    const VALUE: usize = 1;
    for tag in [elf::DT_RELASZ, elf::DT_RELAENT, elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ] {
        refused(tag, VALUE, |value| value ^ 0x20, "of which the section headers say");
    }
    for tag in [elf::DT_INIT, elf::DT_SYMENT, elf::DT_GNU_HASH, elf::DT_VERSYM, elf::DT_VERNEED] {
        refused(tag, VALUE, |value| value ^ 1 << 20, "of which the section headers say");
    }
    refused(elf::DT_VERNEEDNUM, VALUE, |count| count + 1, "DT_VERNEEDNUM 0x2, of which");
    refused(elf::DT_RELACOUNT, VALUE, |count| count - 1, "of 12 relative relocations");
    // As another tag it is missing as its own.
    refused(elf::DT_RELASZ, 0, |_| elf::DT_DEBUG.0 as u64, "no DT_RELASZ, of which");
    refused(elf::DT_INIT_ARRAYSZ, 0, |_| elf::DT_DEBUG.0 as u64, "no DT_INIT_ARRAYSZ, of which");
    refused(elf::DT_INIT, 0, |_| elf::DT_FINI.0 as u64, "no DT_INIT, of which");
    refused(
        elf::DT_RELACOUNT,
        0,
        |_| elf::DT_TEXTREL.0 as u64,
        "DT_TEXTREL, which no plugin needs",
    );
    refused(elf::DT_RELACOUNT, 0, |_| elf::DT_RELA.0 as u64, "has DT_RELA twice");
    refused(elf::DT_RELACOUNT, 0, |_| elf::DT_JMPREL.0 as u64, "but the file no section for it");
    let flags =
        |tag: elf::DynamicTag, value| Sample::with(|sample| sample.numbers = vec![(tag.0, value)]);
    check(&flags(elf::DT_FLAGS, 4), Code::HeadersInconsistent, "in DT_FLAGS: no plugin needs 0x4");
    check(&flags(elf::DT_FLAGS_1, 0x41), Code::HeadersInconsistent, "no plugin needs 0x40");
    inspect(&flags(elf::DT_FLAGS_1, 0x89)).unwrap();
}

#[test]
fn d01_a_relocation_writes_a_word_of_its_own_and_what_a_linker_would() {
    // The second of the two constructors' comes before the entry's.
    let refused = |field: usize, size: usize, change: &dyn Fn(u64) -> u64, reason| {
        check(&within(S_RELA, 24 + field, size, change), Code::HeadersInconsistent, reason);
    };
    refused(8, 4, &|_| 99, "has the type 99, which no plugin needs");
    refused(12, 4, &|_| 1, "is for symbol 1, expected none");
    refused(12, 4, &|_| 77, "is for symbol 77, which there is not");
    refused(0, 8, &|at| at + 4, "is of no word that may be written");
    refused(0, 8, &|_| 64, "they are sorted");
    refused(0, 8, &|at| at - 8, "they are sorted");
    refused(0, 8, &|at| at ^ 1 << 40, "they are sorted");
    let dynamic = Sample::with(|sample| sample.init_array = 2);
    let dynamic = section_at(&dynamic, S_DYNAMIC) as u64 + PAGE;
    refused(0, 8, &|_| dynamic, "is of no word that may be written");
    let sample = Sample::with(|sample| sample.init_array = 2);
    let data = section_at(&sample, S_DATA) as u64 + 2 * PAGE;
    let bss = data + (24 + entry::BYTES as u64).next_multiple_of(8);
    let last = 24 * (2 + POINTERS.len() - 1);
    check(
        &within(S_RELA, last, 8, |_| bss),
        Code::HeadersInconsistent,
        &format!("the relocation at {bss:#x} is of no word that may be written"),
    );
    refused(16, 8, &|_| 1 << 40, "has the address 0x10000000000, outside of the library");
    refused(16, 8, &|_| 64 | 1 << 63, "outside of the library");
}

#[test]
fn d01_constructors_and_the_entrys_functions_are_code() {
    let refused = |index: usize, target: u64, reason| {
        check(&within(S_RELA, 24 * index + 16, 8, |_| target), Code::HeadersInconsistent, reason);
    };
    let data = section_at(&Sample::with(|sample| sample.init_array = 2), S_DATA) as u64 + 2 * PAGE;
    refused(0, data, "has a function at 0x0 which leads to");
    refused(4, data, "`midflight_entry` has the function `start`, which leads to");
    refused(8, data, "`midflight_entry` has the function `relisten`, which leads to");
    refused(9, 64, "`midflight_entry` has `memory` in no memory that may be written");
    refused(10, 64, "`midflight_entry` has `closing` in no memory that may be written");
    const ENTRY: usize = 24;
    let field = |field: usize, change: fn(u64) -> u64, reason| {
        check(&within(S_DATA, ENTRY + field, 8, change), Code::HeadersInconsistent, reason);
    };
    field(0, |_| 99, "does not begin with the format");
    field(entry::NAME + 8, |_| 1 << 40, "has a name that has 1099511627776 bytes");
    field(entry::OFFERS + 8, |_| 1, "has offers, of which is not relocated");
    field(entry::OFFERS + 8, |_| 1 << 50, "has offers, of which there are");
    field(entry::STATE, |_| 8, "has a state's table, which is not relocated");
    field(entry::FUNCTIONS[0].1, |_| 8, "is 0x8, but is to become the address");
}

#[test]
fn d01_symbols_are_where_they_say_and_called_once() {
    let refused = |index: usize, field: usize, size: usize, change: fn(u64) -> u64, reason| {
        let bytes = within(S_DYNSYM, 24 * index + field, size, change);
        check(&bytes, Code::HeadersInconsistent, reason);
    };
    refused(0, ST_VALUE, 8, |_| 1, "do not begin with an empty one");
    let symbols = |change: fn(&mut Sample), reason| {
        check(&Sample::with(change), Code::HeadersInconsistent, reason);
    };
    const IMPORT: Symbol =
        Symbol { kind: elf::STT_FUNC, bind: elf::STB_GLOBAL, defined: false, address: 0, size: 0 };
    fn import(sample: &mut Sample, name: &'static str, symbol: Symbol) {
        sample.symbols.insert(0, (name, symbol));
    }
    symbols(|sample| import(sample, "read", IMPORT), "(read) is imported, but goes nowhere");
    symbols(
        |sample| import(sample, "read", Symbol { address: 8, ..IMPORT }),
        "imported, but has an address",
    );
    symbols(
        |sample| import(sample, "read", Symbol { bind: elf::STB_LOCAL, ..IMPORT }),
        "of the wrong kind",
    );
    symbols(
        |sample| import(sample, "read", Symbol { kind: elf::STT_GNU_IFUNC, ..IMPORT }),
        "unknown type 10",
    );
    fn define(sample: &mut Sample, symbol: Symbol) {
        sample.symbols.push(("more", symbol));
    }
    symbols(|sample| define(sample, object(0x40, 8)), "which is not inside section 16 (.data)");
    symbols(
        |sample| define(sample, object(AT_PLACE, 1 << 20)),
        "which is not inside section 16 (.data)",
    );
    symbols(
        |sample| define(sample, Symbol { kind: elf::STT_FUNC, ..object(AT_PLACE, 8) }),
        "holds no code",
    );
    // What nobody is called is in the table, and one is called by its end.
    let mut bytes =
        Sample::with(|sample| import(sample, "write", Symbol { kind: elf::STT_OBJECT, ..IMPORT }));
    inspect(&bytes).unwrap();
    let symbol = section_at(&bytes, S_DYNSYM) + 24;
    edit(&mut bytes, symbol, 4, |name| name + 2);
    check(&bytes, Code::HeadersInconsistent, "has a part of a name that nobody has");
}

#[test]
fn d01_versions_are_those_that_are_needed() {
    let refused = |section: usize, at: usize, size: usize, change: fn(u64) -> u64, reason| {
        check(&within(section, at, size, change), Code::HeadersInconsistent, reason);
    };
    refused(S_VERSYM, 2, 2, |_| 3, "symbol 1 (midflight_entry) has the unknown version 3");
    refused(S_VERSYM, 2, 2, |_| 0x4001, "has the unknown version 16385");
    refused(S_VERNEED, 0, 2, |_| 2, "which is not needed");
    refused(S_VERNEED, 2, 2, |_| 2, "which is not the last one");
    refused(S_VERNEED, 2, 2, |_| 0, "has no versions of libc.so.6");
    refused(S_VERNEED, 4, 4, |name| name + 1, "has versions of ibc.so.6, which is not needed");
    refused(S_VERNEED, 8, 4, |_| 1 << 30, "leads out of itself");
    refused(S_VERNEED, 12, 4, |_| 16, "has not as many libraries as it says");
    refused(S_VERNEED, 16, 4, |hash| hash ^ 1, "has the version GLIBC_2.17, of another hash");
    refused(S_VERNEED, 20, 2, |_| 1, "with unknown flags");
    refused(S_VERNEED, 22, 2, |_| 1, "with an index that is taken");
}

#[test]
fn d01_hash_tables_are_those_of_the_names() {
    let refused = |word: usize, change: fn(u64) -> u64, reason| {
        check(&within(S_GNU_HASH, 4 * word, 4, change), Code::HeadersInconsistent, reason);
    };
    refused(0, |_| 0, "has 0 buckets");
    refused(0, |_| 0x100, "has 9 words, expected 264");
    refused(1, |_| 0, "has 1 buckets from symbol 0");
    refused(1, |_| 2, "has 9 words, expected 8");
    refused(2, |_| 3, "has 1 buckets from symbol 1");
    refused(3, |_| 32, "has 1 buckets from symbol 1");
    refused(3, |_| 7, "leaves out other hashes");
    refused(4, |bits| bits ^ 1, "leaves out other hashes");
    refused(6, |_| 2, "has another first symbol in bucket 0");
    refused(7, |hash| hash ^ 2, "has another hash for symbol 1 (midflight_entry)");
    refused(7, |hash| hash ^ 1, "has another hash for symbol 1 (midflight_entry)");
    refused(8, |hash| hash ^ 1, "has another hash for symbol 2 (midflight_place)");
}

#[test]
fn d02_what_each_thread_would_get_is_bounded() {
    let sized = |size: u64, align: u64| {
        let mut bytes = Sample::new().build();
        let table = section_table(&bytes);
        edit(&mut bytes, table + S_TBSS * 64 + SH_SIZE, 8, |_| size - 8);
        edit(&mut bytes, table + S_TDATA * 64 + SH_ALIGN, 8, |_| align);
        edit(&mut bytes, 64 + TLS * 56 + P_MEMSZ, 8, |_| size);
        edit(&mut bytes, 64 + TLS * 56 + P_ALIGN, 8, |_| align);
        bytes
    };
    inspect(&sized(16 << 20, 4096)).unwrap();
    check(
        &sized(1 << 40, 8),
        Code::TlsTooLarge,
        "1099511627776 bytes of thread-locals for each thread",
    );
    check(&sized((16 << 20) + 8, 8), Code::TlsTooLarge, "at most 16777216");
    check(&sized(64, 1 << 20), Code::TlsTooLarge, "aligned to 1048576 bytes, at most 65536");
}

#[test]
fn d05_a_needed_library_is_named_not_where_it_lies() {
    for name in ["/tmp/fifo", "./libx.so", "lib/x.so", "$ORIGIN", "$LIB"] {
        check(&Sample::with(|sample| sample.needed.push(name)), Code::NeededPath, name);
    }
    let nameless = Sample::with(|sample| sample.needed.push(""));
    check(&nameless, Code::HeadersInconsistent, "needs a library of no name");
}

#[test]
fn an_executable_stack_is_refused_with_its_own_cure() {
    let refusal = inspect(&segments(&[(STACK, P_FLAGS, |_| 7)])).unwrap_err();
    assert_eq!(refusal.code(), Code::StackExecutable, "{refusal}");
    assert!(refusal.advice().contains("-z noexecstack"), "{refusal}");
}
