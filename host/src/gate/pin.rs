//! Pins: which threads are inside which release.
//!
//! A call must keep its release loaded for its own length. Counting calls on the release would do, but then every
//! call of every thread writes the same cache line, and that line is all that a call costs. So each thread announces
//! the release that it is about to use in a record that only it writes, and the rare retirement looks through all
//! records.
//!
//! # Who touches what
//! | field of `Thread` | owner thread | others |
//! |---|---|---|
//! | `depth`, `Frame::group` | reads and writes | – |
//! | `Frame::hazard` | stores the release, Release, before its fence; null, Release, at the end; reads, Relaxed | the control plane reads, Acquire, after its fence |
//! | `Frame::held` | writes and reads, Relaxed | the control plane reads, for reports |
//! | `Frame::call`, `tid` | write | the control plane reads, for reports |
//! | `attention` | reads, Relaxed; swaps to 0, AcqRel | the control plane writes 1, Release |
//! | `taken` | writes false at its end, Release | a thread without a record: false → true, Acquire, which makes it the owner |
//! | `next` | – | written before the record is in the list, never after |
//!
//! | a frame at | `group` | `hazard` | `held` |
//! |---|---|---|---|
//! | `depth` and above | anything | null | null |
//! | below, pinned | its group | its release, announced and confirmed | null |
//! | below, entered by a lease | its group | null: the lease holds | its release |
//! | below, inherited | null | null: a frame below holds | null |
//! | `depth`, between announcement and confirmation | anything | a release that may be gone: compared, never used | null |
//!
//! # Why no release is freed under a call
//! Reader: store the hazard, SeqCst fence ([`announced`]), load `current` again; only if it is unchanged is the release
//! used. Writer: store `current`, SeqCst fence ([`about_to_scan`]), read every hazard. The two fences are totally ordered.
//! - If the reader's fence is first, the writer's reads see the hazard, and it waits.
//! - If the writer's fence is first, the reader's second load sees the new `current`, and it tries again with that.
//!
//! A hazard is cleared with Release and read with Acquire, so what the call did happens before the release is freed. It is
//! announced with Release as well: the scan may find the *next* call's announcement in the place of the null, and a
//! Relaxed store there would not hand on what the null did (it belongs to no release sequence since C++20; loom found it).
//! A release that is published again at the same address is another one to nobody: an address is free only when no
//! hazard holds it.
//!
//! # Why no record is missed
//! A record is in the list before its owner's first fence. By the same two interleavings either the scan finds it, or its
//! owner sees the new `current`. A record never leaves the list, and one that is handed on has all its hazards cleared:
//! the old owner's `taken = false` (Release) comes after, the new owner's exchange (Acquire) before it touches anything.
//!
//! # Why no call for attention is lost
//! The control plane writes what it wants done, then 1 with Release. The owner swaps to 0 with Acquire *before* it does what is
//! wanted: either the swap reads the 1, then it sees what is wanted; or the 1 comes after the swap, and stays for the next pass.
//!
//! `tests/models` runs this file under loom, with each of these steps left out in turn.

use super::cell::GroupCell;
use super::sync::{
    self, AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Hazard, Note, OwnPtr, OwnUsize, about_to_scan,
    announced, process_static, thread_static,
};
use crate::release::Release;
use crate::runtime::locals;
use midflight_plugin::Fault;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{from_ref, null, null_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release as Releasing};

/// The most that `calls_nested_max` can be.
pub(crate) const FRAMES: usize = sync::FRAMES;

/// What a thread is entering for: a method of a slot, by numbers that mean something in the slot's host. For reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call(u64);

impl Call {
    /// A request, whose calls are not told apart, or the taking of a lease.
    pub(crate) const REQUEST: Call = Call(u64::MAX);

    #[inline(always)]
    pub(crate) fn new(slot: usize, method: u16) -> Self {
        Call((slot as u64) << 16 | u64::from(method))
    }

    /// The slot's index and the method's number.
    pub(crate) fn method(self) -> Option<(usize, usize)> {
        let slot = usize::try_from(self.0 >> 16).ok()?;
        (self != Self::REQUEST).then_some((slot, (self.0 & 0xffff) as usize))
    }
}

