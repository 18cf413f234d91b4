//! What crosses a plugin's boundary and at what cost, how contracts change over time, and how a plugin's state comes to its next version.

pub mod boundary;
pub mod evolution;
pub mod state;
