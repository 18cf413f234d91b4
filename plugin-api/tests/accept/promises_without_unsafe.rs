midflight_plugin::contract_crate!();
use midflight_plugin::rt::Gate;
use midflight_plugin::{Contract, contract};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

pub struct Mine;

impl Fees for Mine {
    fn fee(&self) -> u64 {
        1
    }
}

fn same<G: Gate>(fees: FeesCalls<G>) -> FeesCalls<G> {
    FeesCalls(fees.0)
}

fn main() {
    let _ = same::<midflight_plugin::rt::ServiceGate>;
    let _ = <dyn Fees as Contract>::NAME;
}
