//! Versions that go wrong, each in one way. All else they do as version 2 does.

use crate::v2;
use exchange_contracts::{Fees, Order, Quote, Refused};
use midflight_plugin::{Context, Plugin, StartError, plugin};
use std::thread;
use std::time::Duration;

/// Panics on every order of less than one full lot.
#[plugin(implements(Fees), group = "exchange")]
pub struct Panics(v2::FlatFees);

/// Refuses to start.
#[plugin(implements(Fees), group = "exchange")]
pub struct StartFails(v2::FlatFees);

/// Never returns from `start`.
#[plugin(implements(Fees), group = "exchange")]
pub struct StartHangs(v2::FlatFees);

impl Plugin for Panics {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        v2::FlatFees::start(cx).map(Panics)
    }
}

impl Plugin for StartFails {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Err(StartError::new("the table of rates has not been published yet"))
    }
}

impl Plugin for StartHangs {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        loop {
            thread::sleep(Duration::from_secs(3_600)); // as one that waits for a server that is down
        }
    }
}

/// The new rule of [`Panics`]: one tick at least for each full lot. Its author forgot that there
/// may be no full lot at all.
fn with_minimum(order: &Order) -> Result<u64, Refused> {
    const LOT: u64 = 100;
    const MINIMUM_PER_LOT: u64 = 1;
    let fee = v2::fee(order)?;
    let lots = u64::from(order.quantity) / LOT;
    Ok((fee / lots).max(MINIMUM_PER_LOT) * lots + fee % lots)
}

macro_rules! as_v2_but {
    ($plugin:ty, $fee:path) => {
        impl Fees for $plugin {
            fn fee(&self, order: &Order) -> Result<u64, Refused> {
                $fee(order)
            }
            fn quote(&self, symbol: &str) -> Result<Quote, Refused> {
                self.0.desk.quote(symbol, v2::fee)
            }
            fn label(&self) -> String {
                self.0.label()
            }
            fn served_by(&self) -> u64 {
                self.0.served_by()
            }
            fn served_by_through_the_book(&self) -> Option<u64> {
                self.0.served_by_through_the_book()
            }
        }
    };
}
as_v2_but!(Panics, with_minimum);
as_v2_but!(StartFails, v2::fee);
as_v2_but!(StartHangs, v2::fee);

#[cfg(test)]
mod tests {
    use super::with_minimum;
    use crate::{desk::order, v2};

    #[test]
    fn full_lots_cost_what_they_did() {
        for quantity in [100, 101, 250, 99_999, 100_000] {
            let order = order(quantity, 42_953);
            assert_eq!(with_minimum(&order), v2::fee(&order), "{quantity}");
        }
    }

    #[test]
    #[should_panic(expected = "divide by zero")]
    fn less_than_a_lot_panics() {
        let _ = with_minimum(&order(99, 2_000));
    }
}