/// Runs `f` on the release of `group` that this thread entered last, or on the current one if it is in none.
#[inline(always)]
pub(super) fn enter<R, E: From<Fault>>(
    group: &GroupCell,
    call: Call,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    let depth = thread.depth.get();
    // One test for both rare cases: inside of a call, or asked to attend.
    if depth | thread.attention.load(Relaxed) == 0 {
        return pin(thread, 0, group, call, f);
    }
    if depth == 0 {
        attend(thread);
        return pin(thread, 0, group, call, f);
    }
    match nested(thread, depth, group)? {
        Some(release) => {
            let _leave = Leave::deeper(thread, depth);
            // SAFETY: a frame below this one, on this very thread, holds the release until it is left, which is
            // after this call has returned.
            f(unsafe { &*release })
        }
        None => pin(thread, depth, group, call, f),
    }
}

/// [`enter`] in place of the call that this thread entered last, which found nothing where it was and so counts no more.
pub(super) fn enter_instead<R, E: From<Fault>>(
    group: &GroupCell,
    call: Call,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    // Left now; that its own `Leave` does it again at the end changes nothing.
    drop(Leave { thread, depth: thread.depth.get() - 1 });
    enter(group, call, f)
}

/// Runs `f` with `release` as the one that nested calls of this thread into `group` get.
///
/// The caller holds the release by other means (a lease) for the length of this call.
pub(super) fn enter_held<R, E: From<Fault>>(
    group: &GroupCell,
    release: &Release,
    call: Call,
    f: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let thread = this_thread();
    let depth = thread.depth.get();
    if depth >= group.calls_nested_max {
        return Err(too_deep(group).into());
    }
    if depth == 0 && thread.attention.load(Relaxed) != 0 {
        attend(thread);
    }
    let frame = &thread.frames[depth];
    frame.group.set(group);
    frame.held.store(from_ref(release).cast_mut(), Relaxed);
    frame.call.set(call.0);
    let _leave = Leave::deeper(thread, depth);
    let _held = Held { frame };
    f()
}

#[inline(always)]
fn pin<R, E>(
    thread: &'static Thread,
    depth: usize,
    group: &GroupCell,
    call: Call,
    f: impl FnOnce(&Release) -> Result<R, E>,
) -> Result<R, E> {
    let frame = &thread.frames[depth];
    let mut release = group.current.load(Relaxed);
    loop {
        frame.hazard.store(release, Releasing);
        announced();
        let again = group.current.load(Acquire);
        if again == release {
            break;
        }
        release = again;
    }
    frame.group.set(group);
    frame.call.set(call.0);
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
        let entered = frame.group.get();
        if std::ptr::eq(entered, group) {
            // The frame inherits, so it names no group itself.
            thread.frames[depth].group.set(null());
            return Ok(Some(frame.entered()));
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
    if thread.depth.get() == 0 {
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
    // Not beneath a destructor of a plugin's, which may have been lent what another one would free.
    // Cleared first: what is asked for meanwhile is seen at the next pass.
    if !locals::paying() && thread.attention.swap(0, AcqRel) != 0 {
        locals::attend();
    }
}

#[cold]
fn too_deep(group: &GroupCell) -> Fault {
    Fault::NestedTooDeep { bound: group.calls_nested_max }
}

/// Is a thread inside of `release`? No is final once nobody can enter it any more: after `GroupCell::publish` has put
/// another one in its place.
pub(super) fn is_pinned(release: &Release) -> bool {
    about_to_scan();
    threads().any(|thread| {
        let mut frames = thread.frames.iter();
        frames.any(|frame| std::ptr::eq(frame.hazard.load(Acquire), release))
    })
}

/// A thread inside of a release, as it looked a moment ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inside {
    pub(crate) tid: u32,
    pub(crate) call: Call,
    /// It is inside by a lease, which is counted as well.
    pub(crate) by_lease: bool,
}

/// The threads inside of `release`, each by its outermost call there.
pub(super) fn inside(release: &Release) -> Vec<Inside> {
    let inside = |thread: &Thread| {
        let here = |by: *mut Release| std::ptr::eq(by, release);
        let frame = (thread.frames.iter())
            .find(|frame| here(frame.hazard.load(Acquire)) || here(frame.held.load(Acquire)))?;
        let (tid, call) = (thread.tid.load(Relaxed), Call(frame.call.get()));
        Some(Inside { tid, call, by_lease: here(frame.held.load(Acquire)) })
    };
    threads().filter_map(inside).collect()
}

/// One thread's record. Never freed; taken over by another thread when its owner has ended.
///
/// In this order: an outermost call touches one cache line of it.
#[repr(C, align(128))]
struct Thread {
    depth: OwnUsize,
    /// Not 0: some plugin is closing. On the line of `depth`, which a call reads anyway.
    attention: AtomicUsize,
    frames: [Frame; FRAMES],
    tid: AtomicU32,
    taken: AtomicBool,
    next: AtomicPtr<Thread>,
}

/// One entered call: see the second table.
struct Frame {
    hazard: Hazard<Release>,
    group: OwnPtr<GroupCell>,
    call: Note,
    held: AtomicPtr<Release>,
}

impl Frame {
    /// What a frame that names a group is inside of.
    fn entered(&self) -> *const Release {
        let pinned = self.hazard.load(Relaxed);
        if pinned.is_null() { self.held.load(Relaxed) } else { pinned }
    }
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
        thread.depth.set(depth + 1);
        Leave { thread, depth }
    }
}

