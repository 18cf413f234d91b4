//! What the pin protocol is made of: atomics, fences, shares, statics.
//!
//! `tests/models` compiles [`pin`](super::pin) and [`cell`](super::cell) as they are over a module
//! of the same names whose types are loom's, and whose faults can be planted. So each type here has
//! one part in the protocol, and the file knows nothing else.

use crate::runtime::host_key::HostKey;
use std::ffi::c_void;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

pub(super) use arc_swap::ArcSwap as Owner;
pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, fence};

/// How often something was done, for who looks whether it was done meanwhile.
pub(super) type Count = AtomicUsize;

/// The frames that a thread's record has room for.
pub(super) const FRAMES: usize = 64;

/// The pointer through which a group's release is entered.
pub(super) type Mirror<T> = AtomicPtr<T>;
/// The pointer that announces a release.
pub(super) type Hazard<T> = AtomicPtr<T>;

/// The reader's announcement, and its fence: before its second look at the mirror.
#[inline(always)]
pub(super) fn announce<T>(hazard: &Hazard<T>, value: *mut T) {
    hazard.swap(value, SeqCst);
}

/// The writer's fence: between its store to the mirror and its look at the hazards.
#[inline(always)]
pub(super) fn about_to_scan() {
    fence(SeqCst);
}

/// The writer's fence as well: between its look at a thread's hazards and its second one at what
/// that thread has copied.
#[inline(always)]
pub(super) fn has_looked() {
    fence(SeqCst);
}

/// A number that only the owner of its record touches. (Atomic, so that this need not be believed
/// to be sound.)
pub(super) struct OwnUsize(AtomicUsize);

impl OwnUsize {
    pub(super) const fn new(value: usize) -> Self {
        OwnUsize(AtomicUsize::new(value))
    }

    #[inline(always)]
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn set(&self, value: usize) {
        self.0.store(value, Relaxed);
    }
}

/// A remark that the owner of its record writes and reads. To others it is for reports: they decide
/// nothing by it, so they may read it at any time, and it may be of another moment.
pub(super) struct Note(AtomicU64);

impl Note {
    pub(super) const fn new() -> Self {
        Note(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

macro_rules! process_static {
    ($(#[$attribute:meta])* $name:ident: $type:ty = $value:expr) => {
        $(#[$attribute])*
        static $name: $type = $value;
    };
}
pub(super) use process_static;

macro_rules! thread_static {
    ($(#[$attribute:meta])* $name:ident: $type:ty = $value:expr) => {
        std::thread_local! {
            $(#[$attribute])*
            static $name: std::cell::Cell<$type> = const { std::cell::Cell::new($value) };
        }
    };
}
pub(super) use thread_static;

/// For as long as the process lives.
pub(super) fn forever<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

pub(super) fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

static KEY: HostKey = HostKey::new();

/// Makes the gate's key, if that is still to be done.
///
/// # Errors
/// The process has none left.
pub(super) fn make_key(ended: unsafe extern "C" fn(*mut c_void)) -> io::Result<()> {
    KEY.make(ended).map(drop)
}

/// Has `ended` called with `record` in the key phase of this thread's end.
///
/// A Rust thread-local's destructor would be too early: others that run after it may still call
/// plugins. Keys come after all of them, and one that is set again in a destructor is asked again.
/// `ended` is the same at each call.
pub(super) fn at_thread_end<T>(record: &'static T, ended: unsafe extern "C" fn(*mut c_void)) {
    let key = KEY.make(ended).expect("a host's start has made it");
    // SAFETY: the key is ours; the value is only ever read back by `ended`.
    unsafe { libc::pthread_setspecific(key, std::ptr::from_ref(record).cast()) };
}
