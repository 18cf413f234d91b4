//! The same contracts as they are written.
#![forbid(unsafe_code)]
use midflight_plugin::contract;

#[contract]
#[midflight_rewrites::same]
pub trait Numbers {
    fn keep(&self) -> u64;
    async fn wait(&self) -> u64;
    #[since("0.2")]
    fn later(&self) -> u64 {
        0
    }
}

#[contract]
pub trait Session {
    fn push(&self) -> u64;
}

#[contract]
#[midflight_rewrites::same]
pub trait Gateway {
    fn open(&self) -> Box<dyn Session>;
}

fn main() {}
