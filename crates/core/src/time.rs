//! Moments and the timing of a link.

use std::{fmt, ops::Add, time::Duration};

/// A point in time of this node: microseconds since boot, suspend included (`CLOCK_BOOTTIME`), so that a node that slept knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment that many microseconds after boot.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since boot.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since an earlier moment; zero when it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The timing of hellos on a link; every other time is derived from it here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    interval: Duration,
    missed: u32,
}

/// A timing that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// The interval is out of range.
    #[error("hello interval {0:?} is out of range: use 10ms to 10s")]
    Interval(Duration),
    /// Too few hellos may be missed.
    #[error("hold time of {0} hello intervals is too short: one lost frame would move addresses; use 3 to 50")]
    Missed(u32),
}

impl Timing {
    /// Hellos every `interval` (10 ms to 10 s); a peer is gone after `missed` (3 to 50) intervals of silence.
    ///
    /// # Errors
    /// Out of range.
    pub fn new(interval: Duration, missed: u32) -> Result<Self, InvalidTiming> {
        if interval < Duration::from_millis(10) || interval > Duration::from_secs(10) {
            return Err(InvalidTiming::Interval(interval));
        }
        if !(3..=50).contains(&missed) {
            return Err(InvalidTiming::Missed(missed));
        }
        Ok(Self { interval, missed })
    }

    /// Time between two hellos.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// How many silent intervals make a peer gone.
    #[must_use]
    pub const fn missed(&self) -> u32 {
        self.missed
    }

    /// Silence after which a peer is gone.
    #[must_use]
    pub fn hold(&self) -> Duration {
        self.interval * self.missed
    }

    /// How long a speaker listens before it believes that nobody else is there.
    #[must_use]
    pub fn listen(&self) -> Duration {
        self.hold().max(self.interval * 3)
    }

    /// For how long at most two speakers that hear each other may both answer for an address, after a disturbance: until the next hello that
    /// gets through has told them of each other. DESIGN section 3, invariant 4.
    #[must_use]
    pub fn overlap_bound(&self) -> Duration {
        self.hold()
    }
}

impl Default for Timing {
    /// 100 ms, gone after four.
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), missed: 4 }
    }
}
