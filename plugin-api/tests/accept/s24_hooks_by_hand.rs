//! `export!` itself says no `unsafe` of the author's.
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

fn main() {}
