//! The layout of a type, as only this crate can say it.
//!
//! What the host compares is a description by abi_stable, whose trait for it anybody can implement
//! by a derive, and whose values anybody can copy. So the word that counts is [`LaidOut`]: each
//! type that crosses has a [`LayoutOf`] itself, and nobody makes one of those but this crate. Of a
//! record it is made out of the fields that the compiler sees, by what stands in the trait that is
//! implemented ([`LaidOut::TELL`]): whatever crate a path in generated code leads to, the trait is
//! this one, or the record crosses nowhere.
//!
//! abi_stable's own types stay inside. A description is handed on as a [`Layout`], which takes an
//! `unsafe` to be read.

#![expect(unsafe_code, reason = "layouts are unsafe to implement")]

use crate::call::Reply;
use crate::callback::RawCallback;
use crate::described::{Described, Table};
use crate::future::RawFuture;
use crate::grow::{GrownBox, GrownNumber, GrownRef};
use crate::object::RawObject;
use crate::shape::RecordOf;
use crate::signature::Set;
use crate::{List, Map, Maybe, Period, Text, lent};
use abi_stable::StableAbi;
use abi_stable::pmr::{False, GetStaticEquivalent_, TypeLayout};
use abi_stable::std_types::RResult;
use std::fmt;
use std::marker::PhantomData;

/// The description of a type's layout.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Layout(&'static TypeLayout);

impl Layout {
    pub(crate) const fn of<A: StableAbi>() -> Self {
        Layout(A::LAYOUT)
    }

    pub(crate) fn of_getter(getter: extern "C" fn() -> &'static TypeLayout) -> Self {
        Layout(getter())
    }

    /// As abi_stable has it.
    ///
    /// # Safety
    /// Of what it gives away nothing is used but what is known to be sound: not all that is safe in
    /// abi_stable is.
    pub const unsafe fn get(self) -> &'static TypeLayout {
        self.0
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layout")
    }
}

/// The layout of `T`, of which that is proven.
#[derive(Debug)]
pub struct LayoutOf<T> {
    /// INVARIANT: `T` lies in memory as it says.
    layout: Layout,
    of: PhantomData<fn(T)>,
}

impl<T> LayoutOf<T> {
    /// Of a type that lies in memory as `A` does.
    ///
    /// # Safety
    /// As it says, deeply.
    pub(crate) const unsafe fn as_of<A: StableAbi>() -> Self {
        assert!(size_of::<A>() == size_of::<T>() && align_of::<A>() == align_of::<T>());
        LayoutOf { layout: Layout(A::LAYOUT), of: PhantomData }
    }

    /// As somebody says that it is.
    ///
    /// # Safety
    /// `T` lies in memory as `layout` says.
    pub const unsafe fn promised(layout: &'static TypeLayout) -> Self {
        LayoutOf { layout: Layout(layout), of: PhantomData }
    }
}

impl<T> Clone for LayoutOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for LayoutOf<T> {}

/// A type whose layout is fixed, and known. Implemented by [`record`](crate::record), and here.
///
/// # Safety
/// What `LAYOUT` says of the type is true. That a type is plain data is for
/// [`Portable`](crate::Portable) to say.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross a plugin's boundary",
    label = "its layout is not known"
)]
pub unsafe trait LaidOut: Sized {
    /// How it lies in memory.
    const LAYOUT: LayoutOf<Self>;

    /// What makes `LAYOUT` of a record. Generated code calls it through the record, and does not
    /// write it.
    const TELL: RecordOf<Self> = RecordOf::NEW;
}

/// Says how `T` is described, as one function of C.
pub(crate) extern "C" fn layout_of<T: LaidOut>() -> Layout {
    T::LAYOUT.layout
}

/// A `T` where abi_stable wants a type of its own kind: inside of what it describes by a derive.
#[repr(transparent)]
pub(crate) struct Said<T>(T);

// SAFETY: one type for each `T`.
unsafe impl<T: 'static> GetStaticEquivalent_ for Said<T> {
    type StaticEquivalent = Said<T>;
}

// SAFETY: it is transparent, and the layout is that of `T` by the invariant of `LayoutOf`.
unsafe impl<T: LaidOut + 'static> StableAbi for Said<T> {
    type IsNonZeroType = False;
    const LAYOUT: &'static TypeLayout = T::LAYOUT.layout.0;
}

/// What lies in memory as abi_stable's derive says of it, or as it says of the same type around
/// [`Said`].
macro_rules! laid_out {
    ($([$($bounds:tt)*] $name:ty, as $described:ty;)*) => { $(
        // SAFETY: it is the same type, around what lies in memory as its parts do.
        unsafe impl<$($bounds)*> $crate::layout::LaidOut for $name {
            const LAYOUT: $crate::layout::LayoutOf<Self> =
                // SAFETY: the parts of both lie in memory in one way.
                unsafe { $crate::layout::LayoutOf::as_of::<$described>() };
        }
    )* };
}
pub(crate) use laid_out;

macro_rules! plain {
    ($($name:ty)*) => { laid_out! { $([] $name, as $name;)* } };
}
plain! { () bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 }

laid_out! {
    [T: LaidOut + 'static, const N: usize] [T; N], as [Said<T>; N];
    [T: LaidOut + 'static] &'static T, as &'static Said<T>;
    [T: LaidOut + 'static] *const T, as *const Said<T>;
    [] Text, as Text;
    [] Period, as Period;
    [T: LaidOut + 'static] List<T>, as List<Said<T>>;
    [T: LaidOut + 'static] Maybe<T>, as Maybe<Said<T>>;
    [K: LaidOut + 'static, V: LaidOut + 'static] Map<K, V>, as Map<Said<K>, Said<V>>;
    [T: LaidOut + 'static] Set<T>, as Set<Said<T>>;
    [T: LaidOut + 'static, E: LaidOut + 'static] RResult<T, E>, as RResult<Said<T>, Said<E>>;
    [] lent::RStr<'static>, as lent::RStr<'static>;
    [T: LaidOut + 'static] lent::RSlice<'static, T>, as lent::RSlice<'static, Said<T>>;
    [T: LaidOut + 'static] Reply<T>, as Reply<Said<T>>;
    [T: LaidOut + 'static] RawFuture<T>, as RawFuture<Said<T>>;
    [F: Described] RawObject<Table<F>>, as Self;
    [F: Described] RawCallback<Table<F>>, as Self;
    [D: StableAbi + 'static] GrownRef<'static, D>, as Self;
    [D: StableAbi + 'static] GrownBox<D>, as Self;
    [D: StableAbi + 'static] GrownNumber<D>, as Self;
}
