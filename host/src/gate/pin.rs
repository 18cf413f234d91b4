//! Pins: which threads are inside which release.
//!
//! A call must keep its release loaded for its own length. Counting calls on the release would do,
//! but then every call of every thread writes the same cache line, and that line is all that a call
//! costs. So each thread announces the release that it is about to use in a record that only it
//! writes, and the rare retirement looks through all records.
//!
//! # Who touches what
//! | field of `Thread` | owner thread | others |
//! |---|---|---|
//! | `depth` | reads and writes | – |
//! | `copies` | adds one, SeqCst | the control plane reads: Acquire, and again after a fence |
//! | `Frame::hazard` | announces the release, with a fence; stores that of a lease, and null at the end, Release; reads, Acquire, and SeqCst to look again | the control plane reads, Acquire, after its fence; a thread to which the call was moved stores null at its end, Release |
//! | `Frame::note` | writes and reads, Relaxed | the control plane reads, for reports |
//! | `tid` | writes | the control plane reads, for reports |
//! | `attention` | reads, Relaxed; swaps to 0, AcqRel; writes 1 | the control plane writes 1, Release |
//! | `taken` | writes false at its end, Release | a thread without a record: false → true, Acquire, which makes it the owner |
//! | `next` | – | written before the record is in the list, never after |
//!
//! | a frame at | group in `note` | `hazard` |
//! |---|---|---|
//! | [`entered`](Thread::entered) and above, and any that was left before one above it | anything | null |
//! | below, pinned | its group | its release, announced and confirmed |
//! | below, entered by a lease | its group | its release, which the lease holds: it is there to be found, and nobody need find it |
//! | below, inherited | its group | the release that a frame below had, announced and confirmed |
//! | the next, between announcement and confirmation | anything | a release that may be gone: compared, never used |
//!
//! # Why no release is freed under a call
//! Reader: exchange the hazard, SeqCst ([`announce`]), load `current` again, SeqCst; only if it is
//! unchanged is the release used. Writer: store `current`, SeqCst fence ([`about_to_scan`]), read
//! every hazard. The exchange and the fence are totally ordered.
//! - If the reader's exchange is first, the writer's reads see the hazard, and it waits.
//! - If the writer's fence is first, the reader's second load, which comes after both, sees the new
//!   `current`, and it tries again with that.
//!
//! An exchange and not a store with a fence after it: on x86-64 both wait for all stores before
//! them, and the exchange is one of these itself. Every other access has the orders that a fence in
//! its place would need; the models have that fence.
//!
//! A hazard is cleared with Release and read with Acquire, so what the call did happens before the
//! release is freed. It is announced with Release as well: the scan may find the *next* call's
//! announcement in the place of the null, and a Relaxed store there would not hand on what the null
//! did (it belongs to no release sequence since C++20; loom found it). A release that is published
//! again at the same address is another one to nobody: an address is free only when no hazard holds
//! it.
//!
//! # Why no side of a fork is freed under a call
//! A release may own others and be there only to lead to them ([`Entered::over`]). Who is in it
//! announces the inner one *in the place of* the outer one, and needs no second look: of one place
//! the scan reads the values in the order in which they were written. The scan for the inner
//! release comes after one that did not find the outer one any more (`Retired::look` gives it out
//! only then), so it finds the announcement of the inner one, or what came after that.
//!
//! # Why the order in which calls are left does not matter
//! A call is mostly left in the reverse order and on its own thread. A coroutine that is suspended
//! inside of one (safe code can do that) leaves it whenever it is resumed, after calls that came
//! later and perhaps on another thread. So a call rests on no other frame than its own: its hazard
//! says that the frame is taken, and holds the release. To leave is to store null there, whoever
//! does it.
//!
//! A nested call finds its release in a frame below, which may be left in that very moment. It
//! announces the release in its own frame and asks whether that is current: then it is pinned as
//! any other is. If it is not, the thread adds one to `copies`, announces again, and looks whether
//! the frame below still has it. A scan reads `copies`, then the frames from the lowest up, and
//! after a fence `copies` again. It can miss the nested call only if it read its frame before the
//! announcement and the frame below after that was left.
//! - If the scan found the new `copies` at its beginning, it had acquired the announcement before
//!   that, and saw it.
//! - If it did not: the frame below was left after the second look, and the scan saw that before
//!   its last fence. So the look comes before that fence, and `copies`, which was written before
//!   the look, is found to be changed.
//!
//! For that the two accesses around the second announcement are SeqCst as well. It is an
//! exchange and no fence, which would order what is around it: the one order of all has in it
//! only what is SeqCst itself. A look that is not could come after the scan's fence there, and
//! so could a `copies` that is not.
//!
//! The frame below may be that of a call through a lease, which no scan need find: then the
//! lease is given back after the frame is left, and a scan comes only after that (see
//! [`cell`](super::cell)).
//!
//! A frame is taken by its owner alone: the first, where that is free, or the one above all that
//! are taken. So a release goes upwards from frame to frame, as the scan does. Who takes the first
//! one looks at no other, so that the call counts as outermost even where a coroutine has left one
//! above it: it pins what is current, and rests on nothing else.
//!
//! # Why no record is missed
//! A record is put into the list before its owner's first exchange, by one that is SeqCst as well.
//! By the same two interleavings either the scan, which loads the list after its fence, finds it,
//! or its owner sees the new `current`.
//!
//! A record never leaves the list, and one that is handed on has all its hazards cleared: the old
//! owner's `taken = false` (Release) comes after, the new owner's exchange (Acquire) before it
//! touches anything.
//!
//! # Why no call for attention is lost
//! The control plane writes what it wants done, then 1 with Release. The owner swaps to 0 with
//! Acquire *before* it does what is wanted: either the swap reads the 1, then it sees what is
//! wanted; or the 1 comes after the swap, and stays for the next pass.
//!
//! `tests/models` runs this file under loom, with each of these steps left out in turn.

