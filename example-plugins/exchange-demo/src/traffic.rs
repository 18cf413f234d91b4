//! The clients: real HTTP over connections that are kept alive, on a thread and a runtime of their
//! own.
//!
//! How long an answer took is counted from when its request was *due*, not from when it was sent. A
//! client that waits for one answer before it thinks of the next request sends nothing while the
//! service stands still, and reports one slow answer where a hundred clients would have waited. So
//! most clients here follow a schedule at half of what the service can do. A few do wait, with
//! orders that keep the service busy for a while: nearly all the time one of them is in the middle
//! of a request, and a swap has to pass it.

use crate::answers::{Order, Orders};
use crate::ledger::Ledger;
use crate::plan::Kind;
use anyhow::ensure;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustix::thread::set_current_timer_slack;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections that follow the schedule, in turn.
const PACED: usize = 16;
/// Connections whose orders keep the service busy.
const WITNESSES: u64 = 3;
const WITNESS_SETTLE_US: u32 = 2_000;
/// An answer that has not come by then is lost.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
const CALIBRATION: Duration = Duration::from_millis(1_000);
const WARM_UP: Duration = Duration::from_millis(300);

/// The traffic of a run.
pub(crate) struct Traffic {
    over: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

/// A request is due.
struct Due {
    at: Instant,
    phase: Kind,
}

impl Traffic {
    pub(crate) fn start(
        address: SocketAddr,
        per_second: f64,
        ledger: Arc<Ledger>,
    ) -> anyhow::Result<Self> {
        let runtime = runtime()?;
        let over = Arc::new(AtomicBool::new(false));
        let mut lanes = Vec::new();
        let mut clients = JoinSet::new();
        for seed in 0..PACED as u64 {
            let (lane, due) = unbounded_channel();
            lanes.push(lane);
            clients.spawn_on(
                paced(Client::new(address, Orders::new(seed, 0)), due, ledger.clone()),
                runtime.handle(),
            );
        }
        for seed in 0..WITNESSES {
            let client = Client::new(address, Orders::new(1_000 + seed, WITNESS_SETTLE_US));
            clients.spawn_on(witness(client, over.clone(), ledger.clone()), runtime.handle());
        }
        let pace = thread::Builder::new().name("pace".into()).spawn({
            let over = over.clone();
            move || pace(Duration::from_secs_f64(1.0 / per_second), &lanes, &ledger, &over)
        })?;
        let clients = thread::Builder::new().name("clients".into()).spawn(move || {
            runtime.block_on(async { while clients.join_next().await.is_some() {} });
        })?;
        Ok(Traffic { over, threads: [pace, clients] })
    }

    /// Sends nothing more, and waits for what is under way.
    pub(crate) fn stop(self) {
        self.over.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("clients don't panic");
        }
    }
}

/// How many requests per second the service answers when the same connections send as fast as they
/// can.
pub(crate) fn calibrate(address: SocketAddr) -> anyhow::Result<f64> {
    runtime()?.block_on(async {
        let begin = Instant::now() + WARM_UP;
        let end = begin + CALIBRATION;
        let mut clients = JoinSet::new();
        for seed in 0..PACED as u64 {
            clients.spawn(async move {
                let mut client = Client::new(address, Orders::new(seed, 0));
                let mut answers = 0_u32;
                while Instant::now() < end {
                    let order = client.orders.next().expect("orders without end");
                    // Lost ones just don't count here: whether any is lost is for the run itself to
                    // find.
                    answers +=
                        u32::from(client.send(&order).await.is_ok() && Instant::now() > begin);
                }
                answers
            });
        }
        let mut answers = 0;
        while let Some(client) = clients.join_next().await {
            answers += client?;
        }
        ensure!(answers > 0, "the service answers nothing");
        Ok(f64::from(answers) / CALIBRATION.as_secs_f64())
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Says when requests are due. A thread, because a runtime's timers count in milliseconds.
fn pace(interval: Duration, lanes: &[UnboundedSender<Due>], ledger: &Ledger, over: &AtomicBool) {
    // Without it the kernel adds 50 µs to every sleep, and to every latency. Not fatal: it would
    // add to both that are compared.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
    let mut at = Instant::now();
    for lane in lanes.iter().cycle() {
        at += interval;
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if over.load(Relaxed) {
            return; // the lanes end, and with them their clients
        }
        let _ = lane.send(Due { at, phase: ledger.phase() });
    }
}

async fn paced(mut client: Client, mut due: UnboundedReceiver<Due>, ledger: Arc<Ledger>) {
    while let Some(Due { at, phase }) = due.recv().await {
        client.order(&ledger).await;
        ledger.waited(phase, at);
    }
}

async fn witness(mut client: Client, over: Arc<AtomicBool>, ledger: Arc<Ledger>) {
    while !over.load(Relaxed) {
        client.order(&ledger).await;
    }
}

/// One connection, opened again where it was lost.
struct Client {
    address: SocketAddr,
    orders: Orders,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    fn new(address: SocketAddr, orders: Orders) -> Self {
        Client { address, orders, connection: None }
    }

    /// Sends the next order, once, and has its answer judged. Nothing is sent twice: a lost answer
    /// is lost.
    async fn order(&mut self, ledger: &Ledger) {
        let order = self.orders.next().expect("orders without end");
        let sent = ledger.send();
        let answer = self.send(&order).await;
        ledger.judge(&order, &sent, &answer);
    }

    async fn send(&mut self, order: &Order) -> Result<(u16, Bytes), String> {
        let answer = timeout(ANSWER_DEADLINE, self.exchange(order)).await;
        let answer = answer.map_err(|_| format!("no answer within {ANSWER_DEADLINE:?}")).flatten();
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, order: &Order) -> Result<(u16, Bytes), String> {
        let request = Request::post("/orders")
            .header(HOST, "exchange")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(order).map_err(|error| error.to_string())?))
            .map_err(|error| error.to_string())?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(self.address).await?),
        };
        connection.ready().await.map_err(|error| error.to_string())?;
        let answer = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}
