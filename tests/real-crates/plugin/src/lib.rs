//! A plugin that does some work with the crate that its feature names.
#![cfg_attr(
    any(feature = "reclaimed", feature = "cleanup", feature = "crossbeam-epoch"),
    allow(unsafe_code, reason = "promises that nobody else can make: see each")
)]

use midflight_plugin::{Context, Counted, Plugin, StartError, plugin};
use real_contracts::Work;

midflight_plugin::export!(
    Real,
    name = "real",
    version = if cfg!(feature = "v2") { "2.0.0" } else { "1.0.0" }
);

#[cfg(not(any(feature = "mimalloc", feature = "jemalloc")))]
type Inside = std::alloc::System;
#[cfg(not(any(feature = "mimalloc", feature = "jemalloc")))]
const INSIDE: Inside = std::alloc::System;
#[cfg(feature = "mimalloc")]
type Inside = mimalloc::MiMalloc;
#[cfg(feature = "mimalloc")]
const INSIDE: Inside = mimalloc::MiMalloc;
#[cfg(feature = "jemalloc")]
type Inside = tikv_jemallocator::Jemalloc;
#[cfg(feature = "jemalloc")]
const INSIDE: Inside = tikv_jemallocator::Jemalloc;

#[cfg(not(feature = "reclaimed"))]
#[global_allocator]
static ALLOCATOR: Counted<Inside> = Counted::over(INSIDE);
#[cfg(feature = "reclaimed")]
#[global_allocator]
static ALLOCATOR: Counted<midflight_plugin::Reclaimed<Inside>> =
    // SAFETY: the crates below give no memory of theirs to anybody outside of the plugin.
    Counted::over(unsafe { midflight_plugin::Reclaimed::over(INSIDE) });

/// The instance.
#[plugin(implements(Work))]
pub struct Real {
    inner: inner::Inner,
}

impl Plugin for Real {
    fn start(_: &Context<'_>) -> Result<Self, StartError> {
        Ok(Real { inner: inner::start() })
    }
}

impl Work for Real {
    fn work(&self, number: u64) -> u64 {
        inner::work(&self.inner, number)
    }

    fn build(&self) -> u32 {
        if cfg!(feature = "v2") { 2 } else { 1 }
    }
}

#[cfg(any(feature = "mimalloc", feature = "jemalloc"))]
mod inner {
    pub(crate) type Inner = ();
    pub(crate) fn start() {}
    /// Allocates in all sizes, and leaves nothing.
    pub(crate) fn work((): &(), number: u64) -> u64 {
        let blocks: Vec<Vec<u64>> = (0..20).map(|power| vec![number; 1 << (power % 15)]).collect();
        blocks[number as usize % 20][0]
    }
}

#[cfg(feature = "openssl")]
mod inner {
    use openssl::hash::{MessageDigest, hash};
    pub(crate) type Inner = openssl::ssl::SslContext;
    pub(crate) fn start() -> Inner {
        #[cfg(feature = "cleanup")]
        clean_up_at_the_end();
        let method = openssl::ssl::SslMethod::tls_client();
        openssl::ssl::SslContext::builder(method).expect("a context").build()
    }
    pub(crate) fn work(context: &Inner, number: u64) -> u64 {
        let digest = hash(MessageDigest::sha256(), &number.to_le_bytes()).expect("a digest");
        let session = openssl::ssl::Ssl::new(context).expect("a session");
        assert!(digest.len() == 32 && session.version_str() != "");
        number
    }

    /// Not in `Drop`: what the threads that called have there is freed after that, and stays where
    /// OpenSSL was cleaned up before.
    #[cfg(feature = "cleanup")]
    fn clean_up_at_the_end() {
        unsafe extern "C" {
            fn atexit(handler: unsafe extern "C" fn()) -> std::ffi::c_int;
            fn OPENSSL_cleanup();
        }
        // SAFETY: exit handlers of a plugin run when its library is closed; nothing uses OpenSSL
        // then.
        let registered = unsafe { atexit(OPENSSL_cleanup) };
        assert_eq!(registered, 0, "there is room for a handler");
    }
}

