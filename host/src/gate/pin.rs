//! Pins: which threads are inside which release.
//!
//! A call must keep its release loaded for its own length. Counting calls on the release would do, but then every
//! call of every thread writes the same cache line, and that line is all that a call costs. So each thread announces
//! the release that it is about to use in a record that only it writes, and the rare retirement looks through all
//! records.
//!
//! # Who touches what
//! | field of `Thread` | owner thread | control plane |
//! |---|---|---|
//! | `depth`, `Frame::group`, `Frame::release` | reads and writes, Relaxed | – |
//! | `Frame::hazard` | writes: Relaxed before the fence, null with Release at the end | reads, Acquire |
//! | `attention` | swaps to 0 | writes 1, Release |
//! | `tid` | writes at registration | reads, Relaxed |
//! | `taken` | writes false at its end, Release | – (other threads: compare-exchange to take it over) |
//!
//! # Why no release is freed under a call
//! Reader: store the hazard, SeqCst fence, load `current` again; only if it is unchanged is the release used.
//! Writer: store `current`, SeqCst fence, read every hazard. The two fences are totally ordered.
//! - If the reader's fence is first, the writer's scan sees the hazard, and waits.
//! - If the writer's fence is first, the reader's second load sees the new `current`, and tries again with that.
//!
//! A hazard is cleared with Release and scanned with Acquire, so what the call did happens before the retirement.

use super::GroupCell;
use crate::release::Release;
use crate::runtime::locals;
use midflight_plugin::Fault;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release as Releasing, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, fence};

/// The most that `calls_nested_max` can be: the frames that a thread's record has room for.
pub(crate) const FRAMES: usize = 64;

/// Runs `f` on the release of `group` that this thread entered last, or on the current one if it is in none.
#[inline(always)]
pub(super) fn enter<R, E: From<Fault>>(
    group: &GroupCell,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    let depth = thread.depth.load(Relaxed);
    // One test for both rare cases: inside of a call, or asked to attend.
    if depth | thread.attention.load(Relaxed) == 0 {
        return pin(thread, 0, group, f);
    }
    if depth == 0 {
        attend(thread);
        return pin(thread, 0, group, f);
    }
    match nested(thread, depth, group)? {
        Some(release) => {
            let _leave = Leave::deeper(thread, depth);
            // SAFETY: a frame below this one, on this very thread, holds the release until it is left, which is
            // after this call has returned.
            f(unsafe { &*release })
        }
        None => pin(thread, depth, group, f),
    }
}

/// [`enter`] in place of the call that this thread entered last, which found nothing where it was and so counts no more.
pub(super) fn enter_instead<R, E: From<Fault>>(
    group: &GroupCell,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    // Left now; that its own `Leave` does it again at the end changes nothing.
    drop(Leave { thread, depth: thread.depth.load(Relaxed) - 1 });
    enter(group, f)
}

/// Runs `f` with `release` as the one that nested calls of this thread into `group` get.
///
/// The caller holds the release by other means (a lease) for the length of this call.
pub(super) fn enter_held<R, E: From<Fault>>(
    group: &GroupCell,
    release: &Release,
    f: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    let depth = thread.depth.load(Relaxed);
    if depth >= group.calls_nested_max {
        return Err(too_deep(group).into());
    }
    if depth == 0 && thread.attention.load(Relaxed) != 0 {
        attend(thread);
    }
    let frame = &thread.frames[depth];
    frame.group.store(std::ptr::from_ref(group).cast_mut(), Relaxed);
    frame.release.store(std::ptr::from_ref(release).cast_mut(), Relaxed);
    let _leave = Leave::deeper(thread, depth);
    f()
}

#[inline(always)]
fn pin<R, E>(
    thread: &'static Thread,
    depth: usize,
    group: &GroupCell,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let frame = &thread.frames[depth];
    let mut release = group.current.load(Relaxed);
    loop {
        frame.hazard.store(release, Relaxed);
        fence(SeqCst);
        let again = group.current.load(Acquire);
        if again == release {
            break;
        }
        release = again;
    }
    frame.group.store(std::ptr::from_ref(group).cast_mut(), Relaxed);
    frame.release.store(release, Relaxed);
    let _leave = Leave::deeper(thread, depth);
    // SAFETY: the hazard was announced before `current` was seen to be `release`, so by the argument above nobody
    // frees it until `_leave` clears the hazard.
    f(unsafe { &*release })
}

/// The release that a call from inside of a call belongs to, if this thread is in that group already.
#[cold]
#[inline(never)]
fn nested(thread: &Thread, depth: usize, group: &GroupCell) -> Result<Option<*const Release>, Fault> {
    if depth >= group.calls_nested_max {
        return Err(too_deep(group));
    }
    let mut groups = 0;
    for frame in thread.frames[..depth].iter().rev() {
        let entered = frame.group.load(Relaxed);
        if std::ptr::eq(entered, group) {
            return Ok(Some(frame.release.load(Relaxed)));
        }
        groups += usize::from(!entered.is_null());
    }
    if groups >= group.groups_nested_max {
        return Err(Fault::TooManyGroups { bound: group.groups_nested_max });
    }
    Ok(None)
}

/// Runs what this thread owes to plugins that are closing, if it is in no call and was asked to.
pub(crate) fn checkpoint() {
    let thread = this_thread();
    if thread.depth.load(Relaxed) == 0 {
        attend(thread);
    }
}

/// Asks every thread to attend at its next outermost pass.
pub(crate) fn ask_all() {
    for thread in threads() {
        thread.attention.store(1, Releasing);
    }
}

