//! An attribute behind `#[contract]` makes another method of one: unsafe to call, with another
//! result, with a result that is borrowed, with an object of another contract.
#![forbid(unsafe_code)]
use midflight_plugin::contract;

#[contract]
#[midflight_rewrites::written("fn keep", "unsafe fn keep")]
pub trait Unsafe {
    fn keep(&self) -> u64;
    async fn wait(&self);
}

#[contract]
#[midflight_rewrites::written("fn wait", "unsafe fn wait")]
pub trait UnsafeToWait {
    async fn wait(&self) -> u64;
}

#[contract]
#[midflight_rewrites::written("fn __default_later", "unsafe fn __default_later")]
pub trait UnsafeDefault {
    fn keep(&self) -> u64;
    #[since("0.2")]
    fn later(&self) -> u64 {
        0
    }
}

#[contract]
#[midflight_rewrites::written("u64", "i64")]
pub trait Signed {
    fn keep(&self) -> u64;
    async fn wait(&self) -> u64;
}

#[contract]
pub trait Session {
    fn push(&self) -> u64;
}

#[contract]
pub trait Other {
    fn pull(&self, text: &str) -> u64;
}

#[contract]
#[midflight_rewrites::written("dyn Session", "dyn Other")]
pub trait Gateway {
    fn open(&self) -> Box<dyn Session>;
}

#[contract]
#[midflight_rewrites::written("dyn Session", "dyn Session + '_")]
pub trait Borrowing {
    fn open(&self) -> Box<dyn Session>;
}

fn main() {}
