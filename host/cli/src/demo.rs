//! `midflight demo`: builds the program that shows it, and becomes that.
//!
//! The exchange and what drives it are a crate of their own, so that who wants a stamp does not
//! build an HTTP service.

use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, io};

/// The crate, and its program.
const PROGRAM: &str = "exchange-demo";

/// Swap two versions of a plugin under real HTTP traffic, try bad ones, and prove that the old ones
/// are gone.
///
/// Builds the exchange and its plugins first, so it runs inside of a checkout of Midflight.
#[derive(clap::Args)]
#[command(after_help = crate::EXIT_CODES)]
pub(crate) struct Arguments {
    /// How long the traffic lasts; building is not counted.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: u64,
    /// Print one JSON object on stdout at the end, instead of what happens as it happens.
    #[arg(long)]
    json: bool,
    /// Break the mechanism on purpose: the run has to fail.
    #[arg(long, value_parser = ["mixed", "drop", "stale"], hide = true)]
    plant: Option<String>,
}

/// Becomes the demo, so that its exit code and the signals for it are its own. Returns only where
/// it can't.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    demand_checkout()?;
    let program = build()?;
    let mut demo = Command::new(&program);
    demo.arg(arguments.seconds.to_string());
    demo.arg(if arguments.json { "json" } else { "text" });
    demo.args(&arguments.plant);
    Err(demo.exec()).with_context(|| format!("can't start {}", program.display()))
}

/// Asks before anything is built: what cargo says of a crate that it does not know helps nobody.
fn demand_checkout() -> anyhow::Result<()> {
    let asked = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .context("can't start cargo")?;
    if !asked.status.success() {
        bail!(
            "cargo finds no workspace here that it can read; the demo builds plugins, so it has to \
             run in a checkout of Midflight: {}",
            String::from_utf8_lossy(&asked.stderr).trim_end()
        );
    }
    let told: Value = serde_json::from_slice(&asked.stdout).context("cargo tells no metadata")?;
    let packages = told["packages"].as_array();
    if !packages.is_some_and(|all| all.iter().any(|package| package["name"] == PROGRAM)) {
        bail!(
            "the workspace {} has no crate `{PROGRAM}`: run the demo inside of a checkout of \
             Midflight",
            told["workspace_root"].as_str().unwrap_or("here")
        );
    }
    Ok(())
}

/// Builds the program, with cargo's progress on stderr.
fn build() -> anyhow::Result<PathBuf> {
    eprintln!("building the exchange");
    let mut building = cargo()
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .args(["--package", PROGRAM])
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start cargo")?;
    let messages = BufReader::new(building.stdout.take().context("cargo has no output")?).lines();
    let found = messages.map(program_in).collect::<io::Result<Vec<_>>>()?;
    if !building.wait()?.success() {
        bail!("can't build the exchange: see above");
    }
    found.into_iter().flatten().last().context("cargo built no program")
}

/// Where the program lies, if this message of cargo's says so.
fn program_in(message: io::Result<String>) -> io::Result<Option<PathBuf>> {
    let message: Value = serde_json::from_str(&message?)?;
    let program = message["executable"].as_str().filter(|_| message["target"]["name"] == PROGRAM);
    Ok(program.map(PathBuf::from))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
