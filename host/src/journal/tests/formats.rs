//! Journals of every format that a released host or main ever wrote.
//!
//! Each is read, and written in the newest. The newest one is what this host writes, byte for byte:
//! whoever changes that, changes the format.

use super::*;

/// The formats, with a journal of each. Of the first there is one that had been begun anew, too.
const JOURNALS: [(u32, &[u8]); 3] = [
    (1, include_bytes!("formats/1.journal")),
    (1, include_bytes!("formats/1-compacted.journal")),
    (2, include_bytes!("formats/2.journal")),
];

#[test]
fn w01_there_is_a_journal_of_each_format() {
    let formats: BTreeSet<_> = JOURNALS.iter().map(|(format, _)| *format).collect();
    assert_eq!(formats, (1..=record::FORMAT).collect());
    for (format, bytes) in JOURNALS {
        let head = record::first(bytes).unwrap();
        assert_eq!(record::format(head.json).unwrap(), format);
    }
}

/// The sets without what an older format does not know of them.
fn plain(sets: &BTreeMap<String, Vec<Member>>) -> BTreeMap<String, Vec<Member>> {
    let mut sets = sets.clone();
    for member in sets.values_mut().flatten() {
        (member.modified_ns, member.group) = (7, None);
    }
    sets
}

#[test]
fn w01_every_format_is_read_and_written_in_the_newest() {
    let check = |at: usize, fees: [&str; 2], on_trial: &str, rolled_back: &[&str]| {
        let (format, bytes) = JOURNALS[at];
        let disk = Disk::new();
        disk.set(JOURNAL, bytes);
        let (first, opened) = journal(&disk).unwrap();
        let older = (format != record::FORMAT).then_some(format);
        assert_eq!(opened.migrated_from, older);
        assert_eq!(opened.quarantined.len(), 1);
        assert_eq!(opened.quarantined[0].member.plugin, member(on_trial).plugin);
        let state = first.state();
        let sets = |fees: &str, pages: &str| {
            let web = ("web".to_owned(), set(&[pages]));
            BTreeMap::from([("exchange".to_owned(), set(&[fees, "risk 1.0.0"])), web])
        };
        assert_eq!(plain(&state.committed), sets(fees[1], "pages 1.0.0"));
        let before = sets(fees[0], "pages 1.0.0")["exchange"].clone();
        assert_eq!(plain(&state.before), BTreeMap::from([("exchange".to_owned(), before)]));
        for of in rolled_back.iter().chain([&on_trial]) {
            assert!(is_held(state, of), "{of}");
        }
        let dates: Vec<_> =
            state.committed.values().flatten().map(|member| member.modified_ns).collect();
        assert!(dates.iter().all(|date| *date > 0), "{dates:?}");
        let kept = disk.read(&old_journal(format), u64::MAX).unwrap();
        assert_eq!(kept.as_deref(), older.map(|_| bytes), "for the way back");
        drop(first);
        let (second, opened) = journal(&disk).unwrap();
        assert_eq!((opened.migrated_from, second.state().held.len()), (None, 2));
    };
    check(0, ["fees 1.0.0", "fees 2.0.0"], "fees 4.0.0", &["fees 3.0.0", "pages 2.0.0"]);
    let held = ["fees 3.0.0", "fees 4.0.0", "pages 2.0.0"];
    check(1, ["fees 2.0.0", "fees 5.0.0"], "pages 3.0.0", &held);
    check(2, ["fees 2.0.0", "fees 5.0.0"], "pages 3.0.0", &held);
}

/// A record of each kind, and a state that has something of everything.
fn of_each() -> Vec<Record> {
    let process = Process { pid: 4711, boot: "0e21774a-fab2-4038-9a6d-88097c208acc".into() };
    let (plugin, by) = ("fees".to_owned(), "a program".to_owned());
    vec![
        Record::Began(process),
        committed("exchange", &["fees 1.0.0", "risk 1.0.0"]),
        trial("exchange", &["fees 2.0.0", "risk 1.0.0"]),
        committed("exchange", &["fees 2.0.0", "risk 1.0.0"]),
        trial("exchange", &["fees 3.0.0", "risk 1.0.0"]),
        returned("exchange", &["fees 3.0.0"]),
        committed("web", &["pages 1.0.0"]),
        held("pages 2.0.0"),
        held("fees 4.0.0"),
        held("risk 2.0.0"),
        released("risk 2.0.0"),
        Record::Asked { plugin, contract: "Fees".into(), by },
        Record::Built { configs: BTreeMap::from([("fees".into(), digest("limit = 3"))]) },
        Record::Fell { group: "web".into() },
        Record::Ended,
        trial("exchange", &["fees 5.0.0", "risk 1.0.0"]),
        committed("exchange", &["fees 5.0.0", "risk 1.0.0"]),
        trial("web", &["pages 3.0.0"]),
    ]
}

