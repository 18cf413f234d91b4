midflight_plugin::contract_crate!();
use midflight_plugin::record;

#[record]
pub struct Generic<T> {
    pub value: T,
}

#[record]
pub struct Borrowed<'a> {
    pub symbol: &'a str,
}

#[record]
pub union Bits {
    pub number: u64,
    pub float: f64,
}

#[record]
#[repr(packed)]
pub struct Packed {
    pub quantity: u32,
}

#[record]
#[cfg_attr(all(), repr(packed))]
pub struct PackedInHiding {
    pub quantity: u32,
}

#[record]
pub enum Nothing {}

#[record]
pub struct Opaque {
    #[sabi(unsafe_opaque_field)]
    pub symbol: u64,
}

#[record(packed)]
pub struct Arguments {
    pub quantity: u32,
}

fn main() {}
