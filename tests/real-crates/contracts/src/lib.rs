//! What each of the plugins does: some work, whose result can be checked.

midflight_plugin::contract_crate!();

use midflight_plugin::contract;

/// Work that goes through the crate in question.
#[contract]
pub trait Work {
    /// `number`, after the crate has done something with it.
    fn work(&self, number: u64) -> u64;
    /// Which build it is: 1 or 2.
    fn build(&self) -> u32;
}
