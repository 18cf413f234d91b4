//! Chapters on what a host does and does not promise.

pub mod files;
pub mod performance;
pub mod restarts;
pub mod unloading;
pub mod watching;
