//! `#[derive(State)]`: the schema of a state, and the ways to the one before it.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Error, LitInt, Result, Type};

const FORM: &str = "write `#[state(version = 1)]`, and for a later schema `#[state(version = 2, up = LedgerV1, down = LedgerV1)]`";

pub(crate) fn derive(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a state has no generic parameters: its schema would differ from one to the other",
        ));
    }
    let Schema { version, up, down } = Schema::of(&item)?;
    let name = &item.ident;
    let [lower_up, lower_down] = [(&up, "up"), (&down, "down")].map(|(older, key)| {
        let older = older.as_ref()?;
        let message = format!("`{key}` names the schema before this one, whose version is lower");
        Some(quote_spanned! { crate::at(older.span()) =>
            const _: () = ::midflight_plugin::rt::core::assert!(<#older as ::midflight_plugin::State>::VERSION < #version, #message);
        })
    });
    let oldest = |older: &Option<Type>, which: TokenStream| match older {
        Some(older) => quote!(<#older as ::midflight_plugin::State>::#which),
        None => quote!(#version),
    };
    let (restores_from, saves_to) =
        (oldest(&up, quote!(RESTORES_FROM)), oldest(&down, quote!(SAVES_TO)));
    let (version_asked, bytes) = (crate::local("version"), crate::local("bytes"));
    let otherwise = |older: Option<Type>, way: TokenStream, value: TokenStream| match older {
        Some(older) => {
            let way = quote_spanned!(crate::at(older.span()) => ::midflight_plugin::rt::#way::<Self, #older>);
            quote!(#way(#value))
        }
        None => quote!(::midflight_plugin::rt::no_way(#version_asked, #version)),
    };
    let save = otherwise(down, quote!(save_down), quote!(self, #version_asked, #bytes));
    let restore = otherwise(up, quote!(restore_up), quote!(#version_asked, #bytes));
    Ok(quote! {
        const _: () = {
            #lower_up
            #lower_down
            impl ::midflight_plugin::State for #name {
                const VERSION: ::midflight_plugin::rt::core::primitive::u32 = #version;
                const RESTORES_FROM: ::midflight_plugin::rt::core::primitive::u32 = #restores_from;
                const SAVES_TO: ::midflight_plugin::rt::core::primitive::u32 = #saves_to;

                fn save(
                    &self,
                    #version_asked: ::midflight_plugin::rt::core::primitive::u32,
                    #bytes: &mut ::midflight_plugin::rt::std::vec::Vec<::midflight_plugin::rt::core::primitive::u8>,
                ) -> ::midflight_plugin::rt::core::result::Result<(), ::midflight_plugin::StateError> {
                    match #version_asked {
                        #version => ::midflight_plugin::rt::encode(self, #bytes),
                        _ => #save,
                    }
                }

                fn restore(
                    #version_asked: ::midflight_plugin::rt::core::primitive::u32,
                    #bytes: &mut &[::midflight_plugin::rt::core::primitive::u8],
                ) -> ::midflight_plugin::rt::core::result::Result<Self, ::midflight_plugin::StateError> {
                    match #version_asked {
                        #version => ::midflight_plugin::rt::decode(#bytes),
                        _ => #restore,
                    }
                }
            }
        };
    })
}

/// What `#[state(…)]` says.
struct Schema {
    version: u32,
    up: Option<Type>,
    down: Option<Type>,
}

impl Schema {
    fn of(item: &DeriveInput) -> Result<Self> {
        let (mut version, mut up, mut down) = (None, None, None);
        for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("state")) {
            attribute.parse_nested_meta(|meta| {
                let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let twice = match key.as_str() {
                    "version" => version.replace(number(&meta.value()?.parse()?)?).is_some(),
                    "up" => up.replace(meta.value()?.parse()?).is_some(),
                    "down" => down.replace(meta.value()?.parse()?).is_some(),
                    _ => return Err(meta.error(FORM)),
                };
                if twice { Err(meta.error("said twice")) } else { Ok(()) }
            })?;
        }
        let version = version.ok_or_else(|| {
            Error::new(Span::call_site(), format!("a state has the version of its schema: {FORM}"))
        })?;
        Ok(Schema { version, up, down })
    }
}

fn number(literal: &LitInt) -> Result<u32> {
    match literal.base10_parse() {
        Ok(0) => Err(Error::new(literal.span(), "the first schema has the version 1")),
        version => version,
    }
}
