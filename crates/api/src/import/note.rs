//! What the result says differently from the input, or does not say.

use crate::{manifest::Skip, sources::Problem};

/// One difference.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Note {
    /// A name that an object cannot have, or that another one has.
    #[error("{kind} {from:?} is called {to} now{}", if *kind == "pool" { ": Services that name it by annotation address-pool must name the new one" } else { "" })]
    Renamed {
        /// `pool`, `BFD profile`.
        kind: &'static str,
        /// In the ConfigMap.
        from: String,
        /// Of the object.
        to: String,
    },
    /// Another spelling of a key.
    #[error("{place}: key {key:?} is read as {known}")]
    Respelt {
        /// Where.
        place: String,
        /// As it stands.
        key: String,
        /// As it is written.
        known: &'static str,
    },
    /// Another name of a protocol.
    #[error("{place}: protocol {was:?} is read as {now}")]
    Protocol {
        /// Where.
        place: String,
        /// As it stands.
        was: String,
        /// As it is written.
        now: &'static str,
    },
    /// A key that no version knows.
    #[error("{place}: key {key:?} is not carried over: no such key{}", if *key == "peer-autodiscovery" { ", and no custom resource says it; write the peers out" } else { "" })]
    Dropped {
        /// Where.
        place: String,
        /// As it stands.
        key: String,
    },
    /// A password that everybody can read who can read the object.
    #[error(
        "BGPPeer {peer} has its password in clear: better put it into a Secret of type kubernetes.io/basic-auth and name that in passwordSecret"
    )]
    Password {
        /// The object.
        peer: String,
    },
    /// A port that custom resources cannot name.
    #[error("peer {peer} is not carried over: its port {port} is above 16384, which BGPPeer does not allow")]
    Port {
        /// Its address.
        peer: String,
        /// The port.
        port: i64,
    },
    /// An aggregation length that custom resources cannot name.
    #[error(
        "a bgp-advertisement of pool {pool} is not carried over: BGPAdvertisement does not allow aggregationLength 0"
    )]
    Aggregation {
        /// The pool.
        pool: String,
    },
    /// A name of a community that custom resources cannot use: they take it for a number.
    #[error(
        "community name {0:?} is not carried over: it would be read as a number; its value stands where it was used"
    )]
    Alias(String),
    /// MetalLB's kind between ConfigMap and IPAddressPool.
    #[error("AddressPool/{0} becomes an IPAddressPool with its advertisements")]
    AddressPool(String),
    /// An object that is no configuration.
    #[error("{object} is not carried over: {reason}")]
    Skipped {
        /// Its kind with its name.
        object: String,
        /// Why.
        reason: Skip,
    },
    /// What Herald says about the result: it would not be in force.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl Note {
    /// Whether something that the input says is missing in the result, or would not be in force.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Dropped { .. } | Self::Port { .. } | Self::Aggregation { .. } => true,
            Self::Refused(problem) => !problem.is_transient(),
            Self::Renamed { .. }
            | Self::Respelt { .. }
            | Self::Protocol { .. }
            | Self::Password { .. }
            | Self::Alias(_)
            | Self::AddressPool(_)
            | Self::Skipped { .. } => false,
        }
    }
}