use super::cell::GroupCell;
use super::sync::{
    self, AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Count, Hazard, Note, OwnUsize,
    about_to_scan, announce, fence, has_looked, process_static, thread_static,
};
use crate::gate::release::Release;
use crate::runtime::locals;
use midflight_plugin::Fault;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{from_ref, null, null_mut};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release as Releasing, SeqCst};

/// The most that `calls_nested_max` can be.
pub(crate) const FRAMES: usize = sync::FRAMES;

/// What a thread is entering for: a method of a slot, by numbers that mean something in the slot's
/// host. For reports.
///
/// The lower bits of a frame's note: a slot, a method, and whether it is by a lease. Above them is
/// the group's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call(u64);

const BY_LEASE: u64 = 1;
const METHOD: u32 = 1;
const SLOT: u32 = 8;
const GROUP: u32 = 28;
const METHODS: u64 = (1 << (SLOT - METHOD)) - 1;
const SLOTS: u64 = (1 << (GROUP - SLOT)) - 1;

impl Call {
    /// A request, whose calls are not told apart, or the taking of a lease.
    pub(crate) const REQUEST: Call = Call(SLOTS << SLOT);

    /// The first method of a slot. What there is no number for is told as a request.
    pub(crate) fn new(slot: usize) -> Self {
        Call((slot as u64).min(SLOTS) << SLOT)
    }

    #[inline(always)]
    pub(crate) fn of(self, method: u16) -> Self {
        Call(self.0 | (u64::from(method) & METHODS) << METHOD)
    }

    /// The slot's index and the method's number.
    pub(crate) fn method(self) -> Option<(usize, usize)> {
        let slot = self.0 >> SLOT & SLOTS;
        (slot != SLOTS).then_some((slot as usize, (self.0 >> METHOD & METHODS) as usize))
    }

