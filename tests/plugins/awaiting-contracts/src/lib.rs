//! What the tests of `async fn` call, and what calls them back.

midflight_plugin::contract_crate!();

use midflight_plugin::{contract, record};

/// What a plugin answers that was asked for too much.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Of what.
    pub what: midflight_plugin::Text,
}

/// Where a future of the plugin's panics.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panic {
    /// Before there is a future.
    Never,
    /// When it is polled for the first time.
    FirstPoll,
    /// When it is polled after it has waited.
    SecondPoll,
    /// When it is dropped, whether or not it was polled.
    Drop,
    /// In both.
    PollAndDrop,
}

/// The plugin.
#[contract]
pub trait Awaiting {
    /// Which build answers.
    fn build(&self) -> u32;

    /// Waits for the bell `number`, and says which build it began and ended on, and which its group
    /// called it meanwhile.
    async fn wait(&self, number: u64) -> Vec<u32>;

    /// The same with what is lent, and an error of its own.
    async fn lend(
        &self,
        text: &str,
        numbers: &[u64],
        refused: Option<&Refused>,
    ) -> Result<String, Refused>;

    /// Waits for all of the bells at once, by wakers of the plugin's own.
    async fn join(&self, numbers: Vec<u64>) -> u64;

    /// As `join`, but what has begun to wait is forgotten, so that it never ends.
    async fn forget(&self, number: u64) -> u64;

    /// Waits for the bell `number`, and panics.
    async fn panics(&self, at: Panic, number: u64) -> u64;

    /// Which build answers, before and after a service of the host's polls what it kept, and what
    /// that said.
    fn poll_kept(&self) -> Vec<u32>;

    /// Calls itself through the host, and in the innermost call asks it to drop what it kept.
    fn drop_kept(&self, depth: u32) -> u32;
}

/// The host.
#[contract]
pub trait Bells {
    /// Once the bell is rung. It brings the number.
    async fn rung(&self, number: u64) -> u64;

    /// Which build the plugin's group answers with on this thread.
    fn build(&self) -> u32;

    /// Polls a future of the plugin's that the host keeps, once; what its build said meanwhile.
    fn poll_kept(&self) -> u32;

    /// `Awaiting::drop_kept`, and at depth 0 drops what the host keeps.
    fn deeper(&self, depth: u32) -> u32;
}
