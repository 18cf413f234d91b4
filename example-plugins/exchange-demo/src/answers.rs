//! The clients' own idea of what is right: orders, and what each version has to answer to them.
//!
//! None of it is taken from the plugins: a checker that computes with the code it checks agrees
//! with every bug.

use serde::{Deserialize, Serialize};

pub(crate) const PLUGIN: &str = "flat-fees";
pub(crate) const V1: &str = "1.0.0";
pub(crate) const V2: &str = "2.0.0";
pub(crate) const PANICS: &str = "2.1.0";
pub(crate) const START_HANGS: &str = "2.3.0";

/// An order, as it goes over the wire.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Order {
    symbol: &'static str,
    side: &'static str,
    quantity: u32,
    price_ticks: i64,
    settle_us: u32,
}

impl Order {
    /// The fee that a version has to ask for; `None` where it has to answer something else, or is
    /// no version that may serve.
    fn fee(&self, version: &str) -> Option<u64> {
        let traded = u64::from(self.quantity) * self.price_ticks.unsigned_abs();
        let charged = match version {
            V1 => traded % (1 << 32),
            V2 => traded,
            PANICS if self.quantity >= 100 => traded,
            _ => return None,
        };
        (self.quantity > 0).then_some(charged * 5 / 10_000)
    }
}

/// An endless mix of orders: small, large (on which the versions differ), below one lot (on which
/// one version panics), and now and then one that every version refuses. The same seed gives the
/// same orders.
pub(crate) struct Orders {
    state: u64,
    settle_us: u32,
}

impl Orders {
    pub(crate) fn new(seed: u64, settle_us: u32) -> Self {
        Orders { state: seed, settle_us }
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let n = self.draw();
        let part = (n >> 32) as u32;
        let quantity = match n % 64 {
            0 => 0,
            1..=7 => 1 + part % 99,
            8..=31 => 100_000 + part % 900_000,
            _ => 100 + part % 900,
        };
        Some(Order {
            symbol: ["ABC", "DEF", "GHI", "JKL"][(n >> 8) as usize % 4],
            side: if n & (1 << 10) == 0 { "buy" } else { "sell" },
            quantity,
            price_ticks: 42_000 + (n >> 16) as i64 % 1_000,
            settle_us: self.settle_us,
        })
    }
}

/// What a client makes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// What that version has to answer; whether a release was published while the service worked on
    /// it.
    Right { version: String, spanned: bool },
    /// Refused, as every version has to.
    Refused,
    /// Answered by more than one generation.
    Mixed(String),
    /// A fault that names the version that panics, on an order that it panics on.
    Fault,
    /// Anything else.
    Wrong(String),
}

