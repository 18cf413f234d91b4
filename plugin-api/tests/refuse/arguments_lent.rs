midflight_plugin::contract_crate!();
use midflight_plugin::{contract, record};
use std::collections::BTreeMap;
use std::time::Duration;

#[record]
pub struct Trade {
    pub quantity: u32,
}

#[contract]
pub trait Fees {
    fn changed(&self, trade: &mut Trade);
    fn object(&self, order: &dyn std::fmt::Debug);
    fn kept(&self, symbol: &'static str);
    fn string(&self, symbol: &String);
    fn vec(&self, quantities: &Vec<u64>);
    fn option(&self, limit: &Option<i64>);
    fn texts(&self, symbols: &[&str]);
    fn twice(&self, symbol: &&str);
    fn tuple(&self, trade: &(u64, u64));
    fn list(&self, symbols: &[String]);
    fn duration(&self, time: &Duration);
    fn map(&self, prices: &BTreeMap<u64, u64>);
    fn function(&self, then: &fn(u64));
}

fn main() {}
