//! The command `midflight`.

mod demo;
mod stamp;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything that was to be shown was shown
  1  it ran, and something of it failed: stderr says what
  2  it could not run: wrong usage, no checkout here, a build that failed";

/// Replaces the code of a running Rust service while calls are in flight.
#[derive(Parser)]
#[command(name = "midflight", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Stamp(stamp::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Stamp(arguments) => stamp::run(arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("midflight: {error:#}");
            ExitCode::from(2)
        }
    }
}
