midflight_plugin::contract_crate!();
use midflight_plugin::{Text, record};

#[record]
pub struct Trade {
    pub symbol: Text,
}
impl Drop for Trade {
    fn drop(&mut self) {}
}

fn main() {}
