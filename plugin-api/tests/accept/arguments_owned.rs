midflight_plugin::contract_crate!();
use midflight_plugin::{contract, record};

#[record]
pub struct Trade(u64, u64);

#[contract]
pub trait Fees {
    fn boxed(&self, trade: u64);
    fn shared(&self, trade: Option<u64>);
    fn pointer(&self, trade: &u64);
    fn function(&self, then: u64);
    fn tuple(&self, trade: Trade);
    fn text(&self, symbol: String);
    fn nested(&self, symbol: Option<String>, deep: Vec<Option<Result<String, Vec<u8>>>>);
    fn slice(&self, quantities: Vec<u64>);
    fn hidden(&self, quantity: u64);
    fn map(&self, prices: Vec<Trade>);
    fn pattern(&self, pair: [u64; 2], _: ());
}

fn main() {}
