//! What both answers may find, in one place.

use herald_core::reason::Reason;
use std::{borrow::Cow, net::IpAddr};

/// Something that is wrong with the cluster, and not said so by a daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// In the namespaces that were looked at.
    #[error("no pod of Herald's controller is in {0}")]
    NoController(String),
    #[error("no replica of the controller leads")]
    NoLeader,
    /// MetalLB's pods.
    #[error("Herald stands by while MetalLB runs: {0}")]
    Standby(String),
    #[error("no configuration is in force, so Services wait")]
    NoConfiguration,
    /// Two places that are on one segment.
    #[error("{one} and {other} both answer for {address}")]
    TwoOwners { address: IpAddr, one: String, other: String },
    /// By a station that is no node.
    #[error("a foreign station, {mac}, claims {address}: {claims} times, last {ago} s ago, seen on {place}")]
    Claimed { address: IpAddr, mac: String, claims: u64, ago: u64, place: String },
}

impl Reason for Trouble {
    fn label(&self) -> &'static str {
        match self {
            Self::NoController(_) => "no_controller",
            Self::NoLeader => "no_leader",
            Self::Standby(_) => "standby",
            Self::NoConfiguration => "no_configuration",
            Self::TwoOwners { .. } => "two_owners",
            Self::Claimed { .. } => "claimed",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoController(_) => {
                "install Herald, scale its Deployment up, or name its namespace (status: -n, explain: --herald-namespace)"
            }
            Self::NoLeader => {
                "wait a few seconds; if it lasts, see the controller's log and the Lease herald-controller"
            }
            Self::Standby(_) => "remove MetalLB; Herald starts when its last pod is gone",
            Self::NoConfiguration => "create an IPAddressPool, or correct what is wrong: herald validate names it",
            Self::TwoOwners { .. } => {
                "their speakers do not hear each other: see whether the switch or a filter drops multicast (EtherType 0x88B5) and UDP \
                 port 7946 between them"
            }
            Self::Claimed { .. } => {
                "find the host with that MAC address (the switch knows its port) and take the address away, or take it out of the pool"
            }
        })
    }
}
