//! The clients: each answers a snapshot with an input, and looks whether a snapshot is missing and
//! whether its inputs are played.

use crate::frame::{Input, SNAPSHOT_MAX, Snapshot};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// What the clients have seen, all together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) clients: u64,
    /// Their connection ended before the game did.
    pub(crate) dropped: u64,
    pub(crate) snapshots: u64,
    /// Ticks of which no snapshot came.
    pub(crate) snapshots_lost: u64,
    pub(crate) inputs: u64,
    /// Inputs that were never said to be played.
    pub(crate) inputs_lost: u64,
}

pub(crate) struct Clients {
    runtime: Runtime,
    clients: Vec<JoinHandle<Seen>>,
}

impl Clients {
    pub(crate) fn start(server: SocketAddr, clients: u32) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("clients")
            .enable_all()
            .build()?;
        let clients =
            (0..clients).map(|number| runtime.spawn(play(server, u64::from(number)))).collect();
        Ok(Clients { runtime, clients })
    }

    /// After the game: what they have seen.
    pub(crate) fn join(self) -> Seen {
        let Clients { runtime, clients } = self;
        let mut all = Seen::default();
        for client in clients {
            // One that panicked has seen nothing, and is dropped.
            let seen = runtime.block_on(client).unwrap_or(Seen {
                clients: 1,
                dropped: 1,
                ..Seen::default()
            });
            all.clients += seen.clients;
            all.dropped += seen.dropped;
            all.snapshots += seen.snapshots;
            all.snapshots_lost += seen.snapshots_lost;
            all.inputs += seen.inputs;
            all.inputs_lost += seen.inputs_lost;
        }
        all
    }
}

async fn play(server: SocketAddr, number: u64) -> Seen {
    let mut client = Client::default();
    let ended = exchange(server, number, &mut client).await;
    Seen { clients: 1, dropped: u64::from(ended.is_none()), ..client.seen() }
}

/// Until the game is over; `None`: the connection ended before.
async fn exchange(server: SocketAddr, number: u64, client: &mut Client) -> Option<()> {
    let stream = TcpStream::connect(server).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (reads, mut writes) = stream.into_split();
    let mut reads = BufReader::new(reads);
    let mut bytes = Vec::new();
    loop {
        let length = reads.read_u32_le().await.ok()? as usize;
        if length > SNAPSHOT_MAX {
            return None;
        }
        bytes.resize(length, 0);
        reads.read_exact(&mut bytes).await.ok()?;
        match client.see(Snapshot::decode(&bytes)?) {
            Next::Send(input) => {
                // Changes its direction every few ticks, each client at others.
                let thrust = if (input / 7 + number).is_multiple_of(2) { 3 } else { -2 };
                writes.write_all(&Input { number: input, thrust }.encode()).await.ok()?;
            }
            Next::Wait => {}
            Next::Leave => return Some(()),
        }
    }
}

/// What one client knows.
#[derive(Debug, Default)]
struct Client {
    last: Option<Snapshot>,
    snapshots: u64,
    snapshots_lost: u64,
    sent: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The input of this number.
    Send(u64),
    Wait,
    Leave,
}

impl Client {
    fn see(&mut self, snapshot: Snapshot) -> Next {
        self.snapshots += 1;
        if let Some(last) = self.last.replace(snapshot) {
            // What comes twice or goes back is as wrong as what is missing.
            self.snapshots_lost += (last.tick + 1).abs_diff(snapshot.tick);
        }
        match snapshot.closing {
            false => {
                self.sent += 1;
                Next::Send(self.sent)
            }
            true if snapshot.played >= self.sent => Next::Leave,
            true => Next::Wait,
        }
    }

    fn seen(&self) -> Seen {
        let played = self.last.map_or(0, |last| last.played);
        Seen {
            snapshots: self.snapshots,
            snapshots_lost: self.snapshots_lost,
            inputs: self.sent,
            inputs_lost: self.sent.abs_diff(played),
            ..Seen::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, Next, Snapshot};

    fn snapshot(tick: u64, played: u64, closing: bool) -> Snapshot {
        Snapshot { tick, played, points: played, closing }
    }

    #[test]
    fn a_client_sees_what_is_missing() {
        let mut client = Client::default();
        assert_eq!(client.see(snapshot(5, 0, false)), Next::Send(1), "wherever it begins");
        assert_eq!(client.see(snapshot(6, 1, false)), Next::Send(2));
        assert_eq!(client.seen().snapshots_lost, 0);
        assert_eq!(client.see(snapshot(9, 1, false)), Next::Send(3), "two are missing");
        assert_eq!(client.see(snapshot(9, 1, true)), Next::Wait, "one came twice");
        let seen = client.seen();
        assert_eq!((seen.snapshots, seen.snapshots_lost), (4, 3));
        assert_eq!((seen.inputs, seen.inputs_lost), (3, 2));
        assert_eq!(client.see(snapshot(10, 3, true)), Next::Leave);
        assert_eq!(client.seen().inputs_lost, 0);
    }
}
