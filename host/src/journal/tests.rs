mod disk;
mod formats;
mod sequences;

use super::files::Files;
use super::record::{self, Torn};
use super::*;
use disk::{Cuts, Disk, Fault, How, Image};
use std::collections::{BTreeMap, BTreeSet};

const BYTES_MAX: u64 = 2400;

const ORDERLY: Opened =
    Opened { died: None, repaired: None, quarantined: Vec::new(), migrated_from: None };

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

/// "fees 1" is version 1 of fees, whose digest is that of the whole text.
fn member(of: &str) -> Member {
    let (plugin, version) = of.split_once(' ').unwrap();
    Member {
        plugin: plugin.into(),
        version: version.into(),
        digest: digest(of),
        config: "limit = 3\n".into(),
        group: None,
        modified_ns: 7,
    }
}

fn set(of: &[&str]) -> Vec<Member> {
    of.iter().map(|of| member(of)).collect()
}

fn committed(group: &str, of: &[&str]) -> Record {
    Record::Committed { group: group.into(), set: set(of) }
}

fn trial(group: &str, of: &[&str]) -> Record {
    Record::Trial { group: group.into(), set: set(of) }
}

fn returned(group: &str, of: &[&str]) -> Record {
    let versions = of.iter().map(|of| Version { plugin: member(of).plugin, digest: digest(of) });
    Record::Returned {
        group: group.into(),
        held: versions.collect(),
        reason: "3 panics in 10 s".into(),
    }
}

fn held(of: &str) -> Record {
    Record::Held { plugin: member(of).plugin, digest: digest(of), reason: "rolled back".into() }
}

fn released(of: &str) -> Record {
    Record::Released { plugin: member(of).plugin, digest: digest(of) }
}

fn began() -> Record {
    Record::Began(Process::this())
}

fn replayed(records: &[Record]) -> JournalState {
    let mut state = JournalState::default();
    records.iter().for_each(|record| state.apply(record));
    state
}

/// What the next process makes of `state`.
fn at_start(state: &JournalState) -> JournalState {
    let mut state = state.clone();
    let quarantined = state.quarantine();
    quarantined.iter().for_each(|quarantined| state.apply(&quarantined.record()));
    state.apply(&began());
    state
}

fn journal(disk: &Disk) -> Result<(Journal, Opened), JournalError> {
    Journal::open(Box::new(disk.clone()), BYTES_MAX)
}

fn is_held(state: &JournalState, of: &str) -> bool {
    state.held(&member(of).plugin, &digest(of)).is_some()
}

fn knows(state: &JournalState, of: &str) -> bool {
    state.knows(&member(of).plugin, &digest(of))
}

// The state.

#[test]
fn the_last_committed_set_is_what_counts_and_the_one_before_is_the_last_good_one() {
    let state = replayed(&[
        began(),
        committed("exchange", &["fees 1", "risk 1"]),
        committed("web", &["pages 1"]),
        trial("exchange", &["fees 2", "risk 1"]),
        committed("exchange", &["fees 2", "risk 1"]),
        committed("exchange", &["fees 2", "risk 1"]),
        trial("exchange", &["fees 3", "risk 1"]),
    ]);
    let expected =
        [("exchange".into(), set(&["fees 2", "risk 1"])), ("web".into(), set(&["pages 1"]))];
    assert_eq!(state.committed, BTreeMap::from(expected));
    assert_eq!(state.before, BTreeMap::from([("exchange".into(), set(&["fees 1", "risk 1"]))]));
    assert_eq!(state.trials, BTreeMap::from([("exchange".into(), set(&["fees 3", "risk 1"]))]));
    let kept = ["fees 1", "risk 1", "fees 2", "pages 1"].map(digest);
    assert_eq!(state.kept(), BTreeSet::from(kept));
}

#[test]
fn a_change_of_the_configuration_alone_is_a_set_of_its_own() {
    let mut other = set(&["fees 1"]);
    other[0].config = "limit = 4\n".into();
    let changed = Record::Committed { group: "exchange".into(), set: other };
    let state = replayed(&[committed("exchange", &["fees 1"]), changed]);
    assert_eq!(state.before["exchange"], set(&["fees 1"]));
}

#[test]
fn a_trial_that_went_back_leaves_its_new_versions_held_and_what_was_committed_as_it_was() {
    let before = [committed("exchange", &["fees 1"]), committed("exchange", &["fees 2"])];
    let mut state = replayed(&before);
    state.apply(&trial("exchange", &["fees 3"]));
    state.apply(&returned("exchange", &["fees 3"]));
    assert_eq!(state.held("fees", &digest("fees 3")), Some("3 panics in 10 s"));
    assert!(state.trials.is_empty());
    assert_eq!(state.committed, replayed(&before).committed);
    assert_eq!(state.before, replayed(&before).before);
}

#[test]
fn what_was_rolled_back_is_held_until_it_is_asked_for_and_is_no_good_one() {
    let one_and_two = [committed("exchange", &["fees 1"]), committed("exchange", &["fees 2"])];
    for rollback in [
        [committed("exchange", &["fees 1"]), held("fees 2")],
        [held("fees 2"), committed("exchange", &["fees 1"])],
    ] {
        let mut state = replayed(&one_and_two);
        // Cut between the two, when they are in the order that is asked for: the good one runs, the
        // bad one is not taken up.
        state.apply(&rollback[0]);
        assert!(knows(&state, "fees 2"));
        state.apply(&rollback[1]);
        assert!(is_held(&state, "fees 2") && knows(&state, "fees 2") && !is_held(&state, "fees 1"));
        assert_eq!(state.committed["exchange"], set(&["fees 1"]));
        assert!(state.before.is_empty(), "{:?}", state.before);
        state.apply(&released("fees 2"));
        assert!(!is_held(&state, "fees 2") && !knows(&state, "fees 2") && state.held.is_empty());
    }
}

