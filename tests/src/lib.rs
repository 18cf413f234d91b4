//! What the acceptance tests share.
//!
//! A test gets a [`Rig`]: a host of its own with a [`Desk`] behind its plugins, directories that vanish with it, and a [`Log`] to wait on. Plugins
//! come from real builds ([`Fixture`]). Where a test asserts something about the whole process, it does so in one of its own
//! ([`in_child`]).

mod answers;
mod child;
mod desk;
mod fixture;
mod log;
pub mod process;
mod rig;

pub use answers::{check_answers, trade};
pub use child::{Exit, in_child, run_child, run_child_with, run_child_with_mounts, with_children};
pub use desk::Desk;
pub use fixture::Fixture;
pub use log::{Log, WITHIN};
pub use rig::Rig;
