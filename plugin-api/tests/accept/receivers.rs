midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Fees {
    fn shared(&self) -> u64;
}

fn main() {}