#[cold]
#[inline(never)]
fn attend(thread: &Thread) {
    // Cleared first: what is asked for meanwhile is seen at the next pass.
    if thread.attention.swap(0, AcqRel) != 0 {
        locals::attend();
    }
}

#[cold]
fn too_deep(group: &GroupCell) -> Fault {
    Fault::NestedTooDeep { bound: group.calls_nested_max }
}

/// The threads that are inside of `release` at this moment. Empty is final once nobody can enter it any more: after
/// `GroupCell::publish` has put another one in its place.
pub(crate) fn holders(release: &Release) -> Vec<u32> {
    fence(SeqCst);
    threads()
        .filter(|thread| {
            let mut frames = thread.frames.iter();
            frames.any(|frame| std::ptr::eq(frame.hazard.load(Acquire), release))
        })
        .map(|thread| thread.tid.load(Relaxed))
        .collect()
}

/// One thread's record. Never freed; taken over by another thread when its owner has ended.
#[repr(align(128))]
struct Thread {
    depth: AtomicUsize,
    /// Not 0: some plugin is closing. On the line of `depth`, which a call reads anyway.
    attention: AtomicUsize,
    frames: [Frame; FRAMES],
    tid: AtomicU32,
    taken: AtomicBool,
    next: AtomicPtr<Thread>,
}

/// One entered call. INVARIANT: all null from `Thread::depth` upwards.
struct Frame {
    /// What the control plane must not free. Null in the frame of a lease, which holds its release by itself.
    hazard: AtomicPtr<Release>,
    /// Null in the frame of a call that runs on the release of a frame below.
    group: AtomicPtr<GroupCell>,
    release: AtomicPtr<Release>,
}

/// Leaves the frame on every way out, a panic too. Private to this module and to closures: a guard in other hands
/// could be dropped out of order, or sent away.
struct Leave {
    thread: &'static Thread,
    depth: usize,
}

impl Leave {
    #[inline(always)]
    fn deeper(thread: &'static Thread, depth: usize) -> Self {
        thread.depth.store(depth + 1, Relaxed);
        Leave { thread, depth }
    }
}

impl Drop for Leave {
    #[inline(always)]
    fn drop(&mut self) {
        let frame = &self.thread.frames[self.depth];
        frame.group.store(null_mut(), Relaxed);
        frame.hazard.store(null_mut(), Releasing);
        self.thread.depth.store(self.depth, Relaxed);
    }
}

static FIRST: AtomicPtr<Thread> = AtomicPtr::new(null_mut());

thread_local! {
    // Const and without a Drop: it can be used at any point of a thread's end.
    static THREAD: Cell<*const Thread> = const { Cell::new(null()) };
}

#[inline(always)]
fn this_thread() -> &'static Thread {
    let thread = THREAD.get();
    if thread.is_null() {
        return register();
    }
    // SAFETY: only `register` sets it, to a record that is never freed.
    unsafe { &*thread }
}

#[cold]
#[inline(never)]
fn register() -> &'static Thread {
    let free = threads().find(|thread| thread.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok());
    let thread = free.unwrap_or_else(append);
    thread.tid.store(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(), Relaxed);
    THREAD.set(thread);
    // A Rust thread-local's destructor would be too early: others that run after it may still call plugins. Keys come
    // after all of them, and one that is set again in a destructor is asked again.
    // SAFETY: the key is ours; the value is only ever read back by `ended`.
    unsafe { libc::pthread_setspecific(key(), std::ptr::from_ref(thread).cast()) };
    thread
}

fn append() -> &'static Thread {
    let thread = Box::leak(Box::new(Thread {
        depth: AtomicUsize::new(0),
        attention: AtomicUsize::new(0),
        frames: [const {
            Frame {
                hazard: AtomicPtr::new(null_mut()),
                group: AtomicPtr::new(null_mut()),
                release: AtomicPtr::new(null_mut()),
            }
        }; FRAMES],
        tid: AtomicU32::new(0),
        taken: AtomicBool::new(true),
        next: AtomicPtr::new(null_mut()),
    }));
    let mut first = FIRST.load(Relaxed);
    loop {
        thread.next.store(first, Relaxed);
        // SeqCst: ordered before the fence of the owner's first pin, so that a scan which must see that pin's hazard
        // finds the record.
        match FIRST.compare_exchange_weak(first, thread, SeqCst, Relaxed) {
            Ok(_) => return thread,
            Err(other) => first = other,
        }
    }
}

fn threads() -> impl Iterator<Item = &'static Thread> {
    let mut next = FIRST.load(Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or a record that is never freed.
        let thread: &'static Thread = unsafe { next.as_ref() }?;
        next = thread.next.load(Acquire);
        Some(thread)
    })
}

/// Runs in the key phase of a thread's end. A thread that ends inside of a call keeps its record, and the record its
/// hazard: better a release that never drains than one that is freed under a frame that may still be unwound.
unsafe extern "C" fn ended(thread: *mut c_void) {
    // SAFETY: the value that `register` set, a record that is never freed.
    let thread: &Thread = unsafe { &*thread.cast::<Thread>() };
    THREAD.set(null());
    if thread.depth.load(Relaxed) == 0 {
        thread.taken.store(false, Releasing);
    }
}

fn key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is a place to write to, and `ended` is host code, which is never unloaded.
        let made = unsafe { libc::pthread_key_create(&mut key, Some(ended)) };
        assert_eq!(made, 0, "the process has no pthread key left for midflight's gate");
        key
    })
}