/// The lines' texts, without when they were written.
fn json(bytes: &[u8]) -> Vec<String> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let line = record::first(&bytes[at..]).unwrap();
        found.push(String::from_utf8(line.json.to_owned()).unwrap());
        at += line.bytes;
    }
    found
}

#[test]
fn w01_a_change_of_what_is_written_is_a_new_format() {
    let records = of_each();
    let (first, last) = records.split_at(12);
    let mut state = JournalState::default();
    first.iter().for_each(|record| state.apply(record));
    let mut lines = record::head(&JournalState::default());
    first.iter().for_each(|record| lines.extend(record::line(record)));
    // And a head with all of it.
    let mut second = record::head(&state);
    last.iter().for_each(|record| second.extend(record::line(record)));
    if std::env::var_os("WRITE_FORMAT").is_some() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/journal/tests/formats/");
        std::fs::write(format!("{folder}{}.journal", record::FORMAT), &second).unwrap();
        std::fs::write(format!("{folder}{}-records.journal", record::FORMAT), &lines).unwrap();
    }
    let why = "what a journal's lines look like has changed: raise FORMAT, read the format before, \
               and write a journal of the new one (WRITE_FORMAT=1)";
    assert_eq!(json(&second), json(include_bytes!("formats/2.journal")), "{why}");
    assert_eq!(json(&lines), json(include_bytes!("formats/2-records.journal")), "{why}");
}

#[test]
fn w01_a_newer_format_is_refused_with_the_way_back() {
    let disk = Disk::new();
    let body = r#"1 {"format":3,"state":[]}"#;
    let newer = format!("{} {body}\n", &blake3::hash(body.as_bytes()).to_hex()[..16]).into_bytes();
    disk.set(JOURNAL, &newer);
    let error = journal(&disk).err().unwrap().to_string();
    assert!(
        error.contains("start the version of the host that wrote it. Or move it away"),
        "{error}"
    );
    disk.set("journal.format-2", JOURNALS[2].1);
    let error = journal(&disk).err().unwrap().to_string();
    let way = "Or move /var/lib/exchange/journal.format-2 into its place";
    assert!(error.contains(way), "{error}");
    assert_eq!(disk.read(JOURNAL, u64::MAX).unwrap().unwrap(), newer);
    disk.rename("journal.format-2", JOURNAL).unwrap();
    assert!(journal(&disk).is_ok());
}

/// What format 1 did with a plugin that had changed its group: it was in the sets of both.
#[test]
fn j02_of_two_sets_of_a_plugin_the_later_one_counts() {
    let member = |of: &str| {
        let Member { plugin, version, digest, config, .. } = member(of);
        format!(
            r#"{{"plugin":"{plugin}","version":"{version}","digest":"{digest}","config":{config:?}}}"#
        )
    };
    let (one, two) = (member("a 1"), member("a 2"));
    let known = format!(r#"["{}","{}"]"#, digest("a 1"), digest("a 2"));
    let body = format!(
        r#"9 {{"format":1,"state":{{"committed":{{"z":[{one}],"billing":[{two}]}},"before":{{}},"trials":{{}},"held":{{}},"known":{{"a":{known}}},"process":null,"clean":true}}}}"#
    );
    let disk = Disk::new();
    let sum = &blake3::hash(body.as_bytes()).to_hex()[..16];
    disk.set(JOURNAL, format!("{sum} {body}\n").as_bytes());
    let (journal, _) = journal(&disk).unwrap();
    assert_eq!(journal.state().committed("a").map(|member| &*member.version), Some("2"));
    assert_eq!(journal.state().committed.keys().collect::<Vec<_>>(), ["billing"]);
}
