midflight_plugin::contract_crate!();
use midflight_plugin::{List, Maybe, Text, contract, record};

#[record(growable)]
pub struct Sound {
    pub name: Text,
}

#[record(growable)]
pub enum SoundReason {
    Closed,
    #[unknown]
    Other,
}

#[record]
pub struct Fixed {
    pub name: Text,
    pub burst: u64,
}

#[record(growable)]
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Documented.
    pub name: Text,
    pub fixed: List<Maybe<u8>>,
    #[since("1.1", default = 3 + 4)]
    pub burst: u64,
    #[since("1.2")]
    pub tags: List<Text>,
}

#[record(growable)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Closed,
    #[unknown]
    Other,
    /// Documented.
    #[since("1.1")]
    Halted,
}

#[contract]
pub trait Fees {
    fn all(&self, lent: &Order, owned: Order, maybe: Option<&Order>, list: Vec<(Order, Reason)>) -> Result<Vec<Order>, Reason>;
    fn reason(&self, lent: &Reason, maybe: Option<&Reason>, map: std::collections::HashMap<u8, Reason>) -> Option<Reason>;
}

fn main() {}
