midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Plugin, Service, StartError, contract, plugin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[contract]
pub trait Fees {
    fn fee(&self) -> u64;
}

pub struct OnManyThreads(AtomicU64);
impl Fees for OnManyThreads {
    fn fee(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct Owns(u64);
impl Fees for Owns {
    fn fee(&self) -> u64 {
        self.0
    }
}

#[plugin(implements(Fees))]
pub struct Counted(Arc<u64>);
impl Fees for Counted {
    fn fee(&self) -> u64 {
        *self.0
    }
}
impl Plugin for Counted {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Counted(Arc::new(1)))
    }
}

pub struct KeepsItsService(Service<dyn Fees>);
impl Plugin for KeepsItsService {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        Ok(KeepsItsService(cx.service()?))
    }
}

fn main() {}
