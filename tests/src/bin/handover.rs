//! The hand-over at size: a million items go from schema 1 to 2 and back, under calls that never
//! stop.
//!
//! ```text
//! cargo run --release -p midflight-tests --bin handover -- --items 1000000 --json
//! ```
//!
//! It exits with 0 only if no item was lost, no call failed, and no call waited for longer than
//! `handover_wait_max`. `wait_ms` are the longest waits of the callers, one a hand-over;
//! `migrate_ms` is the whole update, the copy ahead included, and `migrate_ratio` compares it with
//! a plain postcard round trip of the same items. `service_wait_ms` is the longest wait where the
//! same items are the host's own, and a plugin that uses them is swapped.

use keeping_contracts::{Clerk, Keeping};
use midflight::{Host, Slot};
use midflight_tests::{Desk, Fixture, arguments};
use probe_contracts::{Desk as DeskContract, Probe};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

const USAGE: &str = "handover [--items N] [--rounds N] [--json]";
const CALLERS: u64 = 2;
const WAIT_MAX_MS: f64 = 250.0;

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    total: i64,
    name: String,
}

struct NoClerk;

impl Clerk for NoClerk {
    fn sum(&self) -> i64 {
        0
    }

    fn leave(&self, _: &str) {}
}

fn main() -> ExitCode {
    let ([items, rounds], as_json) = match arguments(USAGE, [("items", 1_000_000), ("rounds", 3)]) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let plain_ms = round_trip(items);
    let handed = hand_over(items, rounds);
    let service_wait_ms = service(items, rounds);
    let max = handed.waits.iter().copied().fold(0.0, f64::max);
    let report = json!({
        "items": items, "hand_overs": handed.waits.len(), "calls": handed.calls,
        "lost": handed.lost, "failed": handed.failed,
        "wait_ms": quantiles(&handed.waits), "shut_ms": quantiles(&handed.shut),
        "migrate_ms": quantiles(&handed.migrations), "round_trip_ms": plain_ms,
        "migrate_ratio": middle(&handed.migrations) / plain_ms,
        "service_wait_ms": quantiles(&service_wait_ms),
    });
    match as_json {
        true => println!("{report:#}"),
        false => println!("{report}"),
    }
    ExitCode::from(u8::from(handed.lost != 0 || handed.failed != 0 || max > WAIT_MAX_MS))
}

/// The same items through postcard, once there and back.
fn round_trip(items: u64) -> f64 {
    let name = |number| format!("account {number:08}");
    let all: BTreeMap<u64, Item> =
        (0..items).map(|number| (number, Item { total: 0, name: name(number) })).collect();
    let began = Instant::now();
    let bytes = postcard::to_allocvec(&all).expect("bytes");
    let back: BTreeMap<u64, Item> = postcard::from_bytes(&bytes).expect("items");
    let took = began.elapsed();
    assert_eq!(back.len(), all.len());
    ms(took)
}

#[derive(Default)]
struct Handed {
    calls: u64,
    failed: u64,
    lost: i64,
    waits: Vec<f64>,
    /// For how long the door was shut.
    shut: Vec<f64>,
    migrations: Vec<f64>,
}

fn hand_over(items: u64, rounds: u64) -> Handed {
    let home = tempfile::tempdir().expect("a directory");
    let [first, second] = Fixture::build([Fixture::Keeping, Fixture::KeepingV2], home.path());
    let host = Host::builder()
        .provide::<dyn Clerk, _>(Arc::new(NoClerk))
        .run_directory(home.path().join("run"));
    let host = host.start().expect("a host");
    let slot = host.slot::<dyn Keeping>("keeping").expect("a slot");
    host.apply(first).expect("schema 1");
    slot.open(items).expect("opened");
    let before = slot.sum().expect("a sum");
    let mut events = host.events();

    let mut handed = Handed::default();
    let callers = Callers::default();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (callers, slot) = (&callers, slot.clone());
            scope.spawn(move || {
                let mut number = caller * items / CALLERS;
                callers.call(|| {
                    number = (number + 7_919) % items;
                    slot.pay(number, 1).is_ok()
                });
            });
        }
        for _ in 0..rounds {
            for way in ["up", "back"] {
                callers.longest_ns.store(0, Relaxed);
                let began = Instant::now();
                match way {
                    "up" => drop(host.apply(&second).expect("schema 2")),
                    _ => drop(host.rollback("keeping").expect("schema 1 again")),
                }
                handed.migrations.push(ms(began.elapsed()));
                // Who waited is through when each has called once more.
                thread::sleep(Duration::from_millis(20));
                handed.waits.push(ms(Duration::from_nanos(callers.longest_ns.load(Relaxed))));
                while let Some(event) = events.next_timeout(Duration::ZERO) {
                    if event.kind.name() == "handed_over" {
                        handed.shut.push(ms(event.took));
                    }
                }
            }
        }
        callers.over.store(true, Relaxed);
    });
    (handed.calls, handed.failed) = (callers.calls.load(Relaxed), callers.failed.load(Relaxed));
    let paid = i64::try_from(handed.calls - handed.failed).unwrap_or(i64::MAX);
    handed.lost = before + paid - slot.sum().expect("a sum");
    handed.lost += items.abs_diff(slot.count().expect("a count")).cast_signed();
    handed
}

/// The same items in the host: what is swapped is code.
fn service(items: u64, rounds: u64) -> Vec<f64> {
    let book: BTreeMap<u64, Item> = (0..items)
        .map(|number| (number, Item { total: 0, name: format!("account {number:08}") }))
        .collect();
    let home = tempfile::tempdir().expect("a directory");
    let [first, second] = Fixture::build([Fixture::V1, Fixture::V2], home.path());
    let host = Host::builder().provide::<dyn DeskContract, _>(Arc::new(Desk::default()));
    let host = host.run_directory(home.path().join("run")).start().expect("a host");
    let slot: Slot<dyn Probe> = host.slot("probe").expect("a slot");
    host.apply(&first).expect("applied");
    let callers = Callers::default();
    let mut waits = Vec::new();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (callers, slot, book) = (&callers, slot.clone(), &book);
            scope.spawn(move || {
                let mut number = caller;
                callers.call(|| {
                    number = (number + 7_919) % items;
                    slot.version().is_ok() && book.contains_key(&number)
                });
            });
        }
        for _ in 0..rounds {
            for version in [&second, &first] {
                callers.longest_ns.store(0, Relaxed);
                host.apply(version).expect("applied");
                thread::sleep(Duration::from_millis(20));
                waits.push(ms(Duration::from_nanos(callers.longest_ns.load(Relaxed))));
            }
        }
        callers.over.store(true, Relaxed);
    });
    assert_eq!(callers.failed.load(Relaxed), 0);
    waits
}

#[derive(Default)]
struct Callers {
    over: AtomicBool,
    calls: AtomicU64,
    failed: AtomicU64,
    longest_ns: AtomicU64,
}

impl Callers {
    fn call(&self, mut call: impl FnMut() -> bool) {
        while !self.over.load(Relaxed) {
            let began = Instant::now();
            let well = call();
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.longest_ns.fetch_max(took, Relaxed);
            self.calls.fetch_add(1, Relaxed);
            self.failed.fetch_add(u64::from(!well), Relaxed);
        }
    }
}

fn ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e5).round() / 100.0
}

fn middle(values: &[f64]) -> f64 {
    at(values, 0.5)
}

fn at(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (quantile * last as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

fn quantiles(values: &[f64]) -> Value {
    json!({ "p50": at(values, 0.5), "p99": at(values, 0.99), "max": at(values, 1.0) })
}
