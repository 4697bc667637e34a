//! How many nodes may be fenced at once.

use std::{fmt, str::FromStr};

/// A number of nodes, or a share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many.
    Count(usize),
    /// Percent of all nodes, 1 to 49, rounded down.
    Share(u8),
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit: write a number of nodes (1), or a share of all from 1% to 49%")]
pub struct InvalidLimit(String);

impl Limit {
    /// How many of so many nodes.
    #[must_use]
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Share(percent) => nodes * usize::from(percent) / 100,
        }
    }
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let limit = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| (1..=49).contains(percent)).map(Self::Share),
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        };
        limit.ok_or_else(|| InvalidLimit(text.to_owned()))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(percent) => write!(f, "{percent}%"),
        }
    }
}
