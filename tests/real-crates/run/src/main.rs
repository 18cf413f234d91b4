//! Replaces plugins that are made of well-known crates, again and again under calls.
//!
//! ```text
//! cargo run --release -p real-run -- [--updates N] [--json] [CRATE…]
//! ```
//!
//! Each plugin runs in a service of its own, a child process. A line says of each what became of
//! its generations, and what an update left in memory. It exits with 0 only if all generations of
//! all plugins were unmapped, no answer was wrong, and whatever grows is named with its cure below.

use midflight::{EventKind, Events, Host};
use real_contracts::Work;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// A plugin: its features, and why it may grow, if it may.
const PLUGINS: [(&str, &str); 13] = [
    ("chrono", ""),
    ("rayon", ""),
    ("rhai", ""),
    ("mlua", ""),
    ("wasmi", ""),
    ("rustls", ""),
    ("reqwest", ""),
    ("mimalloc", "keeps its heap: MIMALLOC_DESTROY_ON_EXIT=1, or Reclaimed"),
    ("mimalloc,reclaimed", ""),
    ("jemalloc", "keeps its heap: Reclaimed"),
    ("jemalloc,reclaimed", ""),
    ("openssl", "keeps tables: OPENSSL_cleanup() in Drop"),
    ("openssl,cleanup", ""),
];
/// From here on an update may leave this much in memory, in KiB: the host's own events and pages of
/// the system's allocator.
const FLAT_KIB: f64 = 24.0;
const CALLERS: usize = 2;
const WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, one, two, updates] = arguments.as_slice()
        && child == "--service"
    {
        let updates = updates.parse().expect("a number of updates");
        println!("{}", serve([one, two].map(Path::new), updates));
        return ExitCode::SUCCESS;
    }
    let json = arguments.iter().position(|argument| argument == "--json");
    let json = json.map(|at| arguments.remove(at)).is_some();
    let updates = match arguments.iter().position(|argument| argument == "--updates") {
        Some(at) if at + 1 < arguments.len() => {
            arguments.drain(at..at + 2).nth(1).expect("two arguments")
        }
        _ => "100".to_owned(),
    };
    let wanted = |features: &str| {
        arguments.is_empty()
            || arguments.iter().any(|name| features.split(',').any(|it| it == name))
    };
    let mut all_right = true;
    for (features, excuse) in PLUGINS.iter().filter(|(features, _)| wanted(features)) {
        eprintln!("{features}: building");
        let libraries = [features.to_string(), format!("{features},v2")].map(|it| build(&it));
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--service".as_ref(), libraries[0].as_os_str(), libraries[1].as_os_str()])
            .arg(&updates)
            .output()
            .expect("a service");
        let said: Value = serde_json::from_slice(&child.stdout).unwrap_or(Value::Null);
        let whole = child.status.success()
            && said["unmapped"] == said["replaced"]
            && said["wrong"] == 0
            && said["calls"].as_u64() > Some(1_000);
        let grows = said["kib_an_update"].as_f64().is_none_or(|kib| kib > FLAT_KIB);
        let verdict = match (whole, grows, excuse.is_empty()) {
            (false, ..) => "FAILED",
            (_, false, _) => "flat",
            (_, true, false) => excuse,
            (_, true, true) => "GROWS, and has no cure in this table",
        };
        all_right &= whole && (!grows || !excuse.is_empty());
        match json {
            true => println!("{}", json!({ "plugin": features, "verdict": verdict, "said": said })),
            false => println!("{features:20} {said}  {verdict}"),
        }
        if !child.status.success() {
            eprintln!("{}: {}", child.status, String::from_utf8_lossy(&child.stderr));
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A library with such features, beside this workspace's other artifacts.
fn build(features: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "-p", "real-plugin", "--features", features])
        .current_dir(&workspace)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{features} can't be built");
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let release = target.unwrap_or_else(|| workspace.join("target")).join("release");
    let kept = release.join(format!("{}.so", features.replace(',', "-")));
    std::fs::copy(release.join("libreal_plugin.so"), &kept).expect("a copy of the library");
    kept
}

/// Replaces one by the other while threads call, and says what was seen.
fn serve(libraries: [&Path; 2], updates: u64) -> Value {
    let host = Host::builder().contract::<dyn Work>().start().expect("a host");
    let mut events = host.events();
    host.apply(libraries[0]).expect("the first is loaded");
    let slot = host.slot::<dyn Work>("real").expect("a slot");
    let ends = AtomicBool::new(false);
    let (mut unmapped, mut replaced, mut settled_kib) = (0_u64, 0_u64, 0);
    let (calls, wrong) = thread::scope(|scope| {
        let call = || {
            let (mut calls, mut wrong) = (0_u64, 0_u64);
            while !ends.load(SeqCst) {
                wrong += u64::from(slot.work(calls) != Ok(calls));
                calls += 1;
            }
            (calls, wrong)
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        for update in 0..updates {
            host.apply(libraries[usize::from(update % 2 == 0)]).expect("it is loaded");
            replaced += 1;
            unmapped += u64::from(is_unmapped(&mut events));
            if update == updates / 2 {
                settled_kib = resident_kib();
            }
        }
        ends.store(true, SeqCst);
        let counts = callers.into_iter().map(|caller| caller.join().expect("no panic"));
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let grown = resident_kib() as f64 - settled_kib as f64;
    let status = host.status();
    let left = status.generations.iter().filter(|one| one.generation < updates);
    let mapped = left.map(|one| one.mapped.bytes as u64).max();
    json!({
        "replaced": replaced,
        "unmapped": unmapped,
        "calls": calls,
        "wrong": wrong,
        "kib_an_update": (grown / (updates - updates / 2 - 1) as f64 * 10.0).round() / 10.0,
        "left_mapped_bytes": mapped,
    })
}

/// Waits for the next generation to be gone.
fn is_unmapped(events: &mut Events) -> bool {
    let deadline = Instant::now() + WITHIN;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match events.next_timeout(left) {
            Some(event) if matches!(event.kind, EventKind::Unmapped { .. }) => return true,
            Some(event) if matches!(event.kind, EventKind::Resident(_)) => eprintln!("{event}"),
            _ => {}
        }
    }
    false
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
