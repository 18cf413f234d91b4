midflight_plugin::contract_crate!();
use midflight_plugin::{contract, record};

#[record(growable)]
pub struct Limits {
    pub orders_max: u64,
}

#[record]
pub struct Account {
    pub orders_max: u64,
}

#[contract]
pub trait Fees {
    fn slice(&self, limits: Vec<Limits>, account: &Account, beside: &Limits);
}

fn main() {}
