midflight_plugin::contract_crate!();
use midflight_plugin::{contract, plugin};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

#[plugin]
pub struct Nothing;

#[plugin(implements())]
pub struct Empty;

#[plugin(implements(Fees, Fees))]
pub struct Twice;

#[plugin(implements(Fees), name = "fees")]
pub struct Unknown;

#[plugin(implements(Fees), group = "a b")]
pub struct Spaced;

#[plugin(implements(Fees), group = "")]
pub struct NoGroup;

#[plugin(implements(Fees))]
pub struct Generic<T>(T);

#[plugin(implements(Fees))]
pub fn function() {}

fn main() {}
