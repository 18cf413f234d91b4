midflight_plugin::contract_crate!();
use midflight_plugin::{Text, record};

#[record]
pub struct Trade {
    pub symbol: Text,
}

/// What must be undone is kept beside the record.
pub struct Booked(pub Trade);
impl Drop for Booked {
    fn drop(&mut self) {}
}

fn main() {}
