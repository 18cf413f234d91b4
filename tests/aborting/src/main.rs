//! `.ci/abort`: a program that is built with `panic = "abort"` is told so when it starts a host.

use midflight::{Host, HostError};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Host::builder().start() {
        Err(refused @ HostError::PanicAbort) => {
            println!("{refused}");
            ExitCode::SUCCESS
        }
        Err(other) => {
            eprintln!("refused for another reason: {other}");
            ExitCode::FAILURE
        }
        Ok(_) => {
            eprintln!("a host has started");
            ExitCode::FAILURE
        }
    }
}
