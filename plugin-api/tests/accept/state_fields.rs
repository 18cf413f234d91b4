midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Handed, Plugin, StartError, State, Table, contract, plugin};
use serde::{Deserialize, Serialize};

#[contract]
pub trait Accounts {
    fn count(&self) -> u64;
}

/// Private, as the field is.
#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
struct Ledger;

#[plugin(implements(Accounts), group = "exchange", state = ledger)]
pub struct Named {
    ledger: Handed<Ledger>,
}

#[plugin(state = 0, implements(Accounts))]
pub struct Numbered(Handed<Table<String, Ledger>>);

impl Plugin for Named {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Named { ledger: Handed::new(Ledger) })
    }
}
impl Accounts for Named {
    fn count(&self) -> u64 {
        let _: &Ledger = &self.ledger.read();
        1
    }
}
impl Plugin for Numbered {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Numbered(Handed::default()))
    }
}
impl Accounts for Numbered {
    fn count(&self) -> u64 {
        self.0.read().len() as u64
    }
}

midflight_plugin::export!(Named);

fn main() {}
