//! Files: what was verified is what runs, and what is no plugin is refused in words.

use midflight::{Code, Event, EventKind, Stage};
use midflight_tests::{
    Fixture, Rig, check_answers, in_child, process, run_child_with, with_children,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

#[test]
fn a70_a_file_renamed_over_the_loaded_one() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    check_answers(&rig.probe, 1);
    rig.install(Fixture::V2, "probe.so");
    rig.log.wait("active", 2);
    check_answers(&rig.probe, 2);
    let status = rig.host.status();
    let running: Vec<_> =
        status.generations.iter().map(|record| record.build_id.as_str()).collect();
    assert_eq!(running, [build_id(&Fixture::V1.bytes()), build_id(&Fixture::V2.bytes())]);
    assert_ne!(running[0], running[1]);
    rig.end();
}

#[test]
fn a71_the_file_is_overwritten_in_place() {
    in_child(|| {
        let rig = Rig::new();
        let path = rig.copy(Fixture::V1, "probe.so");
        rig.host.apply(&path).expect("the first");
        for bytes in [Fixture::V2.bytes(), vec![0xcc; Fixture::V1.bytes().len()]] {
            let mut file = File::options().write(true).open(&path).expect("the loaded file");
            file.write_all(&bytes).expect("other bytes in it");
            check_answers(&rig.probe, 1);
        }
        assert_eq!(
            process::mappings()
                .into_iter()
                .find(|line| line.contains(path.to_str().expect("a path"))),
            None
        );
        rig.end();
    });
}

#[test]
fn a72_the_file_is_truncated() {
    in_child(|| {
        let rig = Rig::new();
        let path = rig.copy(Fixture::V1, "probe.so");
        rig.host.apply(&path).expect("the first");
        let file = File::options().write(true).open(&path).expect("the loaded file");
        for length in [Fixture::V1.bytes().len() as u64 / 2, 0] {
            file.set_len(length).expect("a shorter file");
            check_answers(&rig.probe, 1);
        }
        fs::remove_file(&path).expect("no file");
        check_answers(&rig.probe, 1);
        rig.end();
    });
}

#[test]
fn a73_a_slow_writer_without_rename() {
    let rig =
        Rig::watching(&[(Fixture::V1, "probe.so"), (Fixture::Other, "other.so")], |builder| {
            builder
        });
    let (path, bytes) = (rig.plugins().join("new.so"), Fixture::V2.bytes());
    let mut writer = File::create(&path).expect("a new file");
    for part in bytes.chunks(bytes.len() / 4) {
        check_answers(&rig.probe, 1);
        writer.write_all(part).expect("a part of it");
        // Somebody else closes it, the writer does not.
        drop(File::options().append(true).open(&path).expect("the same file"));
        until_the_watcher_has_looked(&rig);
    }
    assert_eq!(rig.log.count("refused"), 0, "{}", rig.log.text());
    drop(writer);
    rig.log.wait_for("the new version", |event| {
        event.kind.name() == "active" && event.version == "2.0.0"
    });
    check_answers(&rig.probe, 2);
    until_the_watcher_has_looked(&rig);
    let about_it = rig.log.seen().into_iter().filter(|event| event.version == "2.0.0");
    let told: Vec<_> = about_it
        .map(|event| event.kind.name())
        // The file is looked at again, and the answers' own panic is told as well.
        .filter(|name| !["unchanged", "call_panicked"].contains(name))
        .collect();
    assert_eq!(told, ["staged", "loaded", "prepared", "active"]);
    assert_eq!(rig.log.count("refused"), 0, "{}", rig.log.text());
    rig.end();
}

