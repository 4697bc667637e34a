//! What a configuration says, checked.

use herald_core::{PoolName, config::Config};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

/// A complete, valid configuration. Pools act; what belongs to BGP is checked and kept for the day when it is announced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigFile {
    /// The pools, as the rules take them.
    pub config: Config,
    /// What is announced for each bgp pool; at least one entry each.
    pub advertisements: BTreeMap<PoolName, Vec<Advertisement>>,
    /// BGP neighbours, in order.
    pub peers: Vec<Peer>,
    /// BFD profiles by name.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
    /// Named communities.
    pub communities: BTreeMap<String, Community>,
}

/// How the addresses of a bgp pool are announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advertisement {
    /// Prefix length of IPv4 announcements: 0 to 32.
    pub aggregation_length: u8,
    /// Prefix length of IPv6 announcements: 0 to 128.
    pub aggregation_length_v6: u8,
    /// LOCAL_PREF, for internal peers only.
    pub local_pref: u32,
    /// Communities, names resolved, sorted.
    pub communities: Vec<Community>,
}

/// A BGP community (RFC 1997), written `64512:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Community(pub u16, pub u16);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// A BGP neighbour. The password never shows in `Debug` output or JSON.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Our AS number; not 0.
    pub my_asn: u32,
    /// The peer's AS number; not 0.
    pub peer_asn: u32,
    /// The peer's address.
    pub peer_address: IpAddr,
    /// Address that sessions are opened from, when given.
    pub source_address: Option<IpAddr>,
    /// The peer's TCP port.
    pub peer_port: u16,
    /// Hold time: zero or at least 3 s; whole seconds.
    pub hold_time: Duration,
    /// Keepalive interval, when given: at most the hold time; whole seconds.
    pub keepalive_time: Option<Duration>,
    /// Router ID, when given.
    pub router_id: Option<IpAddr>,
    /// Nodes that keep this session: those that match any of these; empty means all.
    pub node_selectors: Vec<NodeSelector>,
    /// TCP MD5 password (RFC 2385), when given.
    #[serde(skip)]
    pub password: Option<String>,
    /// Name of an existing BFD profile, when given.
    pub bfd_profile: Option<String>,
    /// Whether an external peer may be more than one hop away.
    pub ebgp_multihop: bool,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("my_asn", &self.my_asn)
            .field("peer_asn", &self.peer_asn)
            .field("peer_address", &self.peer_address)
            .field("source_address", &self.source_address)
            .field("peer_port", &self.peer_port)
            .field("hold_time", &self.hold_time)
            .field("keepalive_time", &self.keepalive_time)
            .field("router_id", &self.router_id)
            .field("node_selectors", &self.node_selectors)
            .field("password", &self.password.as_ref().map(|_| "(set)"))
            .field("bfd_profile", &self.bfd_profile)
            .field("ebgp_multihop", &self.ebgp_multihop)
            .finish()
    }
}

/// Labels that a node must have: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeSelector {
    /// Labels with these values.
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    pub match_expressions: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what: at least one value for In and NotIn, none otherwise.
    pub values: Vec<String>,
}

/// Operators of Kubernetes label selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// Timing of BFD sessions (RFC 5880). `None` leaves the default of whoever runs the session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BfdProfile {
    /// Milliseconds, 10 to 60000.
    pub receive_interval: Option<u32>,
    /// Milliseconds, 10 to 60000.
    pub transmit_interval: Option<u32>,
    /// 2 to 255.
    pub detect_multiplier: Option<u32>,
    /// Milliseconds, 10 to 60000.
    pub echo_interval: Option<u32>,
    /// Whether the echo function is used.
    pub echo_mode: bool,
    /// Whether to wait for the peer to begin.
    pub passive_mode: bool,
    /// 1 to 254; multi-hop sessions only.
    pub minimum_ttl: Option<u32>,
}
