//! What crates of others leave behind.

use crossbeam_epoch::{Atomic, Owned};
use nasty_contracts::Deed;
use parking_lot::{Condvar, Mutex};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

pub(crate) fn commit(deed: Deed, number: u64) -> u64 {
    match deed {
        Deed::Rayon => (0..1_000_u64).into_par_iter().sum(),
        Deed::Tokio => tokio(number == 1),
        Deed::Sqlite => sqlite().expect("a database in memory"),
        Deed::Regex => regex(),
        Deed::Rand => {
            let (one, two): (u64, u64) = (rand::random(), rand::random());
            u64::from(one != two)
        }
        Deed::ParkingLot => parking_lot(),
        Deed::CrossbeamEpoch => crossbeam_epoch(),
        Deed::SignalHook => signal_hook(),
        other => panic!("{other:?} is not in this build"),
    }
}

static RUNTIME: Mutex<Option<(Runtime, bool)>> = Mutex::new(None);

fn tokio(shut_down: bool) -> u64 {
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_name("nasty-tokio").enable_all();
    let runtime = runtime.build().expect("a runtime");
    let answer = runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                    task
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.expect("no panic");
        }
        sum
    });
    *RUNTIME.lock() = Some((runtime, shut_down));
    answer
}

pub(crate) fn stop() {
    if let Some((runtime, true)) = RUNTIME.lock().take_if(|(_, shut_down)| *shut_down) {
        runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

fn sqlite() -> rusqlite::Result<u64> {
    let connection = rusqlite::Connection::open_in_memory()?;
    connection.execute_batch("create table t(n integer); insert into t values (1), (2), (39);")?;
    connection
        .query_row("select sum(n) from t", [], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

fn regex() -> u64 {
    let pattern = regex::Regex::new(r"([a-z]+)-([0-9]+)").expect("a pattern");
    pattern.captures("abc-42").map_or(0, |found| found[2].parse().expect("a number"))
}

fn parking_lot() -> u64 {
    static TURN: Mutex<u64> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    const THREADS: u64 = 3;
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            thread::spawn(move || {
                for _ in 0..20 {
                    let mut turn = TURN.lock();
                    CHANGED.wait_while(&mut turn, |turn| *turn % THREADS != me);
                    *turn += 1;
                    CHANGED.notify_all();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    *TURN.lock()
}

fn crossbeam_epoch() -> u64 {
    let shared = Atomic::new(vec![1_u8; 64]);
    for _ in 0..100 {
        let pinned = crossbeam_epoch::pin();
        let old = shared.swap(Owned::new(vec![2_u8; 64]), SeqCst, &pinned);
        // SAFETY: it is no longer reachable, and swapped out once.
        unsafe { pinned.defer_destroy(old) };
    }
    // SAFETY: nobody else has it.
    drop(unsafe { shared.into_owned() });
    100
}

fn signal_hook() -> u64 {
    let flag = Arc::new(AtomicBool::new(false));
    let id = signal_hook::flag::register(libc::SIGUSR2, Arc::clone(&flag)).expect("a handler");
    signal_hook::low_level::raise(libc::SIGUSR2).expect("a signal");
    let arrived = flag.load(SeqCst);
    u64::from(arrived && signal_hook::low_level::unregister(id))
}
