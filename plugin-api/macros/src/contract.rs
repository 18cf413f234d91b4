//! `#[contract]`: a table of functions for each type that implements the trait, and the calls that
//! use it.

use crate::described::{self, Description};
use crate::object::{self, Given};
use crate::since::{self, Since};
use crate::types::{Place, check, last_segment, plain};
use crate::{at, local, refused};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemTrait, Pat, PathArguments, Receiver,
    Result, ReturnType, TraitItem, TraitItemFn, Type, TypeReference, parse_quote,
};

/// The table says in one word of 64 bits which of its functions are there.
const METHODS_MAX: usize = 64;

pub(crate) fn attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut author: ItemTrait = match syn::parse2(item.clone()) {
        Ok(author) => author,
        Err(error) => {
            let place = error.span();
            let error = format!("`#[contract]` stands on a trait: {error}");
            let error = refused(Error::new(place, error));
            return quote!(#item #error);
        }
    };
    let checked = match arguments.is_empty() {
        true => Contract::of(&author),
        false => Err(Error::new_spanned(arguments, "`#[contract]` takes no arguments")),
    };
    // The trait stays in either case, so that one mistake brings one error.
    let generated = checked.map_or_else(refused, |contract| contract.generated());
    let items = std::mem::take(&mut author.items);
    author.items =
        items.into_iter().flat_map(with_its_body_aside).map(with_a_future_named).collect();
    if author.supertraits.is_empty() {
        author.colon_token = Some(Default::default());
        author.supertraits = parse_quote!(
            ::midflight_plugin::rt::core::marker::Send
                + ::midflight_plugin::rt::core::marker::Sync
                + 'static
        );
    }
    quote!(#author #generated)
}

struct Contract<'a> {
    author: &'a ItemTrait,
    methods: Vec<Method<'a>>,
}

struct Method<'a> {
    name: &'a Ident,
    /// Documentation and the like, for the calls.
    attributes: Vec<&'a Attribute>,
    arguments: Vec<Argument<'a>>,
    result: Type,
    /// The object that it hands out.
    given: Option<Given>,
    /// The result as it crosses.
    sent: Type,
    /// Of a `Result<T, E>` that crosses.
    value_and_error: Option<(Type, Type)>,
    since: Option<Since>,
    has_body: bool,
    is_async: bool,
}

