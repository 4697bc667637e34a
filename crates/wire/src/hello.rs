//! The hello frame: how speakers of one cluster know on a link that they are there.
//!
//! A raw Ethernet multicast frame, the same layer as ARP, so it needs no address and no firewall rule; the same bytes travel as unicast
//! UDP where a hypervisor filters multicast. Versioned and tolerant: unknown fields are skipped. Authenticated with HMAC-SHA256.
//!
//! # Layout, version 1
//!
//! | bytes | |
//! |---|---|
//! | 4 | `HRLD` |
//! | 1 | version |
//! | 1 | bit 0: routine, so that whoever has no urgent business may take it later; the rest is 0 and ignored |
//! | 2 | length of the fields, big endian like every number |
//! | 16 | cluster |
//! | n | fields: type (1), length (2), value |
//! | 32 | HMAC-SHA256 over all before it |
//!
//! Everything but the fields stays as it is in later versions, so that cluster and key can be judged whatever the version; a hello of
//! another version is refused only once it is authentic. Bytes after the HMAC are padding.

use crate::Mac;
use sha2::{Digest, Sha256};
use std::{fmt, net::IpAddr};

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
    /// [`peer_hash`] of every peer that the sender heard lately on this link: those that it does not suspect.
    pub heard: Vec<u32>,
    /// [`peer_hash`] of peers that the sender keeps the place of while their speakers restart, at most [`MAX_KEPT`] of them: whoever is named
    /// goes on where it was. Empty when an older speaker does not say it.
    pub kept: Vec<u32>,
    /// What the sender says about who is to answer for which addresses on this link; `None` from an older speaker, which neither asks nor
    /// answers. At most [`Hello::moves_fit`] of them.
    pub moves: Option<Vec<Move>>,
    /// What the sender does not answer for on this link because a foreign station has it, at most [`MAX_CONFLICTS`] of them: whoever is to
    /// answer for it next need not find out again.
    pub conflicts: Vec<Conflict>,
    /// The state of the cluster that the sender decides on.
    pub stamp: Stamp,
    /// Says nothing that a peer that is well has to act on at once: it came because the interval was over. Stands at a fixed place of the frame
    /// ([`ROUTINE_AT`]), so that a kernel's filter can tell it; an older speaker's hellos never say it.
    pub routine: bool,
}

/// Where a hello has the byte whose lowest bit says that it is [`Hello::routine`].
pub const ROUTINE_AT: usize = 5;

/// Flags of a hello.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// May own addresses on this link.
    pub ready: bool,
    /// Goes away for good: its addresses should move now.
    pub leaving: bool,
    /// Goes away for a moment (an upgrade): its node still forwards.
    pub restarting: bool,
    /// Whether what is behind its addresses works.
    pub data_plane: DataPlane,
    /// Whether its data plane has a health endpoint: then those of other nodes are expected to have one.
    pub has_health: bool,
}

/// What a speaker says about its node's data plane: what passes packets from an address to the pods (kube-proxy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataPlane {
    /// It works, as far as is known. Older speakers say nothing else, and understand nothing else.
    #[default]
    Ready,
    /// It is not to be given addresses yet; what it has it keeps.
    NotReady,
    /// It fails, and has for long: it is not to have addresses.
    Failed,
}

/// One usable link of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// The link's current MAC address.
    pub mac: Mac,
    /// Its name on its node; `None` when it is not said (an older speaker, a frame without room, or a name that is none).
    pub name: Option<IfName>,
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

/// One word of a hand-over: planned moves of addresses between living nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    /// What is said.
    pub word: Word,
    /// The key of the group of addresses that it is about.
    pub group: IpAddr,
    /// [`peer_hash`] of the node that it is said to; 0 = to all.
    pub peer: u32,
}

/// An address that a station outside the cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub address: IpAddr,
    /// The station's.
    pub by: Mac,
}

/// What is said about a group of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// To the node that is taken to hold it: I am its owner now and want to have it.
    Ask,
    /// To who asked: it is yours.
    Release,
    /// I have it. I am not its owner, but have not been asked for it, or not for long enough.
    Hold,
    /// I have it, and I am its owner.
    Own,
    /// To who asked: I do not have it.
    Free,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ask, Self::Release, Self::Hold, Self::Own, Self::Free];
}

