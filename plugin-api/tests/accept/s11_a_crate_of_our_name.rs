//! A crate that calls itself `midflight_plugin`, and has nothing of ours under that name: generated
//! code asks the crate that the build calls so.
extern crate midflight_plugin as real;
#[allow(unused_extern_crates)]
extern crate self as midflight_plugin;

use real::{Callback, Context, Handed, Plugin, StartError, State, Text};
use serde::{Deserialize, Serialize};

#[real::record]
pub struct Trade {
    pub symbol: Text,
    pub quantity: u64,
}

#[real::record]
pub enum Side {
    Buy,
    Auction { minutes: u16 },
}

#[real::record(growable)]
pub struct Limits {
    pub orders_max: u64,
    #[since("1.1", default = 7)]
    pub orders_min: u64,
}

#[real::record(growable)]
#[derive(Clone, Copy)]
pub enum Phase {
    Open,
    #[unknown]
    Other,
}

#[real::contract]
pub trait Listener {
    fn told(&self, price: i64);
}

#[real::contract]
pub trait Session {
    fn push(&self, trade: &Trade) -> u64;
}

#[real::contract]
pub trait Fees {
    fn fee(&self, trades: &[Trade], text: Option<&str>) -> Result<u64, Text>;
    fn open(&self, side: Side, limits: &Limits, phase: Phase) -> Box<dyn Session>;
    fn listen(&self, listener: Callback<dyn Listener>);
    async fn later(&self, trade: Trade) -> Vec<Text>;
}

#[real::contract]
pub trait Taxes {
    fn tax(&self) -> u64;
    #[since("1.1")]
    fn tax_of(&self, trade: &Trade) -> u64 {
        self.tax() * trade.quantity
    }
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Ledger(u64);

#[real::plugin(implements(Taxes), state = ledger)]
pub struct Flat {
    ledger: Handed<Ledger>,
}
impl Taxes for Flat {
    fn tax(&self) -> u64 {
        self.ledger.read().0
    }
}
impl Plugin for Flat {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Flat { ledger: Handed::new(Ledger(1)) })
    }
}

fn main() {}
