//! What a Service asks for, as far as the rules need it.

use crate::{NodeName, PoolName, ServiceKey, Set, labels::Labels, net::Family, reason::Reason};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// A Service that Herald may serve or has to clean up after: of its loadBalancerClass, of any type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// Its labels: pools and advertisements select by them.
    pub labels: Labels,
    /// Seconds since the epoch, from `metadata.creationTimestamp`: older ones are served first.
    pub created: i64,
    /// Whether `spec.type` is LoadBalancer; any other type gives its addresses back.
    pub is_load_balancer: bool,
    /// Families of its cluster IPs: what its data plane can carry.
    pub cluster_families: BTreeSet<Family>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `spec.ipFamilies[0]`: preferred where only one family can be had.
    pub primary_family: Family,
    /// What it asks for, or why that cannot be understood.
    pub request: Result<Request, InvalidRequest>,
    /// Sharing key (annotation `allow-shared-ip`); `None` when absent or empty.
    pub sharing_key: Option<String>,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.selector`, rendered with sorted keys: services with Local policy share only with an equal one.
    pub selector: String,
    /// Ports that it opens on its addresses.
    pub ports: Set<Port>,
    /// Addresses in `status.loadBalancer.ingress`, in order; entries without an address are left out.
    pub ingress: Vec<IpAddr>,
    /// Whether an entry of `status.loadBalancer.ingress` is something else than a valid address (a host name, garbage).
    pub ingress_has_other: bool,
    /// Annotation `metallb.io/ip-allocated-from-pool`.
    pub allocated_from: Option<PoolName>,
}

/// `spec.ipFamilyPolicy` (Kubernetes API: absent means SingleStack).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum FamilyPolicy {
    /// One address.
    #[default]
    SingleStack,
    /// Two where they can be had.
    PreferDualStack,
    /// Two or none.
    RequireDualStack,
}

/// `spec.externalTrafficPolicy` (Kubernetes API: absent means Cluster).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any node forwards to any endpoint.
    #[default]
    Cluster,
    /// A node forwards only to its own endpoints and keeps the client's address.
    Local,
}

/// A port of a Service: two services on one address may not both open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number.
    pub number: u16,
}

/// `spec.ports[].protocol` (Kubernetes API: these three, absent means TCP).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// What a Service asks for explicitly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Exactly these addresses (`spec.loadBalancerIP` or annotation `loadBalancerIPs`), sorted v4, v6; empty = any.
    pub addresses: Vec<IpAddr>,
    /// Exactly this pool (annotation `address-pool`).
    pub pool: Option<PoolName>,
}

/// A request that cannot be understood; the Service keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum InvalidRequest {
    /// Not an address.
    #[error("{value:?} in {field} is not an IP address")]
    NotAnAddress {
        /// Field or annotation.
        field: String,
        /// What stands there.
        value: String,
    },
    /// Both ways of asking at once (MetalLB refuses this even when equal).
    #[error("both spec.loadBalancerIP and annotation {annotation} are set")]
    AskedTwice {
        /// The annotation in use.
        annotation: String,
    },
    /// More than two, or two of one family.
    #[error("{field} asks for {count} {family} addresses")]
    TooMany {
        /// Field or annotation.
        field: String,
        /// How many.
        count: usize,
        /// Of this family.
        family: Family,
    },
}

impl Reason for InvalidRequest {
    fn label(&self) -> &'static str {
        match self {
            Self::NotAnAddress { .. } => "request_not_an_address",
            Self::AskedTwice { .. } => "request_twice",
            Self::TooMany { .. } => "request_too_many",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotAnAddress { .. } => "correct or remove it",
            Self::AskedTwice { .. } => "keep one of them",
            Self::TooMany { .. } => "ask for at most one of each family",
        })
    }
}

/// Where `herald move` wants the addresses of a Service to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The node.
    pub to: NodeName,
    /// In seconds since the epoch. Core knows no clock: whoever makes a snapshot leaves out what is over.
    pub until: i64,
}

/// Which endpoints of a Service can serve, by node; from its EndpointSlices.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Serving {
    /// Whether any endpoint anywhere can serve.
    pub any: bool,
    /// Nodes with an endpoint that can serve.
    pub nodes: Set<NodeName>,
}

/// Services by key; shared with whoever observed them.
pub type Services = BTreeMap<ServiceKey, Arc<Service>>;

/// Namespaces by name, with their labels.
pub type Namespaces = BTreeMap<Arc<str>, Labels>;
