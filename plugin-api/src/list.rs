//! A list in a record: a `Vec` whose bytes have a fixed order.
//!
//! A `Vec` can be handed to code with another allocator only if that code learns who frees it.
//! abi_stable's `RVec` says so with a table of functions, and does by itself all that a `Vec` does;
//! not all of that checks its arguments. This one owns memory that a `Vec` made, and changes it by
//! being that `Vec` again for a moment ([`List::edit`]): what is safe with a `Vec` is safe here.

#![expect(unsafe_code, reason = "the memory is kept as what a `Vec` is made of")]

use crate::Portable;
use abi_stable::StableAbi;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::alloc::Layout;
use std::borrow::{Borrow, BorrowMut, Cow};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, take};
use std::ops::{Deref, DerefMut, RangeBounds};
use std::ptr::NonNull;
use std::{fmt, io, slice};

/// An owned list in a record: derefs to `[T]`, and comes from a `Vec<T>` without a copy.
///
/// ```
/// use midflight_plugin::List;
/// let squares: List<u64> = (1..4).map(|n| n * n).collect();
/// assert_eq!(squares.iter().sum::<u64>(), 14);
/// ```
///
/// What it can do by name, it does as `Vec` does; all else that a `Vec` can do, through
/// [`edit`](List::edit).
///
/// ```
/// # use midflight_plugin::List;
/// let mut list = List::from(vec![1, 2, 3]);
/// list.push(3);
/// list.edit().dedup();
/// assert_eq!(list, [1, 2, 3]);
/// ```
#[repr(C)]
#[derive(StableAbi)]
#[sabi(phantom_field(element: T))]
pub struct List<T> {
    #[sabi(unsafe_opaque_field)]
    buffer: Buffer<T>,
    /// INVARIANT: so many elements at the beginning of the buffer are initialised, and nobody
    /// else's.
    length: usize,
}

/// What a `Vec<T>` was made of, without its elements.
#[repr(C)]
struct Buffer<T> {
    /// INVARIANT: with `capacity` what a `Vec<T>` of the binary with `memory` was taken apart into.
    /// Aligned for `T`, also where nothing is allocated: then `capacity` is 0, or usize::MAX if `T`
    /// has no size.
    first: NonNull<T>,
    capacity: usize,
    /// INVARIANT: of the binary that allocated. It is mapped for as long as there are lists that it
    /// made.
    memory: *const Memory,
    owns: PhantomData<T>,
}

// SAFETY: it owns its elements, as a `Vec` does; the memory may be freed on any thread.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: shared, it only gives references to its elements.
unsafe impl<T: Sync> Sync for Buffer<T> {}

/// One binary's allocator.
#[repr(C)]
struct Memory {
    free: unsafe extern "C" fn(first: *mut u8, bytes: usize, alignment: usize),
}

/// This binary's, which is known by its address.
static OWN: Memory = Memory { free };

/// # Safety
/// This binary's global allocator gave `first` out for that layout, and nobody uses it any more.
unsafe extern "C" fn free(first: *mut u8, bytes: usize, alignment: usize) {
    // SAFETY: `first` is from this binary's allocator, by the promise of who calls this; the layout
    // is the one that it was allocated with.
    unsafe { std::alloc::dealloc(first, Layout::from_size_align_unchecked(bytes, alignment)) };
}

impl<T> Buffer<T> {
    /// Of an empty `Vec`.
    const NONE: Buffer<T> = Buffer {
        first: NonNull::dangling(),
        capacity: if size_of::<T>() == 0 { usize::MAX } else { 0 },
        memory: &raw const OWN,
        owns: PhantomData,
    };
}

impl<T> Drop for Buffer<T> {
    #[inline]
    fn drop(&mut self) {
        if self.capacity != 0 && size_of::<T>() != 0 {
            // SAFETY: by the invariants that binary's `Vec<T>` had it, so from its global
            // allocator, and with this layout, which fitted into an isize; a buffer is dropped
            // once.
            unsafe {
                ((*self.memory).free)(
                    self.first.as_ptr().cast(),
                    self.capacity * size_of::<T>(),
                    align_of::<T>(),
                );
            }
        }
    }
}

impl<T> Drop for List<T> {
    #[inline]
    fn drop(&mut self) {
        if const { std::mem::needs_drop::<T>() } {
            // SAFETY: by the invariant, once. Should one of them panic, the others are dropped as a
            // slice drops them, and then the buffer.
            unsafe {
                std::ptr::slice_from_raw_parts_mut(self.buffer.first.as_ptr(), self.length)
                    .drop_in_place()
            };
        }
    }
}

