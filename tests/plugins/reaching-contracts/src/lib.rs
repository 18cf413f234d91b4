//! The contract of the plugin `reaching`, which reaches for the C library past std.

midflight_plugin::contract_crate!();

use midflight_plugin::contract;
use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Counts in a static, and in a thread-local of the thousands: of each binary that links this, as
/// all statics are.
pub fn count() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OF_THIS_THREAD: Cell<u64> = const { Cell::new(0) };
    }
    OF_THIS_THREAD.set(OF_THIS_THREAD.get() + 1_000);
    COUNT.fetch_add(1, SeqCst) + 1 + OF_THIS_THREAD.get()
}

/// The plugin.
#[contract]
pub trait Reaching {
    /// The build that answers: 1 or 2.
    fn build(&self) -> u32;

    /// Does what the word says, with a number that means what the plugin says; the answer is the
    /// deed's own.
    fn reach(&self, how: &str, number: u64) -> i64;

    /// What the plugin reads in a variable of the environment, through its own copy of std.
    fn variable(&self, name: &str) -> Option<String>;

    /// As a function that a plugin may export says it; with no such export it is the build.
    fn exported(&self) -> u64;
}
