//! What the acceptance tests share.
//!
//! A test gets a [`Rig`]: a host of its own with a [`Desk`] behind its plugins, directories that
//! vanish with it, and a [`Log`] to wait on. Plugins come from real builds ([`Fixture`]), or are
//! linked in where the case allows it ([`Way`]). Where a test asserts something about the whole
//! process, it does so in one of its own ([`in_child`]).

mod answers;
mod arguments;
mod child;
pub mod damage;
mod desk;
mod fixture;
mod footprint;
mod ledger;
mod log;
mod privilege;
pub mod process;
mod random;
mod rig;
mod way;

pub use answers::{check_answers, trade};
pub use arguments::arguments;
pub use child::{
    Exit, FIXTURES, in_child, run_child, run_child_apart, run_child_with, with_children,
};
pub use desk::Desk;
pub use fixture::{Fixture, fixtures_for};
pub use footprint::Footprint;
pub use ledger::Ledger;
pub use log::{Log, WITHIN};
pub use privilege::{Apart, is_root_to, mount_memory, skip};
pub use random::Random;
pub use rig::Rig;
pub use way::{Either, Way};
