midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Reports {
    fn first(&self) -> u64;
    async fn report(&self) -> Vec<u8>;
    async fn text(&self, number: u64, lent: &str) -> Result<String, String>;
    async fn owned(&self) -> String;
    #[since("1.1")]
    async fn later(&self) -> u64;
}

fn main() {}
