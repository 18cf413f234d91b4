//! The demo: a service under real traffic, whose plugin is replaced again and again while clients
//! check every answer. `midflight demo` builds and starts it: `exchange-demo SECONDS text|json
//! [mixed|drop|stale]`.
//!
//! A demo that counts in the place where it acts can't fail. So those who check stand outside: the
//! clients hold formulas of their own and judge each answer by what the wire and the event stream
//! tell them; nothing of the service counts anything. `--plant` breaks the service on purpose, and
//! the same clients have to find it.

mod answers;
mod director;
mod ledger;
mod libraries;
mod live;
mod observer;
mod plan;
mod plant;
mod report;
mod traffic;

use anyhow::{Context, bail};
use director::Director;
use exchange::Exchange;
use ledger::Ledger;
use libraries::Libraries;
use live::Live;
use midflight::Host;
use observer::Observer;
use plant::Plant;
use report::Report;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use traffic::Traffic;

/// A start that hangs is given up after this long: the demo has one, and would rather not wait for
/// the usual deadline.
const START_DEADLINE: Duration = Duration::from_millis(500);
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match Arguments::of(env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("midflight: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What `midflight demo` asks for; that has looked at it, and tells users about it.
struct Arguments {
    /// How long the traffic lasts; building is not counted.
    seconds: u64,
    /// One object on stdout at the end, instead of what happens as it happens.
    json: bool,
    /// The mechanism is to be broken on purpose.
    plant: Option<Plant>,
}

impl Arguments {
    fn of(words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let words: Vec<_> = words.collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (seconds, form, plant) = match *words {
            [seconds, form] => (seconds, form, None),
            [seconds, form, plant] => (seconds, form, Some(plant)),
            _ => bail!("`midflight demo` starts this program, with words of its own"),
        };
        let json = match form {
            "json" => true,
            "text" => false,
            other => bail!("`{other}` is neither `text` nor `json`"),
        };
        let seconds = seconds.parse().context("no number of seconds")?;
        Ok(Arguments { seconds, json, plant: plant.map(Plant::named).transpose()? })
    }
}

/// Runs the demo; `false` if something that it was to show did not happen.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let workplace = tempfile::Builder::new().prefix("midflight-demo-").tempdir()?;
    let libraries = Libraries::build(&workplace.path().join("libraries"))?;
    let plugins = workplace.path().join("plugins");
    fs::create_dir(&plugins)?;

    let exchange =
        Exchange::start(Host::builder().plugins(&plugins).start_deadline(START_DEADLINE))?;
    let ledger = Arc::new(Ledger::new());
    let observer = Observer::start(exchange.host(), ledger.clone());
    let mut director = Director::new(exchange.host(), &libraries, &plugins, &ledger, &observer);
    let service = Service::start(&exchange, arguments.plant)?;

    director.open()?;
    let capacity = traffic::calibrate(service.address)?;
    let traffic = Traffic::start(service.address, capacity / 2.0, ledger.clone())?;
    let live =
        (!arguments.json).then(|| Live::start(ledger.clone(), observer.scene(), capacity / 2.0));
    for window in plan::windows(Duration::from_secs(arguments.seconds)) {
        director.run(window);
    }
    traffic.stop();
    if let Some(live) = live {
        live.stop();
    }

    service.stop()?;
    let played = director.finish();
    let status = exchange.host().shutdown(SHUTDOWN_DEADLINE);
    let report = Report::new(&ledger, played, observer.finish(), &status, libraries.mark_left());
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        live::summary(&report);
    }
    let shortcomings = report.shortcomings(arguments.seconds);
    for shortcoming in &shortcomings {
        eprintln!("not as it should be: {shortcoming}");
    }
    Ok(shortcomings.is_empty())
}

/// The exchange on a port of its own, on a runtime of its own: what the clients do must not wait
/// for it, nor it for them.
struct Service {
    address: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Service {
    fn start(exchange: &Exchange, plant: Option<Plant>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("service")
            .enable_all()
            .build()?;
        let listener =
            runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("no port to listen on")?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serve = axum::serve(listener, plant::router(exchange, plant));
        let served = runtime.spawn(async {
            serve
                .with_graceful_shutdown(async {
                    let _ = stopped.await;
                })
                .await
        });
        Ok(Service { address, runtime, stop, served })
    }

    fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.runtime.block_on(self.served)??;
        Ok(())
    }
}
