//! Damaged and hostile files: what the loader would follow is looked at first, and the version that
//! serves serves on.
//!
//! The tool `damage` shows the same of thousands of flips and mutants, each in a service of its
//! own. Here are the single cases.

use midflight::{Code, Stage};
use midflight_inspect::unstamp;
use midflight_tests::damage::crafted;
use midflight_tests::{Fixture, Rig, check_answers, fixtures_for};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The plugin that is changed, which says nothing about whether it is whole.
fn sound() -> Vec<u8> {
    let mut bytes = Fixture::V2.bytes();
    unstamp(&mut bytes).expect("room for a stamp");
    bytes
}

/// Applies `bytes`, which must be refused with `probe` 1.0.0 serving on.
#[track_caller]
fn check(rig: &Rig, bytes: &[u8], code: Code, reason: &str) {
    let path = rig.path("changed.so");
    fs::write(&path, bytes).expect("the changed file");
    let refusal = rig.refused(|host| host.apply(&path));
    assert_eq!(refusal.code(), code, "{refusal}");
    assert!(refusal.reason().contains(reason), "{refusal}");
}

/// Where a section of the library is in its file, and in the table of sections.
fn section(bytes: &[u8], name: &str) -> (usize, usize, usize) {
    let file = ElfFile64::<LittleEndian>::parse(bytes).expect("a library");
    let section = file.section_by_name(name).expect("the section");
    let (offset, size) = section.file_range().unwrap_or((0, 0));
    let header = u64::from_le_bytes(*bytes[40..].first_chunk().expect("a header")) as usize;
    (offset as usize, size as usize, header + 64 * section.index().0)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("a number"))
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Where the entry of a tag is in the dynamic section.
fn tag(bytes: &[u8], tag: u64) -> usize {
    let (offset, size, _) = section(bytes, ".dynamic");
    (offset..offset + size).step_by(16).find(|at| number(bytes, *at) == tag).expect("the entry")
}

#[test]
fn d01_one_wrong_field_of_the_dynamic_section_or_of_a_relocation() {
    const DT_PLTRELSZ: u64 = 2;
    const DT_RELASZ: u64 = 8;
    const DT_FINI: u64 = 13;
    const DT_PLTREL: u64 = 20;
    const DT_FINI_ARRAY: u64 = 26;
    const DT_FINI_ARRAYSZ: u64 = 28;
    let (rig, sound) = (Rig::serving(Fixture::V1), sound());
    let flipped = |at: usize, bit: u64, reason: &str| {
        let mut bytes = sound.clone();
        let value = number(&bytes, at) ^ 1 << bit;
        put(&mut bytes, at, value);
        check(&rig, &bytes, Code::HeadersInconsistent, reason);
    };
    flipped(tag(&sound, DT_FINI) + 8, 20, "DT_FINI 0x");
    flipped(tag(&sound, DT_FINI_ARRAY) + 8, 12, "DT_FINI_ARRAY 0x");
    flipped(tag(&sound, DT_FINI_ARRAYSZ) + 8, 5, "DT_FINI_ARRAYSZ 0x");
    flipped(tag(&sound, DT_FINI_ARRAYSZ), 2, "no DT_FINI_ARRAYSZ");
    flipped(tag(&sound, DT_PLTREL), 5, "no DT_PLTREL");
    flipped(tag(&sound, DT_PLTRELSZ) + 8, 6, "DT_PLTRELSZ 0x");
    flipped(tag(&sound, DT_RELASZ) + 8, 15, "DT_RELASZ 0x");
    flipped(tag(&sound, DT_RELASZ) + 8, 63, "DT_RELASZ 0x");
    let (relocations, ..) = section(&sound, ".rela.dyn");
    flipped(relocations + 24, 1, "the relocation at");
    let (stubs, ..) = section(&sound, ".rela.plt");
    flipped(stubs, 8, " at 0x");
    flipped(stubs, 14, " at 0x");
    rig.end();
}

