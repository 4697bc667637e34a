//! How fast things are written that tell of something: never as fast as they arise when a thousand Services change at once.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A burst after a quiet time, then one a while. What tells of a write costs the API server as much as the write itself, and every node
/// tells, so the sum is a multiple of this.
#[derive(Debug)]
pub struct Pace {
    burst: u32,
    every: Duration,
    /// When the last one would have been, had all been a pause apart: it may run ahead of the clock by a burst.
    last: Instant,
}

impl Default for Pace {
    /// 25 at once (client-go's burst for events is 25 as well), then ten a second.
    fn default() -> Self {
        Self::new(25, Duration::from_millis(100))
    }
}

impl Pace {
    /// So many at once, then one `every` so often.
    #[must_use]
    pub fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, last: Instant::now() }
    }

    /// When the next one may be.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.last.checked_sub(self.every * self.burst).unwrap_or(self.last)
    }

    /// One is.
    pub fn take(&mut self) {
        self.last = self.last.max(Instant::now()) + self.every;
    }

    /// Waits until one may be, which then is.
    pub async fn turn(&mut self) {
        sleep_until(self.next()).await;
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_one_a_while_and_a_burst_again_after_quiet() {
        let mut pace = Pace::new(3, Duration::from_secs(1));
        let start = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..6 {
            pace.turn().await;
            seen.push(start.elapsed().as_secs());
        }
        assert_eq!(seen, [0, 0, 0, 0, 1, 2]);
        tokio::time::advance(Duration::from_secs(60)).await;
        let later = Instant::now();
        for _ in 0..4 {
            pace.turn().await;
        }
        assert_eq!(later.elapsed(), Duration::ZERO);
    }
}
