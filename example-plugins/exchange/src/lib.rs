//! An exchange whose fees are replaced while orders come in.
//!
//! The order book is the state. It lives here, in the host, and never moves. What an order costs is
//! logic: it lives in a plugin, `flat-fees`, and is replaced by renaming another build of it into a
//! directory. No connection is closed, no order waits and none is charged half by one version and
//! half by the other.
//!
//! ```sh
//! mkdir -p plugins
//! cargo run --release -p exchange -- plugins 127.0.0.1:8080 &
//!
//! cargo build --release -p flat-fees-plugin --features v1
//! cp target/release/libflat_fees_plugin.so plugins/.new && mv plugins/.new plugins/flat-fees.so
//! curl --json '{"symbol":"ABC","side":"sell","quantity":100000,"price_ticks":42950}' 127.0.0.1:8080/orders
//! # {"id":1,"fee":16,"version":"1.0.0",…}: v1 works in 32 bits, and large orders are nearly free
//!
//! cargo build --release -p flat-fees-plugin --features v2
//! cp target/release/libflat_fees_plugin.so plugins/.new && mv plugins/.new plugins/flat-fees.so
//! curl --json '{"symbol":"ABC","side":"sell","quantity":100000,"price_ticks":42950}' 127.0.0.1:8080/orders
//! # {"id":2,"fee":2147500,"version":"2.0.0",…}
//! ```
//!
//! Four things are worth a look:
//! - [`Exchange::start`]: the host is given the book, and a handle on the fees is taken before
//!   there is any plugin.
//! - [`Exchange::place`]: one request, several calls, one release through all of them.
//! - [`OrderBook`]: a service of the host that plugins call, and that calls them back.
//! - [`router`](Exchange::router): what becomes of a plugin's own *no* (422) and of its faults
//!   (503).

mod book;
mod http;

pub use book::OrderBook;
pub use http::declined;

use exchange_contracts::{Book, Fees, Order, OrderId, Quote, Refused, Side};
use midflight::{CallError, Group, Host, HostBuilder, Slot};

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// A running exchange. Cheap to clone: all clones are the same one.
#[derive(Clone)]
pub struct Exchange {
    host: Host,
    group: Group,
    fees: Slot<dyn Fees>,
    book: Arc<OrderBook>,
}

impl Exchange {
    /// Opens the exchange on a host that says where its plugins come from. Without a plugin every
    /// order is a fault, `not_loaded`.
    pub fn start(host: HostBuilder) -> anyhow::Result<Self> {
        let book = Arc::new(OrderBook::default());
        let host = host
            .provide::<dyn Book, _>(book.clone()) // plugins find it in their `Context`
            .contract::<dyn Fees>() // a plugin with another idea of `Fees` is refused from the first on
            .start()?;
        let fees = host.slot::<dyn Fees>("flat-fees")?;
        book.ask(fees.clone());
        Ok(Exchange { group: host.group("exchange"), host, fees, book })
    }

    /// Takes an order: what it costs, and its place in the book.
    ///
    /// All calls inside of the request go to one release, whatever is published meanwhile, and so
    /// do those that the plugin makes through the book. The answer says who gave it at each step,
    /// so that a client can check.
    pub fn place(&self, new: NewOrder) -> Result<Receipt, CallError<Refused>> {
        let order = self.book.number(&new);
        self.group.request(|r| {
            let fees = r.get(&self.fees);
            let before = fees.served_by()?;
            let fee = fees.fee(&order)?;
            self.settle(&order, new.settle_us);
            Ok(Receipt {
                id: order.id,
                fee,
                version: fees.label()?,
                generation: r.generation(&self.fees),
                served_by: [
                    Some(before),
                    Some(fees.served_by()?),
                    fees.served_by_through_the_book()?,
                ],
                release: r.release_number(),
                release_after: self.group.release_number(),
            })
        })
    }

    /// The host's own work on an order, in the middle of the request.
    pub fn settle(&self, order: &Order, settle_us: u32) {
        thread::sleep(Duration::from_micros(settle_us.into()));
        self.book.enter(order);
    }

    /// What a share would cost: a single call needs no request around it.
    pub fn quote(&self, symbol: &str) -> Result<Quote, CallError<Refused>> {
        self.fees.quote(symbol)
    }

    /// The host: updates by hand, status, events, shutdown.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The group that is switched as one.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The handle on the plugin's contract.
    pub fn fees(&self) -> &Slot<dyn Fees> {
        &self.fees
    }

    /// The order book.
    pub fn book(&self) -> &OrderBook {
        &self.book
    }
}

/// An order as a client sends it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// What is traded.
    pub symbol: String,
    /// `buy` or `sell`.
    #[serde(deserialize_with = "http::side")]
    pub side: Side,
    /// How many shares.
    pub quantity: u32,
    /// The limit price of one share.
    pub price_ticks: i64,
    /// How long the exchange's own work on it takes, in microseconds: stands for a credit check
    /// elsewhere.
    #[serde(default)]
    pub settle_us: u32,
}

/// What a client gets for an order.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// The order's number.
    pub id: OrderId,
    /// What it costs, in ticks.
    pub fee: u64,
    /// The version that said so.
    pub version: String,
    /// The generation that the host bound the request to.
    pub generation: Option<u64>,
    /// The generation in the plugin's own words: before the exchange's work, after it, and through
    /// the book.
    pub served_by: [Option<u64>; 3],
    /// The release that the request ran on.
    pub release: u64,
    /// The release that was current when it ended: another one, if an update came in between.
    pub release_after: u64,
}
