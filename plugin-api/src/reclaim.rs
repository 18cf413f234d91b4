//! Giving back: what a generation never freed, freed when its library goes.
//!
//! Statics are never dropped. What stands behind one (a table in a `LazyLock`, std's buffer of
//! standard output, the subscriber that this crate installs) was meant to live until the process
//! ends, and is lost when a library ends before it. One generation loses little; thousands of them
//! lose more than a service has.
//!
//! # Why it is sound
//! The blocks are freed by the last function that the loader runs of a library, and only after the
//! host has said that it closes it. By then:
//!
//! - no thread runs code of the library, and none ever will: that is what the host proves before it
//!   closes one. Its threads are gone, its destructors have run or are dead, its keys are deleted,
//!   nobody is inside of a call;
//! - its own exit handlers and those of its C and C++ objects have run. The entry below is the
//!   first in `.fini_array`, which is run from its end; the one that calls `__cxa_finalize` comes
//!   after it, and so runs before it;
//! - the host holds nothing that the library allocated. Results are rebuilt as the host's own while
//!   the call is held, and so are reports, log records, and the names of callsites.
//!
//! What is left to believe is that nobody else holds a pointer: the C library (`openlog`,
//! `putenv`), the kernel (a buffer that an `io_uring` still writes to), a library of others. Such a
//! pointer is fine in a program that leaks what it points to, and nobody can see it from outside.
//! So [`Reclaimed::new`] is `unsafe`: the author says that there is none. It is what has to be true
//! of the library's code and statics anyway.
#![allow(unsafe_code, reason = "an allocator")]

use crate::memory::COUNTS;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Mutex, PoisonError};

/// An allocator that frees what is left of it when its library is unmapped: what hangs on the
/// plugin's statics, and what it leaked.
///
/// It goes inside of [`Counted`](crate::Counted), so that status and events still say what a
/// generation left behind, before it was given back:
///
/// ```
/// use midflight_plugin::{Counted, Reclaimed};
///
/// // SAFETY: no library of others keeps a pointer to what this plugin allocates.
/// #[global_allocator]
/// static ALLOCATOR: Counted<Reclaimed> = Counted::over(unsafe { Reclaimed::new() });
/// ```
///
/// Over an allocator that maps its own heaps (mimalloc, jemalloc) it gives those back as well, with
/// all private memory that the library's code has mapped and never unmapped: the host does that
/// once it has proven that the code is gone.
///
/// It costs 32 bytes a block, and a lock that is rarely waited for when one is allocated, freed or
/// grown: some 15 ns for both ends of a block's life, beside the 9 that the system's allocator
/// takes.
#[derive(Debug)]
pub struct Reclaimed<A = System>(A);

impl Reclaimed {
    /// Over the system's allocator.
    ///
    /// # Safety
    /// As for [`over`](Reclaimed::over).
    pub const unsafe fn new() -> Self {
        Reclaimed(System)
    }
}

impl<A: GlobalAlloc + 'static> Reclaimed<A> {
    /// Over another allocator.
    ///
    /// # Safety
    /// It is (or is inside of) the library's global allocator, and the only one of its type. When
    /// the library is unmapped, nothing outside of it holds a pointer that will be followed, to a
    /// block of it or into private memory that the library's code has mapped (`mmap`) and not
    /// unmapped: neither the C library, nor another, nor the kernel.
    pub const unsafe fn over(allocator: A) -> Self {
        Reclaimed(allocator)
    }
}

/// Before each block.
struct Header {
    previous: *mut Header,
    next: *mut Header,
    /// Of what was asked for.
    layout: Layout,
}

const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES.is_multiple_of(16), "a block is aligned as malloc's are");

/// The header's and the block's together, and where in it the block is.
fn whole(layout: Layout) -> Option<(Layout, usize)> {
    let at = layout.align().max(HEADER_BYTES);
    let size = layout.size().checked_add(at)?;
    let whole = Layout::from_size_align(size, layout.align().max(align_of::<Header>())).ok()?;
    Some((whole, at))
}

