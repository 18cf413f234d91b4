//! `cargo run --release -p midflight-benches --bin instructions`: how many instructions a call
//! takes, counted by callgrind.
//!
//! Times on a shared machine wander by more than a careless change costs; instructions don't. So
//! this is the gate: a call through a slot may take so many more than the same call with no pin,
//! and no more than that. The limit's own count is bounded too, or the difference could be kept by
//! making both worse. `far_slot` is a host's 256th, which has no entry of its own where the first
//! have theirs.

use bench_contracts::Work;
use midflight::{Fault, Slot};
use midflight_benches::gates;
use midflight_benches::libraries::Libraries;
use midflight_benches::rig::Rig;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

const CALLS: u64 = 6_400;

/// The most instructions a call may take, its loop's and the plugin's own included.
///
/// Raise one only with the reason in the commit: it is what every user pays for every call.
const BOUNDS: [(&str, f64); 5] =
    [("limit", 15.5), ("slot", 41.5), ("far_slot", 53.5), ("request", 19.5), ("lease", 33.5)];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, None) => gate(),
        (Some("--counted"), Some(lane)) => {
            counted(&lane);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("instructions takes no arguments");
            ExitCode::from(2)
        }
    }
}

fn gate() -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!(
            "instructions: valgrind is missing, so nothing was counted: .ci/instructions installs it"
        );
        return ExitCode::from(2);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut kept = true;
    println!("{:10}{:>10}{:>10}", "lane", "a call", "bound");
    for (lane, bound) in BOUNDS {
        let calls = count(lane, directory.path()) / CALLS as f64;
        let verdict = if calls <= bound { "" } else { "  TOO MANY" };
        println!("{lane:10}{calls:>10.2}{bound:>10.2}{verdict}");
        kept &= calls <= bound;
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions inside of `counted_loop`, of a process that runs it once.
fn count(lane: &str, directory: &Path) -> f64 {
    let out: PathBuf = directory.join(lane);
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "--quiet",
        "--tool=callgrind",
        "--collect-atstart=no",
        "--toggle-collect=counted_loop_*",
    ]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(env::current_exe().expect("the path of this program")).args(["--counted", lane]);
    let run = valgrind.output().expect("valgrind runs");
    assert!(run.status.success(), "{valgrind:?}: {}", String::from_utf8_lossy(&run.stderr));
    let counts = fs::read_to_string(out).expect("callgrind's file");
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    let total: f64 = total.and_then(|total| total.trim().parse().ok()).expect("callgrind's total");
    assert!(total > CALLS as f64, "{lane}: callgrind collected nothing");
    total
}

/// The process that is counted.
#[allow(unsafe_code, reason = "the other gate takes what the slot calls")]
fn counted(lane: &str) {
    let libraries = Libraries::build();
    let rig = Rig::start(&libraries, "instructions");
    // A thread's first call registers it.
    assert_eq!(rig.slot.add(1, 2), Ok(3));
    let (lease, bound) = rig.bound();
    match lane {
        "limit" => {
            // SAFETY: an instance of `Work`, held by the lease.
            let limit = unsafe { gates::limit(bound) };
            counted_loop_limit(&limit);
        }
        "slot" => counted_loop_slot(&rig),
        "far_slot" => {
            let far = rig.far(&libraries);
            assert_eq!(far.add(1, 2), Ok(3));
            counted_loop_far_slot(&far);
        }
        "request" => counted_loop_request(&rig),
        "lease" => counted_loop_lease(&lease.get(&rig.slot)),
        other => panic!("no lane {other}"),
    }
}

macro_rules! calls {
    ($count:expr, |$a:ident| $call:expr) => {
        for $a in 0..$count {
            let _ = black_box($call.unwrap_or(0));
        }
    };
}

#[inline(never)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
fn counted_loop_limit(work: &gates::Calls<gates::Limit>) {
    calls!(CALLS, |a| work.add(a, 3));
}

#[inline(never)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
fn counted_loop_slot(rig: &Rig) {
    calls!(CALLS, |a| rig.slot.add(a, 3));
}

#[inline(never)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
fn counted_loop_far_slot(slot: &Slot<dyn Work>) {
    calls!(CALLS, |a| slot.add(a, 3));
}

#[inline(never)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
fn counted_loop_request(rig: &Rig) {
    for _ in 0..CALLS / 64 {
        let done = rig.group.request(|release| {
            let work = release.get(&rig.slot);
            calls!(64, |a| work.add(a, 3));
            Ok::<_, Fault>(())
        });
        assert_eq!(done, Ok(()));
    }
}

#[inline(never)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "callgrind is told this name")]
fn counted_loop_lease(work: &gates::Calls<midflight::LeaseGate<'_>>) {
    calls!(CALLS, |a| work.add(a, 3));
}
