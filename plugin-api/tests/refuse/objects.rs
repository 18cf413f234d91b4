midflight_plugin::contract_crate!();
use midflight_plugin::{Callback, Object, contract, record};
use std::sync::Arc;

#[contract]
pub trait Session {
    fn send(&self) -> u64;
}

#[contract]
pub trait Gateway {
    fn argument(&self, session: Box<dyn Session>);
    fn lent(&self, session: &dyn Session);
    fn object(&self, session: Object<dyn Session>);
    fn list(&self) -> Vec<Box<dyn Session>>;
    fn pair(&self) -> (u64, Box<dyn Session>);
    fn deep(&self) -> Option<Option<Box<dyn Session>>>;
    fn error(&self) -> Result<u64, Box<dyn Session>>;
    fn shared(&self) -> Arc<dyn Session>;
    fn more(&self) -> Box<dyn Session + Send>;
    fn slice(&self, sessions: &[Callback<dyn Session>]);
    fn lent_callback(&self, session: &Callback<dyn Session>);
}

#[record]
pub struct Subscription {
    pub session: Callback<dyn Session>,
}

#[contract]
pub trait Defaults {
    fn open(&self) -> Box<dyn Session>;
    #[since("1.1")]
    fn count(&self) -> u64 {
        0
    }
}

fn main() {}
