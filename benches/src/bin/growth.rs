//! `cargo run --release -p midflight-benches --bin growth`: what the host takes for one plugin, by
//! how many there are.

use clap::{Parser, ValueEnum};
use midflight_benches::growth::report::{
    Curve, Kind, PLUGINS, Point, Promise, Report, SUBSCRIBERS, Step,
};
use midflight_benches::growth::{self, Figures, host, loader};
use midflight_benches::numbered::Numbered;
use midflight_benches::rounds::quantile;
use rustix::fs::{StatVfs, StatVfsMountFlags};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, io};
use tempfile::TempDir;

/// Measures the host's own CPU time for each thing that is done about one plugin, with 1 to 1,000
/// of them, and says which promise holds.
#[derive(Parser)]
struct Options {
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// 100 and 1,000 plugins alone, three times, with room for a busy machine: less than a minute
    /// once it is built, where nothing else runs.
    #[arg(long)]
    short: bool,
    /// How often each is measured, instead of five times.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measure one thing, for another process of this program.
    #[arg(long, hide = true)]
    measure: Option<What>,
    /// Of how many.
    #[arg(long, hide = true, default_value_t = 0)]
    count: usize,
    /// Where the builds lie.
    #[arg(long, hide = true)]
    builds: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Loader,
    Plugins,
    Journal,
    Subscribers,
    Size,
    Slots,
}

/// Two libraries around what was a limit once.
const SIZES: [usize; 2] = [16_700_000, 16_900_000];
const SIZE_RATIO_MAX: f64 = 1.3;
const SLOT_RATIO_MAX: f64 = 1.3;
/// What a busy machine adds to a slope that is measured less often. With fewer plugins it would be
/// as much as what a look at all of them adds.
const SLACK: f64 = 0.1;
/// The same of what is in proportion: at the end of a host the loader's share is most of it.
const SLACK_LINEAR: f64 = 0.2;

fn main() -> ExitCode {
    let options = Options::parse();
    if let (Some(what), Some(builds)) = (options.measure, &options.builds) {
        let figures = measure(what, options.count, builds);
        println!("{}", serde_json::to_string(&figures).expect("plain figures"));
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        eprintln!("growth: built without optimisation, figures mean nothing: use --release");
    }
    let builds = tempfile::tempdir().expect("a directory for builds");
    Numbered::build().save(builds.path());
    let report = report(&options, builds.path());
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("plain figures")),
        false => print!("{report}"),
    }
    if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn measure(what: What, count: usize, builds: &Path) -> Figures {
    let numbered = Numbered::saved(builds);
    let directory = in_memory().expect("a directory");
    let (numbered, directory) = (&numbered, directory.path());
    match what {
        What::Loader => loader::loader(numbered, directory, count),
        What::Plugins => host::plugins(numbered, directory, count),
        What::Journal => host::journal(numbered, directory, count),
        What::Subscribers => host::subscribers(numbered, directory, count),
        What::Size => host::size(numbered, directory, count),
        What::Slots => host::slots(numbered, directory),
    }
}

/// What a thousand plugins, their images and a store of them take.
const ROOM: u64 = 2 << 30;

/// A directory in memory, where there is room and code can be mapped from it: what the file system
/// of a disk takes for files that come and go is not the host's.
fn in_memory() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let will_do = |found: StatVfs| {
        !found.f_flag.contains(StatVfsMountFlags::NOEXEC)
            && found.f_bavail.saturating_mul(found.f_frsize) >= ROOM
    };
    match rustix::fs::statvfs(memory).is_ok_and(will_do) {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
}

/// Everything, in rounds: what else the machine does at that hour is in all numbers alike.
fn report(options: &Options, builds: &Path) -> Report {
    let rounds = options.rounds.unwrap_or(if options.short { 3 } else { 5 });
    let plugins: &[usize] = if options.short { &[100, 1_000] } else { &[1, 10, 100, 1_000] };
    let readers: &[usize] = if options.short { &[100, 1_000] } else { &[1, 10, 100, 1_000] };
    let slack = if options.short { SLACK } else { 0.0 };
    let mut measured = Measured::default();
    for _ in 0..rounds {
        for count in plugins {
            for what in [What::Loader, What::Plugins, What::Journal] {
                measured.add(*count, &elsewhere(what, *count, builds));
            }
        }
        for count in readers {
            measured.add(*count, &elsewhere(What::Subscribers, *count, builds));
        }
        for bytes in SIZES {
            measured.add(bytes, &elsewhere(What::Size, bytes, builds));
        }
        measured.add(0, &elsewhere(What::Slots, 0, builds));
    }
    let mut curves: Vec<_> =
        PLUGINS.iter().map(|kind| measured.curve(kind, plugins, slack)).collect();
    curves.push(measured.curve(&SUBSCRIBERS, readers, slack));
    let size = SIZES.map(|bytes| measured.median("size", bytes));
    let slot = ["first_slot", "far_slot"].map(|name| measured.median(name, 0));
    let steps = vec![
        Step::new("slot_256_ns", slot[0], slot[1], slot[1] / slot[0], SLOT_RATIO_MAX + slack),
        Step::new("library_16_mib_us", size[0], size[1], size[1] / size[0], SIZE_RATIO_MAX + slack),
    ];
    Report::new(rounds, curves, steps)
}

/// In a process that starts with nothing.
fn elsewhere(what: What, count: usize, builds: &Path) -> BTreeMap<String, f64> {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    let what = what.to_possible_value().expect("a name");
    command.args(["--measure", what.get_name(), "--count", &count.to_string(), "--builds"]);
    let output = command.arg(builds).output().expect("this program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("figures")
}

/// By name and number, a value for each round.
#[derive(Default)]
struct Measured(BTreeMap<(String, usize), Vec<f64>>);

impl Measured {
    fn add(&mut self, count: usize, figures: &BTreeMap<String, f64>) {
        for (name, figure) in figures {
            self.0.entry((name.clone(), count)).or_default().push(*figure);
        }
    }

    fn median(&self, name: &str, count: usize) -> f64 {
        let all = self.0.get(&(name.to_owned(), count)).expect("it was measured");
        quantile(all, 0.5).expect("at least once")
    }

    fn curve(&self, kind: &Kind, counts: &[usize], slack: f64) -> Curve {
        let point = |count: &usize| {
            let (count, found) = (*count, self.median(kind.name, *count));
            let beside = |name: &str| self.median(name, count);
            let (own, loader) = match kind.loader {
                Some(loader) => (found - beside(loader), beside(loader)),
                None => (found, beside(&growth::beside(kind.name))),
            };
            let thread = if kind.has_edge { beside("thread") } else { 0.0 };
            Point { count, own, loader, thread }
        };
        let slack = match kind.promise {
            Promise::Linear if slack > 0.0 => SLACK_LINEAR,
            Promise::Linear | Promise::Flat => slack,
        };
        Curve::new(kind, &counts.iter().map(point).collect::<Vec<_>>(), slack)
    }
}
