//! A crate under this one's name whose `Portable` is a trait of its own, which a reference has. What
//! is made of it is no promise to the real crate: a record is not portable there, and one that may
//! grow does not compile.
extern crate midflight_plugin as real;
extern crate self as midflight_plugin;

pub mod rt {
    pub use real::rt::*;

    pub unsafe trait Portable: Sized {
        const FIELDS_DROP: bool = true;
        fn reown(self) -> Self;
    }
    unsafe impl Portable for super::Borrowed {
        fn reown(self) -> Self {
            self
        }
    }
    pub const fn assert_record<T>() {}
}

type Borrowed = &'static u64;

#[real::record]
pub struct Trade {
    pub quantity: Borrowed,
}

#[real::record(growable)]
pub struct Limits {
    pub orders_max: Borrowed,
}

fn crosses<T: real::Crosses>() {}

real::contract_crate!();
fn main() {
    crosses::<Trade>();
}
