//! Records and enums that may grow.
//!
//! A record's bytes are read as they are, so both sides must have the same fields. Growing one
//! anyway takes two things: the beginning of each version is the whole of the one before, which the
//! layout check compares, and whoever receives a value learns how much of it is there. So such a
//! record never lies inside of another value, where it would move what comes behind it: it crosses
//! by itself, behind a pointer, with its number of fields.
//!
//! What the receiver doesn't know stays the sender's, and what the sender lacks gets its default in
//! the receiver.

#![expect(
    unsafe_code,
    reason = "values of another version are read field by field through pointers"
)]

use crate::Portable;
use crate::described::{Described, Table};
use crate::portable::{Form, LentForm};
use crate::shape::Places;
use abi_stable::StableAbi;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;

/// A struct with `#[record(growable)]`: implemented by that macro.
///
/// # Safety
/// The fields are `FIELDS` many and stand in the order of their numbers, and `take` takes each of
/// them by `taken_from`, and `complete` copies them by `copied`. A version with more fields has
/// these as its first ones, if `Fields` of both fits. The three functions do to each field what
/// they say.
pub unsafe trait Grows: Sized + 'static {
    /// A table with a pointer to each field's type: what the layout check compares.
    type Fields: Described;
    /// How many fields there are.
    const FIELDS: u32;

    /// What proves that the type is `repr(C)`, of these fields. Generated code calls it through the
    /// record, and does not write it.
    const PLACES: Places<Self> = Places::STRUCT;

    /// Makes a value of `from`'s fields, of which there are `fields`, as this side's own. `taken`
    /// says, even when it unwinds, how many of them are moved out.
    ///
    /// # Safety
    /// `from` points to a version of this type with so many fields, which are moved out.
    unsafe fn take(from: *const Self, fields: u32, taken: &mut u32) -> Self;

    /// A field of `from`'s as this side's own. That it is portable is proven here, and not where
    /// the macro's text leads to.
    ///
    /// # Safety
    /// It is initialised, and moved out by this.
    unsafe fn taken_from<F: Portable>(field: *const F) -> F {
        // SAFETY: the field is initialised and moved out here, by the promise of who calls this.
        unsafe { field.read() }.reown()
    }

    /// Copies the bytes of a field, for `complete`.
    ///
    /// # Safety
    /// As there.
    unsafe fn copied<F>(from: *const F, to: *mut F) {
        // SAFETY: `from` is initialised and `to` writable, by the promise of who calls this; they
        // are of two values, which don't overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to, 1) };
    }

    /// Copies the bytes of `from`'s fields, of which there are `fields`, to `to`, and gives the
    /// others their default.
    ///
    /// # Safety
    /// As for `take`, but that the fields stay `from`'s. `to` is writable, and what is written is
    /// not dropped but by `drop_from`.
    unsafe fn complete(from: *const Self, fields: u32, to: *mut Self);

    /// Drops the fields from the one with number `from` on.
    ///
    /// # Safety
    /// They are initialised, and used no more.
    unsafe fn drop_from(value: *mut Self, from: u32);
}

/// `&T` on the wire.
#[repr(C)]
#[derive(StableAbi)]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct GrownRef<'a, D> {
    value: *const (),
    fields: u32,
    described: PhantomData<D>,
    lent: PhantomData<&'a ()>,
}

// SAFETY: `T` grows, so that its fields are portable, and it is of `T` by its description.
unsafe impl<'a, T: Grows> LentForm<'a, T> for GrownRef<'a, Table<T::Fields>> {}

impl<'a, F: Described> GrownRef<'a, Table<F>> {
    /// In the library that lends it.
    #[inline]
    pub fn of<T: Grows<Fields = F>>(value: &'a T) -> Self {
        GrownRef {
            value: (&raw const *value).cast(),
            fields: T::FIELDS,
            described: PhantomData,
            lent: PhantomData,
        }
    }

    /// In the library that it is lent to.
    ///
    /// # Safety
    /// It is of `T`, in some version.
    #[inline]
    pub unsafe fn receive<T: Grows<Fields = F>>(self) -> HeldGrown<'a, T> {
        let value = self.value.cast::<T>();
        if self.fields >= T::FIELDS {
            // SAFETY: its first fields are those of `T`, so that it is at least as large and as
            // strictly aligned; lent for 'a.
            return HeldGrown::Whole(unsafe { &*value });
        }
        let mut own = MaybeUninit::uninit();
        // SAFETY: lent for 'a, as many fields as it says; `Completed` drops no more than the rest.
        unsafe { T::complete(value, self.fields, own.as_mut_ptr()) };
        HeldGrown::Completed(Completed { value: own, lent: self.fields, of: PhantomData })
    }
}

