//! Nothing of what `#[record]` writes is left to a macro of this name: the error is the record's own.
#![forbid(unsafe_code)]

#[allow(unused_macros)]
macro_rules! the_line_midflight_plugin_contract_crate_is_missing_at_the_root_of_this_crate {
    ($($all:tt)*) => {};
}
#[allow(unused_imports)]
pub(crate) use the_line_midflight_plugin_contract_crate_is_missing_at_the_root_of_this_crate;

#[midflight_plugin::record(growable)]
pub struct Innocent {
    pub id: std::sync::atomic::AtomicU64,
}

fn main() {}
