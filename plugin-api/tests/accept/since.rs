midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait First {
    fn fee(&self) -> u64;
}

#[contract]
pub trait Order {
    fn fee(&self) -> u64;
    fn quote(&self) -> u64;
    #[since("1.1")]
    fn rebate(&self) -> u64;
    #[since("1.2.0")]
    fn refund(&self) -> u64;
    #[since("1.2")]
    fn same(&self) -> u64;
    #[since("1.10")]
    fn fine(&self) -> u64;
}

#[contract]
pub trait Bodies {
    fn fee(&self) -> u64;
    /// Documented.
    #[since("1.1")]
    #[deprecated]
    #[must_use]
    #[allow(clippy::unused_self)]
    fn rebate(&self, mut quantity: u32, _: &str) -> u64 {
        quantity += 1;
        let borrowed = self;
        std::thread::scope(|scope| scope.spawn(|| borrowed.fee()).join().unwrap()) + u64::from(quantity)
    }
}

fn main() {}
