//! Handlers of signals: the host sets them, and remembers that this generation had one.

use super::{Site, host, real};
use std::ffi::{c_int, c_void};

/// Which of the C library's functions sets the handler: they differ in what the signal does next.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalStyle {
    /// `signal`: the handler stays, and system calls are begun again.
    Bsd = 0,
    /// `sysv_signal`: the handler is called once. Strict C's `signal` is this one.
    SysV = 1,
    /// `sigset`: the handler stays, and 2 in its place blocks the signal.
    Set = 2,
}

/// `sigaction`.
///
/// # Safety
/// As for the function.
pub unsafe fn sigaction(
    site: Site,
    signal: c_int,
    action: *const c_void,
    previous: *mut c_void,
) -> c_int {
    type Real = unsafe extern "C" fn(c_int, *const c_void, *mut c_void) -> c_int;
    // SAFETY: `action` and `previous` are what `sigaction` takes, by the promise of who calls this;
    // the real function has this type.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.sigaction)(host.owner, signal, action, previous),
            None => real::<Real>(site, c"sigaction")(signal, action, previous),
        }
    }
}

/// `signal`, and `bsd_signal` and `ssignal`, which are the same.
///
/// # Safety
/// As for the function.
pub unsafe fn signal(site: Site, signal: c_int, handler: usize) -> usize {
    // SAFETY: `handler` is one that `signal` takes, by the promise of who calls this.
    unsafe { styled(site, SignalStyle::Bsd, signal, handler) }
}

/// `sysv_signal`, and `__sysv_signal`, which `signal` is in C of a standard without extensions.
///
/// # Safety
/// As for the function.
pub unsafe fn sysv_signal(site: Site, signal: c_int, handler: usize) -> usize {
    // SAFETY: `handler` is one that `sysv_signal` takes, by the promise of who calls this.
    unsafe { styled(site, SignalStyle::SysV, signal, handler) }
}

/// `sigset`.
///
/// # Safety
/// As for the function.
pub unsafe fn sigset(site: Site, signal: c_int, handler: usize) -> usize {
    // SAFETY: `handler` is one that `sigset` takes, by the promise of who calls this.
    unsafe { styled(site, SignalStyle::Set, signal, handler) }
}

/// # Safety
/// As for the function of that style.
unsafe fn styled(site: Site, style: SignalStyle, signal: c_int, handler: usize) -> usize {
    type Real = unsafe extern "C" fn(c_int, usize) -> usize;
    let name = match style {
        SignalStyle::Bsd => c"signal",
        SignalStyle::SysV => c"sysv_signal",
        SignalStyle::Set => c"sigset",
    };
    // SAFETY: `handler` is one that the function of this style takes, by the promise of who calls
    // this; each of the three has this type.
    unsafe {
        match host(site) {
            Some(host) => (host.hooks.signal)(host.owner, style, signal, handler),
            None => real::<Real>(site, name)(signal, handler),
        }
    }
}