impl Drop for Leave {
    #[inline(always)]
    fn drop(&mut self) {
        self.thread.frames[self.depth].hazard.store(null_mut(), Releasing);
        self.thread.depth.set(self.depth);
    }
}

/// Of a frame that a lease entered.
struct Held {
    frame: &'static Frame,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.frame.held.store(null_mut(), Relaxed);
    }
}

process_static! {
    /// The newest record.
    FIRST: AtomicPtr<Thread> = AtomicPtr::new(null_mut())
}

thread_static! {
    // Const and without a Drop: it can be used at any point of a thread's end.
    THREAD: *const Thread = null()
}

#[inline(always)]
fn this_thread() -> &'static Thread {
    let thread = THREAD.with(Cell::get);
    if thread.is_null() {
        return register();
    }
    // SAFETY: only `register` sets it, to a record that is never freed.
    unsafe { &*thread }
}

#[cold]
#[inline(never)]
fn register() -> &'static Thread {
    let free = threads().find(|thread| thread.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok());
    let thread = free.unwrap_or_else(append);
    thread.tid.store(sync::tid(), Relaxed);
    THREAD.with(|this| this.set(thread));
    sync::at_thread_end(thread, ended);
    thread
}

fn append() -> &'static Thread {
    let thread = sync::forever(Thread::new());
    let mut first = FIRST.load(Relaxed);
    loop {
        thread.next.store(first, Relaxed);
        // Release: who finds the record sees it whole. That a scan finds it is its owner's fence's doing.
        match FIRST.compare_exchange_weak(first, from_ref(thread).cast_mut(), Releasing, Relaxed) {
            Ok(_) => return thread,
            Err(other) => first = other,
        }
    }
}

impl Thread {
    fn new() -> Self {
        let frame = |_| Frame {
            hazard: Hazard::new(null_mut()),
            group: OwnPtr::new(null_mut()),
            call: Note::new(),
            held: AtomicPtr::new(null_mut()),
        };
        Thread {
            depth: OwnUsize::new(0),
            attention: AtomicUsize::new(0),
            frames: std::array::from_fn(frame),
            tid: AtomicU32::new(0),
            taken: AtomicBool::new(true),
            next: AtomicPtr::new(null_mut()),
        }
    }
}

fn threads() -> impl Iterator<Item = &'static Thread> {
    let mut next = FIRST.load(Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or a record that is never freed.
        let thread: &'static Thread = unsafe { next.as_ref() }?;
        next = thread.next.load(Relaxed);
        Some(thread)
    })
}

/// Runs in the key phase of a thread's end. A thread that ends inside of a call keeps its record, and the record its
/// hazard: better a release that never drains than one that is freed under a frame that may still be unwound.
unsafe extern "C" fn ended(thread: *mut c_void) {
    // SAFETY: the value that `register` set, a record that is never freed.
    let thread: &Thread = unsafe { &*thread.cast::<Thread>() };
    THREAD.with(|this| this.set(null()));
    if thread.depth.get() == 0 {
        thread.taken.store(false, Releasing);
    }
}

#[cfg(test)]
pub(super) fn end_this_thread() {
    // SAFETY: this thread's record; the system calls it the same way once more.
    unsafe { ended(from_ref(this_thread()).cast_mut().cast()) };
}

#[cfg(test)]
pub(super) fn records() -> usize {
    threads().count()
}
