midflight_plugin::contract_crate!();
use midflight_plugin::{contract, record};

#[record]
pub struct Pair {
    pub first: u64,
    pub second: u64,
}

#[contract]
pub trait Fees {
    fn text(&self) -> String;
    fn kept(&self) -> Vec<u64>;
    fn nested(&self, symbol: &str) -> Option<String>;
    fn lazy(&self) -> Vec<u64>;
    fn error(&self) -> Result<u64, String>;
    fn never(&self) -> ();
    fn pair(&self) -> Pair;
}

fn main() {}
