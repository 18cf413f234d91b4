//! The descriptions that the layout check compares, of records and of contracts' tables.
//!
//! abi_stable has a derive for them, but what it writes into the author's crate says `Some`,
//! `concat!`, `abi_stable`, and means whatever has that name there: a function `Some` of the
//! author's own took every signature out of the comparison. So the macros write numbers, texts and
//! types, in abi_stable's own packing, and what is made of them is made here, where no name is an
//! author's.

// Layouts are unsafe to implement.
#![allow(unsafe_code)]

use crate::call::Reply;
use crate::future::RawFuture;
use crate::object::Given;
use crate::sink::{RawSink, RawTextSink};
use crate::{Crosses, Lends, Maybe, Portable, lent};
use abi_stable::StableAbi;
use abi_stable::abi_stability::stable_abi_trait::AbiConsts;
use abi_stable::pmr::{
    _private_MonoTypeLayoutDerive, _private_TypeLayoutDerive, CompTLFields, CompTLFunction,
    DiscriminantRepr, FieldAccessibility, GenericTLData, GenericTLEnum, GetStaticEquivalent_,
    ModReflMode, MonoSharedVars, MonoTLData, MonoTLEnum, PTStructLayout, PrefixRef,
    PrefixStableAbi, PrefixTypeTrait, ReprAttr, StartLen, TLDiscriminants, TLFunctionQualifiers,
    TypeLayout, WithMetadata_,
};
use abi_stable::sabi_types::NulStr;
use abi_stable::std_types::{RSlice, RStr};
use abi_stable::type_layout::{CompGenericParams, ItemInfo, ModPath};
use std::marker::PhantomData;

pub use abi_stable::pmr::{
    False, MonoTypeLayout, SharedVars, TLFunctions, UNSAFE_EXTERN_FN_LAYOUT, get_type_layout,
};

/// How one type is described, found at its type.
pub type Getter = extern "C" fn() -> &'static TypeLayout;

/// Where a type is written: `package;version`, the line, and the module with a NUL behind it.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// `package;version`
    pub package: &'static str,
    /// In its file.
    pub line: u32,
    /// With a NUL behind it.
    pub module: &'static str,
}

/// What a description says apart from types.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The type's name.
    pub name: &'static str,
    /// Where it is written.
    pub written: Written,
    /// All names, one behind the other; the packed numbers point into it.
    pub names: &'static str,
    /// The fields, packed as abi_stable's `CompTLField`.
    pub fields: &'static [u64],
}

const fn mono(text: Text, data: MonoTLData, representation: ReprAttr) -> MonoTypeLayout {
    let Written { package, line, module } = text.written;
    MonoTypeLayout::from_derive(_private_MonoTypeLayoutDerive {
        name: RStr::from_str(text.name),
        item_info: ItemInfo::new(package, line, ModPath::inside(NulStr::from_str(module))),
        data,
        generics: CompGenericParams::new(NulStr::EMPTY, 0, StartLen::EMPTY, StartLen::EMPTY),
        mod_refl_mode: ModReflMode::Module,
        repr_attr: representation,
        phantom_fields: RSlice::from_slice(&[]),
        shared_vars: MonoSharedVars::new(RStr::from_str(text.names), RSlice::from_slice(&[])),
    })
}

const fn fields(text: &Text, functions: Option<&'static TLFunctions>) -> CompTLFields {
    CompTLFields::new(RSlice::from_slice(text.fields), functions)
}

/// A struct with `repr(C)`.
pub const fn structure(text: Text) -> MonoTypeLayout {
    mono(text, MonoTLData::derive_struct(fields(&text, None)), ReprAttr::C)
}

/// An enum with `repr(u8)`, or `repr(C, u8)` where its variants have fields. `counts` says how many
/// each has; the variants' names are the first `names_bytes` of the names.
pub const fn enumeration(text: Text, names_bytes: u16, counts: &'static [u8]) -> MonoTypeLayout {
    let names = StartLen::new(0, names_bytes);
    let variants = MonoTLEnum::new(names, RSlice::from_slice(counts), fields(&text, None));
    let representation = match text.fields {
        [] => ReprAttr::Int(DiscriminantRepr::U8),
        _ => ReprAttr::CAndInt(DiscriminantRepr::U8),
    };
    mono(text, MonoTLData::Enum(variants), representation)
}

/// A table whose end another version may lack: all have the first `first_suffix` of its fields.
pub const fn table(
    text: Text,
    first_suffix: usize,
    functions: Option<&'static TLFunctions>,
) -> MonoTypeLayout {
    mono(
        text,
        MonoTLData::prefix_type_derive(first_suffix, 0, fields(&text, functions)),
        ReprAttr::C,
    )
}

/// The functions of a table: `ranges` says which belong to which field.
pub const fn functions(all: &'static [CompTLFunction], ranges: &'static [u32]) -> TLFunctions {
    TLFunctions::new(RSlice::from_slice(all), RSlice::from_slice(ranges))
}

