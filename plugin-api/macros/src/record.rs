//! `#[record]`: a representation, a layout, and the proof that each field is plain data.
//!
//! It is an attribute and a derive. Only the attribute can choose the representation, and only a
//! derive sees the fields that are left once `cfg` was decided.

use crate::described::Description;
use crate::types::{check_field, holds_itself};
use crate::{at, grow, local, refused};
use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Expr, ExprLit, ExprUnary, Field, Fields, Ident,
    Lit, Member, Result, Type, UnOp,
};

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut author: DeriveInput = match syn::parse2(item.clone()) {
        Ok(author) => author,
        Err(error) => {
            let error =
                refused(Error::new(error.span(), "`#[record]` stands on a struct or an enum"));
            return quote!(#item #error);
        }
    };
    if arguments.to_string() == "growable" {
        let expanded = check_growable(&author).and_then(|()| grow::expanded(author.clone()));
        return expanded.unwrap_or_else(|error| {
            let error = refused(error);
            grow::without_our_attributes(&mut author);
            without_itself(&mut author);
            let stand_in = grow::stand_in(&author);
            quote!(#error #author #stand_in)
        });
    }
    let representation = match arguments.is_empty() {
        true => representation(&author),
        false => {
            Err(Error::new_spanned(arguments, "`#[record]` takes no arguments but `growable`"))
        }
    };
    match representation {
        Ok(representation) => quote! {
            #[::midflight_plugin::rt::core::prelude::v1::derive(::midflight_plugin::rt::Record)]
            #[repr(#representation)]
            #author
        },
        Err(error) => {
            let (error, stand_in) = (refused(error), stand_in(&author));
            without_itself(&mut author);
            quote!(#error #author #stand_in)
        }
    }
}

/// What holds itself is told in our words, and not in the compiler's, which say "insert a `Box`".
fn without_itself(author: &mut DeriveInput) {
    let own = author.ident.clone();
    let fields: Vec<&mut Field> = match &mut author.data {
        Data::Struct(data) => data.fields.iter_mut().collect(),
        Data::Enum(data) => {
            data.variants.iter_mut().flat_map(|variant| &mut variant.fields).collect()
        }
        Data::Union(_) => Vec::new(),
    };
    for field in fields.into_iter().filter(|field| holds_itself(&field.ty, &own)) {
        field.ty = syn::parse_quote!(::midflight_plugin::List<Self>);
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
    if let Data::Enum(data) = &author.data {
        check_numbers(data)?;
    }
    let fields: Vec<&Field> = match &author.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    // What `cfg` may take away is left to the derive.
    let certain = fields
        .iter()
        .filter(|field| !field.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")));
    let problems = certain.filter_map(|field| check_field(&field.ty, &author.ident).err()).reduce(
        |mut all, error| {
            all.combine(error);
            all
        },
    );
    match (problems, &author.data) {
        (Some(problems), _) => Err(problems),
        (None, Data::Enum(_)) if fields.is_empty() => Ok(quote!(u8)),
        (None, Data::Enum(_)) => Ok(quote!(C, u8)),
        (None, _) => Ok(quote!(C)),
    }
}

const OWN_REPRESENTATION: &str = "`#[record]` chooses the representation itself: drop this line";

/// What a refused record would have been, so that its uses bring no errors of their own. It never
/// gets beyond the compiler, which has an error already.
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
            // SAFETY: never compiled, and were it, no layout of it could be told.
            unsafe impl #parameters ::midflight_plugin::rt::LaidOut for #name #types #clause {
                // Whoever needs it is refused once more: no description would be true.
                #[allow(unconditional_panic)]
                const LAYOUT: ::midflight_plugin::rt::LayoutOf<Self> = {
                    let none: [::midflight_plugin::rt::LayoutOf<Self>; 0] = [];
                    none[0]
                };
            }
        };
    }
}

