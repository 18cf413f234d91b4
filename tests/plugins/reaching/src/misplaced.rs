//! What `export!` says, with an entry that tells of another place than the one that the host finds.

use crate::TheReaching;
use midflight_plugin::rt::{Entry, Export, Note, Place, StampNote};

// SAFETY: this crate is a cdylib, and what follows is what `export!` says.
midflight_plugin::__hooks!(unsafe { midflight_plugin::rt::hooks::OfExport::promised() });

struct Here;

impl Export for Here {
    type Plugin = TheReaching;
    const NAME: &'static str = "reaching";
    const VERSION: &'static str = "1.0.0";
    const PANIC: &'static str = "unwind";
    const COMMIT: &'static str = "";
    fn place() -> &'static Place {
        static OTHER: Place = Place::new();
        &OTHER
    }
}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static midflight_entry: Entry = Entry::of::<Here>();

#[unsafe(no_mangle)]
#[unsafe(link_section = "midflight_places")]
#[allow(non_upper_case_globals)]
static midflight_place: Place = Place::new();

#[used]
#[unsafe(link_section = ".note.midflight")]
static NOTE: Note<{ Note::len::<Here>() }> = Note::of::<Here>();

#[used]
#[unsafe(link_section = ".note.midflight.stamp")]
static STAMP: StampNote = StampNote::UNSTAMPED;
