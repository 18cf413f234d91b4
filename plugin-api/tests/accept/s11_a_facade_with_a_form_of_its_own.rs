//! A crate under this one's name that adds to it, and replaces nothing.
extern crate midflight_plugin as real;
extern crate self as midflight_plugin;

pub mod rt {
    pub use real::rt::*;
}

#[real::record]
pub struct Trade {
    pub quantity: u64,
}

#[real::record(growable)]
pub struct Limits {
    pub orders_max: u64,
    #[since("1.1")]
    pub name: real::Text,
}

fn crosses<T: real::Crosses>() {}

real::contract_crate!();
fn main() {
    crosses::<Trade>();
    crosses::<Limits>();
}