/// One function, packed: its name, where the separators of its nameless parameters are, its result
/// and its parameters by their places in the list of types.
pub const fn function(
    name: u32,
    separators: u16,
    separators_bytes: u16,
    result: u16,
    parameters: u64,
) -> CompTLFunction {
    let qualifiers = TLFunctionQualifiers::NEW.set_unsafe();
    CompTLFunction::new(name, separators, 0, separators_bytes, result, 0, parameters, qualifiers)
}

/// The types that the packed numbers point to.
pub const fn shared(mono: &'static MonoTypeLayout, types: &'static [Getter]) -> SharedVars {
    SharedVars::new(mono.shared_vars_static(), RSlice::from_slice(types), RSlice::from_slice(&[]))
}

/// The whole description of the struct `T`.
pub const fn struct_layout<T>(
    mono: &'static MonoTypeLayout,
    shared: &'static SharedVars,
    consts: AbiConsts,
) -> TypeLayout {
    layout::<T>(mono, shared, consts, GenericTLData::Struct)
}

/// The whole description of the enum `T`, whose variants have these numbers.
pub const fn enum_layout<T>(
    mono: &'static MonoTypeLayout,
    shared: &'static SharedVars,
    consts: AbiConsts,
    numbers: &'static [u8],
) -> TypeLayout {
    let numbers = TLDiscriminants::from_u8_slice(RSlice::from_slice(numbers));
    layout::<T>(mono, shared, consts, GenericTLData::Enum(GenericTLEnum::exhaustive(numbers)))
}

const fn layout<T>(
    mono: &'static MonoTypeLayout,
    shared_vars: &'static SharedVars,
    abi_consts: AbiConsts,
    data: GenericTLData,
) -> TypeLayout {
    TypeLayout::from_derive::<T>(_private_TypeLayoutDerive {
        shared_vars,
        mono,
        abi_consts,
        data,
        tag: None,
        extra_checks: None,
    })
}

/// A struct of pointers, to functions or to nothing, whose end another version may lack.
/// Implemented by `#[contract]`, and by `#[record(growable)]`.
///
/// # Safety
/// The type is `repr(C)`, of `COUNT` fields that are pointers, and what is said of each is true of
/// it.
pub unsafe trait Described: Sized + 'static {
    /// All but the types.
    const MONO: &'static MonoTypeLayout;
    /// The types.
    const SHARED: &'static SharedVars;
    /// How many fields there are, at most 64.
    const COUNT: u32;

    // Generated code calls all of these through the table that it describes, and not by a path of
    // their own, which an author could lead elsewhere. None of them is written by it. Of an
    // argument and of an answer each takes the author's type, and a function's that has the form on
    // the wire as the table has it: the two are compared here.

    /// What makes `MONO` and `SHARED`.
    const TELL: Tell = Tell(());

    /// A type that is no argument and no answer.
    extern "C" fn type_of<T: StableAbi>() -> &'static TypeLayout {
        T::LAYOUT
    }

    /// `T`, by value.
    extern "C" fn owned<T: Crosses, F: Is<fn(T::Wire)>>() -> &'static TypeLayout {
        <T::Wire as StableAbi>::LAYOUT
    }

    /// `&T`
    extern "C" fn lent<T: Lends, F: Is<for<'a> fn(T::Wire<'a>)>>() -> &'static TypeLayout
    where
        T::Wire<'static>: StableAbi,
    {
        <T::Wire<'static> as StableAbi>::LAYOUT
    }

    /// `Option<&T>`
    extern "C" fn optional_lent<T: Lends, F: Is<for<'a> fn(Maybe<T::Wire<'a>>)>>()
    -> &'static TypeLayout
    where
        T::Wire<'static>: StableAbi,
    {
        <Maybe<T::Wire<'static>> as StableAbi>::LAYOUT
    }

    /// `&[T]`
    extern "C" fn slice<T: Portable, F: Is<for<'a> fn(lent::RSlice<'a, T>)>>() -> &'static TypeLayout
    {
        <lent::RSlice<'static, T> as StableAbi>::LAYOUT
    }

    /// `Option<&[T]>`
    extern "C" fn optional_slice<T: Portable, F: Is<for<'a> fn(Maybe<lent::RSlice<'a, T>>)>>()
    -> &'static TypeLayout {
        <Maybe<lent::RSlice<'static, T>> as StableAbi>::LAYOUT
    }

    /// `&str`
    extern "C" fn text<F: Is<for<'a> fn(lent::RStr<'a>)>>() -> &'static TypeLayout {
        <lent::RStr<'static> as StableAbi>::LAYOUT
    }

    /// `Option<&str>`
    extern "C" fn optional_text<F: Is<for<'a> fn(Maybe<lent::RStr<'a>>)>>() -> &'static TypeLayout {
        <Maybe<lent::RStr<'static>> as StableAbi>::LAYOUT
    }

    /// `Sink<'_>`
    extern "C" fn sink<F: Is<for<'a> fn(RawSink<'a>)>>() -> &'static TypeLayout {
        <RawSink<'static> as StableAbi>::LAYOUT
    }

    /// `TextSink<'_>`
    extern "C" fn text_sink<F: Is<for<'a> fn(RawTextSink<'a>)>>() -> &'static TypeLayout {
        <RawTextSink<'static> as StableAbi>::LAYOUT
    }

    /// The answer `T`, or an object.
    extern "C" fn given<T: Given, F: Is<fn() -> Reply<T::Wire>>>() -> &'static TypeLayout {
        <Reply<T::Wire> as StableAbi>::LAYOUT
    }

    /// The answer `T` of an `async fn`.
    extern "C" fn awaited<T: Crosses, F: Is<fn() -> Reply<RawFuture<T::Wire>>>>()
    -> &'static TypeLayout {
        <Reply<RawFuture<T::Wire>> as StableAbi>::LAYOUT
    }
}

