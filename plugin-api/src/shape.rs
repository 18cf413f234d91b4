//! The proof that a record lies in memory as its description says.
//!
//! `#[record]` chooses `repr(C)`, or `repr(C, u8)` for an enum, and describes the fields that it
//! sees. An attribute behind it sees the item later, and can make another of it. So generated code
//! shows each field of the type as it is, and what describes it takes from there of what type it
//! is, and where it lies; that is compared, while the compiler runs, with where those
//! representations put it.

#![expect(unsafe_code, reason = "a value with nothing but a tag, and the places in it")]

use crate::Portable;
use crate::described::{Getter, Mono, Shared, Text, enumeration, structure};
use crate::layout::{LaidOut, LayoutOf, Said, layout_of};
use abi_stable::StableAbi;
use abi_stable::pmr::{
    _private_TypeLayoutDerive, GenericTLData, GenericTLEnum, TLDiscriminants, TypeLayout,
};
use abi_stable::std_types::RSlice;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

const ANOTHER: &str = "a record has the fields and the layout that `#[record]` gives it: an attribute behind it has changed them";
const DROPS: &str =
    "a record can't have a `Drop` of its own: it would run once for each copy that crosses";

/// Where `repr(C)` puts one field of `T` after the other, and `repr(C, u8)` those of each variant:
/// a tag, and behind it a union of structs.
#[derive(Debug)]
pub struct Places<T> {
    /// Behind the last field.
    at: usize,
    /// Behind the longest variant.
    end: usize,
    /// The largest alignment.
    most: usize,
    /// Is there anything to do when a field is dropped?
    drops: bool,
    of: PhantomData<fn(T)>,
}

impl<T> Places<T> {
    pub(crate) const STRUCT: Self =
        Places { at: 0, end: 0, most: 1, drops: false, of: PhantomData };

    /// A value with nothing in it, whose fields can be shown.
    pub const fn value(&self) -> MaybeUninit<T> {
        MaybeUninit::uninit()
    }

    /// One field more.
    ///
    /// # Safety
    /// It lies in the value.
    pub const unsafe fn field<F>(&mut self, value: &MaybeUninit<T>, field: *const F) {
        // SAFETY: both are of the same value, by the caller's promise.
        let offset = unsafe { field.cast::<u8>().offset_from(value.as_ptr().cast()) };
        let offset = offset.cast_unsigned();
        assert!(self.at.next_multiple_of(align_of::<F>()) == offset, "{}", ANOTHER);
        self.at = offset + size_of::<F>();
        if self.at > self.end {
            self.end = self.at;
        }
        if align_of::<F>() > self.most {
            self.most = align_of::<F>();
        }
        self.drops |= std::mem::needs_drop::<F>();
    }

    /// `T` is of these fields, and nothing else.
    pub const fn ended(&self) {
        let size = self.end.next_multiple_of(self.most);
        assert!(self.most == align_of::<T>() && size == size_of::<T>(), "{}", ANOTHER);
        // Of fields that own nothing every copy would have its `Drop`.
        assert!(self.drops || !std::mem::needs_drop::<T>(), "{}", DROPS);
    }
}

/// What makes a record's layout: see [`LaidOut::TELL`].
#[derive(Debug)]
pub struct RecordOf<T>(PhantomData<fn(T)>);

impl<T: LaidOut> RecordOf<T> {
    pub(crate) const NEW: Self = RecordOf(PhantomData);

    /// The struct `T`, of `N` fields.
    ///
    /// # Safety
    /// The text names its fields, in their order, each with the type of its place.
    pub const unsafe fn structure<const N: usize>(self, text: Text) -> Shape<T, N> {
        Shape {
            mono: structure(text),
            data: GenericTLData::Struct,
            types: [layout_of::<()>; N],
            count: 0,
            numbers: &[],
            places: Places::STRUCT,
        }
    }