/// Hundreds of values, in each field that the row names.
#[test]
fn d01_odd_values_in_each_field_that_the_loader_follows() {
    let rig = Rig::serving(Fixture::V1);
    // With nowhere to put an image nothing can be loaded: what is not refused for its bytes is
    // seen.
    rig.block_run_directory();
    let (sound, path) = (sound(), rig.path("changed.so"));
    // Tags: DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_PLTREL, DT_PLTRELSZ, DT_RELASZ.
    let tags = [0xd, 0x1a, 0x1c, 0x14, 0x2, 0x8].map(|tag| format!("(tag {tag:#x}) of .dynamic"));
    let fields = [
        "r_offset of ",
        "the type of ",
        "midflight_entry+0x38",
        "midflight_entry+0x48",
        ".gnu.hash+",
    ];
    let wanted = |label: &str| {
        tags.iter().any(|tag| label.contains(tag.as_str()))
            || fields.iter().any(|field| label.starts_with(field))
    };
    // Every second one, as many as a moment allows; the tool `damage` takes them all.
    let all = crafted::all(&sound).into_iter().filter(|craft| wanted(craft.label())).step_by(2);
    let (mut count, mut unseen) = (0, Vec::new());
    for craft in all {
        fs::write(&path, craft.bytes(&sound)).expect("the changed file");
        let refusal = rig.host.apply(&path).expect_err("nothing can be loaded here");
        count += 1;
        if ![Stage::Inspect, Stage::Manifest].contains(&refusal.stage()) {
            unseen.push(format!("{}: {refusal}", craft.label()));
        }
    }
    assert!(count > 250, "{count} cases");
    // Three types write the same address of an import; and a pointer may be written to another
    // word, of zeros, that nothing else writes.
    let is_type = |case: &str| {
        let types = ["= 0x1:", "= 0x6:", "= 0x7:"];
        case.starts_with("the type of ") && types.iter().any(|one| case.contains(one))
    };
    unseen.retain(|case| !is_type(case));
    let is_offset = |case: &String| case.starts_with("r_offset of ");
    assert!(unseen.len() <= 2 && unseen.iter().all(is_offset), "{unseen:#?}");
    check_answers(&rig.probe, 1);
}

#[test]
fn d02_thread_locals_of_a_terabyte_are_refused_unread() {
    let (rig, sound) = (Rig::serving(Fixture::V1), sound());
    let file = ElfFile64::<LittleEndian>::parse(sound.as_slice()).expect("a library");
    let segments = file.elf_program_headers().len();
    const PT_TLS: u64 = 7;
    const MEMORY_BYTES: usize = 40;
    const SECTION_BYTES: usize = 32;
    let segment = (0..segments)
        .map(|index| 64 + 56 * index)
        .find(|at| number(&sound, *at) as u32 == PT_TLS as u32);
    let (segment, (_, _, header)) = (segment.expect("thread-locals"), section(&sound, ".tbss"));
    for more in [1 << 30, 1 << 40, 1_u64 << 62] {
        let mut bytes = sound.clone();
        for at in [segment + MEMORY_BYTES, header + SECTION_BYTES] {
            let size = number(&bytes, at) + more;
            put(&mut bytes, at, size);
        }
        check(&rig, &bytes, Code::TlsTooLarge, "bytes of thread-locals for each thread");
    }
    rig.end();
}

#[test]
fn d04_a_plugin_for_another_cpu_is_refused() {
    let rig = Rig::serving(Fixture::V1);
    let mut bytes = sound();
    let (offset, size, _) = section(&bytes, ".note.midflight");
    let note = &mut bytes[offset..offset + size];
    let text = String::from_utf8(note[24..].to_vec()).expect("text");
    // Nothing needs the compiler's name.
    let (before, rest) = text.split_once("rustc=").expect("the compiler");
    let (_, after) = rest.split_once('\n').expect("its line");
    let changed =
        format!("{before}rustc=r\n{}", after.replace("\ncpu=", "\ncpu=a-feature-of-later"));
    assert!(changed.len() <= text.len() && changed.contains("a-feature"), "{changed}");
    note[24..].fill(b'\n');
    note[24..24 + changed.len()].copy_from_slice(changed.as_bytes());
    check(&rig, &bytes, Code::CpuFeaturesMissing, "built for a CPU with a-feature-of-later");
    rig.end();
}

