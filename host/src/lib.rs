//! Midflight replaces the code of a running Rust service while calls are in flight.
//!
//! A host keeps its state; logic lives in plugins, cdylibs behind contracts that both sides share.
//! When a new version shows up, its bytes are checked before an instruction of it runs, it is
//! switched in with one store, the calls of the old version end on the old version, and then that
//! is unmapped. Whatever goes wrong before the switch, the old version serves on.
//!
//! - [`Host`]: builds, watches, applies, rolls back, tells.
//! - [`Slot`]: a typed handle on one contract of one plugin. [`Group::request`] holds many calls on
//!   one release, [`Lease`] holds a release for longer than a closure.
//! - [`Object`]: what a plugin has handed out, with methods of its own; it holds its version.
//!   [`Callback`]: what a plugin has left to be called; it holds nothing, and is revoked with its
//!   version.
//! - [`AttachedData`]: what plugins know about the host's objects, kept through all versions and
//!   freed with the object.
//! - [`Refusal`]: why an update did not happen. [`Fault`]: what a call returns where no value came
//!   back.
//! - [`Event`] and [`Status`]: what happened, and what is.

// What is public may get fields and variants.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod command;
mod contained;
mod contracts;
mod control;
pub mod docs;
mod event;
mod frames;
mod gate;
mod generation;
mod holder;
mod holds;
mod host;
mod image;
mod journal;
mod layout;
mod library;
mod mappings;
mod meter;
mod permit;
mod release_file;
mod run;
mod runtime;
mod settings;
mod shared;
mod shown;
mod stage;
mod start;
mod status;
mod watch;

pub use command::Applied;
pub use event::{Event, EventKind, Events};
pub use gate::slot::{Group, Lease, Request, Slot};
pub use holder::{Held, Holder, Holders, Stall};
pub use host::{Host, HostBuilder, HostError};
use midflight_inspect::refusal;
pub use midflight_plugin::{
    Absent, Answer, CallError, Callback, Fault, Frame, Object, PanicReport,
};

pub use refusal::{Code, Refusal, Stage};
pub use runtime::attached::AttachedData;
pub use settings::Publish;
pub use stage::preflight::preflight;
pub use status::{GenerationStatus, Mapped, Memory, PluginStatus, Residency, Status};

/// For the benchmarks of this repository. What it offers is made by `unsafe fn`s alone.
#[doc(hidden)]
pub mod bench {
    pub use crate::gate::turns::Turns;
}
#[doc(hidden)]
pub use gate::{LeaseGate, RequestGate, SlotGate};

/// The front page's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

// The contracts of unit tests.
#[cfg(test)]
midflight_plugin::contract_crate!();
