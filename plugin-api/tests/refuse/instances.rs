midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Plugin, Service, StartError, contract, plugin};
use std::cell::Cell;
use std::rc::Rc;

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

pub struct OnOneThread(Cell<u64>);
impl Fees for OnOneThread {
    fn fee(&self) -> u64 {
        self.0.get()
    }
}

pub struct Borrows<'a>(&'a u64);
impl Fees for Borrows<'_> {
    fn fee(&self) -> u64 {
        *self.0
    }
}

#[plugin(implements(Fees))]
pub struct Counted(Rc<u64>);
impl Plugin for Counted {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Counted(Rc::new(1)))
    }
}

pub struct KeepsItsContext(&'static Context<'static>);
impl Plugin for KeepsItsContext {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(KeepsItsContext(cx))
    }
}

fn made_up() -> Service<dyn Fees> {
    Service { proxy: todo!(), gate: todo!() }
}

fn main() {}
