//! The layout check, `host/src/layout` itself: which change of a contract fits which other version
//! of it, in both directions, and what is said where none does.
//!
//! Both sides are modules of this binary, so no library is built or loaded. `cases` has the
//! changes, and `sentences.txt` what is said of each: `UPDATE_SENTENCES=1 cargo test -p midflight
//! --test layouts` writes that file anew. Read what changed in it as the author of a plugin would.
#![allow(dead_code, reason = "what the host needs of the check is more than the tests do")]

midflight_plugin::contract_crate!();

mod cases;
#[path = "../../src/contained.rs"]
mod contained;
mod growth;
#[path = "../../src/layout/mod.rs"]
mod layout;
mod sentences;

/// What the check takes of the host.
mod contracts {
    #[derive(Clone, Copy)]
    pub(crate) struct Layout(pub(crate) &'static abi::type_layout::TypeLayout);
}

use contracts::Layout;
use midflight_plugin::Contract;
use midflight_plugin::rt::table_layout;

#[allow(unsafe_code, reason = "reads a description, as the host does")]
fn layout<C: Contract + ?Sized>() -> Layout {
    // SAFETY: it is looked at by the layout check alone.
    Layout(unsafe { table_layout::<C>().get() })
}