#[cfg(feature = "rustls")]
mod inner {
    use std::sync::Arc;
    pub(crate) type Inner = Arc<rustls::ClientConfig>;
    pub(crate) fn start() -> Inner {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let versions = builder.with_safe_default_protocol_versions().expect("versions");
        let roots = rustls::RootCertStore::empty();
        Arc::new(versions.with_root_certificates(roots).with_no_client_auth())
    }
    /// A client's first message.
    pub(crate) fn work(config: &Inner, number: u64) -> u64 {
        let name = "example.org".try_into().expect("a name");
        let mut client = rustls::ClientConnection::new(config.clone(), name).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a message");
        if hello.len() > 100 { number } else { 0 }
    }
}

#[cfg(feature = "rhai")]
mod inner {
    pub(crate) type Inner = ();
    pub(crate) fn start() {}
    pub(crate) fn work((): &(), number: u64) -> u64 {
        let engine = rhai::Engine::new();
        let doubled: i64 = engine.eval(&format!("let a = {number}; a + a")).expect("a sum");
        doubled as u64 / 2
    }
}

#[cfg(feature = "mlua")]
mod inner {
    pub(crate) type Inner = ();
    pub(crate) fn start() {}
    pub(crate) fn work((): &(), number: u64) -> u64 {
        let lua = mlua::Lua::new();
        lua.load(format!("local t = {{}}; for i = 1, 100 do t[i] = i end; return {number}"))
            .eval()
            .expect("a number")
    }
}

#[cfg(feature = "wasmi")]
mod inner {
    pub(crate) type Inner = wasmi::Module;
    /// `(module (func (export "same") (param i64) (result i64) local.get 0))`
    const SAME: &[u8] =
        b"\0asm\x01\0\0\0\x01\x06\x01\x60\x01\x7e\x01\x7e\x03\x02\x01\0\x07\x08\x01\
                          \x04same\0\0\x0a\x06\x01\x04\0\x20\0\x0b";
    pub(crate) fn start() -> Inner {
        wasmi::Module::new(&wasmi::Engine::default(), SAME).expect("a module")
    }
    pub(crate) fn work(module: &Inner, number: u64) -> u64 {
        let mut store = wasmi::Store::new(module.engine(), ());
        let linker = wasmi::Linker::new(module.engine());
        let instance = linker.instantiate_and_start(&mut store, module).expect("an instance");
        let same = instance.get_typed_func::<i64, i64>(&store, "same").expect("a function");
        same.call(&mut store, number as i64).expect("a number") as u64
    }
}

/// A runtime that has ended when it is dropped.
#[cfg(feature = "runtime")]
struct Runtime(Option<tokio::runtime::Runtime>);

#[cfg(feature = "runtime")]
impl Runtime {
    fn start() -> Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Runtime(Some(builder.worker_threads(2).enable_all().build().expect("a runtime")))
    }
}

#[cfg(feature = "runtime")]
impl std::ops::Deref for Runtime {
    type Target = tokio::runtime::Runtime;
    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it runs until it is dropped")
    }
}

#[cfg(feature = "runtime")]
impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

#[cfg(feature = "reqwest")]
mod inner {
    pub(crate) struct Inner(crate::Runtime, reqwest::Client);
    pub(crate) fn start() -> Inner {
        Inner(crate::Runtime::start(), reqwest::Client::new())
    }
    /// A request that nobody answers: the port is the discard service's, which is closed.
    pub(crate) fn work(Inner(runtime, client): &Inner, number: u64) -> u64 {
        match runtime.block_on(client.get("https://127.0.0.1:9/").send()) {
            Ok(_) => 0,
            Err(_) => number,
        }
    }
}

#[cfg(feature = "tokio")]
mod inner {
    pub(crate) type Inner = crate::Runtime;
    pub(crate) fn start() -> Inner {
        crate::Runtime::start()
    }
    pub(crate) fn work(runtime: &Inner, number: u64) -> u64 {
        let task = async move {
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(move || number).await
        };
        runtime.block_on(runtime.spawn(task)).expect("no panic").expect("no panic")
    }
}

