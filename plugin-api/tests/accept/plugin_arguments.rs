midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Plugin, StartError, contract, plugin};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

#[contract]
pub trait Risk {
    fn fee(&self) -> bool;
}

#[plugin(implements(Fees, crate::Risk), group = "exchange-1_b", preflight_start)]
pub struct Both;

impl Plugin for Both {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Both)
    }
}
impl Fees for Both {
    fn fee(&self) -> u64 {
        1
    }
}
impl Risk for Both {
    fn fee(&self) -> bool {
        true
    }
}

midflight_plugin::export!(Both);

fn main() {}
