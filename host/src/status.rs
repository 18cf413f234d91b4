//! Status: what runs, what is on its way out, and what stayed.

use crate::holder::Holders;
use std::fmt;

/// A snapshot of a host, as of the last change that the control plane has made. It is put together
/// when it is asked for, and kept until the next change.
#[non_exhaustive]
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Every plugin that was ever active, by name.
    pub plugins: Vec<PluginStatus>,
    /// Every generation that is or was active, oldest first; of the unmapped ones the last few
    /// hundred.
    pub generations: Vec<GenerationStatus>,
}

impl Status {
    /// The names of the plugins that serve.
    pub(crate) fn serving(&self) -> Vec<&str> {
        let serving = self.plugins.iter().filter(|plugin| plugin.active.is_some());
        serving.map(|plugin| plugin.name.as_str()).collect()
    }
}

/// One plugin.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// The group that it is switched with.
    pub group: String,
    /// The generation that new calls run on.
    pub active: Option<u64>,
    /// That generation's version.
    pub version: Option<String>,
    /// The version that a rollback would bring back.
    pub rollback_to: Option<String>,
    /// Hashes (blake3, hex) of contents that were rolled back: the watcher leaves them alone.
    pub held: Vec<String>,
}

/// One generation: a loaded copy of one version of a plugin.
#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct GenerationStatus {
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// The number, never used again.
    pub generation: u64,
    /// The linker's build id, in hex; the content's hash where the linker made none.
    pub build_id: String,
    /// Its file had a stamp, so it is as it was built. False of what is linked in.
    pub stamped: bool,
    /// What became of it.
    pub residency: Residency,
    /// Who or what keeps a retired one that is not gone within a tenth of a second; brought up to
    /// date ten times a second.
    pub held_by: Holders,
    /// What it had allocated at the time of this snapshot; of an unmapped one, what it never freed.
    /// None: unknown, since its allocator is no `midflight_plugin::Counted`, or has given out
    /// nothing yet.
    pub memory: Option<Memory>,
    /// What its own code has mapped and not unmapped: the heap of an
    /// allocator that it brings with it, mostly. Of an unmapped one, what it has left.
    pub mapped: Mapped,
}

/// What a generation's own allocator has given out, in bytes.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Not freed.
    pub current: usize,
    /// The most so far.
    pub peak: usize,
}

/// What a generation's own code has mapped and not unmapped, in bytes.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mapped {
    /// Of address space.
    pub bytes: usize,
    /// Of those, how many were in memory when it was unmapped; 0 before.
    pub resident: usize,
}

/// Whether a generation's code is in this process, and why.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Residency {
    /// New calls run on it.
    Active,
    /// It has started, and waits for a switch point.
    Prepared,
    /// A share of the calls runs on it, before it is switched in for all.
    Canary,
    /// It was replaced, and is kept started until what replaced it is committed: going back is one
    /// store.
    Standby,
    /// It gets no new calls; its last ones are ending, or it is being stopped.
    Retiring,
    /// Proven: nothing of its code is mapped.
    Unmapped,
    /// It is still mapped, for these reasons.
    Resident(Vec<String>),
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Residency::Active => f.write_str("active"),
            Residency::Prepared => f.write_str("prepared"),
            Residency::Canary => f.write_str("canary"),
            Residency::Standby => f.write_str("standby"),
            Residency::Retiring => f.write_str("retiring"),
            Residency::Unmapped => f.write_str("unmapped"),
            Residency::Resident(reasons) => write!(f, "resident({})", reasons.join("; ")),
        }
    }
}
