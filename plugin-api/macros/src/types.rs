//! Which types can't cross by their form alone, and what to write instead.
//!
//! The bounds in the generated code are the proof; what they say about a `String` in a record,
//! though, takes a screen. What authors try first is found here, and answered in one line at the
//! type.

use crate::object;
use syn::{Error, GenericArgument, Ident, PathArguments, Result, Type};

/// Where a type stands.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// A value that is rebuilt on the other side: the std types are known there.
    Signature,
    /// A field, or what is lent: its bytes are read as they are.
    Record,
}

/// As [`check`], for a field of the record `own`.
pub(crate) fn check_field(written: &Type, own: &Ident) -> Result<()> {
    if holds_itself(written, own) {
        let problem = format!(
            "a record that holds itself would have no end, and what a `Box` points to can't \
             cross: write `List<{own}>`, which is empty for none and has one element for one"
        );
        return Err(Error::new_spanned(written, problem));
    }
    check(written, Place::Record)
}

/// By value, or behind what authors try first.
pub(crate) fn holds_itself(written: &Type, own: &Ident) -> bool {
    match plain(written) {
        Type::Array(array) => holds_itself(&array.elem, own),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| match &last.arguments {
            PathArguments::None => {
                path.path.segments.len() == 1 && (last.ident == *own || last.ident == "Self")
            }
            PathArguments::AngleBracketed(list) => {
                let wraps = ["Option", "Maybe", "Box", "Rc", "Arc"].iter();
                let inner = list.args.iter().any(|argument| {
                    matches!(argument, GenericArgument::Type(inner) if holds_itself(inner, own))
                });
                wraps.into_iter().any(|wrap| last.ident == wrap) && inner
            }
            PathArguments::Parenthesized(_) => false,
        }),
        _ => false,
    }
}

pub(crate) fn check(written: &Type, place: Place) -> Result<()> {
    let problem = match plain(written) {
        owned if object::is_owned(owned) => OBJECT,
        Type::Path(path) => {
            for segment in &path.path.segments {
                if segment.ident == "Callback" {
                    return callback(written, place);
                }
                if let Some(problem) = named(&segment.ident.to_string(), place) {
                    return Err(Error::new_spanned(written, problem));
                }
                match &segment.arguments {
                    PathArguments::None => {}
                    PathArguments::Parenthesized(_) => {
                        return Err(Error::new_spanned(written, CLOSURE));
                    }
                    PathArguments::AngleBracketed(list) => {
                        for argument in &list.args {
                            match argument {
                                GenericArgument::Type(inner) => check(inner, place)?,
                                GenericArgument::Lifetime(_) => {
                                    return Err(Error::new_spanned(written, BORROWED));
                                }
                                _ => {}
                            }
                        }
                    }
                }
            }
            return Ok(());
        }
        Type::Array(array) => return check(&array.elem, place),
        Type::Tuple(tuple) if tuple.elems.is_empty() => return Ok(()),
        Type::Tuple(tuple) if place == Place::Signature && (2..=6).contains(&tuple.elems.len()) => {
            return tuple.elems.iter().try_for_each(|part| check(part, place));
        }
        Type::Tuple(_) if place == Place::Signature => {
            "a tuple has two to six parts: make it a `#[record]`, whose fields have names"
        }
        Type::Tuple(_) => {
            "a tuple has no stable layout: make it a `#[record]`, whose fields have names"
        }
        Type::Reference(_) => BORROWED,
        Type::Slice(_) => {
            "a slice has no owner: write `&[T]` for one that is lent, or `Vec<T>` for one that is handed over"
        }
        Type::Ptr(_) => {
            "a raw pointer can't cross: what it points to can be gone. Pass the value itself, or a number that names it"
        }
        Type::BareFn(_) => {
            "a function pointer can't cross: its code can be unloaded. Let the other side implement a contract instead"
        }
        Type::ImplTrait(_) => CLOSURE,
        Type::TraitObject(_) => OBJECT,
        Type::Never(_) => "a method of a contract returns",
        Type::Infer(_) => "the type is named here: both sides are compiled on their own",
        Type::Macro(_) => "write the type itself: what a macro makes of it can't be checked here",
        _ => "this can't cross a plugin's boundary",
    };
    Err(Error::new_spanned(written, problem))
}

