//! The same attribute, which finds nothing to rewrite.
#![forbid(unsafe_code)]
use midflight_plugin::{Sink, contract, record};

#[record]
pub struct Trade {
    pub id: u64,
}

#[contract]
#[midflight_rewrites::written("nothing", "something")]
pub trait Kept {
    fn keep(&self, text: &str, list: &[u64], trade: &Trade) -> u64;
    fn maybe(&self, text: Option<&str>, trade: Option<&Trade>, sink: Sink<'_>);
    async fn wait(&self, text: &str, list: &[u64], trade: &Trade) -> u64;
    #[since("0.2")]
    fn later(&self, text: &str) -> u64 {
        text.len() as u64
    }
}

fn main() {}
