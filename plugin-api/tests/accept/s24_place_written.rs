//! Beside `export!`, the place where the host writes its table's address is seen.
#![forbid(unsafe_code)]
use midflight_plugin::{Context, Plugin, StartError, contract, plugin};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

#[plugin(implements(Fees))]
pub struct Flat;

impl Fees for Flat {
    fn fee(&self) -> u64 {
        1
    }
}

impl Plugin for Flat {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Flat)
    }
}

midflight_plugin::export!(Flat, name = "flat");

fn main() {
    let place = crate::__midflight_hooks::place();
    assert_eq!(place.table(), 0);
}
