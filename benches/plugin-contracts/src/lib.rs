//! The one contract that every benchmark calls.

midflight_plugin::contract_crate!();

use midflight_plugin::{Text, contract, record};
use std::hint::black_box;

/// What goes in by reference.
#[record]
#[derive(Debug, Clone)]
pub struct Trade {
    /// What is traded.
    pub symbol: Text,
    /// How much of it.
    pub quantity: u32,
    /// At which price.
    pub price_ticks: i64,
}

/// What comes out and owns memory.
#[record]
#[derive(Debug, Clone)]
pub struct Quote {
    /// What is traded.
    pub symbol: Text,
    /// At which price.
    pub price_ticks: i64,
}

/// Work so small that the call is what costs.
#[contract]
pub trait Work {
    /// The call that all lanes make.
    fn add(&self, a: u64, b: u64) -> u64;
    /// Which build answers.
    fn version(&self) -> u64;
    /// A record in, by reference.
    fn fee(&self, trade: &Trade) -> u64;
    /// Text in.
    fn text_in(&self, text: &str) -> u64;
    /// Plain values in.
    fn list_in(&self, values: &[u64]) -> u64;
    /// Text out.
    fn text_out(&self, number: u64) -> String;
    /// Plain values out.
    fn list_out(&self, length: u64) -> Vec<u64>;
    /// A record with text out.
    fn record_out(&self, number: u64) -> Quote;
    /// Some steps of work.
    fn steps(&self, count: u64) -> u64;
    /// The same, each with an event that nobody listens to.
    fn steps_told(&self, count: u64) -> u64;
}

/// The work itself: linked in where a lane has no boundary, and in the plugin.
pub struct Worker {
    version: u64,
}

impl Worker {
    /// A worker that says it is of `version`.
    pub fn new(version: u64) -> Self {
        Worker { version }
    }
}

/// 32 bytes.
const TEXT: &str = "thirty-two bytes of ordinary text";

impl Work for Worker {
    #[inline(never)]
    fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn version(&self) -> u64 {
        self.version
    }

    #[inline(never)]
    fn fee(&self, trade: &Trade) -> u64 {
        u64::from(trade.quantity).wrapping_mul(trade.price_ticks.cast_unsigned())
    }

    #[inline(never)]
    fn text_in(&self, text: &str) -> u64 {
        text.len() as u64
    }

    #[inline(never)]
    fn list_in(&self, values: &[u64]) -> u64 {
        values.len() as u64
    }

    #[inline(never)]
    fn text_out(&self, _: u64) -> String {
        TEXT[..32].to_owned()
    }

    #[inline(never)]
    fn list_out(&self, length: u64) -> Vec<u64> {
        (0..length).collect()
    }

    #[inline(never)]
    fn record_out(&self, number: u64) -> Quote {
        Quote { symbol: TEXT[..32].into(), price_ticks: number.cast_signed() }
    }

    #[inline(never)]
    fn steps(&self, count: u64) -> u64 {
        (0..count).fold(self.version, |sum, step| black_box(sum ^ step))
    }

    #[inline(never)]
    fn steps_told(&self, count: u64) -> u64 {
        (0..count).fold(self.version, |sum, step| {
            tracing::trace!(step, "a step");
            black_box(sum ^ step)
        })
    }
}
