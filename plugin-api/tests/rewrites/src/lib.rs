//! Attributes that make another item of the one that they stand on: what stands behind `#[record]`
//! and `#[contract]` sees the item last.
#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// The item as it is.
#[proc_macro_attribute]
pub fn same(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// `trait T: A + B { }` becomes `trait T { }`.
#[proc_macro_attribute]
pub fn without_supertraits(_: TokenStream, item: TokenStream) -> TokenStream {
    let (mut in_trait, mut skip) = (false, false);
    let kept = item.into_iter().filter(|token| {
        match token {
            TokenTree::Ident(word) if word.to_string() == "trait" => in_trait = true,
            TokenTree::Punct(colon) if in_trait && colon.as_char() == ':' => skip = true,
            TokenTree::Group(body) if in_trait && body.delimiter() == Delimiter::Brace => {
                (in_trait, skip) = (false, false);
            }
            _ => {}
        }
        !skip
    });
    kept.collect()
}

/// An item without its `#[repr(…)]`.
#[proc_macro_attribute]
pub fn without_representation(_: TokenStream, item: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = item.into_iter().collect();
    let is_repr = |token: Option<&TokenTree>| match token {
        Some(TokenTree::Group(attribute)) => {
            attribute.to_string().replace(' ', "").starts_with("[repr(")
        }
        _ => false,
    };
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(hash) if hash.as_char() == '#' && is_repr(tokens.get(at + 1)) => {
                at += 2
            }
            token => {
                kept.push(token.clone());
                at += 1;
            }
        }
    }
    kept.into_iter().collect()
}

/// `#[instead(u64, Hidden)]`: the second word for the first, wherever that stands.
#[proc_macro_attribute]
pub fn instead(words: TokenStream, item: TokenStream) -> TokenStream {
    let words: Vec<String> =
        words.to_string().split(',').map(|word| word.trim().to_owned()).collect();
    replaced(item, &words[0], &words[1])
}

fn replaced(tokens: TokenStream, from: &str, to: &str) -> TokenStream {
    let each = |token: TokenTree| match token {
        TokenTree::Ident(word) if word.to_string() == from => {
            TokenTree::Ident(Ident::new(to, word.span()))
        }
        TokenTree::Group(group) => {
            TokenTree::Group(Group::new(group.delimiter(), replaced(group.stream(), from, to)))
        }
        other => other,
    };
    tokens.into_iter().map(each).collect()
}

/// `#[written("& self", "& 'static self")]`: the second tokens for the first, wherever those stand.
#[proc_macro_attribute]
pub fn written(texts: TokenStream, item: TokenStream) -> TokenStream {
    let texts: Vec<TokenStream> = texts
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Literal(text) => text.to_string().trim_matches('"').parse().ok(),
            _ => None,
        })
        .collect();
    let from: Vec<String> = texts[0].clone().into_iter().map(|token| spaceless(&token)).collect();
    rewritten(item, &from, &texts[1])
}

fn rewritten(tokens: TokenStream, from: &[String], to: &TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut made = TokenStream::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = tokens[at..].iter().map(spaceless);
        if rest.take(from.len()).eq(from.iter().cloned()) {
            made.extend(to.clone());
            at += from.len();
            continue;
        }
        made.extend([match &tokens[at] {
            TokenTree::Group(group) => {
                let inner = rewritten(group.stream(), from, to);
                TokenTree::Group(Group::new(group.delimiter(), inner))
            }
            other => other.clone(),
        }]);
        at += 1;
    }
    made
}

/// A group has spaces where whoever made it put them.
fn spaceless(token: &TokenTree) -> String {
    token.to_string().replace(' ', "")
}
