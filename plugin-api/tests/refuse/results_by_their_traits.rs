midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Fees {
    fn error(&self) -> Result<u64, std::io::Error>;
}

fn main() {}
