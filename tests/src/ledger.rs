//! The ledger: what the plugin `nasty` says of its values, and what its threads wait for.

use crate::log::WITHIN;
use midflight::{Host, Slot};
use nasty_contracts::{Ledger as Contract, Nasty};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// As long as an update takes, or its way out would be over before.
const DAWDLES: Duration = Duration::from_millis(5);

/// The service behind the plugin `nasty`.
#[derive(Default)]
pub struct Ledger {
    made: AtomicU64,
    destroyed: AtomicU64,
    foreign: AtomicU64,
    interrupted: AtomicU64,
    dawdles: AtomicBool,
    /// Threads that wait for a token up to this go on.
    let_go: Mutex<u64>,
    changed: Condvar,
    slot: OnceLock<Slot<dyn Nasty>>,
    host: OnceLock<Host>,
    called_back: AtomicU64,
}

impl Ledger {
    /// Values that were made and not destroyed.
    pub fn open(&self) -> u64 {
        // In this order: what is destroyed was made before.
        let destroyed = self.destroyed();
        self.made.load(SeqCst) - destroyed
    }

    /// Values that were destroyed.
    pub fn destroyed(&self) -> u64 {
        self.destroyed.load(SeqCst)
    }

    /// Values that were destroyed on another thread than they were made on.
    pub fn foreign(&self) -> u64 {
        self.foreign.load(SeqCst)
    }

    /// Times that a value of its thread's was destroyed while a destructor called back.
    pub fn interrupted(&self) -> u64 {
        self.interrupted.load(SeqCst)
    }

    /// From here on destructors take their time: what does not wait for them is seen.
    pub fn dawdle(&self) {
        self.dawdles.store(true, SeqCst);
    }

    /// Lets all go that wait for `token` or for one before it, now or later.
    pub fn let_go(&self, token: u64) {
        let mut let_go = self.let_go.lock().unwrap_or_else(PoisonError::into_inner);
        *let_go = token.max(*let_go);
        self.changed.notify_all();
    }

    /// Destructors that have called back, and got their answers.
    pub fn called_back(&self) -> u64 {
        self.called_back.load(SeqCst)
    }

    /// Destructors that call back ask the host's control plane for a slot as well.
    pub fn ask(&self, host: &Host) {
        assert!(self.host.set(host.clone()).is_ok(), "the ledger has one host");
    }

    /// Destructors that call back call through this slot.
    pub fn call_back_through(&self, slot: Slot<dyn Nasty>) {
        assert!(self.slot.set(slot).is_ok(), "the ledger has one slot");
    }
}

impl Contract for Ledger {
    fn made(&self) {
        self.made.fetch_add(1, SeqCst);
    }

    fn destroyed(&self, foreign: bool) {
        self.destroyed.fetch_add(1, SeqCst);
        self.foreign.fetch_add(foreign.into(), SeqCst);
        if self.dawdles.load(SeqCst) {
            thread::sleep(DAWDLES);
        }
    }

    fn wait(&self, token: u64) {
        let let_go = self.let_go.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(let_go, WITHIN, |let_go| *let_go < token));
    }

    fn call_back(&self) {
        let before = self.destroyed();
        let slot = self.slot.get().expect("a slot to call");
        slot.build().expect("an answer");
        if let Some(host) = self.host.get() {
            let slot = host.slot::<dyn Nasty>("nasty").expect("another slot");
            slot.build().expect("an answer");
        }
        self.called_back.fetch_add(1, SeqCst);
        self.interrupted.fetch_add(self.destroyed() - before, SeqCst);
    }
}
