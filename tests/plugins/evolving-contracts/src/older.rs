//! The first version.

use midflight_plugin::{Text, contract, record};

/// A record that may grow.
#[record(growable)]
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// What it is called.
    pub name: Text,
    /// How much of it.
    pub orders_max: u32,
}

/// An enum that may grow.
#[record(growable)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not now.
    Closed,
    /// Whatever an older side doesn't know.
    #[unknown]
    Other,
}

/// What the plugin offers.
#[contract]
pub trait Evolving {
    /// Which version it is: 1, 2 or 3.
    fn build(&self) -> u32;
    /// What it gets, as text.
    fn show(&self, limits: &Limits, more: Vec<Limits>) -> String;
    /// Its own.
    fn limits(&self) -> Limits;
    /// Its latest, and what it gets, as text.
    fn reason(&self, reason: Reason) -> (Reason, String);
    /// What the host answers to it, from the first to the last method of [`Host`] that it knows.
    fn ask(&self, number: u64) -> Vec<String>;
}

/// What the test provides.
#[contract]
pub trait Host {
    /// The number.
    fn number(&self, number: u64) -> u64;
}
