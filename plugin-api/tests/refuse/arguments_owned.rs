midflight_plugin::contract_crate!();
use midflight_plugin::{Sink, TextSink, contract};
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
    fn tuple(&self, trade: (u8, u8, u8, u8, u8, u8, u8));
    fn single(&self, trade: (u64,));
    fn parts(&self, trade: (u64, &str));
    fn same(&self, other: Self);
    fn text(&self, symbol: Cow<'static, str>);
    fn nested(&self, symbols: Vec<&str>, limit: Option<&mut u64>);
    fn slice(&self, quantities: [u64]);
    fn hidden(&self, quantity: number!());
    fn pattern(&self, [first, second]: [u64; 2]);
    fn map(&self, prices: HashMap<u64, Arc<str>>);
    fn time(&self, at: std::time::Instant);
    fn cell(&self, shared: std::cell::Cell<u64>);
    fn atomic(&self, shared: std::sync::atomic::AtomicU64);
    fn lock(&self, shared: std::sync::Mutex<u64>);
    fn counted(&self, shared: std::rc::Rc<u64>);
    fn sinks(&self, outs: Vec<Sink<'_>>);
    fn maybe_sink(&self, out: Option<TextSink<'_>>);
    fn sink_by_reference(&self, out: &mut Sink<'_>);
    fn attribute(&self, #[cfg(all())] quantity: u64);
}

fn main() {}
