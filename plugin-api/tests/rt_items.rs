//! Every item of the hidden modules has been decided about. Who adds one writes it here, with why
//! safe code can do no harm with it.

const RT: &[(&str, &str)] = &[
    // What it is, and what keeps it from harm: `unsafe`: to call or to implement; `private`: nobody
    // can make one up; `inert`: whoever has one can do nothing with it but by what is `unsafe`.
    ("ABSENT", "a number"),
    ("About", "inert"),
    ("Answer", "unsafe"),
    ("Begun", "inert"),
    ("Bound", "inert"),
    ("COUNTS", "numbers"),
    ("CallError", "public"),
    ("CallbackGate", "private"),
    ("Calls", "unsafe"),
    ("Cell", "one type has it, by a safe function"),
    ("Contract", "unsafe"),
    ("Counts", "numbers"),
    ("Crosses", "unsafe"),
    ("Destructor", "unsafe"),
    ("Drawn", "private"),
    ("Entered", "inert"),
    ("Entry", "its functions are unsafe, its flag is private"),
    ("Export", "texts, and a type that is `Exported`"),
    ("Exported", "unsafe"),
    ("FORMAT", "a number"),
    ("FRAMES_MAX", "a number"),
    ("Fallible", "inert"),
    ("Fault", "public"),
    ("Fields", "unsafe"),
    ("Functions", "unsafe"),
    ("Gate", "unsafe"),
    ("Given", "private"),
    ("GrownBox", "private"),
    ("GrownNumber", "a number"),
    ("GrownRef", "private"),
    ("Grows", "unsafe"),
    ("HandedObject", "inert: it does not cross"),
    ("HandedOut", "asks for `ImplementedBy`, which is unsafe"),
    ("HandsOver", "a safe function; the table that is made of it is given away by `Exported`"),
    ("Held", "a value"),
    ("HeldGrown", "a reference, or private"),
    ("Hold", "unsafe"),
    ("Holding", "unsafe"),
    ("Hook", "a number"),
    ("Hooks", "unsafe"),
    ("HostHandle", "inert"),
    ("HostTable", "inert: what takes one is unsafe"),
    ("ImplementedBy", "unsafe"),
    ("LaidOut", "unsafe"),
    ("Later", "inert"),
    ("Layout", "a description, which only `unsafe` reads"),
    ("LayoutOf", "unsafe"),
    ("Left", "inert: what takes one is unsafe"),
    ("Lends", "unsafe"),
    ("Linked", "its functions are unsafe"),
    ("Note", "a text"),
    ("ObjectGate", "private"),
    ("OfferOf", "private"),
    ("Offered", "inert: `Exported` gives it away"),
    ("Origin", "texts"),
    ("Outcome", "numbers"),
    ("PLACE_MAGIC", "bytes"),
    ("Panics", "two safe functions for texts"),
    ("Part", "a number"),
    ("Pinned", "private"),
    ("Place", "inert: what reads one is unsafe"),
    ("PlaceOfPanics", "texts and a number"),
    ("Places", "proves, while the compiler runs"),
    ("Plain", "inert"),
    ("Portable", "unsafe"),
    ("Proven", "private"),
    ("Put", "bytes"),
    ("Question", "inert: what asks it is unsafe"),
    ("RResult", "a value"),
    ("RSlice", "a reference"),
    ("RStr", "a reference"),
    ("RawCallback", "private"),
    ("RawFuture", "private"),
    ("RawObject", "private"),
    ("RawService", "inert: what takes one is unsafe"),
    ("RawSink", "private"),
    ("RawTextSink", "private"),
    ("Record", "derives what it proves"),
    ("RecordOf", "unsafe"),
    ("Registered", "inert"),
    ("Registering", "inert"),
    ("Reply", "private"),
    ("Report", "texts"),
    ("Routine", "unsafe"),
    ("ServiceGate", "private"),
    ("Set", "private"),
    ("Shape", "proves, while the compiler runs"),
    ("SignalStyle", "a number"),
    ("StampNote", "bytes"),
    ("Stamped", "bytes"),
    ("StateOf", "private"),
    ("StateTable", "its functions are unsafe"),
    ("Status", "a number"),
    ("Symboliser", "a safe function"),
    ("TARGET", "a text"),
    ("Tally", "numbers"),
    ("Teller", "a safe function"),
    ("Tuple2", "private"),
    ("Tuple3", "private"),
    ("Tuple4", "private"),
    ("Tuple5", "private"),
    ("Tuple6", "private"),
    ("Wakers", "unsafe"),
    ("begin", "makes what is private"),
    ("bubble", "unwinds, as any panic"),
    ("bubble_result", "unwinds, as any panic"),
    ("core", "public"),
    ("cpu_features", "a text"),
    ("decode", "a value"),
    ("defaulted", "unsafe"),
    ("defaulted_result", "unsafe"),
    ("described", "texts and numbers; `Described` is unsafe"),
    ("encode", "bytes"),
    ("guard", "makes what is private"),
    ("hooks", "unsafe"),
    ("last", "unsafe"),
    ("logs", "unsafe"),
    ("missing", "unsafe"),
    ("no_way", "an error"),
    ("restore_up", "a value"),
    ("save_down", "bytes"),
    ("std", "public"),
    ("table_layout", "a description, which only `unsafe` reads"),
    ("use_host_panics", "two safe functions for texts"),
    ("use_symboliser", "a safe function"),
    ("with_cure", "a text"),
];

#[test]
fn s06_every_hidden_item_has_been_decided_about() {
    let source = include_str!("../src/lib.rs");
    let module = source.split_once("pub mod rt {").expect("the module").1;
    let mut found: Vec<&str> = Vec::new();
    let is_end = |letter: char| !letter.is_alphanumeric() && letter != '_';
    for line in module.lines() {
        let declared = ["    pub const fn ", "    pub fn ", "    pub const ", "    pub struct "];
        let name = declared.iter().find_map(|what| line.strip_prefix(what));
        found.extend(name.and_then(|name| name.split(is_end).next()));
    }
    for statement in module.split("pub use ").skip(1) {
        let (statement, _) = statement.split_once(';').expect("a statement's end");
        let mut path = "";
        for name in statement.split(['{', '}', ',']).map(str::trim) {
            match name.rsplit_once("::") {
                Some((before, "")) => path = before.rsplit("::").next().unwrap_or_default(),
                _ if name == "self" => found.push(path),
                _ => found.push(name.rsplit([' ', ':']).next().unwrap_or_default()),
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found.sort();
    let decided: Vec<_> = RT.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, decided, "each item of `rt`, and none besides");
}
