midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Handed, Plugin, StartError, State, contract, plugin};
use serde::{Deserialize, Serialize};
use std::sync::RwLock;

#[contract]
pub trait Accounts {
    fn count(&self) -> u64;
}

#[derive(Serialize, Deserialize, State)]
#[state(version = 1)]
pub struct Ledger;

#[plugin(implements(Accounts), state = ledger)]
pub struct Bare {
    ledger: RwLock<Ledger>,
}

pub struct NoState;

#[plugin(implements(Accounts), state = ledger)]
pub struct Stateless {
    ledger: Handed<NoState>,
}

impl Plugin for Bare {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        todo!()
    }
}
impl Accounts for Bare {
    fn count(&self) -> u64 {
        1
    }
}
impl Plugin for Stateless {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        todo!()
    }
}
impl Accounts for Stateless {
    fn count(&self) -> u64 {
        1
    }
}

fn main() {}
