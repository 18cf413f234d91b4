//! Version 2: the same fees, worked out in numbers that are wide enough.

use crate::RATE_BASIS_POINTS;
use crate::desk::{Desk, sound};
use exchange_contracts::{Fees, Order, Quote, Refused};
use midflight_plugin::{Context, Plugin, StartError, plugin};

/// The fees with the fix.
#[plugin(implements(Fees), group = "exchange")]
pub struct FlatFees {
    pub(crate) desk: Desk,
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

pub(crate) fn fee(order: &Order) -> Result<u64, Refused> {
    sound(order)?;
    let price = u128::try_from(order.price_ticks).map_err(|_| Refused::PriceTooLow)?;
    let traded = u128::from(order.quantity) * price;
    u64::try_from(traded * u128::from(RATE_BASIS_POINTS) / 10_000).map_err(|_| Refused::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::fee;
    use crate::desk::order;
    use exchange_contracts::Refused;

    #[test]
    fn small_orders_cost_what_they_did() {
        assert_eq!(fee(&order(100, 2_000)), Ok(100));
    }

    #[test]
    fn large_orders_pay_in_full() {
        assert_eq!(fee(&order(100_000, 42_950)), Ok(2_147_500));
    }

    #[test]
    fn what_can_not_be_booked_is_refused() {
        assert_eq!(fee(&order(u32::MAX, i64::MAX)), Err(Refused::TooLarge));
        assert_eq!(fee(&order(0, 2_000)), Err(Refused::NothingToTrade));
        assert_eq!(fee(&order(1, -5)), Err(Refused::PriceTooLow));
    }
}
