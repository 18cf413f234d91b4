midflight_plugin::contract_crate!();
use midflight_plugin::{Callback, contract};
use std::fmt::Debug;

#[contract]
pub trait Session {
    fn send(&self) -> u64;
    fn child(&self) -> Box<dyn Session>;
}

#[contract]
pub trait Gateway {
    fn open(&self) -> Box<dyn Debug>;
    fn count(&self) -> u64;
}

struct NotShared(std::cell::Cell<u64>);

fn opened_by_a_callback(session: Callback<dyn Session>) {
    let _ = session.child();
}

fn not_a_session() -> Callback<dyn Session> {
    Callback::new(NotShared(std::cell::Cell::new(1)))
}

fn main() {}
