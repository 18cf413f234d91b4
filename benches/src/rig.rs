//! What every benchmark of our own starts from: a host with the plugin in a watched directory.

#![allow(unsafe_code, reason = "a contract of its own looks behind the proxies")]

use crate::libraries::{self, Libraries};
use bench_contracts::Work;
use midflight::bench::Turns;
use midflight::{Group, Host, Lease, Residency, Slot};
use midflight_plugin::rt::{Bound, Contract, Fault, Gate};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// A host, and version 1 of the plugin in its directory.
pub struct Rig {
    /// The host.
    pub host: Host,
    /// The plugin's contract.
    pub slot: Slot<dyn Work>,
    /// The plugin's group.
    pub group: Group,
    /// The file in the watched directory.
    pub watched: PathBuf,
}

impl Rig {
    /// Starts the host in directories of `name`, with no preflight.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(libraries: &Libraries, name: &str) -> Self {
        Self::start_with(libraries, name, false)
    }

    /// With a preflight, where this program's main has the line.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_with(libraries: &Libraries, name: &str, preflight: bool) -> Self {
        let plugins = libraries.new_directory(&format!("{name}-plugins"));
        let run = libraries.new_directory(&format!("{name}-run"));
        let watched = plugins.join("bench.so");
        libraries::place(&libraries.plugin[0], &watched);
        let builder = Host::builder().plugins(&plugins).run_directory(run).preflight(preflight);
        let host = builder.start().expect("the host starts");
        let slot = host.slot::<dyn Work>("bench").expect("the contract fits");
        assert_eq!(slot.version(), Ok(1), "version 1 serves");
        Rig { group: host.group("bench"), host, slot, watched }
    }

    /// A slot for the same calls that is not among the host's first 255.
    ///
    /// # Panics
    /// The plugin does not come.
    pub fn far(&self, libraries: &Libraries) -> Slot<dyn Work> {
        let host = Host::builder().preflight(false);
        let host = host.run_directory(libraries.new_directory("far-run")).start();
        let host = host.expect("the host starts");
        for number in 0..255 {
            let slot = host.slot::<dyn Work>(&format!("absent-{number}"));
            slot.expect("nobody is there whom it would not fit");
        }
        let far = host.slot::<dyn Work>("bench").expect("the contract fits");
        host.apply(&libraries.plugin[0]).expect("a plugin");
        // The host ends with its last handle, and the slot's plugin with it.
        std::mem::forget(host);
        far
    }

    /// Waits until everything that was replaced is unmapped.
    pub fn wait_until_retired(&self) {
        while self
            .host
            .status()
            .generations
            .iter()
            .filter(|one| one.residency != Residency::Unmapped)
            .count()
            > 1
        {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Two releases that take turns: of version 1, and of version 2, which is applied.
    ///
    /// # Panics
    /// Version 2 is refused.
    #[allow(unsafe_code, reason = "a door that safe code has not")]
    pub fn turns(&self, libraries: &Libraries) -> (Turns, Slot<dyn Work>) {
        let first = self.group.lease().expect("a release");
        self.host.apply(&libraries.plugin[1]).expect("version 2");
        let second = self.group.lease().expect("a release");
        // SAFETY: the plugin of the benches has neither a state nor hooks.
        let turns = unsafe { Turns::new(&first, &second) };
        let slot = turns.slot(&self.slot).expect("both bind it");
        (turns, slot)
    }

    /// What the slot's calls go to at this moment, and the lease that keeps it there.
    ///
    /// # Panics
    /// Nothing serves.
    pub fn bound(&self) -> (Lease, Bound) {
        let slot = self.host.slot::<Bare>("bench").expect("the same contract");
        let lease = self.group.lease().expect("a release");
        let bound =
            lease.get(&slot).0.enter(0, |bound| Ok::<_, Fault>(*bound)).expect("it is bound");
        (lease, bound)
    }
}

/// The plugin's contract, without its methods: calls through it hand out what they would call.
enum Bare {}

/// A gate that is not hidden in a proxy.
struct Exposed<G>(G);

// SAFETY: the proxy calls nothing.
unsafe impl Contract for Bare {
    type Functions = <dyn Work as Contract>::Functions;
    type Proxy<G: Gate> = Exposed<G>;
    const NAME: &'static str = <dyn Work as Contract>::NAME;
    const VERSION: &'static str = <dyn Work as Contract>::VERSION;
    const METHODS: &'static [&'static str] = <dyn Work as Contract>::METHODS;

    unsafe fn proxy<G: Gate>(gate: G) -> Exposed<G> {
        Exposed(gate)
    }
}
