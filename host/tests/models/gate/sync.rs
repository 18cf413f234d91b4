//! The protocol's parts as loom knows them, with the names of `host/src/gate/sync.rs`; and the
//! faults that are planted in them.

use super::super::plant::{Plant, planted};
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::NonNull;

pub(crate) use loom::sync::atomic::fence;
/// Seen by nobody who decides: loom need not order it.
pub(crate) use std::sync::atomic::AtomicU32;

pub(crate) const FRAMES: usize = 3;

/// The host's is one sequentially consistent exchange, which loom takes for less than it is. This
/// is what is needed of that.
pub(crate) fn announce<T>(hazard: &Hazard<T>, value: *mut T) {
    hazard.store(value, Release);
    if !planted(Plant::NoFenceInReader) {
        full_fence();
    }
}

pub(crate) fn about_to_scan() {
    if !planted(Plant::NoFenceInWriter) {
        full_fence();
    }
}

/// Of importance to who copies alone: other models are spared its orders.
pub(crate) fn has_looked() {
    match COPIES.get() {
        _ if planted(Plant::NoFenceAfterLook) => {}
        true => full_fence(),
        false => fence(Ordering::SeqCst),
    }
}

/// From here on this execution tries the orders of that fence.
pub(crate) fn look_at_copies() {
    COPIES.set(true);
}

loom::lazy_static! {
    static ref FENCES: Turn = Turn::new();
}

fn full_fence() {
    FENCES.take();
    fence(Ordering::SeqCst);
}

/// What makes loom try both orders of two steps.
///
/// By itself it tries them only where a step conflicts with the *last* one on the same atomic: a
/// load by one thread, a load by another and then that one's store are one order to it, and fences
/// are no steps at all. So each step takes a turn first, which is a store that nobody reads: any
/// two of an atomic's conflict, and none of them orders anything for the protocol.
struct Turn(loom::sync::atomic::AtomicUsize);

impl Turn {
    fn new() -> Self {
        Turn(loom::sync::atomic::AtomicUsize::new(0))
    }

    fn take(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Links of the list of records, and what leases hold.
pub(crate) struct AtomicPtr<T> {
    turn: Turn,
    value: loom::sync::atomic::AtomicPtr<T>,
}

impl<T> AtomicPtr<T> {
    pub(crate) fn new(value: *mut T) -> Self {
        AtomicPtr { turn: Turn::new(), value: loom::sync::atomic::AtomicPtr::new(value) }
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        self.turn.take();
        self.value.load(order)
    }

    pub(crate) fn store(&self, value: *mut T, order: Ordering) {
        self.turn.take();
        self.value.store(value, order);
    }

    pub(crate) fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        self.turn.take();
        self.value.swap(value, order)
    }

    pub(crate) fn compare_exchange_weak(
        &self,
        old: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.turn.take();
        let success = if planted(Plant::AppendRelaxed) { Relaxed } else { success };
        self.value.compare_exchange_weak(old, new, success, failure)
    }
}

pub(crate) struct Mirror<T>(AtomicPtr<T>);

loom::thread_local! {
    static FIRST_LOOK: Cell<usize> = Cell::new(0);
}

impl<T> Mirror<T> {
    pub(crate) fn new(value: *mut T) -> Self {
        Mirror(AtomicPtr::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        match order {
            Relaxed => {
                let first = self.0.load(Relaxed);
                FIRST_LOOK.with(|look| look.set(first as usize));
                first
            }
            _ if planted(Plant::NoSecondLook) => {
                // So that what the release holds is there all the same.
                fence(Acquire);
                FIRST_LOOK.with(Cell::get) as *mut T
            }
            _ if planted(Plant::SecondLookRelaxed) => self.0.load(Relaxed),
            _ => self.0.load(order),
        }
    }

    pub(crate) fn store(&self, value: *mut T, order: Ordering) {
        self.0.store(value, if planted(Plant::PublishRelaxed) { Relaxed } else { order });
    }
}

pub(crate) struct Hazard<T>(AtomicPtr<T>);

impl<T> Hazard<T> {
    pub(crate) fn new(value: *mut T) -> Self {
        Hazard(AtomicPtr::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> *mut T {
        match order {
            // By the owner, of what it has stored itself or what was left for it: no step of its
            // own.
            Relaxed => self.0.value.load(Relaxed),
            _ => self.0.load(order),
        }
    }

    pub(crate) fn store(&self, value: *mut T, order: Ordering) {
        let plant = if value.is_null() { Plant::ClearRelaxed } else { Plant::AnnounceRelaxed };
        let relaxed = planted(plant) || (planted(Plant::OverRelaxed) && !value.is_null());
        self.0.store(value, if relaxed { Relaxed } else { order });
    }
}

/// `taken`.
pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool, Turn);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        AtomicBool(loom::sync::atomic::AtomicBool::new(value), Turn::new())
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        self.1.take();
        self.0.store(value, if planted(Plant::HandOnRelaxed) { Relaxed } else { order });
    }

