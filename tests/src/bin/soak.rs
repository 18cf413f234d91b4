//! The soak: thousands of generations of a plugin that does everything that makes unloading hard,
//! under calls that never stop.
//!
//! ```text
//! cargo run --release -p midflight-tests --bin soak -- --generations 10000 --json
//! ```
//!
//! Threads that outlive every generation and threads that end call the plugin while it is replaced
//! again and again. It exits with 0 only if every generation is unmapped, no call failed, each
//! thread-local was destroyed on its own thread, and nothing grew. `--leak` plants a leak, a
//! touched box of 64 KiB in each hundredth generation, to show that it would be seen: it is, so the
//! exit code is 1.

use midflight::{Code, EventKind, Events, GenerationStatus, Host, Residency, Slot};
use midflight_tests::{Fixture, Footprint, Ledger, WITHIN, process};
use nasty_contracts::{Deed, Ledger as LedgerContract, Nasty};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From here on nothing may grow: before, allocators and caches find their size.
const SETTLED_AT: u64 = 500;
const RSS_GROWTH_KIB_MAX: i64 = 2 * 1024;
/// What a copy of std and the plugin's statics never free, in bytes a generation; the buffer of
/// standard output is most of it. It is given back as a leak is, and is none.
const LEFT_BYTES_MAX: u64 = 2 * 1024;
const LEAK_EACH: u64 = 100;
/// Callers that outlive every generation.
const CALLERS: usize = 2;
const GENERATIONS_MAX: usize = 8;
/// Set in the environment before the process starts: threads would read it while it changes.
const ENVIRONMENT: [(&str, &str); 2] =
    [("RUST_BACKTRACE", "1"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")];

const USAGE: &str = "soak [--generations N] [--leak] [--json]";

#[derive(Debug, Clone, Copy)]
struct Options {
    generations: u64,
    leak: bool,
    json: bool,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if ENVIRONMENT.iter().any(|(name, value)| std::env::var(name).as_deref() != Ok(value)) {
        return again();
    }
    // What plugins print goes nowhere; the report alone goes to standard output.
    let output = std::io::stdout().as_fd().try_clone_to_owned().expect("a copy of standard output");
    rustix::stdio::dup2_stdout(File::create("/dev/null").expect("nowhere"))
        .expect("standard output elsewhere");
    let report = Soak::begin(options).run();
    let text = if options.json { format!("{:#}", report.json()) } else { format!("{report:#?}") };
    writeln!(File::from(output), "{text}").expect("the report is printed");
    let wrong = report.wrong();
    wrong.iter().for_each(|wrong| eprintln!("not well: {wrong}"));
    ExitCode::from(u8::from(!wrong.is_empty()))
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { generations: 1_000, leak: false, json: false };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--leak" => options.leak = true,
                "--json" => options.json = true,
                "--generations" => {
                    let count = arguments
                        .next()
                        .and_then(|count| count.parse().ok())
                        .filter(|count| *count > 1);
                    options.generations = count.ok_or("--generations takes a number above 1")?;
                }
                other => return Err(format!("{other}?")),
            }
        }
        Ok(options)
    }
}

/// This program once more, in the environment that it needs.
fn again() -> ExitCode {
    let this = std::env::current_exe().expect("the path of this program");
    let status = Command::new(this).args(std::env::args_os().skip(1)).envs(ENVIRONMENT).status();
    let status = status.expect("a child");
    match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => {
            eprintln!("not well: {status}");
            ExitCode::from(1)
        }
    }
}

struct Soak {
    options: Options,
    files: [PathBuf; 2],
    host: Host,
    events: Events,
    ledger: Arc<Ledger>,
    nasty: Slot<dyn Nasty>,
    calls: Arc<Calls>,
    over: Arc<AtomicBool>,
    callers: Vec<JoinHandle<()>>,
    unmapped: u64,
    leaked_bytes: u64,
    lost: u64,
    key_max: u32,
    progress: Progress,
    _home: tempfile::TempDir,
}

#[derive(Default)]
struct Calls {
    made: AtomicU64,
    failed: AtomicU64,
}

impl Calls {
    fn count(&self, well: bool) {
        self.made.fetch_add(1, Relaxed);
        self.failed.fetch_add((!well).into(), Relaxed);
    }
}

