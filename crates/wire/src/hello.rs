//! The hello frame: how speakers of one cluster know on a link that they are there.
//!
//! A raw Ethernet multicast frame, the same layer as ARP, so it needs no address and no firewall rule; the same bytes travel as unicast
//! UDP where a hypervisor filters multicast. Versioned and tolerant: unknown fields are skipped. Authenticated with HMAC-SHA256.

use crate::Mac;
use std::net::IpAddr;

/// EtherType of a hello: IEEE 802 local experimental 1 (RFC 9542 section 3).
pub const ETHERTYPE: u16 = 0x88b5;
/// UDP port of the unicast fallback; the port that MetalLB's memberlist used, so that firewalls already know it.
pub const UDP_PORT: u16 = 7946;
/// Where a hello is sent: a locally administered group address.
pub const GROUP: Mac = Mac([0x03, 0x00, 0x48, 0x4c, 0x44, 0x00]);
/// No hello is longer, in bytes: it fits every Ethernet with room for tunnels.
pub const MAX_LEN: usize = 1400;

/// The cluster a hello belongs to: the UID of its `kube-system` namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// What a speaker says about itself on one link, every hello interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The cluster of the sender.
    pub cluster: ClusterId,
    /// Kubernetes node name of the sender, at most 253 bytes (RFC 1123 subdomain).
    pub node: String,
    /// New for each start of a speaker process: tells a restart from a silence.
    pub incarnation: u64,
    /// Grows with each hello of this incarnation, over all links: two links of one node on one segment never contradict.
    pub sequence: u64,
    /// The sender's current hello interval in milliseconds; hearers derive its hold time from it.
    pub interval_ms: u16,
    /// What the sender can do now.
    pub flags: Flags,
    /// Index into `links` of the link that this hello was sent on.
    pub link: u8,
    /// The sender's usable links.
    pub links: Vec<LinkInfo>,
    /// [`peer_hash`] of every peer that the sender heard within its hold time on this link.
    pub heard: Vec<u32>,
    /// The state of the cluster that the sender decides on.
    pub stamp: Stamp,
}

/// Flags of a hello.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// May own addresses on this link.
    pub ready: bool,
    /// Goes away for good: its addresses should move now.
    pub leaving: bool,
    /// Goes away for a moment (an upgrade): its node still forwards.
    pub restarting: bool,
}

/// One usable link of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// The link's current MAC address.
    pub mac: Mac,
    /// Addresses on it, IPv4 and IPv6 (link-local included), in kernel order.
    pub addresses: Vec<IpAddr>,
}

/// Which state of the cluster a speaker decides on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Whether its watches are connected to the API server.
    pub connected: bool,
    /// Newest resourceVersion in its snapshot (one number for the whole of etcd).
    pub resource_version: u64,
}

/// A short name of a peer for heard-sets: the first 32 bits of SHA-256 over cluster and node name.
#[must_use]
pub fn peer_hash(cluster: ClusterId, node: &str) -> u32 {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new().chain_update(cluster.0).chain_update(node).finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}
