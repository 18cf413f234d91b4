midflight_plugin::contract_crate!();
use midflight_plugin::{Context, Service, StartError, contract};

#[contract]
pub trait Book {
    fn best(&self) -> i64;
}

fn start(cx: &Context<'_>) -> Result<Service<dyn Book>, StartError> {
    cx.service::<dyn Book>()
}

fn main() {
    let _ = start;
}
