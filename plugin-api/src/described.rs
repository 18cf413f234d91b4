//! The descriptions that the layout check compares, of records and of contracts' tables.
//!
//! abi_stable has a derive for them, but what it writes into the author's crate says `Some`,
//! `concat!`, `abi_stable`, and means whatever has that name there: a function `Some` of the
//! author's own took every signature out of the comparison. So the macros write numbers, texts and
//! types, in abi_stable's own packing, and what is made of them is made here, where no name is an
//! author's.

#![expect(unsafe_code, reason = "layouts are unsafe to implement")]

use crate::call::Reply;
use crate::future::RawFuture;
use crate::layout::{LaidOut, Layout, layout_of};
use crate::object::Given;
use crate::sink::{RawSink, RawTextSink};
use crate::{Contract, Crosses, Lends, Maybe, Portable, lent};
use abi_stable::pmr::{
    _private_MonoTypeLayoutDerive, _private_TypeLayoutDerive, CompTLFields, CompTLFunction,
    DiscriminantRepr, False, FieldAccessibility, GenericTLData, GetStaticEquivalent_, ModReflMode,
    MonoSharedVars, MonoTLData, MonoTLEnum, MonoTypeLayout, PTStructLayout, PrefixRef,
    PrefixStableAbi, PrefixTypeTrait, ReprAttr, SharedVars, StartLen, TLFunctionQualifiers,
    TLFunctions, TypeLayout, UNSAFE_EXTERN_FN_LAYOUT, WithMetadata_,
};
use abi_stable::sabi_types::NulStr;
use abi_stable::std_types::{RSlice, RStr};
use abi_stable::type_layout::{CompGenericParams, ItemInfo, ModPath};
use std::marker::PhantomData;

/// How one type is described, found at its type.
pub type Getter = extern "C" fn() -> Layout;

/// abi_stable's own form of [`Getter`].
type BareGetter = extern "C" fn() -> &'static TypeLayout;

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

/// A description apart from its types.
#[repr(transparent)]
#[derive(Debug)]
pub struct Mono(MonoTypeLayout);

impl Mono {
    pub(crate) const fn get(&'static self) -> &'static MonoTypeLayout {
        &self.0
    }
}

/// The types of a description.
#[repr(transparent)]
#[derive(Debug)]
pub struct Shared(SharedVars);

impl Shared {
    /// The types that the packed numbers of `mono` point to.
    pub(crate) const fn new(mono: &'static Mono, types: &'static [Getter]) -> Self {
        // SAFETY: `Layout` is transparent, so that the functions are of one type.
        let types: &'static [BareGetter] = unsafe { &*(&raw const *types as *const [BareGetter]) };
        let (types, none) = (RSlice::from_slice(types), RSlice::from_slice(&[]));
        Shared(SharedVars::new(mono.0.shared_vars_static(), types, none))
    }

    pub(crate) const fn get(&'static self) -> &'static SharedVars {
        &self.0
    }
}

/// One function of a table.
#[repr(transparent)]
#[derive(Debug)]
pub struct Function(CompTLFunction);

/// All functions of a table.
#[repr(transparent)]
#[derive(Debug)]
pub struct Functions(TLFunctions);

const fn mono(text: Text, data: MonoTLData, representation: ReprAttr) -> Mono {
    let Written { package, line, module } = text.written;
    Mono(MonoTypeLayout::from_derive(_private_MonoTypeLayoutDerive {
        name: RStr::from_str(text.name),
        item_info: ItemInfo::new(package, line, ModPath::inside(NulStr::from_str(module))),
        data,
        generics: CompGenericParams::new(NulStr::EMPTY, 0, StartLen::EMPTY, StartLen::EMPTY),
        mod_refl_mode: ModReflMode::Module,
        repr_attr: representation,
        phantom_fields: RSlice::from_slice(&[]),
        shared_vars: MonoSharedVars::new(RStr::from_str(text.names), RSlice::from_slice(&[])),
    }))
}

const fn fields(text: &Text, functions: Option<&'static Functions>) -> CompTLFields {
    let functions = match functions {
        Some(functions) => Some(&functions.0),
        None => None,
    };
    CompTLFields::new(RSlice::from_slice(text.fields), functions)
}

/// A struct with `repr(C)`.
pub(crate) const fn structure(text: Text) -> Mono {
    mono(text, MonoTLData::derive_struct(fields(&text, None)), ReprAttr::C)
}

/// An enum with `repr(u8)`, or `repr(C, u8)` where its variants have fields. `counts` says how many
/// each has; the variants' names are the first `names_bytes` of the names.
pub(crate) const fn enumeration(text: Text, names_bytes: u16, counts: &'static [u8]) -> Mono {
    let names = StartLen::new(0, names_bytes);
    let variants = MonoTLEnum::new(names, RSlice::from_slice(counts), fields(&text, None));
    let representation = match text.fields {
        [] => ReprAttr::Int(DiscriminantRepr::U8),
        _ => ReprAttr::CAndInt(DiscriminantRepr::U8),
    };
    mono(text, MonoTLData::Enum(variants), representation)
}

/// A struct of pointers, to functions or to nothing, whose end another version may lack.
/// Implemented by `#[contract]`, and by `#[record(growable)]`.
///
/// # Safety
/// The type is `repr(C)`, of `COUNT` fields that are pointers, and what is said of each is true of
/// it.
pub unsafe trait Described: Sized + 'static {
    /// All but the types.
    const MONO: &'static Mono;
    /// The types.
    const SHARED: &'static Shared;
    /// How many fields there are, at most 64.
    const COUNT: u32;

