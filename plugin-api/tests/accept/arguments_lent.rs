midflight_plugin::contract_crate!();
use midflight_plugin::{Maybe, Text, contract, record};

#[record]
pub struct Trade {
    pub quantity: u32,
}

#[contract]
pub trait Fees {
    fn changed(&self, trade: &Trade) -> Trade;
    fn object(&self, order: u64);
    fn kept(&self, symbol: &str, same: &'_ str);
    fn string(&self, symbol: &Text);
    fn vec(&self, quantities: &[u64]);
    fn option(&self, limit: Option<i64>, same: &Maybe<i64>);
    fn texts(&self, symbols: &[Text]);
    fn twice(&self, symbol: &str);
    fn tuple(&self, trade: &[u64; 2]);
    fn list(&self, symbols: &[Text]);
    fn function(&self, then: u64);
}

fn main() {}
