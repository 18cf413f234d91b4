//! The director: applies one version of the rules after the other in the windows that are for it.

use crate::libraries::Libraries;
use crate::windows::Window;
use midflight::{Host, Refusal};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) struct Director {
    orders: Arc<Orders>,
    thread: JoinHandle<Switches>,
}

#[derive(Default)]
struct Orders {
    switching: AtomicBool,
    over: AtomicBool,
}

/// What came of the updates.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    pub(crate) switched: u64,
    pub(crate) refused: Vec<Refusal>,
}

impl Director {
    pub(crate) fn start(host: Host, libraries: Libraries, pause: Duration) -> anyhow::Result<Self> {
        let orders: Arc<Orders> = Arc::default();
        let given = Arc::clone(&orders);
        let direct = move || {
            let mut switches = Switches::default();
            for library in [&libraries.v2, &libraries.v1].into_iter().cycle() {
                thread::park_timeout(pause);
                while !given.switching.load(Acquire) && !given.over.load(Acquire) {
                    thread::park();
                }
                if given.over.load(Acquire) {
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
        Ok(Director { orders, thread })
    }

    /// Versions are applied in switching windows alone. One that is on its way may still come.
    pub(crate) fn enter(&self, window: Window) {
        let switching = window == Window::Switching;
        if self.orders.switching.swap(switching, AcqRel) != switching {
            self.thread.thread().unpark();
        }
    }

    /// The version that is on its way may still come.
    pub(crate) fn stop(&self) {
        self.orders.over.store(true, Release);
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
