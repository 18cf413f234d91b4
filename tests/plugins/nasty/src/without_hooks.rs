//! What `export!` says, without the plugin's runtime: what this plugin gives to the system escapes.

use crate::TheNasty;
use midflight_plugin::rt::{Entry, Export, Note, Place, StampNote};

struct Here;

impl Export for Here {
    type Plugin = TheNasty;
    const NAME: &'static str = "nasty";
    const VERSION: &'static str = "1.0.0";
    const PANIC: &'static str = "unwind";
    const COMMIT: &'static str = "";
    fn place() -> &'static Place {
        &midflight_place
    }
}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static midflight_entry: Entry = Entry::of::<Here>();

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static midflight_place: Place = Place::new();

#[used]
#[unsafe(link_section = ".note.midflight")]
static NOTE: Note<{ Note::len::<Here>() }> = Note::of::<Here>();

#[used]
#[unsafe(link_section = ".note.midflight.stamp")]
static STAMP: StampNote = StampNote::UNSTAMPED;