    fn told(note: u64) -> (Self, bool) {
        (Call(note & ((1 << GROUP) - 1) & !BY_LEASE), note & BY_LEASE != 0)
    }
}

/// A group as notes name it: its number, above a call. No two groups of a process have the same,
/// and none has 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupNumber(u64);

impl GroupNumber {
    pub(super) fn next() -> Self {
        // No part of the protocol.
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = LAST.fetch_add(1, Relaxed) + 1;
        assert!(
            number < 1 << (u64::BITS - GROUP),
            "a process can make no more groups and fixed slots"
        );
        GroupNumber(number << GROUP)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

/// Enters the current release of `group`, as nearly every call does: on a thread that is in no
/// other, and that nothing is asked of. `None`: it is to be [`enter`]ed, out of line.
///
/// The frequent way has no other in it, so that a call's arguments stay in registers. Its pin is
/// one exchange before the call and one store after. The exchange waits for every store before it,
/// so each counts.
#[inline(always)]
pub(super) fn enter_plainly(group: &GroupCell, call: Call) -> Option<Entered> {
    let thread = this_thread_known()?;
    let frame = &thread.frames[0];
    thread.is_plain().then(|| Entered { release: pin(frame, group, call), frame })
}

/// Runs `f` inside of the release of `group` that this thread entered last, or of the current one
/// if it is in none.
///
/// `f` gets the pin itself, so that it can leave before it does what is no call: a result that said
/// so would go through memory.
#[inline(always)]
pub(super) fn enter<R, E: From<Fault>>(
    group: &GroupCell,
    call: Call,
    f: impl FnOnce(Entered) -> Result<R, E>,
) -> Result<R, E> {
    if let Some(entered) = enter_plainly(group, call) {
        return f(entered);
    }
    f(enter_rarely(group, call)?)
}

#[cold]
#[inline(never)]
pub(super) fn enter_rarely(group: &GroupCell, call: Call) -> Result<Entered, Fault> {
    attend_outside();
    let thread = this_thread();
    loop {
        let depth = thread.entered();
        let below = nested(thread, depth, group)?;
        // Not before: beyond the bound there is no frame.
        let frame = thread.take(depth);
        let Some(below) = below else {
            return Ok(Entered { release: pin(frame, group, call), frame });
        };
        if let Some(release) = inherit(thread, below, frame, group, call) {
            return Ok(Entered { release, frame });
        }
    }
}

/// Makes `release` the one that nested calls of this thread into `group` get, on a thread as for
/// [`enter_plainly`].
///
/// The caller holds the release by other means (a lease) for as long as it is entered.
#[inline(always)]
pub(super) fn hold_plainly(group: &GroupCell, release: &Release, call: Call) -> Option<Entered> {
    let thread = this_thread_known()?;
    thread.is_plain().then(|| thread.frames[0].hold(group, release, call))
}

/// Runs `f` with `release` as the one that nested calls of this thread into `group` get. The caller
/// holds it, as above.
pub(super) fn enter_held<R, E: From<Fault>>(
    group: &GroupCell,
    release: &Release,
    call: Call,
    f: impl FnOnce() -> Result<R, E>,
) -> Result<R, E> {
    let _entered = match hold_plainly(group, release, call) {
        Some(entered) => entered,
        None => hold_rarely(group, release, call)?,
    };
    f()
}

/// As [`enter_held`], for what must run however deep the thread is: the end of a value, whose
/// caller can't be refused. Beyond the last frame nested calls are refused anyway, so that none
/// asks which release it belongs to.
pub(super) fn enter_surely<R>(
    group: &GroupCell,
    release: &Release,
    call: Call,
    f: impl FnOnce() -> R,
) -> R {
    attend_outside();
    let thread = this_thread();
    let depth = thread.entered();
    if depth == FRAMES {
        return f();
    }
    let _entered = thread.take(depth).hold(group, release, call);
    f()
}

#[cold]
#[inline(never)]
fn hold_rarely(group: &GroupCell, release: &Release, call: Call) -> Result<Entered, Fault> {
    attend_outside();
    let thread = this_thread();
    let depth = thread.entered();
    if depth >= group.calls_nested_max {
        return Err(too_deep(group));
    }
    Ok(thread.take(depth).hold(group, release, call))
}

/// Announces the current release in `frame`, and looks again.
#[inline(always)]
fn pin(frame: &Frame, group: &GroupCell, call: Call) -> *const Release {
    // Before the exchange, which the loads would wait for.
    frame.describe(group, call.0);
    let mut release = group.current.load(Relaxed);
    loop {
        announce(&frame.hazard, release);
        let again = group.current.load(SeqCst);
        if again == release {
            break;
        }
        // Aside, so that what follows comes next: each jump of a call counts.
        std::hint::cold_path();
        release = again;
    }
    release
}

/// The frame whose release a call from inside of a call belongs to, if this thread is in that group
/// already.
#[cold]
#[inline(never)]
fn nested(
    thread: &'static Thread,
    depth: usize,
    group: &GroupCell,
) -> Result<Option<&'static Frame>, Fault> {
    if depth >= group.calls_nested_max {
        return Err(too_deep(group));
    }
    let below = &thread.frames[..depth];
    let of = |group: GroupNumber| move |frame: &&Frame| frame.group() == group && frame.is_taken();
    if let Some(frame) = below.iter().rev().find(of(group.number)) {
        return Ok(Some(frame));
    }
    // A group counts once, however many frames are in it.
    let first = |at: usize, frame: &Frame| {
        frame.is_taken() && !below[..at].iter().any(|earlier| of(frame.group())(&earlier))
    };
    let groups = below.iter().enumerate().filter(|(at, frame)| first(*at, frame)).count();
    if groups >= group.groups_nested_max {
        return Err(Fault::TooManyGroups { bound: group.groups_nested_max });
    }
    Ok(None)
}

/// Announces in `frame` what `below` has; `None` if that was left meanwhile.
fn inherit(
    thread: &Thread,
    below: &Frame,
    frame: &Frame,
    group: &GroupCell,
    call: Call,
) -> Option<*const Release> {
    frame.describe(group, call.0);
    let release = below.hazard.load(Relaxed);
    announce(&frame.hazard, release);
    if release.is_null() || group.current.load(SeqCst) == release {
        return (!release.is_null()).then_some(release.cast_const());
    }
    // SeqCst on both sides of the announcement: see above.
    thread.copies.store(thread.copies.load(Relaxed).wrapping_add(1), SeqCst);
    announce(&frame.hazard, release);
    if below.hazard.load(SeqCst) == release {
        return Some(release);
    }
    frame.hazard.store(null_mut(), Releasing);
    None
}

/// Runs what this thread owes to plugins that are closing, if it is in no call and was asked to.
pub(crate) fn checkpoint() {
    attend_outside();
}

/// As [`checkpoint`]. Which thread this is has to be asked after it: a destructor can be suspended,
/// and go on elsewhere.
#[cold]
#[inline(never)]
fn attend_outside() {
    let thread = this_thread();
    if thread.entered() == 0 {
        attend(thread);
    }
}

/// Asks every thread to attend at its next outermost pass.
pub(crate) fn ask_all() {
    for thread in threads() {
        thread.attention.store(1, Releasing);
    }
}

/// Asks this thread to attend at its next outermost pass: a call of it has left something to do.
pub(crate) fn ask_this_thread() {
    if let Some(thread) = this_thread_known() {
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

/// Is this thread in any call?
pub(crate) fn is_entered() -> bool {
    this_thread_known().is_some_and(|thread| thread.entered() > 0)
}

/// The numbers of the groups that this thread is inside of, by a call, a request or a future.
pub(crate) fn groups() -> Vec<u64> {
    let Some(thread) = this_thread_known() else { return Vec::new() };
    let frames = thread.frames[..thread.entered()].iter().filter(|frame| frame.is_taken());
    frames.map(|frame| frame.group().number()).collect()
}

/// Is a thread inside of `release`? No is final once nobody can enter it any more: after
/// `GroupCell::publish` has put another one in its place.
pub(super) fn is_pinned(release: &Release) -> bool {
    about_to_scan();
    threads().any(|thread| thread.is_inside(release))
}

/// How often a record is looked through whose thread nests calls in retired releases meanwhile.
/// After that it counts as inside, until the next scan.
const LOOKS_MAX: usize = 100;

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
        let mut frames = thread.frames.iter();
        let frame = frames.find(|frame| std::ptr::eq(frame.hazard.load(Acquire), release))?;
        let (call, by_lease) = Call::told(frame.note.get());
        Some(Inside { tid: thread.tid.load(Relaxed), call, by_lease })
    };
    threads().filter_map(inside).collect()
}

/// One thread's record. Never freed; taken over by another thread when its owner has ended.
///
/// In this order: an outermost call touches one cache line of it.
#[repr(C, align(128))]
struct Thread {
    /// No frame but the first is taken from here on. It comes down when a call is entered, not when
    /// one is left.
    depth: OwnUsize,
    /// Not 0: some plugin is closing. On the line of the first frame, which a call writes anyway.
    attention: AtomicUsize,
    frames: [Frame; FRAMES],
    /// How often a nested call took over a release that is not current any more.
    copies: Count,
    tid: AtomicU32,
    taken: AtomicBool,
    next: AtomicPtr<Thread>,
}

impl Thread {
    /// Its first frame is free, as it is in no call, and it is not asked to attend. One test for
    /// both.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        // Acquire: another thread may have left the call that was here, and a lease's is stored
        // over that.
        self.frames[0].hazard.load(Acquire).addr() | self.attention.load(Relaxed) == 0
    }

