//! Records, and how they stand in the file: lines that a person can read and a checksum can judge.

use super::state::JournalState;
use midflight_inspect::text;
use serde::{Deserialize, Serialize, de};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the lines of a journal look like. A change of anything that is written here, or in the
/// state, is another format: raise the number, read the one before (`formats`), and keep a journal
/// of it in `tests/formats`.
pub(crate) const FORMAT: u32 = 2;

/// How much of a reason is kept.
const REASON_BYTES_MAX: usize = 512;

/// Something that was decided or happened.
///
/// A rollback of what is committed is two records, `Committed` and then `Held`: cut between them,
/// the good set runs, and the bad version is known and so not taken up. The other way round it
/// would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// A host process began. Whatever was on probation is not any more.
    Began(Process),
    /// It ends, and what is on probation did not end it.
    Ended,
    /// The set serves the group, on probation.
    Trial { group: String, set: Vec<Member> },
    /// The set serves the group, and will after a restart.
    Committed { group: String, set: Vec<Member> },
    /// A trial ended by going back; what was new in it is held.
    Returned { group: String, held: Vec<Version>, reason: String },
    /// It is not taken up again until somebody asks for it.
    Held { plugin: String, digest: Digest, reason: String },
    /// Somebody asked for it.
    Released { plugin: String, digest: Digest },
    /// A slot of the program `by` has asked the plugin for the contract, and got it.
    Asked { plugin: String, contract: String, by: String },
    /// The configurations that the service's builder gives, by plugin, and that are in effect or
    /// were overruled knowingly.
    Built { configs: BTreeMap<String, Digest> },
    /// What is committed in the group could not be brought back: what was before it serves.
    Fell { group: String },
}

impl Record {
    /// With its texts as long as they are kept.
    pub(crate) fn bounded(&self) -> Record {
        match self.clone() {
            Record::Returned { group, held, reason } => {
                Record::Returned { group, held, reason: self::reason(&reason) }
            }
            Record::Held { plugin, digest, reason } => {
                Record::Held { plugin, digest, reason: self::reason(&reason) }
            }
            other => other,
        }
    }
}

/// As it is kept: the whole of it was told when it happened.
pub(crate) fn reason(text: &str) -> String {
    text::within(text, REASON_BYTES_MAX)
}

/// One plugin's part in what serves a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) digest: Digest,
    /// As toml.
    pub(crate) config: String,
    /// The group that its author names.
    #[serde(default)]
    pub(crate) group: Option<String>,
    /// When its file was last written, in nanoseconds since 1970: a file of the same version that
    /// is newer beats it.
    #[serde(default)]
    pub(crate) modified_ns: u64,
}

impl Member {
    /// Is it the same library with the same configuration?
    pub(crate) fn is_same(&self, other: &Member) -> bool {
        self.plugin == other.plugin && self.digest == other.digest && self.config == other.config
    }
}

/// A library of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) plugin: String,
    pub(crate) digest: Digest,
}

/// Who wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The kernel's name for the time since the machine was started; empty where it has none.
    pub(crate) boot: String,
}

impl Process {
    pub(crate) fn this() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Process { pid: std::process::id(), boot: boot.trim().to_owned() }
    }
}

/// The hash of a library's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn bytes(self) -> [u8; 32] {
        self.0
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Digest(hash.into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl FromStr for Digest {
    type Err = blake3::HexError;

    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(hex).map(Digest::from)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        hex.parse().map_err(de::Error::custom)
    }
}

/// The first line of a journal, which stands for all that went before.
#[derive(Serialize, Deserialize)]
struct Head<S> {
    format: u32,
    state: S,
}

pub(crate) fn head(state: &JournalState) -> Vec<u8> {
    seal(&Head { format: FORMAT, state })
}

/// The format that a head names, whatever else that format has in it.
pub(crate) fn format(head: &[u8]) -> serde_json::Result<u32> {
    let head: Head<de::IgnoredAny> = serde_json::from_slice(head)?;
    Ok(head.format)
}

/// The state in a head whose format calls it `S`.
pub(crate) fn state<S: de::DeserializeOwned>(head: &[u8]) -> serde_json::Result<S> {
    let head: Head<S> = serde_json::from_slice(head)?;
    Ok(head.state)
}

pub(crate) fn line(record: &Record) -> Vec<u8> {
    seal(record)
}

/// One line of a journal.
pub(crate) struct Line<'a> {
    pub(crate) json: &'a [u8],
    /// Since 1970, by the clock of who wrote it.
    pub(crate) seconds: u64,
    /// Its length.
    pub(crate) bytes: usize,
}

/// The line that `bytes` begin with, if it is whole.
pub(crate) fn first(bytes: &[u8]) -> Option<Line<'_>> {
    // Before the search for its end: most bytes that this is asked of begin no line.
    let (sum, rest) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    let rest = rest.strip_prefix(b" ").filter(|_| sum.iter().all(u8::is_ascii_hexdigit))?;
    let body = &rest[..rest.iter().position(|byte| *byte == b'\n')?];
    if sum != checksum(body).as_bytes() {
        return None;
    }
    let space = body.iter().position(|byte| *byte == b' ')?;
    let seconds = std::str::from_utf8(&body[..space]).ok()?.parse().ok()?;
    Some(Line { json: &body[space + 1..], seconds, bytes: CHECKSUM_BYTES + 1 + body.len() + 1 })
}

/// A last line that was not written to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Torn {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
}

/// Is what begins at `at`, and is no line, the last one, torn? A line has one end and no other line
/// in it, so with more than that it is damage.
pub(crate) fn torn(bytes: &[u8], at: usize) -> Option<Torn> {
    let rest = &bytes[at..];
    let inner_end = rest[..rest.len() - 1].contains(&b'\n');
    // The end of the damaged line can be what was damaged.
    let inner_line = (1..rest.len()).any(|from| first(&rest[from..]).is_some());
    (!inner_end && !inner_line).then_some(Torn { at, bytes: rest.len() })
}

const CHECKSUM_BYTES: usize = 16;

fn seal(what: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_string(what)
        .expect("maps with keys of text, lists and text can be written as json");
    // For people: nothing is decided by it, so a clock that is wrong does no harm.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let body = format!("{seconds} {json}");
    format!("{} {body}\n", checksum(body.as_bytes())).into_bytes()
}

fn checksum(body: &[u8]) -> String {
    let hex = blake3::hash(body).to_hex();
    hex[..CHECKSUM_BYTES].to_owned()
}
