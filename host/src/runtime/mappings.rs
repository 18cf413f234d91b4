//! Mappings: the memory that a plugin's own code has mapped and has not unmapped.
//!
//! An allocator that a plugin brings with it (mimalloc, jemalloc) maps its heaps by itself, and
//! leaves them mapped when its library goes: they were meant for a whole process. So the host
//! counts what each generation maps. It gives back what is left where the plugin's author has
//! promised that nobody outside follows a pointer into it (`Reclaimed`), once the code is proven to
//! be gone.
//!
//! A generation's book is locked over each of its calls of the system. Else what one thread unmaps
//! could be another's by the time that it is crossed out, and would be given back while it is used.

use super::{Owner, owner};
use crate::status::Mapped;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::ops::Range;

/// What one generation has mapped.
#[derive(Default)]
pub(super) struct Mappings(Mutex<Book>);

/// Ranges that don't overlap, by their first address.
#[derive(Default)]
struct Book {
    ranges: BTreeMap<usize, Mapping>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mapping {
    end: usize,
    /// Nothing but memory: no file is behind it, and no other process sees it.
    is_memory: bool,
}

impl Book {
    fn add(&mut self, range: Range<usize>, is_memory: bool) {
        self.cut(&range);
        self.bytes += range.len();
        self.ranges.insert(range.start, Mapping { end: range.end, is_memory });
    }

    /// Takes out what of the ranges lies in `range`.
    fn cut(&mut self, range: &Range<usize>) -> Vec<(usize, Mapping)> {
        let mut cut = Vec::new();
        while let Some((&start, &mapping)) = self
            .ranges
            .range(..range.end)
            .next_back()
            .filter(|(_, mapping)| mapping.end > range.start)
        {
            self.ranges.remove(&start);
            if mapping.end > range.end {
                self.ranges.insert(range.end, mapping);
            }
            if start < range.start {
                self.ranges.insert(start, Mapping { end: range.start, ..mapping });
            }
            let inside = start.max(range.start)..mapping.end.min(range.end);
            self.bytes -= inside.len();
            cut.push((inside.start, Mapping { end: inside.end, ..mapping }));
        }
        cut
    }
}

impl Owner {
    /// What its code has mapped and not unmapped.
    pub(crate) fn mapped(&self) -> Mapped {
        Mapped { bytes: self.mappings.0.lock().bytes, resident: 0 }
    }

