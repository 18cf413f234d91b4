midflight_plugin::contract_crate!();
use midflight_plugin::{List, Text, record};

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
    #[since("1.1")]
    pub burst: u64,
}

#[record(growable)]
pub struct Order {
    pub name: Text,
    #[since("1.1")]
    pub burst: u64,
    pub tags: List<Text>,
}

#[record(growable)]
pub struct First {
    #[since("1.1")]
    pub burst: u64,
}

#[record(growable)]
pub struct Tuple(u64);

#[record(growable)]
pub struct Conditional {
    pub name: Text,
    #[cfg(unix)]
    pub burst: u64,
}

#[record(growable)]
#[cfg_attr(all(), repr(packed))]
pub struct Packed {
    pub small: u8,
    pub large: u64,
}

#[record(growable)]
pub struct Fields {
    pub name: String,
    pub then: fn(),
}

#[record(growable)]
pub enum NoUnknown {
    Closed,
}

#[record(growable)]
pub enum LateUnknown {
    Closed,
    #[since("1.1")]
    #[unknown]
    Other,
}

#[record(growable)]
pub enum WithFields {
    Closed(u64),
    #[unknown]
    Other,
}

#[record(growable)]
pub enum Numbered {
    Closed = 4,
    #[unknown]
    Other,
}

#[record(growable)]
pub struct Dropped {
    pub name: Text,
}
impl Drop for Dropped {
    fn drop(&mut self) {}
}

fn main() {}
