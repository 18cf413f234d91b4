//! A plugin that does everything that makes unloading hard. Its features choose the build, what it
//! is linked with, and what else it can do.

#![allow(
    unsafe_code,
    reason = "keys, signals and constructors have no safe face, and what breaks unloading uses them"
)]

mod common;
#[cfg(feature = "constructor")]
mod constructor;
#[cfg(feature = "crates")]
mod crates;
mod locals;
#[cfg(feature = "native")]
mod native;
mod system;
#[cfg(feature = "without-hooks")]
mod without_hooks;

use midflight_plugin::{Context, Plugin, Service, StartError, plugin};
use nasty_contracts::{Deed, Ledger, Nasty};

const BUILD: u32 = if cfg!(feature = "v2") { 2 } else { 1 };

#[cfg(not(feature = "without-hooks"))]
midflight_plugin::export!(
    TheNasty,
    name = "nasty",
    version = if cfg!(feature = "v2") { "2.0.0" } else { "1.0.0" }
);

#[cfg(not(feature = "mimalloc"))]
#[global_allocator]
static ALLOCATOR: midflight_plugin::Counted<midflight_plugin::Reclaimed> =
    // SAFETY: what this plugin gives to the system and to others is copied there, or taken back.
    midflight_plugin::Counted::over(unsafe { midflight_plugin::Reclaimed::new() });

#[cfg(all(feature = "mimalloc", feature = "reclaimed"))]
#[global_allocator]
static ALLOCATOR: midflight_plugin::Counted<midflight_plugin::Reclaimed<mimalloc::MiMalloc>> =
    // SAFETY: as above.
    midflight_plugin::Counted::over(unsafe {
            midflight_plugin::Reclaimed::over(mimalloc::MiMalloc)
        });

#[cfg(all(feature = "mimalloc", not(feature = "reclaimed")))]
#[global_allocator]
static ALLOCATOR: midflight_plugin::Counted<mimalloc::MiMalloc> =
    midflight_plugin::Counted::over(mimalloc::MiMalloc);

/// The instance.
#[plugin(implements(Nasty))]
pub struct TheNasty {
    ledger: Service<dyn Ledger>,
}

impl Plugin for TheNasty {
    fn start(cx: &Context<'_>) -> Result<Self, StartError> {
        let ledger = cx.service::<dyn Ledger>()?;
        if cx.config_text().contains("fails") {
            locals::borrowing(&ledger);
            return Err(StartError::new("it was told to"));
        }
        #[cfg(feature = "native")]
        native::tell(&ledger);
        Ok(TheNasty { ledger })
    }
}

impl Drop for TheNasty {
    fn drop(&mut self) {
        #[cfg(feature = "crates")]
        crates::stop();
    }
}

impl Nasty for TheNasty {
    fn build(&self) -> u32 {
        #[cfg(feature = "static-tls")]
        system::static_tls();
        BUILD
    }

    fn commit(&self, deed: Deed, number: u64) -> u64 {
        let ledger = &self.ledger;
        match deed {
            Deed::Local => locals::touch(ledger),
            Deed::Current => common::current(),
            Deed::Everyday => common::everyday(number),
            Deed::Joined => common::joined(ledger),
            Deed::Detached => common::detached(ledger, number),
            Deed::CaughtPanic => common::caught_panic(),
            Deed::Backtrace => common::backtrace(),
            Deed::Leak => common::leak(number),
            Deed::ExitHandler => system::exit_handler(ledger),
            Deed::BorrowingDestructor => locals::borrowing(ledger),
            Deed::LateLocal => locals::late_local(ledger),
            Deed::LateThread => locals::late_thread(ledger, number),
            Deed::Key => system::key(ledger),
            Deed::KeyTakenBack => system::key_taken_back(ledger),
            Deed::KeyAgain => system::key_again(ledger, number),
            Deed::KeyBesideKey => system::key_beside_key(ledger),
            Deed::Signal => system::signal(),
            #[cfg(feature = "native")]
            Deed::CKey | Deed::CThread | Deed::Cxx => native::commit(deed, number),
            #[cfg(feature = "crates")]
            other => crates::commit(other, number),
            #[cfg(not(feature = "crates"))]
            other => panic!("{other:?} is not in this build"),
        }
    }

    fn exercise(&self, number: u64) -> u64 {
        locals::touch(&self.ledger);
        common::current();
        common::looked_up(number)
    }

    fn heavy(&self, number: u64) -> u64 {
        tracing::info!(number, "everything in one call");
        self.exercise(number);
        common::everyday(number);
        common::joined(&self.ledger);
        common::detached(&self.ledger, number);
        common::caught_panic();
        number
    }

    fn constructed(&self) -> u64 {
        #[cfg(feature = "constructor")]
        return constructor::made();
        #[cfg(not(feature = "constructor"))]
        0
    }

    fn text(&self, length: u32) -> String {
        "x".repeat(length as usize)
    }
}
