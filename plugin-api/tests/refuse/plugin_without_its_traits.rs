midflight_plugin::contract_crate!();
use midflight_plugin::{contract, plugin};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

pub trait NoContract {}

#[plugin(implements(Fees))]
pub struct NeitherStartNorFees;

#[plugin(implements(NoContract))]
pub struct OfNoContract;

fn main() {}
