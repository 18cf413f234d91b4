//! Life: one service that meets a damaged library.
//!
//! It says on its output what came of each file that it is given, and lives on as long as none was
//! mapped in it. With a preflight a child opens, starts, stops and closes each library first
//! (`HostBuilder::preflight_start`). A library that was accepted is called in every way, replaced
//! by another version, and unmapped before the service ends.

use crate::{Fixture, Rig, check_answers};
use midflight::{Residency, Stage};
use rustix::process::{Resource, Rlimit, Signal};
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a service of so many bytes holds must fit in this address space.
const ADDRESS_SPACE_BYTES_MAX: u64 = 8 << 30;
/// Processor time: a damaged loop burns it, a busy machine doesn't.
const CPU_SECONDS_MAX: u64 = 20;
const FILE_BYTES_MAX: u64 = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a retired version may take to be unmapped; beyond that it stays, which harms nobody.
const UNMAPPED_WITHIN: Duration = Duration::from_secs(3);

/// Serves `probe` 1.0.0 and takes the paths of files from its input. `main` had
/// `midflight::preflight()` as its first line.
pub fn live(preflight: bool) -> ExitCode {
    limit();
    let rig = Rig::with(|builder| {
        let builder =
            builder.preflight(preflight).preflight_deadline(DEADLINE).start_deadline(DEADLINE);
        // The child has no desk, and the plugin needs none to be started and stopped there.
        let builder = builder.preflight_start(preflight).config("probe", "desk_optional = true");
        builder.stop_deadline(UNMAPPED_WITHIN).hook_deadline(DEADLINE)
    });
    rig.apply(Fixture::V1);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let Ok(path) = line else { break };
        match meet(&rig, Path::new(&path)) {
            Met::Untouched(word) => println!("{word}"),
            Met::Mapped(word) => {
                println!("{word}");
                rig.host.shutdown(UNMAPPED_WITHIN);
                println!("ended");
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}

enum Met {
    /// Nothing of the file was mapped in this process.
    Untouched(String),
    Mapped(String),
}

fn meet(rig: &Rig, path: &Path) -> Met {
    let applied = match rig.host.apply(path) {
        Ok(applied) => applied,
        Err(refusal) => {
            let word = format!("refused {} {}", refusal.code(), refusal.stage());
            // What serves must serve on.
            check_answers(&rig.probe, 1);
            return match refusal.stage() {
                Stage::Read | Stage::Inspect | Stage::Manifest => Met::Untouched(word),
                _ => Met::Mapped(word),
            };
        }
    };
    let right = asked(rig, 2);
    rig.apply(Fixture::V3);
    // What another version says is not up to the damaged one.
    check_answers(&rig.probe, 3);
    if let Err(wrong) = right {
        return Met::Mapped(format!("wrong {wrong}"));
    }
    Met::Mapped(match unmapped(rig, applied.generation) {
        true => "served".to_owned(),
        false => "wrong it stays mapped".to_owned(),
    })
}

/// Asks everything; the first answer that is not as it should be.
fn asked(rig: &Rig, version: u32) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| check_answers(&rig.probe, version))).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("an answer");
        text.lines().next().unwrap_or_default().to_owned()
    })
}

fn unmapped(rig: &Rig, generation: u64) -> bool {
    let until = Instant::now() + UNMAPPED_WITHIN;
    while Instant::now() < until {
        if matches!(rig.residency(generation), Residency::Unmapped) {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

/// A damaged library may ask for anything.
fn limit() {
    // No core file: not 0, since a core that is piped to a program ignores that.
    let limits = [
        (Resource::Core, 1),
        (Resource::As, ADDRESS_SPACE_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Fsize, FILE_BYTES_MAX),
    ];
    for (resource, limit) in limits {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        rustix::process::setrlimit(resource, limit).expect("a limit");
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .expect("its parent's death");
}