impl Soak {
    fn begin(options: Options) -> Soak {
        let home = tempfile::tempdir().expect("a directory");
        let files = Fixture::build([Fixture::Nasty, Fixture::NastyV2], home.path());
        let ledger = Arc::new(Ledger::default());
        let service = Arc::clone(&ledger);
        let host = Host::builder()
            .run_directory(home.path().join("images"))
            .provide::<dyn LedgerContract, _>(service)
            .contract::<dyn Nasty>()
            .generations_max(GENERATIONS_MAX)
            .start()
            .expect("a host");
        let nasty = host.slot::<dyn Nasty>("nasty").expect("a slot");
        ledger.call_back_through(nasty.clone());
        let events = host.events();
        host.apply(&files[1]).expect("the first generation");
        let (calls, over) = (Arc::new(Calls::default()), Arc::new(AtomicBool::new(false)));
        let callers = (0..CALLERS).map(|caller| {
            let (nasty, calls, over) = (nasty.clone(), Arc::clone(&calls), Arc::clone(&over));
            let body = move || {
                let mut number = 0;
                while !over.load(Relaxed) {
                    number += 1;
                    calls.count(nasty.exercise(number) == Ok(number));
                }
            };
            thread::Builder::new().name(format!("caller-{caller}")).spawn(body).expect("a thread")
        });
        Soak {
            callers: callers.collect(),
            progress: Progress::new(options.generations),
            options,
            files,
            host,
            events,
            ledger,
            nasty,
            calls,
            over,
            unmapped: 0,
            leaked_bytes: 0,
            lost: 0,
            key_max: 0,
            _home: home,
        }
    }

    fn run(mut self) -> Report {
        let settled_at = SETTLED_AT.min(self.options.generations / 2);
        let mut before = None;
        for generation in 1..=self.options.generations {
            self.live_through(generation);
            if generation == settled_at {
                before = Some(self.footprint(generation));
            }
            if generation < self.options.generations {
                self.switch(generation);
            }
            // Threads of the generations before the last one, which had been detached, end now.
            self.ledger.let_go(generation.saturating_sub(1));
            self.read_events();
            self.progress.at(generation);
        }
        let last = self.options.generations;
        let after = self.footprint(last);
        self.over.store(true, Relaxed);
        self.callers.drain(..).for_each(|caller| caller.join().expect("no panic"));
        let status = self.host.shutdown(WITHIN);
        let resident = status.generations.iter().filter(|one| one.residency != Residency::Unmapped);
        let resident: Vec<_> = resident
            .map(|one| format!("generation {} {}", one.generation, one.residency))
            .collect();
        self.read_events();
        let before = before.unwrap_or(after);
        let growth = |before: usize, after: usize| after as i64 - before as i64;
        Report {
            generations: last,
            unmapped: self.unmapped,
            resident,
            calls: self.calls.made.load(Relaxed),
            failed: self.calls.failed.load(Relaxed),
            rss_growth_kib: after.resident_kib as i64 - before.resident_kib as i64,
            maps_growth: growth(before.mappings, after.mappings),
            fd_growth: growth(before.descriptors, after.descriptors),
            pthread_key_max: self.key_max,
            key_growth: i64::from(after.keys) - i64::from(before.keys),
            tls_destructors_run: self.ledger.destroyed(),
            tls_destructors_on_foreign_thread: self.ledger.foreign(),
            tls_values_open: self.ledger.open(),
            leaked_kib: self.leaked_bytes / 1024,
            events_lost: self.lost + self.events.lost(),
            seconds: self.progress.began.elapsed().as_secs(),
        }
    }

    /// What one generation has to bear, beside the callers.
    fn live_through(&self, generation: u64) {
        let (nasty, calls) = (self.nasty.clone(), Arc::clone(&self.calls));
        let ends = thread::spawn(move || calls.count(nasty.exercise(generation) == Ok(generation)));
        self.calls.count(self.nasty.heavy(generation) == Ok(generation));
        if self.options.leak && generation.is_multiple_of(LEAK_EACH) {
            self.calls.count(self.nasty.commit(Deed::Leak, 1) == Ok(1));
        }
        // Every other one ends while the switch goes on.
        if generation.is_multiple_of(2) {
            ends.join().expect("no panic");
        }
    }

