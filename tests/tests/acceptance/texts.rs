//! Texts of others in what the host tells: they write no line of the log, turn no line around, and
//! fill no disk.

use midflight::{Code, EventKind};
use midflight_tests::{Fixture, Rig, in_child};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Begins a line of the log, clears the screen, turns the direction.
const EVIL: &str = "\n2026 ERROR forged\r\u{1b}[2J\u{9b}31m\u{202e}";

/// No line but the one, and nothing that a terminal obeys.
#[track_caller]
fn assert_plain(text: &str) {
    let odd = |letter: char| letter.is_control() || letter == '\u{202e}';
    assert!(!text.contains(odd), "{text:?}");
    assert!(text.len() < 4_096, "{} bytes", text.len());
}

/// A shared library that needs another one, whose name is `needed`.
fn library(rig: &Rig, needed: &str) -> PathBuf {
    let (source, inner, outer) = (rig.path("a.c"), rig.path("inner.so"), rig.path("outer.so"));
    fs::write(&source, "int midflight_nothing;\n").expect("a source");
    let link = |output: &Path, arguments: &[&str]| {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"])
            .arg(output)
            .arg(&source)
            .args(arguments);
        assert!(cc.status().expect("a C compiler").success(), "{cc:?}");
    };
    link(&inner, &["-Xlinker", "-soname", "-Xlinker", needed]);
    link(&outer, &[inner.to_str().expect("a path of letters")]);
    outer
}

/// Where a subscriber of `tracing` writes to.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a page").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses `needed`, which is to be told as `expected`: as a refusal, as an event and in the log.
/// In a process of its own.
fn check(needed: &str, expected: &str) {
    let page = Page::default();
    let written = page.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).init();
    let rig = Rig::watching(&[(Fixture::V1, "probe.so")], |builder| builder);
    let path = library(&rig, needed);
    let refusal = rig.refused(|host| host.apply(&path));
    assert_eq!(refusal.code(), Code::SharedLibstd, "{refusal}");
    assert!(refusal.reason().contains(expected), "{refusal}");
    assert!(refusal.reason().len() <= 2_048, "{refusal}");
    assert_plain(refusal.reason());
    assert_plain(&refusal.to_string());
    assert_plain(&format!("{refusal:?}"));
    fs::rename(&path, rig.plugins().join("bad.so")).expect("a new file in its place");
    let told = rig.log.wait_for("the refusal", |event| matches!(event.kind, EventKind::Refused(_)));
    assert_plain(&told.to_string());
    let page = String::from_utf8(page.0.lock().expect("a page").clone()).expect("text");
    assert!(page.contains("shared_libstd") && page.contains(expected), "{page}");
    for line in page.lines() {
        assert_plain(line);
        assert!(line.contains(" midflight: "), "a line that the host did not write: {line}");
    }
    rig.end();
}

#[test]
fn d03_a_name_in_a_file_writes_no_line_of_the_log() {
    in_child(|| {
        let expected = r"libstd-\n2026 ERROR forged\r\u{1b}[2J\u{9b}31m\u{202e}.so";
        check(&format!("libstd-{EVIL}.so"), expected);
    });
}

#[test]
fn d03_a_name_of_three_thousand_letters_is_told_in_two_thousand() {
    in_child(|| check(&format!("libstd-{}.so", "x".repeat(3_000)), "bytes left out"));
}

#[test]
fn d03_a_path_a_release_file_and_a_name_are_told_escaped() {
    let rig = Rig::serving(Fixture::V1);
    let odd = rig.copy(Fixture::V2, &format!("a{EVIL}.so"));
    let release = rig.path("release.toml");
    let write = |text: &str| fs::write(&release, text).expect("a release file");
    let file = toml_text(odd.to_str().expect("text"));
    write(&format!("[[plugin]]\nname = \"other\"\nversion = \"1.0.0\"\nfile = {file}\n"));
    let refusal =
        rig.refused(|host| host.apply_release(&release).map(|mut applied| applied.remove(0)));
    assert_eq!(refusal.code(), Code::ReleaseInvalid, "{refusal}");
    assert!(refusal.reason().contains(r"a\n2026 ERROR forged"), "{refusal}");
    assert_plain(&refusal.to_string());
    write(&format!("{} = 1\n", toml_text(&format!("{EVIL}{}", "k".repeat(200_000)))));
    let refusal =
        rig.refused(|host| host.apply_release(&release).map(|mut applied| applied.remove(0)));
    assert_plain(&refusal.to_string());
    let refusal =
        rig.host.rollback(&format!("{EVIL}{}", "n".repeat(100_000))).expect_err("no such plugin");
    assert_plain(&refusal.to_string());
    assert_plain(refusal.plugin().unwrap_or_default());
    rig.end();
}

/// As a string of toml.
fn toml_text(text: &str) -> String {
    let escaped: String =
        text.chars().map(|letter| format!("\\U{:08x}", u32::from(letter))).collect();
    format!("\"{escaped}\"")
}

#[test]
fn d03_what_a_plugin_says_of_itself_is_told_escaped() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = Arc::clone(&sick);
    let check = move |_: &str| if is_sick.load(SeqCst) { Err(EVIL.repeat(3_000)) } else { Ok(()) };
    let rig = Rig::with(|builder| {
        let builder = builder.check_interval(Duration::from_millis(5)).health_check(check);
        builder.probation(Duration::from_millis(50))
    });
    // The first has nothing to go back to, and is not asked.
    rig.apply(Fixture::V1);
    sick.store(true, SeqCst);
    rig.host.apply(Fixture::V2.path()).expect("it serves at first");
    let told =
        rig.log.wait_for("the way back", |event| matches!(event.kind, EventKind::Returned { .. }));
    assert_plain(&told.to_string());
    rig.end();
}
