//! The acceptance suite: a module for each promise, a test for each case.
//!
//! A test's name begins with the number of its case. Every case in which something is refused also asserts that what served before
//! answers as before ([`Rig::refused`](midflight_tests::Rig::refused)).

mod consistency;
mod drain;
mod files;
mod headers;
mod panics;
mod transitions;
mod unload;