#[cfg(feature = "rayon")]
mod inner {
    use rayon::prelude::*;
    pub(crate) type Inner = rayon::ThreadPool;
    pub(crate) fn start() -> Inner {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool")
    }
    pub(crate) fn work(pool: &Inner, number: u64) -> u64 {
        pool.install(|| (0..100_u64).into_par_iter().map(|_| number).max()).unwrap_or(0)
    }
}

#[cfg(feature = "chrono")]
mod inner {
    pub(crate) type Inner = ();
    pub(crate) fn start() {}
    pub(crate) fn work((): &(), number: u64) -> u64 {
        let now = chrono::Local::now();
        let text = now.format("%Y-%m-%d %H:%M:%S %z").to_string();
        if text.len() >= 25 { number } else { 0 }
    }
}

#[cfg(feature = "rayon-global")]
mod inner {
    use rayon::prelude::*;
    pub(crate) type Inner = ();
    pub(crate) fn start() {}
    pub(crate) fn work((): &(), number: u64) -> u64 {
        (0..100_u64).into_par_iter().map(|_| number).max().unwrap_or(0)
    }
}

#[cfg(feature = "rusqlite")]
mod inner {
    use rusqlite::Connection;
    use std::sync::Mutex;
    pub(crate) type Inner = Mutex<Connection>;
    pub(crate) fn start() -> Inner {
        let connection = Connection::open_in_memory().expect("a database in memory");
        connection.execute("create table t (n integer)", []).expect("a table");
        Mutex::new(connection)
    }
    pub(crate) fn work(connection: &Inner, number: u64) -> u64 {
        let connection = connection.lock().expect("nobody has panicked");
        connection.execute("insert into t values (?)", [number as i64]).expect("a row");
        let row = connection.query_row("select max(n) from t", [], |row| row.get::<_, i64>(0));
        connection.execute("delete from t", []).expect("no rows");
        row.expect("a number") as u64
    }
}

#[cfg(feature = "crossbeam-epoch")]
mod inner {
    use crossbeam_epoch::{Atomic, Owned, Shared};
    use std::sync::atomic::Ordering::SeqCst;
    pub(crate) type Inner = Atomic<u64>;
    pub(crate) fn start() -> Inner {
        Atomic::null()
    }
    /// What it takes away is freed later, by whichever thread collects.
    pub(crate) fn work(shared: &Inner, number: u64) -> u64 {
        let pinned = crossbeam_epoch::pin();
        for value in [Owned::new(number).into_shared(&pinned), Shared::null()] {
            let old = shared.swap(value, SeqCst, &pinned);
            if !old.is_null() {
                // SAFETY: it is no longer reachable, and swapped out once.
                unsafe { pinned.defer_destroy(old) };
            }
        }
        number
    }
}

/// What most services are made of: texts, numbers, identities.
#[cfg(feature = "common")]
mod inner {
    pub(crate) type Inner = regex::Regex;
    pub(crate) fn start() -> Inner {
        let pattern = r#"^\{"id":"([0-9a-f-]{36})","price":"([0-9.]+)"\}$"#;
        regex::Regex::new(pattern).expect("a pattern")
    }
    pub(crate) fn work(pattern: &Inner, number: u64) -> u64 {
        let id = uuid::Uuid::new_v4().to_string();
        let price = rust_decimal::Decimal::new(number as i64, 2) + rust_decimal::Decimal::ONE;
        let json = serde_json::json!({ "id": id, "price": price.to_string() }).to_string();
        let found = pattern.captures(&json).expect("what was written");
        let read: rust_decimal::Decimal = found[2].parse().expect("a price");
        let salt: u32 = rand::random();
        let cents = (read - rust_decimal::Decimal::ONE) * rust_decimal::Decimal::ONE_HUNDRED;
        let whole = found[1] == id && cents == rust_decimal::Decimal::from(number);
        if whole || salt == 0 { number } else { 0 }
    }
}

#[cfg(feature = "signal-hook")]
mod inner {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    pub(crate) type Inner = signal_hook::SigId;
    pub(crate) fn start() -> Inner {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag).expect("a handler")
    }
    pub(crate) fn work(_: &Inner, number: u64) -> u64 {
        number
    }
}