impl<T> List<T> {
    /// An empty list. It owns no memory.
    #[inline]
    pub const fn new() -> Self {
        List { buffer: Buffer::NONE, length: 0 }
    }

    /// An empty list with room for so many elements.
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn with_capacity(elements: usize) -> Self {
        Vec::with_capacity(elements).into()
    }

    /// The elements. A list derefs to them as well.
    #[inline]
    pub const fn as_slice(&self) -> &[T] {
        // SAFETY: by the invariants, for as long as the list is borrowed.
        unsafe { slice::from_raw_parts(self.buffer.first.as_ptr(), self.length) }
    }

    /// The elements, to change them.
    #[inline]
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: by the invariants, for as long as the list is borrowed, and by this alone.
        unsafe { slice::from_raw_parts_mut(self.buffer.first.as_ptr(), self.length) }
    }

    /// For how many elements there is room.
    pub const fn capacity(&self) -> usize {
        self.buffer.capacity
    }

    /// The list as a `Vec`, until the guard is dropped. Nothing is copied, unless another library
    /// allocated the list.
    pub fn edit(&mut self) -> ListEdit<'_, T> {
        let elements = Vec::from(take(self));
        ListEdit { list: self, elements }
    }

    /// The list's own elements as a `Vec`; without a copy, unless another library allocated them.
    pub fn into_vec(self) -> Vec<T> {
        self.into()
    }

    /// As [`Vec::push`].
    pub fn push(&mut self, element: T) {
        self.edit().push(element);
    }

    /// As [`Vec::pop`].
    pub fn pop(&mut self) -> Option<T> {
        self.edit().pop()
    }

    /// As [`Vec::insert`].
    ///
    /// # Panics
    /// `index` is beyond the end.
    pub fn insert(&mut self, index: usize, element: T) {
        self.edit().insert(index, element);
    }

    /// As [`Vec::remove`].
    ///
    /// # Panics
    /// There is no element `index`.
    pub fn remove(&mut self, index: usize) -> T {
        self.edit().remove(index)
    }

    /// As [`Vec::swap_remove`].
    ///
    /// # Panics
    /// There is no element `index`.
    pub fn swap_remove(&mut self, index: usize) -> T {
        self.edit().swap_remove(index)
    }

    /// As [`Vec::truncate`].
    pub fn truncate(&mut self, elements: usize) {
        self.edit().truncate(elements);
    }

    /// As [`Vec::clear`].
    pub fn clear(&mut self) {
        self.edit().clear();
    }

    /// As [`Vec::reserve`].
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn reserve(&mut self, more: usize) {
        self.edit().reserve(more);
    }

    /// As [`Vec::shrink_to_fit`].
    pub fn shrink_to_fit(&mut self) {
        self.edit().shrink_to_fit();
    }

    /// As [`Vec::retain`].
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.edit().retain(keep);
    }

    /// Takes a range out, all of it at once, whether the iterator is used or not.
    ///
    /// # Panics
    /// The range begins behind its end, or ends beyond the list's.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> std::vec::IntoIter<T> {
        self.edit().drain(range).collect::<Vec<_>>().into_iter()
    }

    /// As [`Vec::resize`].
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn resize(&mut self, elements: usize, value: T)
    where
        T: Clone,
    {
        self.edit().resize(elements, value);
    }

    /// As [`Vec::extend_from_slice`].
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn extend_from_slice(&mut self, elements: &[T])
    where
        T: Clone,
    {
        self.edit().extend_from_slice(elements);
    }

    /// The elements moved into memory of this binary, as bytes.
    pub(crate) fn into_own(mut self) -> Vec<T> {
        let mut own = Vec::with_capacity(self.length);
        // SAFETY: `own` has room for `length` elements. They are moved, not copied: `self` forgets
        // them before anything that could unwind, so that none has two owners.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.buffer.first.as_ptr(),
                own.as_mut_ptr(),
                self.length,
            );
            own.set_len(take(&mut self.length));
        }
        own
    }
}

/// A [`List`] as a `Vec`, which it derefs to: see [`List::edit`]. What was changed is in the list
/// when this is dropped; a guard that is forgotten leaves the list empty.
#[derive(Debug)]
pub struct ListEdit<'l, T> {
    list: &'l mut List<T>,
    elements: Vec<T>,
}

impl<T> Deref for ListEdit<'_, T> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.elements
    }
}

impl<T> DerefMut for ListEdit<'_, T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.elements
    }
}

impl<T> Drop for ListEdit<'_, T> {
    fn drop(&mut self) {
        *self.list = take(&mut self.elements).into();
    }
}

