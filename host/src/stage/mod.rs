//! Staging: the way from a file to a started generation.
//!
//! Each step takes what only the step before can make, so none can be skipped: [`Bytes`] are read
//! once, [`Candidate`] has been looked at as data, an [`Image`] holds its exact bytes, a
//! [`Library`] is mapped from it, and a [`Generation`] has started. No instruction of a file runs
//! before it is an image.

mod draft;
pub(crate) mod preflight;
pub(crate) mod writers;

use crate::contracts::Known;
use crate::generation::{Generation, Left, Stopped, check};
use crate::image::{Image, Keep};
use crate::journal::Store;
use crate::library::{self, Library, NotStarted, open_familiar};
use crate::refusal::{Code, Refusal};
use crate::run::RunDirectory;
use crate::runtime::{Owner, Provided, Surroundings};
use crate::settings::Bounds;
use draft::Draft;
use midflight_inspect::{Bytes, Inspection, Manifest, Spare, Stamp, inspect, read, text};
use midflight_plugin::rt::{Hook, Linked};
use preflight::{Kept, Preflight};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A library whose bytes are in memory and were found to be a plugin's. Nothing of it has run.
pub(crate) struct Candidate {
    bytes: Bytes,
    inspection: Inspection,
}

impl Candidate {
    /// Reads and inspects the file at `path`.
    pub(crate) fn read(path: &Path, bounds: &Bounds, spare: &Spare) -> Result<Self, Refusal> {
        let candidate = Self::inspect(read(path, bounds.library_bytes_max, spare)?)?;
        if bounds.stamps_required && !candidate.is_stamped() {
            let reason = "it has no stamp, and this host loads no library without one";
            return Err(candidate.refused(Refusal::new(Code::NotStamped, reason)));
        }
        Ok(candidate)
    }

    /// The version that `image` was made from, as a candidate again.
    pub(crate) fn again(image: &Image) -> Result<Self, Refusal> {
        let lost = |why: &str| {
            let path = text::path(image.path());
            Refusal::new(
                Code::ImageLost,
                format!("what was loaded is not in {path} any more: {why}"),
            )
            .of(&image.plugin, &image.version)
        };
        let pristine = image.pristine().map_err(|refusal| lost(refusal.reason()))?;
        // The digest proves that they are the verified bytes.
        match Self::inspect(pristine) {
            Ok(candidate) if candidate.digest() == image.digest => {
                Ok(candidate.dated(image.modified_ns))
            }
            Ok(_) => Err(lost("it was changed")),
            Err(refusal) => Err(lost(refusal.reason())),
        }
    }

    fn inspect(bytes: Bytes) -> Result<Self, Refusal> {
        match inspect(&bytes.data) {
            Ok(inspection) => Ok(Candidate { bytes, inspection }),
            Err(refusal) => Err(refusal.in_file(&bytes.file)),
        }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.inspection.manifest
    }

    pub(crate) fn digest(&self) -> blake3::Hash {
        self.inspection.digest
    }

    /// The linker's build id, or the content's hash where the linker made none.
    pub(crate) fn build_id(&self) -> String {
        let build_id = self.inspection.build_id.clone();
        build_id.unwrap_or_else(|| self.inspection.digest.to_hex().to_string())
    }

    pub(crate) fn is_stamped(&self) -> bool {
        self.inspection.stamp == Stamp::Stamped
    }

    /// When its file was last written, in nanoseconds since 1970.
    pub(crate) fn modified_ns(&self) -> u64 {
        self.bytes.modified_ns
    }

    /// As it was when it came from the author's file: what it is read from here is a copy.
    pub(crate) fn dated(mut self, modified_ns: u64) -> Self {
        self.bytes.modified_ns = modified_ns;
        self
    }

    /// The memory that it was read into is for the next one, however large.
    pub(crate) fn keep_memory(&mut self) {
        self.bytes.data.keep();
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes.data
    }

    /// Those that it needs of the C library's own, and libgcc.
    fn familiar(&self) -> Vec<String> {
        let (needed, unfamiliar) = (&self.inspection.needed, &self.inspection.unfamiliar);
        needed.iter().filter(|name| !unfamiliar.contains(name)).cloned().collect()
    }

    fn keeps(&self) -> Vec<Keep> {
        let unfamiliar = self.inspection.unfamiliar.iter().cloned().map(Keep::SharedLibrary);
        unfamiliar.chain(self.inspection.unique_symbols.then_some(Keep::UniqueSymbols)).collect()
    }

    pub(crate) fn refused(&self, refusal: Refusal) -> Refusal {
        let manifest = self.manifest();
        refusal.of(&manifest.name, &manifest.version.to_string()).in_file(&self.bytes.file)
    }
}

/// What a candidate needs to become a generation.
pub(crate) struct Order {
    pub(crate) generation: u64,
    pub(crate) run: Arc<RunDirectory>,
    pub(crate) services: Arc<[Provided]>,
    pub(crate) host: Option<Weak<dyn Surroundings>>,
    /// Contracts that the host's code knows: offers of the same name must fit.
    pub(crate) known: Vec<Known>,
    /// Contracts that slots ask this plugin for: they must be offered.
    pub(crate) required: Vec<Known>,
    /// As toml.
    pub(crate) config: Arc<str>,
    /// With how many return addresses its panics are noted.
    pub(crate) panic_frames_max: usize,
    /// Where what may be committed is kept for a restart.
    pub(crate) store: Option<Arc<Store>>,
    /// How long a child may take to open it first; `None` where none does.
    pub(crate) preflight: Option<Duration>,
    /// It is started there as well, whatever its author says.
    pub(crate) preflight_start: bool,
    /// The child, where one is ready.
    pub(crate) kept: Arc<Kept>,
}

