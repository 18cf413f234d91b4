//! What exists once for each copy of std, and what that means.
//!
//! A plugin is linked with a copy of std of its own, as with a copy of every other crate that it
//! uses. A static of such a crate exists once in the host and once in each generation of each
//! plugin, and two versions of one plugin share none. Most code never notices. What does notice has
//! a static behind it that stands for something of the whole process, or that both sides were
//! expected to share.
//!
//! # What is led to the host
//!
//! | what | how many there are | what that means |
//! |---|---|---|
//! | the lock around the environment | one a copy; but reading one variable, setting, and removing go to the host's std, under its lock | `std::env::var` and `set_var` are as safe in a plugin as in the host. `std::env::vars` and `std::process::Command` read the list itself, under the plugin's own lock: while nobody adds variables that is safe |
//! | destructors of thread-locals, keys | the values are one a thread and copy; the host runs the destructors | each runs once, on its thread, before the plugin is unmapped |
//! | threads | the system's; the host counts those that plugins start | a plugin is not unmapped while one runs |
//! | handlers of signals | the process's; the host notes who set one | a plugin that has set one stays for good: handle signals in the host |
//! | events of `tracing`, records of `log` | a dispatcher and a logger one a copy; the plugin's hand on to the host's | the current span is its caller's, for `Span::current`, `record` and `in_current_span`; key-values of records are fields. A subscriber or logger that a plugin sets itself fails, since the plugin's runtime has set its own: leave it out, or use `try_init` and ignore its error |
//! | panics | a hook and a count one a copy; the plugin's hook is set by its runtime, and tells the host | a panic is a fault of the call. `std::panic::set_hook` in the host does not see panics of plugins, and one that a plugin sets (color_eyre) is called as well, behind the runtime's. One that is set after `start` takes place and frames of the first panic. `std::thread::panicking` is about the plugin's own panics |
//!
//! # What is not
//!
//! | what | how many there are | what that means |
//! |---|---|---|
//! | a `static`, `OnceLock`, `LazyLock`, `thread_local!` | one a copy | a counter in a crate that both sides use counts twice; a cache is filled twice; a new version begins with empty ones. State that is to last is handed over ([`state`](super::state)) or kept by the host |
//! | `TypeId`, vtables, function addresses | one a copy | never compare them across the boundary. `Any` does not cross |
//! | the allocator | one a copy, the author's choice | what one side allocates it frees. Values that cross are rebuilt, so no contract need care |
//! | the name of a thread, `thread::current()` | a handle one a thread and copy | a plugin sees threads that it did not start as having no name, and with an id of its own numbering; `park` and `unpark` work among handles of one copy |
//! | the buffer and the lock of standard output | one a copy | lines of two copies can be mixed within a line, and `print!` without a newline stays in the plugin's buffer, which is lost with it. Log, or write whole lines |
//! | the buffer of standard input | one a copy | what one copy has read ahead, no other gets. Read it in one place |
//! | the C library's `stdout` | one for the process | it is not std's; each has a buffer of its own |
//! | `std::env::args` | one a copy, filled at its start by the loader | the same arguments everywhere on glibc |
//! | the count for `RUST_BACKTRACE`, the symboliser and its cache | one a copy | a plugin reads the variable by itself. Names of frames are not found in a plugin; the host names those of panics, where it was asked to |
//! | the seed of `HashMap`, of crates like `rand` | one a thread and copy | two copies iterate over equal maps in different orders |
//! | `std::process::exit` | the process's | it ends the host. Handlers run, values on stacks are not dropped. A plugin returns an error instead |
//! | the handling of SIGPIPE, of stack overflow | set by the host's std, when it starts | a plugin inherits it. Threads that a plugin starts have no alternative stack, so a stack overflow there is a plain SIGSEGV |
//! | `std::alloc::set_alloc_error_hook`, `OUTPUT_CAPTURE` of tests | one a copy | output of a plugin is not captured by a test of the host's |
//! | a runtime of an executor (`tokio::runtime::Handle::current`), rayon's global pool, a metrics registry, a logger of another crate | one a copy | a plugin is in no runtime of the host's, whatever thread it is called on: see below |
//! | libraries of C that are linked statically: OpenSSL, SQLite, an allocator | one a copy | initialised once for each; two copies that share a file or a signal get in each other's way as two processes would |
//! | libraries that are linked dynamically | one for the process | what a plugin registers there stays: see the chapter on unloading of the crate `midflight` |
//! | the working directory, the umask, file descriptors, locales, `errno` | the process's, or the thread's | a plugin that changes one changes the host's |
//!
//! # tokio in a plugin
//!
//! An `async fn` of a contract is polled by whatever executor its caller uses, and `.await` on
//! other contracts' futures, channels and locks works there. What tokio has for time, sockets,
//! files and `spawn` asks for *the plugin's* runtime, and panics with "there is no reactor running,
//! must be called from the context of a Tokio 1.x runtime" although the host is in one: that is
//! another copy of tokio. There are two ways:
//!
//! - **A service of the host's** does the waiting: a contract with `async fn sleep(&self, ms: u64)`
//!   or `async fn get(&self, url: String) -> Result<Vec<u8>, String>` that the host implements with
//!   its own runtime. The plugin keeps no thread, and unloads at once. Prefer it.
//! - **A runtime of the instance's own**, entered around what needs it:
//!
//! ```ignore
//! struct Quotes { runtime: Option<tokio::runtime::Runtime> }
//!
//! impl Plugin for Quotes {
//!     fn start(_cx: &Context<'_>) -> Result<Self, StartError> {
//!         let mut runtime = tokio::runtime::Builder::new_multi_thread();
//!         Ok(Quotes { runtime: Some(runtime.worker_threads(1).enable_all().build()?) })
//!     }
//! }
//!
//! impl Feed for Quotes {
//!     async fn quote(&self, symbol: String) -> Result<u64, String> {
//!         let runtime = self.runtime.as_ref().expect("until the drop");
//!         // On the plugin's runtime, awaited from the host's.
//!         runtime.spawn(async move { ask(symbol).await }).await.map_err(|e| e.to_string())?
//!     }
//! }
//!
//! impl Drop for Quotes {
//!     fn drop(&mut self) {
//!         // Its threads are gone before the library is: waits for them, at most so long.
//!         let runtime = self.runtime.take().expect("dropped once");
//!         runtime.shutdown_timeout(std::time::Duration::from_secs(5));
//!     }
//! }
//! ```
//!
//! Panics and refusals that have tokio's text in them name this page.
