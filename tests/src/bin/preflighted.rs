//! A service of which tests want more than their own process can show: its main is its own.
//!
//! ```text
//! preflighted [line] [off] [deadline=MS] [start-deadline=MS] [ignore-children] [reap-children] [do=PLACE=DEED | FILE]...
//! ```
//!
//! Each FILE is applied in turn, after `probe` 1.0.0 and what lies in `PROBE_DEED` by then; a line of JSON says what came of it, what serves, and
//! whether anything was left behind.

use midflight::{HostBuilder, Refusal};
use midflight_tests::{Fixture, Rig, process};
use probe_contracts::Risk;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn main() {
    // An ordinary service has the line and nothing before it. This one is to be without it as well.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_there = |word: &str| arguments.iter().any(|argument| argument == word);
    if is_there("line") {
        midflight::preflight();
    }
    if is_there("ignore-children") {
        ignore_children();
    }
    let duration = |name: &str| {
        let ms = arguments.iter().find_map(|argument| argument.strip_prefix(name));
        ms.map(|ms| Duration::from_millis(ms.parse().expect("milliseconds")))
    };
    let configure = |builder: HostBuilder| {
        let builder = if is_there("off") { builder.preflight(false) } else { builder };
        let builder = match duration("start-deadline=") {
            Some(deadline) => builder.start_deadline(deadline),
            None => builder,
        };
        match duration("deadline=") {
            Some(deadline) => builder.preflight_deadline(deadline),
            None => builder,
        }
    };
    let rig = Rig::with(configure);
    rig.apply(Fixture::V1);
    if is_there("reap-children") {
        thread::spawn(reap_children);
    }
    for argument in &arguments {
        match argument.strip_prefix("do=") {
            Some(deed) => tell(deed),
            None if argument.ends_with(".so") => println!("{}", apply(&rig, Path::new(argument))),
            None => {}
        }
    }
    tell("");
    rig.end();
}

fn tell(deed: &str) {
    if let Ok(file) = std::env::var("PROBE_DEED") {
        fs::write(file, deed).expect("a deed to read");
    }
}

fn apply(rig: &Rig, file: &Path) -> Value {
    let before = left(rig);
    let result = match rig.host.apply(file) {
        Ok(applied) => json!({ "applied": format!("{} {}", applied.plugin, applied.version) }),
        Err(refusal) => refused(&refusal),
    };
    let events: Vec<_> = rig.log.seen().iter().map(|event| event.kind.name().to_owned()).collect();
    let alone = rig.host.slot::<dyn Risk>("alone").ok().and_then(|slot| slot.limit().ok());
    json!({
        "result": result,
        "probe": rig.probe.version().ok(),
        "alone": alone,
        "events": events,
        "before": before,
        "after": left(rig),
    })
}

fn refused(refusal: &Refusal) -> Value {
    json!({
        "code": refusal.code().as_str(),
        "stage": refusal.stage().as_str(),
        "reason": refusal.reason(),
        "plugin": refusal.plugin(),
        "version": refusal.version(),
        "has_file": refusal.file().is_some(),
    })
}

/// What a refusal must not add to.
fn left(rig: &Rig) -> Value {
    while process::threads().iter().any(|name| name.starts_with("midflight-")) {
        thread::yield_now();
    }
    // Of children that have ended and were not waited for, too.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut files = Vec::new();
    list(&rig.path("images"), &mut files);
    json!({
        "children": waitid(WaitId::All, options).is_ok(),
        "descriptors": process::descriptors(),
        "threads": process::threads().len(),
        "files": files,
    })
}

fn list(directory: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        into.push(entry.file_name().to_string_lossy().into_owned());
        if entry.path().is_dir() {
            list(&entry.path(), into);
        }
    }
    into.sort();
}

#[allow(unsafe_code, reason = "signals have no safe face")]
fn ignore_children() {
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// As a program does that is the first of a container.
fn reap_children() {
    loop {
        let _ = waitid(WaitId::All, WaitIdOptions::EXITED);
        thread::yield_now();
    }
}