    // Generated code calls all of these through the table that it describes, and not by a path of
    // their own, which an author could lead elsewhere. None of them is written by it. Of an
    // argument and of an answer each takes the author's type, and a function's that has the form on
    // the wire as the table has it: the two are compared here.

    /// What makes `MONO` and `SHARED`.
    const TELL: Tell = Tell(());

    /// The pointer to a function, whatever it takes.
    const POINTER: Getter = pointer;

    /// The pointer to the instance, which each function takes first.
    extern "C" fn instance() -> Layout {
        Layout::of::<*const ()>()
    }

    /// A field of a record that may grow, of which nothing but the type is told.
    extern "C" fn field_of<T: LaidOut + 'static>() -> Layout {
        layout_of::<*const T>()
    }

    /// `T`, by value.
    extern "C" fn owned<T: Crosses, F: Is<fn(T::Wire)>>() -> Layout {
        layout_of::<T::Wire>()
    }

    /// `&T`
    extern "C" fn lent<T: Lends, F: Is<for<'a> fn(T::Wire<'a>)>>() -> Layout
    where
        T::Wire<'static>: LaidOut,
    {
        layout_of::<T::Wire<'static>>()
    }

    /// `Option<&T>`
    extern "C" fn optional_lent<T: Lends, F: Is<for<'a> fn(Maybe<T::Wire<'a>>)>>() -> Layout
    where
        T::Wire<'static>: LaidOut,
    {
        layout_of::<Maybe<T::Wire<'static>>>()
    }

    /// `&[T]`
    extern "C" fn slice<T: Portable, F: Is<for<'a> fn(lent::RSlice<'a, T>)>>() -> Layout {
        layout_of::<lent::RSlice<'static, T>>()
    }

    /// `Option<&[T]>`
    extern "C" fn optional_slice<T: Portable, F: Is<for<'a> fn(Maybe<lent::RSlice<'a, T>>)>>()
    -> Layout {
        layout_of::<Maybe<lent::RSlice<'static, T>>>()
    }

    /// `&str`
    extern "C" fn text<F: Is<for<'a> fn(lent::RStr<'a>)>>() -> Layout {
        layout_of::<lent::RStr<'static>>()
    }

    /// `Option<&str>`
    extern "C" fn optional_text<F: Is<for<'a> fn(Maybe<lent::RStr<'a>>)>>() -> Layout {
        layout_of::<Maybe<lent::RStr<'static>>>()
    }

    /// `Sink<'_>`
    extern "C" fn sink<F: Is<for<'a> fn(RawSink<'a>)>>() -> Layout {
        Layout::of::<RawSink<'static>>()
    }

    /// `TextSink<'_>`
    extern "C" fn text_sink<F: Is<for<'a> fn(RawTextSink<'a>)>>() -> Layout {
        Layout::of::<RawTextSink<'static>>()
    }

    /// The answer `T`, or an object.
    extern "C" fn given<T: Given, F: Is<fn() -> Reply<T::Wire>>>() -> Layout {
        layout_of::<Reply<T::Wire>>()
    }

    /// The answer `T` of an `async fn`.
    extern "C" fn awaited<T: Crosses, F: Is<fn() -> Reply<RawFuture<T::Wire>>>>() -> Layout {
        layout_of::<Reply<RawFuture<T::Wire>>>()
    }
}

extern "C" fn pointer() -> Layout {
    Layout::of_getter(UNSAFE_EXTERN_FN_LAYOUT)
}

/// It is that very type.
///
/// # Safety
/// As it says.
#[diagnostic::on_unimplemented(message = "`{Self}` is not the form in which it is passed, `{T}`")]
pub unsafe trait Is<T> {}

// SAFETY: itself.
unsafe impl<T> Is<T> for T {}