impl<T> From<Vec<T>> for List<T> {
    /// Without a copy.
    #[inline]
    fn from(elements: Vec<T>) -> Self {
        let mut elements = ManuallyDrop::new(elements);
        // SAFETY: a `Vec` has no null pointer.
        let first = unsafe { NonNull::new_unchecked(elements.as_mut_ptr()) };
        let buffer = Buffer {
            first,
            capacity: elements.capacity(),
            memory: &raw const OWN,
            owns: PhantomData,
        };
        List { buffer, length: elements.len() }
    }
}

impl<T> From<List<T>> for Vec<T> {
    /// Without a copy, unless another library allocated it.
    #[inline]
    fn from(list: List<T>) -> Self {
        if !std::ptr::eq(list.buffer.memory, &raw const OWN) {
            return list.into_own();
        }
        let list = ManuallyDrop::new(list);
        // SAFETY: a `Vec` of this binary was taken apart into them, and `list` is dropped no more.
        unsafe {
            Vec::from_raw_parts(list.buffer.first.as_ptr(), list.length, list.buffer.capacity)
        }
    }
}

/// The elements of a [`List`], by value.
pub struct IntoIter<T> {
    buffer: Buffer<T>,
    /// INVARIANT: the elements of the buffer from `start` to before `end` are initialised, and
    /// nobody else's. `start` is at most `end`.
    start: usize,
    end: usize,
}

impl<T> IntoIter<T> {
    /// What is left.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: by the invariants. `add` moves nothing where `T` has no size, so that the pointer
        // stays aligned.
        unsafe {
            slice::from_raw_parts(self.buffer.first.as_ptr().add(self.start), self.end - self.start)
        }
    }
}

impl<T> Drop for IntoIter<T> {
    #[inline]
    fn drop(&mut self) {
        if const { std::mem::needs_drop::<T>() } {
            // SAFETY: by the invariants, once. Should one of them panic, the others are dropped as
            // a slice drops them, and then the buffer.
            unsafe {
                let next = self.buffer.first.as_ptr().add(self.start);
                std::ptr::slice_from_raw_parts_mut(next, self.end - self.start).drop_in_place();
            }
        }
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.start == self.end {
            return None;
        }
        self.start += 1;
        // SAFETY: by the invariants it was there, and from now on is nobody's but the caller's.
        Some(unsafe { self.buffer.first.as_ptr().add(self.start - 1).read() })
    }
    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        if self.start == self.end {
            return None;
        }
        self.end -= 1;
        // SAFETY: as in `next`.
        Some(unsafe { self.buffer.first.as_ptr().add(self.end).read() })
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<T: fmt::Debug> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.as_slice()).finish()
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    #[inline]
    fn into_iter(self) -> IntoIter<T> {
        let list = ManuallyDrop::new(self);
        // SAFETY: `list` is neither used nor dropped any more.
        let buffer = unsafe { std::ptr::read(&raw const list.buffer) };
        IntoIter { buffer, start: 0, end: list.length }
    }
}

impl<'l, T> IntoIterator for &'l List<T> {
    type Item = &'l T;
    type IntoIter = slice::Iter<'l, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'l, T> IntoIterator for &'l mut List<T> {
    type Item = &'l mut T;
    type IntoIter = slice::IterMut<'l, T>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Vec::from_iter(elements).into()
    }
}

impl<T> Extend<T> for List<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        self.edit().extend(elements);
    }
}

impl<'e, T: Copy> Extend<&'e T> for List<T> {
    fn extend<I: IntoIterator<Item = &'e T>>(&mut self, elements: I) {
        self.edit().extend(elements);
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T> DerefMut for List<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T> AsRef<[T]> for List<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> AsMut<[T]> for List<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

// A list hashes, compares and orders as its slice, below.
impl<T> Borrow<[T]> for List<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<T> BorrowMut<[T]> for List<T> {
    fn borrow_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List::new()
    }
}

impl<T: Clone> Clone for List<T> {
    fn clone(&self) -> Self {
        self.to_vec().into()
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

macro_rules! compared {
    ($([$($generics:tt)*] $left:ty, $right:ty;)*) => { $(
        impl<T: PartialEq<U>, U, $($generics)*> PartialEq<$right> for $left {
            fn eq(&self, other: &$right) -> bool {
                self[..] == other[..]
            }
        }
    )* };
}
compared! {
    [] List<T>, List<U>;
    [] List<T>, [U];
    [] List<T>, &[U];
    [] List<T>, &mut [U];
    [] List<T>, Vec<U>;
    [const N: usize] List<T>, [U; N];
    [const N: usize] List<T>, &[U; N];
    [] [T], List<U>;
    [] &[T], List<U>;
    [] Vec<T>, List<U>;
    [const N: usize] [T; N], List<U>;
}

impl<T: Eq> Eq for List<T> {}

impl<T: PartialOrd> PartialOrd for List<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.as_slice().partial_cmp(other.as_slice())
    }
}

