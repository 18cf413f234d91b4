//! The order book: the host's state, as a service that plugins call.

use crate::NewOrder;
use exchange_contracts::{Book, Fees, Order, OrderId, Side};
use midflight::Slot;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// Every symbol's bids and offers, and the number of the last order.
#[derive(Default)]
pub struct OrderBook {
    last_id: Mutex<OrderId>,
    symbols: Mutex<HashMap<String, Sides>>,
    fees: OnceLock<Slot<dyn Fees>>,
}

/// Shares by price.
#[derive(Default)]
struct Sides {
    bids: BTreeMap<i64, u64>,
    offers: BTreeMap<i64, u64>,
}

impl OrderBook {
    /// Tells the book whom to ask about fees: the slot exists only once the host does, which has
    /// the book by then.
    pub(crate) fn ask(&self, fees: Slot<dyn Fees>) {
        let _ = self.fees.set(fees);
    }

    /// Gives a new order its number.
    pub fn number(&self, new: &NewOrder) -> Order {
        let mut last_id = self.last_id.lock();
        *last_id += 1;
        Order {
            id: *last_id,
            symbol: new.symbol.as_str().into(),
            side: new.side,
            quantity: new.quantity,
            price_ticks: new.price_ticks,
        }
    }

    /// Trades an order with whom it meets, and leaves the rest standing at its price.
    pub(crate) fn enter(&self, order: &Order) {
        let mut symbols = self.symbols.lock();
        let sides = symbols.entry(order.symbol.as_str().to_owned()).or_default();
        let mut open = u64::from(order.quantity);
        while open > 0 {
            let best = match order.side {
                Side::Buy => {
                    sides.offers.first_entry().filter(|offer| *offer.key() <= order.price_ticks)
                }
                Side::Sell => sides.bids.last_entry().filter(|bid| *bid.key() >= order.price_ticks),
            };
            let Some(mut best) = best else { break };
            let traded = open.min(*best.get());
            open -= traded;
            *best.get_mut() -= traded;
            if *best.get() == 0 {
                best.remove();
            }
        }
        if open > 0 {
            let side = match order.side {
                Side::Buy => &mut sides.bids,
                Side::Sell => &mut sides.offers,
            };
            let depth = side.entry(order.price_ticks).or_default();
            *depth = depth.saturating_add(open);
        }
    }

    fn best(&self, symbol: &str, side: Side) -> Option<(i64, u64)> {
        let symbols = self.symbols.lock();
        let sides = symbols.get(symbol)?;
        let best = match side {
            Side::Buy => sides.bids.last_key_value(),
            Side::Sell => sides.offers.first_key_value(),
        };
        best.map(|(price, depth)| (*price, *depth))
    }
}

impl Book for OrderBook {
    fn best_price(&self, symbol: &str, side: Side) -> Option<i64> {
        self.best(symbol, side).map(|(price, _)| price)
    }

    fn depth(&self, symbol: &str, side: Side) -> u64 {
        self.best(symbol, side).map_or(0, |(_, depth)| depth)
    }

    // An ordinary call of the slot. Made on the thread of a call that is under way, it goes to the
    // release of that call.
    fn fees_served_by(&self) -> Option<u64> {
        self.fees.get()?.served_by().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(book: &OrderBook, side: Side, quantity: u32, price_ticks: i64) {
        let order = NewOrder { symbol: "ABC".into(), side, quantity, price_ticks, settle_us: 0 };
        book.enter(&book.number(&order));
    }

    #[test]
    fn orders_that_meet_trade_at_the_best_price_first() {
        let book = OrderBook::default();
        enter(&book, Side::Sell, 100, 12);
        enter(&book, Side::Sell, 50, 10);
        assert_eq!(
            (book.best_price("ABC", Side::Sell), book.depth("ABC", Side::Sell)),
            (Some(10), 50)
        );
        enter(&book, Side::Buy, 80, 12);
        assert_eq!(
            (book.best_price("ABC", Side::Sell), book.depth("ABC", Side::Sell)),
            (Some(12), 70)
        );
        assert_eq!(book.best_price("ABC", Side::Buy), None);
    }

    #[test]
    fn what_does_not_meet_stands() {
        let book = OrderBook::default();
        enter(&book, Side::Buy, 10, 9);
        enter(&book, Side::Buy, 10, 9);
        enter(&book, Side::Sell, 10, 10);
        assert_eq!(
            (book.best_price("ABC", Side::Buy), book.depth("ABC", Side::Buy)),
            (Some(9), 20)
        );
        assert_eq!(book.best_price("XYZ", Side::Buy), None);
    }

    #[test]
    fn orders_are_numbered_from_one() {
        let book = OrderBook::default();
        let order = NewOrder {
            symbol: "ABC".into(),
            side: Side::Buy,
            quantity: 1,
            price_ticks: 1,
            settle_us: 0,
        };
        assert_eq!([book.number(&order).id, book.number(&order).id], [1, 2]);
    }
}
