//! Plain data that may outlive the library that made it.
//!
//! A value that a plugin made can hold three things that vanish with the plugin: memory of its allocator, addresses of
//! its functions, and references into its constants. The layout check sees none of them, since a function pointer has a
//! perfectly stable layout. Handing such a value on works until the day of the first update.
//!
//! So a type says of itself that it is plain data ([`Portable`]), and whoever receives a value builds it anew from its
//! own memory ([`Reown`]) while the other side is still held. [`Crosses`] extends that to the std types of signatures.

// `Portable` and `Crosses` are unsafe to implement, and the lists of numbers are copied as bytes.
#![allow(unsafe_code)]

use abi_stable::StableAbi;

/// Owned text in a record: derefs to `str`, and comes from a `String` without a copy.
///
/// ```
/// use midflight_plugin::Text;
/// let symbol = Text::from("ABC");
/// assert!(symbol.starts_with('A'));
/// ```
#[doc(inline)]
pub use abi_stable::std_types::RString as Text;

/// An owned list in a record: derefs to `[T]`, and comes from a `Vec<T>` without a copy.
///
/// ```
/// use midflight_plugin::List;
/// let squares: List<u64> = (1..4).map(|n| n * n).collect();
/// assert_eq!(squares.iter().sum::<u64>(), 14);
/// ```
#[doc(inline)]
pub use abi_stable::std_types::RVec as List;

/// A value or none, in a record: to and from `Option<T>` with `into`.
///
/// ```
/// use midflight_plugin::Maybe;
/// let price: Maybe<i64> = Some(101).into();
/// assert_eq!(price.into_option(), Some(101));
/// ```
#[doc(inline)]
pub use abi_stable::std_types::ROption as Maybe;

/// Plain data: it means the same when the library that made it is gone, once it was rebuilt with [`Reown`].
///
/// Implemented by [`record`](crate::record) for structs and enums, and here for numbers, `bool`, arrays, [`Text`],
/// [`List`] and [`Maybe`]. No references, function pointers, boxes, cells or atomics: the library can go away before
/// them, or they would be memory that both sides write.
///
/// # Safety
/// Every field is `Portable`, [`Reown::reown`] leaves nothing behind that belongs to another library, and
/// [`Reown::PLAIN`] is true only where no field owns memory. The type has no `Drop` of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross a plugin's boundary",
    label = "not plain data with a stable layout",
    note = "put `#[record]` on types of your own; in fields write `Text` for `String`, `List<T>` for `Vec<T>`, `Maybe<T>` for `Option<T>`",
    note = "what may grow, `#[record(growable)]`, crosses by itself, as `T`, `&T`, `Vec<T>`: inside of another record it would move what comes behind it",
    note = "references, function pointers, `Box`, `Rc`, `Arc`, cells and atomics never cross: a plugin's library can go away before them"
)]
pub unsafe trait Portable: Reown + StableAbi + Send + Sync + 'static {}

/// Rebuilds a value, deeply, with the memory and the code of the binary that calls it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be rebuilt as the receiver's own",
    label = "its owner would stay the plugin, which is unloaded one day",
    note = "put `#[record]` on types of your own; in fields write `Text` for `String`, `List<T>` for `Vec<T>`, `Maybe<T>` for `Option<T>`"
)]
pub trait Reown: Sized {
    /// No part of it owns memory, so that a copy of its bytes is the whole job.
    const PLAIN: bool = false;
    /// The same value, in memory of the caller's allocator.
    fn reown(self) -> Self;
}

macro_rules! plain {
    ($($t:ty)*) => { $(
        impl Reown for $t {
            const PLAIN: bool = true;
            #[inline(always)]
            fn reown(self) -> Self { self }
        }
        // SAFETY: a number or a truth value owns nothing and has no Drop.
        unsafe impl Portable for $t {}
    )* };
}
plain! { () bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 }

impl Reown for Text {
    fn reown(self) -> Self {
        Text::from(String::from(self.as_str()))
    }
}
// SAFETY: rebuilt from its bytes.
unsafe impl Portable for Text {}

impl<T: Reown> Reown for List<T> {
    fn reown(self) -> Self {
        List::from(own_list(self))
    }
}
// SAFETY: rebuilt element by element, or as bytes where the elements are nothing else.
unsafe impl<T: Portable> Portable for List<T> {}

