midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, TextSink, contract, record};
use std::collections::*;

#[record]
pub struct Trade(u64, u64);

#[contract]
pub trait Fees {
    fn boxed(&self, trade: u64);
    fn shared(&self, trade: Option<u64>);
    fn pointer(&self, trade: &u64);
    fn function(&self, then: u64);
    fn tuple(&self, trade: (u8, u8, u8, u8, u8, u8));
    fn single(&self, trade: u64);
    fn parts(&self, trade: (u64, String, (Trade, Option<Vec<u8>>)));
    fn text(&self, symbol: String);
    fn nested(&self, symbols: Vec<String>, limit: Option<&u64>, deep: Vec<Option<Result<String, Vec<u8>>>>);
    fn slice(&self, quantities: Vec<u64>);
    fn hidden(&self, quantity: u64);
    fn map(&self, prices: HashMap<u64, String>, more: BTreeMap<(u8, u8), HashSet<u8>>, set: BTreeSet<u8>);
    fn time(&self, at: std::time::Duration);
    fn cell(&self, value: u64);
    fn sinks(&self, bytes: Sink<'_>, text: TextSink<'_>);
    fn pattern(&self, pair: [u64; 2], _: ());
}

fn main() {}
