//! The contracts of the acceptance tests.
//!
//! [`Probe`] is what the plugin under test offers: each answer tells which build gave it. [`Desk`] is what the test provides: through
//! it a test stands inside of a call, a start or a stop for as long as it likes, and decides how
//! they end.

midflight_plugin::contract_crate!();

use midflight_plugin::{List, Maybe, Text, contract, record};

/// How much of something.
#[cfg(not(feature = "changed-field"))]
pub type Quantity = u32;
/// The same, signed. A record with it has every field where it was.
#[cfg(feature = "changed-field")]
pub type Quantity = i32;

/// A record with everything that a record can hold.
#[cfg(not(feature = "reordered-fields"))]
#[record]
#[derive(Debug, Clone, PartialEq)]
pub struct Trade {
    /// What is traded.
    pub symbol: Text,
    /// Which way.
    pub side: Side,
    /// How much.
    pub quantity: Quantity,
    /// At which price.
    pub price_ticks: i64,
    /// Whatever else.
    pub tags: List<Text>,
    /// Until which price.
    pub limit: Maybe<i64>,
}

/// The same fields in another order.
#[cfg(feature = "reordered-fields")]
#[record]
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "as above")]
pub struct Trade {
    pub side: Side,
    pub symbol: Text,
    pub quantity: Quantity,
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
    fn tagged(&self, trade: Trade, tag: String) -> Trade;

    /// The build, once the test lets the call go.
    fn wait(&self, token: u64) -> u32;

    /// Lets the test stand inside with `token`, then waits until this build retires. The build, or
    /// 0 where that never happened.
    fn wait_until_retiring(&self, token: u64) -> u32;

    /// The generations through which a chain of `depth` further calls goes, plugin → [`Desk`] →
    /// plugin, and back.
    fn nested(&self, depth: u32) -> Vec<u64>;

    /// Panics once the test lets the call go.
    fn panic(&self, token: u64, how: Panic) -> u64;

    /// The text of the fault that a panicking [`Desk`] is for the plugin.
    fn panic_of_desk(&self) -> String;
}

/// What the plugin under test offers besides.
#[cfg(not(any(feature = "changed-signature", feature = "missing-method")))]
#[contract]
pub trait Risk {
    /// May that much be traded, of an account with so much?
    fn allows(&self, quantity: u32, funds: u64) -> bool;
    /// The build that answers.
    fn limit(&self) -> u32;
}

/// The same with one argument less.
#[cfg(feature = "changed-signature")]
#[contract]
#[allow(missing_docs, reason = "as above")]
pub trait Risk {
    fn allows(&self, quantity: u32) -> bool;
    fn limit(&self) -> u32;
}

/// The same with one method less.
#[cfg(feature = "missing-method")]
#[contract]
#[allow(missing_docs, reason = "as above")]
pub trait Risk {
    fn allows(&self, quantity: u32, funds: u64) -> bool;
}

/// A generation's number.
#[cfg(not(feature = "changed-service"))]
pub type Generation = u64;
/// The same, shorter.
#[cfg(feature = "changed-service")]
pub type Generation = u32;

/// What the test provides.
#[contract]
pub trait Desk {
    /// A build starts.
    fn starting(&self, version: u32, generation: Generation) -> Begin;

    /// A build is told that it retires.
    fn retiring(&self, version: u32, generation: u64) -> End;

    /// A build stops.
    fn stopping(&self, version: u32, generation: u64) -> End;

    /// A hook of a build runs.
    fn hook(&self, plugin: &str, version: u32, hook: &str) -> Begin;

    /// Returns when the test lets `token` go.
    fn wait(&self, token: u64);

    /// Calls [`Probe::nested`].
    fn nested(&self, depth: u32) -> Vec<u64>;

    /// Panics.
    fn panic(&self);
}
