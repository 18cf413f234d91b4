//! An object is a method's result as `Box<dyn Session>`.
use midflight_plugin::contract;

#[contract]
pub trait Session {
    fn send(&self, text: &str) -> u64;
}

#[contract]
pub trait Opens {
    fn open(&self) -> Box<dyn Session>;
    fn perhaps(&self) -> Option<Box<dyn Session>>;
    fn tries(&self) -> Result<Option<Box<dyn Session>>, String>;
}

fn main() {}