#[test]
fn a_version_on_trial_is_known_once_that_was_decided() {
    let state = replayed(&[trial("exchange", &["fees 1", "risk 1"])]);
    assert!(!knows(&state, "fees 1"));
    // Superseded, by one that brings the other along.
    let state = replayed(&[
        trial("exchange", &["fees 1", "risk 1"]),
        trial("exchange", &["fees 2", "risk 1"]),
    ]);
    assert!(knows(&state, "fees 1") && !knows(&state, "fees 2") && !knows(&state, "risk 1"));
}

#[test]
fn as_many_versions_are_known_as_there_is_room_for_and_those_that_matter_always() {
    let mut records = vec![committed("exchange", &["fees kept"]), held("fees held")];
    let names: Vec<_> = (0..100).map(|version| format!("fees {version}")).collect();
    for name in &names {
        records.extend([trial("other", &[name]), trial("other", &[])]);
    }
    let state = replayed(&records);
    let known: Vec<_> = names.iter().map(|name| knows(&state, name)).collect();
    assert!(
        known[..36].iter().all(|known| !known) && known[36..].iter().all(|known| *known),
        "{known:?}"
    );
    assert!(knows(&state, "fees kept") && knows(&state, "fees held"));
}

// A34: the end of a process.

#[test]
fn what_was_on_probation_when_the_process_died_is_quarantined_with_the_cause() {
    let disk = Disk::new();
    let (mut first, opened) = journal(&disk).unwrap();
    assert_eq!(opened, ORDERLY);
    for record in [
        committed("exchange", &["fees 1", "risk 1"]),
        committed("web", &["pages 1"]),
        trial("exchange", &["fees 2", "risk 1"]),
        trial("web", &["pages 2"]),
    ] {
        first.append(&record).unwrap();
    }
    drop(first);
    let (second, opened) = journal(&disk).unwrap();
    assert_eq!(opened.died, Some(Process::this()));
    let quarantined = [("exchange", "fees 2"), ("web", "pages 2")]
        .map(|(group, of)| Quarantined { group: group.into(), member: member(of) });
    assert_eq!(opened.quarantined, quarantined);
    let state = second.state();
    assert_eq!(
        state.held("fees", &digest("fees 2")),
        Some("the process ended while it was on probation")
    );
    assert!(is_held(state, "pages 2") && !is_held(state, "risk 1"));
    assert_eq!(state.committed["exchange"], set(&["fees 1", "risk 1"]));
    assert!(state.trials.is_empty());
    // Dying again, with nothing on probation, changes nothing.
    let before = state.clone();
    drop(second);
    let (third, opened) = journal(&disk).unwrap();
    assert_eq!((third.state(), opened.quarantined), (&before, Vec::new()));
}

#[test]
fn an_orderly_end_in_probation_quarantines_nothing() {
    let disk = Disk::new();
    let (mut first, _) = journal(&disk).unwrap();
    for record in
        [committed("exchange", &["fees 1"]), trial("exchange", &["fees 2"]), Record::Ended]
    {
        first.append(&record).unwrap();
    }
    drop(first);
    let (second, opened) = journal(&disk).unwrap();
    assert_eq!(opened, ORDERLY);
    let state = second.state();
    assert!(state.trials.is_empty() && state.held.is_empty());
    assert!(!knows(state, "fees 2"), "it is a candidate again");
    assert_eq!(state.committed["exchange"], set(&["fees 1"]));
}

#[test]
fn an_end_that_was_followed_by_anything_was_none() {
    let state = replayed(&[Record::Ended, trial("exchange", &["fees 2"])]);
    assert_eq!(state.quarantine().len(), 1);
}

// The file.

