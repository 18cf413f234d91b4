//! What C and C++ leave behind.

use midflight_plugin::Service;
use nasty_contracts::{Deed, Ledger};
use std::sync::OnceLock;

unsafe extern "C" {
    fn nasty_c_key(c11: u64) -> u64;
    fn nasty_c_thread(ends_by: u64) -> u64;
    fn nasty_cxx() -> u64;
}

static LEDGER: OnceLock<Service<dyn Ledger>> = OnceLock::new();

pub(crate) fn tell(ledger: &Service<dyn Ledger>) {
    let _ = LEDGER.set(ledger.clone());
}

#[unsafe(no_mangle)]
extern "C" fn nasty_made() {
    let _ = LEDGER.get().expect("a ledger").made();
}

#[unsafe(no_mangle)]
extern "C" fn nasty_destroyed() {
    let _ = LEDGER.get().expect("a ledger").destroyed(false);
}

pub(crate) fn commit(deed: Deed, number: u64) -> u64 {
    // SAFETY: they take any number.
    unsafe {
        match deed {
            Deed::CKey => nasty_c_key(number),
            Deed::CThread => nasty_c_thread(number),
            _ => nasty_cxx(),
        }
    }
}
