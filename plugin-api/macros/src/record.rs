//! `#[record]`: a representation, a layout, and the proof that each field is plain data.
//!
//! It is an attribute and a derive. Only the attribute can choose the representation, and only a derive sees the fields
//! that are left once `cfg` was decided.

use crate::types::{Place, check};
use crate::{at, grow, within_contract_crate};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Result, Type};

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut author: DeriveInput = match syn::parse2(item.clone()) {
        Ok(author) => author,
        Err(error) => {
            let error =
                Error::new(error.span(), "`#[record]` stands on a struct or an enum").into_compile_error();
            return quote!(#item #error);
        }
    };
    if arguments.to_string() == "growable" {
        let expanded = check_growable(&author).and_then(|()| grow::expanded(author.clone()));
        return expanded.unwrap_or_else(|error| {
            let error = error.into_compile_error();
            grow::without_our_attributes(&mut author);
            let stand_in = grow::stand_in(&author);
            quote!(#error #author #stand_in)
        });
    }
    let representation = match arguments.is_empty() {
        true => representation(&author),
        false => Err(Error::new_spanned(arguments, "`#[record]` takes no arguments but `growable`")),
    };
    match representation {
        Ok(representation) => within_contract_crate(quote! {
            #[derive(::midflight_plugin::rt::StableAbi, ::midflight_plugin::rt::Record)]
            #[repr(#representation)]
            #author
        }),
        Err(error) => {
            let (error, stand_in) = (error.into_compile_error(), stand_in(&author));
            quote!(#error #author #stand_in)
        }
    }
}

fn check_growable(author: &DeriveInput) -> Result<()> {
    own_representation(author)?;
    refuse(author, true)
}

fn own_representation(author: &DeriveInput) -> Result<()> {
    match author.attrs.iter().find(|attribute| attribute.path().is_ident("repr")) {
        Some(taken) => Err(Error::new_spanned(taken, OWN_REPRESENTATION)),
        None => Ok(()),
    }
}

fn representation(author: &DeriveInput) -> Result<TokenStream> {
    own_representation(author)?;
    refuse(author, false)?;
    let fields: Vec<&Field> = match &author.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    // What `cfg` may take away is left to the derive.
    let certain =
        fields.iter().filter(|field| !field.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")));
    let problems =
        certain.filter_map(|field| check(&field.ty, Place::Record).err()).reduce(|mut all, error| {
            all.combine(error);
            all
        });
    match (problems, &author.data) {
        (Some(problems), _) => Err(problems),
        (None, Data::Enum(_)) if fields.is_empty() => Ok(quote!(u8)),
        (None, Data::Enum(_)) => Ok(quote!(C, u8)),
        (None, _) => Ok(quote!(C)),
    }
}

const OWN_REPRESENTATION: &str = "`#[record]` chooses the representation itself: drop this line";

/// What a refused record would have been, so that its uses bring no errors of their own. It never gets beyond the
/// compiler, which has an error already.
fn stand_in(author: &DeriveInput) -> TokenStream {
    let name = &author.ident;
    let (parameters, types, clause) = author.generics.split_for_impl();
    if !author.generics.params.is_empty() {
        return TokenStream::new();
    }
    quote! {
        const _: () = {
            // SAFETY: never compiled.
            unsafe impl #parameters ::midflight_plugin::rt::Portable for #name #types #clause {
                fn reown(self) -> Self {
                    self
                }
            }
            // SAFETY: never compiled.
            unsafe impl #parameters ::midflight_plugin::rt::GetStaticEquivalent for #name #types #clause {
                type StaticEquivalent = ();
            }
            // SAFETY: never compiled.
            unsafe impl #parameters ::midflight_plugin::rt::StableAbi for #name #types #clause {
                type IsNonZeroType = <() as ::midflight_plugin::rt::StableAbi>::IsNonZeroType;
                const LAYOUT: &'static ::midflight_plugin::rt::TypeLayout = <() as ::midflight_plugin::rt::StableAbi>::LAYOUT;
            }
        };
    }
}

