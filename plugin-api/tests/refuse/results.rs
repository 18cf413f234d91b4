midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, contract};

#[contract]
pub trait Fees {
    fn text(&self) -> &str;
    fn kept(&self) -> &'static [u64];
    fn nested(&self, symbol: &str) -> Option<&str>;
    fn lazy(&self) -> impl Iterator<Item = u64>;
    fn error(&self) -> Result<u64, Box<dyn std::error::Error>>;
    fn never(&self) -> !;
    fn pair(&self) -> (u64, &str);
    fn sink(&self) -> Sink<'_>;
    fn map(&self) -> std::collections::BTreeMap<u64, fn()>;
    fn same(&self) -> Self;
}

fn main() {}
