//! [`Worker`] as a plugin; the feature `v2` is its next version. With the feature `numbered` it has
//! a name with room for a number, which `growth` writes over, so that one build makes a thousand
//! plugins.

use bench_contracts::{Quote, Trade, Work, Worker};
use midflight_plugin::{Context, Plugin, StartError, plugin};

cfg_select! {
    all(feature = "numbered", feature = "v2") => {
        midflight_plugin::export!(BenchPlugin, name = "bench-number-0000", version = "2.0.0");
    }
    feature = "numbered" => {
        midflight_plugin::export!(BenchPlugin, name = "bench-number-0000", version = "1.0.0");
    }
    feature = "v2" => { midflight_plugin::export!(BenchPlugin, name = "bench", version = "2.0.0"); }
    _ => { midflight_plugin::export!(BenchPlugin, name = "bench", version = "1.0.0"); }
}

/// The instance.
#[plugin(implements(Work))]
pub struct BenchPlugin {
    worker: Worker,
}

impl Plugin for BenchPlugin {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        let version = if cfg!(feature = "v2") { 2 } else { 1 };
        Ok(BenchPlugin { worker: Worker::new(version) })
    }
}

// `add` is written out, as every lane's library writes it out: what it costs must be the call.
impl Work for BenchPlugin {
    fn add(&self, a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn version(&self) -> u64 {
        self.worker.version()
    }

    fn fee(&self, trade: &Trade) -> u64 {
        u64::from(trade.quantity).wrapping_mul(trade.price_ticks.cast_unsigned())
    }

    fn text_in(&self, text: &str) -> u64 {
        text.len() as u64
    }

    fn list_in(&self, values: &[u64]) -> u64 {
        values.len() as u64
    }

    fn text_out(&self, number: u64) -> String {
        self.worker.text_out(number)
    }

    fn list_out(&self, length: u64) -> Vec<u64> {
        self.worker.list_out(length)
    }

    fn record_out(&self, number: u64) -> Quote {
        self.worker.record_out(number)
    }

    fn steps(&self, count: u64) -> u64 {
        self.worker.steps(count)
    }

    fn steps_told(&self, count: u64) -> u64 {
        self.worker.steps_told(count)
    }
}
