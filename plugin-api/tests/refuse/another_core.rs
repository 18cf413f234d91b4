//! Whatever a crate named `core` says of threads: what is called from several of them is `Send` and `Sync`.
#![forbid(unsafe_code)]
extern crate log as core;

use midflight_plugin::contract;
use std::cell::RefCell;
use std::rc::Rc;

#[contract]
pub trait Session {
    fn push(&self, number: u64) -> u64;
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

fn main() {}
