midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Generic<T> {
    fn fee(&self) -> u64;
}

#[contract]
pub trait Above: Clone {
    fn fee(&self) -> u64;
}

#[contract]
pub trait Types {
    type Trade;
    const RATE: u64;
    fn fee(&self) -> u64;
}

#[contract]
pub trait Nothing {}

#[contract]
pub unsafe trait Unsafe {
    fn fee(&self) -> u64;
}

#[contract(version = 2)]
pub trait Arguments {
    fn fee(&self) -> u64;
}

#[contract]
pub struct NoTrait;

fn main() {}
