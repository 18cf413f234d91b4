//! `&str` and `&[T]` on the wire: a pointer and a length.
//!
//! abi_stable has the two as well, but its own turn into an `RVec`, whose safe methods are not all
//! safe. These turn into what they are, and nothing else.

#![expect(unsafe_code, reason = "a pointer and a length are a slice again on the other side")]

use abi_stable::StableAbi;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// `&'a [T]`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(phantom_field(element: T))]
pub struct RSlice<'a, T> {
    /// INVARIANT: with `length` a slice that is lent for 'a.
    #[sabi(unsafe_opaque_field)]
    first: *const T,
    length: usize,
    #[sabi(unsafe_opaque_field)]
    lent: PhantomData<&'a [T]>,
}

// SAFETY: it is a `&[T]`.
unsafe impl<T: Sync> Send for RSlice<'_, T> {}
// SAFETY: it is a `&[T]`, which is Sync where `T` is.
unsafe impl<T: Sync> Sync for RSlice<'_, T> {}

impl<'a, T> RSlice<'a, T> {
    /// In the library that lends it.
    #[inline(always)]
    pub const fn from_slice(slice: &'a [T]) -> Self {
        RSlice { first: slice.as_ptr(), length: slice.len(), lent: PhantomData }
    }

    /// In the library that it is lent to.
    #[inline(always)]
    pub const fn as_slice(&self) -> &'a [T] {
        // SAFETY: by the invariant.
        unsafe { std::slice::from_raw_parts(self.first, self.length) }
    }
}

impl<T> Clone for RSlice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RSlice<'_, T> {}

impl<T> Deref for RSlice<'_, T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<'a, T> From<&'a [T]> for RSlice<'a, T> {
    #[inline(always)]
    fn from(slice: &'a [T]) -> Self {
        RSlice::from_slice(slice)
    }
}

impl<T: fmt::Debug> fmt::Debug for RSlice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// `&'a str`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RStr<'a> {
    /// INVARIANT: UTF-8.
    #[sabi(unsafe_opaque_field)]
    bytes: RSlice<'a, u8>,
}

impl<'a> RStr<'a> {
    /// In the library that lends it.
    #[inline(always)]
    pub const fn from_str(text: &'a str) -> Self {
        RStr { bytes: RSlice::from_slice(text.as_bytes()) }
    }

    /// In the library that it is lent to.
    #[inline(always)]
    pub const fn as_str(&self) -> &'a str {
        // SAFETY: by the invariant.
        unsafe { str::from_utf8_unchecked(self.bytes.as_slice()) }
    }
}

impl Deref for RStr<'_> {
    type Target = str;
    #[inline(always)]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<'a> From<&'a str> for RStr<'a> {
    #[inline(always)]
    fn from(text: &'a str) -> Self {
        RStr::from_str(text)
    }
}

impl fmt::Debug for RStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for RStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
