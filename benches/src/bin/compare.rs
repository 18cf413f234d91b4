//! `cargo run --release -p midflight-benches --bin compare`: ours and the peers, side by side.

use clap::Parser;
use midflight_benches::libraries::Libraries;
use midflight_benches::reload::Counts;
use midflight_benches::report::{Report, Run};
use midflight_benches::rounds::{Until, rounded};
use midflight_benches::{against, blackout, calls, plot, reload};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Times calls, reloads and switches of midflight, of what one could write by hand, and of other
/// libraries that reload code.
#[derive(Parser)]
struct Options {
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Fewer rounds and reloads: less than 50 seconds.
    #[arg(long)]
    quick: bool,
    /// Rounds of calls, instead of as many as fit.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Alternate rounds of calls with another build of this program, and say which lanes differ.
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    /// Run rounds for another build, which asks for them through standard input.
    #[arg(long, hide = true)]
    rounds_for_another: bool,
    /// Draw the calls to this file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    midflight::preflight();
    let options = Options::parse();
    if cfg!(debug_assertions) {
        eprintln!("compare: built without optimisation, figures mean nothing: use --release");
    }
    let load = load();
    let libraries = Libraries::build();
    if options.rounds_for_another {
        against::serve(&libraries);
        return ExitCode::SUCCESS;
    }
    if let Some(other) = &options.against {
        return compare_with(other, &libraries, &options);
    }
    let began = Instant::now();

    let seconds = |quick, full| Duration::from_secs(if options.quick { quick } else { full });
    let until = options.rounds.map_or(Until::Time(seconds(14, 60)), Until::Rounds);
    let timed = calls::trivial(&libraries, until);
    let payload = calls::payload(&libraries, Until::Time(seconds(2, 12)));
    let (reload, reload_to_floor) = reload::run(
        &libraries,
        match options.quick {
            true => Counts { fast: 100, half_a_second: 7, two_seconds: 3 },
            false => Counts { fast: 500, half_a_second: 30, two_seconds: 10 },
        },
    );
    let rounds = if options.quick { 7 } else { 31 };
    let (blackout, drain_us) = blackout::run(&libraries, rounds, Duration::from_millis(400));

    let report = Report {
        run: Run {
            rounds: timed.first().map_or(0, |timed| timed.rounds.len()),
            seconds: rounded(began.elapsed().as_secs_f64()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor(),
            load,
        },
        ratios: calls::ratios(&timed),
        calls: timed.iter().map(|timed| timed.call()).collect(),
        payload,
        reload,
        reload_to_floor,
        blackout,
        drain_us,
    };
    if let Some(file) = &options.plot
        && let Err(error) = plot::draw(&timed, file)
    {
        eprintln!("compare: can't draw {}: {error}", file.display());
    }
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("plain figures")),
        false => print!("{}", report.table()),
    }
    ExitCode::SUCCESS
}

/// 1 where the builds differ, 2 where they can't be compared.
fn compare_with(other: &Path, libraries: &Libraries, options: &Options) -> ExitCode {
    let time = Duration::from_secs(if options.quick { 28 } else { 120 });
    let until = options.rounds.map_or(Until::Time(time), Until::Rounds);
    let against = match against::run(libraries, other, until) {
        Ok(against) => against,
        Err(error) => {
            eprintln!("compare: {error}");
            return ExitCode::from(2);
        }
    };
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&against).expect("plain figures")),
        false => print!("{}", against.table()),
    }
    if against.alike { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(String::new, |(_, name)| name.to_owned())
}

fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}
