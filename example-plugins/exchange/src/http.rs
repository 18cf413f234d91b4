//! The exchange's face to its clients: HTTP and JSON.

use crate::{Exchange, NewOrder, Receipt};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use exchange_contracts::{Refused, Side};
use midflight::CallError;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::task::block_in_place;

impl Exchange {
    /// `POST /orders`, `GET /quotes/{symbol}` and `GET /status`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/orders", post(orders))
            .route("/quotes/{symbol}", get(quotes))
            .route("/status", get(status))
            .with_state(self.clone())
    }
}

// A plugin's code runs on this thread, and how long it takes is its author's business.
// `block_in_place` lets the runtime take its other connections elsewhere meanwhile.
// `spawn_blocking` would do so too, at the price of a hop to another thread and back.
async fn orders(
    State(exchange): State<Exchange>,
    Json(new): Json<NewOrder>,
) -> Result<Json<Receipt>, Response> {
    block_in_place(|| exchange.place(new)).map(Json).map_err(declined)
}

async fn quotes(
    State(exchange): State<Exchange>,
    Path(symbol): Path<String>,
) -> Result<Json<Value>, Response> {
    let quote = block_in_place(|| exchange.quote(&symbol)).map_err(declined)?;
    Ok(Json(json!({
        "symbol": quote.symbol.as_str(),
        "price_ticks": quote.price_ticks,
        "depth": quote.depth,
        "fee_ticks": quote.fee_ticks,
    })))
}

async fn status(State(exchange): State<Exchange>) -> Json<Value> {
    let status = exchange.host().status();
    let generation = |g: &midflight::GenerationStatus| json!({ "plugin": g.plugin, "version": g.version, "generation": g.generation, "residency": g.residency.to_string() });
    Json(status.generations.iter().map(generation).collect())
}

/// What a client hears of a call that brought no answer: the plugin's own refusal is 422 and the
/// client's business; a fault is 503 and the operator's, and says which plugin it was.
pub fn declined(error: CallError<Refused>) -> Response {
    match error {
        CallError::Declined(refused) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "refused": refused.to_string() })))
                .into_response()
        }
        CallError::Fault(fault) => {
            let body = json!({ "fault": fault.code(), "plugin": fault.plugin(), "message": fault.to_string() });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// A contract's records are no serde types, and need not be.
pub(crate) fn side<'de, D: Deserializer<'de>>(from: D) -> Result<Side, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase", remote = "Side")]
    enum Word {
        Buy,
        Sell,
    }
    Word::deserialize(from)
}
