//! The signals that a plugin has ever handled.
//!
//! Reading the dispositions before the unload is not enough: who sets a handler after a plugin did, another version of it or the host,
//! keeps the earlier one and calls it from its own. Nobody can see that, so a generation that handled a signal once stays.

use super::owner;
use crate::library::signal_name;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};

/// Every signal that a generation has set a handler for.
#[derive(Default)]
pub(super) struct Signals(Mutex<BTreeSet<c_int>>);

impl Signals {
    pub(super) fn holds(&self) -> Vec<String> {
        self.0.lock().iter().map(|signal| format!("signal: {}", signal_name(*signal))).collect()
    }

    fn note(&self, signal: c_int, handler: usize) {
        if handler != libc::SIG_DFL && handler != libc::SIG_IGN {
            self.0.lock().insert(signal);
        }
    }
}

/// Answers `sigaction` of a plugin's.
pub(super) unsafe extern "C" fn set(
    of: *const (),
    signal: c_int,
    action: *const c_void,
    previous: *mut c_void,
) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let action = action.cast::<libc::sigaction>();
    // SAFETY: null or the plugin's, as for the function that this stands for.
    if let Some(action) = unsafe { action.as_ref() } {
        // Before it is set: it may be called at once.
        owner.signals.note(signal, action.sa_sigaction);
    }
    // SAFETY: the plugin's arguments, to the function that it asked for.
    unsafe { libc::sigaction(signal, action, previous.cast()) }
}

/// Answers `signal` of a plugin's.
pub(super) unsafe extern "C" fn set_handler(of: *const (), signal: c_int, handler: usize) -> usize {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    owner.signals.note(signal, handler);
    // SAFETY: as in `set`.
    unsafe { libc::signal(signal, handler) }
}
