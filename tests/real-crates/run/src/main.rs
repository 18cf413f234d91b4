//! Replaces plugins that are made of well-known crates, again and again under calls.
//!
//! ```text
//! cargo run --release -p real-run -- [--updates N] [--json] [CRATE…]
//! ```
//!
//! Each plugin runs in a service of its own, a child process. A line says of each what became of
//! its generations, and what an update left in memory. It exits with 0 only if each plugin ended as
//! the table below has it, and no answer was wrong.

use midflight::{EventKind, Events, Host};
use real_contracts::Work;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// What becomes of a plugin's generations.
#[derive(Clone, Copy)]
enum End {
    /// They are unmapped, and leave nothing.
    Flat,
    /// They are unmapped, and leave memory, which this keeps from happening.
    Grows(&'static str),
    /// They stay, for a reason in which this is said, and which that keeps from happening.
    Stays(&'static str, &'static str),
}
use End::{Flat, Grows, Stays};

/// Features of the plugin, and how that ends.
const PLUGINS: [(&str, End); 21] = [
    ("chrono", Flat),
    ("rayon", Flat),
    ("rayon,reclaimed", Flat),
    ("rayon-global", Stays("threads: ", "a pool of the instance's own, which ends with it")),
    ("rhai", Flat),
    ("mlua", Flat),
    ("wasmi", Flat),
    ("rustls", Flat),
    ("reqwest", Flat),
    ("tokio", Flat),
    ("rusqlite", Flat),
    ("crossbeam-epoch", Grows("Reclaimed, or a Collector of the instance's own")),
    ("crossbeam-epoch,reclaimed", Flat),
    ("common", Flat),
    ("signal-hook", Stays("signal: SIGUSR1", "signals are handled in the host")),
    ("mimalloc", Grows("MIMALLOC_DESTROY_ON_EXIT=1, or Reclaimed")),
    ("mimalloc,reclaimed", Flat),
    ("jemalloc", Grows("Reclaimed")),
    ("jemalloc,reclaimed", Flat),
    ("openssl", Grows("atexit(OPENSSL_cleanup) in its start")),
    ("openssl,cleanup", Flat),
];
/// From here on an update may leave this much in memory, in KiB: the host's own events and pages of
/// the system's allocator.
const FLAT_KIB: f64 = 24.0;
const CALLERS: usize = 2;
const WITHIN: Duration = Duration::from_secs(60);
/// Who is told to stay may go all the same, within this.
const STAYS_FOR: Duration = Duration::from_secs(5);

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
    for (features, end) in PLUGINS.iter().filter(|(features, _)| wanted(features)) {
        eprintln!("{features}: building");
        let libraries = [features.to_string(), format!("{features},v2")].map(|it| build(&it));
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--service".as_ref(), libraries[0].as_os_str(), libraries[1].as_os_str()])
            // Who stays does so at its first update, and the fourth would be refused.
            .arg(if matches!(end, Stays(..)) { "1" } else { &updates })
            .output()
            .expect("a service");
        let said: Value = serde_json::from_slice(&child.stdout).unwrap_or(Value::Null);
        let verdict = match child.status.success() {
            true => verdict(*end, &said),
            false => Err(format!("{}: {}", child.status, String::from_utf8_lossy(&child.stderr))),
        };
        all_right &= verdict.is_ok();
        let verdict = verdict.unwrap_or_else(|why| format!("FAILED: {why}"));
        match json {
            true => println!("{}", json!({ "plugin": features, "verdict": verdict, "said": said })),
            false => println!("{features:20} {verdict:60} {said}"),
        }
    }
    if all_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Has it come to the end that was expected?
fn verdict(end: End, said: &Value) -> Result<String, String> {
    if said["wrong"] != 0 || said["calls"].as_u64() < Some(1_000) {
        return Err("answers were wrong, or few".to_owned());
    }
    let stays = said["stays"].as_str();
    let grown = said["kib_an_update"].as_f64();
    match (end, stays, grown) {
        (Stays(reason, cure), Some(stays), _) if stays.contains(reason) => {
            Ok(format!("stays ({cure})"))
        }
        (Flat | Grows(_), None, Some(kib)) if kib <= FLAT_KIB => Ok("flat".to_owned()),
        (Grows(cure), None, Some(_)) => Ok(format!("grows ({cure})")),
        (Flat, None, _) => Err("it grows, and the table has no cure".to_owned()),
        _ => Err("it stays, or goes, otherwise than the table has it".to_owned()),
    }
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
    let (mut replaced, mut settled_kib, mut stays) = (0_u64, 0, None);
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
        while stays.is_none() && replaced < updates {
            let applied = host.apply(libraries[usize::from(replaced % 2 == 0)]);
            replaced += 1;
            let told = applied.map_err(|refusal| refusal.to_string());
            stays = told.and_then(|_| until_unmapped(&mut events)).err();
            if replaced == updates / 2 {
                settled_kib = resident_kib();
            }
        }
        ends.store(true, SeqCst);
        let counts = callers.into_iter().map(|caller| caller.join().expect("no panic"));
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let grown = resident_kib() as f64 - settled_kib as f64;
    let grown = grown / (updates - updates / 2) as f64;
    let status = host.status();
    let left = status.generations.iter().filter(|one| one.generation <= replaced);
    let mapped = left.map(|one| one.mapped.bytes as u64).max();
    json!({
        "replaced": replaced,
        "calls": calls,
        "wrong": wrong,
        "kib_an_update": stays.is_none().then_some((grown * 10.0).round() / 10.0),
        "left_mapped_bytes": mapped,
        "stays": stays,
    })
}

/// Waits for the next generation to be gone.
///
/// # Errors
/// It stays, and what the host says to that.
fn until_unmapped(events: &mut Events) -> Result<(), String> {
    let mut deadline = Instant::now() + WITHIN;
    let mut said = format!("nothing is told of it within {WITHIN:?}");
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match events.next_timeout(left) {
            Some(event) if matches!(event.kind, EventKind::Unmapped { .. }) => return Ok(()),
            Some(event) if matches!(event.kind, EventKind::Resident(_)) => {
                said = event.to_string();
                deadline = Instant::now() + STAYS_FOR;
            }
            _ => {}
        }
    }
    Err(said)
}

/// Without what the system's allocator has free: how much that is depends on what threads do at the
/// moment.
fn resident_kib() -> u64 {
    // SAFETY: it takes no pointers.
    unsafe { libc::malloc_trim(0) };
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