    /// Gives memory back that its code left mapped, and answers with what stays.
    ///
    /// # Safety
    /// Its code is unmapped. Where `all` is said, nothing follows a pointer into private memory
    /// that it has mapped.
    pub(crate) unsafe fn take_back(&self, all: bool) -> Mapped {
        let mut book = std::mem::take(&mut *self.mappings.0.lock());
        if all {
            book.ranges.retain(|start, mapping| {
                let given = mapping.is_memory
                    // SAFETY: the generation's code mapped this range and never unmapped it, as
                    // far as it asked the C library; that nobody uses it, the caller says.
                    && unsafe { libc::munmap(at(*start), mapping.end - start) } == 0;
                !given
            });
        }
        let ranges = book.ranges.iter().map(|(start, mapping)| *start..mapping.end);
        ranges.fold(Mapped::default(), |sum, range| Mapped {
            bytes: sum.bytes + range.len(),
            resident: sum.resident + resident(range),
        })
    }
}

/// How many bytes of a range are in memory. Those that are mapped no more are not.
fn resident(range: Range<usize>) -> usize {
    /// Looked at with one call: 64 MiB.
    const PAGES: usize = 1 << 14;
    let page = page_bytes();
    let mut seen = [0_u8; PAGES];
    let steps = range.clone().step_by(PAGES * page);
    steps
        .map(|start| {
            let pages = (range.end - start).div_ceil(page).min(PAGES);
            // SAFETY: it writes a byte for each page, of which there are at most `PAGES`.
            match unsafe { libc::mincore(at(start), pages * page, seen.as_mut_ptr()) } {
                0 => seen[..pages].iter().filter(|page| **page & 1 != 0).count() * page,
                _ => 0,
            }
        })
        .sum()
}

fn at(address: usize) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(address)
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// The pages that `length` bytes from `start` on lie in; none where the kernel would refuse that.
fn pages(start: usize, length: usize) -> Option<Range<usize>> {
    if !start.is_multiple_of(page_bytes()) || length == 0 {
        return None;
    }
    let length = length.checked_next_multiple_of(page_bytes())?;
    start.checked_add(length).map(|end| start..end)
}

/// Answers `mmap` of a plugin's.
pub(super) unsafe extern "C" fn map(
    of: *const (),
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let mut book = owner.mappings.0.lock();
    // SAFETY: the plugin's arguments, to the function that it asked for.
    let mapped = unsafe { libc::mmap(address, length, protection, flags, file, offset) };
    if mapped != libc::MAP_FAILED
        && let Some(range) = pages(mapped.expose_provenance(), length)
    {
        let memory = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        book.add(range, flags & memory == memory);
    }
    mapped
}

/// Answers `munmap` of a plugin's.
pub(super) unsafe extern "C" fn unmap(of: *const (), address: *mut c_void, length: usize) -> c_int {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let mut book = owner.mappings.0.lock();
    // SAFETY: the plugin's arguments, to the function that it asked for.
    let answer = unsafe { libc::munmap(address, length) };
    if answer == 0
        && let Some(range) = pages(address.addr(), length)
    {
        book.cut(&range);
    }
    answer
}

/// Answers `mremap` of a plugin's. What it is moved to is of the kind that it was.
pub(super) unsafe extern "C" fn remap(
    of: *const (),
    address: *mut c_void,
    length: usize,
    new_length: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    // SAFETY: the plugin passes what its table holds.
    let owner = unsafe { owner(of) };
    let mut book = owner.mappings.0.lock();
    // SAFETY: the plugin's arguments, to the function that it asked for; the last one is read where
    // `flags` say so.
    let moved = unsafe { libc::mremap(address, length, new_length, flags, new_address) };
    if moved == libc::MAP_FAILED {
        return moved;
    }
    let old = pages(address.addr(), length);
    let cut = old.map(|old| book.cut(&old)).unwrap_or_default();
    if let (Some(new), Some((_, kind))) =
        (pages(moved.expose_provenance(), new_length), cut.first().copied())
    {
        if flags & libc::MREMAP_DONTUNMAP != 0 {
            for (start, mapping) in cut {
                book.add(start..mapping.end, mapping.is_memory);
            }
        }
        book.add(new, kind.is_memory);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn ranges(book: &Book) -> Vec<(usize, usize, bool)> {
        book.ranges.iter().map(|(start, it)| (*start, it.end, it.is_memory)).collect()
    }

    #[test]
    fn alloc1_what_is_cut_out_of_a_book_and_added_again_is_counted_once() {
        let mut book = Book::default();
        book.add(10..20, true);
        book.add(20..30, false);
        book.add(40..50, true);
        assert_eq!(book.bytes, 30);
        let cut = book.cut(&(15..45)).into_iter().map(|(start, it)| (start, it.end, it.is_memory));
        assert_eq!(cut.collect::<Vec<_>>(), [(40, 45, true), (20, 30, false), (15, 20, true)]);
        assert_eq!(ranges(&book), [(10, 15, true), (45, 50, true)]);
        assert_eq!(book.bytes, 10);
        // A mapping in the place of others, and one in the middle of another.
        book.add(0..100, true);
        assert_eq!((ranges(&book), book.bytes), (vec![(0, 100, true)], 100));
        book.add(30..40, false);
        assert_eq!(ranges(&book), [(0, 30, true), (30, 40, false), (40, 100, true)]);
        assert_eq!(book.bytes, 100);
        book.cut(&(0..100));
        assert_eq!((ranges(&book), book.bytes), (vec![], 0));
    }

    #[test]
    fn alloc1_a_book_of_any_operations_agrees_with_one_of_single_addresses() {
        use std::hash::{BuildHasher, RandomState};
        let (seed, mut draws) = (RandomState::new(), 0_u32);
        let mut draw = |below: usize| {
            draws += 1;
            seed.hash_one(draws) as usize % below
        };
        let (mut book, mut plain) = (Book::default(), [None; 64]);
        for _ in 0..10_000 {
            let start = draw(60);
            let range = start..start + 1 + draw(63 - start);
            match draw(2) {
                0 => {
                    let is_memory = draw(2) == 0;
                    book.add(range.clone(), is_memory);
                    plain[range].fill(Some(is_memory));
                }
                _ => {
                    book.cut(&range);
                    plain[range].fill(None);
                }
            }
            let mut said = [None; 64];
            for (start, mapping) in &book.ranges {
                said[*start..mapping.end].fill(Some(mapping.is_memory));
            }
            assert_eq!(said, plain);
            assert_eq!(book.bytes, plain.iter().flatten().count());
        }
    }

    /// Maps, grows, shrinks and unmaps as an allocator does, and has it given back.
    #[test]
    fn alloc1_what_is_left_is_counted_and_given_back_where_that_is_promised() {
        let owner = Owner::new(7, "mapping".into(), "1.0.0".into(), Arc::from([]), 0, None);
        let of = Arc::as_ptr(&owner).cast::<()>();
        let page = page_bytes();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: fresh memory, used within its length and by this test alone.
        unsafe {
            let one = map(of, std::ptr::null_mut(), 4 * page - 1, protection, flags, -1, 0);
            assert_ne!(one, libc::MAP_FAILED);
            assert_eq!(owner.mapped().bytes, 4 * page);
            one.cast::<u8>().write(1);
            // A hole in it.
            assert_eq!(unmap(of, one.byte_add(2 * page), page), 0);
            assert_eq!(owner.mapped().bytes, 3 * page);
            // What the kernel refuses changes nothing.
            assert_eq!(unmap(of, one.byte_add(1), page), -1);
            assert_eq!(*libc::__errno_location(), libc::EINVAL);
            assert_eq!(owner.mapped().bytes, 3 * page);
            let (two, may_move) = (one.byte_add(3 * page), libc::MREMAP_MAYMOVE);
            let two = remap(of, two, page, 8 * page, may_move, std::ptr::null_mut());
            assert_ne!(two, libc::MAP_FAILED);
            two.cast::<u8>().add(7 * page).write(2);
            assert_eq!(owner.mapped().bytes, 10 * page);
            let file = std::fs::File::open("/proc/self/exe").expect("the test's program");
            let file = std::os::fd::AsRawFd::as_raw_fd(&file);
            let text =
                map(of, std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_PRIVATE, file, 0);
            assert_ne!(text, libc::MAP_FAILED);

            let one_is_there = || libc::madvise(one, page, libc::MADV_NORMAL) == 0;
            assert!(one_is_there());
            let left = owner.take_back(true);
            assert!(!one_is_there(), "it was given back");
            assert_eq!(left.bytes, page, "the file's mapping is left");
            assert_eq!(owner.take_back(true), Mapped::default(), "once");
            assert_eq!(libc::munmap(text, page), 0);
        }
    }

    #[test]
    fn alloc1_without_a_promise_what_is_left_stays_and_is_told() {
        let owner = Owner::new(7, "mapping".into(), "1.0.0".into(), Arc::from([]), 0, None);
        let of = Arc::as_ptr(&owner).cast::<()>();
        let page = page_bytes();
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let reserved = (PAGES_OF_TWO_LOOKS + 5) * page;
        // SAFETY: as above.
        unsafe {
            let kept = map(of, std::ptr::null_mut(), reserved, protection, flags, -1, 0);
            assert_ne!(kept, libc::MAP_FAILED);
            kept.cast::<u8>().write(1);
            kept.cast::<u8>().add(reserved - 1).write(1);
            let left = owner.take_back(false);
            // A machine with huge pages gives more than the two that were written to.
            assert_eq!(left.bytes, reserved);
            assert!((2 * page..reserved).contains(&left.resident), "{left:?}");
            assert_eq!(libc::munmap(kept, reserved), 0, "it is still there");
        }
    }

    const PAGES_OF_TWO_LOOKS: usize = 2 << 14;
}
