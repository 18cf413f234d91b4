midflight_plugin::contract_crate!();
use midflight_plugin::record;

#[record]
pub enum Side {
    Buy,
    Counted(u64),
}

fn main() {}
