//! Distributions.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of more samples than this, so many are kept.
const KEPT: usize = 1000;

/// What a set of samples looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many samples.
    pub count: usize,
    /// Smallest.
    pub min: f64,
    /// Half of the samples are not above this.
    pub p50: f64,
    /// Nine of ten samples are not above this.
    pub p90: f64,
    /// 99 of 100 samples are not above this; the largest where there are fewer than 100.
    pub p99: f64,
    /// Largest.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// The samples in the order of measuring, where there are at most 1,000; else 1,000 of them, ascending, evenly spaced by rank, the
    /// largest included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
}

impl Distribution {
    /// Of at least one sample; `None` of none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let mean = sorted.iter().sum::<f64>() / count(sorted.len());
        let at = |percent| percentile(&sorted, percent).unwrap_or(max);
        let ranks = (1..=KEPT).filter_map(|rank| sorted.get((sorted.len() * rank).div_ceil(KEPT) - 1).copied());
        let kept = if samples.len() <= KEPT { samples.to_vec() } else { ranks.collect() };
        Some(Self { count: sorted.len(), min, p50: at(50), p90: at(90), p99: at(99), max, mean, samples: kept })
    }
}

#[expect(clippy::cast_precision_loss, reason = "sample counts are far below 2^52")]
const fn count(samples: usize) -> f64 {
    samples as f64
}

/// Nearest rank: the smallest sample that at least `percent` of 100 samples do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Milliseconds of a duration.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Microseconds of a duration.
#[must_use]
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let all = Distribution::of(&samples).unwrap();
        assert_eq!((all.count, all.min, all.p50, all.p90, all.p99, all.max), (200, 1.0, 100.0, 180.0, 198.0, 200.0));
        assert!((all.mean - 100.5).abs() < 1e-9);
        assert_eq!(all.samples, samples, "kept as measured");
        let few = Distribution::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((few.p50, few.p99), (2.0, 3.0));
        assert_eq!(Distribution::of(&[]), None);
        let many: Vec<f64> = (1..=5000).map(f64::from).collect();
        let kept = Distribution::of(&many).unwrap().samples;
        assert_eq!((kept.len(), kept[0], kept[999]), (KEPT, 5.0, 5000.0));
    }
}
