//! abi_stable's own types, of whose safe methods not all check their bounds, are not to be had
//! through this crate.
#![forbid(unsafe_code)]
use midflight_plugin::RVec as AtTheRoot;
use midflight_plugin::rt::abi_checking::AbiInstabilityErrors;
use midflight_plugin::rt::abi_stable::std_types::RVec;
use midflight_plugin::std_types::RString;

fn main() {}
