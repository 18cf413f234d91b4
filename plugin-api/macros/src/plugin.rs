//! `#[plugin]`: the list of what a plugin offers.

use crate::refused;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use std::collections::HashSet;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Data, DeriveInput, Error, Field, LitStr, Member, Path, Result, Token, Type, parenthesized,
};

const FORM: &str = "write `#[plugin(implements(Fees))]` or `#[plugin(implements(Fees, Risk), group = \"exchange\", state = ledger, preflight_start)]`";

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // The author's item stays in either case, so that one mistake brings one error.
    let offers =
        syn::parse2::<Arguments>(arguments).and_then(|arguments| offers(&arguments, item.clone()));
    let offers = offers.unwrap_or_else(refused);
    quote!(#item #offers)
}

fn offers(arguments: &Arguments, item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a plugin has no generic parameters: its functions are compiled once, for one type",
        ));
    }
    let name = &item.ident;
    let contracts = &arguments.contracts;
    let preflight_start = arguments.preflight_start;
    let group = arguments.group.as_ref().map_or_else(String::new, LitStr::value);
    let state = arguments.state.as_ref().map(|field| type_of(field, &item)).transpose()?;
    let table = match state {
        Some(_) => quote!(::midflight_plugin::rt::core::option::Option::Some(
            &::midflight_plugin::rt::StateOf::of::<__Here>()
        )),
        None => quote!(::midflight_plugin::rt::core::option::Option::None),
    };
    let plugin = crate::local("plugin");
    let cell = arguments.state.as_ref().zip(state).map(|(field, cell)| {
        quote! {
            struct __Here;
            impl ::midflight_plugin::rt::HandsOver for __Here {
                type Plugin = #name;
                type Cell = #cell;
                fn cell(#plugin: &#name) -> &#cell {
                    &#plugin.#field
                }
            }
        }
    });
    Ok(quote! {
        const _: () = {
            #cell
            // SAFETY: the types of the constants say all of it.
            unsafe impl ::midflight_plugin::rt::Exported for #name {
                const OFFERS: &'static [::midflight_plugin::rt::OfferOf<Self>] =
                    &[#(::midflight_plugin::rt::OfferOf::of::<dyn #contracts>()),*];
                const CONTRACTS: &'static [(
                    &'static ::midflight_plugin::rt::core::primitive::str,
                    &'static ::midflight_plugin::rt::core::primitive::str,
                )] = &[#((
                    <dyn #contracts as ::midflight_plugin::rt::Contract>::NAME,
                    <dyn #contracts as ::midflight_plugin::rt::Contract>::VERSION,
                )),*];
                const GROUP: &'static ::midflight_plugin::rt::core::primitive::str = #group;
                const STATE: ::midflight_plugin::rt::core::option::Option<&'static ::midflight_plugin::rt::StateOf<Self>> =
                    #table;
                const PREFLIGHT_START: ::midflight_plugin::rt::core::primitive::bool = #preflight_start;
                const VERSION: &'static ::midflight_plugin::rt::core::primitive::str = ::midflight_plugin::rt::core::env!("CARGO_PKG_VERSION");
            }
        };
    })
}

/// The type of the field that holds the state.
fn type_of<'i>(field: &Member, item: &'i DeriveInput) -> Result<&'i Type> {
    let no_field =
        || Error::new_spanned(field, "`state` names the field that holds the plugin's state");
    let Data::Struct(data) = &item.data else { return Err(no_field()) };
    let named =
        |(member, candidate): (Member, &'i Field)| (member == *field).then_some(&candidate.ty);
    data.fields.members().zip(&data.fields).find_map(named).ok_or_else(no_field)
}

struct Arguments {
    contracts: Vec<Path>,
    group: Option<LitStr>,
    /// A field.
    state: Option<Member>,
    preflight_start: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let (mut contracts, mut group, mut state) = (None, None, None);
        let mut preflight_start = false;
        while !input.is_empty() {
            let key: syn::Ident = input.parse().map_err(|error| Error::new(error.span(), FORM))?;
            match key.to_string().as_str() {
                "implements" if contracts.is_none() => {
                    let list;
                    parenthesized!(list in input);
                    contracts = Some(Punctuated::<Path, Token![,]>::parse_terminated(&list)?);
                }
                "group" if group.is_none() => {
                    input.parse::<Token![=]>()?;
                    group = Some(group_name(input.parse()?)?);
                }
                "state" if state.is_none() => {
                    input.parse::<Token![=]>()?;
                    state = Some(input.parse()?);
                }
                "preflight_start" if !preflight_start => preflight_start = true,
                "implements" | "group" | "state" | "preflight_start" => {
                    return Err(Error::new(key.span(), "said twice"));
                }
                _ => return Err(Error::new(key.span(), FORM)),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let contracts: Vec<Path> = contracts.into_iter().flatten().collect();
        if contracts.is_empty() {
            return Err(Error::new(
                Span::call_site(),
                format!("a plugin implements at least one contract: {FORM}"),
            ));
        }
        let mut named = HashSet::new();
        for contract in &contracts {
            let text = contract.to_token_stream().to_string();
            if !named.insert(text.clone()) {
                return Err(Error::new_spanned(contract, format!("`{text}` is named twice")));
            }
        }
        Ok(Arguments { contracts, group, state, preflight_start })
    }
}

const GROUP_BYTES_MAX: usize = 64;

fn group_name(literal: LitStr) -> Result<LitStr> {
    let name = literal.value();
    let sound = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    match !name.is_empty() && name.len() <= GROUP_BYTES_MAX && name.chars().all(sound) {
        true => Ok(literal),
        false => Err(Error::new(
            literal.span(),
            "a group's name is 1 to 64 of the letters a to z, digits, `-` and `_`",
        )),
    }
}
