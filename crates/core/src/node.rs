//! What a Node says about itself, as far as the rules need it.

use crate::{NodeName, labels::Labels};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
    /// `status.addresses` of type InternalIP, in order.
    pub internal_ips: Vec<IpAddr>,
}

/// A speaker's pod, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerPod {
    /// Node that it runs on.
    pub node: NodeName,
    /// Condition Ready is True and it is not being deleted.
    pub ready: bool,
}