#[test]
fn a76_what_is_no_library() {
    in_child(|| {
        // This program, which it tries as well, is larger than the default with AddressSanitizer.
        let rig = Rig::with(|builder| builder.library_bytes_max(1 << 30));
        rig.apply(Fixture::V1);
        let path = rig.path("it.so");
        let check = |path: &Path, stage: Stage, code: Code| {
            let refusal = rig.refused(|host| host.apply(path));
            assert_eq!(
                (refusal.stage(), refusal.code(), refusal.file()),
                (stage, code, Some(path)),
                "{refusal}"
            );
            assert!(!refusal.reason().is_empty() && !refusal.advice().is_empty());
            assert_eq!(refusal.code().as_str(), refusal.code().to_string());
        };
        let check_bytes = |bytes: &[u8], stage, code| {
            fs::write(&path, bytes).expect("a file");
            check(&path, stage, code);
        };
        check(&path, Stage::Read, Code::FileUnreadable);
        check(&rig.plugins(), Stage::Read, Code::FileUnreadable);
        check(Path::new("/"), Stage::Read, Code::NotAFile);
        let fifo = rig.path("fifo.so");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        check(&fifo, Stage::Read, Code::NotAFile);

        check_bytes(b"", Stage::Read, Code::FileEmpty);
        check_bytes(b"this is text\n", Stage::Inspect, Code::NotElf);
        check_bytes(&[0; 4096], Stage::Inspect, Code::NotElf);
        check(&std::env::current_exe().expect("this test"), Stage::Inspect, Code::WrongFileType);

        let whole = Fixture::V2.unstamped();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        };
        const CLASS: usize = 4;
        const ORDER: usize = 5;
        const MACHINE: usize = 18;
        check_bytes(&with(CLASS, 1), Stage::Inspect, Code::WrongClass);
        check_bytes(&with(ORDER, 2), Stage::Inspect, Code::WrongClass);
        check_bytes(&with(MACHINE, 183), Stage::Inspect, Code::WrongMachine);
        for sixteenth in 1..16 {
            check_bytes(
                &whole[..whole.len() * sixteenth / 16],
                Stage::Inspect,
                Code::FileTruncated,
            );
        }
        check_bytes(&whole[..whole.len() - 1], Stage::Inspect, Code::FileTruncated);
        rig.host.apply(Fixture::V2.path()).expect("the whole of it");
        check_answers(&rig.probe, 2);
        rig.end();
    });
}

#[test]
fn a76_what_is_no_library_in_a_watched_directory() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    let v2 = Fixture::V2.unstamped();
    for (name, bytes, code) in [
        ("text.so", &b"this is text\n"[..], Code::NotElf),
        ("cut.so", &v2[..v2.len() / 2], Code::FileTruncated),
    ] {
        let path = rig.plugins().join(name);
        fs::write(&path, bytes).expect("a file");
        rig.log.wait_for("it is refused", |event| is_refusal(event, code, &path));
        check_answers(&rig.probe, 1);
    }
    // Not a library by its name, or not ready to be one: none of our business.
    for name in ["README.md", ".hidden.so", "probe.so.tmp"] {
        fs::write(rig.plugins().join(name), b"this is text\n").expect("a file");
    }
    rig.install(Fixture::V2, "probe.so");
    rig.log.wait("active", 2);
    assert_eq!(rig.log.count("refused"), 2, "{}", rig.log.text());
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn a77_contracts_that_differ() {
    let rig = Rig::serving(Fixture::V1);
    let _risk = rig.host.slot::<dyn probe_contracts::Risk>("probe").expect("a slot");
    let check = |fixture: Fixture, code: Code, says: &str| {
        let refusal = rig.refused(|host| host.apply(fixture.path()));
        assert_eq!(refusal.code(), code, "{fixture:?}: {refusal}");
        assert_eq!(refusal.reason(), says, "{fixture:?}");
        assert_eq!((refusal.plugin(), refusal.version()), (Some("probe"), Some("2.0.0")));
        assert_eq!(refusal.file(), Some(&*fixture.path()));
    };
    let both = "(both have probe-contracts 0.1.0, one of them changed)";
    let signature =
        "a method keeps its arguments and its result: write a new one at the end, with #[since]";
    let mismatch = |fixture, says: &str, advice: &str| {
        check(fixture, Code::LayoutMismatch, &format!("probe-contracts::{says} {both}; {advice}"))
    };
    mismatch(
        Fixture::ChangedField,
        "Probe: fee, argument 1, Trade.quantity: plugin says i32, host says u32",
        "a field keeps its type: write a new record, and a method with #[since] that uses it",
    );
    mismatch(
        Fixture::ReorderedFields,
        "Probe: fee, argument 1, Trade, field 1: plugin says side, host says symbol",
        "a record keeps its fields, by name and in order: write a new one, which may be \
         #[record(growable)], and a method with #[since] that uses it",
    );
    mismatch(
        Fixture::ExtraVariant,
        "Probe: fee, argument 1, Trade.side, Side::Short: plugin says Short, host says no such \
         variant",
        "an enum keeps its variants, their order and their numbers: write a new one, which may be \
         #[record(growable)], and a method with #[since] that uses it",
    );
    mismatch(
        Fixture::ChangedSignature,
        "Risk: allows: plugin says fn(u32) -> bool, host says fn(u32, u64) -> bool",
        signature,
    );
    let says = "probe-contracts::Probe: plugin says probe-contracts 0.2.0, host says probe-contracts \
                0.1.0; by semver these don't fit: build both against one of them";
    check(Fixture::NextContracts, Code::LayoutMismatch, says);
    let says = "host uses probe-contracts::Risk, plugin offers probe-contracts::Probe";
    check(Fixture::MissingContract, Code::ContractMissing, says);
    let (way, says) = ("starting, argument 2", "plugin says u32, host says u64");
    let says = format!("start says: probe-contracts::Desk: {way}: {says} {both}; {signature}");
    check(Fixture::ChangedService, Code::ServiceMismatch, &says);
    for generation in 2..9 {
        assert_eq!(rig.mappings(generation), [""; 0], "a refused library stays nowhere");
    }
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn u15_a_method_without_since_is_named_with_what_to_write() {
    let rig = Rig::serving(Fixture::V1);
    let _risk = rig.host.slot::<dyn probe_contracts::Risk>("probe").expect("a slot");
    let refusal = rig.refused(|host| host.apply(Fixture::MissingMethod.path()));
    assert_eq!(refusal.code(), Code::LayoutMismatch, "{refusal}");
    let says = "probe-contracts::Risk: limit: plugin says no such method, host says fn() -> u32 \
                without #[since] (both have probe-contracts 0.1.0, one of them changed); write \
                #[since(\"…\")] on a method that came after the first version, and take none away";
    assert_eq!(refusal.reason(), says);
    rig.end();
}

#[test]
fn a78_a_library_that_is_no_plugin() {
    with_children(
        |argument| {
            if argument == "loaded" {
                return;
            }
            let rig = Rig::serving(Fixture::V1);
            let refusal = rig.refused(|host| host.apply(Fixture::NoPlugin.path()));
            assert_eq!(
                (refusal.stage(), refusal.code()),
                (Stage::Manifest, Code::NotAPlugin),
                "{refusal}"
            );
            rig.end();
        },
        |test| {
            let marks = tempfile::tempdir().expect("a directory for marks");
            let count = || fs::read_dir(marks.path()).expect("the marks").count();
            run_child_with(test, "refused", |child| child.env("TMPDIR", marks.path())).assert_ok();
            assert_eq!(count(), 0, "its constructor has run");
            // Where it is loaded it does leave a mark.
            let library = Fixture::NoPlugin.path();
            run_child_with(test, "loaded", |child| {
                child.env("TMPDIR", marks.path()).env("LD_PRELOAD", library)
            })
            .assert_ok();
            assert_eq!(count(), 1);
        },
    );
}

#[test]
fn a79_larger_than_the_bound() {
    let rig = Rig::with(|builder| builder.library_bytes_max(16 << 20));
    rig.apply(Fixture::V1);
    let path = rig.path("large.so");
    // A terabyte that is not there: nobody could read it whole.
    fs::copy(Fixture::V2.path(), &path).expect("a copy");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(1 << 40))
        .expect("a sparse file");
    let refusal = rig.refused(|host| host.apply(&path));
    assert_eq!(
        (refusal.stage(), refusal.code()),
        (Stage::Read, Code::LibraryTooLarge),
        "{refusal}"
    );
    rig.end();
}