    /// How many frames lie up to the highest that is taken.
    fn entered(&self) -> usize {
        let highest = self.depth.get().max(1);
        let entered =
            (1..=highest).rev().find(|depth| self.frames[depth - 1].is_taken()).unwrap_or(0);
        // As in `is_plain`, for what is stored into the frames above.
        fence(Acquire);
        entered
    }

    /// The frame for a call at `depth`, which is [`entered`](Thread::entered).
    fn take(&self, depth: usize) -> &Frame {
        self.depth.set(depth + 1);
        &self.frames[depth]
    }

    /// Does a frame hold `release`? See above on the order in which calls are left.
    fn is_inside(&self, release: &Release) -> bool {
        for _ in 0..LOOKS_MAX {
            let copies = self.copies.load(Acquire);
            let mut frames = self.frames.iter();
            if frames.any(|frame| std::ptr::eq(frame.hazard.load(Acquire), release)) {
                return true;
            }
            has_looked();
            if self.copies.load(Relaxed) == copies {
                return false;
            }
        }
        true
    }
}

/// One entered call: see the second table.
#[repr(C)]
struct Frame {
    hazard: Hazard<Release>,
    /// A group and a call. The owner reads which group a frame is in; what others read is for
    /// reports.
    note: Note,
}

impl Frame {
    /// Mostly it is what the last call was. A comparison costs less than a store that the next
    /// exchange waits for.
    #[inline(always)]
    fn describe(&self, group: &GroupCell, call: u64) {
        let note = group.number.0 | call;
        if self.note.get() != note {
            std::hint::cold_path();
            self.note.set(note);
        }
    }

