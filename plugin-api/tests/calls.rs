midflight_plugin::contract_crate!();
use midflight_plugin::{List, Maybe, Text, contract, record};

#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    pub symbol: Text,
    pub quantity: u32,
    pub tags: List<Text>,
    pub limit: Maybe<i64>,
    pub venue: [u8; 4],
}
#[record]
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    Buy,
    Sell,
}
#[record]
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    Unknown(Text),
    Closed,
    Late { by: u16 },
}

#[contract]
pub trait Fees {
    /// Docs.
    fn fee(&self, trade: &Trade) -> u64;
    fn quote(&self, symbol: &str, side: Side) -> Result<Trade, Refused>;
    fn total(&self, trades: &[Trade]) -> u64;
    fn names(&self, a: String, b: Vec<u64>) -> Vec<String>;
    fn nothing(&self);
}
#[test]
fn x() {}
