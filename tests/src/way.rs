//! The two ways into a host: as a library that is loaded, and linked into its binary.
//!
//! A service may be built either way, and its calls are to behave alike. So a case that needs no
//! file, no update and no unload is written once, as a function of its [`Way`], and
//! [`both_ways!`](crate::both_ways) makes two tests of it.

use crate::Fixture;
use crate::answers::check;
use midflight::{Host, HostBuilder, HostError, Refusal, Residency};
use midflight_plugin::rt::{Exported, Gate};
use probe_contracts::ProbeCalls;

/// How plugins get into the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each is a library, which the started host loads.
    Dynamic,
    /// Each is a type of this binary, which the host starts with. By design it differs in this:
    /// - What it does not start with is an error of the host's start, and nothing replaces it
    ///   later.
    /// - Its version is its crate's, since no `export!` names another.
    /// - Where it panicked is unknown: the host sets no panic hook, and no other plugin's is its.
    /// - When it is stopped its code stays, and says so.
    /// - Its events of `tracing` are the host's own.
    Linked,
}

/// Makes two tests of each function, `dynamic::…` and `linked::…`. The bodies of those that are `in
/// child` run in [a process of their own](crate::in_child).
#[macro_export]
macro_rules! both_ways {
    ($($test:ident $(in $child:ident)?),* $(,)?) => {
        mod dynamic {
            $(#[test] fn $test() { $crate::both_ways!(@run super::$test, Dynamic $(, $child)?); })*
        }
        mod linked {
            $(#[test] fn $test() { $crate::both_ways!(@run super::$test, Linked $(, $child)?); })*
        }
    };
    (@run $test:path, $way:ident) => { $test($crate::Way::$way) };
    (@run $test:path, $way:ident, child) => { $crate::in_child(|| $test($crate::Way::$way)) };
}

impl Way {
    /// A host on which `plugins` serve, in this order.
    pub fn start(self, builder: HostBuilder, plugins: &[Either]) -> Result<Host, Refusal> {
        match self {
            Way::Dynamic => {
                let host = builder.start().expect("a host");
                for plugin in plugins {
                    host.apply(plugin.fixture.path())?;
                }
                Ok(host)
            }
            Way::Linked => {
                let link = |builder, plugin: &Either| (plugin.link)(builder, plugin.name);
                plugins.iter().fold(builder, link).start().map_err(|error| match error {
                    HostError::Linked(refusal) => refusal,
                    other => panic!("{other}"),
                })
            }
        }
    }

    /// [`check_answers`](crate::check_answers) of a plugin that came this way.
    #[track_caller]
    pub fn check_answers<G: Gate>(self, probe: &ProbeCalls<G>, version: u32) {
        check(probe, version, self);
    }

    /// Is `location` what is known of where a plugin panicked?
    pub fn knows(self, location: &str) -> bool {
        match self {
            Way::Dynamic => location.contains("src/lib.rs:"),
            Way::Linked => location.is_empty(),
        }
    }

    /// What becomes of a generation that has ended.
    pub fn end(self) -> Residency {
        match self {
            Way::Dynamic => Residency::Unmapped,
            Way::Linked => Residency::Resident(vec!["linked into the host".to_owned()]),
        }
    }
}

/// A plugin that there is either way.
pub struct Either {
    name: &'static str,
    fixture: Fixture,
    link: fn(HostBuilder, &str) -> HostBuilder,
}

impl Either {
    /// `probe` 1.0.0.
    pub const PROBE: Either = Either::of::<probe::TheProbe>("probe", Fixture::V1);
    /// `other` 1.0.0: the same type, once more.
    pub const OTHER: Either = Either::of::<probe::TheProbe>("other", Fixture::Other);
    /// `evolving` 1.1.0.
    pub const EVOLVING: Either = Either::of::<evolving::TheEvolving>("evolving", Fixture::Evolving);

    const fn of<P: Exported>(name: &'static str, fixture: Fixture) -> Either {
        Either { name, fixture, link: |builder, name| builder.link::<P>(name) }
    }
}
