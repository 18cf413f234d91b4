//! The layout check: are the types behind a contract the same on both sides?
//!
//! abi_stable compares two descriptions of a table, field by field and type by type, and its
//! verdict is the one that counts. Its own globals keep pointers into libraries that will be
//! unmapped, so every check brings globals of its own. Its errors point into the plugin too, speak
//! of what no author wrote, and run to many kilobytes. So when it refuses, both tables are walked
//! once more, for one sentence about the first [`difference`], in the words in which the types were
//! [`written`].

mod described;
mod difference;
mod written;

use crate::contained::say;
use crate::contracts::Layout;
use abi::abi_stability::abi_checking::{
    self, AbiInstability, AbiInstabilityError, CheckingGlobals,
};
use abi::type_layout::{TLFieldOrFunction, TypeLayout};
use difference::{Change, Difference, Rule};
use midflight_inspect::text;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A type, as its library describes it.
type Description = &'static TypeLayout;

/// Something of each side.
#[derive(Debug, Clone, Copy)]
struct Both<T> {
    /// By the side that calls.
    expected: T,
    /// By the side that implements.
    offered: T,
}

impl<T> Both<T> {
    fn map<R>(self, f: impl Fn(T) -> R) -> Both<R> {
        Both { expected: f(self.expected), offered: f(self.offered) }
    }

    fn as_ref(&self) -> Both<&T> {
        Both { expected: &self.expected, offered: &self.offered }
    }
}

/// Who stands on which side of a check: the side that calls is the one whose expectation counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sides {
    HostCalls,
    PluginCalls,
}

/// Compares what the caller of `contract` expects with what is offered. The error is one sentence
/// that names both sides.
///
/// It runs the getters of the library's type descriptions, so it belongs on a worker.
pub(crate) fn check(
    contract: &str,
    expected: Layout,
    offered: Layout,
    sides: Sides,
) -> Result<(), String> {
    let tables = Both { expected: expected.0, offered: offered.0 };
    let checked = catch_unwind(AssertUnwindSafe(|| {
        described::check(tables, sides)?;
        if fits(contract, tables) { Ok(()) } else { Err(explain(tables, sides)) }
    }));
    match checked {
        Ok(checked) => checked.map_err(|reason| format!("{contract}: {reason}")),
        Err(_) => {
            let failed = "can't be compared: the check itself failed";
            Err(format!("the description of {contract} {failed}"))
        }
    }
}

fn fits(contract: &str, tables: Both<Description>) -> bool {
    let globals = CheckingGlobals::new();
    let Both { expected, offered } = tables;
    match abi_checking::check_layout_compatibility_with_globals(expected, offered, &globals) {
        Err(errors) if errors.errors.iter().any(|error| !only_shorter(error)) => {
            let _ = say!(debug, contract, "all that differs:\n{}", lines(&errors.to_string()));
            false
        }
        _ => true,
    }
}

/// Each line as it is told.
fn lines(all: &str) -> String {
    all.lines().map(|line| text::told(line) + "\n").collect()
}

/// Is the difference only that a table ends earlier than the caller's? abi_stable refuses that, but
/// compares what both have, and each access to a later field asks whether it is there.
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
    // The types on the way to a difference are in the list as well, with no difference of their
    // own.
    error.errs.is_empty() || growable && error.errs.iter().all(shorter)
}

/// `fee, argument 1, Trade.quantity: plugin says i32, host says u32; a field keeps its type: …`
fn explain(tables: Both<Description>, sides: Sides) -> String {
    let Some(found) = Difference::first(tables) else {
        let versions = versions(tables, sides);
        return format!(
            "both sides write its types alike, and they are laid out differently {versions}; {}",
            advice(Rule::Compilers)
        );
    };
    let (plugin, host) = of_plugin_and_host(&found.says, sides);
    let way = match found.way() {
        way if way.is_empty() => way,
        way => format!("{way}: "),
    };
    let versions = match found.rule {
        Rule::Versions => String::new(),
        _ => format!(" {}", versions(tables, sides)),
    };
    format!("{way}plugin says {plugin}, host says {host}{versions}; {}", advice(found.rule))
}

fn of_plugin_and_host<T>(both: &Both<T>, sides: Sides) -> (&T, &T) {
    match sides {
        Sides::HostCalls => (&both.offered, &both.expected),
        Sides::PluginCalls => (&both.expected, &both.offered),
    }
}

/// Which versions of the contract's crate the two sides have.
fn versions(tables: Both<Description>, sides: Sides) -> String {
    let of = |layout: Description| {
        let table = written::table(layout);
        let (package, version) = (table.package(), table.package_version().to_string());
        (written::clipped(package.as_str()), written::clipped(&version))
    };
    let both = tables.map(of);
    let (plugin, host) = of_plugin_and_host(&both, sides);
    let package = &host.0;
    match plugin.1 == host.1 {
        true => format!("(both have {package} {}, one of them changed)", host.1),
        false => format!("(plugin has {package} {}, host has {})", plugin.1, host.1),
    }
}

/// What authors keep to. It tells the one who changed a contract what to write instead.
fn advice(rule: Rule) -> String {
    let advice = match rule {
        Rule::Contract => "a contract keeps its name: offer a new one beside it",
        Rule::Signature => {
            "a method keeps its arguments and its result: write a new one at the end, with #[since]"
        }
        Rule::FieldType => {
            "a field keeps its type: write a new record, and a method with #[since] that uses it"
        }
        Rule::Fields => {
            "a record keeps its fields, by name and in order: write a new one, which may be \
             #[record(growable)], and a method with #[since] that uses it"
        }
        Rule::Payload => {
            "a variant keeps what it carries: write a new enum, and a method with #[since] that \
             uses it"
        }
        Rule::Variants => {
            "an enum keeps its variants, their order and their numbers: write a new one, which may \
             be #[record(growable)], and a method with #[since] that uses it"
        }
        Rule::GrowableFieldType => {
            "a field keeps its type: write a new one at the end, with #[since]"
        }
        Rule::Later(noun, change) => return later(noun, change),
        Rule::Growable => {
            "what may grow crosses in another form: leave the type as it was, and write a new one, \
             and a method with #[since] that uses it"
        }
        Rule::Versions => "by semver these don't fit: build both against one of them",
        Rule::Crates => "a type of another crate is another type: take it from where it came from",
        Rule::Compilers => "build both with one compiler, one target and one midflight-plugin",
    };
    advice.to_owned()
}

/// The same of methods, fields or variants that have come after the first version, with `#[since]`.
fn later(noun: &str, change: Change) -> String {
    let new = "write a new one at the end, with #[since]";
    match change {
        Change::Order => format!("{noun}s keep their order: {new}"),
        Change::Name => format!("a {noun} keeps its name: {new}"),
        Change::More => format!("no {noun} is taken away, and none comes between: {new}"),
        Change::Since => {
            let later = "that came after the first version";
            format!("write #[since(\"…\")] on a {noun} {later}, and take none away")
        }
    }
}
