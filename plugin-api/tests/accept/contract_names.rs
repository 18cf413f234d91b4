use midflight_plugin::contract;

#[contract]
pub trait Gebuehren {
    fn fee(&self) -> u64;
}

fn main() {}
