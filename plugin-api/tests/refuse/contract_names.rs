use midflight_plugin::contract;

#[contract]
pub trait Gebühren {
    fn fee(&self) -> u64;
}

fn main() {}
