//! The second version, which the tests link.

use midflight_plugin::{Text, contract, record};

/// A record that may grow.
#[record(growable)]
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// What it is called.
    pub name: Text,
    /// How much of it.
    pub orders_max: u32,
    /// Since the second version.
    #[since("1.1", default = 7)]
    pub burst_max: u64,
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
    /// Since the second version.
    #[since("1.1")]
    Halted,
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
    /// Ten times the build.
    #[since("1.1")]
    fn tenfold(&self) -> u32 {
        10 * self.build()
    }
    /// Without a body.
    #[since("1.1")]
    fn bare(&self) -> u32;
    /// A body that needs what an older plugin lacks.
    #[since("1.1")]
    fn barely(&self) -> u32 {
        self.bare() + 1
    }
}

/// What the test provides.
#[contract]
pub trait Host {
    /// The number.
    fn number(&self, number: u64) -> u64;
    /// Its double.
    #[since("1.1")]
    fn double(&self, number: u64) -> u64 {
        2 * self.number(number)
    }
}
