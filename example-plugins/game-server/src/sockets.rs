//! The server's side of the sockets: what comes in is queued for the tick thread, what goes out has
//! a bounded queue for each client.

use crate::frame::Input;
use anyhow::Context;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// So many snapshots wait for a client; one that is further behind is dropped, so that it holds up
/// nobody.
const BEHIND_MAX: usize = 120;
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// What has come in since the last tick, with the player that it is of.
#[derive(Clone, Default)]
pub(crate) struct Inputs(Arc<Mutex<Vec<(usize, Input)>>>);

impl Inputs {
    pub(crate) fn take(&self) -> Vec<(usize, Input)> {
        std::mem::take(&mut self.0.lock())
    }
}

/// The server's end of one client's connection.
pub(crate) struct Connection {
    out: Sender<Vec<u8>>,
    /// Its side of the stream has ended.
    gone: Arc<AtomicBool>,
}

impl Connection {
    /// False: it is gone, or too far behind.
    pub(crate) fn send(&self, snapshot: Vec<u8>) -> bool {
        self.out.try_send(snapshot).is_ok()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Acquire)
    }
}

pub(crate) struct Sockets {
    runtime: Runtime,
    listener: TcpListener,
    clients: u32,
}

/// The connections, in the order in which they came; and what keeps them going.
pub(crate) struct Players {
    pub(crate) connections: Vec<Connection>,
    _runtime: Runtime,
}

impl Sockets {
    pub(crate) fn open(clients: u32) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sockets")
            .enable_all()
            .build()?;
        let listener =
            runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("no port to listen on")?;
        Ok(Sockets { runtime, listener, clients })
    }

    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Returns when all clients are there.
    pub(crate) fn accept(self) -> anyhow::Result<(Players, Inputs)> {
        let Sockets { runtime, listener, clients } = self;
        let inputs = Inputs::default();
        let accept = async {
            let mut connections = Vec::new();
            for player in 0..clients as usize {
                let (stream, _) = listener.accept().await?;
                connections.push(connect(player, stream, &inputs)?);
            }
            anyhow::Ok(connections)
        };
        let accept = async { tokio::time::timeout(CONNECT_MAX, accept).await };
        let connections = runtime.block_on(accept)??;
        Ok((Players { connections, _runtime: runtime }, inputs))
    }
}

fn connect(player: usize, stream: TcpStream, inputs: &Inputs) -> anyhow::Result<Connection> {
    stream.set_nodelay(true)?;
    let (reads, writes) = stream.into_split();
    let (out, snapshots) = channel(BEHIND_MAX);
    let gone: Arc<AtomicBool> = Arc::default();
    tokio::spawn(read(player, reads, inputs.clone(), Arc::clone(&gone)));
    tokio::spawn(write(writes, snapshots));
    Ok(Connection { out, gone })
}

async fn read(player: usize, mut stream: OwnedReadHalf, inputs: Inputs, gone: Arc<AtomicBool>) {
    let mut bytes = [0; Input::BYTES];
    while stream.read_exact(&mut bytes).await.is_ok() {
        inputs.0.lock().push((player, Input::decode(&bytes)));
    }
    gone.store(true, Release);
}

/// Until the tick thread lets go of the client, or the client of its stream.
async fn write(mut stream: OwnedWriteHalf, mut snapshots: Receiver<Vec<u8>>) {
    while let Some(snapshot) = snapshots.recv().await {
        if stream.write_all(&snapshot).await.is_err() {
            break;
        }
    }
}
