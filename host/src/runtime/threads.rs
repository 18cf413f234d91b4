//! The threads of a plugin.
//!
//! glibc is given a routine of the host's, which runs the plugin's and then what the thread owes to
//! its plugin. When that has returned, no instruction of the plugin's runs on the thread any more,
//! and none is on its stack.

use super::{DEAD, Owner, locals, owner};
use midflight_plugin::rt::Routine;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_ulong, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// The threads of a generation that have been asked for and not ended.
#[derive(Default)]
pub(super) struct Threads(Mutex<BTreeMap<u64, Known>>);

/// What is known of one.
#[derive(Default, Clone, Copy)]
struct Known {
    /// 0 until it runs.
    tid: u32,
    /// Its name in the C library, from when it runs or whoever asked for it is answered, whatever
    /// is first.
    handle: Option<c_ulong>,
}

impl Threads {
    /// `threads: tid 4711 (exchange), tid 4712 (exchange)`; nothing where there are none.
    pub(super) fn holds(&self) -> Vec<String> {
        let left: Vec<_> = self.0.lock().values().map(|known| name(known.tid)).collect();
        if left.is_empty() { left } else { vec![format!("threads: {}", left.join(", "))] }
    }
}

/// Answers whether a plugin's thread may end where it is: it is the plugin's own, and in no call,
/// through which nothing may unwind.
pub(super) unsafe extern "C" fn may_exit(of: *const ()) -> bool {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let record = THREAD.get();
    // SAFETY: null or this thread's record, which only this thread frees.
    unsafe { record.as_ref() }.is_some_and(|thread| Arc::ptr_eq(&thread.owner, &owner))
        && !crate::gate::pin::is_entered()
}

/// Answers whether a thread is one of a plugin's own.
pub(super) unsafe extern "C" fn owns(of: *const (), thread: c_ulong) -> bool {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let threads = owner.threads.0.lock();
    threads.values().any(|known| known.handle == Some(thread))
}

/// `tid 4711 (exchange)`
pub(crate) fn name(tid: u32) -> String {
    if tid == 0 {
        return "one that is starting".to_owned();
    }
    match comm(tid) {
        Some(name) => format!("tid {tid} ({name})"),
        None => format!("tid {tid}"),
    }
}

/// A thread's name as the system knows it, while it lives.
pub(crate) fn comm(tid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

pub(super) fn current() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// A thread of a plugin's, from its request to its end.
struct Thread {
    owner: Arc<Owner>,
    routine: Routine,
    argument: *mut c_void,
    number: u64,
}

thread_local! {
    /// On a plugin's thread, until its end is counted.
    static THREAD: Cell<*mut Thread> = const { Cell::new(null_mut()) };
}

/// Answers `pthread_create` of a plugin's.
pub(super) unsafe extern "C" fn create(
    of: *const (),
    thread: *mut c_ulong,
    attributes: *const c_void,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    if owner.is(DEAD) {
        return libc::EAGAIN;
    }
    let number = NUMBERS.fetch_add(1, Relaxed);
    owner.threads.0.lock().insert(number, Known::default());
    let asks = Arc::clone(&owner);
    let record = Box::into_raw(Box::new(Thread { owner, routine, argument, number }));
    // SAFETY: the pointers are the plugin's, as it would pass them to the function that this stands
    // for; the record is the routine's from here on. The two routine types differ in that ours lets
    // a forced unwind (pthread_exit, cancellation) pass.
    let made = unsafe {
        let run = transmute::<Routine, extern "C" fn(*mut c_void) -> *mut c_void>(run);
        libc::pthread_create(thread, attributes.cast(), run, record.cast())
    };
    if made != 0 {
        // SAFETY: no thread has it.
        let record = unsafe { Box::from_raw(record) };
        record.owner.threads.0.lock().remove(&record.number);
    } else if let Some(known) = asks.threads.0.lock().get_mut(&number) {
        // It has not ended, so the place was written, and nobody has it joined and its handle used
        // again. SAFETY: the plugin's place to write to, written by the function above.
        known.handle = Some(unsafe { *thread });
    }
    made
}

/// No value with a Drop lives in this frame: a forced unwind passes through it, and [`leave`] is
/// then called from the thread's key phase.
unsafe extern "C-unwind" fn run(record: *mut c_void) -> *mut c_void {
    let record: *mut Thread = record.cast();
    begin(record);
    // SAFETY: from `create`, freed by `leave` on this thread.
    let (routine, argument) = unsafe { ((*record).routine, (*record).argument) };
    // SAFETY: the plugin's routine with its own argument; its code stays mapped while the record is
    // counted.
    let result = unsafe { routine(argument) };
    leave();
    result
}

fn begin(record: *mut Thread) {
    THREAD.set(record);
    // SAFETY: this thread's record.
    let record = unsafe { &*record };
    // SAFETY: it asks for nothing but this thread's handle.
    let handle = unsafe { libc::pthread_self() };
    record
        .owner
        .threads
        .0
        .lock()
        .insert(record.number, Known { tid: current(), handle: Some(handle) });
    locals::arm_this_thread();
}

/// Runs what this thread owes to its plugin, and counts its end. Nothing on a thread that is no
/// plugin's.
pub(super) fn leave() {
    let record = THREAD.replace(null_mut());
    if record.is_null() {
        return;
    }
    // SAFETY: made by `create`, and taken out of the thread-local just now.
    let record = unsafe { Box::from_raw(record) };
    locals::pay_all(&record.owner);
    record.owner.threads.0.lock().remove(&record.number);
}