/// What makes a table, and packs its description: see [`Described::TELL`].
#[derive(Debug, Clone, Copy)]
pub struct Tell(());

impl Tell {
    /// A table of functions, whose end another version may lack: all have the first `first_suffix`
    /// of its fields.
    pub const fn table(
        self,
        text: Text,
        first_suffix: usize,
        functions: &'static Functions,
    ) -> Mono {
        let fields = fields(&text, Some(functions));
        mono(text, MonoTLData::prefix_type_derive(first_suffix, 0, fields), ReprAttr::C)
    }

    /// The same, of fields that are no functions.
    pub const fn fields(self, text: Text, first_suffix: usize) -> Mono {
        let fields = fields(&text, None);
        mono(text, MonoTLData::prefix_type_derive(first_suffix, 0, fields), ReprAttr::C)
    }

    /// Makes a table of functions.
    pub const fn whole<F: Described>(self, all: F) -> Whole<F> {
        Whole(WithMetadata_::new(Fields(all)))
    }

    /// The types that the packed numbers point to.
    pub const fn shared(self, mono: &'static Mono, types: &'static [Getter]) -> Shared {
        Shared::new(mono, types)
    }

    /// The functions of a table: `ranges` says which belong to which field.
    pub const fn functions(self, all: &'static [Function], ranges: &'static [u32]) -> Functions {
        // SAFETY: `Function` is transparent.
        let all: &'static [CompTLFunction] =
            unsafe { &*(&raw const *all as *const [CompTLFunction]) };
        Functions(TLFunctions::new(RSlice::from_slice(all), RSlice::from_slice(ranges)))
    }

    /// One function, packed: its name, where the separators of its nameless parameters are, its
    /// result and its parameters by their places in the list of types.
    pub const fn function(
        self,
        name: u32,
        separators: u16,
        separators_bytes: u16,
        result: u16,
        parameters: u64,
    ) -> Function {
        let unsafe_fn = TLFunctionQualifiers::NEW.set_unsafe();
        Function(CompTLFunction::new(
            name,
            separators,
            0,
            separators_bytes,
            result,
            0,
            parameters,
            unsafe_fn,
        ))
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
#[repr(transparent)]
#[expect(missing_debug_implementations, reason = "functions, which tell nothing")]
pub struct Whole<F: Described>(WithMetadata_<Fields<F>, Prefix<F>>);

/// A reference to a table of this crate's making.
pub(crate) fn reference_to<F: Described>(whole: &'static Whole<F>) -> Table<F> {
    whole.0.static_as_prefix()
}

/// A reference to the table at this address.
///
/// # Safety
/// There is a table of `F`, in some version, for as long as the reference is used.
pub(crate) unsafe fn reference<F: Described>(table: *const ()) -> Table<F> {
    // SAFETY: a table of `F` by the caller's promise, and so no null.
    unsafe { PrefixRef::from_raw(table.cast::<WithMetadata_<Fields<F>, Prefix<F>>>()) }
}

/// The reverse of [`reference`].
pub(crate) fn address<F: Described>(table: Table<F>) -> *const () {
    table.to_raw_ptr().cast()
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
    unsafe { (&raw const (*table).0.value).cast() }
}

/// Does the table at this address have the field with that number?
///
/// # Safety
/// As for `fields_at`.
#[inline(always)]
pub(crate) unsafe fn has<F: Described>(table: *const (), number: u32) -> bool {
    // SAFETY: there is a table, by the promise of who calls this; the word is the same in all
    // versions.
    let there = unsafe { &*table.cast::<Whole<F>>() }.0.field_accessibility().bits();
    there & 1 << number != 0
}

impl<F: Described> Prefix<F> {
    const THERE: FieldAccessibility = FieldAccessibility::from_u64(u64::MAX >> (64 - F::COUNT));
}

// SAFETY: as `Described` says; fields that are there are said to be.
unsafe impl<F: Described> PrefixTypeTrait for Fields<F> {
    const PT_LAYOUT: &'static PTStructLayout = &PTStructLayout::new(RStr::from_str(""), &F::MONO.0);
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
    const LAYOUT: &'static TypeLayout =
        &TypeLayout::from_derive::<Self>(_private_TypeLayoutDerive {
            shared_vars: &F::SHARED.0,
            mono: &F::MONO.0,
            abi_consts: Self::ABI_CONSTS,
            data: GenericTLData::prefix_type_derive(Self::THERE),
            tag: None,
            extra_checks: None,
        });
}

/// The layout of a contract's table.
pub const fn table_layout<C: Contract + ?Sized>() -> Layout {
    Layout::of::<Table<C::Functions>>()
}
