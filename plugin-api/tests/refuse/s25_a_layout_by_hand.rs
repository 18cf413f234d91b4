//! A layout, an offer and a state are made for one type, by generated code alone.
#![forbid(unsafe_code)]
use midflight_plugin::rt::{HandsOver, LaidOut, LayoutOf, OfferOf, StateOf, described, table_layout};
use midflight_plugin::{Contract, Context, Handed, List, Plugin, StartError, State, contract, plugin, record};
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

pub struct Other;
impl HandsOver for Other {
    type Plugin = Flat;
    type Cell = Handed<Ledger>;
    fn cell(plugin: &Flat) -> &Handed<Ledger> {
        &plugin.ledger
    }
}

pub struct Mine(&'static str);
const ANOTHERS: LayoutOf<Mine> = u64::LAYOUT;
const PROMISED: LayoutOf<Trade> = LayoutOf::promised(table_layout::<dyn Fees>().get());
const OFFERED: &[OfferOf<Other>] = &[OfferOf::<Flat>::of::<dyn Fees>()];
const HANDED: StateOf<Other> = StateOf::of::<Other>();

/// What abi_stable has, by value.
fn reads() {
    let _ = <<dyn Fees as Contract>::Functions as described::Described>::MONO.name();
}

/// A description with no fields.
fn describes() {
    let _ = Trade::TELL.structure::<0>(described::Text {
        name: "Trade",
        written: described::Written { package: "a;1.0.0", line: 1, module: "a\0" },
        names: "",
        fields: &[],
    });
}

/// A text for a moment becomes one for ever.
fn longer<'a>(list: &mut List<&'static str>, text: &'a str) {
    list.push(text);
}

fn main() {
    reads();
    describes();
}
