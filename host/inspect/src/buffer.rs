//! Buffers: the memory that a library's bytes are read into, kept for the next.
//!
//! It is mapped, not allocated: of buffers of many megabytes, on ever new threads, the allocator
//! would keep some for good. And one is kept, since to get fresh pages takes longer than to read,
//! hash and inspect what goes into them.

use memmap2::{MmapMut, MmapOptions};
use parking_lot::Mutex;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

/// The largest buffer that is kept whatever comes: a larger one is kept only for who has promised
/// to [`give it back`](Spare::give_back).
const KEPT_MAX: usize = 16 * 1024 * 1024;

/// A buffer that is free, if there is one. Those who share it read into it in turn; who finds it
/// taken gets another.
#[derive(Clone, Default)]
pub struct Spare(Arc<Mutex<Option<MmapMut>>>);

/// A number of bytes. Dropped, its memory is the spare one again, if that is still wanted.
pub struct Buffer {
    /// At least as many. `None` only while it is dropped.
    memory: Option<MmapMut>,
    bytes: usize,
    /// How much of it may be kept.
    kept_max: usize,
    spare: Weak<Mutex<Option<MmapMut>>>,
}

impl Spare {
    /// Of at least one byte; what is in them is anything.
    pub fn take(&self, bytes: usize) -> io::Result<Buffer> {
        let memory = match self.0.lock().take() {
            Some(memory) if memory.len() >= bytes => memory,
            // All pages at once: one by one they take several times as long.
            _ => MmapOptions::new().len(bytes).populate().map_anon()?,
        };
        let spare = Arc::downgrade(&self.0);
        Ok(Buffer { memory: Some(memory), bytes, kept_max: KEPT_MAX, spare })
    }

    /// Is it so large that it is to be given back some time?
    pub fn is_large(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|memory| memory.len() > KEPT_MAX)
    }

    /// Gives back what is large.
    pub fn give_back(&self) {
        let mut spare = self.0.lock();
        let large = spare.take_if(|memory| memory.len() > KEPT_MAX);
        drop(spare);
        drop(large);
    }
}

impl Buffer {
    /// It is to be kept however large it is. Who says so sees to it that it is given back.
    pub fn keep(&mut self) {
        self.kept_max = usize::MAX;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take().filter(|memory| memory.len() <= self.kept_max)
            && let Some(spare) = self.spare.upgrade()
        {
            let mut spare = spare.lock();
            if spare.as_ref().is_none_or(|other| other.len() < memory.len()) {
                *spare = Some(memory);
            }
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[..self.bytes])
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_mut().map_or(&mut [], |memory| &mut memory[..self.bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_one_is_that_of_the_next() {
        let spare = Spare::default();
        let mut first = spare.take(5000).unwrap();
        first.fill(7);
        let at = first.as_ptr();
        let second = spare.take(5000).unwrap();
        assert_ne!(second.as_ptr(), at, "that is taken");
        drop(first);
        let third = spare.take(100).unwrap();
        assert_eq!((third.as_ptr(), third.len()), (at, 100));
        let larger = spare.take(100_000).unwrap();
        assert_eq!(larger.len(), 100_000);
        drop(larger);
        drop((second, third));
        assert!(
            spare.0.lock().as_ref().is_some_and(|kept| kept.len() == 100_000),
            "the largest stays"
        );
    }

    #[test]
    fn g04_what_is_large_is_kept_for_who_promises_to_give_it_back() {
        let spare = Spare::default();
        let mut first = spare.take(KEPT_MAX + 1).unwrap();
        first.keep();
        let at = first.as_ptr();
        drop(first);
        assert!(spare.is_large());
        let mut second = spare.take(KEPT_MAX + 1).unwrap();
        assert_eq!(second.as_ptr(), at, "no page of it is a fresh one");
        second.keep();
        drop(second);
        spare.give_back();
        assert!(!spare.is_large() && spare.0.lock().is_none());
        drop(spare.take(5000).unwrap());
        spare.give_back();
        assert!(spare.0.lock().is_some(), "that is not large");
    }

    #[test]
    fn nothing_is_kept_of_what_is_huge_or_unwanted() {
        let spare = Spare::default();
        drop(spare.take(KEPT_MAX + 1).unwrap());
        assert!(spare.0.lock().is_none());
        let buffer = spare.take(1).unwrap();
        drop(spare);
        assert!(buffer.spare.upgrade().is_none(), "its memory goes with it");
    }
}
