//! What crosses a plugin's boundary and at what cost, what exists once for each copy of std, how
//! contracts change over time, how a plugin's state comes to its next version, how a build says
//! that its file is whole, and what to do when this crate has changed.

pub mod boundary;
pub mod copies;
pub mod evolution;
pub mod migration;
pub mod stamps;
pub mod state;
