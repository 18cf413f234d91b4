midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait First {
    #[since("1.0")]
    fn fee(&self) -> u64;
}

#[contract]
pub trait Order {
    fn fee(&self) -> u64;
    #[since("1.2")]
    fn rebate(&self) -> u64;
    #[since("1.1")]
    fn refund(&self) -> u64;
    #[since("1.10")]
    fn fine(&self) -> u64;
    fn quote(&self) -> u64;
}

#[contract]
pub trait Versions {
    fn fee(&self) -> u64;
    #[since]
    fn none(&self) -> u64;
    #[since(1.1)]
    fn number(&self) -> u64;
    #[since("soon")]
    fn word(&self) -> u64;
    #[since("1.1")]
    #[since("1.2")]
    fn twice(&self) -> u64;
}

#[contract]
pub trait Bodies {
    fn fee(&self) -> u64 {
        0
    }
}

#[contract]
pub trait Kept {
    fn fee(&self) -> u64;
    #[since("1.1")]
    fn rebate(&self) -> u64 {
        let kept: &'static Self = self;
        kept.fee()
    }
}

fn main() {}
