//! What can be wrong with a configuration, where, and what to do about it.

use std::fmt;

/// Where in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The document as a whole.
    Document,
    /// An address pool, by name; by position (`#1` is the first) while it has none.
    Pool(String),
    /// A peer, by address; by position while it has none.
    Peer(String),
    /// A BFD profile, by name; by position while it has none.
    BfdProfile(String),
    /// A named community.
    Community(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("configuration"),
            Self::Pool(name) => write!(f, "address-pools: pool {name}"),
            Self::Peer(name) => write!(f, "peers: peer {name}"),
            Self::BfdProfile(name) => write!(f, "bfd-profiles: profile {name}"),
            Self::Community(name) => write!(f, "bgp-communities: {name}"),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}: {problem}", line.map(|line| format!(" (line {line})")).unwrap_or_default())]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// Line of the text, from 1, where known.
    pub line: Option<u64>,
    /// What, and how to mend it.
    pub problem: Problem,
}

/// All mistakes of a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// A single mistake.
    #[must_use]
    pub fn new(place: Place, line: Option<u64>, problem: Problem) -> Self {
        Self(vec![ConfigError { place, line, problem }])
    }

    /// The mistakes in the order of the text's sections.
    #[must_use]
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The ConfigMap lacks its data key.
    #[error("the ConfigMap has no data key \"config\": put the YAML under data.config")]
    NoDataKey,
}
