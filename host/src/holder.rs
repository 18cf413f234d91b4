//! Holders: who keeps a retired generation from draining.

use std::fmt;
use std::time::Duration;

/// What holds a retired generation, as it looked a moment ago.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// The threads inside of calls on it.
    pub calls: Vec<Holder>,
    /// What holds it beyond a call, by kind: [`Lease`](crate::Lease)s, and answers: futures and
    /// [`Object`](crate::Object)s.
    pub holds: Vec<Held>,
    /// The plugin has been told that it is retiring, and is at that.
    pub retiring: bool,
    /// It is kept started until what replaced it is committed.
    pub standby: bool,
    /// No call is left, and what is: its stop that runs, its threads, destructors of its
    /// thread-locals and where they are owed, signal handlers. In the words of
    /// [`Residency::Resident`](crate::Residency::Resident), which it becomes with them at
    /// [`stop_deadline`](crate::HostBuilder::stop_deadline).
    pub left: Vec<String>,
}

/// What holds a retired generation beyond a call: all of one kind.
///
/// Its text is `leases: 3, oldest 41 s, taken at src/session.rs:41`.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `lease`, `answer`.
    pub what: String,
    /// How many there are.
    pub count: usize,
    /// How long the oldest has been there.
    pub oldest: Duration,
    /// File and line where the oldest was taken; empty where that is unknown.
    pub taken_at: String,
}

/// A thread inside of a call on a retired generation.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The system's thread id.
    pub tid: u32,
    /// The thread's name as the system knows it, cut at 15 characters; empty where it has none any
    /// more.
    pub thread: String,
    /// The plugin that is called. Calls of one request are not told apart: of those it is the
    /// plugin that was retired.
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
        self.calls.is_empty()
            && self.holds.is_empty()
            && self.left.is_empty()
            && !self.retiring
            && !self.standby
    }
}

/// Without times, so that two runs read the same.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<_> = self.calls.iter().map(Holder::to_string).collect();
        parts.extend(self.holds.iter().map(Held::without_time));
        if self.standby {
            parts.push("standby, until what replaced it is committed".to_owned());
        }
        if self.retiring {
            parts.push("its own retiring".to_owned());
        }
        parts.extend_from_slice(&self.left);
        match parts.is_empty() {
            true => f.write_str("nothing that can be named"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, oldest {} s", self.plural(), self.count, self.oldest.as_secs())?;
        if self.taken_at.is_empty() { Ok(()) } else { write!(f, ", taken at {}", self.taken_at) }
    }
}

impl Held {
    fn without_time(&self) -> String {
        let (count, what) = match self.count {
            1 => ("a".to_owned(), self.what.clone()),
            count => (count.to_string(), self.plural()),
        };
        match (self.taken_at.as_str(), self.count) {
            ("", _) => format!("{count} {what}"),
            (place, 1) => format!("{count} {what} taken at {place}"),
            (place, _) => format!("{count} {what}, the oldest taken at {place}"),
        }
    }

    /// `leases`, `futures of exchange.quote`
    fn plural(&self) -> String {
        match self.what.split_once(' ') {
            Some((noun, rest)) => format!("{noun}s {rest}"),
            None => format!("{}s", self.what),
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
        let held = |what: &str, count, taken_at: &str| Held {
            what: what.to_owned(),
            count,
            oldest: Duration::from_millis(41_900),
            taken_at: taken_at.to_owned(),
        };
        let check = |calls: &[Holder], holds: &[Held], retiring, expected: &str| {
            let (calls, holds) = (calls.to_vec(), holds.to_vec());
            let holders = Holders { calls, holds, retiring, ..Holders::default() };
            assert_eq!(holders.to_string(), expected);
        };
        let place = "src/session.rs:41";
        check(&[], &[], false, "nothing that can be named");
        check(&[], &[], true, "its own retiring");
        check(&[], &[held("lease", 1, place)], false, "a lease taken at src/session.rs:41");
        check(
            &[],
            &[held("lease", 2, place), held("share", 1, "")],
            true,
            "2 leases, the oldest taken at src/session.rs:41, a share, its own retiring",
        );
        check(&[holder(7, Some("fee"), false)], &[], false, "tid 7 (exchange) in flat-fees.fee");
        check(
            &[holder(7, None, false), holder(8, Some("fee"), true)],
            &[held("future of exchange.quote", 3, place)],
            false,
            "tid 7 (exchange) in a request, tid 8 (exchange) in flat-fees.fee by a lease, \
             3 futures of exchange.quote, the oldest taken at src/session.rs:41",
        );
        let told = held("lease", 3, place).to_string();
        assert_eq!(told, "leases: 3, oldest 41 s, taken at src/session.rs:41");
        assert_eq!(held("future of a.b", 1, "").to_string(), "futures of a.b: 1, oldest 41 s");
    }
}