fn named(name: &str, place: Place) -> Option<&'static str> {
    match (place, name) {
        (_, "Box" | "Rc" | "Arc") => Some(
            "`Box`, `Rc` and `Arc` can't cross: what they point to stays in the memory, and with the code, of the side that \
             made it. Pass the value itself, a `#[record]`",
        ),
        (Place::Record, "HashMap" | "BTreeMap") => Some(
            "write `Map<K, V>`: a record's bytes are read by the other side, and those of std's maps have no fixed order",
        ),
        (Place::Record, "HashSet" | "BTreeSet") => Some(
            "write `Map<K, ()>`, or `List<T>`: a record's bytes are read by the other side, and those of std's sets have no fixed order",
        ),
        (Place::Record, "Duration") => Some(
            "write `Period`: a record's bytes are read by the other side, and those of `Duration` have no fixed order",
        ),
        (_, "u128" | "i128") => Some(
            "compilers have laid it out in different ways: write `[u64; 2]`, or a `#[record]` of two numbers",
        ),
        (_, "char") => Some(
            "not every number is one, and nobody checks what the other side sends: write `u32`, made by `u32::from` and read by \
             `char::from_u32`, or `Text`",
        ),
        (_, "OsString" | "PathBuf" | "CString") => {
            Some("its form is std's own: write `Text`, or `List<u8>` for bytes that are no UTF-8")
        }
        (_, "IpAddr" | "Ipv4Addr" | "Ipv6Addr" | "SocketAddr") => Some(
            "its form is std's own: write its bytes, `[u8; 4]` or `[u8; 16]`, or its text, `Text`",
        ),
        (_, "Instant" | "SystemTime") => Some(
            "a clock's time has no fixed form: pass a number and name its unit and its origin, such as nanoseconds since the Unix epoch",
        ),
        (_, "Object") => Some(
            "an `Object` holds the side that it came from, and can't cross: a method's author returns `Box<dyn Session>`, and its caller gets \
             the `Object`. What the other side is to call back is a `Callback<dyn Listener>`",
        ),
        (_, "Sink" | "TextSink") => {
            Some("a sink is an argument by itself, lent for the call: `out: Sink<'_>`")
        }
        (Place::Signature, "Self") => Some("`Self` can't cross: it is another type in each plugin"),
        (Place::Record, "String") => Some(
            "write `Text`: a record's bytes are read by the other side, and those of `String` have no fixed order",
        ),
        (Place::Record, "Vec") => Some(
            "write `List<T>`: a record's bytes are read by the other side, and those of `Vec` have no fixed order",
        ),
        (Place::Record, "Option") => Some(
            "write `Maybe<T>`: a record's bytes are read by the other side, and those of `Option` have no fixed order",
        ),
        (Place::Record, "Result") => Some(
            "write an enum with `#[record]`: a record's bytes are read by the other side, and those of `Result` have no fixed order",
        ),
        _ => None,
    }
}

/// `Callback<dyn Listener>`; that `Listener` is a contract, the compiler finds.
fn callback(written: &Type, place: Place) -> Result<()> {
    match place {
        Place::Signature => Ok(()),
        Place::Record => Err(Error::new_spanned(
            written,
            "a callback crosses by value and by itself, or in `Option`, `Vec`, a tuple: a record is plain data, which can be copied and lent",
        )),
    }
}

const OBJECT: &str = "a trait object can't cross: its functions have no stable layout. An object to call, of a contract, is a method's whole \
                      result, `Box<dyn Session>`, `Option<Box<dyn Session>>` or `Result<Box<dyn Session>, E>`; one that the other side is to \
                      call back is a `Callback<dyn Listener>`; what the host has anyway it provides to plugins as a service";
const BORROWED: &str = "a reference inside of a value can't cross: it would outlive the call. Write an owned type, \
                        `String` or `Text` for `&str`, `Vec<T>` or `List<T>` for `&[T]`, or lend the whole as `&T`";
const CLOSURE: &str = "`impl Trait` and closures can't cross: their code belongs to one side. Pass a `#[record]`, or let the \
                       other side implement a contract";

/// Without the parentheses and the invisible groups that macros make.
pub(crate) fn plain(mut written: &Type) -> &Type {
    loop {
        written = match written {
            Type::Paren(inner) => &inner.elem,
            Type::Group(inner) => &inner.elem,
            _ => return written,
        };
    }
}

pub(crate) fn last_segment(written: &Type, name: &str) -> bool {
    matches!(written, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == name))
}