pub(crate) fn derive(item: TokenStream) -> Result<TokenStream> {
    let mut item: DeriveInput = syn::parse2(item)?;
    refuse(&item, false)?;
    let name = item.ident.clone();
    // Outside of the item there is no `Self`.
    let each =
        |field: &mut Field| field.ty = Type::Verbatim(named(field.ty.to_token_stream(), &name));
    match &mut item.data {
        Data::Struct(data) => data.fields.iter_mut().for_each(each),
        Data::Enum(data) => {
            data.variants.iter_mut().flat_map(|variant| &mut variant.fields).for_each(each);
        }
        Data::Union(_) => {}
    }
    let name = &name;
    let (arms, described) = match &item.data {
        Data::Struct(data) => {
            (rebuilt(quote!(Self), &data.fields), described_struct(name, &data.fields)?)
        }
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let variant_name = &variant.ident;
                rebuilt(quote!(Self::#variant_name), &variant.fields)
            });
            (arms.collect(), described_enum(name, data)?)
        }
        Data::Union(_) => unreachable!("refused by the attribute"),
    };
    Ok(quote! {
        const _: () = {
            #described
            // SAFETY: `reown` rebuilds every field by this very trait, whatever its path leads to:
            // so every field has it.
            unsafe impl ::midflight_plugin::rt::Portable for #name {
                // Moves every field, or does not compile: neither does a record with a `Drop` of
                // its own.
                #[inline]
                fn reown(self) -> Self {
                    match self { #arms }
                }
            }
            // A second proof of what the description proves, for its message.
            trait ARecordHasNoDropOfItsOwn {}
            #[allow(drop_bounds)]
            impl<__Any: ::midflight_plugin::rt::core::ops::Drop> ARecordHasNoDropOfItsOwn for __Any {}
            impl ARecordHasNoDropOfItsOwn for #name {}
        };
    })
}

// An attribute behind `#[record]` sees the item after this derive did, and can make another of it.
// So what is described is shown of the type as it is: where each field lies, and of what type it
// is.