/// The body that stands in for a method that the other side lacks goes into a method of its own,
/// which is called instead. Else what runs it would run the method again, which asks the other
/// side, which lacks it, and so for ever.
fn with_its_body_aside(item: TraitItem) -> Vec<TraitItem> {
    let TraitItem::Fn(mut method) = item else { return vec![item] };
    let since = |attribute: &Attribute| attribute.path().is_ident("since");
    let is_later = method.attrs.iter().any(since);
    method.attrs.retain(|attribute| !since(attribute));
    if !is_later || method.default.is_none() || method.sig.asyncness.is_some() {
        return vec![TraitItem::Fn(method)];
    }
    let mut aside = method.clone();
    aside.sig.ident = aside_of(&method.sig.ident);
    aside.attrs.retain(|attribute| {
        !["doc", "deprecated", "must_use"].iter().any(|name| attribute.path().is_ident(name))
    });
    aside.attrs.push(parse_quote!(#[doc(hidden)]));
    let (name, mut names) = (&aside.sig.ident, Vec::new());
    for (number, input) in method.sig.inputs.iter_mut().enumerate() {
        if let FnArg::Typed(input) = input
            && let Some(plain) = argument_name(number.saturating_sub(1), &input.pat)
        {
            *input.pat = parse_quote!(#plain);
            names.push(plain);
        }
    }
    let this = method.sig.receiver().map(|receiver| receiver.self_token);
    method.default = Some(parse_quote!({ Self::#name(#this #(, #names)*) }));
    vec![TraitItem::Fn(method), TraitItem::Fn(aside)]
}

/// `async fn` becomes what it stands for, so that its future is `Send`, and with a bound, so that
/// `dyn Trait` stays a type. Whoever implements it writes `async fn`.
fn with_a_future_named(item: TraitItem) -> TraitItem {
    let TraitItem::Fn(mut method) = item else { return item };
    if method.sig.asyncness.take().is_some() {
        let result = result_of(&method.sig.output);
        method.sig.output = parse_quote!(
            -> impl ::midflight_plugin::rt::core::future::Future<Output = #result> + ::midflight_plugin::rt::core::marker::Send
        );
        method.sig.generics.where_clause =
            Some(parse_quote!(where Self: ::midflight_plugin::rt::core::marker::Sized));
        // It is refused, in one error.
        method.default = method.default.map(|body| parse_quote!({ async move #body }));
    }
    TraitItem::Fn(method)
}

fn result_of(output: &ReturnType) -> Type {
    match output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, result) => Type::clone(result),
    }
}

fn aside_of(method: &Ident) -> Ident {
    format_ident!("__default_{}", method.unraw(), span = at(method.span()))
}

fn argument_name(number: usize, pattern: &Pat) -> Option<Ident> {
    match pattern {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            Some(pattern.ident.clone())
        }
        Pat::Wild(wild) => Some(Ident::new(&format!("argument_{}", number + 1), at(wild.span()))),
        _ => None,
    }
}

struct Argument<'a> {
    name: Ident,
    written: &'a Type,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// `&str`
    Text,
    /// `&[T]`
    Slice(&'a Type),
    /// `&T`
    Lent(&'a Type),
    /// `T`
    Owned(&'a Type),
    /// `Option` of one that is lent
    Optional(Box<Kind<'a>>),
    /// `Sink<'_>`, `TextSink<'_>`
    Sink(&'static str),
}

impl Kind<'_> {
    fn wire(&self, span: Span) -> TokenStream {
        match self {
            Kind::Text => quote_spanned!(span=> ::midflight_plugin::rt::RStr<'_>),
            Kind::Slice(element) => {
                quote_spanned!(span=> ::midflight_plugin::rt::RSlice<'_, #element>)
            }
            Kind::Lent(record) => {
                quote_spanned!(span=> <#record as ::midflight_plugin::rt::Lends>::Wire<'_>)
            }
            Kind::Owned(owned) => {
                quote_spanned!(span=> <#owned as ::midflight_plugin::rt::Crosses>::Wire)
            }
            Kind::Optional(lent) => {
                let lent = lent.wire(span);
                quote_spanned!(span=> ::midflight_plugin::Maybe<#lent>)
            }
            Kind::Sink(name) => {
                let raw = format_ident!("Raw{name}", span = span);
                quote_spanned!(span=> ::midflight_plugin::rt::#raw<'_>)
            }
        }
    }

    /// In the caller.
    fn sent(&self, name: &Ident) -> TokenStream {
        match self {
            Kind::Text => quote!(::midflight_plugin::rt::RStr::from_str(#name)),
            Kind::Slice(_) => quote!(::midflight_plugin::rt::RSlice::from_slice(#name)),
            Kind::Lent(record) => quote!(<#record as ::midflight_plugin::rt::Lends>::lend(#name)),
            Kind::Owned(owned) => {
                quote!(<#owned as ::midflight_plugin::rt::Crosses>::into_wire(#name))
            }
            Kind::Optional(lent) => {
                let lent = lent.sent(name);
                quote!(::midflight_plugin::Maybe::from(#name.map(|#name| #lent)))
            }
            Kind::Sink(_) => quote!(#name.into_raw()),
        }
    }

    /// In the callee: what holds the argument for the length of the call.
    fn held(&self, name: &Ident, contract: &TokenStream) -> TokenStream {
        match self {
            Kind::Text | Kind::Slice(_) => quote!(#name),
            Kind::Lent(record) => quote!(#contract::receive::<#record>(#name)),
            Kind::Owned(owned) => quote!(#contract::rebuild::<#owned>(#name)),
            Kind::Optional(lent) => {
                let held = lent.held(name, contract);
                quote!(#name.into_option().map(|#name| #held))
            }
            Kind::Sink(sink) => {
                let receive = if *sink == "Sink" { quote!(sink) } else { quote!(text_sink) };
                // SAFETY: from the caller's `into_raw`, once.
                quote!(unsafe { #contract::#receive(#name) })
            }
        }
    }

    /// The argument, by what holds it.
    fn received(&self, name: &Ident) -> TokenStream {
        match self {
            Kind::Owned(_) | Kind::Sink(_) => quote!(#name),
            Kind::Optional(lent) => {
                let lent = lent.borrowed(&quote!(#name));
                quote!(::midflight_plugin::rt::core::option::Option::as_ref(&#name).map(|#name| #lent))
            }
            lent => lent.borrowed(&quote!(&#name)),
        }
    }

    /// What is lent, by a reference to what holds it.
    fn borrowed(&self, held: &TokenStream) -> TokenStream {
        match self {
            Kind::Text => quote!(::midflight_plugin::rt::RStr::as_str(#held)),
            Kind::Slice(_) => quote!(::midflight_plugin::rt::RSlice::as_slice(#held)),
            _ => quote!(&**(#held)),
        }
    }

    /// What describes it in the table, and proves that it may be passed so.
    fn described(&self, span: Span) -> TokenStream {
        let wire = self.wire(span);
        let (lent, optional) = match self {
            Kind::Optional(lent) => (&**lent, true),
            lent => (lent, false),
        };
        let (role, of) = match (lent, optional) {
            (Kind::Text, false) => ("text", None),
            (Kind::Text, true) => ("optional_text", None),
            (Kind::Slice(element), false) => ("slice", Some(element)),
            (Kind::Slice(element), true) => ("optional_slice", Some(element)),
            (Kind::Lent(record), false) => ("lent", Some(record)),
            (Kind::Lent(record), true) => ("optional_lent", Some(record)),
            (Kind::Sink("Sink"), _) => ("sink", None),
            (Kind::Sink(_), _) => ("text_sink", None),
            (Kind::Owned(owned), _) => ("owned", Some(owned)),
            (Kind::Optional(_), _) => unreachable!("an `Option` of what is lent itself"),
        };
        let (role, of) = (described::of_table(role), of.into_iter());
        quote_spanned!(span=> #role::<#(#of,)* fn(#wire)>)
    }

    fn proof(&self, span: Span) -> TokenStream {
        match self {
            Kind::Text | Kind::Sink(_) => quote!(),
            Kind::Slice(lent) => quote_spanned!(span=> #lent: ::midflight_plugin::rt::Portable,),
            Kind::Lent(lent) => quote_spanned!(span=> #lent: ::midflight_plugin::rt::Lends,),
            Kind::Owned(owned) => crossing(owned),
            Kind::Optional(lent) => lent.proof(span),
        }
    }
}

// What can't cross is found here, and all of it: an author sees every mistake of a trait at once.

impl<'a> Contract<'a> {
    fn of(author: &'a ItemTrait) -> Result<Self> {
        let mut errors = Errors::default();
        if let Some(word) = &author.unsafety {
            errors.add(
                word,
                "a contract can't be an unsafe trait: nobody could meet its conditions over a boundary",
            );
        }
        if let Some(word) = &author.auto_token {
            errors.add(word, "a contract can't be an auto trait");
        }
        if !author.generics.params.is_empty() {
            errors.add(
                &author.generics,
                "a contract has no generic parameters: its functions are compiled once, into the plugin",
            );
        }
        if let Some(clause) = &author.generics.where_clause {
            errors.add(clause, "a contract has no `where`");
        }
        if !author.supertraits.is_empty() {
            errors.add(
                &author.supertraits,
                "a contract has no supertraits of its own; it is `Send + Sync + 'static` already",
            );
        }
        let mut methods = Vec::new();
        for item in &author.items {
            match item {
                TraitItem::Fn(item) => match Method::of(item) {
                    Ok(method) => methods.push(method),
                    Err(error) => errors.all.push(error),
                },
                TraitItem::Type(item) => {
                    errors.add(
                        item,
                        "a contract has no associated types: the caller doesn't know which plugin serves",
                    );
                }
                TraitItem::Const(item) => {
                    errors.add(item, "a contract has no associated constants: make it a method");
                }
                other => errors.add(other, "a contract has methods, and nothing else"),
            }
        }
        if !author.ident.unraw().to_string().is_ascii() {
            errors.add(
                &author.ident,
                "a contract's name is made of the letters a to z, digits and `_`: it is written into the note of each plugin",
            );
        }
        if author.items.is_empty() {
            errors.add(&author.ident, "a contract has at least one method");
        }
        errors.note(since::check_order(
            methods.iter().map(|method| (method.name, method.since.as_ref())),
            "method",
        ));
        if let Some(method) = methods.iter().find(|method| method.has_body)
            && methods.iter().any(|method| method.given.is_some())
        {
            errors.add(
                method.name,
                "a contract that hands out objects has no default bodies: such a body runs on the caller's side, where what it calls is held \
                 for the length of the call, and an object for longer. Leave the body to those who implement it",
            );
        }
        if methods.len() > METHODS_MAX {
            errors.add(
                &author.ident,
                &format!("a contract has at most {METHODS_MAX} methods: split it"),
            );
        }
        errors.or(Contract { author, methods })
    }
}

impl<'a> Method<'a> {
    fn of(method: &'a TraitItemFn) -> Result<Self> {
        let signature = &method.sig;
        let mut errors = Errors::default();
        for attribute in &method.attrs {
            let path = attribute.path();
            if path.is_ident("cfg") || path.is_ident("cfg_attr") {
                errors.add(
                    attribute,
                    "a contract is the same for all who build it: no `cfg` on its methods",
                );
            }
        }
        let since = since::of(&method.attrs).unwrap_or_else(|error| {
            errors.all.push(error);
            None
        });
        if let Some(default) = since.as_ref().and_then(|since| since.default.as_ref()) {
            errors.add(
                default,
                "a method has no default value: write a body, which runs where an older side lacks it",
            );
        }
        let has_since = method.attrs.iter().any(|attribute| attribute.path().is_ident("since"));
        if let Some(body) = method.default.as_ref().filter(|_| !has_since) {
            errors.add(
                body,
                "a default body stands in for a method that an older version lacks: say since when there is one, \
                 `#[since(\"1.1\")]`, or leave the body to those who implement the contract",
            );
        }
        let is_async = signature.asyncness.is_some();
        if let Some(body) = method.default.as_ref().filter(|_| is_async && has_since) {
            errors.add(
                body,
                "an `async fn` has no default body: where the other side is older its caller gets a `MethodMissing`, and decides itself",
            );
        }
        if let Some(word) = &signature.constness {
            errors
                .add(word, "a method of a contract is not `const`: it is called through a pointer");
        }
        if let Some(word) = &signature.unsafety {
            errors.add(word, "a method of a contract is safe to call");
        }
        if let Some(word) = &signature.abi {
            errors.add(word, "`#[contract]` chooses the calling convention itself: drop it");
        }
        if !signature.generics.params.is_empty() {
            errors.add(
                &signature.generics,
                "a method of a contract has no generic parameters and no named lifetimes: what is lent, is lent for the call",
            );
        }
        if let Some(clause) = &signature.generics.where_clause {
            errors.add(clause, "a method of a contract has no `where`");
        }
        if let Some(dots) = &signature.variadic {
            errors.add(dots, "a method of a contract has a fixed number of arguments");
        }
        let mut inputs = signature.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver)) => errors.note(check_receiver(receiver)),
            _ => errors.add(
                &signature.ident,
                "a method of a contract takes `&self`: it is a call to one instance",
            ),
        }
        let mut arguments = Vec::new();
        for (number, input) in inputs.enumerate() {
            match Argument::of(number, input) {
                Ok(argument) if is_async && matches!(argument.kind, Kind::Sink(_)) => errors.add(
                    argument.written,
                    "a sink is lent for a call, and this one goes on after it: return what is new",
                ),
                Ok(argument) => arguments.push(argument),
                Err(error) => errors.all.push(error),
            }
        }
        let result = result_of(&signature.output);
        let given = match object::given(&result) {
            Ok(given) => {
                match &given {
                    Some(_) if is_async => errors.add(
                        &result,
                        "an `async fn` hands out no object: let it bring what names the object, and a method that is not `async` hand it out",
                    ),
                    Some(given) => {
                        given.error.iter().for_each(|error| errors.note(check(error, Place::Signature)))
                    }
                    None => errors.note(check_result(&result)),
                }
                given
            }
            Err(error) => {
                errors.all.push(error);
                None
            }
        };
        let sent = given.as_ref().map_or_else(|| result.clone(), Given::sent);
        let kept = |attribute: &&Attribute| {
            attribute.path().is_ident("doc") || attribute.path().is_ident("deprecated")
        };
        errors.or(Method {
            name: &signature.ident,
            attributes: method.attrs.iter().filter(kept).collect(),
            arguments,
            value_and_error: value_and_error(&sent),
            result,
            given,
            sent,
            since,
            has_body: method.default.is_some(),
            is_async,
        })
    }

    /// Its name in the table, whose derive knows no raw ones, and gives its `unsafe` the name's
    /// span.
    fn field(&self) -> Ident {
        let (name, span) = (self.name.to_string(), self.name.span());
        let span = if self.since.is_some() { at(span) } else { span };
        match name.strip_prefix("r#") {
            Some(word) => format_ident!("{word}_", span = span),
            None => Ident::new(&name, span),
        }
    }

    /// What describes its answer in the table, and proves that it may be given so.
    fn described(&self) -> TokenStream {
        let role = described::of_table(if self.is_async { "awaited" } else { "given" });
        let (sent, wire) = (&self.sent, self.wire());
        quote_spanned!(at(self.result.span())=> #role::<#sent, fn() -> #wire>)
    }

    fn wire(&self) -> TokenStream {
        let (sent, span) = (&self.sent, at(self.result.span()));
        let wire = match &self.given {
            Some(_) => quote_spanned!(span=> <#sent as ::midflight_plugin::rt::Given>::Wire),
            None => quote_spanned!(span=> <#sent as ::midflight_plugin::rt::Crosses>::Wire),
        };
        match self.is_async {
            true => {
                quote_spanned!(span=> ::midflight_plugin::rt::Reply<::midflight_plugin::rt::RawFuture<#wire>>)
            }
            false => quote_spanned!(span=> ::midflight_plugin::rt::Reply<#wire>),
        }
    }
}

fn check_receiver(receiver: &Receiver) -> Result<()> {
    let problem = match &receiver.reference {
        _ if receiver.colon_token.is_some() => "a method of a contract takes `&self`, written so",
        None => {
            "a method of a contract takes `&self`: the instance stays where it is, and others call it at the same time"
        }
        Some(_) if receiver.mutability.is_some() => {
            "a method of a contract takes `&self`, since many threads call one instance: keep what changes in a `Mutex` or an atomic"
        }
        Some((_, Some(_))) => {
            "a method of a contract takes `&self` with no named lifetime: it is lent for the call"
        }
        Some((_, None)) => return Ok(()),
    };
    Err(Error::new_spanned(receiver, problem))
}

impl<'a> Argument<'a> {
    fn of(number: usize, input: &'a FnArg) -> Result<Self> {
        let FnArg::Typed(input) = input else {
            return Err(Error::new_spanned(input, "`self` comes first"));
        };
        if let Some(attribute) = input.attrs.first() {
            return Err(Error::new_spanned(
                attribute,
                "an argument of a contract has no attributes",
            ));
        }
        let Some(name) = argument_name(number, &input.pat) else {
            return Err(Error::new_spanned(&input.pat, "an argument of a contract is a name"));
        };
        let kind = match (plain(&input.ty), optional(&input.ty)) {
            (Type::Reference(reference), _) => lent(reference)?,
            (_, Some(reference)) => Kind::Optional(Box::new(lent(reference)?)),
            (sink, _) if last_segment(sink, "Sink") => Kind::Sink("Sink"),
            (sink, _) if last_segment(sink, "TextSink") => Kind::Sink("TextSink"),
            (owned, _) => {
                check(owned, Place::Signature)?;
                Kind::Owned(owned)
            }
        };
        Ok(Argument { name, written: &input.ty, kind })
    }

    fn wire(&self) -> TokenStream {
        self.kind.wire(at(self.written.span()))
    }

    /// As the caller of a proxy writes it.
    fn declared(&self) -> TokenStream {
        let (name, written) = (&self.name, self.written);
        match self.sink() {
            Some(sink) => quote!(#name: impl ::midflight_plugin::rt::core::convert::Into<#sink>),
            None => quote!(#name: #written),
        }
    }

    /// The same where the call goes on after it: what is lent is lent until the answer is there.
    fn declared_for_long(&self) -> TokenStream {
        let (name, written) = (&self.name, self.written);
        let span = at(written.span());
        let lent = |kind: &Kind<'_>| match kind {
            Kind::Text => {
                Some(quote_spanned!(span=> &'__lent ::midflight_plugin::rt::core::primitive::str))
            }
            Kind::Slice(element) => Some(quote_spanned!(span=> &'__lent [#element])),
            Kind::Lent(record) => Some(quote_spanned!(span=> &'__lent #record)),
            _ => None,
        };
        let written = match &self.kind {
            Kind::Optional(inner) => lent(inner).map(
                |lent| quote_spanned!(span=> ::midflight_plugin::rt::core::option::Option<#lent>),
            ),
            kind => lent(kind),
        }
        .unwrap_or_else(|| written.to_token_stream());
        quote!(#name: #written)
    }

    /// Code of the author's that runs before anything is entered.
    fn prepared(&self) -> Option<TokenStream> {
        let (name, sink) = (&self.name, self.sink()?);
        Some(quote!(let #name = ::midflight_plugin::rt::core::convert::Into::<#sink>::into(#name);))
    }

    fn sink(&self) -> Option<TokenStream> {
        let Kind::Sink(name) = self.kind else { return None };
        let sink = format_ident!("{name}", span = at(self.written.span()));
        Some(quote!(::midflight_plugin::#sink<'__lent>))
    }
}

/// That a type crosses, and before it that what it is made of does: that says more.
fn crossing(written: &Type) -> TokenStream {
    let mut proofs = TokenStream::new();
    match plain(written) {
        Type::Path(path) => {
            if let Some(segment) = path.path.segments.last()
                && let PathArguments::AngleBracketed(list) = &segment.arguments
            {
                // A map's hasher stays where it is.
                let parts = match &*segment.ident.to_string() {
                    "Option" | "Vec" | "BTreeSet" | "HashSet" => 1,
                    "Result" | "BTreeMap" | "HashMap" => 2,
                    _ => 0,
                };
                for argument in list.args.iter().take(parts) {
                    if let GenericArgument::Type(inner) = argument {
                        proofs.extend(crossing(inner));
                    }
                }
            }
        }
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|part| proofs.extend(crossing(part))),
        _ => {}
    }
    proofs.extend(quote_spanned!(at(written.span())=> #written: ::midflight_plugin::rt::Crosses,));
    proofs
}

/// The `&T` of `Option<&T>`.
fn optional(written: &Type) -> Option<&TypeReference> {
    let Type::Path(path) = plain(written) else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let PathArguments::AngleBracketed(list) = &segment.arguments else { return None };
    match list.args.first()? {
        GenericArgument::Type(inner) if list.args.len() == 1 => match plain(inner) {
            Type::Reference(reference) => Some(reference),
            _ => None,
        },
        _ => None,
    }
}

fn lent(reference: &TypeReference) -> Result<Kind<'_>> {
    let sink = |name| last_segment(&reference.elem, name);
    if sink("Sink") || sink("TextSink") {
        return Err(Error::new_spanned(reference, "a sink is taken by value: drop the `&mut`"));
    }
    if reference.mutability.is_some() {
        return Err(Error::new_spanned(
            reference,
            "`&mut` can't cross: the other side would put its own memory in it. Take `&T` or `T`, and return what is new; for a \
             large result take a `Sink<'_>` or a `TextSink<'_>`",
        ));
    }
    if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
        return Err(Error::new_spanned(
            lifetime,
            "a reference is lent for the call and no longer, since the plugin may be unloaded after it: drop the lifetime",
        ));
    }
    let instead = |place: &dyn ToTokens, problem: &str| Err(Error::new_spanned(place, problem));
    match plain(&reference.elem) {
        Type::Slice(slice) => check(&slice.elem, Place::Record).map(|()| Kind::Slice(&slice.elem)),
        text if last_segment(text, "str") => Ok(Kind::Text),
        text if last_segment(text, "String") => {
            instead(reference, "write `&str`: it costs nothing to pass")
        }
        duration if last_segment(duration, "Duration") => {
            instead(reference, "`Duration` crosses by value: drop the `&`")
        }
        map if ["BTreeMap", "HashMap", "BTreeSet", "HashSet"]
            .iter()
            .any(|name| last_segment(map, name)) =>
        {
            instead(
                reference,
                "std's maps and sets cross by value: drop the `&`. To lend one, lend a `Map<K, V>`",
            )
        }
        list if last_segment(list, "Vec") => {
            instead(reference, "write `&[T]`: it costs nothing to pass")
        }
        whole if last_segment(whole, "Option") || last_segment(whole, "Result") => {
            instead(reference, "`Option` and `Result` cross by value: drop the `&`")
        }
        record => check(record, Place::Record).map(|()| Kind::Lent(record)),
    }
}

fn check_result(result: &Type) -> Result<()> {
    match plain(result) {
        Type::Reference(reference) => Err(Error::new_spanned(
            reference,
            "a result can't be borrowed: the plugin may be unloaded while the caller still holds it. Return an owned value, \
             `String` for `&str`, `Vec<T>` for `&[T]`",
        )),
        owned => check(owned, Place::Signature),
    }
}

/// `Result<T, E>`, by its name and its two arguments.
fn value_and_error(result: &Type) -> Option<(Type, Type)> {
    let Type::Path(path) = plain(result) else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(list) = &segment.arguments else { return None };
    let types: Vec<&Type> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        })
        .collect();
    match types[..] {
        [value, error] if list.args.len() == 2 => Some((value.clone(), error.clone())),
        _ => None,
    }
}

impl Contract<'_> {
    fn generated(&self) -> TokenStream {
        let (proofs, table, functions, calls) =
            (self.proofs(), self.table(), self.functions(), self.calls());
        let boxes = object::boxes(self.author);
        quote! {
            const _: () = {
                #table
                #functions
            };
            #proofs
            #calls
            #boxes
        }
    }

    /// The contract as such. What generated code must be sure of it calls through this: whatever
    /// the path to the trait leads to, it is the one that the contract implements.
    fn itself(&self) -> TokenStream {
        let contract = &self.author.ident;
        quote!(<dyn #contract as ::midflight_plugin::rt::Contract>)
    }

    fn named(&self, what: &str) -> Ident {
        format_ident!("{}{what}", self.author.ident.unraw(), span = at(self.author.ident.span()))
    }

    /// What the compiler has to prove, at the author's types, and before it looks at the rest.
    fn proofs(&self) -> TokenStream {
        let arguments = self
            .methods
            .iter()
            .flat_map(|method| &method.arguments)
            .map(|argument| argument.kind.proof(at(argument.written.span())));
        let results = self.methods.iter().map(|method| match &method.given {
            Some(given) => {
                let error = given.error.as_ref().map(crossing);
                let object = given.proof();
                quote!(#object #error)
            }
            None => crossing(&method.result),
        });
        quote! {
            const _: () = {
                #[allow(dead_code)]
                fn what_crosses() where #(#arguments)* #(#results)* {}
            };
        }
    }

    /// The functions in the order of the trait, and their description.
    fn table(&self) -> TokenStream {
        let fields = described::fields();
        let first_suffix = self.methods.iter().take_while(|method| method.since.is_none()).count();
        let mut description = Description::default();
        let functions: Vec<_> = self
            .methods
            .iter()
            .enumerate()
            .map(|(number, method)| {
                let (name, reply) = (method.field(), method.wire());
                let instance = quote!(*const ());
                let parameters: Vec<_> = std::iter::once(instance)
                    .chain(method.arguments.iter().map(Argument::wire))
                    .collect();
                let instance_of = described::of_table("instance");
                let arguments = method
                    .arguments
                    .iter()
                    .map(|argument| argument.kind.described(at(argument.written.span())));
                let told: Vec<_> = std::iter::once(instance_of).chain(arguments).collect();
                // Those before the first `#[since]` are there in every version.
                let reached = match number < first_suffix {
                    true => described::ALWAYS_THERE,
                    false => described::MAYBE_THERE,
                };
                description.function(&name.to_string(), reached, &told, &method.described());
                quote!(pub #name: unsafe extern "C" fn(#(#parameters),*) -> #reply)
            })
            .collect();
        let names = self.methods.iter().map(|method| method.field());
        if let Err(problem) = description.check(&self.author.ident, names) {
            return refused(problem);
        }
        let name = format!("{}Fields", self.author.ident.unraw());
        let description = description.table(&name, first_suffix);
        quote! {
            #[repr(C)]
            #[allow(missing_debug_implementations)]
            pub struct #fields {
                #(#functions,)*
            }
            #description
        }
    }

    /// One table for each type that implements the contract, in a plugin or in the host.
    fn functions(&self) -> TokenStream {
        let contract = &self.author.ident;
        let (fields, calls) = (described::fields(), self.named("Calls"));
        let tell = described::of_table("TELL");
        let name = contract.unraw().to_string();
        let names: Vec<&Ident> = self.methods.iter().map(|method| method.name).collect();
        let fields_of_names = self.methods.iter().map(Method::field);
        let plain_names = names.iter().map(|name| name.unraw().to_string());
        let gate = local("gate");
        let functions = self.methods.iter().map(|method| self.function(method));
        quote! {
            struct __Functions<__Instance>(::midflight_plugin::rt::core::marker::PhantomData<__Instance>);

            #[allow(deprecated)]
            impl<__Instance: #contract> __Functions<__Instance> {
                #(#functions)*
            }

            // SAFETY: each function casts its instance to the type that the table is made for.
            unsafe impl<__Instance: #contract> ::midflight_plugin::rt::ImplementedBy<__Instance> for dyn #contract {
                const WHOLE: &'static ::midflight_plugin::rt::described::Whole<#fields> =
                    &#tell.whole(
                        #fields { #(#fields_of_names: __Functions::<__Instance>::#names),* }
                    );
            }

            // SAFETY: the proxy is the calls of this contract, through the gate that it is given.
            unsafe impl ::midflight_plugin::rt::Contract for dyn #contract {
                    type Functions = #fields;
                    type Proxy<__Gate: ::midflight_plugin::rt::Gate> = #calls<__Gate>;
                    const NAME: &'static ::midflight_plugin::rt::core::primitive::str = ::midflight_plugin::rt::core::concat!(::midflight_plugin::rt::core::env!("CARGO_PKG_NAME"), "::", #name);
                    const VERSION: &'static ::midflight_plugin::rt::core::primitive::str = ::midflight_plugin::rt::core::env!("CARGO_PKG_VERSION");
                    const METHODS: &'static [&'static ::midflight_plugin::rt::core::primitive::str] = &[#(#plain_names),*];
                    unsafe fn proxy<__Gate: ::midflight_plugin::rt::Gate>(#gate: __Gate) -> #calls<__Gate> {
                        // SAFETY: the gate is of this contract, by the promise of who calls this.
                        #calls(unsafe { ::midflight_plugin::rt::Calls::new(#gate) })
                    }
            }
        }
    }

    /// The function in the table, which catches what the method panics with.
    fn function(&self, method: &Method<'_>) -> TokenStream {
        let (contract, this, itself) = (&self.author.ident, local("this"), self.itself());
        let (name, reply) = (method.name, method.wire());
        let arguments = method.arguments.iter().map(|argument| {
            let (name, wire) = (&argument.name, argument.wire());
            quote!(#name: #wire)
        });
        let names = method.arguments.iter().map(|argument| &argument.name);
        let fits = self.fits(method);
        let held =
            method.arguments.iter().map(|argument| argument.kind.held(&argument.name, &itself));
        let received =
            method.arguments.iter().map(|argument| argument.kind.received(&argument.name));
        let call = quote!(<__Instance as #contract>::#name(#this #(, #received)*));
        let result = &method.result;
        let answer = local("answer");
        let (guard, body) = match (&method.given, method.is_async) {
            (_, true) => {
                (quote!(begun), quote!(async move { let #answer: #result = #call.await; #answer }))
            }
            (Some(given), false) => {
                let handed = given.hand(&answer.to_token_stream());
                (quote!(guard), quote!(let #answer: #result = #call; #handed))
            }
            (None, false) => (quote!(guard), quote!(let #answer: #result = #call; #answer)),
        };
        quote! {
            unsafe extern "C" fn #name(#this: *const () #(, #arguments)*) -> #reply {
                #fits
                #itself::#guard(move || {
                    // SAFETY: the caller passes the instance that this table is bound to, and holds
                    // it.
                    let #this = unsafe { &*#this.cast::<__Instance>() };
                    #(let #names = #held;)*
                    #body
                })
            }
        }
    }

    /// Functions that nobody calls, and that the compiler checks: the method, as it is at last,
    /// takes its instance and what is lent for a call of any length, has the result that is
    /// described, and is safe to call. An attribute behind ours can have made another of it, which
    /// the references that the table's function makes of pointers would fit as well.
    fn fits(&self, method: &Method<'_>) -> TokenStream {
        let (contract, result) = (&self.author.ident, &method.result);
        let written: Vec<_> = method.arguments.iter().map(|argument| argument.written).collect();
        let names: Vec<_> =
            (0..written.len()).map(|number| local(&format!("argument_{number}"))).collect();
        let this = local("this");
        let (word, wait) = match method.is_async {
            true => (quote!(async), quote!(.await)),
            false => (quote!(), quote!()),
        };
        let aside = method.has_body.then(|| aside_of(method.name));
        let checks = std::iter::once((format_ident!("__fits"), method.name.clone()))
            .chain(aside.map(|aside| (format_ident!("__fits_aside"), aside)))
            .map(|(check, name)| {
                quote! {
                    #[allow(dead_code, clippy::too_many_arguments)]
                    #word fn #check<__Instance: #contract>(
                        #this: &__Instance #(, #names: #written)*
                    ) -> #result {
                        <__Instance as #contract>::#name(#this #(, #names)*)#wait
                    }
                }
            });
        quote!(#(#checks)*)
    }

    /// What the caller sees: the methods of the trait, each with a way to say that no value came
    /// back.
    fn calls(&self) -> TokenStream {
        let (contract, visible, calls) =
            (&self.author.ident, &self.author.vis, self.named("Calls"));
        let (bound, itself) = (local("bound"), self.itself());
        let docs = format!(
            "The calls of [`{contract}`]: its methods, each of which can bring a fault as well."
        );
        let methods = self.methods.iter().enumerate().map(|(number, method)| {
            let number = number as u16;
            let (name, field, attributes) = (method.name, method.field(), &method.attributes);
            let undocumented = !attributes.iter().any(|attribute| attribute.path().is_ident("doc"));
            let docs = undocumented.then(|| {
                let docs = format!("Calls [`{contract}::{name}`].");
                quote!(#[doc = #docs])
            });
            let arguments = method.arguments.iter().map(Argument::declared);
            let prepared: Vec<_> = method.arguments.iter().filter_map(Argument::prepared).collect();
            let lent = (!prepared.is_empty()).then(|| quote!(<'__lent>));
            let sent = method.arguments.iter().map(|argument| argument.kind.sent(&argument.name));
            if method.is_async {
                return self.async_call(number, method, docs);
            }
            let result = &method.sent;
            let received = method.given.as_ref().map(Given::received);
            let (answer, finish) = match &method.value_and_error {
                Some((value, error)) => {
                    let received = received.as_ref().unwrap_or(value);
                    (
                        quote!(::midflight_plugin::rt::core::result::Result<#received, ::midflight_plugin::rt::CallError<#error>>),
                        quote!(finish_result::<#value, #error>(#bound)),
                    )
                }
                None => {
                    let received = received.as_ref().unwrap_or(result);
                    (
                        quote!(::midflight_plugin::rt::core::result::Result<#received, ::midflight_plugin::rt::Fault>),
                        quote!(finish::<#result>(#bound)),
                    )
                }
            };
            // An answer that outlives the call comes with what holds its side.
            let holding = method.given.as_ref().map(|_| quote!(where __Gate: ::midflight_plugin::rt::Holding));
            let enter = if holding.is_some() { quote!(hold) } else { quote!(enter) };
            // What is held says where it was taken.
            let track = holding.as_ref().map(|_| quote!(#[track_caller]));
            let kept = method.given.as_ref().map(|given| {
                let (handed, held) = (local("handed"), local("held"));
                let kept = given.keep(&itself, &handed, &held);
                quote!(.map(|(#handed, #held)| #kept))
            });
            let Some(since) = &method.since else {
                return quote! {
                    #(#attributes)*
                    #docs
                    #[inline]
                    #track
                    pub fn #name #lent(&self #(, #arguments)*) -> #answer #holding {
                        #(#prepared)*
                        // SAFETY: the gate is of this contract and holds instance, table and origin
                        // until the closure ends.
                        #itself::#enter(&self.0, #number, move |#bound| unsafe {
                            ((*#bound.functions::<dyn #contract>()).#field)(#bound.this #(, #sent)*).#finish
                        }) #kept
                    }
                };
            };
            let names = method.arguments.iter().map(|argument| &argument.name);
            let missing = match (method.has_body, &method.value_and_error) {
                (false, _) => {
                    let plain_name = name.unraw().to_string();
                    quote! {
                        ::midflight_plugin::rt::core::result::Result::Err(
                            ::midflight_plugin::rt::core::convert::Into::into(
                                #itself::missing(#bound, #plain_name)
                            )
                        )
                    }
                }
                (true, error) => {
                    let aside = aside_of(name);
                    let (pinned, defaults) = (local("pinned"), local("defaults"));
                    let run = match error {
                        Some(_) => quote!(defaulted_result),
                        None => quote!(defaulted),
                    };
                    quote! {
                        #itself::#run(#bound, |#pinned| {
                            // SAFETY: it is bound to the same, and lent to the body for the length
                            // of this closure.
                            let #defaults = __Defaults(unsafe { <dyn #contract as ::midflight_plugin::rt::Contract>::proxy(#pinned) });
                            <__Defaults as #contract>::#aside(&#defaults #(, #names)*)
                        })
                    }
                }
            };
            let what = if method.has_body { "the trait's own body runs here" } else { "this is a `MethodMissing`" };
            let since = format!("Since {}: where the other side is older, {what}.", since.written.value());
            quote! {
                #(#attributes)*
                #docs
                #[doc = ""]
                #[doc = #since]
                #[inline]
                #track
                pub fn #name #lent(&self #(, #arguments)*) -> #answer #holding {
                    #(#prepared)*
                    // SAFETY: the gate is of this contract and holds instance, table and origin
                    // until the closure ends; whether the function is there, the table says.
                    #itself::#enter(&self.0, #number, move |#bound| unsafe {
                        if #bound.has::<dyn #contract>(#number) {
                            ((*#bound.functions::<dyn #contract>()).#field)(#bound.this #(, #sent)*).#finish
                        } else {
                            #missing
                        }
                    }) #kept
                }
            }
        });
        let methods: Vec<_> = methods.collect();
        let defaults = self.defaults();
        quote! {
            #[doc = #docs]
            #visible struct #calls<__Gate>(::midflight_plugin::rt::Calls<dyn #contract, __Gate>);

            const _: () = {
                #defaults
                #[allow(deprecated, clippy::result_large_err)]
                impl<__Gate: ::midflight_plugin::rt::Gate> #calls<__Gate> {
                    #(#methods)*
                }
            };
        }
    }

    /// The call of an `async fn`: it begins at once, and what it began on is held until its answer
    /// is dropped.
    fn async_call(
        &self,
        number: u16,
        method: &Method<'_>,
        docs: Option<TokenStream>,
    ) -> TokenStream {
        let contract = &self.author.ident;
        let (bound, itself) = (local("bound"), self.itself());
        let (name, field, attributes, result) =
            (method.name, method.field(), &method.attributes, &method.result);
        let arguments = method.arguments.iter().map(Argument::declared_for_long);
        let sent = method.arguments.iter().map(|argument| argument.kind.sent(&argument.name));
        let outcome = match &method.value_and_error {
            Some((value, error)) => quote!(::midflight_plugin::rt::Fallible<#value, #error>),
            None => quote!(::midflight_plugin::rt::Plain<#result>),
        };
        let arguments_sent = quote!((#bound.this #(, #sent)*));
        let (run, since) = match &method.since {
            None => (
                quote!(((*#bound.functions::<dyn #contract>()).#field) #arguments_sent.finish_wire(#bound)),
                None,
            ),
            Some(since) => {
                let plain_name = name.unraw().to_string();
                let run = quote! {
                    if #bound.has::<dyn #contract>(#number) {
                        ((*#bound.functions::<dyn #contract>()).#field) #arguments_sent.finish_wire(#bound)
                    } else {
                        ::midflight_plugin::rt::core::result::Result::Err(
                            #itself::missing(#bound, #plain_name)
                        )
                    }
                };
                let since = format!(
                    "Since {}: where the other side is older, this is a `MethodMissing`.",
                    since.written.value()
                );
                (run, Some(quote!(#[doc = ""] #[doc = #since])))
            }
        };
        quote! {
            #(#attributes)*
            #docs
            #since
            #[track_caller]
            pub fn #name<'__lent>(&self #(, #arguments)*)
                -> ::midflight_plugin::rt::Answer<'__lent, <__Gate as ::midflight_plugin::rt::Holding>::Held, #outcome>
            where
                __Gate: ::midflight_plugin::rt::Holding,
            {
                // SAFETY: the gate is of this contract and holds instance, table and origin until
                // the closure ends, and with what it gives until that is dropped; what is lent
                // lives for as long as the answer.
                unsafe { #itself::begin(&self.0, #number, move |#bound| #run) }
            }
        }
    }

    /// `self` of a default body that runs on the caller's side: what it calls goes to the other
    /// side, on the same pin.
    fn defaults(&self) -> TokenStream {
        if !self.methods.iter().any(|method| method.has_body) {
            return TokenStream::new();
        }
        let (contract, calls) = (&self.author.ident, self.named("Calls"));
        let methods = self.methods.iter().map(|method| {
            let (name, result) = (method.name, &method.result);
            let names = method.arguments.iter().map(|argument| &argument.name);
            let arguments = method.arguments.iter().map(|argument| {
                let (name, written) = (&argument.name, argument.written);
                quote!(#name: #written)
            });
            let bubble = match &method.value_and_error {
                Some(_) => quote!(bubble_result),
                None => quote!(bubble),
            };
            let (word, wait) = match method.is_async {
                true => (quote!(async), quote!(.await)),
                false => (quote!(), quote!()),
            };
            quote! {
                #word fn #name(&self #(, #arguments)*) -> #result {
                    ::midflight_plugin::rt::#bubble(
                        #calls::<::midflight_plugin::rt::Pinned>::#name(&self.0 #(, #names)*)#wait
                    )
                }
            }
        });
        quote! {
            struct __Defaults(#calls<::midflight_plugin::rt::Pinned>);

            #[allow(deprecated)]
            impl #contract for __Defaults {
                #(#methods)*
            }
        }
    }
}

#[derive(Default)]
struct Errors {
    all: Vec<Error>,
}

impl Errors {
    fn add(&mut self, place: impl ToTokens, problem: &str) {
        self.all.push(Error::new_spanned(place, problem));
    }

    fn note(&mut self, checked: Result<()>) {
        self.all.extend(checked.err());
    }

    fn or<T>(self, sound: T) -> Result<T> {
        let all = self.all.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        all.map_or(Ok(sound), Err)
    }
}
