//! The host's runtime for plugins: what a generation's code may call in the host.
#![allow(unsafe_code, reason = "one of the five places: plugins call it through raw pointers")]

use crate::layout::{self, Sides};
use crate::release::{Known, Layout};
use midflight_plugin::rt::{FORMAT, HostTable, Panics, RResult, RStr, RawService, StableAbi, TypeLayout};
use midflight_plugin::{Contract, ImplementedBy, Text};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What one generation gets from the host: its table and the services that it may ask for.
///
/// Boxed by its generation, and alive for as long as that generation's code is mapped: the table's address is written into
/// the image, and the table points back here.
pub(crate) struct Owner {
    table: HostTable,
    services: Arc<[Provided]>,
}

// SAFETY: the table is immutable and its pointer is to the owner itself; the services are Send and Sync.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl Owner {
    pub(crate) fn new(generation: u64, services: Arc<[Provided]>) -> Box<Self> {
        let mut owner = Box::new(Owner {
            table: HostTable {
                format: FORMAT,
                generation,
                owner: std::ptr::null(),
                panics: Panics::HOST,
                service,
            },
            services,
        });
        owner.table.owner = std::ptr::from_ref(&*owner).cast();
        owner
    }

    pub(crate) fn table(&self) -> &HostTable {
        &self.table
    }
}

/// A contract that the host implements for its plugins.
#[derive(Clone)]
pub(crate) struct Provided {
    contract: Known,
    service: RawService,
    /// The object behind `service`.
    _object: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `service` is an object that is Send and Sync, by `of`, and an immutable table.
unsafe impl Send for Provided {}
// SAFETY: as above.
unsafe impl Sync for Provided {}

impl Provided {
    pub(crate) fn of<C, T>(object: Arc<T>) -> Self
    where
        C: ImplementedBy<T> + ?Sized,
        T: Send + Sync + 'static,
    {
        Provided { contract: Known::of::<C>(), service: RawService::of::<C, T>(&object), _object: object }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.contract.name
    }
}

impl Known {
    pub(crate) fn of<C: Contract + ?Sized>() -> Self {
        Known { name: C::NAME, version: C::VERSION, layout: Layout(<C::Table as StableAbi>::LAYOUT) }
    }
}

/// Answers `Context::service`.
unsafe extern "C" fn service(
    owner: *const (),
    name: RStr<'_>,
    layout: &'static TypeLayout,
) -> RResult<RawService, Text> {
    // SAFETY: the pointer that `Owner::new` put into the table, which lives as long as the plugin's code.
    let owner = unsafe { &*owner.cast::<Owner>() };
    let found = catch_unwind(AssertUnwindSafe(|| find(owner, name.as_str(), layout)));
    // A panic of ours must not unwind into the plugin.
    let found = found.unwrap_or_else(|_| Err("the host failed to compare the layouts".into()));
    match found {
        Ok(service) => RResult::ROk(service),
        Err(reason) => RResult::RErr(reason.into()),
    }
}

fn find(owner: &Owner, name: &str, layout: &'static TypeLayout) -> Result<RawService, String> {
    let Some(provided) = owner.services.iter().find(|provided| provided.name() == name) else {
        let names: Vec<_> = owner.services.iter().map(Provided::name).collect();
        return Err(format!("the host provides no {name}; it provides: {}", names.join(", ")));
    };
    // Here the plugin calls and the host implements.
    layout::check(name, Layout(layout), provided.contract.layout, Sides::PLUGIN_CALLS)?;
    Ok(provided.service)
}
