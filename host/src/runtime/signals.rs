//! The signals that a plugin has ever handled.
//!
//! Reading the dispositions before the unload is not enough: who sets a handler after a plugin did,
//! another version of it or the host, keeps the earlier one and calls it from its own. Nobody can
//! see that, so a generation that handled a signal once stays.

use super::owner;
use crate::library::signal_name;
use midflight_plugin::rt::SignalStyle;
use std::ffi::{c_int, c_void};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Every signal that a generation has set a handler for: bit 0 is signal 1. A handler may set one,
/// so there is no lock and no memory to wait for.
#[derive(Default)]
pub(super) struct Signals(AtomicU64);

const SIGNAL_MAX: c_int = 64;

impl Signals {
    pub(super) fn holds(&self) -> Vec<String> {
        let handled = self.0.load(SeqCst);
        let handled = (1..=SIGNAL_MAX).filter(|signal| handled >> (signal - 1) & 1 != 0);
        handled.map(|signal| format!("signal: {}", signal_name(signal))).collect()
    }

    fn note(&self, signal: c_int, handler: usize) {
        if handler != libc::SIG_DFL
            && handler != libc::SIG_IGN
            && (1..=SIGNAL_MAX).contains(&signal)
        {
            self.0.fetch_or(1 << (signal - 1), SeqCst);
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

/// Answers `signal` of a plugin's, and its kin.
pub(super) unsafe extern "C" fn set_handler(
    of: *const (),
    style: SignalStyle,
    signal: c_int,
    handler: usize,
) -> usize {
    unsafe extern "C" {
        fn sysv_signal(signal: c_int, handler: usize) -> usize;
        fn sigset(signal: c_int, handler: usize) -> usize;
    }
    /// What stands for a handler and blocks the signal instead.
    const SIG_HOLD: usize = 2;
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    if style != SignalStyle::Set || handler != SIG_HOLD {
        owner.signals.note(signal, handler);
    }
    // SAFETY: as in `set`; each of the three is a function of this type.
    unsafe {
        match style {
            SignalStyle::Bsd => libc::signal(signal, handler),
            SignalStyle::SysV => sysv_signal(signal, handler),
            SignalStyle::Set => sigset(signal, handler),
        }
    }
}
