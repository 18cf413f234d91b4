//! `#[record(growable)]`: a description whose beginning is compared, and the code that reads other
//! versions.

use crate::described::{self, Description};
use crate::since::{self, Since};
use crate::types::check_field;
use crate::{at, local};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Field, Fields, Ident, Result, Type, parse_quote,
};

/// The item without our attributes, and what stands beside it.
pub(crate) fn expanded(mut author: DeriveInput) -> Result<TokenStream> {
    let generated = match &author.data {
        Data::Struct(data) => record(&author, &data.fields)?,
        Data::Enum(data) => numbers(&author, data)?,
        Data::Union(_) => unreachable!("refused before"),
    };
    without_our_attributes(&mut author);
    if let Data::Struct(_) = &author.data {
        author.attrs.push(parse_quote!(#[repr(C)]));
    }
    Ok(quote!(#author #generated))
}

pub(crate) fn without_our_attributes(author: &mut DeriveInput) {
    let theirs = |attribute: &Attribute| {
        !["since", "unknown"].iter().any(|name| attribute.path().is_ident(name))
    };
    match &mut author.data {
        Data::Struct(data) => data.fields.iter_mut().for_each(|field| field.attrs.retain(theirs)),
        Data::Enum(data) => {
            data.variants.iter_mut().for_each(|variant| variant.attrs.retain(theirs))
        }
        Data::Union(_) => {}
    }
}

/// What a refused one would have been, so that its uses bring no errors of their own. It never gets
/// beyond the compiler.
pub(crate) fn stand_in(author: &DeriveInput) -> TokenStream {
    let name = &author.ident;
    if !author.generics.params.is_empty() {
        return TokenStream::new();
    }
    quote! {
        // SAFETY: never compiled, and were it, nothing would ever come out of it.
        unsafe impl ::midflight_plugin::rt::Crosses for #name {
            type Wire = ::midflight_plugin::rt::GrownNumber<()>;
            fn into_wire(self) -> Self::Wire {
                loop {}
            }
            fn rebuild(_: Self::Wire) -> Self {
                loop {}
            }
        }
        // SAFETY: never compiled, and were it, nothing would ever come out of it.
        unsafe impl ::midflight_plugin::rt::Lends for #name {
            type Wire<'a> = ::midflight_plugin::rt::GrownNumber<()>;
            type Held<'a> = &'a Self;
            fn lend(&self) -> Self::Wire<'_> {
                loop {}
            }
            fn receive(_: Self::Wire<'_>) -> Self::Held<'_> {
                loop {}
            }
        }
    }
}

/// One field, or one variant.
struct Part<'a> {
    name: &'a Ident,
    since: Option<Since>,
}

fn parts<'a>(
    all: impl Iterator<Item = (&'a Ident, &'a [Attribute])>,
    what: &str,
) -> Result<Vec<Part<'a>>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (name, attributes) in all {
        let conditional = |attribute: &&Attribute| {
            attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
        };
        if let Some(attribute) = attributes.iter().find(conditional) {
            return Err(Error::new_spanned(
                attribute,
                format!("what may grow is the same for all who build it: no `cfg` on its {what}s"),
            ));
        }
        parts.push(Part { name, since: since::of(attributes)? });
    }
    since::check_order(parts.iter().map(|part| (part.name, part.since.as_ref())), what)?;
    Ok(parts)
}

