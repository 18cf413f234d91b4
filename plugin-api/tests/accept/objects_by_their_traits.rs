midflight_plugin::contract_crate!();
use midflight_plugin::{Callback, Object, contract};

#[contract]
pub trait Session {
    fn send(&self) -> u64;
    fn child(&self) -> Box<dyn Session>;
}

#[contract]
pub trait Gateway {
    fn open(&self) -> Box<dyn Session>;
    fn subscribe(&self, listener: Callback<dyn Session>);
}

struct Shared(u64);
impl Session for Shared {
    fn send(&self) -> u64 {
        self.0
    }
    fn child(&self) -> Box<dyn Session> {
        Box::new(Shared(self.0))
    }
}

fn opened_by_an_object(session: Object<dyn Session>) {
    let _ = session.child();
}

fn a_session() -> Callback<dyn Session> {
    Callback::new(Shared(1))
}

fn main() {
    assert_eq!(a_session().send(), Ok(1));
    let _ = opened_by_an_object;
}
