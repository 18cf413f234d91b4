//! Damage: libraries that are wrong in one place are refused, or do no harm to the service that is
//! given them.
//!
//! ```text
//! cargo run --release -p midflight-tests --bin damage -- --flips 20000 --json
//! cargo run --release -p midflight-tests --bin damage -- --crafted --json
//! cargo run --release -p midflight-tests --bin damage -- --mutants 1000000 --run 5000 --json
//! ```
//!
//! Each damaged copy of `probe` 2.0.0 is given to a service of its own, this binary, which loads
//! it, calls it in every way, replaces it by 3.0.0, and waits until it is unmapped. Before that a
//! child of the service opens, starts, stops and closes it (`HostBuilder::preflight_start`): the
//! plugin needs no service to be started. What is wrong in code, in data, in the addends of
//! relocations or in the tables of exceptions is counted apart.
//! It exits with 0 only if nothing else ended a service that has a preflight, and if each flip in a
//! stamped copy was refused.

use clap::Parser;
use midflight_inspect::{stamp, unstamp};
use midflight_tests::damage::mutants::{Inspected, Mutants};
use midflight_tests::damage::{Case, Counts, Places, cases, crafted, life, pool};
use midflight_tests::{FIXTURES, Fixture, Random};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What `--short` does of each kind.
const SHORT: Amounts = Amounts { flips: 600, crafted_each: 20, mutants: 4_000, run: 60 };

/// Damages a plugin in one place at a time, and counts what becomes of the services that are given
/// it.
#[derive(Parser)]
struct Options {
    /// Flip so many single bits.
    #[arg(long, default_value_t = 0)]
    flips: usize,
    /// Flip bits of this place alone: `.dynamic`, `ELF header`, `.rela.dyn offset`.
    #[arg(long)]
    section: Option<String>,
    /// Flip bits of a stamped library alone, each of which has to be refused.
    #[arg(long)]
    stamped: bool,
    /// Flip this one bit.
    #[arg(long)]
    bit: Option<usize>,
    /// Put odd values into each field.
    #[arg(long)]
    crafted: bool,
    /// Show so many random mutants to the inspection.
    #[arg(long, default_value_t = 0)]
    mutants: u64,
    /// Give so many of those that it accepts to services.
    #[arg(long, default_value_t = 0)]
    run: usize,
    /// Some of everything, in about a minute.
    #[arg(long)]
    short: bool,
    /// Whether a child opens, starts, stops and closes each library first.
    #[arg(long, default_value = "on", value_parser = ["on", "off"])]
    preflight: String,
    /// What is damaged at random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many services run at once; else as many as there are cores.
    #[arg(long)]
    workers: Option<usize>,
    /// The report as JSON, on standard output.
    #[arg(long)]
    json: bool,
}

/// How much of each kind of damage.
#[derive(Debug, Clone, Copy)]
struct Amounts {
    flips: usize,
    /// Each so many of the crafted ones; 0 for none.
    crafted_each: usize,
    mutants: u64,
    run: usize,
}

impl Options {
    fn amounts(&self) -> Amounts {
        match self.short {
            true => SHORT,
            false => Amounts {
                flips: self.flips.max(self.bit.is_some().into()),
                crafted_each: self.crafted.into(),
                mutants: self.mutants,
                run: self.run,
            },
        }
    }

    fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

fn main() -> ExitCode {
    // An ordinary service has this line and nothing before it.
    midflight::preflight();
    if let [word, preflight] = std::env::args().skip(1).collect::<Vec<_>>().as_slice()
        && word == "live"
    {
        return life::live(preflight == "on");
    }
    let options = Options::parse();
    let home = tempfile::tempdir().expect("a directory");
    let [_, library, _] = Fixture::build([Fixture::V1, Fixture::V2, Fixture::V3], home.path());
    let mut sound = std::fs::read(library).expect("a built plugin");
    unstamp(&mut sound).expect("room for a stamp");
    let run = Run { options: &options, places: Places::of(&sound), sound, home: home.path() };
    let (began, amounts) = (Instant::now(), options.amounts());
    let mut report = json!({ "preflight": options.preflight, "seed": options.seed });
    let mut broken = Vec::new();
    if amounts.flips > 0 && !options.stamped {
        let counts = run.flips(&run.sound, amounts.flips);
        run.tell("flips", &counts, &mut report, &mut broken);
    }
    if amounts.flips > 0 {
        let mut stamped = run.sound.clone();
        stamp(&mut stamped).expect("room for a stamp");
        let counts = run.flips(&stamped, amounts.flips);
        run.tell("stamped_flips", &counts, &mut report, &mut broken);
        if counts.refused() != counts.cases() {
            broken.push(format!(
                "{} of {} flips of a stamped library refused",
                counts.refused(),
                counts.cases()
            ));
        }
    }
    if amounts.crafted_each > 0 {
        let counts = run.crafted(amounts.crafted_each);
        run.tell("crafted", &counts, &mut report, &mut broken);
    }
    if amounts.mutants > 0 {
        let inspected = run.mutants(amounts.mutants, &mut report, &mut broken);
        let counts = run.accepted(&inspected, amounts.run);
        run.tell("accepted_mutants", &counts, &mut report, &mut broken);
    }
    report["seconds"] = began.elapsed().as_secs().into();
    report["broken"] = json!(broken);
    if options.json {
        println!("{report:#}");
    }
    let verdict = if broken.is_empty() { "kept" } else { "BROKEN" };
    eprintln!("{verdict} {}", broken.join("; "));
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// One library, and what is done to it.
struct Run<'a> {
    options: &'a Options,
    sound: Vec<u8>,
    places: Places,
    home: &'a Path,
}

impl Run<'_> {
    fn flips(&self, sound: &[u8], count: usize) -> Counts {
        let mut random = Random::new(self.options.seed);
        let within = self.options.section.as_deref();
        let bits = match self.options.bit {
            Some(bit) => vec![bit],
            None => cases::flips(sound, &self.places, count, within, &mut random),
        };
        self.live(bits.into_iter().map(|bit| cases::flip(sound, bit, &self.places)))
    }

    fn crafted(&self, each: usize) -> Counts {
        let all = crafted::all(&self.sound).into_iter().step_by(each);
        self.live(all.map(|craft| craft.case(&self.sound, &self.places)))
    }

    fn mutants(&self, count: u64, report: &mut Value, broken: &mut Vec<String>) -> Inspected {
        let mutants = Mutants::of(&self.sound, &self.places, self.options.seed);
        let found = mutants.inspect(count, self.options.workers());
        let (accepted, panicked, slow) = (found.accepted.len(), &found.panicked, &found.slow);
        report["mutants"] = json!({
            "inspected": count, "accepted": accepted, "panicked": panicked, "slow": slow,
        });
        eprintln!(
            "mutants: {count} inspected, {accepted} accepted, {panicked:?} panicked, {slow:?} slow"
        );
        if !panicked.is_empty() || !slow.is_empty() {
            broken
                .push(format!("the inspection panicked at {panicked:?} and was slow at {slow:?}"));
        }
        found
    }

    fn accepted(&self, inspected: &Inspected, count: usize) -> Counts {
        let mutants = Mutants::of(&self.sound, &self.places, self.options.seed);
        let each = (inspected.accepted.len() / count.max(1)).max(1);
        let chosen = inspected.accepted.iter().step_by(each).take(count);
        self.live(chosen.map(|number| mutants.case(*number, &self.places)))
    }

    fn live(&self, cases: impl Iterator<Item = Case> + Send) -> Counts {
        let service = || {
            let mut command = Command::new(pool::this());
            command.args(["live", &self.options.preflight]).env(FIXTURES, self.home);
            command
        };
        let workers = self.options.workers();
        pool::Pool { service: &service, directory: self.home, workers }.run(cases)
    }

    /// Without a preflight nothing is promised, only counted.
    fn tell(&self, name: &str, counts: &Counts, report: &mut Value, broken: &mut Vec<String>) {
        report[name] = counts.report();
        eprintln!("{name}: {}", counts.line());
        if self.options.preflight == "on" && counts.killed() > 0 {
            broken.push(format!("{name}: {} killed", counts.killed()));
        }
    }
}
