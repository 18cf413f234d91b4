//! What only describes a plugin is safe.
#![forbid(unsafe_code)]
use midflight_plugin::rt::{self, Entry, Export, Linked};
use midflight_plugin::{Context, Plugin, StartError, contract, plugin};

#[contract]
pub trait Tick {
    fn tick(&self) -> u64;
}

#[plugin(implements(Tick))]
pub struct Ticks;
impl Plugin for Ticks {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Ticks)
    }
}
impl Tick for Ticks {
    fn tick(&self) -> u64 {
        1
    }
}

struct Here;
impl Export for Here {
    type Plugin = Ticks;
    const NAME: &'static str = "ticks";
    const VERSION: &'static str = "1.0.0";
    const PANIC: &'static str = "unwind";
    const COMMIT: &'static str = "";
    fn place() -> &'static rt::Place {
        static PLACE: rt::Place = rt::Place::new();
        &PLACE
    }
}

fn main() {
    assert_eq!(Entry::of::<Here>().name.as_str(), "ticks");
    let _ = Linked::of::<Ticks>().start;
}
