//! Is every function that a table has described as well?
//!
//! The comparison of two descriptions goes through the functions that are described, and takes a
//! field that is a function for equal to another such field. So a description that leaves its
//! functions out fits any other. The macros write none like that, but a file can come from
//! anywhere.

use super::difference::Rule;
use super::{Both, Description, Sides, advice, of_plugin_and_host};
use abi::type_layout::TLField;
use std::collections::HashSet;

/// The error is one sentence about the first side that has a function which is not described.
pub(super) fn check(tables: Both<Description>, sides: Sides) -> Result<(), String> {
    let bare = tables.map(undescribed);
    let (plugin, host) = of_plugin_and_host(&bare, sides);
    let found = [("plugin", plugin), ("host", host)]
        .into_iter()
        .find_map(|(side, function)| function.as_ref().map(|function| (side, function)));
    found.map_or(Ok(()), |(side, function)| {
        let says = format!("the {side} describes no arguments and no result of {function}");
        Err(format!("{says}, so that nobody can compare them; {}", advice(Rule::Compilers)))
    })
}

/// The name of a function that is not described, of this type or of one that it is made of.
fn undescribed(layout: Description) -> Option<String> {
    let mut seen = HashSet::new();
    let mut ahead = vec![layout];
    while let Some(layout) = ahead.pop() {
        if !seen.insert(&raw const *layout) {
            continue;
        }
        let fields = layout.get_fields().map(|fields| fields.to_vec()).unwrap_or_default();
        if let Some(field) = fields.iter().find(|field| is_bare(field)) {
            return Some(field.name().to_owned());
        }
        ahead.extend(layout.shared_vars().type_layouts().iter().map(|describe| describe()));
    }
    None
}

fn is_bare(field: &TLField) -> bool {
    field.is_function() && field.function_range().is_empty()
}

#[cfg(test)]
#[allow(unsafe_code, reason = "describes tables by hand, which nobody calls")]
mod tests {
    use super::*;
    use abi::StableAbi;
    use abi::abi_stability::abi_checking::{
        CheckingGlobals, check_layout_compatibility_with_globals,
    };
    use midflight_plugin::rt::described::{self, Described, Mono, Shared, Table, Text, Written};

    /// A table with one function, `length`, that is described or not.
    struct Functions<const DESCRIBED: bool>;

    // SAFETY: there is no such table.
    unsafe impl<const DESCRIBED: bool> Described for Functions<DESCRIBED> {
        const MONO: &'static Mono = {
            const WRITTEN: Written =
                Written { package: "contracts;1.0.0", line: 1, module: "contracts\0" };
            const FIELD: u64 = 6 << 16 | 1 << 47 | 1 << 60;
            let text =
                Text { name: "NamesFields", written: WRITTEN, names: "length;", fields: &[FIELD] };
            // Its result is the function's own type: that it is there is what counts.
            const ALL: &described::Functions = &<Functions<true> as Described>::TELL.functions(
                &[<Functions<true> as Described>::TELL.function(6 << 16, 7, 0, 0, 0)],
                &[1 << 16],
            );
            if DESCRIBED { &Self::TELL.table(text, 1, ALL) } else { &Self::TELL.fields(text, 1) }
        };
        const SHARED: &'static Shared = &Self::TELL.shared(Self::MONO, &[Self::POINTER]);
        const COUNT: u32 = 1;
    }

    #[test]
    fn s03_a_function_that_is_not_described_is_refused() {
        let bare = <Table<Functions<false>> as StableAbi>::LAYOUT;
        let whole = <Table<Functions<true>> as StableAbi>::LAYOUT;
        let says = |expected, offered, sides| {
            check(Both { expected, offered }, sides).err().unwrap_or_default()
        };
        let refused = |side: &str| {
            format!(
                "the {side} describes no arguments and no result of length, so that nobody can \
                 compare them; build both with one compiler, one target and one midflight-plugin"
            )
        };
        assert_eq!(says(whole, whole, Sides::HostCalls), "");
        assert_eq!(says(whole, bare, Sides::HostCalls), refused("plugin"));
        assert_eq!(says(bare, whole, Sides::HostCalls), refused("host"));
        assert_eq!(says(bare, whole, Sides::PluginCalls), refused("plugin"));
        // The comparison alone has nothing to say of it.
        let globals = CheckingGlobals::new();
        assert!(check_layout_compatibility_with_globals(bare, bare, &globals).is_ok());
    }
}
