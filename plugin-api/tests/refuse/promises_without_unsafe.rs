midflight_plugin::contract_crate!();
use midflight_plugin::rt::described::Whole;
use midflight_plugin::rt::{Bound, Calls, Exported, Gate, OfferOf};
use midflight_plugin::{Context, Contract, Crosses, Fault, ImplementedBy, Plugin, Portable, StartError, contract};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

#[contract]
pub trait Book {
    fn best(&self) -> i64;
}

pub struct Mine;

impl Portable for Mine {}

impl Crosses for Mine {
    type Wire = u64;
    fn into_wire(self) -> u64 {
        0
    }
    fn rebuild(_: u64) -> Self {
        Mine
    }
}

impl Gate for Mine {
    fn enter<R, E: From<Fault>>(&self, _: u16, f: impl FnOnce(&Bound) -> Result<R, E>) -> Result<R, E> {
        f(&Bound { this: std::ptr::null(), table: std::ptr::null(), origin: std::ptr::null() })
    }
}

impl ImplementedBy<Mine> for dyn Fees {
    const WHOLE: &'static Whole<Self::Functions> = todo!();
}

impl Plugin for Mine {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Mine)
    }
}

impl Exported for Mine {
    const OFFERS: &'static [OfferOf<Self>] = &[];
    const CONTRACTS: &'static [(&'static str, &'static str)] = &[];
    const GROUP: &'static str = "";
}

/// The functions of one contract, called as another's.
fn confused<G: Gate>(fees: FeesCalls<G>) -> BookCalls<G> {
    BookCalls(fees.0)
}
fn made_up<G: Gate>(gate: G) -> BookCalls<G> {
    <dyn Book>::proxy(gate)
}
fn made_up_too<G: Gate>(gate: G) -> BookCalls<G> {
    BookCalls(Calls::new(gate))
}

fn main() {}
