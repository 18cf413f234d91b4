//! What the tests of logs and panics share with a plugin that speaks.

use midflight_plugin::{Text, contract};

/// A plugin that logs and panics as it is told.
#[contract]
pub trait Speaking {
    /// The name of the span that the thread is in, empty for none; of that span it records `user`.
    fn record(&self, user: &str) -> Text;
    /// Makes a future in the span that the thread is in, and has another thread poll it, which
    /// says so.
    fn elsewhere(&self);
    /// An event, with a number.
    fn say(&self, number: u64);
    /// A span of its own, in which it asks for the current one, and records `user` of that.
    fn within(&self, user: &str);
    /// A record of `log`, with a number, a text, and what has but a `Debug`.
    fn log(&self, number: u64);
    /// A record of `log`, at the level debug.
    fn whisper(&self);
    /// Panics.
    fn panic(&self, text: &str);
    /// Sets a panic hook of its own.
    fn hook(&self);
    /// Which panics a hook of its own was called for, a line each.
    fn hooked(&self) -> Text;
    /// Waits with tokio.
    async fn wait(&self);
}
