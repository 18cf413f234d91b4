midflight_plugin::contract_crate!();
use midflight_plugin::{Callback, contract};

#[contract]
pub trait Session {
    fn send(&self) -> u64;
    #[since("1.1")]
    fn count(&self) -> u64 {
        self.send()
    }
}

#[contract]
pub trait Gateway {
    fn argument(&self, session: Callback<dyn Session>);
    fn list(&self) -> Vec<Callback<dyn Session>>;
    fn pair(&self) -> (u64, Callback<dyn Session>);
    fn alone(&self) -> Box<dyn Session>;
    fn optional(&self) -> Option<Box<dyn Session>>;
    fn error(&self) -> Result<Box<dyn Session>, u64>;
    fn both(&self) -> std::result::Result<Option<Box<dyn Session>>, u64>;
    #[since("1.1")]
    fn later(&self) -> Box<dyn Session>;
}

fn main() {}