pub(crate) fn derive(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    refuse(&item, false)?;
    let name = &item.ident;
    let (types, reown) = match &item.data {
        Data::Struct(data) => {
            let (types, arm) = rebuilt(quote!(Self), &data.fields);
            (types, quote!(match self { #arm }))
        }
        Data::Enum(data) => {
            let (types, arms): (Vec<_>, Vec<_>) = data
                .variants
                .iter()
                .map(|variant| {
                    let variant_name = &variant.ident;
                    rebuilt(quote!(Self::#variant_name), &variant.fields)
                })
                .unzip();
            (types.concat(), quote!(match self { #(#arms)* }))
        }
        Data::Union(_) => unreachable!("refused by the attribute"),
    };
    Ok(quote! {
        const _: () = {
            // SAFETY: `reown` rebuilds every field by this very trait, whatever its path leads to: so every field has it.
            unsafe impl ::midflight_plugin::rt::Portable for #name {
                const FIELDS_DROP: bool = false #(|| ::midflight_plugin::rt::drops::<#types>())*;
                // Moves every field, or does not compile: neither does a record with a `Drop` of its own.
                #[inline]
                fn reown(self) -> Self {
                    #reown
                }
            }
            const _: () = ::midflight_plugin::rt::assert_record::<#name>();
            // A second proof of the same, for its message.
            trait ARecordHasNoDropOfItsOwn {}
            #[allow(drop_bounds)]
            impl<__Any: ::core::ops::Drop> ARecordHasNoDropOfItsOwn for __Any {}
            impl ARecordHasNoDropOfItsOwn for #name {}
        };
    })
}

fn refuse(item: &DeriveInput, may_grow: bool) -> Result<()> {
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a record has no generic parameters yet: write one record for each type that it is used with",
        ));
    }
    if let Some(clause) = &item.generics.where_clause {
        return Err(Error::new_spanned(clause, "a record has no `where`"));
    }
    let mut reprs = item.attrs.iter().filter(|attribute| attribute.path().is_ident("repr"));
    if let (Some(_), Some(second)) = (reprs.next(), reprs.next()) {
        return Err(Error::new_spanned(second, OWN_REPRESENTATION));
    }
    let mut attributes: Vec<&Attribute> = item.attrs.iter().collect();
    match &item.data {
        Data::Enum(data) if data.variants.is_empty() => {
            return Err(Error::new_spanned(item, "an enum with no variants has no values that could cross"));
        }
        Data::Enum(data) => data.variants.iter().for_each(|variant| {
            attributes.extend(&variant.attrs);
            attributes.extend(variant.fields.iter().flat_map(|field| &field.attrs));
        }),
        Data::Struct(data) => attributes.extend(data.fields.iter().flat_map(|field| &field.attrs)),
        Data::Union(_) => {
            return Err(Error::new_spanned(
                item,
                "a union can't be a record: nobody knows which of its fields to rebuild",
            ));
        }
    }
    let later =
        |attribute: &&&Attribute| attribute.path().is_ident("since") || attribute.path().is_ident("unknown");
    if let Some(later) = attributes.iter().find(later).filter(|_| !may_grow) {
        return Err(Error::new_spanned(
            later,
            "a record has the same fields on both sides, and so has an enum its variants: what may grow says so, `#[record(growable)]`",
        ));
    }
    match attributes.iter().find(|attribute| attribute.path().is_ident("sabi")) {
        Some(hidden) => {
            Err(Error::new_spanned(hidden, "a record's layout is compared as it is: no `#[sabi]` here"))
        }
        None => Ok(()),
    }
}

/// The types of the fields, and the arm that takes a value apart and puts it together again.
fn rebuilt(path: TokenStream, fields: &Fields) -> (Vec<Type>, TokenStream) {
    let members: Vec<_> = fields.members().collect();
    let locals: Vec<_> = (0..members.len()).map(|number| format_ident!("field_{number}")).collect();
    // What is not portable is reported here, at its type, once for each field.
    let rebuilt = fields.iter().zip(&locals).map(|(field, local)| {
        let span = at(field.ty.span());
        let local = format_ident!("{local}", span = span);
        quote_spanned!(span=> ::midflight_plugin::rt::Portable::reown(#local))
    });
    let arm = quote! {
        #path { #(#members: #locals),* } => #path { #(#members: #rebuilt),* },
    };
    (fields.iter().map(|field| field.ty.clone()).collect(), arm)
}
