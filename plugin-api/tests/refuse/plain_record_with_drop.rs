midflight_plugin::contract_crate!();
use midflight_plugin::record;

#[record]
pub struct Trade {
    pub quantity: u32,
}
impl Drop for Trade {
    fn drop(&mut self) {}
}

fn main() {}
