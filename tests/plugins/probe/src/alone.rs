//! A plugin that needs nothing of its host, so that it can be started where there is none.

use crate::{VERSION, deed, told};
use midflight_plugin::{Context, Plugin, StartError, plugin};
use probe_contracts::Risk;

thread_local! {
    static CRASHES: Crashes = const { Crashes };
}

/// What crashes when the thread ends that has touched it.
struct Crashes;

impl Drop for Crashes {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// The instance.
#[cfg_attr(feature = "preflight-start", plugin(implements(Risk), preflight_start))]
#[cfg_attr(not(feature = "preflight-start"), plugin(implements(Risk)))]
pub struct Alone;

impl Plugin for Alone {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        if told("local") == "crash" {
            CRASHES.with(|_| ());
        }
        match deed("start").as_str() {
            "crash" => std::process::abort(),
            "fail" => Err(StartError::new("it was told to")),
            "panic" => panic!("it was told to"),
            _ => Ok(Alone),
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        deed("stop");
    }
}

impl Risk for Alone {
    fn allows(&self, quantity: u32, funds: u64) -> bool {
        u64::from(quantity) <= funds
    }

    fn limit(&self) -> u32 {
        VERSION
    }
}
