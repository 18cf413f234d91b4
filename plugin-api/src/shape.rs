//! The proof that a record lies in memory as its description says.
//!
//! `#[record]` chooses `repr(C)`, or `repr(C, u8)` for an enum, and describes the fields that it
//! sees. An attribute behind it sees the item later, and can make another of it. So generated code
//! says of the type as it is where each field lies, and this compares it, while the compiler runs,
//! with where those representations put it.

// A value with nothing but a tag.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

const ANOTHER: &str = "a record has the fields and the layout that `#[record]` gives it: an attribute behind it has changed them";

/// Where `repr(C)` puts one field after the other.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Behind the last field.
    end: usize,
    /// The largest alignment.
    most: usize,
}

impl Shape {
    /// Of no field.
    pub const fn empty() -> Self {
        Shape { end: 0, most: 1 }
    }

    /// What no record has.
    pub const fn none() -> Self {
        panic!("{}", ANOTHER)
    }

    /// One field more, which lies at that offset.
    #[must_use]
    pub const fn field<T>(self, offset: usize) -> Self {
        assert!(self.end.next_multiple_of(align_of::<T>()) == offset, "{}", ANOTHER);
        let most = if align_of::<T>() > self.most { align_of::<T>() } else { self.most };
        Shape { end: offset + size_of::<T>(), most }
    }

    /// `T` is of these fields, and nothing else.
    pub const fn is_that_of<T>(self) {
        let size = self.end.next_multiple_of(self.most);
        assert!(self.most == align_of::<T>() && size == size_of::<T>(), "{}", ANOTHER);
    }
}

/// Where `repr(C, u8)` puts the fields of each variant: a tag, and behind it a union of structs.
#[derive(Debug, Clone, Copy)]
pub struct Tagged {
    /// Behind the longest variant.
    end: usize,
    /// The union's alignment.
    most: usize,
}

impl Tagged {
    /// With the alignments of all fields of all variants.
    pub const fn new(alignments: &[usize]) -> Self {
        let (mut most, mut at) = (1, 0);
        while at < alignments.len() {
            if alignments[at] > most {
                most = alignments[at];
            }
            at += 1;
        }
        Tagged { end: most, most }
    }

    /// A variant with no field yet.
    pub const fn variant(self) -> Shape {
        Shape { end: self.most, most: self.most }
    }

    /// With one variant more.
    #[must_use]
    pub const fn with(self, variant: Shape) -> Self {
        let end = if variant.end > self.end { variant.end } else { self.end };
        Tagged { end, ..self }
    }

    /// `T` is of these variants, and nothing else.
    pub const fn is_that_of<T>(self) {
        // Where no variant has a field there is a tag and nothing else.
        let size = self.end.next_multiple_of(self.most);
        assert!(self.most == align_of::<T>() && size == size_of::<T>(), "{}", ANOTHER);
    }
}

/// A value of the enum `T` with this tag, and nothing else: while the compiler runs, whoever reads
/// more than the tag is refused.
pub const fn tagged<T>(tag: u8) -> MaybeUninit<T> {
    assert!(size_of::<T>() > 0, "{}", ANOTHER);
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: it has a first byte.
    unsafe { value.as_mut_ptr().cast::<u8>().write(tag) };
    value
}

/// How far in the value the field lies.
///
/// # Safety
/// It lies in the value.
pub const unsafe fn distance<T, F>(value: &MaybeUninit<T>, field: *const F) -> usize {
    // SAFETY: the caller's.
    unsafe { field.cast::<u8>().offset_from(value.as_ptr().cast()).cast_unsigned() }
}
