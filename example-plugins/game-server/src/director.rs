//! The director: applies one version of the rules after the other for as long as it is played.

use crate::libraries::Libraries;
use midflight::{Host, Refusal};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) struct Director {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Switches>,
}

/// What came of the updates.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    pub(crate) switched: u64,
    pub(crate) refused: Vec<Refusal>,
}

impl Director {
    pub(crate) fn start(host: Host, libraries: Libraries, pause: Duration) -> anyhow::Result<Self> {
        let over: Arc<AtomicBool> = Arc::default();
        let until = Arc::clone(&over);
        let direct = move || {
            let mut switches = Switches::default();
            for library in [&libraries.v2, &libraries.v1].into_iter().cycle() {
                thread::park_timeout(pause);
                if until.load(Acquire) {
                    break;
                }
                // Returns when a switch point has switched it in.
                match host.apply(library) {
                    Ok(_) => switches.switched += 1,
                    Err(refusal) => switches.refused.push(refusal),
                }
            }
            switches
        };
        let thread = thread::Builder::new().name("director".to_owned()).spawn(direct)?;
        Ok(Director { over, thread })
    }

    /// The version that is on its way may still come.
    pub(crate) fn stop(&self) {
        self.over.store(true, Release);
        self.thread.thread().unpark();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn join(self) -> Switches {
        self.stop();
        self.thread.join().unwrap_or_default()
    }
}
