midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Fees {
    fn text(&self) -> &str;
    fn kept(&self) -> &'static [u64];
    fn nested(&self, symbol: &str) -> Option<&str>;
    fn lazy(&self) -> impl Iterator<Item = u64>;
    fn error(&self) -> Result<u64, Box<dyn std::error::Error>>;
    fn never(&self) -> !;
    fn pair(&self) -> (u64, u64);
    fn same(&self) -> Self;
}

fn main() {}
