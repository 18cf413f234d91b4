//! Text in a record: a `String` whose bytes have a fixed order.

#![expect(unsafe_code, reason = "its bytes are known to be UTF-8")]

use crate::{List, Portable};
use abi_stable::StableAbi;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, BorrowMut, Cow};
use std::cmp::Ordering;
use std::convert::Infallible;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::take;
use std::ops::{Deref, DerefMut, RangeBounds};
use std::str::FromStr;

/// Owned text in a record: derefs to `str`, and comes from a `String` without a copy.
///
/// ```
/// use midflight_plugin::Text;
/// let symbol = Text::from("ABC");
/// assert!(symbol.starts_with('A'));
/// ```
///
/// What it can do by name, it does as `String` does; all else that a `String` can do, through
/// [`edit`](Text::edit).
///
/// ```
/// # use midflight_plugin::Text;
/// let mut text = Text::from("ABC");
/// text.push_str("DE");
/// text.edit().replace_range(1..4, "-");
/// assert_eq!(text, "A-E");
/// ```
#[repr(C)]
#[derive(StableAbi)]
pub struct Text {
    /// INVARIANT: UTF-8.
    #[sabi(unsafe_opaque_field)]
    bytes: List<u8>,
}

impl Text {
    /// No text. It owns no memory.
    #[inline]
    pub const fn new() -> Self {
        Text { bytes: List::new() }
    }

    /// No text, with room for so many bytes.
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn with_capacity(bytes: usize) -> Self {
        String::with_capacity(bytes).into()
    }

    /// The text. A `Text` derefs to it as well.
    #[inline]
    pub const fn as_str(&self) -> &str {
        // SAFETY: by the invariant.
        unsafe { str::from_utf8_unchecked(self.bytes.as_slice()) }
    }

    /// The text, to change it within its length.
    #[inline]
    pub const fn as_mut_str(&mut self) -> &mut str {
        // SAFETY: by the invariant, which holds afterwards as well, since a `str` keeps to it.
        unsafe { str::from_utf8_unchecked_mut(self.bytes.as_mut_slice()) }
    }

    /// For how many bytes there is room.
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The text as a `String`, until the guard is dropped. Nothing is copied, unless another
    /// library allocated the text.
    pub fn edit(&mut self) -> TextEdit<'_> {
        let string = String::from(take(self));
        TextEdit { text: self, string }
    }

    /// The text as a `String`; without a copy, unless another library allocated it.
    pub fn into_string(self) -> String {
        self.into()
    }

    /// As [`String::push`].
    pub fn push(&mut self, character: char) {
        self.edit().push(character);
    }

    /// As [`String::push_str`].
    pub fn push_str(&mut self, text: &str) {
        self.edit().push_str(text);
    }

    /// As [`String::pop`].
    pub fn pop(&mut self) -> Option<char> {
        self.edit().pop()
    }

    /// As [`String::insert`].
    ///
    /// # Panics
    /// `at` is beyond the end, or inside of a character.
    pub fn insert(&mut self, at: usize, character: char) {
        self.edit().insert(at, character);
    }

    /// As [`String::insert_str`].
    ///
    /// # Panics
    /// `at` is beyond the end, or inside of a character.
    pub fn insert_str(&mut self, at: usize, text: &str) {
        self.edit().insert_str(at, text);
    }

    /// As [`String::remove`].
    ///
    /// # Panics
    /// No character begins at `at`.
    pub fn remove(&mut self, at: usize) -> char {
        self.edit().remove(at)
    }

    /// As [`String::truncate`].
    ///
    /// # Panics
    /// `bytes` is inside of a character.
    pub fn truncate(&mut self, bytes: usize) {
        self.edit().truncate(bytes);
    }

    /// As [`String::clear`].
    pub fn clear(&mut self) {
        self.edit().clear();
    }

    /// As [`String::reserve`].
    ///
    /// # Panics
    /// So much memory can't be addressed.
    pub fn reserve(&mut self, more: usize) {
        self.edit().reserve(more);
    }

    /// As [`String::shrink_to_fit`].
    pub fn shrink_to_fit(&mut self) {
        self.edit().shrink_to_fit();
    }

    /// As [`String::retain`].
    pub fn retain(&mut self, keep: impl FnMut(char) -> bool) {
        self.edit().retain(keep);
    }

    /// Takes a range out, all of it at once, whether the iterator is used or not.
    ///
    /// # Panics
    /// The range begins behind its end, ends beyond the text's, or begins or ends inside of a
    /// character.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> std::vec::IntoIter<char> {
        self.edit().drain(range).collect::<Vec<_>>().into_iter()
    }
}