    fn switch(&mut self, generation: u64) {
        let file = &self.files[usize::from(generation.is_multiple_of(2))];
        let deadline = Instant::now() + WITHIN;
        loop {
            match self.host.apply(file) {
                Ok(applied) => {
                    assert_eq!((applied.switched, applied.generation), (true, generation + 1));
                    return;
                }
                // This thread may be what they wait for.
                Err(refusal)
                    if refusal.code() == Code::TooManyGenerations && Instant::now() < deadline =>
                {
                    self.host.checkpoint();
                    thread::yield_now();
                }
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }

    fn read_events(&mut self) {
        while let Some(event) = self.events.try_next() {
            if let EventKind::Unmapped { memory, .. } = event.kind {
                self.unmapped += 1;
                let left = memory.map_or(0, |memory| memory.current as u64);
                self.leaked_bytes += if left > LEFT_BYTES_MAX { left } else { 0 };
            }
        }
    }

    /// Once all generations but the one that serves are gone, and all threads of that.
    fn footprint(&mut self, generation: u64) -> Footprint {
        self.ledger.let_go(generation);
        let deadline = Instant::now() + WITHIN;
        let is_there = |one: &&GenerationStatus| one.residency != Residency::Unmapped;
        while self.host.status().generations.iter().filter(is_there).count() > 1
            || process::threads().iter().any(|name| name.starts_with("nasty-"))
        {
            assert!(Instant::now() < deadline, "generations that stay: {:#?}", self.host.status());
            self.host.checkpoint();
            thread::yield_now();
        }
        Footprint::settle();
        let footprint = Footprint::now();
        self.key_max = self.key_max.max(footprint.keys);
        footprint
    }
}

/// Tells how far it is, to whoever waits longer than a second.
struct Progress {
    began: Instant,
    told: Instant,
    of: u64,
}

impl Progress {
    const EACH: Duration = Duration::from_secs(1);

    fn new(of: u64) -> Self {
        Progress { began: Instant::now(), told: Instant::now(), of }
    }

    fn at(&mut self, generation: u64) {
        if self.told.elapsed() >= Self::EACH {
            self.told = Instant::now();
            eprintln!(
                "{generation} of {} generations after {} s",
                self.of,
                self.began.elapsed().as_secs()
            );
        }
    }
}

#[derive(Debug)]
struct Report {
    generations: u64,
    unmapped: u64,
    resident: Vec<String>,
    calls: u64,
    failed: u64,
    rss_growth_kib: i64,
    maps_growth: i64,
    fd_growth: i64,
    pthread_key_max: u32,
    key_growth: i64,
    tls_destructors_run: u64,
    tls_destructors_on_foreign_thread: u64,
    tls_values_open: u64,
    leaked_kib: u64,
    events_lost: u64,
    seconds: u64,
}

impl Report {
    fn json(&self) -> serde_json::Value {
        json!({
            "generations": self.generations,
            "unmapped": self.unmapped,
            "resident": self.resident.len(),
            "calls": self.calls,
            "failed": self.failed,
            "rss_growth_kib": self.rss_growth_kib,
            "maps_growth": self.maps_growth,
            "fd_growth": self.fd_growth,
            "pthread_key_max": self.pthread_key_max,
            "tls_destructors_run": self.tls_destructors_run,
            "tls_destructors_on_foreign_thread": self.tls_destructors_on_foreign_thread,
            "leaked_kib": self.leaked_kib,
            "seconds": self.seconds,
        })
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut demand = |well: bool, what: String| {
            if !well {
                wrong.push(what);
            }
        };
        demand(
            self.unmapped == self.generations,
            format!("{} of {} are unmapped", self.unmapped, self.generations),
        );
        demand(self.resident.is_empty(), self.resident.join(", "));
        demand(self.calls > self.generations, format!("only {} calls", self.calls));
        demand(self.failed == 0, format!("{} calls failed", self.failed));
        // AddressSanitizer keeps what was freed for a while.
        if !process::has_address_sanitizer() {
            demand(
                self.rss_growth_kib < RSS_GROWTH_KIB_MAX,
                format!("{} KiB more are resident", self.rss_growth_kib),
            );
        }
        demand(self.maps_growth <= 0, format!("{} mappings more", self.maps_growth));
        demand(self.fd_growth <= 0, format!("{} descriptors more", self.fd_growth));
        demand(self.key_growth <= 0, format!("{} pthread keys more", self.key_growth));
        demand(self.tls_destructors_run > 0, "no thread-local was destroyed".to_owned());
        demand(
            self.tls_values_open == 0,
            format!("{} thread-locals were never destroyed", self.tls_values_open),
        );
        let foreign = self.tls_destructors_on_foreign_thread;
        demand(foreign == 0, format!("{foreign} thread-locals were destroyed on another thread"));
        demand(self.leaked_kib == 0, format!("{} KiB were never freed", self.leaked_kib));
        demand(self.events_lost == 0, format!("{} events were not read", self.events_lost));
        wrong
    }
}