/// Judges an answer to `order`, where generation `floor` was seen active before the order was sent.
pub(crate) fn judge(order: &Order, status: u16, body: &[u8], floor: u64) -> Judgement {
    match status {
        200 => match serde_json::from_slice(body) {
            Ok(receipt) => judge_receipt(order, receipt, floor),
            Err(error) => Judgement::Wrong(format!(
                "an answer that can't be read ({error}): {}",
                excerpt(body)
            )),
        },
        422 if order.quantity == 0 && body.starts_with(br#"{"refused":"#) => Judgement::Refused,
        503 => match serde_json::from_slice::<Fault>(body) {
            Ok(fault) if fault.is_the_planned_one(order) => Judgement::Fault,
            _ => Judgement::Wrong(format!("an unexplained fault: {}", excerpt(body))),
        },
        _ => Judgement::Wrong(format!("status {status} to {order:?}: {}", excerpt(body))),
    }
}

fn judge_receipt(order: &Order, receipt: Receipt, floor: u64) -> Judgement {
    let Receipt { fee, version, generation, served_by, release, release_after } = receipt;
    if served_by.iter().any(|witness| witness.is_none() || *witness != generation) {
        return Judgement::Mixed(format!(
            "bound to generation {generation:?}, answered by {served_by:?}"
        ));
    }
    if generation < Some(floor) {
        return Judgement::Wrong(format!(
            "stale: generation {generation:?} answered, {floor} was active before"
        ));
    }
    let due = order.fee(&version);
    if due != Some(fee) {
        return Judgement::Wrong(format!(
            "{version} asks for {fee} instead of {due:?} for {order:?}"
        ));
    }
    Judgement::Right { version, spanned: release != release_after }
}

#[derive(Deserialize)]
struct Receipt {
    fee: u64,
    version: String,
    generation: Option<u64>,
    served_by: [Option<u64>; 3],
    release: u64,
    release_after: u64,
}

#[derive(Deserialize)]
struct Fault {
    fault: String,
    plugin: Option<String>,
    message: String,
}

impl Fault {
    fn is_the_planned_one(&self, order: &Order) -> bool {
        (1..100).contains(&order.quantity)
            && self.fault == "panicked"
            && self.plugin.as_deref() == Some(PLUGIN)
            && self.message.contains(PLUGIN)
            && self.message.contains(PANICS)
    }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(quantity: u32, price_ticks: i64) -> Order {
        Order { symbol: "ABC", side: "buy", quantity, price_ticks, settle_us: 0 }
    }

    fn receipt(fee: u64, version: &str, served_by: [u64; 3], releases: [u64; 2]) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "id": 7, "fee": fee, "version": version, "generation": served_by[0], "served_by": served_by,
            "release": releases[0], "release_after": releases[1],
        }))
        .unwrap()
    }

    fn right(version: &str, spanned: bool) -> Judgement {
        Judgement::Right { version: version.into(), spanned }
    }

    #[test]
    fn each_version_has_its_own_fee() {
        let large = order(100_000, 42_950);
        assert_eq!(large.fee(V1), Some(16));
        assert_eq!(large.fee(V2), Some(2_147_500));
        assert_eq!(large.fee(PANICS), Some(2_147_500));
        assert_eq!(large.fee(START_HANGS), None);
        assert_eq!(order(99, 42_950).fee(PANICS), None);
        assert_eq!(order(0, 42_950).fee(V2), None);
    }

    #[test]
    fn right_answers_are_right() {
        let large = order(100_000, 42_950);
        assert_eq!(judge(&large, 200, &receipt(16, V1, [3, 3, 3], [4, 4]), 3), right(V1, false));
        assert_eq!(
            judge(&large, 200, &receipt(2_147_500, V2, [4, 4, 4], [5, 6]), 3),
            right(V2, true)
        );
        assert_eq!(
            judge(&order(0, 1), 422, br#"{"refused":"an order needs a quantity"}"#, 3),
            Judgement::Refused
        );
    }

    #[test]
    fn another_version_s_fee_is_wrong() {
        let large = order(100_000, 42_950);
        assert!(matches!(
            judge(&large, 200, &receipt(16, V2, [3, 3, 3], [4, 4]), 3),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn disagreeing_witnesses_are_mixed() {
        let large = order(100_000, 42_950);
        for served_by in [[3, 4, 3], [3, 3, 4], [4, 3, 3]] {
            let body = receipt(16, V1, served_by, [4, 4]);
            assert!(matches!(judge(&large, 200, &body, 3), Judgement::Mixed(_)), "{served_by:?}");
        }
    }

    #[test]
    fn older_than_what_was_active_is_wrong() {
        let large = order(100_000, 42_950);
        assert!(matches!(
            judge(&large, 200, &receipt(16, V1, [3, 3, 3], [4, 4]), 4),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn only_the_planned_fault_is_explained() {
        let fault = |plugin: &str, version: &str| {
            let message = format!(
                "plugin `{plugin}` {version} (generation 9) panicked at src/bad.rs:1:1: divide by zero"
            );
            serde_json::to_vec(
                &serde_json::json!({ "fault": "panicked", "plugin": plugin, "message": message }),
            )
            .unwrap()
        };
        assert_eq!(judge(&order(99, 1), 503, &fault(PLUGIN, PANICS), 3), Judgement::Fault);
        for (order, body) in [
            (order(100, 1), fault(PLUGIN, PANICS)),
            (order(99, 1), fault(PLUGIN, V2)),
            (order(99, 1), fault("risk", PANICS)),
            (order(99, 1), b"".to_vec()),
        ] {
            assert!(matches!(judge(&order, 503, &body, 3), Judgement::Wrong(_)));
        }
    }

    #[test]
    fn the_mix_holds_every_kind() {
        let orders: Vec<_> = Orders::new(1, 0).take(10_000).collect();
        let share = |of: &dyn Fn(&Order) -> bool| orders.iter().filter(|order| of(order)).count();
        assert!(share(&|o| o.quantity == 0) > 50);
        assert!(share(&|o| (1..100).contains(&o.quantity)) > 500);
        assert!(share(&|o| o.fee(V1) != o.fee(V2)) > 2_000);
        assert!(share(&|o| o.quantity >= 100 && o.fee(V1) == o.fee(V2)) > 2_000);
    }
}
