//! `midflight stamp`, as an operator and a build see it.

use midflight_format::{MARK_INVERTED, UNSTAMPED};
use midflight_inspect::{Stamp, verify};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What counts of a plugin here: it says that it is a shared library, and has room for a stamp.
fn library() -> Vec<u8> {
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    head.extend([7; 3000]);
    let mark = MARK_INVERTED.map(|byte| !byte);
    [head.as_slice(), &mark, &UNSTAMPED, &[0; 32], &[9; 2000]].concat()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn stamp(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_midflight"));
        command.current_dir(self.0.path()).arg("stamp").args(arguments);
        command.output().expect("the command")
    }
}

/// Runs it, and compares the exit code and both outputs. In what is expected, "…" stands for
/// anything on its line.
#[track_caller]
fn check(place: &Place, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = place.stamp(arguments);
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(fits(&out, stdout), "{arguments:?} says {out:?}, expected {stdout:?}");
    assert!(fits(&error, stderr), "{arguments:?} complains {error:?}, expected {stderr:?}");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn fits(found: &str, expected: &str) -> bool {
    let (found, expected): (Vec<_>, Vec<_>) = (found.lines().collect(), expected.lines().collect());
    let same = |(found, expected): (&&str, &&str)| match expected.split_once('…') {
        None => found == expected,
        Some((start, end)) => found.starts_with(start) && found.ends_with(end),
    };
    found.len() == expected.len() && found.iter().zip(&expected).all(same)
}

fn is_stamped(path: &Path) -> bool {
    matches!(verify(&fs::read(path).expect("the file")), Ok(Stamp::Stamped))
}

#[test]
fn a_library_is_stamped_once_and_again_where_it_was_changed() {
    let place = Place::new();
    let path = place.file("fees.so", &library());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("permissions");
    check(
        &place,
        &["--check", "fees.so"],
        1,
        "",
        "fees.so: refused at inspect [not_stamped]: nobody has stamped it; …",
    );
    check(&place, &["fees.so"], 0, "fees.so: stamped", "");
    assert!(is_stamped(&path));
    check(&place, &["--check", "fees.so"], 0, "fees.so: has the right stamp", "");
    check(&place, &["fees.so"], 0, "fees.so: has the right stamp", "");

    let mut stripped = fs::read(&path).expect("the file");
    stripped.truncate(stripped.len() - 1000);
    fs::write(&path, &stripped).expect("the file");
    let damaged = "fees.so: refused at inspect [file_damaged]: it was stamped with the hash …";
    check(&place, &["--check", "fees.so"], 1, "", damaged);
    assert_eq!(fs::read(&path).expect("the file"), stripped, "a look changes nothing");
    let again = "fees.so: stamped again: it was changed after it had been stamped";
    check(&place, &["fees.so"], 0, again, "");
    assert!(is_stamped(&path));
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}

#[test]
fn what_is_no_plugin_is_named_and_the_others_are_stamped() {
    let place = Place::new();
    let text = place.file("text.so", b"These are not the bytes of a library.\n");
    let sound = place.file("fees.so", &library());
    let complaints = "\
        text.so: refused at inspect [not_elf]: it is no ELF file; …\n\
        gone.so: refused at read [file_unreadable]: can't read it: …";
    check(&place, &["text.so", "gone.so", "fees.so"], 1, "fees.so: stamped", complaints);
    assert!(is_stamped(&sound));
    assert_eq!(fs::read(text).expect("the file"), b"These are not the bytes of a library.\n");
    let mut other = library();
    let mark = 20 + 3000;
    other[mark] ^= 4;
    place.file("other.so", &other);
    let roomless =
        "other.so: refused at inspect [not_a_plugin]: it has no room for a stamp, which …";
    // The code's own stage is another one.
    check(&place, &["other.so"], 1, "", &roomless.replace("at inspect", "at manifest"));
}

#[test]
fn programs_are_told_as_json() {
    let place = Place::new();
    place.file("fees.so", &library());
    place.file("text.so", b"text");
    let output = place.stamp(&["--json", "fees.so", "text.so"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let advice = midflight_inspect::Code::NotElf.advice();
    let expected = json!({ "files": [
        { "file": "fees.so", "result": "stamped" },
        {
            "file": "text.so",
            "result": "refused",
            "code": "not_elf",
            "reason": "it is no ELF file",
            "advice": advice,
        },
    ]});
    assert_eq!(told, expected);
    let output = place.stamp(&["--json", "--check", "fees.so"]);
    assert_eq!(output.status.code(), Some(0));
    let told: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(told, json!({ "files": [{ "file": "fees.so", "result": "stamped_already" }] }));
}

#[test]
fn wrong_usage_is_told_apart() {
    let place = Place::new();
    assert_eq!(place.stamp(&[]).status.code(), Some(2));
    assert_eq!(place.stamp(&["--chek", "fees.so"]).status.code(), Some(2));
    let help = place.stamp(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Exit codes:"), "{}", text(&help.stdout));
}
