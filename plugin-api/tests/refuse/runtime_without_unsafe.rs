//! What acts in the loader's or in the host's place needs `unsafe`.
#![forbid(unsafe_code)]
use midflight_plugin::rt::{self, Contract, Entry, Export, HostTable, Linked};
use midflight_plugin::{Context, Plugin, StartError, contract, plugin};
use std::sync::atomic::Ordering::SeqCst;

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

fn frees_all() {
    Entry::of::<Here>().closing.store(true, SeqCst);
    Entry::of::<Here>().close();
    rt::last();
}

fn plays_the_host(table: &HostTable) {
    let _ = (Linked::of::<Ticks>().start)(table, "ticks", "");
}

fn says_what_a_table_is() {
    struct Made(u64);
    impl rt::described::Described for Made {
        const MONO: &'static rt::described::Mono = <dyn Tick as Contract>::Functions::MONO;
        const SHARED: &'static rt::described::Shared = <dyn Tick as Contract>::Functions::SHARED;
        const COUNT: u32 = 1;
    }
}

fn main() {}
