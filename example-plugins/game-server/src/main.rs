//! A game server: sixty ticks a second on several threads, hundreds of clients over sockets, and
//! rules that are replaced between two ticks.
//!
//! ```text
//! cargo run --release -p game-server -- --seconds 20
//!
//!  clients ──inputs──▶ sockets ──Inputs──▶ tick thread ──Job with the tick's lease──▶ shard threads ──▶ rules (the plugin)
//!  (tokio) ◀─snapshots─ (tokio) ◀─a queue each─┘  ▲  └◀──────────── what becomes of the moves ◀──┘
//!                                                 │ switch_point, between two ticks
//!                           director ──apply──▶ host
//! ```
//!
//! The world is the server's: players and their places. The points are the rules' own, and handed
//! over from version to version. A tick takes one lease and gives it to all shards, so that it is
//! played by one version; it is let go of before the switch point, since a state moves when nobody
//! holds the old version.
//!
//! What it prints is what it has found out by itself: each client looks whether a snapshot is
//! missing and whether its inputs arrive, the server knows how many points each player must have,
//! and asks for them after every switch. Half seconds in which rules are switched and such in which
//! nothing changes take turns: ticks are missed in both where the machine stalls, and a switch is
//! to blame for what the first have more.

mod clients;
mod director;
mod frame;
mod libraries;
mod report;
mod sockets;
mod tick;
mod windows;

use anyhow::Context;
use clap::Parser;
use director::Director;
use game_contracts::Rules;
use libraries::Libraries;
use midflight::{Host, Publish};
use report::Report;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use tick::Game;

const EXIT_CODES: &str = "\
Exit codes:
  0  no client, snapshot, input or point was lost, rules were switched, and no more ticks missed
     while they were than while nothing changed, beyond chance
  1  it ran, and the figures say what went wrong
  2  it could not run: wrong usage, no checkout here, a build that failed";

/// A game server whose rules are replaced while it is played on.
#[derive(Debug, Parser)]
#[command(name = "game-server", after_help = EXIT_CODES)]
struct Arguments {
    /// How long it is played.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many clients play.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    clients: u32,
    /// How many threads play a tick.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// The pause between two versions of the rules, in milliseconds; every other half second
    /// nothing changes.
    #[arg(long, default_value_t = 125)]
    swap_every: u64,
    /// The figures for machines.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match play(&arguments) {
        Ok(report) => {
            match arguments.json {
                true => println!("{}", report.json()),
                false => println!("{report}"),
            }
            ExitCode::from(u8::from(!report.is_good()))
        }
        Err(error) => {
            eprintln!("game-server: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn play(arguments: &Arguments) -> anyhow::Result<Report> {
    let home = tempfile::tempdir()?;
    let libraries = Libraries::build(home.path())?;
    let host =
        Host::builder().run_directory(home.path().join("run")).publish(Publish::Manual).start()?;
    let rules = host.slot::<dyn Rules>("rules")?;
    load_first(&host, &libraries)?;

    let sockets = sockets::Sockets::open(arguments.clients)?;
    let clients = clients::Clients::start(sockets.address()?, arguments.clients)?;
    let (players, inputs) = sockets.accept().context("the clients can't connect")?;
    let director =
        Director::start(host.clone(), libraries, Duration::from_millis(arguments.swap_every))?;

    let tells = !arguments.json && io::stderr().is_terminal();
    let game = Game::new(host.clone(), rules, arguments.shards, players, inputs)?;
    let ticks = game.play(Duration::from_secs(arguments.seconds), &director, tells);
    let report = Report { ticks, clients: clients.join(), switches: director.join() };
    host.shutdown(Duration::from_secs(10));
    Ok(report)
}

/// What is loaded first is switched in at a switch point as well.
fn load_first(host: &Host, libraries: &Libraries) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let first = scope.spawn(|| host.apply(&libraries.v1));
        while !first.is_finished() {
            host.switch_point()?;
            thread::sleep(Duration::from_millis(1));
        }
        first.join().map_err(|_| anyhow::anyhow!("a panic"))??;
        Ok(())
    })
}
