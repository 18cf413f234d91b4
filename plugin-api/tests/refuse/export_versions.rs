use midflight_plugin::{Context, Plugin, StartError, contract, plugin};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

#[plugin(implements(Fees))]
pub struct Flat;

impl Plugin for Flat {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Flat)
    }
}
impl Fees for Flat {
    fn fee(&self) -> u64 {
        1
    }
}

midflight_plugin::export!(Flat, version = "banana");

fn main() {}
