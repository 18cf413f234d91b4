//! The layout check: are the types behind a contract the same on both sides?
//!
//! abi_stable compares two descriptions of a table, field by field and type by type. Its own globals keep pointers into
//! libraries that will be unmapped, so every check brings globals of its own. Its errors point into the plugin too, and run to
//! many kilobytes: they become one sentence here, about the first difference that explains the others.

use crate::contained::say;
use crate::release::Layout;
use midflight_plugin::rt::abi_stable::abi_stability::abi_checking::{
    self, AbiInstability, AbiInstabilityError, AbiInstabilityErrors, CheckingGlobals,
};
use midflight_plugin::rt::abi_stable::type_layout::TLFieldOrFunction;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who stands on which side of a check: the side that calls is the one whose expectation counts.
#[derive(Clone, Copy)]
pub(crate) struct Sides {
    calls: &'static str,
    implements: &'static str,
}

impl Sides {
    pub(crate) const HOST_CALLS: Sides = Sides { calls: "host", implements: "plugin" };
    pub(crate) const PLUGIN_CALLS: Sides = Sides { calls: "plugin", implements: "host" };
}

/// Compares what the caller of `contract` expects with what is offered. The error is one sentence that names both sides.
///
/// It runs the getters of the library's type descriptions, so it belongs on a worker.
pub(crate) fn check(contract: &str, expected: Layout, offered: Layout, sides: Sides) -> Result<(), String> {
    let globals = CheckingGlobals::new();
    let compare = || abi_checking::check_layout_compatibility_with_globals(expected.0, offered.0, &globals);
    let checked = catch_unwind(AssertUnwindSafe(compare));
    let Ok(checked) = checked else {
        return Err(format!("the description of {contract} can't be compared: the check itself failed"));
    };
    match checked {
        Err(errors) if errors.errors.iter().any(|error| !only_shorter(error)) => {
            let _ = say!(debug, contract, "the whole of the differences:\n{errors}");
            Err(format!("{contract}: {}", first_difference(&errors, sides)))
        }
        _ => Ok(()),
    }
}

/// Is the difference only that a table ends earlier than the caller's? abi_stable refuses that, but compares what both have, and
/// each access to a later field asks whether it is there.
fn only_shorter(error: &AbiInstabilityError) -> bool {
    let growable = error.stack_trace.last().is_some_and(|step| match step.expected {
        TLFieldOrFunction::Field(field) => field.layout().is_prefix_kind(),
        TLFieldOrFunction::Function(_) => false,
    });
    let shorter = |difference: &AbiInstability| match difference {
        AbiInstability::FieldCountMismatch(sides) | AbiInstability::Size(sides) => {
            sides.found < sides.expected
        }
        _ => false,
    };
    // The types on the way to a difference are in the list as well, with no difference of their own.
    error.errs.is_empty() || growable && error.errs.iter().all(shorter)
}

/// `plugin says i32, host says u32 at Trade.quantity in argument 1 of fee`
fn first_difference(errors: &AbiInstabilityErrors, sides: Sides) -> String {
    // A type whose size or number of fields differs is reported beside the field that makes it differ: causes first.
    let rank = |difference: &AbiInstability| match difference {
        AbiInstability::Size(_) | AbiInstability::Alignment(_) => 2,
        AbiInstability::FieldCountMismatch(_) | AbiInstability::MismatchedPrefixSize(_) => 1,
        _ => 0,
    };
    let all =
        errors.errors.iter().flat_map(|error| error.errs.iter().map(move |difference| (error, difference)));
    match all.min_by_key(|(error, difference)| (rank(difference), error.index)) {
        Some((error, difference)) => {
            format!("{} {}", say(difference, sides), place(error, difference)).trim_end().to_owned()
        }
        None => "the layouts differ".to_owned(),
    }
}

