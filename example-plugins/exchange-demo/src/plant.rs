//! Planted faults: the service with one thing done wrong, so that the run can be seen to fail.

use anyhow::bail;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use exchange::{Exchange, NewOrder, Receipt, declined};
use exchange_contracts::Refused;
use hyper::body::Frame;
use midflight::{CallError, Lease};

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::task::block_in_place;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The second half of an order's calls is made outside of its request.
    Mixed,
    /// An answer is thrown away now and then.
    Drop,
    /// Now and then an order is served from a lease that was taken long ago.
    Stale,
}

impl Plant {
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "mixed" => Plant::Mixed,
            "drop" => Plant::Drop,
            "stale" => Plant::Stale,
            other => bail!("nothing that is planted is called `{other}`"),
        })
    }
}

/// The exchange's own router, or one that does an order wrong.
pub(crate) fn router(exchange: &Exchange, plant: Option<Plant>) -> Router {
    let exchange = exchange.clone();
    match plant {
        None => exchange.router(),
        Some(Plant::Drop) => exchange.router().layer(from_fn(drop_some)),
        Some(Plant::Mixed) => {
            Router::new().route("/orders", post(half_pinned)).with_state(exchange)
        }
        Some(Plant::Stale) => {
            Router::new().route("/orders", post(kept)).with_state((exchange, Arc::default()))
        }
    }
}

async fn drop_some(request: Request, next: Next) -> Response {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    let answer = next.run(request).await;
    if ANSWERS.fetch_add(1, Relaxed) % 1_000 == 999 {
        answer.map(|_| Body::new(Torn))
    } else {
        answer
    }
}

/// A body that ends before it began.
struct Torn;

impl HttpBody for Torn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Err(io::Error::other("thrown away"))))
    }
}

async fn half_pinned(
    State(exchange): State<Exchange>,
    Json(new): Json<NewOrder>,
) -> Result<Json<Receipt>, Response> {
    let half_pinned = || {
        let order = exchange.book().number(&new);
        let (before, fee, generation, release) = exchange.group().request(|r| {
            let fees = r.get(exchange.fees());
            Ok::<_, CallError<Refused>>((
                fees.served_by()?,
                fees.fee(&order)?,
                r.generation(exchange.fees()),
                r.release_number(),
            ))
        })?;
        exchange.settle(&order, new.settle_us);
        let fees = exchange.fees();
        Ok(Receipt {
            id: order.id,
            fee,
            version: fees.label()?,
            generation,
            served_by: [Some(before), Some(fees.served_by()?), fees.served_by_through_the_book()?],
            release,
            release_after: exchange.group().release_number(),
        })
    };
    block_in_place(half_pinned).map(Json).map_err(declined)
}

type Kept = (Exchange, Arc<OnceLock<Lease>>);

async fn kept(
    State((exchange, kept)): State<Kept>,
    Json(new): Json<NewOrder>,
) -> Result<Json<Receipt>, Response> {
    if new.settle_us == 0 {
        return block_in_place(|| exchange.place(new)).map(Json).map_err(declined);
    }
    let from_the_lease = || {
        let order = exchange.book().number(&new);
        if kept.get().is_none() {
            let _ = kept.set(exchange.group().lease()?);
        }
        let Some(lease) = kept.get() else { unreachable!("set above") };
        let fees = lease.get(exchange.fees());
        let (before, fee) = (fees.served_by()?, fees.fee(&order)?);
        exchange.settle(&order, new.settle_us);
        Ok(Receipt {
            id: order.id,
            fee,
            version: fees.label()?,
            generation: lease.generation(exchange.fees()),
            served_by: [Some(before), Some(fees.served_by()?), fees.served_by_through_the_book()?],
            release: lease.release_number(),
            release_after: exchange.group().release_number(),
        })
    };
    block_in_place(from_the_lease).map(Json).map_err(declined)
}
