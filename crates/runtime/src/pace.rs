//! How fast things are written that tell of something: never as fast as they arise when a thousand Services change at once.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What may be written at once after a quiet time.
const BURST: u32 = 10;
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// A burst after a quiet time, then one a while, and fewer while the API server is slow. What tells of a write costs it as much as the write
/// itself.
#[derive(Debug)]
pub struct Pace {
    /// Shortest pause after a burst.
    least: Duration,
    /// An API server that takes its time has more important things to do: the pause is so many times what a write took.
    cost: u32,
    pause: Duration,
    /// When the last one would have been, had all been a pause apart: it may run ahead of the clock by a burst.
    last: Instant,
}

impl Pace {
    /// Of the only one in the cluster that tells: forty a second at most, and a fifth of an API server's worker.
    #[must_use]
    pub fn of_one() -> Self {
        Self::new(Duration::from_millis(25), 4)
    }

    /// Of one of those that tell on every node, as the sum of them is a multiple: ten a second at most, and a twentieth.
    #[must_use]
    pub fn of_each() -> Self {
        Self::new(Duration::from_millis(100), 20)
    }

    fn new(least: Duration, cost: u32) -> Self {
        Self { least, cost, pause: least, last: Instant::now() }
    }

    /// When the next one may be.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.last.checked_sub(self.pause * BURST).unwrap_or(self.last)
    }

    /// One is.
    pub fn take(&mut self) {
        self.last = self.last.max(Instant::now()) + self.pause;
    }

    /// One took so long.
    pub fn took(&mut self, time: Duration) {
        let pause = (time * self.cost).clamp(self.least, LONGEST);
        // What was taken ahead stays as many.
        let ahead = self.last.saturating_duration_since(Instant::now()).div_duration_f64(self.pause);
        self.last = Instant::now() + pause.mul_f64(ahead);
        self.pause = pause;
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

    async fn turns(pace: &mut Pace, count: usize) -> Vec<u128> {
        let start = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..count {
            pace.turn().await;
            seen.push(start.elapsed().as_millis());
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_one_a_while_and_a_burst_again_after_quiet() {
        let mut pace = Pace::of_each();
        let mut expected = vec![0; 11];
        expected.extend([100, 200, 300]);
        assert_eq!(turns(&mut pace, 14).await, expected);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(turns(&mut pace, 11).await, [0; 11]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_api_server_is_told_less_and_a_fast_one_as_much_as_before() {
        let mut pace = Pace::of_each();
        turns(&mut pace, 11).await;
        pace.took(Duration::from_millis(50));
        assert_eq!(turns(&mut pace, 3).await, [1000, 2000, 3000]);
        pace.took(Duration::from_secs(30));
        assert_eq!(turns(&mut pace, 1).await, [2000]);
        pace.took(Duration::from_millis(1));
        assert_eq!(turns(&mut pace, 2).await, [100, 200]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_tells_alone_need_not_leave_as_much_room() {
        let mut each = Pace::of_each();
        turns(&mut each, 11).await;
        each.took(Duration::from_millis(50));
        assert_eq!(turns(&mut each, 2).await, [1000, 2000]);
        let mut one = Pace::of_one();
        turns(&mut one, 11).await;
        one.took(Duration::from_millis(50));
        assert_eq!(turns(&mut one, 2).await, [200, 400]);
        one.took(Duration::ZERO);
        assert_eq!(turns(&mut one, 2).await, [25, 50]);
    }
}