/// The blocks that are not freed, by their addresses: threads seldom meet in one.
static SHARDS: [Shard; SHARDS_COUNT] = [const { Shard(Mutex::new(Chain::EMPTY)) }; SHARDS_COUNT];
const SHARDS_COUNT: usize = 16;

/// On cache lines of its own.
#[repr(align(128))]
struct Shard(Mutex<Chain>);

struct Chain {
    first: *mut Header,
    /// The allocator inside, and its `dealloc`. There once something was.
    owner: Option<(*const (), Dealloc)>,
}

type Dealloc = unsafe fn(*const (), *mut u8, Layout);

// SAFETY: blocks belong to no thread.
unsafe impl Send for Chain {}

impl Chain {
    const EMPTY: Chain = Chain { first: null_mut(), owner: None };

    fn of<R>(block: *mut u8, run: impl FnOnce(&mut Chain) -> R) -> R {
        // All bits have a say: threads allocate at the same places in heaps of their own, 64 MiB
        // apart.
        let mixed = (block.addr() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let shard = &SHARDS[mixed as usize % SHARDS_COUNT];
        // Nothing in here allocates or panics.
        run(&mut shard.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<A: GlobalAlloc> Reclaimed<A> {
    /// # Safety
    /// `start` is a fresh allocation of the whole of `layout`, or null.
    unsafe fn link(&self, start: *mut u8, at: usize, layout: Layout) -> *mut u8 {
        if start.is_null() {
            return start;
        }
        // SAFETY: inside of the allocation.
        let block = unsafe { start.add(at) };
        let header = header(block);
        Chain::of(block, |chain| {
            if chain.owner.is_none() {
                chain.owner = Some(((&raw const self.0).cast(), dealloc::<A>));
                // Relaxed: the host reads it when no thread runs code of this library any more.
                COUNTS.reclaimed.store(true, Relaxed);
            }
            // SAFETY: the header is in the allocation, before the block and aligned as it is; the
            // first of the chain is a live block's, by the lock.
            unsafe {
                header.write(Header { previous: null_mut(), next: chain.first, layout });
                if let Some(next) = chain.first.as_mut() {
                    next.previous = header;
                }
            }
            chain.first = header;
        });
        block
    }

    /// # Safety
    /// `block` is from `link`, and not unlinked.
    unsafe fn unlink(block: *mut u8) {
        let header = header(block);
        Chain::of(block, |chain| {
            // SAFETY: the header is as `link` wrote it, and its neighbours are live blocks', by the
            // lock.
            unsafe {
                let Header { previous, next, .. } = *header;
                match previous.as_mut() {
                    Some(previous) => previous.next = next,
                    None => chain.first = next,
                }
                if let Some(next) = next.as_mut() {
                    next.previous = previous;
                }
            }
        });
    }
}

fn header(block: *mut u8) -> *mut Header {
    block.wrapping_sub(HEADER_BYTES).cast()
}

/// # Safety
/// `of` is an `A`; the rest is as for its `dealloc`.
unsafe fn dealloc<A: GlobalAlloc>(of: *const (), start: *mut u8, whole: Layout) {
    // SAFETY: `of` is an `A` that gave `start` out for `whole`, by the promise of who calls this.
    unsafe { (*of.cast::<A>()).dealloc(start, whole) };
}

// SAFETY: every block lies in one of the allocator's inside, behind its header, with the size and
// alignment that it was asked for with.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Reclaimed<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((whole, at)) = whole(layout) else { return null_mut() };
        // SAFETY: not empty, since there is a header.
        unsafe { self.link(self.0.alloc(whole), at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((whole, at)) = whole(layout) else { return null_mut() };
        // SAFETY: as in `alloc`.
        unsafe { self.link(self.0.alloc_zeroed(whole), at, layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((whole, at)) = whole(layout) else { return };
        // SAFETY: the caller's block is from `link`, `at` behind the start of its allocation.
        unsafe {
            Self::unlink(block);
            self.0.dealloc(block.sub(at), whole);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some((old, at)) = whole(layout) else { return null_mut() };
        let new = Layout::from_size_align(size, layout.align()).ok();
        let Some((new, (grown, _))) = new.and_then(|new| Some((new, whole(new)?))) else {
            return null_mut();
        };
        // SAFETY: as in `dealloc`; where it can't be grown it is as it was, and is linked again.
        unsafe {
            Self::unlink(block);
            let start = self.0.realloc(block.sub(at), old, grown.size());
            if start.is_null() {
                self.link(block.sub(at), at, layout);
                return null_mut();
            }
            self.link(start, at, new)
        }
    }
}

/// The host sets it when nothing of this library will run any more but its exit handlers.
pub(crate) static CLOSING: AtomicBool = AtomicBool::new(false);

/// The last function of the library that runs. At a process's end, where other threads still run,
/// it does nothing.
///
/// # Safety
/// The loader calls it, among the library's exit handlers.
pub unsafe extern "C" fn last() {
    if CLOSING.load(SeqCst) {
        // SAFETY: by the host's proof and the author's promise, as the head of this module says.
        unsafe { free_all() };
    }
}

/// # Safety
/// No block is used any more.
unsafe fn free_all() {
    for shard in &SHARDS {
        let mut chain = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Chain { mut first, owner } = std::mem::replace(&mut *chain, Chain::EMPTY);
        let Some((owner, dealloc)) = owner else { continue };
        while !first.is_null() {
            // SAFETY: a live block's header, read before it is freed, with the layout that it was
            // allocated with.
            unsafe {
                let Header { next, layout, .. } = *first;
                if let Some((whole, at)) = whole(layout) {
                    dealloc(owner, first.cast::<u8>().add(HEADER_BYTES).sub(at), whole);
                }
                first = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// The system's, counting what it has given out.
    struct Inner;
    static GIVEN: AtomicUsize = AtomicUsize::new(0);

    // SAFETY: the system's.
    unsafe impl GlobalAlloc for Inner {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            GIVEN.fetch_add(layout.size(), SeqCst);
            // SAFETY: what calls this keeps `System`'s conditions, which are those of any
            // allocator.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            GIVEN.fetch_sub(layout.size(), SeqCst);
            // SAFETY: `block` is from `alloc` above, which had it from `System`.
            unsafe { System.dealloc(block, layout) }
        }
    }

    #[test]
    fn what_is_left_is_given_back_and_nothing_else() {
        static ALLOCATOR: Reclaimed<Inner> = Reclaimed(Inner);
        const EACH: usize = 200;
        let aligned = |at: usize| 1 << (at % 9);
        let layout = |thread: usize, at: usize| {
            Layout::from_size_align(1 + 7 * at + thread, aligned(at)).expect("a layout")
        };
        let work = |thread: usize| {
            for at in 0..EACH {
                let layout = layout(thread, at);
                // SAFETY: each block is used within its size, with the layout that it has at that
                // time, and freed once or never.
                unsafe {
                    let block = ALLOCATOR.alloc_zeroed(layout);
                    assert!(block.addr().is_multiple_of(layout.align()));
                    assert_eq!(*block.add(layout.size() - 1), 0);
                    block.write_bytes(thread as u8, layout.size());
                    let grown = ALLOCATOR.realloc(block, layout, 3 * layout.size());
                    assert!(grown.addr().is_multiple_of(layout.align()));
                    assert!((0..layout.size()).all(|at| *grown.add(at) == thread as u8));
                    if at % 3 == 0 {
                        let layout = Layout::from_size_align(3 * layout.size(), layout.align())
                            .expect("a layout");
                        ALLOCATOR.dealloc(grown, layout);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))))
        });
        assert!(GIVEN.load(SeqCst) > 4 * EACH * 1_000, "something is left");
        // SAFETY: no block of this test's is used any more.
        unsafe { last() };
        assert!(GIVEN.load(SeqCst) > 0, "nobody has said that the library is closing");
        CLOSING.store(true, SeqCst);
        // SAFETY: no block of this test's is used any more.
        unsafe { last() };
        assert_eq!(GIVEN.load(SeqCst), 0);
        // SAFETY: no block of this test's is used any more.
        unsafe { last() };
        assert_eq!(GIVEN.load(SeqCst), 0, "once");
    }
}
