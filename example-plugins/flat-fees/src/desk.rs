//! What all versions have in common: who they are and whom they can ask.

use exchange_contracts::{Book, Order, Quote, Refused, Side};
use midflight_plugin::{Context, Service, StartError};

/// A version's identity, and its handle on the host's book.
pub(crate) struct Desk {
    pub(crate) generation: u64,
    pub(crate) version: String,
    book: Service<dyn Book>,
}

impl Desk {
    pub(crate) fn open(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(Desk {
            generation: cx.generation(),
            version: cx.version().to_owned(),
            book: cx.service::<dyn Book>()?,
        })
    }

    /// A book that can't be reached has no offers: a fault of the host's service is a value here,
    /// too.
    pub(crate) fn quote(
        &self,
        symbol: &str,
        fee: impl FnOnce(&Order) -> Result<u64, Refused>,
    ) -> Result<Quote, Refused> {
        let price_ticks = self.book.best_price(symbol, Side::Sell).ok().flatten();
        let price_ticks = price_ticks.ok_or_else(|| Refused::NoOffers(symbol.into()))?;
        let one = Order { id: 0, symbol: symbol.into(), side: Side::Buy, quantity: 1, price_ticks };
        Ok(Quote {
            symbol: symbol.into(),
            price_ticks,
            depth: self.book.depth(symbol, Side::Sell).unwrap_or(0),
            fee_ticks: fee(&one)?,
        })
    }

    pub(crate) fn served_by_through_the_book(&self) -> Option<u64> {
        self.book.fees_served_by().ok().flatten()
    }
}

/// What every version asks of an order before it looks at the money.
pub(crate) fn sound(order: &Order) -> Result<(), Refused> {
    if order.quantity == 0 {
        return Err(Refused::NothingToTrade);
    }
    if order.price_ticks < 1 {
        return Err(Refused::PriceTooLow);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) fn order(quantity: u32, price_ticks: i64) -> Order {
    Order { id: 1, symbol: "ABC".into(), side: Side::Buy, quantity, price_ticks }
}
