//! Memory: what a generation holds, counted where it is allocated.
//!
//! Nobody outside can tell whose a leaked block is: the plugin's allocations and the host's come
//! out of one heap. So a plugin that wants to be counted puts a [`Counted`] around its allocator.
#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// An allocator that counts what a plugin holds, for the host's status: now, at most, and what was
/// never freed when its library was unmapped.
///
/// It stands in the cdylib's own crate, over the system's allocator or over one of the plugin's
/// choice:
///
/// ```
/// use midflight_plugin::Counted;
///
/// #[global_allocator]
/// static ALLOCATOR: Counted = Counted::new();
/// ```
///
/// It costs an atomic addition for each allocation, and one for each that is freed, on one cache
/// line: threads that allocate all the time feel each other. A plugin has one global allocator, and
/// so one count; in a binary that links a plugin in, it counts for nobody.
#[derive(Debug, Default)]
pub struct Counted<A = System>(A);

impl Counted {
    /// Over the system's allocator.
    pub const fn new() -> Self {
        Counted(System)
    }
}

impl<A> Counted<A> {
    /// Over another allocator.
    pub const fn over(allocator: A) -> Self {
        Counted(allocator)
    }
}

/// What a library has allocated and not freed, in bytes. All 0 where nothing counts.
#[repr(C)]
#[derive(Debug)]
pub struct Counts {
    /// At this moment.
    pub current: AtomicUsize,
    /// At most so far.
    pub peak: AtomicUsize,
    /// Its allocator is a [`Reclaimed`](crate::Reclaimed): what it leaves may be given back.
    pub reclaimed: AtomicBool,
}

/// This library's: each cdylib has its own.
pub static COUNTS: Counts = Counts {
    current: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
    reclaimed: AtomicBool::new(false),
};

impl Counts {
    fn grow(&self, bytes: usize) {
        // Relaxed: nothing is read by way of them.
        let current = self.current.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        if current > self.peak.load(Relaxed) {
            self.peak.fetch_max(current, Relaxed);
        }
    }

    fn shrink(&self, bytes: usize) {
        self.current.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every block comes from the allocator inside and goes back to it, with the layout that it
// was asked for with.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what calls this keeps the conditions of an allocator, which are those of the one
        // inside.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            COUNTS.grow(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what calls this keeps the conditions of an allocator, which are those of the one
        // inside.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            COUNTS.grow(layout.size());
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` is from one of these functions, and so from the allocator inside, of this
        // layout.
        unsafe { self.0.dealloc(block, layout) };
        COUNTS.shrink(layout.size());
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `block` is from one of these functions, and so from the allocator inside, of this
        // layout.
        let moved = unsafe { self.0.realloc(block, layout, size) };
        if !moved.is_null() {
            match size.checked_sub(layout.size()) {
                Some(more) => COUNTS.grow(more),
                None => COUNTS.shrink(layout.size() - size),
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_counted_once() {
        let allocator = Counted::new();
        let counts = || (COUNTS.current.load(Relaxed), COUNTS.peak.load(Relaxed));
        let layout = |size| Layout::from_size_align(size, 8).expect("a layout");
        assert_eq!(counts(), (0, 0));
        // SAFETY: each block is used with the layout that it has at that time, and freed once.
        unsafe {
            let one = allocator.alloc(layout(100));
            let two = allocator.alloc_zeroed(layout(50));
            assert_eq!(counts(), (150, 150));
            let one = allocator.realloc(one, layout(100), 300);
            assert_eq!(counts(), (350, 350));
            let one = allocator.realloc(one, layout(300), 10);
            assert_eq!(counts(), (60, 350));
            allocator.dealloc(two, layout(50));
            allocator.dealloc(one, layout(10));
        }
        assert_eq!(counts(), (0, 350));
    }
}
