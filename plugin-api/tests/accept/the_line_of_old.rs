//! Generated code passes through no macro of the author's, whatever its name.
#![forbid(unsafe_code)]
extern crate midflight_plugin as abi_stable;

#[allow(unused_macros)]
macro_rules! the_line_midflight_plugin_contract_crate_is_missing_at_the_root_of_this_crate {
    ($($all:tt)*) => { compile_error!("generated code is the author's to read"); };
}
#[allow(unused_imports)]
pub(crate) use the_line_midflight_plugin_contract_crate_is_missing_at_the_root_of_this_crate;

midflight_plugin::contract_crate!();

#[midflight_plugin::record(growable)]
pub struct Innocent {
    pub id: u64,
}

#[midflight_plugin::record]
pub struct Plain {
    pub id: u64,
}

#[midflight_plugin::contract]
pub trait Fees {
    fn fee(&self, plain: &Plain) -> Innocent;
}

fn main() {}
