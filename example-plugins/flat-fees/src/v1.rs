//! Version 1, with a bug that its customers can see: what is traded is worked out in 32 bits, so
//! that large orders are nearly free.

use crate::RATE_BASIS_POINTS;
use crate::desk::{Desk, sound};
use exchange_contracts::{Fees, Order, Quote, Refused};
use midflight_plugin::{Context, Plugin, StartError, plugin};

/// The fees as they went into production.
#[plugin(implements(Fees), group = "exchange")]
pub struct FlatFees {
    desk: Desk,
}

impl Plugin for FlatFees {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(FlatFees { desk: Desk::open(cx)? })
    }
}

impl Fees for FlatFees {
    fn fee(&self, order: &Order) -> Result<u64, Refused> {
        fee(order)
    }

    fn quote(&self, symbol: &str) -> Result<Quote, Refused> {
        self.desk.quote(symbol, fee)
    }

    fn label(&self) -> String {
        self.desk.version.clone()
    }

    fn served_by(&self) -> u64 {
        self.desk.generation
    }

    fn served_by_through_the_book(&self) -> Option<u64> {
        self.desk.served_by_through_the_book()
    }
}

fn fee(order: &Order) -> Result<u64, Refused> {
    sound(order)?;
    // The bug. Release builds wrap where `*` overflows; said openly, so that debug builds show the
    // same wrong fee.
    let traded = order.quantity.wrapping_mul(order.price_ticks as u32);
    Ok(u64::from(traded) * RATE_BASIS_POINTS / 10_000)
}

#[cfg(test)]
mod tests {
    use super::fee;
    use crate::desk::order;
    use exchange_contracts::Refused;

    #[test]
    fn small_orders_are_right() {
        assert_eq!(fee(&order(100, 2_000)), Ok(100));
    }

    #[test]
    fn large_orders_are_nearly_free() {
        // 100,000 × 42,950 = 2³² + 32,704
        assert_eq!(fee(&order(100_000, 42_950)), Ok(16));
    }

    #[test]
    fn unsound_orders_are_refused() {
        assert_eq!(fee(&order(0, 2_000)), Err(Refused::NothingToTrade));
        assert_eq!(fee(&order(1, 0)), Err(Refused::PriceTooLow));
    }
}