/// What a method gets as `&T`.
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub enum HeldGrown<'a, T: Grows> {
    /// The sender's itself: it has all fields that this side knows.
    Whole(&'a T),
    /// The older sender's fields, with defaults behind them.
    Completed(Completed<'a, T>),
}

/// A value whose first fields are another's.
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct Completed<'a, T: Grows> {
    /// INVARIANT: initialised. The first `lent` fields are copies of what another owns for 'a.
    value: MaybeUninit<T>,
    lent: u32,
    of: PhantomData<&'a T>,
}

impl<T: Grows> Drop for Completed<'_, T> {
    fn drop(&mut self) {
        // SAFETY: by the invariant these are its own.
        unsafe { T::drop_from(self.value.as_mut_ptr(), self.lent) };
    }
}

impl<T: Grows> Deref for HeldGrown<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        match self {
            HeldGrown::Whole(value) => value,
            // SAFETY: by the invariant; nothing changes it, since what is `Portable` has no cells.
            HeldGrown::Completed(completed) => unsafe { completed.value.assume_init_ref() },
        }
    }
}

/// `T` on the wire: in a box of the sender's, who frees it.
#[repr(C)]
#[derive(StableAbi)]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct GrownBox<D> {
    /// INVARIANT: the fields from number `taken` on are initialised; of a box that `free` frees.
    value: *mut (),
    fields: u32,
    taken: u32,
    free: unsafe extern "C" fn(*mut (), u32),
    described: PhantomData<D>,
}

// SAFETY: as of `GrownRef`.
unsafe impl<T: Grows> Form<T> for GrownBox<Table<T::Fields>> {}

impl<F: Described> GrownBox<Table<F>> {
    /// In the library that sends it.
    pub fn of<T: Grows<Fields = F>>(value: T) -> Self {
        unsafe extern "C" fn free<T: Grows>(value: *mut (), taken: u32) {
            let value = value.cast::<T>();
            // SAFETY: by the invariant, and from `into_raw` below. A box of the same layout drops
            // no field.
            unsafe {
                T::drop_from(value, taken);
                drop(Box::from_raw(value.cast::<ManuallyDrop<T>>()));
            }
        }
        GrownBox {
            value: Box::into_raw(Box::new(value)).cast(),
            fields: T::FIELDS,
            taken: 0,
            free: free::<T>,
            described: PhantomData,
        }
    }

    /// In the library that receives it, while the sender is held.
    ///
    /// # Safety
    /// It is of `T`, in some version.
    pub unsafe fn rebuild<T: Grows<Fields = F>>(mut self) -> T {
        let (value, fields) = (self.value.cast_const().cast(), self.fields);
        // SAFETY: it is of `T`, by the promise of who calls this. What is not taken is dropped with
        // `self`, also where this unwinds.
        unsafe { T::take(value, fields, &mut self.taken) }
    }
}

impl<D> Drop for GrownBox<D> {
    fn drop(&mut self) {
        // SAFETY: by the invariant; once.
        unsafe { (self.free)(self.value, self.taken) };
    }
}

/// An enum with `#[record(growable)]` on the wire: the number of its variant.
#[repr(C)]
#[derive(StableAbi)]
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct GrownNumber<D> {
    number: u32,
    described: PhantomData<D>,
}

// SAFETY: a number, from which no memory is made.
unsafe impl<T, D> Form<T> for GrownNumber<D> {}
// SAFETY: a number, from which no memory is made.
unsafe impl<'a, T, D> LentForm<'a, T> for GrownNumber<D> {}

impl<D> GrownNumber<D> {
    /// In the library that sends it.
    #[inline]
    pub fn of(number: u32) -> Self {
        GrownNumber { number, described: PhantomData }
    }

    /// In the library that receives it.
    #[inline]
    pub fn number(self) -> u32 {
        self.number
    }
}

/// What a method gets as `&T`, of a `T` that is rebuilt.
#[expect(missing_debug_implementations, reason = "it crosses, and is never printed")]
pub struct Held<T>(pub T);

impl<T> Deref for Held<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
