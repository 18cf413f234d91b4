//! Results that are objects: `Box<dyn Session>`, alone, in an `Option`, in a `Result`, or in an
//! `Option` in a `Result`.
//!
//! The author's method returns a box, the wire carries it in two halves, the caller gets what holds
//! the plugin. So each such result is of three types, which differ in one place.

use crate::types::{last_segment, plain};
use crate::{at, local};
use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, ItemTrait, PathArguments, Result, TraitItem, Type,
    parse_quote_spanned,
};

/// A result with an object in it.
pub(crate) struct Given {
    /// `dyn Session`
    pub(crate) contract: Type,
    optional: bool,
    /// Of a `Result`.
    pub(crate) error: Option<Type>,
}

/// The object in `result`, if there is one where one can be.
pub(crate) fn given(result: &Type) -> Result<Option<Given>> {
    let (value, error) = match arguments_of(result, "Result").as_deref() {
        Some([value, error]) => (value.clone(), Some(error.clone())),
        _ => (result.clone(), None),
    };
    let (value, optional) = match arguments_of(&value, "Option").as_deref() {
        Some([inner]) => (inner.clone(), true),
        _ => (value, false),
    };
    let Some(contract) = boxed(&value) else { return Ok(None) };
    if let Type::TraitObject(object) = plain(&contract)
        && object.bounds.len() > 1
    {
        let problem =
            "write the contract alone, `Box<dyn Session>`: it is `Send + Sync + 'static` already";
        return Err(Error::new_spanned(&contract, problem));
    }
    Ok(Some(Given { contract, optional, error }))
}

/// The `dyn Session` of a `Box<dyn Session>`.
fn boxed(written: &Type) -> Option<Type> {
    match arguments_of(written, "Box").as_deref() {
        Some([inner]) if matches!(plain(inner), Type::TraitObject(_)) => Some(inner.clone()),
        _ => None,
    }
}

/// `Box`, `Rc` or `Arc` of a trait object.
pub(crate) fn is_owned(written: &Type) -> bool {
    let of = |name| matches!(arguments_of(written, name).as_deref(), Some([Type::TraitObject(_)]));
    of("Box") || of("Rc") || of("Arc")
}

fn arguments_of(written: &Type, name: &str) -> Option<Vec<Type>> {
    let Type::Path(path) = plain(written) else { return None };
    if !last_segment(plain(written), name) {
        return None;
    }
    let PathArguments::AngleBracketed(list) = &path.path.segments.last()?.arguments else {
        return None;
    };
    let types = list.args.iter().map(|argument| match argument {
        GenericArgument::Type(inner) => Some(plain(inner).clone()),
        _ => None,
    });
    types.collect()
}

impl Given {
    /// What crosses.
    pub(crate) fn sent(&self) -> Type {
        self.around(
            |contract| parse_quote_spanned!(at(contract.span())=> ::midflight_plugin::rt::HandedObject<#contract>),
        )
    }

    /// What the caller gets, without the error.
    pub(crate) fn received(&self) -> Type {
        let contract = &self.contract;
        self.optionally(
            parse_quote_spanned!(at(contract.span())=> ::midflight_plugin::Object<#contract>),
        )
    }

    fn around(&self, object: impl Fn(&Type) -> Type) -> Type {
        let value = self.optionally(object(&self.contract));
        match &self.error {
            Some(error) => {
                parse_quote_spanned!(at(error.span())=> ::midflight_plugin::rt::core::result::Result<#value, #error>)
            }
            None => value,
        }
    }

    fn optionally(&self, object: Type) -> Type {
        match self.optional {
            true => {
                parse_quote_spanned!(at(self.contract.span())=> ::midflight_plugin::rt::core::option::Option<#object>)
            }
            false => object,
        }
    }

    /// In the callee: the author's answer as what crosses.
    pub(crate) fn hand(&self, answer: &TokenStream) -> TokenStream {
        let of = quote!(::midflight_plugin::rt::HandedObject::of);
        match (&self.error, self.optional) {
            (None, false) => quote!(#of(#answer)),
            (None, true) => quote!(::midflight_plugin::rt::core::option::Option::map(#answer, #of)),
            (Some(_), false) => {
                quote!(::midflight_plugin::rt::core::result::Result::map(#answer, #of))
            }
            (Some(_), true) => {
                let inner = local("answer");
                let map = quote!(::midflight_plugin::rt::core::option::Option::map);
                quote!(::midflight_plugin::rt::core::result::Result::map(#answer, |#inner| #map(#inner, #of)))
            }
        }
    }

    /// In the caller: what came, and what holds where it came from. `contract` is the one whose
    /// method has answered.
    pub(crate) fn keep(&self, contract: &TokenStream, handed: &Ident, held: &Ident) -> TokenStream {
        let new = quote!(#contract::object);
        match self.optional {
            // SAFETY: the two came out of one call.
            true => quote!(#handed.map(|#handed| unsafe { #new(#handed, #held) })),
            // SAFETY: the two came out of one call.
            false => quote!(unsafe { #new(#handed, #held) }),
        }
    }

    /// That it can be handed out, said of the contract itself.
    pub(crate) fn proof(&self) -> TokenStream {
        let contract = &self.contract;
        quote_spanned!(at(contract.span())=> #contract: ::midflight_plugin::rt::HandedOut,)
    }
}

/// `Box<dyn Session>` implements `Session`, so that its table is one like all others. Not where a
/// method is `async`: its future would not be of a type that a boxed object can name.
pub(crate) fn boxes(author: &ItemTrait) -> TokenStream {
    let methods: Vec<_> = author
        .items
        .iter()
        .filter_map(|item| match item {
            TraitItem::Fn(method) => Some(&method.sig),
            _ => None,
        })
        .collect();
    if methods.iter().any(|signature| signature.asyncness.is_some()) {
        return TokenStream::new();
    }
    let contract = &author.ident;
    let methods = methods.iter().map(|signature| {
        let (name, result) = (&signature.ident, &signature.output);
        let inputs = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(input) => Some(&input.ty),
            FnArg::Receiver(_) => None,
        });
        let inputs: Vec<_> = inputs.collect();
        let names: Vec<_> =
            (0..inputs.len()).map(|number| local(&format!("argument_{number}"))).collect();
        quote! {
            #[inline]
            fn #name(&self #(, #names: #inputs)*) #result {
                <dyn #contract as #contract>::#name(&**self #(, #names)*)
            }
        }
    });
    quote! {
        #[allow(deprecated)]
        impl #contract for ::midflight_plugin::rt::std::boxed::Box<dyn #contract> {
            #(#methods)*
        }

        impl ::midflight_plugin::rt::HandedOut for dyn #contract {}
    }
}
