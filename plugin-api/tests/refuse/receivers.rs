midflight_plugin::contract_crate!();
use midflight_plugin::contract;
use std::sync::Arc;

#[contract]
pub trait Fees {
    fn none() -> u64;
    fn value(self) -> u64;
    fn exclusive(&mut self) -> u64;
    fn shared(self: Arc<Self>) -> u64;
    fn kept(&'static self) -> u64;
}

fn main() {}