impl<T: Ord> Ord for List<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other)
    }
}

impl<T: Hash> Hash for List<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl<T> From<Box<[T]>> for List<T> {
    /// Without a copy.
    fn from(elements: Box<[T]>) -> Self {
        Vec::from(elements).into()
    }
}

impl<T, const N: usize> From<[T; N]> for List<T> {
    fn from(elements: [T; N]) -> Self {
        Vec::from(elements).into()
    }
}

impl<T: Clone> From<&[T]> for List<T> {
    fn from(elements: &[T]) -> Self {
        elements.to_vec().into()
    }
}

impl<T: Clone> From<&mut [T]> for List<T> {
    fn from(elements: &mut [T]) -> Self {
        elements.to_vec().into()
    }
}

impl<T: Clone> From<Cow<'_, [T]>> for List<T> {
    fn from(elements: Cow<'_, [T]>) -> Self {
        elements.into_owned().into()
    }
}

impl io::Write for List<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(List::from)
    }
}

// SAFETY: rebuilt element by element, or as bytes where the elements are nothing else.
unsafe impl<T: Portable> Portable for List<T> {
    fn reown(self) -> Self {
        List::from(own_list(self))
    }
}

pub(crate) fn own_list<T: Portable>(list: List<T>) -> Vec<T> {
    match std::mem::needs_drop::<T>() {
        false => list.into_own(),
        // Should one element's `reown` panic, the iterator drops the rest of theirs and the Vec
        // those of ours.
        true => {
            let mut own = Vec::with_capacity(list.len());
            own.extend(list.into_iter().map(T::reown));
            own
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Text;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    static FREED: AtomicUsize = AtomicUsize::new(0);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    unsafe extern "C" fn free_and_count(first: *mut u8, bytes: usize, alignment: usize) {
        FREED.fetch_add(1, SeqCst);
        // SAFETY: the memory of the lists below is this binary's, whatever they say.
        unsafe { free(first, bytes, alignment) };
    }

    static THEIRS: Memory = Memory { free: free_and_count };

    /// A list as another library sends it.
    fn theirs<T>(elements: Vec<T>) -> List<T> {
        let mut list = List::from(elements);
        list.buffer.memory = &raw const THEIRS;
        list
    }

    /// How often another library's memory was given back to it meanwhile.
    fn freed(by: impl FnOnce()) -> usize {
        let _one = ONE_AT_A_TIME.lock().expect("no panic");
        let before = FREED.load(SeqCst);
        by();
        FREED.load(SeqCst) - before
    }

    fn texts() -> List<Text> {
        theirs(["a", "b", "c"].map(Text::from).into())
    }

    #[test]
    fn s01_anothers_memory_is_given_back_to_it_once_and_never_grown() {
        assert_eq!(freed(|| drop(texts())), 1);
        let changes: [fn(&mut List<Text>); 6] = [
            |list| list.push("d".into()),
            |list| list.reserve(100),
            |list| list.shrink_to_fit(),
            |list| drop(list.drain(1..)),
            |list| list.edit().clear(),
            |list| std::mem::forget(list.edit()),
        ];
        for change in changes {
            let freed_once = freed(|| {
                let mut list = texts();
                change(&mut list);
                assert!(std::ptr::eq(list.buffer.memory, &raw const OWN));
                list.push("more".into());
                assert!(list.len() <= list.capacity());
            });
            assert_eq!(freed_once, 1);
        }
        let taken: [fn(List<Text>); 5] = [
            |list| assert_eq!(list.into_vec(), ["a", "b", "c"]),
            |list| assert!(list.into_iter().eq(["a", "b", "c"])),
            |list| drop(list.into_iter().nth(1)),
            |list| assert_eq!(list.reown(), ["a", "b", "c"]),
            |list| assert_eq!(list.clone(), ["a", "b", "c"]),
        ];
        for take in taken {
            assert_eq!(freed(|| take(texts())), 1);
        }
    }

    #[test]
    fn s10_what_has_no_size_has_no_memory_to_give_back() {
        let units = || theirs(vec![[0_u64; 0]; 5]);
        assert_eq!(freed(|| drop(units())), 0);
        assert_eq!(freed(|| assert_eq!(units().into_vec().len(), 5)), 0);
        assert_eq!(freed(|| assert_eq!(units().reown().len(), 5)), 0);
        assert_eq!(freed(|| drop(theirs(Vec::<Text>::new()))), 0);
    }
}