pub(crate) fn own_list<T: Reown>(mut list: List<T>) -> Vec<T> {
    let mut own = Vec::with_capacity(list.len());
    if T::PLAIN {
        // SAFETY: `own` has room for `len` elements. They are moved, not copied: `set_len(0)` comes before anything that
        // could unwind, so that none has two owners.
        unsafe {
            std::ptr::copy_nonoverlapping(list.as_ptr(), own.as_mut_ptr(), list.len());
            own.set_len(list.len());
            list.set_len(0);
        }
    } else {
        // Should one element's `reown` panic, the iterator drops the rest of theirs and the Vec those of ours.
        own.extend(list.into_iter().map(T::reown));
    }
    own
}

impl<T: Reown> Reown for Maybe<T> {
    const PLAIN: bool = T::PLAIN;
    #[inline]
    fn reown(self) -> Self {
        self.map(T::reown)
    }
}
// SAFETY: as its value.
unsafe impl<T: Portable> Portable for Maybe<T> {}

impl<T: Reown, const N: usize> Reown for [T; N] {
    const PLAIN: bool = T::PLAIN;
    #[inline]
    fn reown(self) -> Self {
        self.map(T::reown)
    }
}
// SAFETY: as its elements.
unsafe impl<T: Portable, const N: usize> Portable for [T; N] {}

/// What a contract's method takes by value and returns: [`Portable`] types, and `String`, `Vec<T>`, `Option<T>`,
/// `Result<T, E>` of what crosses.
///
/// The sender turns the value into its form on the wire, and the receiver rebuilds it as its own while the sender is
/// held, so that neither ever keeps the other's memory: not even the host a plugin's, which it was given as an argument.
///
/// # Safety
/// `rebuild` leaves nothing behind in its result that belongs to the sender, and the result borrows nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a contract's argument or result",
    label = "neither plain data nor `String`, `Vec`, `Option` or `Result` of what is",
    note = "put `#[record]` on types of your own",
    note = "values are rebuilt as the receiver's own before the sender may be unloaded: references, `Box`, `Arc`, closures can't be"
)]
pub unsafe trait Crosses: Sized + 'static {
    /// The form in which it is passed.
    type Wire: StableAbi;
    /// In the library that sends it.
    fn into_wire(self) -> Self::Wire;
    /// In the library that receives it, while the sender is still held.
    fn rebuild(wire: Self::Wire) -> Self;
    /// `rebuild` for a whole list: one copy where the elements are plain.
    #[doc(hidden)]
    fn rebuild_all(wires: List<Self::Wire>) -> Vec<Self> {
        wires.into_iter().map(Self::rebuild).collect()
    }
}

// SAFETY: by `Portable`.
unsafe impl<T: Portable> Crosses for T {
    type Wire = T;
    #[inline(always)]
    fn into_wire(self) -> T {
        self
    }
    #[inline(always)]
    fn rebuild(wire: T) -> T {
        wire.reown()
    }
    fn rebuild_all(wires: List<T>) -> Vec<T> {
        own_list(wires)
    }
}

/// What a contract's method takes as `&T`: [`Portable`] types, as they are, and records that may grow.
///
/// # Safety
/// What `receive` gives is what was lent, and borrows nothing but that.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` can't be a contract's argument",
    label = "not plain data with a stable layout",
    note = "put `#[record]` on types of your own",
    note = "the std types cross by value, and lent as `&str` and `&[T]`"
)]
pub unsafe trait Lends: 'static {
    /// The form in which it is passed.
    #[doc(hidden)]
    type Wire<'a>;
    /// What the receiver holds it by.
    #[doc(hidden)]
    type Held<'a>: std::ops::Deref<Target = Self>;
    /// In the library that lends it.
    #[doc(hidden)]
    fn lend(&self) -> Self::Wire<'_>;
    /// In the library that it is lent to.
    #[doc(hidden)]
    fn receive(wire: Self::Wire<'_>) -> Self::Held<'_>;
}

// SAFETY: itself.
unsafe impl<T: Portable> Lends for T {
    type Wire<'a> = &'a T;
    type Held<'a> = &'a T;
    #[inline(always)]
    fn lend(&self) -> &T {
        self
    }
    #[inline(always)]
    fn receive(wire: Self::Wire<'_>) -> Self::Held<'_> {
        wire
    }
}