/// `at Trade.quantity in argument 1 of fee`, from the way that the check took through the types.
fn place(error: &AbiInstabilityError, difference: &AbiInstability) -> String {
    let (mut owner, mut field_of, mut part, mut method) = ("", None, String::new(), "");
    for step in &error.stack_trace {
        match &step.expected {
            TLFieldOrFunction::Function(function) => method = function.name.as_str(),
            TLFieldOrFunction::Field(field) => {
                let name = field.name();
                if name == "0" && owner.starts_with("*const") {
                    owner = field.layout().name();
                    continue; // what stands in for a field that may be behind the last one of the other side
                }
                field_of = None;
                match name.strip_prefix("param_") {
                    Some(number) => part = format!("argument {number}"),
                    None if name == "__returns" => part = "the result".to_owned(),
                    // A pointer's target and the value in a reply are no fields of the author's.
                    None if name == "0" || owner == "Reply" || owner == "MaybeUninit" => {}
                    None => field_of = Some(format!("{}.{name}", owner.trim_end_matches("Fields"))),
                }
                owner = field.layout().name();
            }
        }
    }
    let of_the_type_itself =
        matches!(difference, AbiInstability::Name(_) | AbiInstability::MismatchedPrimitive(_));
    let at = match field_of {
        Some(field) if of_the_type_itself => format!("at {field} "),
        None if of_the_type_itself => String::new(),
        // abi_stable's name for any function: the method is named below.
        _ if owner == "AFunctionPointer" => String::new(),
        _ => format!("at {} ", owner.trim_end_matches("Fields")),
    };
    match (method, part.as_str()) {
        ("", _) => at,
        (_, "") => format!("{at}in the arguments of {method}"),
        _ => format!("{at}in {part} of {method}"),
    }
}

fn say(difference: &AbiInstability, sides: Sides) -> String {
    macro_rules! both {
        ($difference:expr, $show:expr) => {{
            let show = $show;
            format!(
                "{} says {}, {} says {}",
                sides.implements,
                show(&$difference.found),
                sides.calls,
                show(&$difference.expected)
            )
        }};
    }
    match difference {
        AbiInstability::Name(d) => both!(d, |name: &_| named(&format!("{name}"))),
        AbiInstability::Package(d) => both!(d, |package: &_| format!("package {package}")),
        AbiInstability::PackageVersion(d) => both!(d, |version: &_| format!("version {version}")),
        AbiInstability::Size(d) => both!(d, |size: &_| format!("{size} bytes")),
        AbiInstability::Alignment(d) => both!(d, |align: &_| format!("an alignment of {align}")),
        AbiInstability::FieldCountMismatch(d) => both!(d, |count: &_| counted(*count, "field")),
        AbiInstability::TooManyVariants(d) => both!(d, |count: &_| counted(*count, "variant")),
        AbiInstability::UnexpectedVariant(d) => both!(d, |name: &_| format!("variant {name}")),
        AbiInstability::MismatchedPrefixSize(d) => {
            both!(d, |count: &u8| format!("{count} without #[since]"))
        }
        AbiInstability::MismatchedPrimitive(d) => both!(d, |primitive: &_| format!("{primitive:?}")),
        AbiInstability::UnexpectedField(d) => {
            both!(d, |field: &midflight_plugin::rt::abi_stable::type_layout::TLField| match field.name() {
                // abi_stable's name for the first of several parameters without names; the instance is one of them.
                commas if commas.starts_with(',') => counted(commas.len() - 1, "parameter"),
                name => format!("field {name}"),
            })
        }
        // A difference without a case of its own: its Debug text is cut here, and whole in the log.
        other => format!("{other:?}").chars().take(120).collect(),
    }
}

fn named(full: &str) -> String {
    match full {
        grown if grown.starts_with("GrownNumber") => "an enum that may grow".to_owned(),
        grown if grown.starts_with("Grown") => "a record that may grow".to_owned(),
        other => other.split_whitespace().filter(|word| *word != "&'a").collect::<Vec<_>>().join(" "),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