impl Hello {
    /// How many of these fit into a hello with so many peers in its heard-set and such a node name, the first ones.
    #[must_use]
    pub fn moves_fit(moves: &[Move], node: &str, heard: usize) -> usize {
        let room = seal::room_for_moves(node.len(), heard);
        let mut used = 0;
        let fits = |said: &&Move| {
            used += seal::move_len(said);
            used <= room
        };
        moves.iter().take_while(fits).count()
    }
}

/// A short name of a peer for heard-sets: the first 32 bits of SHA-256 over cluster and node name.
#[must_use]
pub fn peer_hash(cluster: ClusterId, node: &str) -> u32 {
    let hash = Sha256::new().chain_update(cluster.0).chain_update(node).finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Most entries of a heard-set. More is an error, never a silent cut: a peer left out would believe that nobody hears it.
pub const MAX_HEARD: usize = 200;
/// Most peers whose place is kept in one hello; the rest is cut: nothing but a burst of announcements depends on it.
pub const MAX_KEPT: usize = 32;
/// Most conflicts in a hello, fewer when it is full; whoever takes over one that is cut finds it out by probing.
pub const MAX_CONFLICTS: usize = 8;
/// Most links in a hello; the sending link always is one of them.
pub const MAX_LINKS: usize = 16;
/// Most addresses of a link in a hello.
pub const MAX_ADDRESSES: usize = 16;
/// Longest node name in bytes (RFC 1123 subdomain).
pub const MAX_NODE: usize = 253;
/// Shortest key in bytes.
pub const MIN_KEY: usize = 16;

/// A secret that the speakers of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// A key that protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hello key has {0} bytes: use {MIN_KEY} or more random ones")]
pub struct KeyTooShort(usize);

impl Key {
    /// A key of at least [`MIN_KEY`] bytes.
    ///
    /// # Errors
    /// Fewer bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        if bytes.len() < MIN_KEY { Err(KeyTooShort(bytes.len())) } else { Ok(Self(bytes.to_vec())) }
    }

    /// The key in clear.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

// A key must not get into a log.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why a hello cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not the name of a Kubernetes node.
    #[error("{0:?} is not a node name: a lowercase RFC 1123 subdomain of at most {MAX_NODE} bytes")]
    Node(String),
    /// `link` is no index into `links`.
    #[error("the sending link has index {link}, but there are {links} links")]
    Link {
        /// The index.
        link: u8,
        /// How many links there are.
        links: usize,
    },
    /// Peers that hear each other on a link, beyond what a frame holds.
    #[error("{0} peers on one link are too many: at most {MAX_HEARD}")]
    Heard(usize),
    /// An interval of zero would make every peer gone at once.
    #[error("a hello interval of zero")]
    Interval,
}

/// Why bytes are not a hello of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not a hello, or one that breaks its own rules.
    #[error("malformed hello: {0}")]
    Malformed(Malformed),
    /// Another cluster on the same link: no reason for alarm.
    #[error("hello of another cluster")]
    ForeignCluster(ClusterId),
    /// This cluster, but none of the keys fits: a forgery, or a speaker with an old key.
    #[error("hello of this cluster with a wrong key")]
    WrongHmac,
    /// Authentic, but of a version that this speaker does not know.
    #[error("hello of unknown version {0}")]
    Version(u8),
}

/// What is wrong with the shape of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another protocol on the same EtherType or port.
    #[error("not a hello")]
    Magic,
    /// The bytes end too early, or are more than [`MAX_LEN`].
    #[error("wrong length")]
    Length,
    /// A field that has to be there is not.
    #[error("field {0} is missing")]
    Missing(u8),
    /// A field twice.
    #[error("field {0} is there twice")]
    Twice(u8),
    /// A field with a value that cannot be.
    #[error("field {0} has an impossible value")]
    Value(u8),
}

impl From<Malformed> for HelloError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

mod ifname;
mod open;
mod seal;
mod tlv;

pub use ifname::IfName;
pub use open::open;
pub use seal::seal;

#[cfg(test)]
mod tests;