    /// A release that a lease holds: nobody need see it in time.
    #[inline(always)]
    fn hold(&'static self, group: &GroupCell, release: &Release, call: Call) -> Entered {
        self.describe(group, call.0 | BY_LEASE);
        self.hazard.store(from_ref(release).cast_mut(), Releasing);
        Entered { release, frame: self }
    }

    /// A call is in it.
    fn is_taken(&self) -> bool {
        !self.hazard.load(Relaxed).is_null()
    }

    fn group(&self) -> GroupNumber {
        GroupNumber(self.note.get() >> GROUP << GROUP)
    }
}

/// This thread inside of a release. Dropping it leaves, on every way out, a panic too.
///
/// Not to be kept: what it holds is not retired meanwhile. A coroutine keeps it for as long as it
/// is suspended, and may drop it in any order and on any thread.
pub(super) struct Entered {
    /// INVARIANT: nobody frees it until this is dropped. Its hazard was announced before `current`
    /// was seen to be this, or before a frame below was seen to have it still, so by the arguments
    /// above; or a lease holds it. `over` keeps it so.
    release: *const Release,
    /// INVARIANT: its hazard is this call's alone until this is dropped.
    frame: &'static Frame,
}

impl Entered {
    #[inline(always)]
    pub(super) fn release(&self) -> &Release {
        // SAFETY: by the invariant; what is borrowed is not kept beyond `self`.
        unsafe { &*self.release }
    }