    pub(crate) fn compare_exchange(
        &self,
        old: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.1.take();
        let success = if planted(Plant::TakeOverRelaxed) { Relaxed } else { success };
        self.0.compare_exchange(old, new, success, failure)
    }
}

/// `attention`.
pub(crate) struct AtomicUsize(loom::sync::atomic::AtomicUsize, Turn);

impl AtomicUsize {
    pub(crate) fn new(value: usize) -> Self {
        AtomicUsize(loom::sync::atomic::AtomicUsize::new(value), Turn::new())
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        self.1.take();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: usize, order: Ordering) {
        self.1.take();
        self.0.store(value, if planted(Plant::AskRelaxed) { Relaxed } else { order });
    }

    pub(crate) fn swap(&self, value: usize, order: Ordering) -> usize {
        self.1.take();
        self.0.swap(value, if planted(Plant::AttendRelaxed) { Relaxed } else { order })
    }
}

/// `copies`, and how many shares were taken.
pub(crate) struct Count(loom::sync::atomic::AtomicUsize);

impl Count {
    pub(crate) fn new(value: usize) -> Self {
        Count(loom::sync::atomic::AtomicUsize::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: usize, order: Ordering) {
        if !planted(Plant::NoCopies) {
            self.0.store(value, order);
        }
    }

    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.fetch_add(value, if planted(Plant::SharesRelaxed) { Relaxed } else { order })
    }
}

/// Told by loom when two threads touch it and nothing orders them.
pub(crate) struct OwnUsize(loom::cell::Cell<usize>);

// SAFETY: loom panics where it is touched by two threads at once.
unsafe impl Sync for OwnUsize {}

impl OwnUsize {
    pub(crate) fn new(value: usize) -> Self {
        OwnUsize(loom::cell::Cell::new(value))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.get()
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.set(value);
    }
}

pub(crate) struct Note(std::sync::atomic::AtomicU64);

impl Note {
    pub(crate) fn new() -> Self {
        Note(std::sync::atomic::AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

macro_rules! process_static {
    ($(#[$attribute:meta])* $name:ident: $type:ty = $value:expr) => {
        loom::lazy_static! {
            $(#[$attribute])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use process_static;

macro_rules! thread_static {
    ($(#[$attribute:meta])* $name:ident: $type:ty = $value:expr) => {
        loom::thread_local! {
            $(#[$attribute])*
            static $name: std::cell::Cell<$type> = std::cell::Cell::new($value);
        }
    };
}
pub(crate) use thread_static;

thread_local! {
    static COPIES: Cell<bool> = const { Cell::new(false) };
    /// What an execution must not see freed, until the next begins.
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn forever<T: 'static>(value: T) -> &'static T {
    let value = Box::new(value);
    let place: *const T = &raw const *value;
    KEPT.with_borrow_mut(|kept| kept.push(value));
    // SAFETY: on the heap, and kept until this execution is over.
    unsafe { &*place }
}

pub(crate) fn begin_execution() {
    COPIES.set(false);
    KEPT.take();
    FREE.set(None);
}

thread_local! {
    /// The memory of the release that was freed last; null before one was. None: memory is not used
    /// again.
    static FREE: Cell<Option<*mut c_void>> = const { Cell::new(None) };
}

/// From here on a new release may get the address of one that was freed. (A use after that can look
/// sound: so not always.)
pub(crate) fn use_memory_again() {
    FREE.set(Some(std::ptr::null_mut()));
}

pub(crate) fn tid() -> u32 {
    0
}

loom::thread_local! {
    static AT_END: Cell<Option<(*const c_void, unsafe extern "C" fn(*mut c_void))>> = Cell::new(None);
}

pub(crate) fn at_thread_end<T>(record: &'static T, ended: unsafe extern "C" fn(*mut c_void)) {
    AT_END.with(|end| end.set(Some((std::ptr::from_ref(record).cast(), ended))));
}

/// What the system does at a thread's end.
pub(crate) fn thread_ends() {
    if let Some((record, ended)) = AT_END.with(Cell::take) {
        // SAFETY: as `at_thread_end` was asked to.
        unsafe { ended(record.cast_mut()) };
    }
}

/// `std::sync::Arc`, with the orderings of its source. What it frees is dropped, and its memory
/// stays until the execution is over, so that the use of it is seen and not undefined.
pub(crate) struct Arc<T: 'static> {
    inner: NonNull<Inner<T>>,
}

#[repr(C)]
struct Inner<T> {
    /// First: a pointer to it is a pointer to the whole.
    value: std::mem::ManuallyDrop<T>,
    count: loom::sync::atomic::AtomicUsize,
}

// SAFETY: as std's.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as std's.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = std::mem::ManuallyDrop::new(value);
        let new = Inner { value, count: loom::sync::atomic::AtomicUsize::new(1) };
        match FREE.get().and_then(|free| NonNull::new(free.cast::<Inner<T>>())) {
            Some(inner) => {
                FREE.set(Some(std::ptr::null_mut()));
                // SAFETY: of this type, which is the only one that is shared, and kept.
                unsafe { inner.write(new) };
                Arc { inner }
            }
            None => Arc { inner: NonNull::from(forever(new)) },
        }
    }

    fn freed(inner: NonNull<Inner<T>>) {
        FREE.set(FREE.get().map(|_| inner.as_ptr().cast()));
    }

    fn count(&self) -> &loom::sync::atomic::AtomicUsize {
        // SAFETY: kept.
        unsafe { &self.inner.as_ref().count }
    }

    pub(crate) fn as_ptr(this: &Self) -> *const T {
        this.inner.as_ptr().cast()
    }

    pub(crate) unsafe fn from_raw(value: *const T) -> Self {
        Arc { inner: NonNull::new(value.cast_mut().cast()).expect("a share") }
    }

    pub(crate) unsafe fn increment_strong_count(value: *const T) {
        // SAFETY: kept, by the caller's promise.
        let inner = unsafe { &*value.cast::<Inner<T>>() };
        assert_ne!(inner.count.fetch_add(1, Relaxed), 0, "a share of a release that was freed");
    }

    pub(crate) fn strong_count(this: &Self) -> usize {
        this.count().load(Relaxed)
    }

    pub(crate) fn try_unwrap(this: Self) -> Result<T, Self> {
        if this.count().compare_exchange(1, 0, Relaxed, Relaxed).is_err() {
            return Err(this);
        }
        fence(Acquire);
        let this = std::mem::ManuallyDrop::new(this);
        // SAFETY: the last share, and what stays behind is not dropped.
        let value = unsafe { std::ptr::read(&raw const *this.inner.as_ref().value) };
        Self::freed(this.inner);
        Ok(value)
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: kept.
        unsafe { &self.inner.as_ref().value }
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        let released = if planted(Plant::ShareRelaxed) { Relaxed } else { Release };
        if self.count().fetch_sub(1, released) == 1 {
            fence(Acquire);
            // SAFETY: the last share.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.inner.as_mut().value) };
            Self::freed(self.inner);
        }
    }
}

/// What owns the current release. The host's is arc-swap's.
pub(crate) struct Owner<T: 'static>(AtomicPtr<T>);

impl<T> Owner<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Owner(AtomicPtr::new(Self::raw(value)))
    }

    fn raw(value: Arc<T>) -> *mut T {
        Arc::as_ptr(&*std::mem::ManuallyDrop::new(value)).cast_mut()
    }

    pub(crate) fn swap(&self, new: Arc<T>) -> Arc<T> {
        // SAFETY: `raw`'s.
        unsafe { Arc::from_raw(self.0.swap(Self::raw(new), AcqRel)) }
    }

    pub(crate) fn load(&self) -> &T {
        unimplemented!("no model asks for the current number")
    }
}
