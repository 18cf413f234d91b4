//! The macros of midflight-plugin: `#[record]`, `#[contract]`, `#[plugin]`, `#[derive(State)]`.
//!
//! Each takes what an author wrote, leaves it as it is, and puts the other half beside it: the
//! layout that is compared, the functions that cross the boundary, the calls that the host makes. A
//! signature that can't cross is refused here, at the type that can't, with the way out; what only
//! the compiler can know is left to the bounds in the generated code.
//!
//! Generated code names everything by its full path, and all of it through `::midflight_plugin`,
//! `core`'s and `std`'s too: what an author calls `Some`, `u64` or `core` is the author's. What
//! `midflight_plugin` is, the build says and no item of an author's (`anchored`). Generated code
//! passes through no macro but those of the language. It carries the spans of the macro, at the
//! author's places: so the compiler counts its `unsafe` as ours, and a crate that forbids `unsafe`
//! can hold contracts.

mod anchored;
mod contract;
mod described;
mod grow;
mod object;
mod plugin;
mod record;
mod since;
mod state;
mod types;

use anchored::anchored;
use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as TokenStream2, TokenTree};
use quote::quote_spanned;

/// Makes a struct or an enum plain data that crosses the boundary, with a layout that is compared
/// when a plugin is loaded.
///
/// Fields are numbers, `bool`, arrays, other records, and `Text`, `List<T>`, `Maybe<T>`, `Map<K,
/// V>`, `Period`. A reference to a record costs nothing to pass; one that is passed by value or
/// returned is rebuilt as the receiver's own. A record has no `Drop`.
///
/// `#[record(growable)]` marks what later versions add to: fields with `#[since("1.1")]` or
/// `#[since("1.1", default = 7)]` at a struct's end, variants with `#[since("1.1")]` at the end of
/// an enum of names, of which one is `#[unknown]`. It crosses by itself, not inside of another
/// record. See `midflight_plugin::docs::evolution`.
#[proc_macro_attribute]
pub fn record(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = item.into();
    anchored("of", &item, record::attribute(arguments.into(), TokenStream2::clone(&item))).into()
}

/// The half of `#[record]` that sees the fields after `cfg` was decided.
#[doc(hidden)]
#[proc_macro_derive(Record)]
pub fn derive_record(item: TokenStream) -> TokenStream {
    let item = item.into();
    anchored("in", &item, record::derive(TokenStream2::clone(&item)).unwrap_or_else(refused)).into()
}

/// Makes a trait a contract: what a plugin, or the host, implements and the other side calls.
///
/// The trait becomes `Send + Sync + 'static`. Beside it stand the calls, `FeesCalls` for a trait
/// `Fees`, with the same methods, each of which can also bring a `Fault`: `u64` becomes
/// `Result<u64, Fault>`, and `Result<T, E>` becomes `Result<T, CallError<E>>`.
///
/// Methods take `&self`, by reference `&str`, `&[T]`, `&Record` and `Option` of these, and by value
/// what is rebuilt as the receiver's own: records, `String`, `Vec<T>`, `Option<T>`, `Result<T, E>`,
/// tuples, maps, `Duration`, which they can return as well. For large results they take a
/// `Sink<'_>` or a `TextSink<'_>`, for which the caller passes `&mut Vec<u8>` or `&mut String`.
///
/// Methods that came in a later version stand at the end, with `#[since("1.1")]`, and can have a
/// body that stands in for them where the other side is older. See
/// `midflight_plugin::docs::boundary` and `midflight_plugin::docs::evolution`.
#[proc_macro_attribute]
pub fn contract(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = item.into();
    anchored("of", &item, contract::attribute(arguments.into(), TokenStream2::clone(&item))).into()
}

/// Says which contracts a plugin implements, and in which group it is switched:
/// `#[plugin(implements(Fees, Risk), group = "exchange")]`. A plugin that names no group is a group
/// of its own.
///
/// With `state = ledger` the field `ledger: Handed<Ledger>` is what the plugin hands over to its
/// next version.
///
/// With `preflight_start` a host that has a preflight runs `start` in its child process as well,
/// before the service runs it, and drops the instance there at once. The host's services are absent
/// there (`Context::service` is an error), and what `start` does to the world it does twice.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = item.into();
    anchored("at", &item, plugin::attribute(arguments.into(), TokenStream2::clone(&item))).into()
}

/// Makes a serde type a state that a plugin hands over, with the version of its schema:
/// `#[state(version = 1)]`.
///
/// A later version names the one before it, which is a state itself: `#[state(version = 2, up =
/// LedgerV1, down = LedgerV1)]`. `up` is what it can be made from, by `TryFrom<LedgerV1>` (or
/// `From`), and `down` what can be made from it, by `TryFrom<&Ledger>` for `LedgerV1`; without one
/// of them there is no way in that direction. See `midflight_plugin::docs::state`.
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(item: TokenStream) -> TokenStream {
    let item = item.into();
    anchored("with", &item, state::derive(TokenStream2::clone(&item)).unwrap_or_else(refused))
        .into()
}

/// The author's place in the text with the macro's own right to name and do things.
fn at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The errors, at their places. syn would say `::core::compile_error!`, which is the author's where
/// a crate of another is called `core`.
fn refused(errors: syn::Error) -> TokenStream2 {
    let each = |token: TokenTree| match token {
        TokenTree::Ident(core) if core == "core" => {
            quote_spanned!(core.span()=> midflight_plugin::rt::core)
        }
        other => other.into(),
    };
    errors.into_compile_error().into_iter().flat_map(each).collect()
}

/// A name in generated code that no author's is mistaken for: neither an argument's, nor that of a
/// constant, which a pattern would mean.
fn local(name: &str) -> proc_macro2::Ident {
    quote::format_ident!("__{name}", span = Span::mixed_site())
}
