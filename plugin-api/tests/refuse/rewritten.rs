//! An attribute behind ours sees the item last, and makes another of it: what was described, and is relied on, is proven of what is left.
#![forbid(unsafe_code)]
use midflight_plugin::{List, Text, contract, record};
use std::cell::RefCell;
use std::rc::Rc;

#[record]
#[midflight_rewrites::without_representation]
pub struct Trade {
    pub side: u8,
    pub id: u64,
    pub small: u16,
}

#[record]
#[midflight_rewrites::without_representation]
pub enum Order {
    None,
    Buy(u8, u64, Text),
    Sell { quantity: u32 },
}

#[record]
#[midflight_rewrites::without_representation]
pub enum Wide {
    Up = 3,
    Down = 200,
    Next(u8),
}

#[record(growable)]
#[midflight_rewrites::without_representation]
pub struct Grows {
    pub side: u8,
    pub id: u64,
    pub small: u16,
}

/// As large as a number, and another type.
#[record]
#[midflight_rewrites::instead(u64, i64)]
pub struct Signed {
    pub id: u64,
}

#[record]
#[midflight_rewrites::instead(u64, i64)]
pub enum SignedToo {
    Id(u64),
}

#[record(growable)]
#[midflight_rewrites::instead(u64, i64)]
pub struct GrowsSigned {
    pub id: u64,
}

/// One field for another, by its name.
#[record]
#[midflight_rewrites::instead(bids, asks)]
pub struct Renamed {
    pub bids: List<u64>,
}

#[contract]
#[midflight_rewrites::without_supertraits]
pub trait Session {
    fn push(&self, number: u64) -> u64;
}

#[contract]
pub trait Gateway {
    fn open(&self) -> Box<dyn Session>;
}

struct Open {
    list: RefCell<Vec<Rc<u64>>>,
}
impl Session for Open {
    fn push(&self, number: u64) -> u64 {
        self.list.borrow_mut().push(Rc::new(number));
        number
    }
}
struct Gate;
impl Gateway for Gate {
    fn open(&self) -> Box<dyn Session> {
        Box::new(Open { list: RefCell::new(Vec::new()) })
    }
}

fn main() {}
