midflight_plugin::contract_crate!();
use midflight_plugin::{Text, record};

#[record]
pub struct Concrete {
    pub value: Text,
}

#[record]
pub enum Bits {
    Number(u64),
    Float(f64),
}

fn main() {}
