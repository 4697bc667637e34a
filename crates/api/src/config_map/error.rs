//! What can be wrong with a configuration, where, and what to do about it.

use herald_core::{
    PoolName,
    net::{InvalidRange, IpRange},
};
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
    /// The mistakes, by section of the text.
    #[must_use]
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
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
    /// The text is not YAML of the right shape.
    #[error("the text is not YAML of the right shape: {0}")]
    Syntax(String),
    /// A key that does not exist there.
    #[error("unknown key {key:?}: {}", hint.clone().unwrap_or_else(|| format!("known here are {known}")))]
    UnknownKey {
        /// As it stands.
        key: String,
        /// What could stand there.
        known: String,
        /// The most likely mistake.
        hint: Option<String>,
    },
    /// A key that stands twice.
    #[error("key {0:?} stands twice: keep one")]
    DuplicateKey(String),
    /// A key that must be there.
    #[error("{key} is missing: add {example}")]
    Missing {
        /// The key.
        key: &'static str,
        /// How it could look.
        example: &'static str,
    },
    /// The name was used before.
    #[error("the name is used twice: names are unique")]
    DuplicateName,
    /// Not a protocol.
    #[error("unknown protocol {0:?}: write layer2 or bgp")]
    Protocol(String),
    /// Not a range of addresses.
    #[error("addresses: {0}")]
    Range(#[from] InvalidRange),
    /// The range has addresses in common with another one.
    #[error("addresses: {range} overlaps with {other} of pool {pool}: an address belongs to one pool, once")]
    Overlap {
        /// This range.
        range: IpRange,
        /// The range that came first.
        other: IpRange,
        /// Its pool.
        pool: PoolName,
    },
    /// A layer2 pool with bgp-advertisements.
    #[error("bgp-advertisements in a layer2 pool: remove them or write protocol: bgp")]
    AdvertisementsForLayer2,
    /// An advertisement would cover more than the pool has.
    #[error(
        "invalid aggregation length {length}: prefix {prefix} in this pool is more specific than the aggregation length for addresses {addresses}"
    )]
    Aggregation {
        /// The aggregation length.
        length: u8,
        /// Length of the widest prefix of the addresses.
        prefix: u8,
        /// The addresses, as they stand.
        addresses: String,
    },
    /// Two equal advertisements in a pool.
    #[error("two bgp-advertisements are equal: keep one")]
    DuplicateAdvertisement,
    /// A number out of range.
    #[error("{key} {value} is out of range: use {allowed}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// As it stands.
        value: i64,
        /// What is possible.
        allowed: &'static str,
    },
    /// Neither a community nor the name of one.
    #[error(
        "community {0:?} is neither two numbers below 65536 (64512:1) nor a name under bgp-communities: correct it or define it there"
    )]
    UnknownCommunity(String),
    /// Not a community.
    #[error("{0:?} is not a community: write two numbers below 65536, for example 64512:1")]
    InvalidCommunity(String),
    /// The community stands twice in an advertisement.
    #[error("community {0} stands twice: keep one")]
    DuplicateCommunity(String),
    /// Not an address.
    #[error("{key} {value:?} is not an IP address")]
    Address {
        /// The key.
        key: &'static str,
        /// As it stands.
        value: String,
    },
    /// Not a duration.
    #[error("{key} {value:?} is not a duration: write for example 90s or 1m30s")]
    Duration {
        /// The key.
        key: &'static str,
        /// As it stands.
        value: String,
    },
    /// A hold time that BGP does not know (RFC 4271, section 4.2).
    #[error("hold-time {0:?} must be 0 or 3s to 65535s")]
    HoldTime(String),
    /// Keepalives rarer than the hold time, or none at all.
    #[error("keepalive-time {0:?} must not be negative nor above the hold time")]
    Keepalive(String),
    /// Multi-hop makes sense between two AS only.
    #[error("ebgp-multihop with equal my-asn and peer-asn: internal sessions are multi-hop anyway, remove it")]
    MultihopInternal,
    /// The BFD profile does not exist.
    #[error("bfd-profile {0:?} is not defined under bfd-profiles: add it or correct the name")]
    UnknownBfdProfile(String),
    /// Two equal peers.
    #[error("two peers are equal: keep one")]
    DuplicatePeer,
    /// Not an operator.
    #[error("unknown operator {0:?} in node-selectors: write In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    /// Values where none belong, or none where some do.
    #[error("node-selectors: {0}")]
    SelectorValues(&'static str),
}

/// Collects mistakes.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<ConfigError>);

impl Report {
    /// A mistake at a line; line 0 stands for unknown.
    pub(super) fn add(&mut self, place: &Place, line: u64, problem: Problem) {
        let line = (line > 0).then_some(line);
        self.0.push(ConfigError { place: place.clone(), line, problem });
    }

    /// The value, or all mistakes.
    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigErrors> {
        if self.0.is_empty() { Ok(value) } else { Err(ConfigErrors(self.0)) }
    }
}
