//! Stamps: what was damaged after its build is refused, wherever that was.

use midflight::{Code, Stage};
use midflight_format::MARK_INVERTED;
use midflight_inspect::{Stamping, stamp, verify};
use midflight_tests::{Fixture, Rig, check_answers, in_child};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

/// Where the room for the stamp begins in a real library, and its size.
fn room(library: &[u8]) -> (usize, usize) {
    let mark = MARK_INVERTED.map(|byte| !byte);
    let mut places = library.windows(mark.len()).enumerate().filter(|(_, part)| *part == mark);
    let (at, _) = places.next().expect("a mark");
    assert_eq!(places.next(), None, "a linker, a strip and debug information leave one mark");
    (at, 64)
}

/// Bits of the room, and bits all over the file: in code, data and tables, and between them. That
/// it is so for every bit, the tests of `midflight-inspect` show.
#[test]
fn d01_a_stamped_file_is_refused_whichever_of_its_bits_is_flipped() {
    in_child(|| {
        let rig = Rig::serving(Fixture::V1);
        let (path, original) = (rig.copy(Fixture::V2, "flipped.so"), Fixture::V2.bytes());
        let file = File::options().write(true).open(&path).expect("the copy");
        let (at, bytes) = room(&original);
        let in_the_room = (8 * at..8 * (at + bytes)).step_by(5);
        let stride = (8 * original.len() / 150) | 1;
        for bit in in_the_room.chain((0..8 * original.len()).step_by(stride)) {
            let (byte, mask) = (bit / 8, 1 << (bit % 8));
            file.write_all_at(&[original[byte] ^ mask], byte as u64).expect("a flipped bit");
            let refusal = rig.host.apply(&path).expect_err("a flipped bit");
            assert_eq!(refusal.code(), Code::FileDamaged, "bit {bit}: {refusal}");
            assert_eq!((refusal.stage(), refusal.file()), (Stage::Inspect, Some(&*path)));
            file.write_all_at(&original[byte..=byte], byte as u64).expect("the bit flipped back");
        }
        check_answers(&rig.probe, 1);
        assert_eq!(rig.log.count("loaded"), 1);
        rig.host.apply(&path).expect("as it was stamped");
        check_answers(&rig.probe, 2);
        rig.end();
    });
}

#[test]
fn d01_a_stamped_file_is_refused_where_it_is_cut_continued_or_twice() {
    let rig = Rig::serving(Fixture::V1);
    let path = rig.path("it.so");
    let check = |bytes: &[u8], says: &str| {
        fs::write(&path, bytes).expect("a file");
        let refusal = rig.refused(|host| host.apply(&path));
        assert_eq!(refusal.code(), Code::FileDamaged, "{refusal}");
        assert!(refusal.reason().contains(says), "{refusal}");
    };
    let whole = Fixture::V2.bytes();
    for sixteenth in 1..16 {
        check(&whole[..whole.len() * sixteenth / 16], "it was changed after that");
    }
    check(&whole[..whole.len() - 1], "it was changed after that");
    check(&[&whole[..], &[0]].concat(), "it was changed after that");
    check(&[&whole[..], &whole].concat(), "the mark of a stamp at byte");
    rig.end();
}

#[test]
fn d01_a_library_that_a_tool_has_changed_is_stamped_again() {
    let rig = Rig::serving(Fixture::V1);
    let path = rig.path("it.so");
    let mut bytes = Fixture::V2.bytes();
    // As `objcopy --add-section` might: what the loader reads is where it was.
    bytes.extend([0; 100]);
    fs::write(&path, &bytes).expect("a file");
    assert_eq!(rig.refused(|host| host.apply(&path)).code(), Code::FileDamaged);
    assert_eq!(stamp(&mut bytes).expect("a library with room"), Stamping::Renewed);
    fs::write(&path, &bytes).expect("a file");
    rig.host.apply(&path).expect("a whole file");
    check_answers(&rig.probe, 2);
    rig.end();
}

#[test]
fn d01_a_host_that_requires_stamps_loads_nothing_without_one() {
    let rig = Rig::with(|builder| builder.stamps_required(true));
    let path = rig.path("it.so");
    fs::write(&path, Fixture::V2.unstamped()).expect("a file");
    rig.apply(Fixture::V1);
    let refusal = rig.refused(|host| host.apply(&path));
    assert_eq!((refusal.stage(), refusal.code()), (Stage::Inspect, Code::NotStamped), "{refusal}");
    assert_eq!((refusal.plugin(), refusal.version()), (Some("probe"), Some("2.0.0")));
    rig.apply(Fixture::V2);
    check_answers(&rig.probe, 2);
    // What went out was patched in its image; what comes back is what was stamped.
    rig.host.rollback("probe").expect("the version before");
    check_answers(&rig.probe, 1);
    assert!(rig.host.status().generations.iter().all(|generation| generation.stamped));
    rig.end();
}

#[test]
fn a_host_that_does_not_require_stamps_tells_which_versions_have_none() {
    let rig = Rig::serving(Fixture::V1);
    let path = rig.path("it.so");
    fs::write(&path, Fixture::V2.unstamped()).expect("a file");
    rig.host.apply(&path).expect("a library without a stamp");
    check_answers(&rig.probe, 2);
    let status = rig.host.status();
    let stamped: Vec<_> = status.generations.iter().map(|it| (it.generation, it.stamped)).collect();
    assert_eq!(stamped, [(1, true), (2, false)]);
    rig.end();
}

#[test]
fn an_image_that_was_written_to_is_not_gone_back_to() {
    for library in [Fixture::V1.bytes(), Fixture::V1.unstamped()] {
        let rig = Rig::new();
        fs::write(rig.path("it.so"), library).expect("a file");
        rig.host.apply(rig.path("it.so")).expect("the first version");
        rig.apply(Fixture::V2);
        // To write to a library that is mapped ends the process.
        rig.log.wait("unmapped", 1);
        let runs = fs::read_dir(rig.path("images").join("run")).expect("a run directory");
        let images = runs.flat_map(|run| fs::read_dir(run.expect("a run").path()).expect("images"));
        let mut images = images.map(|image| image.expect("an image").path());
        let is_old = |path: &PathBuf| path.to_str().expect("text").contains("/probe.1.");
        let old = images.find(is_old).expect("it is kept");
        let mut bytes = fs::read(&old).expect("the image");
        *bytes.last_mut().expect("a byte") ^= 1;
        fs::set_permissions(&old, fs::Permissions::from_mode(0o700)).expect("its permissions");
        fs::write(&old, bytes).expect("other bytes");
        let refusal = rig.refused(|host| host.rollback("probe"));
        assert_eq!(refusal.code(), Code::ImageLost, "{refusal}");
        assert!(refusal.reason().contains("what was loaded is not in"), "{refusal}");
        rig.end();
    }
}

/// A host, and what looks for marks, have none themselves: a second one in a plugin's file would be
/// damage.
#[test]
fn a_program_that_looks_for_marks_has_none() {
    let program = fs::read(std::env::current_exe().expect("this test")).expect("this test");
    let mark = MARK_INVERTED.map(|byte| !byte);
    assert!(!program.windows(mark.len()).any(|part| part == mark));
    assert_eq!(verify(&program).expect_err("no plugin").code(), Code::NotAPlugin);
}
