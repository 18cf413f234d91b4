//! The benchmarks' parts: lanes, the rounds that time them, and what is measured besides calls. The
//! program is `compare`.

pub mod against;
pub mod blackout;
pub mod calls;
pub mod gates;
pub mod growth;
pub mod lanes;
pub mod libraries;
pub mod numbered;
pub mod peers;
pub mod plot;
pub mod reload;
pub mod report;
pub mod rig;
pub mod rounds;
