//! A service of which tests want more than their own process can show: its main is its own.
//!
//! ```text
//! preflighted [line] [off] [unkept] [start] [bare] [deadline=MS] [start-deadline=MS] [ignore-children] [reap-children] [STEP]...
//! STEP: do=PLACE=DEED | FILE | kept | kill-kept | change=WHAT | wait | end
//! ```
//!
//! Each FILE is applied in turn, after `probe` 1.0.0 (if not `bare`) and what lies in `PROBE_DEED`
//! by then; a line of JSON says what came of it, what serves, and whether anything was left behind.
//! `kept` waits for the child that is kept, and tells its number.

use midflight::{GenerationStatus, HostBuilder, Refusal, Residency};
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
        let builder = if is_there("unkept") { builder.preflight_kept(false) } else { builder };
        let builder = if is_there("start") { builder.preflight_start(true) } else { builder };
        let builder = match duration("start-deadline=") {
            Some(deadline) => builder.start_deadline(deadline),
            None => builder,
        };
        match duration("deadline=") {
            Some(deadline) => builder.preflight_deadline(deadline),
            None => builder,
        }
    };
    let descriptors = process::descriptors();
    let rig = Rig::with(configure);
    if !is_there("bare") {
        rig.apply(Fixture::V1);
    }
    if is_there("reap-children") {
        thread::spawn(reap_children);
    }
    for argument in &arguments {
        match argument.as_str() {
            file if file.ends_with(".so") => println!("{}", apply(&rig, Path::new(file))),
            "kept" => println!("{}", at_rest(&rig)),
            "kill-kept" => kill(kept()),
            "wait" => loop {
                thread::park();
            },
            other => {
                if let Some(deed) = other.strip_prefix("do=") {
                    tell(deed);
                }
                if let Some(what) = other.strip_prefix("change=") {
                    change(what);
                }
            }
        }
    }
    tell("");
    rig.end();
    if is_there("end") {
        let left = process::descriptors().saturating_sub(descriptors);
        println!("{}", json!({ "children": children(), "descriptors_left": left }));
    }
}

/// The child that is kept, and what there is beside it when nothing is under way.
fn at_rest(rig: &Rig) -> Value {
    let kept = kept();
    let is_there = |one: &&GenerationStatus| one.residency != Residency::Unmapped;
    while rig.host.status().generations.iter().filter(is_there).count() > 1 {
        thread::yield_now();
    }
    let left = left(rig);
    let files = left["files"].as_array().map_or(0, Vec::len);
    json!({ "kept": kept, "children": children(), "descriptors": left["descriptors"], "files": files })
}

/// The processes whose parent this one is, and whether each has ended.
fn children() -> Vec<(i32, bool)> {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let own = std::process::id().to_string();
    let child = |process: fs::DirEntry| {
        let number = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        (fields.next()? == own).then_some((number, state == "Z"))
    };
    processes.filter_map(child).collect()
}

/// The child that is kept, once it waits for its task.
fn kept() -> i32 {
    loop {
        let waits = |number: &i32| {
            let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
            name.trim() == "midflight-pre"
        };
        let mut living =
            children().into_iter().filter(|(_, ended)| !ended).map(|(number, _)| number);
        if let Some(kept) = living.find(waits) {
            return kept;
        }
        thread::yield_now();
    }
}

fn kill(process: i32) {
    let process = rustix::process::Pid::from_raw(process).expect("a number");
    rustix::process::kill_process(process, rustix::process::Signal::KILL)
        .expect("a child of this user's");
    while children()
        .iter()
        .any(|(number, ended)| *number == process.as_raw_nonzero().get() && !ended)
    {
        thread::yield_now();
    }
}

/// Something that a child inherits.
#[allow(unsafe_code, reason = "the environment and groups have no safe face")]
fn change(what: &str) {
    match what {
        "directory" => std::env::set_current_dir("/").expect("the root"),
        "limits" => {
            let all = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let fewer = rustix::process::Rlimit { current: all.current.map(|all| all - 1), ..all };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, fewer).expect("fewer");
        }
        "umask" => drop(rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027))),
        // SAFETY: no other thread reads the environment while this one waits for no update.
        "environment" => unsafe { std::env::set_var("PREFLIGHTED_LATER", "1") },
        // SAFETY: the number says how many there are.
        "groups" => assert_eq!(unsafe { libc::setgroups(1, [12_345].as_ptr()) }, 0, "root may"),
        other => panic!("what is {other}?"),
    }
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
