//! The contracts of the tests of objects and callbacks.
//!
//! [`Handing`] is a plugin that hands out [`Session`]s and leaves [`Listener`]s; [`Board`] is the host's, where it leaves them.

midflight_plugin::contract_crate!();

use midflight_plugin::{Callback, contract, record};

/// What an object does when it is dropped.
#[record]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Says so to the board.
    Says,
    /// Says so, and panics.
    Panics,
    /// Asks the board which build serves, and says that.
    Asks,
    /// Waits until the test lets the token go, and then does the same.
    Waits(u64),
}

/// The plugin.
#[contract]
pub trait Handing {
    /// The build that answers: 1 or 2.
    fn build(&self) -> u32;

    /// A session.
    fn open(&self, end: End) -> Box<dyn Session>;

    /// A session, or none.
    fn find(&self, there: bool) -> Option<Box<dyn Session>>;

    /// A session, or why not.
    fn check(&self, there: bool) -> Result<Box<dyn Session>, String>;

    /// Both.
    fn look(&self, there: Option<bool>) -> Result<Option<Box<dyn Session>>, String>;

    /// Leaves a listener at the board.
    fn subscribe(&self, end: End);

    /// Leaves one, gets it back from there, and keeps it in a static.
    fn keep(&self);

    /// Calls the kept one: its answer, or the code of the fault.
    fn call_kept(&self) -> String;

    /// Calls a listener of somebody else's.
    fn call(&self, listener: Callback<dyn Listener>) -> Result<u64, String>;

    /// What the board's own object answers.
    fn feed(&self) -> Result<u64, String>;

    /// Starts a thread that goes on when the test lets `token` go, and leaves a listener then. It
    /// ends at `token` + 1.
    fn subscribe_late(&self, token: u64);
}

/// An object of the plugin's.
#[contract]
pub trait Session {
    /// The build that answers.
    fn build(&self) -> u32;

    /// The build that the board gets when it asks the plugin, from inside of this call.
    fn through(&self) -> u32;

    /// Another one, made by this.
    fn child(&self) -> Box<dyn Session>;

    /// Panics.
    fn panic(&self);
}

/// What is left with the board.
#[contract]
pub trait Listener {
    /// The build times 1,000, and the number.
    fn tick(&self, number: u64) -> u64;

    /// The build that the board gets when it asks the plugin, from inside of this call.
    fn through(&self) -> u32;

    /// Panics.
    fn panic(&self) -> u64;

    /// Returns when the test lets `token` go.
    fn wait(&self, token: u64) -> u32;
}

/// What the test provides.
#[contract]
pub trait Board {
    /// Takes a listener.
    fn subscribe(&self, listener: Callback<dyn Listener>);

    /// Gives the last one back.
    fn take_back(&self) -> Option<Callback<dyn Listener>>;

    /// Asks the plugin for its build.
    fn ask(&self) -> u32;

    /// An object of the build `build` was dropped, and told `told`.
    fn dropped(&self, build: u32, told: u32);

    /// Returns when the test lets `token` go.
    fn wait(&self, token: u64);

    /// An object of the host's own.
    fn feed(&self) -> Option<Box<dyn Feed>>;
}

/// An object of the board's.
#[contract]
pub trait Feed {
    /// Counts up.
    fn next(&self) -> u64;
}
