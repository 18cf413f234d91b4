//! The acceptance suite: a module for each promise, a test for each case.
//!
//! A test's name begins with the number of its case. Every case in which something is refused also
//! asserts that what served before answers as before
//! ([`Rig::refused`](midflight_tests::Rig::refused)).

mod boundary;
mod canary;
mod consistency;
mod damaged;
mod disks;
mod drain;
mod evolution;
mod files;
mod futures;
mod headers;
mod logs;
mod misuse;
mod objects;
mod panics;
mod preflight;
mod preflight_entrance;
mod reaching;
mod resources;
mod restarts;
mod sequences;
mod speaking;
mod stamps;
mod state;
mod suites;
mod switching;
mod texts;
mod transitions;
mod trials;
mod unload;
mod watching;

// For the contract of what is linked into this binary.
midflight_plugin::contract_crate!();
