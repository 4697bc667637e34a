//! What a Node says about itself, as far as the rules need it.

use crate::{NodeName, labels::Labels};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr};

/// A Kubernetes Node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its labels: advertisements select by them.
    pub labels: Labels,
    /// Carries label `node.kubernetes.io/exclude-from-external-load-balancers`, whatever its value.
    pub excluded: bool,
    /// Condition NetworkUnavailable is True.
    pub network_unavailable: bool,
    /// Why it gives its addresses to others, while any other node can have them.
    pub evacuation: Option<Evacuation>,
    /// `status.addresses` of type InternalIP, in order.
    pub internal_ips: Vec<IpAddr>,
}

/// Why a node that lives gives its addresses to others. A plain cordon is no reason: MetalLB tried it and took it back (its 0.15.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evacuation {
    /// Its kubelet says that the machine is being shut down.
    ShuttingDown,
    /// Taint `node.kubernetes.io/out-of-service`.
    OutOfService,
    /// Taint `ToBeDeletedByClusterAutoscaler`.
    ToBeDeleted,
    /// Taint `herald.io/evacuate`.
    Tainted,
    /// `herald evacuate`.
    Asked {
        /// In seconds since the epoch. Core knows no clock: whoever makes a snapshot leaves out what is over.
        until: i64,
    },
}

impl Evacuation {
    /// Whether it is over at this moment, in seconds since the epoch.
    #[must_use]
    pub const fn is_over(self, now: i64) -> bool {
        matches!(self, Self::Asked { until } if until <= now)
    }
}

impl fmt::Display for Evacuation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "its kubelet says that it is shutting down",
            Self::OutOfService => "it has the taint node.kubernetes.io/out-of-service",
            Self::ToBeDeleted => "it has the taint ToBeDeletedByClusterAutoscaler",
            Self::Tainted => "it has the taint herald.io/evacuate",
            Self::Asked { .. } => "herald evacuate was asked for it",
        })
    }
}

/// A speaker's pod, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerPod {
    /// Node that it runs on.
    pub node: NodeName,
    /// Condition Ready is True and it is not being deleted.
    pub ready: bool,
}
