//! A crate under this one's name that brings its own forms for what may grow, and its own idea of
//! what that is. They are no forms to the real crate.
extern crate midflight_plugin as real;
extern crate self as midflight_plugin;

pub mod rt {
    pub use real::rt::*;
    use std::marker::PhantomData;

    pub trait Portable: Sized {
        fn reown(self) -> Self {
            self
        }
    }
    impl<T> Portable for T {}

    pub unsafe trait Grows: Sized {
        type Described;
        const FIELDS: u32;
        unsafe fn take(from: *const Self, fields: u32, taken: &mut u32) -> Self;
        unsafe fn complete(from: *const Self, fields: u32, to: *mut Self);
        unsafe fn drop_from(value: *mut Self, from: u32);
        unsafe fn copied<F>(_: *const F, _: *mut F) {}
        unsafe fn taken_from<F>(_: *const F) -> F {
            loop {}
        }
    }

    pub struct GrownBox<D>(PhantomData<D>);
    impl<D> GrownBox<D> {
        pub fn of<T>(_: T) -> Self {
            GrownBox(PhantomData)
        }
        pub unsafe fn rebuild<T>(self) -> T {
            loop {}
        }
    }

    pub struct GrownRef<'a, D>(PhantomData<(&'a (), D)>);
    impl<'a, D> GrownRef<'a, D> {
        pub fn of<T>(_: &'a T) -> Self {
            GrownRef(PhantomData)
        }
        pub unsafe fn receive<T>(self) -> &'a T {
            loop {}
        }
    }
    pub type HeldGrown<'a, T> = &'a T;
}

type Borrowed = &'static u64;

#[real::record(growable)]
pub struct Limits {
    pub orders_max: Borrowed,
}

real::contract_crate!();
fn main() {}