/// How far a candidate has come on its worker. The deadline counts from each step anew.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Read and inspected, which took so long.
    Staged(Duration),
    /// Opened in a child, which found nothing.
    Preflighted,
    /// Mapped, with contracts that fit; its `start` is running.
    Loaded,
}

/// A candidate that was refused, and what is mapped of it, if it came so far.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) stopped: Option<Box<Stopped>>,
}

impl Refused {
    /// Before anything was mapped.
    pub(crate) fn early(refusal: Refusal) -> Self {
        Refused { refusal, stopped: None }
    }
}

/// Image, preflight, load, check, start. Runs on a worker: from the load on each step runs the
/// plugin's code.
pub(crate) fn prepare(
    candidate: &Candidate,
    order: Order,
    progress: &mut dyn FnMut(Step),
) -> Result<Generation, Refused> {
    let early = |refusal| Refused::early(candidate.refused(refusal));
    let manifest = candidate.manifest();
    let (plugin, version) = (manifest.name.as_str().into(), manifest.version.to_string().into());
    let begin = |limit| Preflight::begin(&order.kept, limit);
    library::check_exports(&candidate.inspection.exports).map_err(early)?;
    let place = order.run.place().map_err(early)?;
    let preflight = order.preflight.map(begin).transpose().map_err(early)?;
    // A child that was not kept comes to its main meanwhile.
    let mut draft = Draft::write(&place, candidate, order.generation).map_err(early)?;
    if let Some(preflight) = preflight {
        preflight.judge(candidate, &order, &mut draft).map_err(early)?;
        progress(Step::Preflighted);
    }
    let (services, host) = (Arc::clone(&order.services), order.host.clone());
    let owner =
        Owner::new(order.generation, plugin, version, services, order.panic_frames_max, host);
    let image = draft.finish(&place, candidate, owner.table()).map_err(early)?;
    let image = Arc::new(image);
    let late = |refusal, library| {
        let left = Left::of(Arc::clone(&image), Arc::clone(&owner));
        let stopped = Box::new(Stopped::never_started(library, left));
        Refused { refusal: candidate.refused(refusal), stopped: Some(stopped) }
    };
    open_familiar(&candidate.familiar());
    let library = match Library::open(&image, owner.table()) {
        Ok(library) => library,
        Err((refusal, None)) => {
            // The loader may have unmapped it by now: what its constructors registered must not
            // run.
            owner.close();
            return Err(early(refusal));
        }
        Err((refusal, Some(library))) => return Err(late(refusal, library)),
    };
    let checked = match check(&library, &order.known, &order.required) {
        Ok(checked) => checked,
        Err(refusal) => return Err(late(refusal, library)),
    };
    progress(Step::Loaded);
    match library.start(owner.table(), &order.config) {
        Ok(instance) => {
            let generation = Generation::new(
                order.generation,
                image,
                order.config,
                library,
                instance,
                owner,
                checked,
            );
            before_switch(generation).map_err(|(refusal, stopped)| Refused {
                refusal: candidate.refused(refusal),
                stopped: Some(stopped),
            })
        }
        Err(reason) => {
            owner.revoke();
            Err(late(not_started(reason, &owner), library))
        }
    }
}

/// Check and start, for a plugin that is linked in: no file, nothing that could be unmapped.
pub(crate) fn prepare_linked(
    name: &str,
    linked: Linked,
    order: Order,
) -> Result<Generation, Refusal> {
    let image = Arc::new(Image::linked(name, linked.version));
    let owner = Owner::new(
        order.generation,
        name.into(),
        linked.version.into(),
        order.services,
        order.panic_frames_max,
        order.host,
    );
    // Its code is never unmapped, and may have put a service into a static of the host's before its
    // start failed.
    std::mem::forget(Arc::clone(&owner));
    let library = Library::linked(linked, &image);
    let refuse = |refusal: Refusal| refusal.of(name, linked.version);
    let checked = check(&library, &order.known, &order.required).map_err(refuse)?;
    match library.start(owner.table(), &order.config) {
        Ok(instance) => {
            let generation = Generation::new(
                order.generation,
                image,
                order.config,
                library,
                instance,
                owner,
                checked,
            );
            // What is left of one that refuses is part of the host.
            before_switch(generation).map_err(|(refusal, _)| refuse(refusal))
        }
        Err(reason) => Err(refuse(not_started(reason, &owner))),
    }
}

/// A start that fails for want of a service has the host's reason, not one of its own.
fn not_started(reason: NotStarted, owner: &Owner) -> Refusal {
    let refusal = reason.refusal();
    match owner.unserved(refusal.reason()) {
        Some(code) => Refusal::new(code, refusal.reason()),
        None => refusal,
    }
}

/// Asks what has started whether it may be switched in. One that may not is stopped.
fn before_switch(generation: Generation) -> Result<Generation, (Refusal, Box<Stopped>)> {
    match generation.hook(Hook::BeforeSwitch) {
        Ok(()) => Ok(generation),
        Err(reason) => {
            // What it panics with in its stop is no news of an update that is refused anyway.
            let (_, stopped) = generation.stop();
            Err((Refusal::new(Code::SwitchRefused, reason), Box::new(stopped)))
        }
    }
}
