//! An `Option` in a record: one whose bytes have a fixed order.

#![expect(unsafe_code, reason = "`Portable` is unsafe to implement")]

use crate::Portable;
use abi_stable::StableAbi;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value or none, in a record: to and from `Option<T>` with `into`.
///
/// ```
/// use midflight_plugin::Maybe;
/// let price: Maybe<i64> = Some(101).into();
/// assert_eq!(price.into_option(), Some(101));
/// ```
///
/// It is matched as an `Option` is, and what it can't do by itself, `as_ref`, `as_mut` and
/// `into_option` give an `Option` for.
///
/// ```
/// # use midflight_plugin::Maybe;
/// # let price = Maybe::Some(101);
/// assert!(matches!(price, Maybe::Some(101)));
/// assert_eq!(price.as_ref().copied().zip(Some(7)), Some((101, 7)));
/// ```
#[repr(u8)]
#[derive(StableAbi, Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maybe<T> {
    /// No value.
    #[default]
    None,
    /// A value.
    Some(T),
}

impl<T> Maybe<T> {
    /// Is there a value?
    #[inline]
    pub const fn is_some(&self) -> bool {
        matches!(self, Maybe::Some(_))
    }

    /// Is there none?
    #[inline]
    pub const fn is_none(&self) -> bool {
        matches!(self, Maybe::None)
    }

    /// The value, lent.
    #[inline]
    pub const fn as_ref(&self) -> Option<&T> {
        match self {
            Maybe::Some(value) => Some(value),
            Maybe::None => None,
        }
    }

    /// The value, lent to be changed.
    #[inline]
    pub const fn as_mut(&mut self) -> Option<&mut T> {
        match self {
            Maybe::Some(value) => Some(value),
            Maybe::None => None,
        }
    }

    /// As an `Option`.
    #[inline]
    pub fn into_option(self) -> Option<T> {
        match self {
            Maybe::Some(value) => Some(value),
            Maybe::None => None,
        }
    }

    /// As [`Option::map`].
    #[inline]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Maybe<U> {
        self.into_option().map(change).into()
    }

    /// As [`Option::take`].
    pub fn take(&mut self) -> Maybe<T> {
        std::mem::take(self)
    }

    /// As [`Option::replace`].
    pub fn replace(&mut self, value: T) -> Maybe<T> {
        std::mem::replace(self, Maybe::Some(value))
    }

    /// As [`Option::unwrap`].
    ///
    /// # Panics
    /// There is no value.
    #[track_caller]
    pub fn unwrap(self) -> T {
        self.into_option().unwrap()
    }

    /// As [`Option::expect`].
    ///
    /// # Panics
    /// There is no value.
    #[track_caller]
    pub fn expect(self, message: &str) -> T {
        self.into_option().expect(message)
    }

    /// As [`Option::unwrap_or`].
    pub fn unwrap_or(self, value: T) -> T {
        self.into_option().unwrap_or(value)
    }

    /// As [`Option::unwrap_or_else`].
    pub fn unwrap_or_else(self, make: impl FnOnce() -> T) -> T {
        self.into_option().unwrap_or_else(make)
    }

    /// As [`Option::unwrap_or_default`].
    pub fn unwrap_or_default(self) -> T
    where
        T: Default,
    {
        self.into_option().unwrap_or_default()
    }

    /// As [`Option::ok_or`].
    ///
    /// # Errors
    /// There is no value.
    pub fn ok_or<E>(self, error: E) -> Result<T, E> {
        self.into_option().ok_or(error)
    }
}

impl<T> From<Option<T>> for Maybe<T> {
    #[inline]
    fn from(value: Option<T>) -> Self {
        match value {
            Some(value) => Maybe::Some(value),
            None => Maybe::None,
        }
    }
}

impl<T> From<Maybe<T>> for Option<T> {
    #[inline]
    fn from(value: Maybe<T>) -> Self {
        value.into_option()
    }
}

// Not the other way round: a second `PartialEq` of `Option` would take coercions away from all who
// link this crate.
impl<T: PartialEq> PartialEq<Option<T>> for Maybe<T> {
    fn eq(&self, other: &Option<T>) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl<T: Serialize> Serialize for Maybe<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Maybe::from)
    }
}

// SAFETY: as its value.
unsafe impl<T: Portable> Portable for Maybe<T> {
    #[inline]
    fn reown(self) -> Self {
        self.map(T::reown)
    }
}
