midflight_plugin::contract_crate!();
use midflight_plugin::contract;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

macro_rules! number {
    () => { u64 };
}

#[contract]
pub trait Fees {
    fn boxed(&self, trade: Box<u64>);
    fn shared(&self, trade: Option<Arc<u64>>);
    fn pointer(&self, trade: *const u64);
    fn function(&self, then: extern "C" fn(u64));
    fn closure(&self, then: impl Fn(u64));
    fn boxed_closure(&self, then: Vec<Box<dyn Fn(u64)>>);
    fn object(&self, order: dyn std::fmt::Debug);
    fn tuple(&self, trade: (u64, u64));
    fn same(&self, other: Self);
    fn text(&self, symbol: Cow<'static, str>);
    fn nested(&self, symbol: Option<&str>);
    fn slice(&self, quantities: [u64]);
    fn hidden(&self, quantity: number!());
    fn pattern(&self, [first, second]: [u64; 2]);
    fn map(&self, prices: HashMap<u64, u64>);
    fn attribute(&self, #[cfg(all())] quantity: u64);
}

fn main() {}