/// It is that very type.
///
/// # Safety
/// As it says.
#[diagnostic::on_unimplemented(message = "`{Self}` is not the form in which it is passed, `{T}`")]
pub unsafe trait Is<T> {}

// SAFETY: itself.
unsafe impl<T> Is<T> for T {}

/// What packs a table's description: see [`Described::TELL`].
#[derive(Debug, Clone, Copy)]
pub struct Tell(());

impl Tell {
    /// [`table`]
    pub const fn table(
        self,
        text: Text,
        first_suffix: usize,
        functions: Option<&'static TLFunctions>,
    ) -> MonoTypeLayout {
        table(text, first_suffix, functions)
    }

    /// [`shared`]
    pub const fn shared(
        self,
        mono: &'static MonoTypeLayout,
        types: &'static [Getter],
    ) -> SharedVars {
        shared(mono, types)
    }

    /// [`functions`]
    pub const fn functions(
        self,
        all: &'static [CompTLFunction],
        ranges: &'static [u32],
    ) -> TLFunctions {
        functions(all, ranges)
    }

    /// [`function`]
    pub const fn function(
        self,
        name: u32,
        separators: u16,
        separators_bytes: u16,
        result: u16,
        parameters: u64,
    ) -> CompTLFunction {
        function(name, separators, separators_bytes, result, parameters)
    }
}

/// A table as it lies in memory: which of its fields are there, and the fields.
#[repr(transparent)]
#[derive(Debug)]
pub struct Fields<F>(F);

/// What stands for the beginning of such a table in its description.
#[repr(C)]
#[derive(Debug)]
pub struct Prefix<F> {
    described: PhantomData<fn() -> F>,
    alignment: [usize; 0],
}

/// A reference to a table, which is there for good or for as long as its library is held.
pub type Table<F> = PrefixRef<Prefix<F>>;

/// A table, for a static.
pub type Whole<F> = WithMetadata_<Fields<F>, Prefix<F>>;

/// Makes a table.
pub const fn whole<F: Described>(all: F) -> Whole<F> {
    WithMetadata_::new(Fields(all))
}

/// A reference to a table.
pub const fn reference<F: Described>(whole: &'static Whole<F>) -> Table<F> {
    whole.static_as_prefix()
}

/// The fields of the table at this address.
///
/// # Safety
/// There is a table of `F`, in some version.
#[inline(always)]
pub(crate) unsafe fn fields_at<F: Described>(table: *const ()) -> *const F {
    let table = table.cast::<Whole<F>>();
    // SAFETY: a place within the table, which is not read. `Fields`, and abi_stable's
    // `AlignToUsize` around it, are transparent but for their alignment.
    unsafe { (&raw const (*table).value).cast() }
}

/// Does the table at this address have the field with that number?
///
/// # Safety
/// As for `fields_at`.
#[inline(always)]
pub(crate) unsafe fn has<F: Described>(table: *const (), number: u32) -> bool {
    // SAFETY: the caller's; the word is the same in all versions.
    let there = unsafe { &*table.cast::<Whole<F>>() }.field_accessibility().bits();
    there & 1 << number != 0
}

impl<F: Described> Prefix<F> {
    const THERE: FieldAccessibility = FieldAccessibility::from_u64(u64::MAX >> (64 - F::COUNT));
}

// SAFETY: as `Described` says; fields that are there are said to be.
unsafe impl<F: Described> PrefixTypeTrait for Fields<F> {
    const PT_LAYOUT: &'static PTStructLayout = &PTStructLayout::new(RStr::from_str(""), F::MONO);
    const PT_FIELD_ACCESSIBILITY: FieldAccessibility = Prefix::<F>::THERE;
    type PrefixFields = Prefix<F>;
    type PrefixRef = Table<F>;
}

// SAFETY: one type for each `F`.
unsafe impl<F: Described> GetStaticEquivalent_ for Prefix<F> {
    type StaticEquivalent = Prefix<F>;
}

// SAFETY: as `Described` says.
unsafe impl<F: Described> PrefixStableAbi for Prefix<F> {
    type IsNonZeroType = False;
    const LAYOUT: &'static TypeLayout = &layout::<Self>(
        F::MONO,
        F::SHARED,
        Self::ABI_CONSTS,
        GenericTLData::prefix_type_derive(Self::THERE),
    );
}
