//! `Duration` in a record.

#![expect(unsafe_code, reason = "`Portable` is unsafe to implement")]

use crate::Portable;
use abi_stable::StableAbi;
use std::time::Duration;

/// A `Duration` in a record: to and from it with `into`. In a method's signature `Duration` stands
/// itself.
///
/// ```
/// use midflight_plugin::Period;
/// use std::time::Duration;
///
/// let timeout: Period = Duration::from_millis(250).into();
/// assert_eq!(Duration::from(timeout), Duration::from_millis(250));
/// assert!(timeout > Period::default());
/// ```
#[repr(C)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period {
    seconds: u64,
    /// INVARIANT: less than a second.
    nanoseconds: u32,
}

impl From<Duration> for Period {
    #[inline]
    fn from(duration: Duration) -> Self {
        Period { seconds: duration.as_secs(), nanoseconds: duration.subsec_nanos() }
    }
}

impl From<Period> for Duration {
    #[inline]
    fn from(period: Period) -> Self {
        Duration::new(period.seconds, period.nanoseconds)
    }
}

impl std::fmt::Debug for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Duration::from(*self).fmt(f)
    }
}

// SAFETY: two numbers.
unsafe impl Portable for Period {
    #[inline(always)]
    fn reown(self) -> Self {
        self
    }
}
