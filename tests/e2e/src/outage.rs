//! From probes with times to what a client would call an outage. Pure.

use std::time::{Duration, Instant};

/// One probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came; `None`: never, or with an error.
    pub answered: Option<Instant>,
}

/// What a row of probes shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Probes sent.
    pub sent: usize,
    /// Probes without an answer.
    pub lost: usize,
    /// Longest time without an answered probe: from the sending of the last answered one to that of the next. At least
    /// the interval between probes.
    pub longest_gap: Duration,
    /// When the last answered probe before the longest gap was sent.
    pub gap_began: Option<Instant>,
    /// Longest pause between two sendings: the client's own hesitation on a busy machine. A gap not longer than this may be its own.
    pub longest_pause: Duration,
    /// Probes in order of sending.
    pub samples: Vec<Sample>,
}

impl Outage {
    /// Reads a row of probes in order of sending.
    #[must_use]
    pub fn of(samples: Vec<Sample>) -> Self {
        let lost = samples.iter().filter(|sample| sample.answered.is_none()).count();
        let pause = |pair: &[Sample]| match pair {
            [one, two] => two.sent.saturating_duration_since(one.sent),
            _ => Duration::ZERO,
        };
        let longest_pause = samples.windows(2).map(pause).max().unwrap_or_default();
        let (mut longest_gap, mut gap_began) = (Duration::ZERO, None);
        let mut last: Option<Instant> = samples.first().map(|sample| sample.sent);
        let (sent, mut end) = (samples.len(), last);
        for sample in &samples {
            end = Some(sample.sent);
            if sample.answered.is_some() {
                longer(&mut longest_gap, &mut gap_began, last, sample.sent);
                last = Some(sample.sent);
            }
        }
        // Still out at the end.
        if let Some(end) = end {
            longer(&mut longest_gap, &mut gap_began, last, end);
        }
        Self { sent, lost, longest_gap, gap_began, longest_pause, samples }
    }

    /// How long after `moment` the first answered probe was sent; `None` when none was.
    #[must_use]
    pub fn first_ok_after(&self, moment: Instant) -> Option<Duration> {
        let ok = self.samples.iter().find(|sample| sample.sent >= moment && sample.answered.is_some())?;
        Some(ok.sent.saturating_duration_since(moment))
    }

    /// Median of the round trip times; `None` without any answer.
    #[must_use]
    pub fn median_round_trip(&self) -> Option<Duration> {
        let trip = |sample: &Sample| Some(sample.answered?.saturating_duration_since(sample.sent));
        let mut trips: Vec<Duration> = self.samples.iter().filter_map(trip).collect();
        trips.sort_unstable();
        trips.get(trips.len() / 2).copied()
    }
}

fn longer(longest: &mut Duration, began: &mut Option<Instant>, from: Option<Instant>, to: Instant) {
    let gap = from.map_or(Duration::ZERO, |from| to.saturating_duration_since(from));
    if gap > *longest {
        (*longest, *began) = (gap, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: Instant, answers: &[(u64, bool)]) -> Outage {
        let sample = |(at, ok): &(u64, bool)| {
            let sent = start + Duration::from_millis(*at);
            Sample { sent, answered: ok.then(|| sent + Duration::from_millis(1)) }
        };
        Outage::of(answers.iter().map(sample).collect())
    }

    #[test]
    fn the_gap_is_between_the_answered_probes_around_the_lost_ones() {
        let start = Instant::now();
        let seen = row(start, &[(0, true), (5, true), (10, false), (15, false), (20, true), (25, true)]);
        assert_eq!((seen.sent, seen.lost), (6, 2));
        assert_eq!(seen.longest_gap, Duration::from_millis(15));
        assert_eq!(seen.gap_began, Some(start + Duration::from_millis(5)));
        assert_eq!(seen.longest_pause, Duration::from_millis(5));
        assert_eq!(seen.first_ok_after(start + Duration::from_millis(6)), Some(Duration::from_millis(14)));
        assert_eq!(seen.first_ok_after(start + Duration::from_millis(26)), None);
        assert_eq!(seen.median_round_trip(), Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_row_that_never_recovers_or_never_begins_is_one_gap() {
        let start = Instant::now();
        assert_eq!(row(start, &[(0, true), (5, false), (500, false)]).longest_gap, Duration::from_millis(500));
        assert_eq!(row(start, &[(0, false), (300, true)]).longest_gap, Duration::from_millis(300));
        assert_eq!(row(start, &[(0, false), (70, false)]).longest_gap, Duration::from_millis(70));
    }

    #[test]
    fn nothing_asked_is_nothing_lost() {
        let seen = Outage::of(Vec::new());
        assert_eq!((seen.sent, seen.lost, seen.longest_gap), (0, 0, Duration::ZERO));
        assert_eq!(seen.median_round_trip(), None);
    }
}