    /// Leaves with an answer of registers, which is looked at first: the compiler moves nothing
    /// over the store that leaves, so that what only the caller took apart would go through memory.
    #[inline(always)]
    pub(super) fn leave<R, E>(self, answer: Result<R, E>) -> Result<R, E> {
        match answer {
            Ok(value) => {
                drop(self);
                Ok(value)
            }
            Err(error) => {
                drop(self);
                Err(error)
            }
        }
    }
}

/// Does an `R` fit into registers? A larger answer is made where the caller wants it, and to look
/// at it would be to copy it.
#[inline(always)]
pub(super) const fn in_registers<R>() -> bool {
    size_of::<R>() <= 2 * size_of::<usize>()
}

impl Entered {
    /// Goes over into `inner`, with one store: in this frame a scan that no longer finds the one
    /// finds the other.
    ///
    /// # Safety
    /// The release that is entered owns `inner`, and hands it on to a
    /// [`Retired`](super::cell::Retired) when it is freed itself.
    #[cold]
    pub(super) unsafe fn over(mut self, inner: *const Release) -> Entered {
        self.frame.hazard.store(inner.cast_mut(), Releasing);
        self.release = inner;
        self
    }
}

impl Drop for Entered {
    #[inline(always)]
    fn drop(&mut self) {
        self.frame.hazard.store(null_mut(), Releasing);
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

fn this_thread() -> &'static Thread {
    this_thread_known().unwrap_or_else(register)
}

/// This thread's record, if it has called before.
#[inline(always)]
fn this_thread_known() -> Option<&'static Thread> {
    // SAFETY: only `register` sets it, to a record that is never freed.
    unsafe { THREAD.with(Cell::get).as_ref() }
}

#[cold]
#[inline(never)]
fn register() -> &'static Thread {
    let free = threads()
        .find(|thread| thread.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok());
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
        // Who finds the record sees it whole. That a scan finds it is told above, and needs the one
        // order of all.
        match FIRST.compare_exchange_weak(first, from_ref(thread).cast_mut(), SeqCst, Relaxed) {
            Ok(_) => return thread,
            Err(other) => first = other,
        }
    }
}

impl Thread {
    fn new() -> Self {
        let frame = |_| Frame { hazard: Hazard::new(null_mut()), note: Note::new() };
        Thread {
            depth: OwnUsize::new(0),
            attention: AtomicUsize::new(0),
            frames: std::array::from_fn(frame),
            copies: Count::new(0),
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

/// Runs in the key phase of a thread's end. A thread that ends inside of a call keeps its record,
/// and the record its hazard: better a release that never drains than one that is freed under a
/// frame that may still be unwound.
pub(super) unsafe extern "C" fn ended(thread: *mut c_void) {
    // SAFETY: the value that `register` set, a record that is never freed.
    let thread: &Thread = unsafe { &*thread.cast::<Thread>() };
    THREAD.with(|this| this.set(null()));
    if thread.entered() == 0 {
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
