//! What crosses a plugin's boundary and at what cost, how contracts change over time, how a
//! plugin's state comes to its next version, and how
//! a build says that its file is whole.

pub mod boundary;
pub mod evolution;
pub mod stamps;
pub mod state;