    /// The enum `T`, with `N` fields in all of its variants. `counts` says how many each has, and
    /// `numbers` are the variants' own; their names are the first `names_bytes` of the names.
    ///
    /// # Safety
    /// As for `structure`, of the fields of all variants, and of the variants.
    pub const unsafe fn enumeration<const N: usize>(
        self,
        text: Text,
        names_bytes: u16,
        counts: &'static [u8],
        numbers: &'static [u8],
    ) -> Shape<T, N> {
        let all = TLDiscriminants::from_u8_slice(RSlice::from_slice(numbers));
        // Behind the tag, at the alignment of the union, which is that of the whole.
        let start = align_of::<T>();
        Shape {
            mono: enumeration(text, names_bytes, counts),
            data: GenericTLData::Enum(GenericTLEnum::exhaustive(all)),
            types: [layout_of::<()>; N],
            count: 0,
            numbers,
            places: Places { at: start, end: start, ..Places::STRUCT },
        }
    }
}

/// A record's description, as far as its fields were shown.
#[expect(missing_debug_implementations, reason = "nobody sees it but the compiler")]
pub struct Shape<T, const N: usize> {
    mono: Mono,
    data: GenericTLData,
    /// How each field is described; the first `count`.
    types: [Getter; N],
    count: usize,
    /// The variants'.
    numbers: &'static [u8],
    places: Places<T>,
}

impl<T: LaidOut + 'static, const N: usize> Shape<T, N> {
    /// [`Places::value`]
    pub const fn value(&self) -> MaybeUninit<T> {
        self.places.value()
    }

    /// The next variant is the one with that place: a value that has its tag, and nothing else.
    /// While the compiler runs, whoever reads more than the tag is refused.
    pub const fn variant(&mut self, place: usize) -> MaybeUninit<T> {
        self.places.at = align_of::<T>();
        assert!(size_of::<T>() > 0, "{}", ANOTHER);
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: it has a first byte.
        unsafe { value.as_mut_ptr().cast::<u8>().write(self.numbers[place]) };
        value
    }

    /// Another variant than the one that was asked for.
    pub const fn none(&self) {
        panic!("{}", ANOTHER)
    }

    /// One field more, of the type that is described from here on.
    ///
    /// # Safety
    /// It lies in the value.
    pub const unsafe fn field<F: Portable>(&mut self, value: &MaybeUninit<T>, field: *const F) {
        // SAFETY: the field lies in the value, by the promise of who calls this.
        unsafe { self.places.field(value, field) };
        self.types[self.count] = layout_of::<F>;
        self.count += 1;
    }

    /// All fields were shown, and `T` is of these, and nothing else.
    pub const fn ended(self) -> Proven<T, N> {
        assert!(self.count == N, "{}", ANOTHER);
        self.places.ended();
        Proven { mono: self.mono, data: self.data, types: self.types, of: PhantomData }
    }
}

/// The description of a record, with the types of its fields.
#[expect(missing_debug_implementations, reason = "nobody sees it but the compiler")]
pub struct Proven<T, const N: usize> {
    mono: Mono,
    data: GenericTLData,
    types: [Getter; N],
    of: PhantomData<fn(T)>,
}

impl<T: LaidOut + 'static, const N: usize> Proven<T, N> {
    /// What the description shares with its parts.
    pub const fn shared(&'static self) -> Shared {
        Shared::new(&self.mono, &self.types)
    }

    /// The whole description.
    pub const fn drawn(&'static self, shared: &'static Shared) -> Drawn<T> {
        let layout = TypeLayout::from_derive::<T>(_private_TypeLayoutDerive {
            shared_vars: shared.get(),
            mono: self.mono.get(),
            abi_consts: <Said<T> as StableAbi>::ABI_CONSTS,
            data: self.data,
            tag: None,
            extra_checks: None,
        });
        Drawn { layout, of: PhantomData }
    }
}

/// A record's whole description.
#[expect(missing_debug_implementations, reason = "nobody sees it but the compiler")]
pub struct Drawn<T> {
    layout: TypeLayout,
    of: PhantomData<fn(T)>,
}

impl<T> Drawn<T> {
    /// The layout of the record.
    pub const fn layout(&'static self) -> LayoutOf<T> {
        // SAFETY: made of what is `Proven`: each field was seen, and that there is nothing else.
        unsafe { LayoutOf::promised(&self.layout) }
    }
}
