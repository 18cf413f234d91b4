//! The live view: a line each second while it runs, and a summary at the end.

use crate::ledger::Ledger;
use crate::observer::Scene;
use crate::report::{Generation, Latency, Report};
use parking_lot::Mutex;
use std::io::{IsTerminal, stdout};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that prints.
pub(crate) struct Live {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Live {
    pub(crate) fn start(ledger: Arc<Ledger>, scene: Arc<Mutex<Scene>>, per_second: f64) -> Self {
        let (stop, stopped) = mpsc::channel();
        println!("{per_second:.0} requests a second are due, and some that take their time");
        let thread = thread::spawn(move || {
            let begin = Instant::now();
            let (mut requests, mut faults, mut refusals) = (0, 0, 0);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_secs(1))
            {
                let (requests_now, faults_now) =
                    ledger.read(|tally| (tally.requests, tally.faults));
                let scene = scene.lock().clone();
                let (version, generation) = scene.serving.unwrap_or_default();
                print!(
                    "{:>4} s  {:>7} req/s  p99 {:>6.2} ms  {} {version} (generation {generation})  {} unmapped",
                    begin.elapsed().as_secs(),
                    requests_now - requests,
                    ledger.recent_us().value_at_quantile(0.99) as f64 / 1e3,
                    colour(GREEN, "serving"),
                    scene.unmapped,
                );
                if scene.refusals.len() > refusals {
                    print!(
                        "  {} {}",
                        colour(YELLOW, "refused"),
                        scene.refusals[refusals..].join(", ")
                    );
                }
                if faults_now > faults {
                    print!("  {} {}", faults_now - faults, colour(RED, "faults"));
                }
                println!();
                (requests, faults, refusals) = (requests_now, faults_now, scene.refusals.len());
            }
        });
        Live { stop, thread }
    }

    pub(crate) fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("printing does not panic");
    }
}

/// The report, for people.
pub(crate) fn summary(report: &Report) {
    let bad = |count: u64| {
        if count == 0 { count.to_string() } else { colour(RED, &count.to_string()) }
    };
    println!();
    println!(
        "requests     {}, failed {}, mixed {}",
        report.requests,
        bad(report.failed),
        bad(report.mixed)
    );
    let answers =
        report.answers_by_version.iter().map(|(version, answers)| format!("{version}: {answers}"));
    println!("answers      {}", answers.collect::<Vec<_>>().join(", "));
    println!("faults       {}, all of the version that panics, before the rollback", report.faults);
    println!(
        "swaps        {}, {} calls were in the middle of one",
        report.swaps, report.calls_spanning_a_swap
    );
    let swap = &report.swap_ms;
    println!(
        "swap time    p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms from rename to active",
        swap.p50, swap.p99, swap.max
    );
    println!("latency      {}", latency(&report.latency_us_quiet, "while nothing changes"));
    println!("             {}", latency(&report.latency_us, "while versions are swapped"));
    println!("             p99 {:.2} times as long", report.p99_ratio);
    for (at, refused) in report.refused.iter().enumerate() {
        let title = if at == 0 { "refused" } else { "" };
        let code = colour(YELLOW, refused.code);
        println!("{title:<12} {}: {code} at {}: {}", refused.file, refused.stage, refused.message);
    }
    let (unmapped, others): (Vec<_>, Vec<_>) =
        report.generations.iter().partition(|g| g.residency == "unmapped");
    println!("generations  {} {}", unmapped.len(), colour(GREEN, "unmapped"));
    for Generation { plugin, version, generation, residency } in others {
        println!("             {plugin} {version} (generation {generation}): {residency}");
    }
}

fn latency(us: &Latency, when: &str) -> String {
    let [p50, p99, p999, max] = [us.p50, us.p99, us.p999, us.max].map(|us| us as f64 / 1e3);
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms {when}")
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

fn colour(code: u8, text: &str) -> String {
    if stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