/// The description: a table of pointers, whose types are compared, and whose end may be another
/// version's middle.
fn described(
    author: &DeriveInput,
    parts: &[Part<'_>],
    types: &[TokenStream],
) -> Result<TokenStream> {
    let fields = described::fields();
    let field_of = described::of_table("field_of");
    let first_suffix = parts.iter().take_while(|part| part.since.is_none()).count();
    let mut description = Description::default();
    for (number, (part, part_type)) in parts.iter().zip(types).enumerate() {
        let reached = match number < first_suffix {
            true => described::ALWAYS_THERE,
            false => described::MAYBE_THERE,
        };
        description.field(&part.name.to_string(), reached, quote!(#field_of::<#part_type>));
    }
    description.check(&author.ident, parts.iter().map(|part| part.name.clone()))?;
    let pointers = parts.iter().zip(types).map(|(part, part_type)| {
        let name = Ident::new(&part.name.to_string(), at(part.name.span()));
        quote!(pub #name: *const #part_type)
    });
    let description = description.table(&format!("{}Fields", author.ident.unraw()), first_suffix);
    Ok(quote! {
        #[repr(C)]
        #[allow(non_snake_case, dead_code, unreachable_pub, missing_debug_implementations)]
        pub struct #fields {
            #(#pointers,)*
        }
        #description
    })
}

fn record(author: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let Fields::Named(named) = fields else {
        return Err(Error::new_spanned(
            &author.ident,
            "a record that may grow has fields with names: by them two versions are compared",
        ));
    };
    let fields: Vec<&Field> = named.named.iter().collect();
    let raw = |field: &&&Field| {
        field.ident.as_ref().is_some_and(|name| name.to_string().starts_with("r#"))
    };
    if let Some(field) = fields.iter().find(raw) {
        return Err(Error::new_spanned(
            &field.ident,
            "a field of a record that may grow has no raw name",
        ));
    }
    if fields.is_empty() {
        return Err(Error::new_spanned(&author.ident, "a record that may grow has a first field"));
    }
    let problems = fields.iter().filter_map(|field| check_field(&field.ty, &author.ident).err());
    if let Some(problems) = problems.reduce(|mut all, error| {
        all.combine(error);
        all
    }) {
        return Err(problems);
    }
    let idents = fields.iter().map(|field| field.ident.as_ref().expect("a named field"));
    let parts = parts(idents.zip(fields.iter().map(|field| &*field.attrs)), "field")?;

    let name = &author.ident;
    let types: Vec<&Type> = fields.iter().map(|field| &field.ty).collect();
    let described_types: Vec<_> =
        types.iter().map(|field| quote_spanned!(at(field.span())=> #field)).collect();
    let description = described(author, &parts, &described_types)?;
    let (table, fields_type) = (table(), described::fields());
    let wire = local("wire");
    let names: Vec<&Ident> = parts.iter().map(|part| part.name).collect();
    let count = parts.len() as u32;
    let numbers: Vec<u32> = (0..count).collect();
    let locals: Vec<_> = (0..count).map(|number| local(&format!("field_{number}"))).collect();
    let defaults = parts.iter().zip(&fields).map(|(part, field)| {
        let span = at(field.ty.span());
        match part.since.as_ref().and_then(|since| since.default.as_ref()) {
            Some(default) => quote!(#default),
            None => {
                quote_spanned!(span=> ::midflight_plugin::rt::core::default::Default::default())
            }
        }
    });
    // The author's code in functions of its own: there nothing of ours is in sight, nor is `unsafe`
    // allowed.
    let default_functions: Vec<_> =
        (0..count).map(|number| format_ident!("__default_of_{number}")).collect();
    let bodies = parts.iter().zip(defaults).zip(&default_functions).zip(&types);
    let bodies = bodies.filter(|(((part, _), _), _)| part.since.is_some()).map(
        |(((_, default), function), field_type)| {
            quote! {
                fn #function() -> #field_type {
                    #default
                }
            }
        },
    );
    let bodies: Vec<_> = bodies.collect();
    // `repr(C)` alone, whatever an attribute behind ours has made of the type.
    let (shape, value) = (local("shape"), local("value"));
    let (from, to, given, taken) = (local("from"), local("to"), local("fields"), local("taken"));
    let places = types.iter().zip(&names).map(|(field_type, field)| {
        let shown = quote_spanned!(at(field_type.span())=> #shape.field::<#field_type>);
        quote! {
            // SAFETY: a place in the value, of which nothing is read.
            unsafe { #shown(&#value, &raw const (*#value.as_ptr()).#field) };
        }
    });
    // The first fields are there in every version.
    let moved = parts.iter().enumerate().map(|(number, part)| {
        let (field, field_type) = (part.name, types[number]);
        let (after, number) = (number as u32 + 1, number as u32);
        let default = &default_functions[number as usize];
        // What can't cross is refused here, at its type, once for each field.
        let taken_from =
            quote_spanned!(at(field_type.span())=> <Self as ::midflight_plugin::rt::Grows>::taken_from);
        let take = quote! {{
            *#taken = #after;
            // SAFETY: the field is there, and is moved out once.
            unsafe { #taken_from::<#field_type>(&raw const (*#from).#field) }
        }};
        match part.since {
            None => quote!(#take),
            Some(_) => quote!(if #number < #given #take else { #default() }),
        }
    });
    let missing = parts.iter().enumerate().filter(|(_, part)| part.since.is_some()).map(|(number, _)| {
        let (local, default, field_type) = (&locals[number], &default_functions[number], types[number]);
        let number = number as u32;
        quote! {
            let #local: ::midflight_plugin::rt::core::option::Option<#field_type> = if #number < #given {
                ::midflight_plugin::rt::core::option::Option::None
            } else {
                ::midflight_plugin::rt::core::option::Option::Some(#default())
            };
        }
    });
    let completed = parts.iter().enumerate().map(|(number, part)| {
        let (field, local) = (part.name, &locals[number]);
        let copied =
            quote!(<Self as ::midflight_plugin::rt::Grows>::copied(&raw const (*#from).#field, &raw mut (*#to).#field));
        match part.since {
            None => quote!(#copied;),
            Some(_) => quote! {
                match #local {
                    ::midflight_plugin::rt::core::option::Option::Some(#from) => (&raw mut (*#to).#field).write(#from),
                    ::midflight_plugin::rt::core::option::Option::None => #copied,
                }
            },
        }
    });
    Ok(quote! {
        const _: () = {
            #description
            #(#bodies)*

            const _: () = {
                let mut #shape = <#name as ::midflight_plugin::rt::Grows>::PLACES;
                let #value = #shape.value();
                #(#places)*
                #shape.ended();
            };

            // Each field is of the type that is described.
            #[allow(dead_code)]
            fn __types(#value: &#name) {
                #(let _: *const #types = &raw const #value.#names;)*
            }

            // SAFETY: each field is portable, as `taken_from` proves, and has the number of its
            // place; the description has the same order, and `repr(C)` puts the first fields of
            // each version to the same places.
            unsafe impl ::midflight_plugin::rt::Grows for #name {
                type Fields = #fields_type;
                const FIELDS: ::midflight_plugin::rt::core::primitive::u32 = #count;

                unsafe fn take(#from: *const Self, #given: ::midflight_plugin::rt::core::primitive::u32, #taken: &mut ::midflight_plugin::rt::core::primitive::u32) -> Self {
                    #(let #locals = #moved;)*
                    Self { #(#names: #locals),* }
                }

                unsafe fn complete(#from: *const Self, #given: ::midflight_plugin::rt::core::primitive::u32, #to: *mut Self) {
                    // What can panic comes first.
                    #(#missing)*
                    // SAFETY: the first fields are there, and the others have their defaults.
                    unsafe { #(#completed)* }
                }

                unsafe fn drop_from(#value: *mut Self, #from: ::midflight_plugin::rt::core::primitive::u32) {
                    #(if #from <= #numbers {
                        // SAFETY: initialised, by the caller's promise.
                        unsafe { (&raw mut (*#value).#names).drop_in_place() };
                    })*
                }
            }

            // SAFETY: rebuilt field by field.
            unsafe impl ::midflight_plugin::rt::Crosses for #name {
                type Wire = ::midflight_plugin::rt::GrownBox<#table>;
                fn into_wire(self) -> Self::Wire {
                    ::midflight_plugin::rt::GrownBox::of(self)
                }
                fn rebuild(#wire: Self::Wire) -> Self {
                    // SAFETY: the description is of this type alone.
                    unsafe { #wire.rebuild::<Self>() }
                }
            }

            // SAFETY: what was lent, or a copy of its bytes with defaults behind them.
            unsafe impl ::midflight_plugin::rt::Lends for #name {
                type Wire<'a> = ::midflight_plugin::rt::GrownRef<'a, #table>;
                type Held<'a> = ::midflight_plugin::rt::HeldGrown<'a, Self>;
                fn lend(&self) -> Self::Wire<'_> {
                    ::midflight_plugin::rt::GrownRef::of(self)
                }
                fn receive(#wire: Self::Wire<'_>) -> Self::Held<'_> {
                    // SAFETY: the description is of this type alone.
                    unsafe { #wire.receive::<Self>() }
                }
            }

            trait ARecordHasNoDropOfItsOwn {}
            #[allow(drop_bounds)]
            impl<__Any: ::midflight_plugin::rt::core::ops::Drop> ARecordHasNoDropOfItsOwn for __Any {}
            impl ARecordHasNoDropOfItsOwn for #name {}
        };
    })
}

/// The description's type.
fn table() -> TokenStream {
    quote!(::midflight_plugin::rt::described::Table<__Fields>)
}

fn numbers(author: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                &variant.fields,
                "an enum that may grow has no fields: an older side couldn't tell how large those of a new variant are. Pass what \
                 belongs to it beside it, or drop `growable`, so that another variant is another contract",
            ));
        }
        if let Some((_, number)) = &variant.discriminant {
            return Err(Error::new_spanned(
                number,
                "an enum that may grow is numbered by the order of its variants",
            ));
        }
        if variant.ident.to_string().starts_with("r#") {
            return Err(Error::new_spanned(
                &variant.ident,
                "a variant of an enum that may grow has no raw name",
            ));
        }
    }
    let is_unknown = |attributes: &[Attribute]| {
        attributes.iter().any(|attribute| attribute.path().is_ident("unknown"))
    };
    let parts =
        parts(data.variants.iter().map(|variant| (&variant.ident, &*variant.attrs)), "variant")?;
    let unknown: Vec<&Ident> = data
        .variants
        .iter()
        .filter(|variant| is_unknown(&variant.attrs))
        .map(|variant| &variant.ident)
        .collect();
    let [unknown] = unknown[..] else {
        return Err(Error::new_spanned(
            &author.ident,
            "an enum that may grow says what an older side takes a newer variant for: mark one variant, which every version has, \
             with `#[unknown]`",
        ));
    };
    if let Some(part) = parts.iter().find(|part| part.name == unknown && part.since.is_some()) {
        return Err(Error::new_spanned(
            part.name,
            "the variant for what is unknown is in every version: no `#[since]`",
        ));
    }
    if let Some(part) = parts.iter().find_map(|part| part.since.as_ref()?.default.as_ref()) {
        return Err(Error::new_spanned(
            part,
            "a variant has no default: `#[unknown]` stands for it",
        ));
    }
    let name = &author.ident;
    let table = table();
    let description = described(author, &parts, &vec![quote!(()); parts.len()])?;
    let (wire, value, number) = (local("wire"), local("value"), local("number"));
    let names: Vec<&Ident> = parts.iter().map(|part| part.name).collect();
    let numbers: Vec<u32> = (0..parts.len() as u32).collect();
    Ok(quote! {
        const _: () = {
            #description

            fn __number(#value: &#name) -> ::midflight_plugin::rt::core::primitive::u32 {
                match #value {
                    #(#name::#names => #numbers,)*
                }
            }

            fn __value(#number: ::midflight_plugin::rt::core::primitive::u32) -> #name {
                match #number {
                    #(#numbers => #name::#names,)*
                    _ => #name::#unknown,
                }
            }

            // SAFETY: a number.
            unsafe impl ::midflight_plugin::rt::Crosses for #name {
                type Wire = ::midflight_plugin::rt::GrownNumber<#table>;
                fn into_wire(self) -> Self::Wire {
                    ::midflight_plugin::rt::GrownNumber::of(__number(&self))
                }
                fn rebuild(#wire: Self::Wire) -> Self {
                    __value(#wire.number())
                }
            }

            // SAFETY: a number, and a value of the receiver's own.
            unsafe impl ::midflight_plugin::rt::Lends for #name {
                type Wire<'a> = ::midflight_plugin::rt::GrownNumber<#table>;
                type Held<'a> = ::midflight_plugin::rt::Held<Self>;
                fn lend(&self) -> Self::Wire<'_> {
                    ::midflight_plugin::rt::GrownNumber::of(__number(self))
                }
                fn receive(#wire: Self::Wire<'_>) -> Self::Held<'_> {
                    ::midflight_plugin::rt::Held(__value(#wire.number()))
                }
            }
        };
    })
}
