//! Settings: every bound of a host, with its default.

use std::collections::BTreeMap;
use std::time::Duration;

/// When a prepared version is switched in.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Publish {
    /// As soon as it is prepared.
    #[default]
    AtOnce,
    /// At the next [`Host::switch_point`](crate::Host::switch_point); until then [`Host::apply`](crate::Host::apply) and [`Host::rollback`](crate::Host::rollback) wait.
    Manual,
}

/// Which share of a group's calls a version gets first, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) of_all: f64,
    pub(crate) length: Duration,
}

/// How many calls of one thread can be inside of each other, unless a host says fewer: as many as
/// a thread has frames for.
pub(crate) const CALLS_NESTED_MAX: usize = 64;

/// Every bound of a host, with its default.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) generations_max: usize,
    pub(crate) retire_deadline: Duration,
    pub(crate) drain_deadline: Duration,
    pub(crate) start_deadline: Duration,
    pub(crate) stop_deadline: Duration,
    pub(crate) preflight: bool,
    pub(crate) preflight_deadline: Duration,
    pub(crate) preflight_start: bool,
    pub(crate) preflight_kept: bool,
    pub(crate) look_interval: Duration,
    pub(crate) library_bytes_max: u64,
    pub(crate) stamps_required: bool,
    pub(crate) events_kept_max: usize,
    pub(crate) calls_nested_max: usize,
    pub(crate) groups_nested_max: usize,
    pub(crate) panic_frames_max: usize,
    pub(crate) panics_max: u64,
    pub(crate) errors_max: u64,
    pub(crate) publish: Publish,
    pub(crate) hook_deadline: Duration,
    pub(crate) handover_wait_max: Duration,
    pub(crate) probation: Duration,
    /// `None`: as long as it makes sense.
    pub(crate) check_interval: Option<Duration>,
    pub(crate) latency_max: Option<f64>,
    /// By group.
    pub(crate) canaries: BTreeMap<String, Share>,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            generations_max: 4,
            retire_deadline: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(30),
            start_deadline: Duration::from_secs(10),
            stop_deadline: Duration::from_secs(10),
            preflight: true,
            preflight_deadline: Duration::from_secs(10),
            preflight_start: false,
            preflight_kept: true,
            look_interval: Duration::from_secs(5),
            library_bytes_max: 256 << 20,
            stamps_required: false,
            events_kept_max: 1_000,
            calls_nested_max: CALLS_NESTED_MAX,
            groups_nested_max: 8,
            panic_frames_max: 0,
            panics_max: u64::MAX,
            errors_max: u64::MAX,
            publish: Publish::AtOnce,
            hook_deadline: Duration::from_secs(10),
            handover_wait_max: Duration::from_millis(250),
            probation: Duration::ZERO,
            check_interval: None,
            latency_max: None,
            canaries: BTreeMap::new(),
        }
    }
}

impl Bounds {
    pub(crate) fn check_interval(&self) -> Duration {
        let probation = self.probation.max(Duration::from_millis(1));
        self.check_interval.unwrap_or(Duration::from_secs(1).min(probation))
    }
}
