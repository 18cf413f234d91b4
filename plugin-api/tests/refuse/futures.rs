midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, TextSink, contract};

#[contract]
pub trait Reports {
    fn first(&self) -> u64;
    async fn report(&self, out: Sink<'_>) -> u64;
    async fn text(&self, number: u64, out: TextSink<'_>);
    async fn borrowed(&self) -> &str;
    #[since("1.1")]
    async fn later(&self) -> u64 {
        0
    }
}

fn main() {}
