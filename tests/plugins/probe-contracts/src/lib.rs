//! The contracts of the acceptance tests.
//!
//! [`Probe`] is what the plugin under test offers: each answer tells which build gave it. [`Desk`] is what the test provides: through
//! it a test stands inside of a call, a start or a stop for as long as it likes, and decides how they end.

midflight_plugin::contract_crate!();

use midflight_plugin::{List, Maybe, Text, contract, record};

/// A record with everything that a record can hold.
#[cfg(not(any(feature = "changed-field", feature = "reordered-fields")))]
#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    /// What is traded.
    pub symbol: Text,
    /// Which way.
    pub side: Side,
    /// How much.
    pub quantity: u32,
    /// At which price.
    pub price_ticks: i64,
    /// Whatever else.
    pub tags: List<Text>,
    /// Until which price.
    pub limit: Maybe<i64>,
}

/// The same with a signed quantity. Every field stays where it was.
#[cfg(feature = "changed-field")]
#[record]
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as above")]
pub struct Trade {
    pub symbol: Text,
    pub side: Side,
    pub quantity: i32,
    pub price_ticks: i64,
    pub tags: List<Text>,
    pub limit: Maybe<i64>,
}

/// The same fields in another order.
#[cfg(feature = "reordered-fields")]
#[record]
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as above")]
pub struct Trade {
    pub side: Side,
    pub symbol: Text,
    pub quantity: u32,
    pub price_ticks: i64,
    pub tags: List<Text>,
    pub limit: Maybe<i64>,
}

/// An enum of names.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Bids.
    Buy,
    /// Offers.
    Sell,
    /// One more than the host knows.
    #[cfg(feature = "extra-variant")]
    Short,
}

/// An enum with values: a plugin's own error.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody knows this symbol.
    Unknown(Text),
    /// Too much of it.
    TooLarge {
        /// What would go.
        limit: u64,
    },
    /// Not now.
    Closed,
}

/// The ways to panic.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panic {
    /// With a constant text.
    Text,
    /// With a text that was made for it.
    Formatted,
    /// With a payload that is no text.
    Number,
    /// With a payload whose `Drop` panics.
    DropPanics,
    /// With a payload whose `Drop` panics with one whose `Drop` panics as well.
    DropPanicsAgain,
    /// Past every panic hook.
    Resumed,
}

/// What a start is to do.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Make an instance.
    Go,
    /// Return an error.
    Fail,
    /// Panic.
    Panic(Panic),
}

/// What a stop is to do.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    Quietly,
    /// Panic.
    Panic(Panic),
}

/// What the plugin under test offers.
#[contract]
pub trait Probe {
    /// The build that answers: 1, 2 or 3.
    fn version(&self) -> u32;

    /// The generation that answers, as it was told at its start.
    fn generation(&self) -> u64;

    /// Build times quantity.
    fn fee(&self, trade: &Trade) -> u64;

    /// The sum of the fees.
    fn total(&self, trades: &[Trade]) -> u64;

    /// `prefix` before each number.
    fn names(&self, prefix: &str, numbers: &[u64]) -> Vec<String>;

    /// A trade of as much as the build says; refused for some symbols.
    fn quote(&self, symbol: &str) -> Result<Trade, Refused>;

    /// A text for an even number.
    fn maybe(&self, number: u64) -> Option<String>;

    /// The trade with one more tag, both directions owned.
    #[cfg(not(feature = "changed-signature"))]
    fn tagged(&self, trade: Trade, tag: String) -> Trade;

    /// The same with the arguments changed round.
    #[cfg(feature = "changed-signature")]
    fn tagged(&self, tag: String, trade: Trade) -> Trade;

    /// The build, once the test lets the call go.
    fn wait(&self, token: u64) -> u32;

    /// The generations through which a chain of `depth` further calls goes, plugin → [`Desk`] → plugin, and back.
    fn nested(&self, depth: u32) -> Vec<u64>;

    /// Panics once the test lets the call go.
    fn panic(&self, token: u64, how: Panic) -> u64;

    /// The text of the fault that a panicking [`Desk`] is for the plugin.
    #[cfg(not(feature = "missing-method"))]
    fn panic_of_desk(&self) -> String;
}

/// What the test provides.
#[contract]
pub trait Desk {
    /// A build starts.
    #[cfg(not(feature = "changed-service"))]
    fn starting(&self, version: u32, generation: u64) -> Begin;

    /// The same with another type for the generation.
    #[cfg(feature = "changed-service")]
    fn starting(&self, version: u32, generation: u32) -> Begin;

    /// A build stops.
    fn stopping(&self, version: u32, generation: u64) -> End;

    /// Returns when the test lets `token` go.
    fn wait(&self, token: u64);

    /// Calls [`Probe::nested`].
    fn nested(&self, depth: u32) -> Vec<u64>;

    /// Panics.
    fn panic(&self);
}
