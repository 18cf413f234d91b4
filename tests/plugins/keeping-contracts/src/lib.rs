//! The contracts of the tests of handed-over state.
//!
//! [`Keeping`] is a plugin that keeps accounts; [`Clerk`] is the host's, whom it asks in the middle of a call.

midflight_plugin::contract_crate!();

use midflight_plugin::{Text, contract, record};

/// What is kept of one account.
#[record]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What was paid in.
    pub total: i64,
    /// Whose it is.
    pub name: Text,
    /// How often was paid in, since somebody counts: 0 in schema 1, and in what came from it.
    pub payments: u64,
}

/// Accounts by number.
#[contract]
pub trait Keeping {
    /// The build that answers.
    fn version(&self) -> u32;

    /// Opens the accounts 0 to `count`, each with its number as total and a name of 16 bytes.
    fn open(&self, count: u64);

    /// Pays into an account, which is opened at need, and says what it holds then.
    fn pay(&self, number: u64, amount: i64) -> i64;

    /// The account of that number.
    fn account(&self, number: u64) -> Option<Account>;

    /// Gives an account another name. With `no up` it can't be brought to schema 2, with `no down`
    /// not to schema 1. With `no save` it can't be saved; with `waits to be saved` and `waits to be
    /// restored` the clerk is asked for leave first.
    fn name(&self, number: u64, name: &str);

    /// How many accounts there are.
    fn count(&self) -> u64;

    /// What all of them hold together.
    fn sum(&self) -> i64;

    /// Asks the clerk for the sum, who asks back.
    fn ask_the_clerk(&self) -> i64;

    /// How often an object of the host's was visited, this time included, which is attached to it;
    /// 0 where that is no number.
    fn visit(&self, object: u64) -> u64;

    /// Does so often what is wrong: `forget a guard` of the state; `update within an update` of an
    /// object, which says how that ended; `forget a span`, and `forget an entered span`. Or says
    /// `something`, as an event.
    fn err(&self, what: &str, times: u64) -> String;

    /// As `pay`, later.
    async fn pay_later(&self, number: u64, amount: i64) -> i64;

    /// As `name`, later; and the build that answers.
    async fn name_later(&self, number: u64, name: &str) -> u32;
}

/// What the test provides.
#[contract]
pub trait Clerk {
    /// Asks the group for its sum.
    fn sum(&self) -> i64;

    /// Returns when somebody may go on who `waits to be restored`, or the like.
    fn leave(&self, to: &str);
}
