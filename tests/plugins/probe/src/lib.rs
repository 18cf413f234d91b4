//! The plugin under test: what it does, for the library that exports it and for the tests that link
//! it in.

use midflight_plugin::{Context, Plugin, Service, StartError, plugin};
#[cfg(not(feature = "missing-contract"))]
use probe_contracts::Risk;
use probe_contracts::{Begin, Desk, End, Panic, Probe, Refused, Side, Trade};
use std::panic::{panic_any, resume_unwind};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

#[cfg(feature = "alone")]
mod alone;
mod deed;

#[cfg(feature = "alone")]
pub use alone::Alone;
pub use deed::{deed, journal, told};

const VERSION: u32 = cfg_select! {
    feature = "v2" => { 2 }
    feature = "v3" => { 3 }
    _ => { 1 }
};

/// The instance.
#[cfg_attr(
    not(any(feature = "missing-contract", feature = "grouped")),
    plugin(implements(Probe, Risk))
)]
#[cfg_attr(feature = "grouped", plugin(implements(Probe, Risk), group = "billing"))]
#[cfg_attr(feature = "missing-contract", plugin(implements(Probe)))]
pub struct TheProbe {
    name: String,
    generation: u64,
    /// `None` in a preflight alone.
    desk: Option<Service<dyn Desk>>,
    config: Config,
    retired: Mutex<bool>,
    retires: Condvar,
}

/// How an operator may change it.
#[derive(serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Every fee is multiplied by it.
    factor: u64,
    /// The warm-up fails.
    cold: bool,
    /// For so long a fee is thought over.
    slow_micros: u64,
    /// It starts without a desk as well.
    desk_optional: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { factor: 1, cold: false, slow_micros: 0, desk_optional: false }
    }
}

impl Plugin for TheProbe {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        let (generation, config) = (cx.generation(), cx.config::<Config>()?);
        let desk = match cx.service::<dyn Desk>() {
            Err(_) if config.desk_optional => None,
            desk => Some(desk?),
        };
        let begin = match &desk {
            Some(desk) => desk.starting(VERSION, generation as _)?,
            None => Begin::Go,
        };
        match begin {
            Begin::Go => {
                let (name, retired, retires) =
                    (cx.name().to_owned(), Mutex::default(), Condvar::new());
                Ok(TheProbe { name, generation, desk, config, retired, retires })
            }
            Begin::Fail => Err(StartError::new("the desk is closed")),
            Begin::Panic(how) => panic(how),
        }
    }

    fn warm_up(&self) -> Result<(), StartError> {
        match self.config.cold {
            true => Err(StartError::new("it is too cold")),
            false => Ok(()),
        }
    }

    fn before_switch(&self) -> Result<(), StartError> {
        self.hook("before_switch")
    }

    fn after_switch(&self) -> Result<(), StartError> {
        self.hook("after_switch")
    }

    fn before_return(&self) {
        let _ = self.hook("before_return");
    }

    fn after_return(&self) {
        let _ = self.hook("after_return");
    }

    fn health(&self) -> Result<(), StartError> {
        self.hook("health")
    }

    fn retiring(&self) {
        *self.retired.lock().expect("no panic") = true;
        self.retires.notify_all();
        if let Ok(End::Panic(how)) = self.desk().retiring(VERSION, self.generation) {
            panic(how);
        }
    }
}

impl TheProbe {
    fn desk(&self) -> &Service<dyn Desk> {
        self.desk.as_ref().expect("a service has a desk")
    }

    fn hook(&self, hook: &str) -> Result<(), StartError> {
        match self.desk().hook(&self.name, VERSION, hook)? {
            Begin::Go => Ok(()),
            Begin::Fail => Err(StartError::new(format!("the desk says no to {hook}"))),
            Begin::Panic(how) => panic(how),
        }
    }
}

