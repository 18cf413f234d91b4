//! The kill loop: a service is killed with SIGKILL at any moment of its updates, and must start
//! again with what was committed last.
//!
//! ```text
//! cargo run --release -p midflight-tests --bin killing -- --kills 500 --json
//! ```
//!
//! The child is this binary: a host with a journal that goes from version to version, says before
//! each what it tries and after each what was committed. The parent kills it after a random time,
//! at its start too, and compares what the next one serves with what the last one said. It exits
//! with 0 only if each start worked and served what was committed last, or what was being committed
//! when the kill came.

use midflight::Host;
use midflight_tests::{Desk, Fixture, Random, arguments};
use probe_contracts::{Desk as DeskContract, Probe};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "killing [--kills N] [--seed N] [--json]";
/// What one life may last before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(150);
/// A child that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const PROBATION: Duration = Duration::from_millis(5);
const VERSIONS: [Fixture; 3] = [Fixture::V1, Fixture::V2, Fixture::V3];

fn main() -> ExitCode {
    // The child: `killing live <directory>`.
    if let [word, home] = std::env::args().skip(1).collect::<Vec<_>>().as_slice()
        && word == "live"
    {
        live(Path::new(home));
    }
    let ([kills, seed], as_json) = match arguments(USAGE, [("kills", 500), ("seed", 1)]) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let home = tempfile::tempdir().expect("a directory");
    // Built before the clock of the first life runs.
    Fixture::build(VERSIONS, home.path());
    let began = Instant::now();
    let random = Random::new(seed);
    let mut loops =
        Loop { random, committed: None, trying: None, served: BTreeMap::new(), wrong: Vec::new() };
    let mut silent = 0;
    for kill in 0..kills {
        if kill % 50 == 0 && !as_json {
            eprintln!("{kill} of {kills} kills");
        }
        silent += u64::from(!loops.one_life(home.path()));
    }
    let (served, wrong) = (&loops.served, &loops.wrong);
    let report = json!({
        "kills": kills, "before_it_served": silent, "served": served, "wrong": wrong,
        "seconds": began.elapsed().as_secs(),
    });
    if as_json {
        println!("{report:#}");
    } else {
        println!(
            "{kills} kills, {silent} of them before it served; then {served:?}; wrong: {wrong:?}"
        );
    }
    let all_seen = kills < 100 || (served.len() >= 3 && silent > 0);
    if !all_seen {
        eprintln!(
            "not every version was served after a kill, or none came early: nothing is shown by that"
        );
    }
    ExitCode::from(u8::from(!wrong.is_empty() || !all_seen))
}

struct Loop {
    random: Random,
    committed: Option<u32>,
    /// What the last life tried and had not said to be committed.
    trying: Option<u32>,
    served: BTreeMap<u32, u64>,
    wrong: Vec<String>,
}

impl Loop {
    /// Starts a service, and kills it. False if that came before it served.
    fn one_life(&mut self, home: &Path) -> bool {
        let binary = std::env::current_exe().expect("this binary");
        let mut child = Command::new(binary);
        let child = child.arg("live").arg(home).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().expect("a child");
        let output = child.stdout.take().expect("its output");
        let life = Duration::from_micros(
            self.random.number() % u64::try_from(LIFE_MAX.as_micros()).unwrap_or(1),
        );
        let pid = rustix::process::Pid::from_child(&child);
        // One in five is killed at its start, the others that long after they serve.
        let early = self.random.number().is_multiple_of(5);
        let kill_in = move |life| {
            thread::spawn(move || {
                thread::sleep(life);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            })
        };
        let mut killer = early.then(|| kill_in(life / 10));
        let watchdog = Instant::now();
        let mut served = false;
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            let mut words = line.split(' ');
            let (word, version) =
                (words.next(), words.next().and_then(|version| version.parse::<u32>().ok()));
            match (word, version) {
                (Some("serving"), version) => {
                    served = true;
                    self.check(version);
                    killer.get_or_insert_with(|| kill_in(life));
                }
                (Some("trying"), Some(version)) => self.trying = Some(version),
                (Some("committed"), Some(version)) => {
                    (self.committed, self.trying) = (Some(version), None);
                }
                _ => self.wrong.push(line),
            }
            if watchdog.elapsed() > SILENCE_MAX {
                self.wrong.push("it was not killed".to_owned());
                let _ = child.kill();
            }
        }
        let status = child.wait().expect("its status");
        killer.into_iter().for_each(|killer| drop(killer.join()));
        if status.code().is_some() {
            self.wrong.push(format!("it ended by itself: {status}"));
        }
        served
    }

    fn check(&mut self, version: Option<u32>) {
        if version != self.committed && (version.is_none() || version != self.trying) {
            let (committed, trying) = (self.committed, self.trying);
            self.wrong
                .push(format!("serves {version:?}, committed was {committed:?}, tried {trying:?}"));
        }
        (self.committed, self.trying) = (version, None);
        *self.served.entry(version.unwrap_or(0)).or_default() += 1;
    }
}

/// The service: until it is killed.
fn live(home: &Path) -> ! {
    let host = Host::builder()
        .provide::<dyn DeskContract, _>(Arc::new(Desk::default()))
        .run_directory(home.join("run"))
        .journal(home.join("journal"))
        .probation(PROBATION)
        .check_interval(Duration::from_millis(1))
        .start();
    let host = match host {
        Ok(host) => host,
        Err(error) => {
            println!("no start: {error:?}");
            std::process::exit(1);
        }
    };
    let mut events = host.events();
    let probe = host.slot::<dyn Probe>("probe").expect("a slot");
    let mut version = probe.version().unwrap_or(0);
    println!("serving {}", if version == 0 { "none".to_owned() } else { version.to_string() });
    loop {
        version = version % 3 + 1;
        println!("trying {version}");
        let library = home.join(format!("{:?}.so", VERSIONS[version as usize - 1]));
        let applied = host.apply(library).unwrap_or_else(|refusal| panic!("{refusal}"));
        // A first version has no probation.
        let mut committed = applied.previous.is_none();
        while !committed {
            let event = events.next_timeout(SILENCE_MAX).expect("an event");
            committed =
                event.kind.name() == "committed" && event.generation == Some(applied.generation);
        }
        println!("committed {version}");
    }
}
