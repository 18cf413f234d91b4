//! The contracts of the example's exchange: all that its service and its plugins know of each
//! other.
//!
//! [`Fees`] is what a plugin offers, [`Book`] what the host offers to plugins. The records travel by reference at no cost;
//! whatever comes back is rebuilt as the caller's own, so nothing here has a lifetime or can
//! dangle.

midflight_plugin::contract_crate!();

use midflight_plugin::{Text, contract, record};
use std::fmt;

/// An order's number.
#[cfg(not(feature = "changed-record"))]
pub type OrderId = u64;
/// An order's number as one plugin alone has it. Every field stays where it was, so nothing but the
/// layout check can tell.
#[cfg(feature = "changed-record")]
pub type OrderId = u32;

/// An order, as the exchange has accepted it.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Given by the exchange, ascending.
    pub id: OrderId,
    /// What is traded.
    pub symbol: Text,
    /// Which way.
    pub side: Side,
    /// How much of it.
    pub quantity: u32,
    /// The limit price of one share.
    pub price_ticks: i64,
}

/// Which way an order goes, or on which side of the book it stands.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Bids.
    Buy,
    /// Offers.
    Sell,
}

/// What it would cost to buy one share now.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What is traded.
    pub symbol: Text,
    /// The lowest price that is offered.
    pub price_ticks: i64,
    /// How many shares are offered at that price.
    pub depth: u64,
    /// The fee for one share at that price.
    pub fee_ticks: u64,
}

/// Why the fees' own rules turned an order or a question down. It is an answer, not a fault.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// An order of no shares.
    NothingToTrade,
    /// A limit price below one tick.
    PriceTooLow,
    /// A fee beyond what can be booked.
    TooLarge,
    /// Nobody offers this symbol.
    NoOffers(Text),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NothingToTrade => f.write_str("an order needs a quantity"),
            Refused::PriceTooLow => f.write_str("the price must be one tick or more"),
            Refused::TooLarge => f.write_str("the fee is larger than can be booked"),
            Refused::NoOffers(symbol) => write!(f, "nobody offers {symbol}"),
        }
    }
}

/// What a plugin for fees can do.
#[contract]
pub trait Fees {
    /// The fee for `order`.
    fn fee(&self, order: &Order) -> Result<u64, Refused>;

    /// What buying one share of `symbol` would cost now: asks the host's [`Book`].
    fn quote(&self, symbol: &str) -> Result<Quote, Refused>;

    /// The version that answers, for receipts.
    fn label(&self) -> String;

    /// The generation that answers, as the plugin was told when it was started.
    fn served_by(&self) -> u64;

    /// The generation that answers when this plugin asks the host's [`Book`], and the book asks the
    /// fees in turn.
    ///
    /// However many updates happen meanwhile, it is the one that [`served_by`](Fees::served_by)
    /// names.
    fn served_by_through_the_book(&self) -> Option<u64>;
}

/// What the host's order book can do for plugins.
#[contract]
pub trait Book {
    /// The best price on one side of a symbol's book.
    fn best_price(&self, symbol: &str, side: Side) -> Option<i64>;

    /// The shares that stand at that price.
    fn depth(&self, symbol: &str, side: Side) -> u64;

    /// Asks the fees which generation they are, from within whatever call is under way.
    fn fees_served_by(&self) -> Option<u64>;
}
