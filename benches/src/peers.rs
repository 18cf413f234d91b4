//! The peers, each as its own documentation says, in its default configuration.
#![allow(unsafe_code, reason = "what these libraries hand out is called on their word")]

use crate::libraries::{self, Libraries};
use dynamic_reload::{DynamicReload, Lib, PlatformName, Search, Symbol, UpdateState};
use relib_host::Module;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use generated::{ModuleExports, init_imports};

#[allow(
    unused,
    missing_docs,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "relib generates it"
)]
mod generated {
    relib_interface::include_exports!();
    relib_interface::include_imports!();
    pub use gen_exports::ModuleExports;
    pub use gen_imports::init_imports;
}

/// A bare function of a library that is never closed.
pub struct Bare {
    /// `add`.
    pub add: extern "C" fn(u64, u64) -> u64,
}

impl Bare {
    /// Opens `library` for good.
    ///
    /// # Panics
    /// It can't be opened, or has no such function.
    pub fn open(library: &Path) -> Self {
        // SAFETY: a library of this package; its function has this type.
        unsafe {
            let library = libloading::Library::new(library).expect("it opens");
            let add = *library
                .get::<extern "C" fn(u64, u64) -> u64>(b"bare_add\0")
                .expect("its function");
            std::mem::forget(library);
            Bare { add }
        }
    }
}

static WATCHED_BY_HOT_LIB: OnceLock<PathBuf> = OnceLock::new();

pub use hot::hot_lib;

#[allow(static_mut_refs, missing_docs, unused, unreachable_pub, reason = "what its macro makes")]
mod hot {
    use super::watched_by_hot_lib;

    /// hot-lib-reloader: the functions of a module of its macro.
    #[hot_lib_reloader::hot_module(dylib = "bench_peers", lib_dir = super::watched_by_hot_lib())]
    pub mod hot_lib {
        #[hot_functions]
        extern "Rust" {
            pub fn add(a: u64, b: u64) -> u64;
            pub fn version() -> u64;
        }
    }
}

fn watched_by_hot_lib() -> PathBuf {
    WATCHED_BY_HOT_LIB.get().expect("set up first").clone()
}

/// Puts the library where [`hot_lib`] looks for it, and says where that is.
pub fn set_up_hot_lib(libraries: &Libraries) -> PathBuf {
    let directory = WATCHED_BY_HOT_LIB.get_or_init(|| {
        let directory = libraries.new_directory("hot-lib-reloader");
        libraries::place(&libraries.peers[0], &directory.join("libbench_peers.so"));
        directory
    });
    hot_lib::version();
    directory.join("libbench_peers.so")
}

/// `dynamic_reload`, with the handler of its example.
pub struct Dynamic {
    reload: DynamicReload,
    plugins: Plugins,
    /// The file that it watches.
    pub watched: PathBuf,
}

/// What its example calls so: the libraries that are loaded now.
#[derive(Default)]
pub struct Plugins(Vec<Arc<Lib>>);

impl Plugins {
    fn reload(&mut self, state: UpdateState, library: Option<&Arc<Lib>>) {
        match (state, library) {
            (UpdateState::Before, Some(library)) => self.0.retain(|other| other != library),
            (UpdateState::After, Some(library)) => self.0.push(Arc::clone(library)),
            _ => {}
        }
    }

    fn call<F: Copy, R>(&self, name: &[u8], call: impl FnOnce(F) -> R) -> Option<R> {
        // SAFETY: functions of this package's library, by their types.
        let symbol: Symbol<'_, F> = unsafe { self.0.first()?.lib.get(name) }.ok()?;
        Some(call(*symbol))
    }

    /// As in its example, the function is looked up for each call.
    #[inline]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        self.call(b"bare_add\0", |add: extern "C" fn(u64, u64) -> u64| add(a, b)).unwrap_or(0)
    }

    /// Which build is loaded.
    pub fn version(&self) -> u64 {
        self.call(b"bare_version\0", |version: extern "C" fn() -> u64| version()).unwrap_or(0)
    }
}

impl Dynamic {
    /// Loads version 1 from a directory of its own, with the two seconds of its documentation.
    ///
    /// # Panics
    /// It does not load.
    pub fn start(libraries: &Libraries) -> Self {
        let directory = libraries.new_directory("dynamic_reload");
        let watched = directory.join("libbench_peers.so");
        libraries::place(&libraries.peers[0], &watched);
        let directory: &'static str =
            Box::leak(directory.to_string_lossy().into_owned().into_boxed_str());
        let (search, pause) = (Search::Default, Duration::from_secs(2));
        let mut reload = DynamicReload::new(Some(vec![directory]), Some(directory), search, pause);
        // SAFETY: a library of this package.
        let library =
            unsafe { reload.add_library("bench_peers", PlatformName::Yes) }.expect("it loads");
        Dynamic { reload, plugins: Plugins(vec![library]), watched }
    }

    /// What its example does in a loop, without the half second that it sleeps there.
    pub fn update(&mut self) {
        // SAFETY: a library of this package.
        unsafe { self.reload.update(&Plugins::reload, &mut self.plugins) };
    }

    /// What is loaded now.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }
}

/// relib's module: of one thread.
pub struct Relib {
    module: Option<Module<ModuleExports>>,
    /// The file that it loads.
    pub file: PathBuf,
}

impl Relib {
    /// Loads version 1 from a directory of its own.
    pub fn start(libraries: &Libraries) -> Self {
        let file = libraries.new_directory("relib").join("libbench_relib.so");
        libraries::place(&libraries.relib[0], &file);
        let mut relib = Relib { module: None, file };
        relib.reload();
        relib
    }

    /// Unloads what is loaded, and loads the file.
    ///
    /// # Panics
    /// Where relib says an error.
    pub fn reload(&mut self) {
        if let Some(module) = self.module.take() {
            module.unload().unwrap_or_else(|error| panic!("relib does not unload: {error:#}"));
        }
        // SAFETY: a module of this package, with these exports and no imports.
        let module = unsafe { relib_host::load_module(&self.file, init_imports) };
        self.module = Some(module.unwrap_or_else(|error| panic!("relib does not load: {error:#}")));
    }

    /// The call that all lanes make.
    #[inline]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        // SAFETY: the module's export has this type.
        self.module.as_ref().and_then(|module| unsafe { module.exports().add(a, b) }).unwrap_or(0)
    }

    /// Which build is loaded.
    pub fn version(&self) -> u64 {
        // SAFETY: as above.
        self.module.as_ref().and_then(|module| unsafe { module.exports().version() }).unwrap_or(0)
    }
}
