//! Plain data that may outlive the library that made it.
//!
//! A value that a plugin made can hold three things that vanish with the plugin: memory of its
//! allocator, addresses of its functions, and references into its constants. The layout check sees
//! none of them, since a function pointer has a perfectly stable layout. Handing such a value on
//! works until the day of the first update.
//!
//! So a type says of itself that it is plain data ([`Portable`]), and whoever receives a value
//! builds it anew from its own memory while the other side is still held. [`Crosses`] extends that
//! to the std types of signatures.

#![expect(unsafe_code, reason = "`Portable` and `Crosses` are unsafe to implement")]

use crate::List;
use crate::layout::LaidOut;
use crate::list::own_list;

/// Plain data: it means the same when the library that made it is gone, once it was rebuilt with
/// [`reown`](Portable::reown).
///
/// Implemented by [`record`](crate::record) for structs and enums, and here for numbers, `bool`,
/// arrays, [`Text`](crate::Text), [`List`], [`Maybe`](crate::Maybe), [`Map`](crate::Map) and
/// [`Period`](crate::Period). No references, function pointers, boxes, cells or atomics: the
/// library can go away before them, or they would be memory that both sides write.
///
/// # Safety
/// Every field is `Portable`, and [`reown`](Portable::reown) leaves nothing behind that belongs to
/// another library. A type that has nothing to drop owns no memory: of such values a list is copied
/// as its bytes. The type has no `Drop` of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross a plugin's boundary",
    label = "not plain data with a stable layout",
    note = "put `#[record]` on types of your own; in fields write `Text` for `String`, `List<T>` for `Vec<T>`, `Maybe<T>` for `Option<T>`",
    note = "for a type of another crate's (`Uuid`, `DateTime`) write a record of what it is made of, and `From` both ways: see `midflight_plugin::docs::boundary`",
    note = "what may grow, `#[record(growable)]`, crosses by itself, as `T`, `&T`, `Vec<T>`: inside of another record it would move what comes behind it",
    note = "references, function pointers, `Box`, `Rc`, `Arc`, cells and atomics never cross: a plugin's library can go away before them"
)]
pub unsafe trait Portable: LaidOut + Send + Sync + 'static {
    /// The same value, in memory of the caller's allocator: rebuilt, deeply, with the code of the
    /// binary that calls this.
    fn reown(self) -> Self;
}

macro_rules! plain {
    ($($t:ty)*) => { $(
        // SAFETY: a number or a truth value owns nothing and has no Drop.
        unsafe impl Portable for $t {
            #[inline(always)]
            fn reown(self) -> Self { self }
        }
    )* };
}
plain! { () bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 }

// SAFETY: as its elements.
unsafe impl<T: Portable, const N: usize> Portable for [T; N] {
    #[inline]
    fn reown(self) -> Self {
        self.map(T::reown)
    }
}

/// What a contract's method takes by value and returns: [`Portable`] types, and `String`, `Vec<T>`,
/// `Option<T>`, `Result<T, E>` of what crosses.
///
/// The sender turns the value into its form on the wire, and the receiver rebuilds it as its own
/// while the sender is held, so that neither ever keeps the other's memory: not even the host a
/// plugin's, which it was given as an argument.
///
/// # Safety
/// `rebuild` leaves nothing behind in its result that belongs to the sender, and the result borrows
/// nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a contract's argument or result",
    label = "neither plain data nor `String`, `Vec`, `Option` or `Result` of what is",
    note = "put `#[record]` on types of your own",
    note = "for a type of another crate's (`Uuid`, `DateTime`) write a record of what it is made of, and `From` both ways: see `midflight_plugin::docs::boundary`",
    note = "values are rebuilt as the receiver's own before the sender may be unloaded: references, `Box`, `Arc`, closures can't be"
)]
pub unsafe trait Crosses: Sized + 'static {
    /// The form in which it is passed.
    type Wire: LaidOut + Form<Self> + 'static;
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

/// A form in which a `T` may be passed: this crate's word that it holds nothing but what a `T` is
/// to be rebuilt from, and that `T` is what may be rebuilt from it. What generated code says of
/// itself names this crate by a path, which an author can lead elsewhere; here the two types meet
/// for good.
///
/// # Safety
/// As it says.
#[diagnostic::on_unimplemented(message = "`{Self}` is no form in which `{T}` can be passed")]
pub unsafe trait Form<T: ?Sized> {}

// SAFETY: by `Portable`.
unsafe impl<T: Portable> Form<T> for T {}

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

/// What a contract's method takes as `&T`: [`Portable`] types, as they are, and records that may
/// grow.
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
    type Wire<'a>: LentForm<'a, Self>;
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

/// As [`Form`], of what is lent.
///
/// # Safety
/// As there.
#[diagnostic::on_unimplemented(message = "`{Self}` is no form in which `&{T}` can be lent")]
pub unsafe trait LentForm<'a, T: ?Sized> {}

// SAFETY: itself.
unsafe impl<'a, T: Portable> LentForm<'a, T> for &'a T {}

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
