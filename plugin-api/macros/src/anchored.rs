//! Which crate generated code means by `::midflight_plugin`.
//!
//! A path that begins so is the author's to redirect: `extern crate facade as midflight_plugin;` at
//! the root of a crate, where the facade hands on what is ours and puts functions and traits of its
//! own in the place of some. Generated `unsafe` would then rest on the facade's word. An `extern
//! crate` item is not redirected: it means what the build gave the compiler under that name. So
//! generated code brings one, under a name of its own, and begins its paths with that. (A
//! `Cargo.toml` can redirect that too. What `unsafe` relies on is therefore reached through the
//! trait that is implemented: see `docs::boundary`.)

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};

/// `generated`, which stands beside `item`, with `::midflight_plugin` as the crate that the build
/// calls so. `half` tells apart what several macros put beside one item.
pub(crate) fn anchored(half: &str, item: &TokenStream, generated: TokenStream) -> TokenStream {
    // Without a name it is no item that a macro of ours takes, and what was generated is an error.
    let Some(name) = name_of(item) else { return generated };
    // The compiler's messages name our types through it.
    let anchor = format_ident!("midflight_plugin_{half}_{name}", span = Span::call_site());
    let anchored = redirected(generated, &anchor);
    quote! {
        #anchored
        #[doc(hidden)]
        #[allow(non_snake_case, unused_extern_crates)]
        extern crate midflight_plugin as #anchor;
    }
}

/// The name of an item, which nothing else of its kind has in its module.
fn name_of(item: &TokenStream) -> Option<Ident> {
    let mut tokens = item.clone().into_iter();
    let keyword = |token: &TokenTree| {
        let TokenTree::Ident(word) = token else { return false };
        ["struct", "enum", "union", "trait"].iter().any(|keyword| word == keyword)
    };
    tokens.find(keyword)?;
    match tokens.next()? {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    }
}

/// `::midflight_plugin` becomes `anchor` everywhere.
fn redirected(tokens: TokenStream, anchor: &Ident) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut redirect = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            [TokenTree::Punct(one), TokenTree::Punct(two), TokenTree::Ident(name), ..]
                if one.as_char() == ':' && two.as_char() == ':' && name == "midflight_plugin" =>
            {
                let mut anchor = anchor.clone();
                anchor.set_span(name.span());
                redirect.push(anchor.into());
                at += 3;
            }
            [TokenTree::Group(group), ..] => {
                let mut inner = Group::new(group.delimiter(), redirected(group.stream(), anchor));
                inner.set_span(group.span());
                redirect.push(inner.into());
                at += 1;
            }
            [token, ..] => {
                redirect.push(token.clone());
                at += 1;
            }
            [] => break,
        }
    }
    redirect.into_iter().collect()
}
