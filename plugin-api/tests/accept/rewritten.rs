//! An attribute behind ours that leaves the item as it is.
#![forbid(unsafe_code)]
use midflight_plugin::{Text, contract, record};

#[record]
#[midflight_rewrites::same]
pub struct Trade {
    pub id: u64,
    pub side: u8,
    pub symbol: Text,
}

#[record]
#[midflight_rewrites::same]
pub enum Order {
    None,
    Buy(u8, u64, Text),
    Sell { quantity: u32 },
}

#[record]
#[midflight_rewrites::same]
pub enum Way {
    Up = 3,
    Down = 200,
}

#[record(growable)]
#[midflight_rewrites::same]
pub struct Grows {
    pub side: u8,
    pub id: u64,
}

#[contract]
#[midflight_rewrites::same]
pub trait Session {
    fn push(&self, number: u64) -> u64;
}

fn main() {}
