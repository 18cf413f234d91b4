//! `#[since("1.1")]`: what came later stands at the end, so that each version is the beginning of
//! the next one.

use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Expr, Ident, LitStr, Result, Token};

/// The version in which something came: what is older lacks it.
pub(crate) struct Since {
    numbers: [u64; 3],
    pub(crate) written: LitStr,
    /// What a field is where it is lacking.
    pub(crate) default: Option<Expr>,
}

/// Of the attributes of one item.
pub(crate) fn of(attributes: &[Attribute]) -> Result<Option<Since>> {
    let mut all = attributes.iter().filter(|attribute| attribute.path().is_ident("since"));
    let Some(first) = all.next() else { return Ok(None) };
    if let Some(second) = all.next() {
        return Err(Error::new_spanned(second, "it came once: one `#[since]`"));
    }
    first.parse_args().map(Some).map_err(|error| match &first.meta {
        syn::Meta::List(list) if !list.tokens.is_empty() => error,
        _ => Error::new_spanned(first, FORM),
    })
}

const FORM: &str = "`#[since]` names a version: `#[since(\"1.1\")]`";

impl Parse for Since {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let written: LitStr = input.parse().map_err(|error| Error::new(error.span(), FORM))?;
        let mut default = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            let key: Ident = input.parse()?;
            if key != "default" {
                return Err(Error::new(key.span(), "besides the version there is `default = …`"));
            }
            input.parse::<Token![=]>()?;
            default = Some(input.parse()?);
            input.parse::<Option<Token![,]>>()?;
        }
        let text = written.value();
        let parts: Option<Vec<u64>> = text
            .split('.')
            .map(|part| part.parse().ok().filter(|number| *number < 1 << 32))
            .collect();
        let numbers = match parts.as_deref() {
            Some(&[major, minor]) => [major, minor, 0],
            Some(&[major, minor, patch]) => [major, minor, patch],
            _ => {
                return Err(Error::new(
                    written.span(),
                    "a version is two or three numbers: `1.1` or `1.1.0`",
                ));
            }
        };
        Ok(Since { numbers, written, default })
    }
}

/// What every version has stands first, and nothing comes before what an earlier version has.
/// `what` is a method, a field, a variant.
pub(crate) fn check_order<'a>(
    items: impl Iterator<Item = (&'a Ident, Option<&'a Since>)>,
    what: &str,
) -> Result<()> {
    let mut errors: Option<Error> = None;
    let mut add = |error: Error| match &mut errors {
        Some(errors) => errors.combine(error),
        None => errors = Some(error),
    };
    let mut latest: Option<&Since> = None;
    for (number, (name, since)) in items.enumerate() {
        match (latest, since) {
            (_, Some(_)) if number == 0 => {
                add(Error::new(
                    name.span(),
                    format!(
                        "the first {what} has no `#[since]`: what every version has stands first"
                    ),
                ));
                break;
            }
            (Some(latest), None) => add(Error::new(
                name.span(),
                format!(
                    "a {what} after one with `#[since]` has one as well: a {what} is added at the end, here `#[since(\"{}\")]` or later. If \
                     every version has it, it stands before the first `#[since]`",
                    latest.written.value()
                ),
            )),
            (Some(latest), Some(since)) if since.numbers < latest.numbers => add(Error::new(
                since.written.span(),
                format!(
                    "`{}` comes after `{}`: a {what} is added at the end, whatever its version, or the versions between would have another \
                     {what} in its place",
                    since.written.value(),
                    latest.written.value()
                ),
            )),
            _ => {}
        }
        latest = since.or(latest);
    }
    errors.map_or(Ok(()), Err)
}
