//! Holders: who keeps a retired generation from draining.

use std::fmt;
use std::time::Duration;

/// What holds a retired generation, as it looked a moment ago.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// The threads inside of calls on it.
    pub calls: Vec<Holder>,
    /// How many [`Lease`](crate::Lease)s hold it.
    pub leases: usize,
    /// The plugin has been told that it is retiring, and is at that.
    pub retiring: bool,
}

/// A thread inside of a call on a retired generation.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The system's thread id.
    pub tid: u32,
    /// The thread's name as the system knows it, cut at 15 characters; empty where it has none any more.
    pub thread: String,
    /// The plugin that is called. Calls of one request are not told apart: of those it is the plugin that was retired.
    pub plugin: String,
    /// The method of the outermost call into the group; `None` for a request.
    pub method: Option<String>,
    /// It is inside by a lease, which is counted as well.
    pub by_lease: bool,
    /// Since the drain first saw it. (It may have been inside for longer: calls read no clock.)
    pub since: Duration,
}

impl Holders {
    /// Nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.leases == 0 && !self.retiring
    }
}

/// Without times, so that two runs read the same.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.calls.iter().map(Holder::to_string).collect();
        match self.leases {
            0 => {}
            1 => parts.push("a lease".to_owned()),
            leases => parts.push(format!("{leases} leases")),
        }
        if self.retiring {
            parts.push("its own retiring".to_owned());
        }
        match parts.is_empty() {
            true => f.write_str("nothing that can be named"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { tid, thread, plugin, method, .. } = self;
        write!(f, "tid {tid}")?;
        if !thread.is_empty() {
            write!(f, " ({thread})")?;
        }
        match method {
            Some(method) => write!(f, " in {plugin}.{method}")?,
            None => f.write_str(" in a request")?,
        }
        if self.by_lease { f.write_str(" by a lease") } else { Ok(()) }
    }
}

/// A drain that did not end in time. It goes on.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The plugin's name.
    pub plugin: String,
    /// The generation that was replaced.
    pub generation: u64,
    /// Who holds it.
    pub holders: Holders,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} of {} is held by {}", self.generation, self.plugin, self.holders)
    }
}

impl std::error::Error for Stall {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_read_well() {
        let holder = |tid, method: Option<&str>, by_lease| Holder {
            tid,
            thread: "exchange".to_owned(),
            plugin: "flat-fees".to_owned(),
            method: method.map(str::to_owned),
            by_lease,
            since: Duration::from_secs(1),
        };
        let check = |calls: &[Holder], leases, expected: &str| {
            let holders = Holders { calls: calls.to_vec(), leases, retiring: false };
            assert_eq!(holders.to_string(), expected);
        };
        check(&[], 0, "nothing that can be named");
        check(&[], 1, "a lease");
        check(&[], 2, "2 leases");
        check(&[holder(7, Some("fee"), false)], 0, "tid 7 (exchange) in flat-fees.fee");
        check(
            &[holder(7, None, false), holder(8, Some("fee"), true)],
            1,
            "tid 7 (exchange) in a request, tid 8 (exchange) in flat-fees.fee by a lease, a lease",
        );
    }
}