impl Drop for TheProbe {
    fn drop(&mut self) {
        let Some(desk) = &self.desk else { return };
        if let Ok(End::Panic(how)) = desk.stopping(VERSION, self.generation) {
            panic(how);
        }
    }
}

impl Probe for TheProbe {
    fn version(&self) -> u32 {
        VERSION
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn fee(&self, trade: &Trade) -> u64 {
        if self.config.slow_micros > 0 {
            std::thread::sleep(Duration::from_micros(self.config.slow_micros));
        }
        u64::from(VERSION) * self.config.factor * trade.quantity as u64
    }

    fn total(&self, trades: &[Trade]) -> u64 {
        trades.iter().map(|trade| self.fee(trade)).sum()
    }

    fn names(&self, prefix: &str, numbers: &[u64]) -> Vec<String> {
        numbers.iter().map(|number| format!("{prefix}{number}")).collect()
    }

    fn quote(&self, symbol: &str) -> Result<Trade, Refused> {
        match symbol {
            "" => Err(Refused::Closed),
            "ALL" => Err(Refused::TooLarge { limit: VERSION.into() }),
            unknown if unknown.contains('?') => Err(Refused::Unknown(unknown.into())),
            known => Ok(Trade {
                symbol: known.into(),
                side: Side::Sell,
                quantity: VERSION as _,
                price_ticks: -7,
                tags: ["a".into(), "tag".into()].into_iter().collect(),
                limit: Some(i64::from(VERSION)).into(),
            }),
        }
    }

    fn maybe(&self, number: u64) -> Option<String> {
        number.is_multiple_of(2).then(|| format!("{number} is even for {VERSION}"))
    }

    fn tagged(&self, mut trade: Trade, tag: String) -> Trade {
        trade.tags.push(tag.into());
        trade
    }

    fn wait(&self, token: u64) -> u32 {
        self.desk().wait(token).expect("the desk lets it go");
        VERSION
    }

    fn wait_until_retiring(&self, token: u64) -> u32 {
        self.desk().wait(token).expect("the desk lets it go");
        let retired = self.retired.lock().expect("no panic");
        let waited =
            self.retires.wait_timeout_while(retired, Duration::from_secs(60), |retired| !*retired);
        if *waited.expect("no panic").0 { VERSION } else { 0 }
    }

    fn nested(&self, depth: u32) -> Vec<u64> {
        let mut chain = vec![self.generation];
        if let Some(deeper) = depth.checked_sub(1) {
            chain.extend(self.desk().nested(deeper).expect("the desk answers"));
        }
        chain
    }

    fn panic(&self, token: u64, how: Panic) -> u64 {
        self.desk().wait(token).expect("the desk lets it go");
        panic(how)
    }

    fn panic_of_desk(&self) -> String {
        match self.desk().panic() {
            Ok(()) => "no panic".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }
}

#[cfg(not(feature = "missing-contract"))]
impl Risk for TheProbe {
    fn allows(&self, quantity: u32, #[cfg(not(feature = "changed-signature"))] funds: u64) -> bool {
        #[cfg(feature = "changed-signature")]
        let funds = 0;
        u64::from(quantity) <= funds
    }

    #[cfg(not(feature = "missing-method"))]
    fn limit(&self) -> u32 {
        VERSION
    }
}

fn panic(how: Panic) -> ! {
    match how {
        Panic::Text => panic!("a plain panic"),
        Panic::Formatted => panic!("a panic of build {VERSION}"),
        Panic::Number => panic_any(VERSION),
        Panic::DropPanics => panic_any(Mine { more: 1 }),
        Panic::DropPanicsAgain => panic_any(Mine { more: 2 }),
        Panic::Resumed => resume_unwind(Box::new("a resumed panic")),
    }
}

/// A mine under whoever clears up: dropping it panics, with `more` of its kind to come.
struct Mine {
    more: u32,
}

impl Drop for Mine {
    fn drop(&mut self) {
        if let Some(more) = self.more.checked_sub(1) {
            panic_any(Mine { more });
        }
    }
}
