//! What an object crosses as is no value: neither alone nor inside of another, in either direction.
use midflight_plugin::contract;
use midflight_plugin::rt::HandedObject;

#[contract]
pub trait Session {
    fn send(&self, text: &str) -> u64;
}

pub type Handed = HandedObject<dyn Session>;

#[contract]
pub trait Gives {
    fn give(&self) -> Handed;
}

#[contract]
pub trait Takes {
    fn take(&self, handed: Handed);
}

#[contract]
pub trait Lists {
    fn list(&self) -> Vec<Handed>;
}

#[contract]
pub trait Perhaps {
    fn perhaps(&self) -> Option<Handed>;
}

#[contract]
pub trait Later {
    async fn later(&self) -> Handed;
}

fn main() {}