#[test]
fn a80_the_same_content_is_no_transition() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    let release = rig.group.release_number();
    for name in ["probe.so", "other-name.so"] {
        rig.log.clear();
        rig.install(Fixture::V1, name);
        rig.log.wait("unchanged", 1);
    }
    let applied = rig.host.apply(Fixture::V1.path()).expect("no refusal");
    assert_eq!((applied.switched, applied.generation), (false, 1));
    assert_eq!((rig.group.release_number(), rig.host.status().generations.len()), (release, 1));
    check_answers(&rig.probe, 1);
    rig.end();
}

#[test]
fn a81_of_two_hundred_changes_the_last_wins() {
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    for change in 0..200 {
        rig.install(if change % 2 == 0 { Fixture::V2 } else { Fixture::V1 }, "probe.so");
    }
    rig.install(Fixture::V3, "probe.so");
    rig.log.wait_for("the last one", |event| {
        event.kind.name() == "active" && event.version == "3.0.0"
    });
    check_answers(&rig.probe, 3);
    assert_eq!(rig.log.count("refused"), 0, "{}", rig.log.text());
    rig.end();
}

/// A file that is complete is put into the watched directory: what happened before has been looked
/// at once it is told of.
fn until_the_watcher_has_looked(rig: &Rig) {
    let last = rig.log.seen().last().map_or(0, |event| event.seq);
    rig.install(Fixture::Other, "other.so");
    rig.log.wait_for("the other file", |event| event.plugin == "other" && event.seq > last);
}

fn is_refusal(event: &Event, code: Code, path: &Path) -> bool {
    matches!(&event.kind, EventKind::Refused(refusal) if refusal.code() == code && refusal.file() == Some(path))
}

/// The linker's, in hex: the 20 bytes behind the head of its note.
fn build_id(library: &[u8]) -> String {
    let head = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0];
    let at =
        library.windows(head.len()).position(|part| part == head).expect("a build id") + head.len();
    library[at..at + 20].iter().map(|byte| format!("{byte:02x}")).collect()
}