/// A FIFO there would hold the loader's lock for good.
#[test]
fn d05_a_needed_library_that_is_named_by_a_path() {
    let rig = Rig::serving(Fixture::V1);
    for path in ["/dev/zero", "./libx.so", "$ORIGIN/x", "/tmp/a_fifo"] {
        let mut bytes = sound();
        rename(&mut bytes, "libgcc_s.so.1", path);
        check(&rig, &bytes, Code::NeededPath, "which is a path and no name of a library");
    }
    rig.end();
}

/// Writes another string, which is not longer, over one of the dynamic symbols' and gives its
/// offset in them.
fn rename(bytes: &mut [u8], from: &str, to: &str) -> u64 {
    let (offset, size, _) = section(bytes, ".dynstr");
    let names = &mut bytes[offset..offset + size];
    let whole = format!("\0{from}\0");
    let at =
        names.windows(whole.len()).position(|name| name == whole.as_bytes()).expect("the name") + 1;
    names[at..at + from.len()].fill(0);
    names[at..at + to.len()].copy_from_slice(to.as_bytes());
    at as u64
}

/// The C library's own are opened where the C library lies, before a plugin asks for them by name.
#[test]
fn d06_a_libm_that_somebody_else_put_into_the_way() {
    let home = TempDir::new().expect("a directory");
    let (evil, mark) = (home.path().join("evil"), home.path().join("mark"));
    build_evil(&evil, &mark);
    let mut bytes = sound();
    // A name that nobody needs to be there, and an entry that the loader needs only where it binds
    // lazily.
    let name = rename(&mut bytes, "_ITM_deregisterTMCloneTable", "libm.so.6");
    const DT_NEEDED: u64 = 1;
    const DT_FLAGS_1: u64 = 0x6fff_fffb;
    let entry = tag(&bytes, DT_FLAGS_1);
    put(&mut bytes, entry, DT_NEEDED);
    put(&mut bytes, entry + 8, name);
    let library = home.path().join("needs-libm.so");
    fs::write(&library, bytes).expect("the changed file");
    for words in [&["line"][..], &["line", "off"], &[]] {
        let mut service = Command::new(env!("CARGO_BIN_EXE_preflighted"));
        fixtures_for(&mut service);
        service.args(words).arg(&library).env("LD_LIBRARY_PATH", &evil);
        let output = service.output().expect("a service");
        let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        assert_eq!(line["result"], json!({ "applied": "probe 2.0.0" }), "{words:?}: {line:#}");
        assert!(!mark.exists(), "{words:?}: it ran");
    }
}

/// Puts `new` where `old`, which is as long, stands once.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut places = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old));
    let (Some(at), None) = (places.next(), places.next()) else { panic!("it stands there once") };
    bytes[at..at + old.len()].copy_from_slice(new);
}

#[test]
fn d01_a_symbol_that_nobody_has_is_the_loaders_to_refuse() {
    let rig = Rig::serving(Fixture::V1);
    let mut bytes = sound();
    let (offset, size, _) = section(&bytes, ".dynstr");
    replace(&mut bytes[offset..offset + size], b"\0lseek64\0", b"\0lseek6x\0");
    check(&rig, &bytes, Code::LoadFailed, "undefined symbol: lseek6x");
    rig.end();
}

#[test]
fn d01_an_entry_of_another_version_than_the_manifests() {
    let rig = Rig::serving(Fixture::V1);
    let mut bytes = sound();
    replace(&mut bytes, b"\nversion=2.0.0\n", b"\nversion=2.0.1\n");
    let reason = "its entry says probe 2.0.0, its manifest says probe 2.0.1";
    check(&rig, &bytes, Code::EntryInvalid, reason);
    rig.end();
}

/// A library of that name whose constructor makes a file.
fn build_evil(directory: &Path, mark: &Path) {
    fs::create_dir(directory).expect("a directory");
    let source: PathBuf = directory.join("evil.c");
    let code = format!(
        "#include <fcntl.h>\n__attribute__((constructor)) static void run(void) {{ open(\"{}\", O_CREAT, 0600); }}\n",
        mark.display()
    );
    fs::write(&source, code).expect("its source");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,-soname,libm.so.6", "-o"])
        .arg(directory.join("libm.so.6"))
        .arg(&source);
    assert!(cc.status().expect("a C compiler").success(), "{cc:?}");
}
