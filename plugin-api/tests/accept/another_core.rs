//! Crates of others under the names that generated code could say: it says them through midflight-plugin.
#![forbid(unsafe_code)]
extern crate log as core;
extern crate serde as abi_stable;
extern crate toml as std;
extern crate toml as alloc;

use midflight_plugin::{Callback, Context, Handed, Map, Plugin, Sink, StartError, Text, contract, plugin, record};

#[record]
pub struct Trade {
    pub id: u64,
    pub side: Side,
    pub symbol: Text,
    pub all: Map<u64, Text>,
}

#[record]
pub enum Side {
    Buy,
    Sell(u64),
}

#[record(growable)]
pub struct Settings {
    pub side: u8,
    #[since("1.1", default = 7)]
    pub id: u64,
}

#[record(growable)]
pub enum Kind {
    #[unknown]
    Other,
    #[since("1.1")]
    One,
}

#[contract]
pub trait Session {
    fn push(&self, number: u64) -> u64;
}

#[contract]
pub trait Prices {
    async fn last(&self, symbol: &str) -> Result<u64, String>;
    #[since("1.1")]
    fn best(&self, list: &[u64]) -> u64 {
        list.len() as u64
    }
}

#[contract]
pub trait Gateway {
    fn open(&self) -> Result<Option<Box<dyn Session>>, String>;
    fn all(&self, text: &str, trade: &Trade, back: Callback<dyn Session>, out: Sink<'_>, settings: &Settings);
    #[since("1.1")]
    fn kind(&self, kind: Kind) -> Option<u64>;
}

#[plugin(implements(Session), state = count)]
pub struct Counts {
    count: Handed<State>,
}

#[derive(Default)]
pub struct State;
impl midflight_plugin::State for State {
    const VERSION: u32 = 1;
    const RESTORES_FROM: u32 = 1;
    const SAVES_TO: u32 = 1;
    fn save(&self, _: u32, _: &mut Vec<u8>) -> Result<(), midflight_plugin::StateError> {
        Ok(())
    }
    fn restore(_: u32, _: &mut &[u8]) -> Result<Self, midflight_plugin::StateError> {
        Ok(State)
    }
}

impl Plugin for Counts {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Counts { count: Handed::default() })
    }
}

impl Session for Counts {
    fn push(&self, number: u64) -> u64 {
        number
    }
}

fn main() {}
