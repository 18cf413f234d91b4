midflight_plugin::contract_crate!();
use midflight_plugin::record;

#[record]
pub enum Side {
    Buy,
    Counted(std::sync::atomic::AtomicU64),
}

fn main() {}
