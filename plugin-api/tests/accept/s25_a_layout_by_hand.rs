//! A layout, an offer and a state are made for one type, by generated code alone.
#![forbid(unsafe_code)]
use midflight_plugin::rt::{HandsOver, LaidOut, LayoutOf, OfferOf, StateOf, table_layout};
use midflight_plugin::{Context, Handed, List, Plugin, StartError, State, contract, plugin, record};
use serde::{Deserialize, Serialize};

#[record]
pub struct Trade {
    pub price: u64,
}

#[contract]
pub trait Fees {
    fn fee(&self, trade: &Trade) -> u64;
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Ledger(u64);

#[plugin(implements(Fees), state = ledger)]
pub struct Flat {
    ledger: Handed<Ledger>,
}
impl Fees for Flat {
    fn fee(&self, trade: &Trade) -> u64 {
        trade.price
    }
}
impl Plugin for Flat {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Flat { ledger: Handed::new(Ledger(1)) })
    }
}

pub struct Same;
impl HandsOver for Same {
    type Plugin = Flat;
    type Cell = Handed<Ledger>;
    fn cell(plugin: &Flat) -> &Handed<Ledger> {
        &plugin.ledger
    }
}

const LAYOUT: LayoutOf<Trade> = Trade::LAYOUT;
const OFFERED: &[OfferOf<Flat>] = &[OfferOf::<Flat>::of::<dyn Fees>()];
const HANDED: StateOf<Flat> = StateOf::of::<Same>();

fn lent<'a>(list: &mut List<&'a str>, text: &'a str) {
    list.push(text);
}

fn main() {
    let mut list = List::new();
    lent(&mut list, "a");
    let _ = (LAYOUT, OFFERED.len(), &HANDED, table_layout::<dyn Fees>());
}
