midflight_plugin::contract_crate!();
use midflight_plugin::contract;

#[contract]
pub trait Fees {
    unsafe fn raw(&self) -> u64;
    extern "C" fn foreign(&self) -> u64;
    fn generic<T>(&self, value: T) -> u64;
    fn lifetime<'a>(&self, symbol: &'a str) -> u64;
    fn conditional(&self) -> u64
    where
        Self: Sized;
    fn default(&self) -> u64 {
        0
    }
    #[cfg(unix)]
    fn somewhere(&self) -> u64;
}

fn main() {}
