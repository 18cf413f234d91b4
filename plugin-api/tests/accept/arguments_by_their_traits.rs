midflight_plugin::contract_crate!();
use midflight_plugin::{contract, record};

#[record]
pub struct Trade {
    pub quantity: u32,
}
type Kept = String;

#[contract]
pub trait Fees {
    fn no_record(&self, trade: &Trade);
    fn owned(&self, trade: Option<Trade>);
    fn alias(&self, symbol: Kept);
}

fn main() {}