fn described_struct(name: &Ident, fields: &Fields) -> Result<TokenStream> {
    let mut description = Description::default();
    let (shape, value) = (local("shape"), local("value"));
    let each = fields.members().zip(fields).map(|(member, field)| {
        description.shown(&text(&member));
        let field = shown(&shape, &field.ty);
        quote! {
            // SAFETY: a place in the value, of which nothing is read.
            unsafe { #field(&#value, &raw const (*#value.as_ptr()).#member) };
        }
    });
    let each: TokenStream = each.collect();
    description.check(name, names(fields))?;
    Ok(description.structure(name, quote!(let #value = #shape.value(); #each)))
}

fn described_enum(name: &Ident, data: &DataEnum) -> Result<TokenStream> {
    let mut description = Description::default();
    let names_bytes = description.variants(data.variants.iter().map(|variant| &variant.ident));
    let (shape, value) = (local("shape"), local("value"));
    let variants = data.variants.iter().enumerate().map(|(place, variant)| {
        let (variant_name, members) = (&variant.ident, variant.fields.members());
        let locals: Vec<_> =
            (0..variant.fields.len()).map(|field| local(&format!("field_{field}"))).collect();
        let fields = variant.fields.members().zip(&variant.fields).zip(&locals);
        let fields = fields.map(|((member, field), local)| {
            description.shown(&text(&member));
            let field = shown(&shape, &field.ty);
            quote! {
                // SAFETY: a place in the value, of which nothing is read.
                unsafe { #field(&#value, #local) };
            }
        });
        let fields: Vec<_> = fields.collect();
        quote! {
            let #value = #shape.variant(#place);
            // SAFETY: the tag is all that is read, and each field lies in the value; where a
            // representation makes it otherwise, the compiler refuses to evaluate it.
            match unsafe { &*#value.as_ptr() } {
                #name::#variant_name { #(#members: #locals),* } => { #(#fields)* }
                _ => #shape.none(),
            }
        }
    });
    let variants: TokenStream = variants.collect();
    let names = data
        .variants
        .iter()
        .flat_map(|variant| std::iter::once(variant.ident.clone()).chain(names(&variant.fields)));
    description.check(name, names)?;
    let counts: Vec<u8> = data.variants.iter().map(|variant| variant.fields.len() as u8).collect();
    Ok(description.enumeration(name, names_bytes, &counts, &numbers(name, data), variants))
}

/// What shows a field of that type to the description.
fn shown(shape: &Ident, field_type: &Type) -> TokenStream {
    quote_spanned!(at(field_type.span())=> #shape.field::<#field_type>)
}

/// The numbers of the variants.
fn numbers(name: &Ident, data: &DataEnum) -> Vec<TokenStream> {
    let byte = quote!(::midflight_plugin::rt::core::primitive::u8);
    if data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit)) {
        let variants = data.variants.iter().map(|variant| &variant.ident);
        return variants.map(|variant| quote!(#name::#variant as #byte)).collect();
    }
    let (mut last, mut after) = (quote!(0), 0_u8);
    let mut numbers = Vec::new();
    for variant in &data.variants {
        if let Some((_, number)) = &variant.discriminant {
            (last, after) = (quote!(#number), 0);
        }
        numbers.push(quote!(((#last) + #after) as #byte));
        after = after.wrapping_add(1);
    }
    numbers
}

/// With the type's name for `Self`.
fn named(tokens: TokenStream, name: &Ident) -> TokenStream {
    let each = |token: TokenTree| match token {
        TokenTree::Ident(ident) if ident == "Self" => {
            let mut name = name.clone();
            name.set_span(ident.span());
            TokenTree::Ident(name)
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), named(group.stream(), name));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    };
    tokens.into_iter().map(each).collect()
}

fn text(member: &Member) -> String {
    match member {
        Member::Named(name) => name.unraw().to_string(),
        Member::Unnamed(number) => format!("field_{}", number.index),
    }
}

fn names(fields: &Fields) -> Vec<Ident> {
    fields.iter().filter_map(|field| field.ident.clone()).collect()
}

/// A variant's number is a byte: those that are written down are looked at here, so that the
/// compiler need not speak of a `u8`.
fn check_numbers(data: &DataEnum) -> Result<()> {
    let mut next = Some(0_i128);
    for variant in &data.variants {
        if let Some((_, number)) = &variant.discriminant {
            next = literal(number);
        }
        if next.is_some_and(|number| !(0..=255).contains(&number)) {
            let problem = "a variant's number crosses as one byte: it is between 0 and 255";
            return match &variant.discriminant {
                Some((_, number)) => Err(Error::new_spanned(number, problem)),
                None => Err(Error::new_spanned(&variant.ident, problem)),
            };
        }
        next = next.map(|number| number + 1);
    }
    Ok(())
}

fn literal(number: &Expr) -> Option<i128> {
    match number {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => {
            literal(expr).map(|number| -number)
        }
        Expr::Paren(inner) => literal(&inner.expr),
        Expr::Group(inner) => literal(&inner.expr),
        _ => None,
    }
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
            return Err(Error::new_spanned(
                item,
                "an enum with no variants has no values that could cross",
            ));
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
    let later = |attribute: &&&Attribute| {
        attribute.path().is_ident("since") || attribute.path().is_ident("unknown")
    };
    if let Some(later) = attributes.iter().find(later).filter(|_| !may_grow) {
        return Err(Error::new_spanned(
            later,
            "a record has the same fields on both sides, and so has an enum its variants: what may grow says so, `#[record(growable)]`",
        ));
    }
    match attributes.iter().find(|attribute| attribute.path().is_ident("sabi")) {
        Some(hidden) => Err(Error::new_spanned(
            hidden,
            "a record's layout is compared as it is: no `#[sabi]` here",
        )),
        None => Ok(()),
    }
}

/// The arm that takes a value apart and puts it together again.
fn rebuilt(path: TokenStream, fields: &Fields) -> TokenStream {
    let members: Vec<_> = fields.members().collect();
    let locals: Vec<_> =
        (0..members.len()).map(|number| local(&format!("field_{number}"))).collect();
    // What is not portable is reported here, at its type, once for each field.
    let rebuilt = fields.iter().zip(&locals).map(|(field, local)| {
        let span = at(field.ty.span());
        let mut local = local.clone();
        local.set_span(local.span().located_at(field.ty.span()));
        quote_spanned!(span=> ::midflight_plugin::rt::Portable::reown(#local))
    });
    quote! {
        #path { #(#members: #locals),* } => #path { #(#members: #rebuilt),* },
    }
}
