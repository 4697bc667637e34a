//! Moments and the timing of a link.

use std::{fmt, ops::Add, time::Duration};

/// After so long without consent the new owner takes what the old one, by the state of the cluster, may not have any more; and who was away for
/// longer does not know whether that happened.
pub const FORCE: Duration = Duration::from_secs(2);

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

/// The timing of a link: how soon a dead node is to be replaced. Every other time is derived from that here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    target: Duration,
}

/// A timing that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failover target {0:?} is out of range: use fast (100ms), calm (1s) or 80ms to 10s")]
pub struct InvalidTiming(Duration);

impl Timing {
    /// Silent intervals after which a peer is suspected: its node is asked.
    const SUSPICION: u32 = 2;
    /// Silent intervals after which a peer is gone whose node cannot be asked.
    const HOLD: u32 = 4;

    /// A dead node is replaced within about `target` (80 ms to 10 s): a quarter of it is the time between two hellos.
    ///
    /// # Errors
    /// Out of range.
    pub fn new(target: Duration) -> Result<Self, InvalidTiming> {
        if target < Duration::from_millis(80) || target > Duration::from_secs(10) {
            return Err(InvalidTiming(target));
        }
        Ok(Self { target })
    }

    /// About 100 ms: for links that lose nothing and nodes with processor time to spare.
    pub const FAST: Self = Self { target: Duration::from_millis(100) };
    /// About 1 s: for busy or lossy networks.
    pub const CALM: Self = Self { target: Duration::from_secs(1) };

    /// Time between two hellos.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.target / Self::HOLD
    }

    /// Silence after which a peer with hellos this far apart is suspected.
    #[must_use]
    pub fn suspicion_of(interval: Duration) -> Duration {
        interval * Self::SUSPICION
    }

    /// Silence after which a peer with hellos this far apart is gone when its node cannot be asked.
    #[must_use]
    pub fn hold_of(interval: Duration) -> Duration {
        interval * Self::HOLD
    }

    /// Silence after which a peer is suspected.
    #[must_use]
    pub fn suspicion(&self) -> Duration {
        Self::suspicion_of(self.interval())
    }

    /// Silence after which a peer is gone whose node cannot be asked.
    #[must_use]
    pub fn hold(&self) -> Duration {
        Self::hold_of(self.interval())
    }

    /// Time between two asks of a suspected node: 10 ms by default.
    #[must_use]
    pub fn echo_gap(&self) -> Duration {
        self.interval() / 5
    }

    /// For how long the answer to the last ask is waited for.
    #[must_use]
    pub fn echo_patience(&self) -> Duration {
        self.echo_gap() * 2
    }

    /// How long a speaker listens before it believes that nobody else is there.
    #[must_use]
    pub fn listen(&self) -> Duration {
        self.hold().max(self.interval() * 3)
    }

    /// For how long at most two speakers that hear each other may both claim an address, after a disturbance: until the next hello that gets
    /// through has told them of each other. DESIGN section 3, invariant 4.
    #[must_use]
    pub fn overlap_bound(&self) -> Duration {
        self.hold()
    }
}

impl Default for Timing {
    /// About 200 ms.
    fn default() -> Self {
        Self { target: Duration::from_millis(200) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_follows_from_the_target() {
        for (timing, interval, gap) in [(Timing::default(), 50, 10), (Timing::FAST, 25, 5), (Timing::CALM, 250, 50)] {
            assert_eq!(timing.interval(), Duration::from_millis(interval));
            assert_eq!(timing.echo_gap(), Duration::from_millis(gap));
            // Suspicion, three asks and the patience for the last answer fit into the target.
            let dead = timing.suspicion() + timing.echo_gap() * 2 + timing.echo_patience();
            assert!(dead < timing.target, "{timing:?} {dead:?}");
        }
        for wrong in [Duration::from_millis(79), Duration::from_secs(11)] {
            assert_eq!(Timing::new(wrong), Err(InvalidTiming(wrong)));
        }
    }
}