/// A [`Text`] as a `String`, which it derefs to: see [`Text::edit`]. What was changed is in the
/// text when this is dropped; a guard that is forgotten leaves the text empty.
#[derive(Debug)]
pub struct TextEdit<'t> {
    text: &'t mut Text,
    string: String,
}

impl Deref for TextEdit<'_> {
    type Target = String;
    fn deref(&self) -> &String {
        &self.string
    }
}

impl DerefMut for TextEdit<'_> {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.string
    }
}

impl Drop for TextEdit<'_> {
    fn drop(&mut self) {
        *self.text = take(&mut self.string).into();
    }
}

impl From<String> for Text {
    /// Without a copy.
    #[inline]
    fn from(text: String) -> Self {
        Text { bytes: text.into_bytes().into() }
    }
}

impl From<Text> for String {
    /// Without a copy, unless another library allocated it.
    #[inline]
    fn from(text: Text) -> Self {
        // SAFETY: by the invariant.
        unsafe { String::from_utf8_unchecked(text.bytes.into()) }
    }
}

impl From<Text> for List<u8> {
    /// Without a copy.
    fn from(text: Text) -> Self {
        text.bytes
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        String::from(text).into()
    }
}

impl From<&mut str> for Text {
    fn from(text: &mut str) -> Self {
        String::from(text).into()
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<Box<str>> for Text {
    /// Without a copy.
    fn from(text: Box<str>) -> Self {
        String::from(text).into()
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<char> for Text {
    fn from(character: char) -> Self {
        String::from(character).into()
    }
}

impl From<Text> for Cow<'_, str> {
    fn from(text: Text) -> Self {
        Cow::Owned(text.into())
    }
}

impl FromStr for Text {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

macro_rules! collected {
    ($([$($generics:tt)*] $part:ty;)*) => { $(
        impl<$($generics)*> FromIterator<$part> for Text {
            fn from_iter<I: IntoIterator<Item = $part>>(parts: I) -> Self {
                String::from_iter(parts).into()
            }
        }
        impl<$($generics)*> Extend<$part> for Text {
            fn extend<I: IntoIterator<Item = $part>>(&mut self, parts: I) {
                self.edit().extend(parts);
            }
        }
    )* };
}
collected! {
    [] char;
    ['c] &'c char;
    ['t] &'t str;
    [] String;
    ['t] Cow<'t, str>;
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl DerefMut for Text {
    #[inline]
    fn deref_mut(&mut self) -> &mut str {
        self.as_mut_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

// A text hashes, compares and orders as its `str`, below.
impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl BorrowMut<str> for Text {
    fn borrow_mut(&mut self) -> &mut str {
        self
    }
}

impl Default for Text {
    fn default() -> Self {
        Text::new()
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        self.as_str().into()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

macro_rules! compared {
    ($($left:ty, $right:ty;)*) => { $(
        impl PartialEq<$right> for $left {
            fn eq(&self, other: &$right) -> bool {
                self[..] == other[..]
            }
        }
    )* };
}
compared! {
    Text, Text;
    Text, str;
    Text, &str;
    Text, String;
    Text, Cow<'_, str>;
    str, Text;
    &str, Text;
    String, Text;
    Cow<'_, str>, Text;
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_str().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

// SAFETY: rebuilt from its bytes.
unsafe impl Portable for Text {
    fn reown(self) -> Self {
        self.as_str().into()
    }
}
