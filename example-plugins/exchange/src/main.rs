//! `exchange [PLUGINS] [ADDRESS]`: the service by itself, until Ctrl-C. `RUST_LOG=midflight=debug`
//! shows every stage of an update.

use anyhow::Context;
use exchange::Exchange;
use midflight::Host;
use std::time::Duration;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let mut arguments = std::env::args().skip(1);
    let plugins = arguments.next().unwrap_or_else(|| "plugins".into());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());

    let exchange = Exchange::start(Host::builder().plugins(&plugins))
        .with_context(|| format!("no host on the plugins in `{plugins}`"))?;
    let listener =
        TcpListener::bind(&address).await.with_context(|| format!("can't listen on {address}"))?;
    println!("taking orders on http://{}, fees from `{plugins}`", listener.local_addr()?);

    axum::serve(listener, exchange.router())
        .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
        .await?;

    for generation in &exchange.host().shutdown(Duration::from_secs(10)).generations {
        println!("{} {}: {}", generation.plugin, generation.version, generation.residency);
    }
    Ok(())
}