#[test]
fn a_person_can_read_it() {
    let disk = Disk::new();
    let (mut journal, _) = journal(&disk).unwrap();
    journal.append(&held("fees 2")).unwrap();
    let bytes = disk.read(JOURNAL, u64::MAX).unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.splitn(3, ' ').collect::<Vec<_>>()).collect();
    let json: Vec<_> = lines.iter().map(|line| line[2]).collect();
    let digest = blake3::hash(b"fees 2").to_hex();
    let Process { pid, boot } = Process::this();
    let expected = [
        r#"{"format":2,"state":{"committed":{},"before":{},"trials":{},"held":{},"known":{},"asked":{},"asked_by":"","built":null,"fallen":[],"process":null,"clean":true}}"#.to_owned(),
        format!(r#"{{"began":{{"pid":{pid},"boot":"{boot}"}}}}"#),
        format!(r#"{{"held":{{"plugin":"fees","digest":"{digest}","reason":"rolled back"}}}}"#),
    ];
    assert_eq!(json, expected);
    // The checksum is what `cut -d' ' -f2- | tr -d '\n' | b3sum` prints of a line, cut to 16
    // digits.
    for line in &lines {
        let sum = blake3::hash(format!("{} {}", line[1], line[2]).as_bytes()).to_hex();
        assert_eq!(line[0], &sum[..16]);
    }
}

fn lines(records: &[Record]) -> Vec<u8> {
    let head = record::head(&JournalState::default());
    records.iter().fold(head, |mut lines, record| {
        lines.extend(record::line(record));
        lines
    })
}

#[test]
fn what_is_wrong_before_the_last_record_is_an_error_that_names_the_byte_and_nothing_is_written() {
    let head = lines(&[]).len();
    let first = lines(&[committed("exchange", &["fees 1"])]).len();
    let whole = lines(&[committed("exchange", &["fees 1"]), committed("exchange", &["fees 2"])]);
    for at in 0..whole.len() {
        for damage in [0, b'\n', whole[at] ^ 1] {
            let mut bytes = whole.clone();
            if std::mem::replace(&mut bytes[at], damage) == damage {
                continue;
            }
            let disk = Disk::new();
            disk.set(JOURNAL, &bytes);
            let opened = journal(&disk).map(|(journal, opened)| (journal.state().clone(), opened));
            match opened {
                Err(JournalError::Headless { .. }) => assert!(at < head, "{at}"),
                Err(JournalError::Damaged { at_byte, .. }) if at < first => {
                    assert!(at >= head, "{at}");
                    assert_eq!(at_byte, head as u64);
                }
                // A line end within the last line can't come of a cut.
                Err(JournalError::Damaged { at_byte, .. }) => {
                    assert_eq!((at_byte, damage), (first as u64, b'\n'));
                }
                Ok((state, opened)) => {
                    assert!(at >= first, "damage at {at} was passed over");
                    let bytes = (whole.len() - first) as u64;
                    assert_eq!(opened.repaired, Some(Repaired { at_byte: first as u64, bytes }));
                    assert_eq!(state.committed["exchange"], set(&["fees 1"]));
                    continue;
                }
                Err(other) => panic!("{at}: {other}"),
            }
            assert_eq!(disk.read(JOURNAL, u64::MAX).unwrap().unwrap(), bytes);
        }
    }
}

#[test]
fn an_empty_file_is_no_journal() {
    let disk = Disk::new();
    disk.set(JOURNAL, b"");
    assert!(matches!(journal(&disk), Err(JournalError::Headless { .. })));
}

#[test]
fn what_another_version_wrote_is_not_guessed_at() {
    let sealed = |body: &str| {
        format!("{} {body}\n", &blake3::hash(body.as_bytes()).to_hex()[..16]).into_bytes()
    };
    let check = |bytes: &[u8], expected: &str| {
        let disk = Disk::new();
        disk.set(JOURNAL, bytes);
        let error = journal(&disk).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(disk.read(JOURNAL, u64::MAX).unwrap().unwrap(), bytes);
    };
    check(
        &sealed(r#"1 {"format":3,"state":[]}"#),
        "has format 3, this host knows formats 1 to 2; start the version of the host that wrote it",
    );
    let at = lines(&[]).len();
    let bytes = [lines(&[]), sealed(r#"1 {"praised":{}}"#), lines(&[])].concat();
    check(&bytes, &format!("something whole at byte {at} that this host does not know"));
}

#[test]
fn a_torn_line_is_told_from_a_damaged_one() {
    #[track_caller]
    fn check(tail: &[u8], torn: bool) {
        let head = lines(&[]);
        let bytes = [&head, tail].concat();
        let expected = torn.then_some(Torn { at: head.len(), bytes: tail.len() });
        assert_eq!(record::torn(&bytes, head.len()), expected);
    }
    let line = record::line(&began());
    check(&line[..20], true);
    check(&[0; 5000], true);
    check(&[&line[..20], &[0; 7]].concat(), true);
    check(&[&[0; 20], &line[20..]].concat(), true);
    check(&[&line[..line.len() - 1], &line].concat(), false);
    check(&[&line[..20], b"\n", &line[..3]].concat(), false);
}

#[test]
fn it_grows_no_further_than_its_bound_and_twice_what_is_true() {
    let disk = Disk::new();
    let (mut journal, _) = journal(&disk).unwrap();
    let mut shrunk = 0;
    for round in 0..200 {
        let before = journal.bytes;
        journal.append(&committed("exchange", &[&format!("fees {}", round % 5)])).unwrap();
        shrunk += usize::from(journal.bytes < before);
        let bytes = disk.read(JOURNAL, u64::MAX).unwrap().unwrap().len() as u64;
        assert_eq!(bytes, journal.bytes);
        let head = record::head(journal.state()).len() as u64;
        assert!(bytes <= BYTES_MAX.max(2 * head + 500), "{bytes} bytes, the state has {head}");
    }
    assert!(shrunk > 10, "{shrunk}");
}

// Cuts and failures.

enum Step {
    Append(Record),
    /// Another process opens it.
    Restart,
}

fn script() -> Vec<Step> {
    let append = Step::Append;
    vec![
        append(committed("exchange", &["fees 1", "risk 1"])),
        append(trial("exchange", &["fees 2", "risk 1"])),
        append(committed("exchange", &["fees 2", "risk 1"])),
        append(committed("web", &["pages 1"])),
        append(trial("exchange", &["fees 3", "risk 2"])),
        append(returned("exchange", &["fees 3", "risk 2"])),
        append(released("risk 2")),
        append(trial("exchange", &["fees 2", "risk 2"])),
        append(trial("web", &["pages 2"])),
        Step::Restart,
        append(released("pages 2")),
        append(trial("web", &["pages 2"])),
        append(committed("web", &["pages 2"])),
        append(committed("web", &["pages 1"])),
        append(held("pages 2")),
        append(trial("exchange", &["fees 4", "risk 1"])),
        append(trial("exchange", &["fees 5", "risk 1"])),
        append(committed("exchange", &["fees 5", "risk 1"])),
        append(trial("exchange", &["fees 6", "risk 1"])),
        append(Record::Ended),
        Step::Restart,
        append(trial("exchange", &["fees 6", "risk 1"])),
        append(returned("exchange", &["fees 6"])),
        append(committed("batch", &["night 1"])),
        append(trial("batch", &["night 2"])),
        append(committed("batch", &["night 2"])),
        append(released("fees 6")),
        append(trial("exchange", &["fees 6", "risk 1"])),
        append(committed("exchange", &["fees 6", "risk 1"])),
        append(held("fees 4")),
        append(trial("web", &["pages 3"])),
    ]
}

/// What the script has done, and what may be found if it is cut now.
struct Run {
    disk: Disk,
    journal: Option<Journal>,
    /// After what returned.
    acknowledged: JournalState,
    /// By step: that, or that and any record that was tried since.
    allowed: Vec<Vec<JournalState>>,
    failures: usize,
    compactions: usize,
}

impl Run {
    fn begin(disk: Disk) -> Self {
        let acknowledged = JournalState::default();
        let allowed = vec![vec![acknowledged.clone()]];
        let mut run =
            Run { disk, journal: None, acknowledged, allowed, failures: 0, compactions: 0 };
        run.open();
        run
    }

    fn through(mut self) -> Self {
        for step in script() {
            match step {
                Step::Append(record) => self.append(&record),
                Step::Restart => self.open(),
            }
        }
        self
    }

    /// What comes next may leave `state` as well.
    fn allow(&mut self, state: JournalState) {
        let mut allowed = self.allowed.last().unwrap().clone();
        allowed.push(state);
        self.next(allowed);
    }

    fn next(&mut self, allowed: Vec<JournalState>) {
        self.disk.step(self.allowed.len());
        self.allowed.push(allowed);
    }

    fn append(&mut self, record: &Record) {
        let mut state = self.acknowledged.clone();
        state.apply(record);
        self.allow(state.clone());
        let journal = self.journal.as_mut().unwrap();
        let bytes_begun = journal.bytes_begun;
        match journal.append(record) {
            Ok(()) => {
                self.compactions += usize::from(journal.bytes_begun != bytes_begun);
                assert_eq!(*journal.state(), state);
                self.acknowledged = state.clone();
                self.next(vec![state]);
            }
            Err(error) => {
                assert!(matches!(error, JournalError::Unwritable { .. }), "{error}");
                assert_eq!(*journal.state(), self.acknowledged, "what failed is not in the state");
                self.failures += 1;
            }
        }
    }

    /// A start that fails is tried again, once.
    fn open(&mut self) {
        self.journal = None;
        let opened = journal(&self.disk).or_else(|error| {
            let known =
                matches!(error, JournalError::Unwritable { .. } | JournalError::Unreadable { .. });
            assert!(known, "{error}");
            self.failures += 1;
            journal(&self.disk)
        });
        let (journal, opened) = opened.unwrap();
        let allowed = self.allowed.last().unwrap();
        let found = allowed.iter().map(at_start).find(|state| state == journal.state());
        self.acknowledged = found.expect("a restart finds what was acknowledged");
        // A record that failed may be cut off here, and what was cut off is reported by the one
        // that cut it off.
        assert!(opened.repaired.is_none() || self.failures > 0);
        self.journal = Some(journal);
        let acknowledged = self.acknowledged.clone();
        self.next(vec![acknowledged]);
    }
}

/// Is everything that can be found after a cut at `image` what it should be?
fn check_cut(image: &Image, allowed: &[JournalState], cuts: Cuts) -> usize {
    let disks = image.cut(cuts);
    let expected: Vec<_> = allowed.iter().map(at_start).collect();
    let next = trial("web", &["pages 9"]);
    for disk in &disks {
        let (mut found, _) =
            journal(disk).unwrap_or_else(|error| panic!("step {}: {error}", image.step));
        let state = found.state().clone();
        assert!(
            expected.contains(&state),
            "step {}: {state:#?}\nis none of {expected:#?}",
            image.step
        );
        found.append(&next).unwrap();
        let after = found.state().clone();
        drop(found);
        let (again, opened) = journal(disk).unwrap();
        assert_eq!(*again.state(), at_start(&after));
        assert_eq!(opened.repaired, None, "it was repaired the first time");
    }
    disks.len()
}

#[test]
fn a35_cut_anywhere_it_opens_again_with_the_last_record_that_counted_or_the_one_after() {
    let disk = Disk::new();
    disk.record();
    let run = Run::begin(disk.clone()).through();
    assert_eq!(run.failures, 0);
    let images = disk.take_images();
    assert!(run.compactions >= 3, "{}", run.compactions);
    let cuts: usize =
        images.iter().map(|image| check_cut(image, &run.allowed[image.step], Cuts::Every)).sum();
    println!("{} operations, {cuts} cuts", images.len());
    assert!(cuts > 5000, "{cuts}");
}

#[test]
fn a35_any_operation_may_fail_once_and_the_next_record_goes_through() {
    let operations = {
        let disk = Disk::new();
        Run::begin(disk.clone()).through();
        disk.operations()
    };
    let mut cuts = 0;
    for at in 0..operations {
        for how in How::ALL {
            let disk = Disk::new();
            disk.fail(Fault { at, how });
            disk.record();
            let run = Run::begin(disk.clone()).through();
            assert!(
                run.failures <= 1,
                "the failure of operation {at} was told {} times",
                run.failures
            );
            // Cut soon after, while what failed may still be found.
            let images = disk.take_images();
            for image in images.iter().filter(|image| image.operation >= at).take(6) {
                cuts += check_cut(image, &run.allowed[image.step], Cuts::Some);
            }
            let last = disk.image();
            cuts += check_cut(&last, run.allowed.last().unwrap(), Cuts::Some);
        }
    }
    println!("{operations} operations, {cuts} cuts");
}

#[test]
fn a35_while_the_disk_is_full_nothing_counts_and_when_there_is_room_it_goes_on() {
    let disk = Disk::new();
    let (mut first, _) = journal(&disk).unwrap();
    first.append(&committed("exchange", &["fees 1"])).unwrap();
    disk.fill(true);
    for _ in 0..3 {
        let error = first.append(&committed("exchange", &["fees 2"])).unwrap_err().to_string();
        let expected = "can't write /var/lib/exchange/journal, so what was decided would not survive a restart; \
                        make room there; the next thing to be written then goes through";
        assert_eq!(error, expected);
        assert_eq!(first.state().committed["exchange"], set(&["fees 1"]));
    }
    disk.fill(false);
    first.append(&committed("exchange", &["fees 3"])).unwrap();
    let (second, _) = journal(&disk).unwrap();
    assert_eq!(second.state().committed["exchange"], set(&["fees 3"]));
    assert_eq!(second.state().before["exchange"], set(&["fees 1"]));
}

// The store.

fn library(of: &str) -> (Digest, Vec<u8>) {
    let bytes = of.as_bytes().repeat(40);
    (Digest::of(&bytes), bytes)
}

fn store(disk: &Disk) -> Result<Store, JournalError> {
    Store::open(Box::new(disk.clone()), 1000)
}

#[test]
fn the_store_gives_back_what_was_put_and_keeps_what_it_is_told_to() {
    let disk = Disk::new();
    let store = store(&disk).unwrap();
    let [(one, one_bytes), (two, two_bytes)] = ["fees 1", "fees 2"].map(library);
    store.put(one, &one_bytes).unwrap();
    store.put(two, &two_bytes).unwrap();
    store.put(two, &two_bytes).unwrap();
    disk.set("notes.txt", b"somebody's");
    assert_eq!(store.get(&one).unwrap(), one_bytes);
    store.retain(&BTreeSet::from([two])).unwrap();
    assert!(matches!(store.get(&one), Err(JournalError::StoreMissing { .. })));
    assert_eq!(store.get(&two).unwrap(), two_bytes);
    assert!(disk.read("notes.txt", u64::MAX).unwrap().is_some());
}

#[test]
fn g03_the_store_is_listed_once_however_often_something_is_put_and_discarded() {
    let disk = Disk::new();
    let store = store(&disk).unwrap();
    let libraries = ["fees 1", "fees 2", "fees 3", "fees 4", "fees 5", "fees 6"].map(library);
    store.put(libraries[0].0, &libraries[0].1).unwrap();
    let lists = disk.lists();
    for pair in libraries.windows(2) {
        let [(old, _), (new, bytes)] = pair else { unreachable!() };
        store.put(*new, bytes).unwrap();
        store.discard([old]).unwrap();
        assert!(matches!(store.get(old), Err(JournalError::StoreMissing { .. })));
    }
    assert_eq!(disk.lists(), lists);
    // Of a put that failed nobody knows what is there.
    disk.fail(Fault { at: disk.operations() + 3, how: How::Half });
    let (lost, bytes) = library("fees 7");
    store.put(lost, &bytes).unwrap_err();
    store.put(lost, &bytes).unwrap();
    assert_eq!(disk.lists(), lists + 1);
}

#[test]
fn the_store_refuses_what_does_not_fit_and_says_what_would_help() {
    let store = store(&Disk::new()).unwrap();
    let libraries = ["fees 1", "fees 2", "fees 3", "fees 4", "fees 5"].map(library);
    let [rest @ .., (last, last_bytes)] = &libraries;
    for (digest, bytes) in rest {
        store.put(*digest, bytes).unwrap();
    }
    let error = store.put(*last, last_bytes).unwrap_err().to_string();
    let expected = "a library of 240 bytes does not fit into /var/lib/exchange: 960 bytes are kept there for a restart, \
                    store_bytes_max is 1000; raise it, or strip the library";
    assert_eq!(error, expected);
    // What is there already needs no more room.
    store.put(rest[0].0, &rest[0].1).unwrap();
    store.retain(&rest[..3].iter().map(|(digest, _)| *digest).collect()).unwrap();
    store.put(*last, last_bytes).unwrap();
}

#[test]
fn a_library_that_was_changed_is_refused_by_name_and_can_be_put_again() {
    let disk = Disk::new();
    let store = store(&disk).unwrap();
    let (digest, bytes) = library("fees 1");
    store.put(digest, &bytes).unwrap();
    let mut changed = bytes.clone();
    changed[7] ^= 1;
    disk.set(&format!("{digest}.so"), &changed);
    let error = store.get(&digest).unwrap_err().to_string();
    let found = Digest::of(&changed);
    let expected = format!(
        "/var/lib/exchange/{digest}.so does not hold the bytes that were committed: their hash is {found}; \
         apply the library again"
    );
    assert_eq!(error, expected);
    store.put(digest, &bytes).unwrap();
    assert_eq!(store.get(&digest).unwrap(), bytes);
}

/// Puts three libraries and lets one go; `there` is told which are to be found from then on.
fn run_store(disk: &Disk, mut there: impl FnMut(BTreeSet<Digest>)) -> Result<(), JournalError> {
    let [one, two, three] = ["fees 1", "fees 2", "fees 3"].map(library);
    let store = store(disk)?;
    store.put(one.0, &one.1)?;
    there(BTreeSet::from([one.0]));
    store.put(two.0, &two.1)?;
    there(BTreeSet::from([one.0, two.0]));
    there(BTreeSet::from([two.0]));
    store.retain(&BTreeSet::from([two.0]))?;
    store.put(three.0, &three.1)?;
    there(BTreeSet::from([two.0, three.0]));
    store.put(three.0, &three.1)
}

fn check_store(image: &Image, there: &BTreeSet<Digest>) -> usize {
    let disks = image.cut(Cuts::Every);
    for disk in &disks {
        let store = store(disk).unwrap();
        for (digest, bytes) in ["fees 1", "fees 2", "fees 3"].map(library) {
            match store.get(&digest) {
                Ok(found) => assert_eq!(found, bytes),
                Err(error) => {
                    let missing = matches!(error, JournalError::StoreMissing { .. });
                    assert!(missing && !there.contains(&digest), "step {}: {error}", image.step);
                }
            }
        }
        assert!(disk.list().unwrap().iter().all(|(name, _)| !name.ends_with(".new")));
        let (digest, bytes) = library("fees 4");
        store.put(digest, &bytes).unwrap();
        assert_eq!(store.get(&digest).unwrap(), bytes);
    }
    disks.len()
}

#[test]
fn a35_cut_anywhere_the_store_has_what_was_put_and_nothing_that_is_not_whole() {
    let check = |fault: Option<Fault>| {
        let disk = Disk::new();
        if let Some(fault) = fault {
            disk.fail(fault);
        }
        disk.record();
        let mut there = vec![BTreeSet::new()];
        let done = run_store(&disk, |now| {
            there.push(now);
            disk.step(there.len() - 1);
        });
        assert!(done.is_ok() || fault.is_some(), "{done:?}");
        let images = disk.take_images();
        let cuts: usize = images.iter().map(|image| check_store(image, &there[image.step])).sum();
        // Where the first look fails, nothing was begun.
        assert!(cuts > 0 || fault.is_some());
        disk.operations()
    };
    let operations = check(None);
    for at in 0..operations {
        for how in How::ALL {
            check(Some(Fault { at, how }));
        }
    }
}

// The real directory.

#[test]
fn a_directory_of_the_disk_is_made_locked_and_found_again() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("var/lib/exchange");
    let (mut first, store, _) = open(&path, Bounds::default()).unwrap();
    let (digest, bytes) = library("fees 1");
    store.put(digest, &bytes).unwrap();
    first.append(&committed("exchange", &["fees 1"])).unwrap();
    first.append(&trial("exchange", &["fees 2"])).unwrap();
    let bytes_before = std::fs::read(path.join(JOURNAL)).unwrap();

    let error = open(&path, Bounds::default()).err().unwrap();
    let pid = std::process::id();
    let expected = format!(
        "{} belongs to another host that is running (process {pid}); stop that one, or give this one a directory of its own",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    drop(first);
    let error = open(&path, Bounds::default()).err().unwrap();
    assert!(matches!(error, JournalError::Locked { .. }), "the store is still in use: {error}");
    drop(store);

    std::fs::write(path.join("store").join(format!("{digest}.so.new")), b"half").unwrap();
    let torn = [&bytes_before[..], b"0123"].concat();
    std::fs::write(path.join(JOURNAL), &torn).unwrap();
    let (second, store, opened) = open(&path, Bounds::default()).unwrap();
    assert_eq!(opened.died, Some(Process::this()));
    assert_eq!(opened.repaired, Some(Repaired { at_byte: bytes_before.len() as u64, bytes: 4 }));
    assert_eq!(second.state().committed["exchange"], set(&["fees 1"]));
    assert!(is_held(second.state(), "fees 2"));
    assert_eq!(store.get(&digest).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(path.join("store")).unwrap().count(), 1);
    // What happened before can still be read.
    assert!(std::fs::read(path.join(JOURNAL)).unwrap().starts_with(&bytes_before));
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let base = tempfile::tempdir().unwrap();
    std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = open(base.path(), Bounds::default()).err().unwrap();
    assert!(matches!(error, JournalError::Directory { .. }), "{error}");
    let file = base.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(open(&file, Bounds::default()), Err(JournalError::Directory { .. })));
}

#[test]
fn bounds_have_defaults() {
    let Bounds { journal_bytes_max, store_bytes_max } = Bounds::default();
    assert_eq!((journal_bytes_max, store_bytes_max), (1 << 20, 1 << 30));
}

fn file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn fifo(path: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}

/// Under a host that runs.
#[test]
fn j06_a_journal_that_was_taken_away_is_written_anew_before_the_next_answer() {
    let check = |take_away: &dyn Fn(&Path)| {
        let base = tempfile::tempdir().unwrap();
        let (mut first, store, _) = open(base.path(), Bounds::default()).unwrap();
        first.append(&committed("exchange", &["fees 1"])).unwrap();
        take_away(&base.path().join(JOURNAL));
        first.append(&committed("web", &["pages 1"])).unwrap();
        first.append(&committed("web", &["pages 2"])).unwrap();
        let state = first.state().clone();
        drop((first, store));
        let (second, _, _) = open(base.path(), Bounds::default()).unwrap();
        assert_eq!(*second.state(), at_start(&state));
        assert_eq!(second.state().committed["exchange"], set(&["fees 1"]));
    };
    check(&|journal| std::fs::remove_file(journal).unwrap());
    check(&|journal| std::fs::rename(journal, journal.with_extension("1")).unwrap());
    // As a tool that rotates logs does it.
    check(&|journal| {
        std::fs::rename(journal, journal.with_extension("1")).unwrap();
        std::fs::write(journal, b"").unwrap();
    });
    check(&|journal| {
        let file = std::fs::File::options().write(true).open(journal).unwrap();
        file.set_len(0).unwrap();
    });
    check(&|journal| {
        let mut file = std::fs::File::options().append(true).open(journal).unwrap();
        std::io::Write::write_all(&mut file, b"a note").unwrap();
    });
}

#[test]
fn j06_what_may_be_another_hosts_is_neither_written_over_nor_shared() {
    let one = || committed("exchange", &["fees 1"]);
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("journal");
    let (mut first, store, _) = open(&path, Bounds::default()).unwrap();
    first.append(&one()).unwrap();
    let file_path = path.join(JOURNAL);

    // Somebody has put a copy back.
    let copy = file(&file_path);
    std::fs::remove_file(&file_path).unwrap();
    std::fs::write(&file_path, &copy).unwrap();
    let web = || committed("web", &["pages 1"]);
    let error = first.append(&web()).expect_err("the copy is somebody's").to_string();
    assert!(error.contains("another file lies at") && error.contains("move it away"), "{error}");
    assert_eq!(file(&file_path), copy);
    std::fs::remove_file(&file_path).unwrap();
    first.append(&web()).unwrap();

    // A lock that was removed, and taken by another host.
    std::fs::remove_file(path.join("lock")).unwrap();
    let error = first.append(&one()).expect_err("its lock is another host's");
    assert!(matches!(error, JournalError::Lost { .. }), "{error}");
    let (second, second_store, _) = open(&path, Bounds::default()).unwrap();
    let (digest, bytes) = library("fees 1");
    let lost = "the directory is another host's";
    for error in [first.append(&one()).expect_err(lost), store.put(digest, &bytes).expect_err(lost)]
    {
        assert!(matches!(error, JournalError::Lost { .. }), "{error}");
        assert!(error.to_string().contains("is not this host's any more"), "{error}");
    }
    assert_eq!(second.state().committed["web"], set(&["pages 1"]));
    drop((first, store, second, second_store));

    // The directory is another one, under a host that runs.
    let (mut first, store, _) = open(&path, Bounds::default()).unwrap();
    std::fs::rename(&path, base.path().join("moved")).unwrap();
    let (mut second, _second_store, opened) = open(&path, Bounds::default()).unwrap();
    assert_eq!(opened, ORDERLY);
    let lost = "the directory is another host's";
    for error in [first.append(&one()).expect_err(lost), store.put(digest, &bytes).expect_err(lost)]
    {
        assert!(matches!(error, JournalError::Lost { .. }), "{error}");
    }
    second.append(&one()).unwrap();
    assert_eq!(std::fs::read_dir(path.join("store")).unwrap().count(), 0);
}

#[test]
fn j08_a_damaged_file_in_the_store_makes_room_for_what_is_put() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("journal");
    let bounds = Bounds { store_bytes_max: 1000, ..Bounds::default() };
    let (journal, store, _) = open(&path, bounds).unwrap();
    let [(one, one_bytes), (two, two_bytes), (three, three_bytes)] =
        ["fees 1", "fees 2", "fees 3"].map(library);
    store.put(one, &one_bytes).unwrap();
    store.put(two, &two_bytes).unwrap();
    // Sparse: to read it would take the memory that the bound is there for.
    let damaged = path.join("store").join(format!("{one}.so"));
    std::fs::File::options().write(true).open(&damaged).unwrap().set_len(1 << 40).unwrap();
    // It is over restarts that it was in the way.
    drop((journal, store));
    let (_journal, store, _) = open(&path, bounds).unwrap();
    let error = store.get(&one).unwrap_err().to_string();
    assert!(error.contains("it has 1099511627776 bytes") && error.contains("apply"), "{error}");
    store.put(three, &three_bytes).unwrap();
    assert!(matches!(store.get(&one), Err(JournalError::StoreMissing { .. })));
    assert_eq!(store.get(&two).unwrap(), two_bytes);
    store.put(one, &one_bytes).unwrap();
    assert_eq!(store.get(&one).unwrap(), one_bytes);
}

#[test]
fn j09_all_that_is_kept_is_bounded() {
    let disk = Disk::new();
    let bytes_max = Bounds::default().journal_bytes_max;
    let (mut journal, _) = Journal::open(Box::new(disk.clone()), bytes_max).unwrap();
    let long = "not well\n".repeat(30 << 20 >> 3);
    journal.append(&committed("exchange", &["fees 1"])).unwrap();
    for version in 0..200 {
        let of = format!("fees bad {version}");
        let plugin = member(&of).plugin;
        let held = vec![Version { plugin, digest: digest(&of) }];
        let reason = if version < 4 { &long } else { "not well" }.to_owned();
        let group = "exchange".to_owned();
        journal.append(&Record::Returned { group, held, reason }).unwrap();
        let of = format!("stranger-{version} 1");
        journal.append(&super::tests::held(&of)).unwrap();
    }
    let state = journal.state();
    let held: Vec<_> = (0..200).map(|it| is_held(state, &format!("fees bad {it}"))).collect();
    assert!(held[136..].iter().all(|held| *held), "the last 64 are held");
    assert!(held[..136].iter().all(|held| !held), "no more of a plugin than 64 are held");
    let reasons = state.held.values().flatten().map(|held| held.reason.len());
    assert!(reasons.max().unwrap() <= 512);
    let bytes = disk.read(JOURNAL, u64::MAX).unwrap().unwrap().len() as u64;
    assert!(bytes <= bytes_max, "{bytes}");
    for stranger in 0..2000 {
        journal.append(&super::tests::held(&format!("stranger-{stranger} 1"))).unwrap();
        let by = "a program".to_owned();
        let (plugin, contract) = (format!("asked-{stranger}"), "Fees".to_owned());
        journal.append(&Record::Asked { plugin, contract, by }).unwrap();
        let by = "a program".to_owned();
        let (plugin, contract) = ("fees".to_owned(), format!("Fees{stranger}"));
        journal.append(&Record::Asked { plugin, contract, by }).unwrap();
    }
    let state = journal.state();
    let strangers = state.held.len() + state.asked.len();
    assert!(strangers < 800, "{strangers} plugins that are not committed are remembered");
    assert!(is_held(state, "fees bad 199") && state.asked["fees"].len() == 64);
    let bytes = disk.read(JOURNAL, u64::MAX).unwrap().unwrap().len() as u64;
    assert!(bytes <= bytes_max, "{bytes}");

    // A configuration is kept whole, so it is refused.
    let mut set = set(&["fees 2"]);
    set[0].config = "#".repeat(1 << 20);
    let before = state.clone();
    let record = Record::Committed { group: "exchange".into(), set };
    let error = journal.append(&record).expect_err("a line of 1 MiB").to_string();
    assert!(error.contains("too long") && error.contains("a shorter configuration"), "{error}");
    assert_eq!(*journal.state(), before);
}

#[test]
fn what_is_no_file_is_no_journal_and_nothing_blocks() {
    let check = |make: &dyn Fn(&Path), expected: &str| {
        let base = tempfile::tempdir().unwrap();
        drop(open(base.path(), Bounds::default()).unwrap());
        let path = base.path().join(JOURNAL);
        std::fs::remove_file(&path).unwrap();
        make(&path);
        let error = open(base.path(), Bounds::default()).err().unwrap();
        let JournalError::Unreadable { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains(expected), "{source}");
    };
    check(&fifo, "no regular file");
    check(&|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(), "it is a link");
    check(&|path| std::fs::create_dir(path).unwrap(), "no regular file");
    check(&|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()), "no regular file");
    // Sparse.
    let huge = |path: &Path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    check(&huge, "it has 1099511627776 bytes");
}

#[test]
fn a_lock_is_a_file_of_its_own() {
    let base = tempfile::tempdir().unwrap();
    let (path, victim) = (base.path().join("journal"), base.path().join("victim"));
    drop(open(&path, Bounds::default()).unwrap());
    std::fs::write(&victim, b"somebody's").unwrap();
    let lock = path.join("lock");
    for make in [
        &(|lock: &Path, victim: &Path| std::os::unix::fs::symlink(victim, lock).unwrap())
            as &dyn Fn(&Path, &Path),
        &|lock, _| fifo(lock),
    ] {
        std::fs::remove_file(&lock).unwrap();
        make(&lock, &victim);
        let error = open(&path, Bounds::default()).err().unwrap();
        assert!(matches!(error, JournalError::Unlockable { .. }), "{error}");
        assert_eq!(file(&victim), "somebody's");
    }
    // A second name locks as well, and is not written to.
    std::fs::remove_file(&lock).unwrap();
    std::fs::hard_link(&victim, &lock).unwrap();
    let _first = open(&path, Bounds::default()).unwrap();
    assert!(matches!(open(&path, Bounds::default()), Err(JournalError::Locked { .. })));
    assert_eq!(file(&victim), "somebody's");
}

// Groups.

#[test]
fn j02_a_plugin_that_changes_its_group_leaves_the_set_of_the_old_one() {
    let before = [
        committed("a", &["a 1"]),
        committed("a", &["a 2"]),
        committed("billing", &["b 1"]),
        committed("billing", &["b 2"]),
    ];
    let mut state = replayed(&before);
    // It was brought back into its new group, and another version of it is committed there.
    state.apply(&committed("billing", &["a 3", "b 2"]));
    let billing = ("billing".into(), set(&["a 3", "b 2"]));
    assert_eq!(state.committed, BTreeMap::from([billing]));
    let before = ("billing".into(), set(&["a 2", "b 2"]));
    assert_eq!(state.before, BTreeMap::from([before]));
    assert_eq!(state.committed("a"), Some(&member("a 3")));
    assert_eq!(state.before("a", &digest("a 3")), Some(&member("a 2")));
    assert_eq!(state.before("b", &digest("b 2")), None);
}

#[test]
fn j02_a_plugin_that_only_moves_keeps_its_way_back() {
    let mut state = replayed(&[committed("a", &["a 1", "c 1"]), committed("a", &["a 2", "c 1"])]);
    state.apply(&committed("billing", &["a 2"]));
    assert_eq!(state.committed["a"], set(&["c 1"]));
    assert_eq!(state.committed["billing"], set(&["a 2"]));
    assert_eq!(state.before("a", &digest("a 2")), Some(&member("a 1")));
    state.apply(&committed("a", &["a 2", "c 1"]));
    assert_eq!(state.committed.len(), 1);
    assert_eq!(state.before("a", &digest("a 2")), Some(&member("a 1")));
}

#[test]
fn j07_what_could_not_be_brought_back_is_no_way_back() {
    let mut state = replayed(&[
        committed("exchange", &["fees 1", "risk 1"]),
        committed("exchange", &["fees 2", "risk 1"]),
        began(),
        Record::Fell { group: "exchange".into() },
        trial("exchange", &["fees 3", "risk 1"]),
    ]);
    assert_eq!(state.quarantine().len(), 1, "what was good is not held");
    state.apply(&committed("exchange", &["fees 3", "risk 1"]));
    assert_eq!(state.before["exchange"], set(&["fees 1", "risk 1"]));
    assert_eq!(state.committed["exchange"], set(&["fees 3", "risk 1"]));
    // A part that is missing is tried again at the next start.
    state.apply(&committed("exchange", &["fees 4"]));
    assert_eq!(state.committed["exchange"], set(&["fees 4", "risk 1"]));
}

#[test]
fn j07_a_restart_takes_what_is_good() {
    let state = replayed(&[
        committed("exchange", &["fees 1", "risk 1"]),
        committed("exchange", &["fees 2", "risk 2"]),
    ]);
    let check = |damaged: &[&str], expected: Brought| {
        let is_good = |member: &Member| !damaged.iter().any(|of| digest(of) == member.digest);
        let brought = bring_back(&state, "exchange", |set| set.iter().all(is_good));
        assert_eq!(brought, expected, "{damaged:?}");
    };
    check(&[], Brought::Committed);
    check(&["fees 1"], Brought::Committed);
    check(&["risk 2"], Brought::Before(set(&["fees 1", "risk 1"])));
    check(&["fees 1", "fees 2"], Brought::Parts(set(&["risk 2"])));
    check(&["fees 1", "risk 2"], Brought::Parts(set(&["fees 2", "risk 1"])));
    check(&["fees 1", "risk 1", "fees 2", "risk 2"], Brought::Parts(Vec::new()));
}
