//! Reloads: from the rename of a file to the first call that runs new code.
//!
//! The new file is on the disk before, and the old one is kept open until after. Else a rename
//! writes the one out and frees the other, which took half a millisecond on ext4: the file system's
//! time, whoever watches.

use crate::libraries::{self, Libraries};
use crate::peers::{self, Dynamic, Relib, hot_lib};
use crate::rig::Rig;
use crate::rounds::{quantile, rounded};
use midflight::EventKind;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// After which a lane is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Fewer than that have no 99th percentile.
const P99_MIN: usize = 100;

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Reload {
    lane: &'static str,
    n: usize,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Reload {
    fn new(lane: &'static str, took_ms: &[f64], note: &str) -> Self {
        let p99 = quantile(took_ms, 0.99).filter(|_| took_ms.len() >= P99_MIN);
        Reload {
            lane,
            n: took_ms.len(),
            p50_ms: quantile(took_ms, 0.5).map(rounded),
            p99_ms: p99.map(rounded),
            note: Some(note.to_owned()).filter(|note| !note.is_empty()),
        }
    }
}

/// How many reloads each kind of lane makes.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Ours, its floor, and relib's.
    pub fast: usize,
    /// hot-lib-reloader's: half a second each.
    pub half_a_second: usize,
    /// `dynamic_reload`'s: two seconds each.
    pub two_seconds: usize,
}

/// Times all lanes. Ours, with a preflight and without, and the floor take turns, reload by reload.
///
/// # Panics
/// A library does not load.
pub fn run(libraries: &Libraries, counts: Counts) -> (Vec<Reload>, f64) {
    let (mut ours, mut preflighted, mut floor, mut ratios) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let rig = Rig::start(libraries, "reload");
    let with_preflight = Rig::start_with(libraries, "reload-preflight", true);
    let copies = libraries.new_directory("floor");
    for turn in 0..counts.fast {
        let library = &libraries.plugin[(turn + 1) % 2];
        let version = (turn as u64 + 1) % 2 + 1;
        ours.push(one_of_ours(&rig, library, version));
        rig.wait_until_retired();
        preflighted.push(one_of_ours(&with_preflight, library, version));
        with_preflight.wait_until_retired();
        floor.push(one_of_the_floor(library, &copies.join(format!("{turn}.so"))));
        ratios.push(ours[turn] / floor[turn]);
    }
    let all = vec![
        Reload::new("ours", &ours, &stages(&rig)),
        Reload::new("ours_preflight", &preflighted, &stages(&with_preflight)),
        Reload::new("floor", &floor, "read, hash, private copy and dlopen of the same file"),
        hot_lib_reloader(libraries, counts.half_a_second),
        dynamic_reload(libraries, counts.two_seconds),
        relib(libraries, counts.fast),
    ];
    (all, rounded(quantile(&ratios, 0.5).unwrap_or(f64::NAN)))
}

/// Where the time went, by the host's own events: what is missing to the whole is the way of the
/// rename to the watcher and of the steps from thread to thread.
fn stages(rig: &Rig) -> String {
    let events = rig.host.events_kept();
    let median_of = |is: fn(&EventKind) -> bool| {
        let of_kind = events.iter().filter(|event| is(&event.kind));
        let took: Vec<_> = of_kind.map(|event| milliseconds(event.took)).collect();
        quantile(&took, 0.5)
    };
    let median = |is| median_of(is).unwrap_or(f64::NAN);
    let preflighted = median_of(|kind| matches!(kind, EventKind::Preflighted));
    let preflighted =
        preflighted.map_or_else(String::new, |ms| format!("opened in a child {ms:.2} ms, "));
    format!(
        "medians: read and inspected {:.2} ms, {preflighted}image written, mapped and compared {:.2} ms, started {:.2} ms, active {:.2} ms after the read began",
        median(|kind| matches!(kind, EventKind::Staged { .. })),
        median(|kind| matches!(kind, EventKind::Loaded)),
        median(|kind| matches!(kind, EventKind::Prepared)),
        median(|kind| matches!(kind, EventKind::Active { .. })),
    )
}

fn one_of_ours(rig: &Rig, library: &Path, version: u64) -> f64 {
    let prepared = libraries::prepare(library, &rig.watched);
    let (began, _old) = libraries::replace(&prepared, &rig.watched);
    wait(began, || rig.slot.version() == Ok(version)).expect("our own reload within the time")
}

#[allow(unsafe_code, reason = "dlopen")]
fn one_of_the_floor(library: &Path, copy: &Path) -> f64 {
    let began = Instant::now();
    let bytes = fs::read(library).expect("the library");
    std::hint::black_box(blake3::hash(&bytes));
    fs::write(copy, &bytes).expect("a private copy");
    // SAFETY: a library of this package, whose constructors are those of Rust's std; nothing of it
    // is called.
    let opened = unsafe { libloading::Library::new(copy) }.expect("it opens");
    let took = milliseconds(began.elapsed());
    drop(opened);
    fs::remove_file(copy).expect("the copy");
    took
}

fn hot_lib_reloader(libraries: &Libraries, count: usize) -> Reload {
    let watched = peers::set_up_hot_lib(libraries);
    let note = "a debounce of 500 ms is its default";
    several("hot_lib_reloader", note, count, &libraries.peers, &watched, &mut hot_lib::version)
}

fn dynamic_reload(libraries: &Libraries, count: usize) -> Reload {
    let mut dynamic = Dynamic::start(libraries);
    let watched = dynamic.watched.clone();
    let note =
        "a debounce of 2 s is what its documentation uses; polled without the sleep of its example";
    several("dynamic_reload", note, count, &libraries.peers, &watched, &mut || {
        dynamic.update();
        dynamic.plugins().version()
    })
}

fn several(
    lane: &'static str,
    note: &str,
    count: usize,
    from: &[PathBuf; 2],
    watched: &Path,
    version: &mut dyn FnMut() -> u64,
) -> Reload {
    let mut took = Vec::new();
    // What it noticed of its set-up must not count as the first reload.
    thread::sleep(Duration::from_millis(100));
    for turn in 0..count {
        let old = version();
        let prepared = libraries::prepare(&from[if old == 1 { 1 } else { 0 }], watched);
        let (began, _old) = libraries::replace(&prepared, watched);
        let seen = wait(began, || {
            thread::sleep(Duration::from_micros(100));
            version() != old
        });
        match seen {
            Some(milliseconds) => took.push(milliseconds),
            None => {
                let note =
                    format!("{note}; reload {} was not noticed within {PATIENCE:?}", turn + 1);
                return Reload::new(lane, &took, &note);
            }
        }
    }
    Reload::new(lane, &took, note)
}

fn relib(libraries: &Libraries, count: usize) -> Reload {
    let mut relib = Relib::start(libraries);
    let mut took = Vec::new();
    for turn in 0..count {
        let prepared = libraries::prepare(&libraries.relib[(turn + 1) % 2], &relib.file);
        let (began, _old) = libraries::replace(&prepared, &relib.file);
        relib.reload();
        assert_eq!(relib.version(), (turn as u64 + 1) % 2 + 1, "relib's new code");
        took.push(milliseconds(began.elapsed()));
    }
    Reload::new(
        "relib",
        &took,
        "it watches nothing: unload and load of the same path, called by hand; no check of the file, no copy",
    )
}

/// Milliseconds since `began` when `seen` says so.
fn wait(began: Instant, mut seen: impl FnMut() -> bool) -> Option<f64> {
    loop {
        if seen() {
            return Some(milliseconds(began.elapsed()));
        }
        if began.elapsed() >= PATIENCE {
            return None;
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
