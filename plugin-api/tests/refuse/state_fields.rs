midflight_plugin::contract_crate!();
use midflight_plugin::{Handed, State, contract, plugin};
use serde::{Deserialize, Serialize};

#[contract]
pub trait Accounts {
    fn count(&self) -> u64;
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Ledger;

#[plugin(implements(Accounts), state = ledger)]
pub struct NoSuchField {
    accounts: Handed<Ledger>,
}

#[plugin(implements(Accounts), state = 1)]
pub struct TooFar(Handed<Ledger>);

#[plugin(implements(Accounts), state = Ledger)]
pub enum NoStruct {}

#[plugin(implements(Accounts), state = "ledger")]
pub struct Text {
    ledger: Handed<Ledger>,
}

#[plugin(implements(Accounts), state = ledger, state = ledger)]
pub struct Twice {
    ledger: Handed<Ledger>,
}

fn main() {}
