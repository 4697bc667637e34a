//! What a membership is told, and what it says.

use super::peers::Gone;
use crate::{LinkName, NodeName, Set};
use herald_wire::{
    Mac,
    hello::{ClusterId, DataPlane, Hello, LinkInfo, Stamp},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Who this speaker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// UID of the cluster's `kube-system` namespace.
    pub cluster: ClusterId,
    /// Name of the node it runs on.
    pub node: NodeName,
    /// Grows with every start of the process on this node.
    pub incarnation: u64,
}

/// What the API says about who may be on this link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    /// Every Node of the cluster.
    pub nodes: BTreeSet<NodeName>,
    /// Other nodes with a speaker's pod.
    pub expected: BTreeMap<NodeName, Expected>,
}

/// A speaker's pod on another node, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Whether it is ready; another one may be terminating, pending or in trouble.
    pub ready: bool,
    /// The node's InternalIP in a subnet of this link.
    pub address: Option<IpAddr>,
}

/// What this speaker says in its next hello, beside what the membership itself knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaking {
    /// Whether it could own addresses as far as the rest of the speaker is concerned.
    pub ready: bool,
    /// Whether it goes away for good.
    pub leaving: bool,
    /// Whether it goes away for a moment.
    pub restarting: bool,
    /// How its node's data plane is.
    pub data_plane: DataPlane,
    /// Whether that has a health endpoint.
    pub has_health: bool,
    /// Its usable links.
    pub links: Arc<[LinkInfo]>,
    /// Index of this link among them.
    pub link: u8,
    /// The state of the cluster that it decides on.
    pub stamp: Stamp,
    /// Whether the hello has words that do not wait for the next interval.
    pub hurries: bool,
}

/// Whether this speaker may answer on this link, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// Absence cannot be believed yet: after start or link up.
    Listening,
    /// Woke up later than the hold time: others may have taken over.
    Late,
    /// Hears peers, but none of them hears this speaker.
    Unheard,
    /// Takes part.
    Present,
}

/// What is known of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    /// May own addresses.
    pub ready: bool,
    /// Never heard here; counts because the API shows it running and its address answers.
    pub presumed: bool,
    /// Its speaker is away, or just back, while its node is there: its place is kept, and another speaker stands in for it.
    pub restarting: bool,
    /// It asks, and can be asked, for what it holds; an older speaker, who was never heard, and who does
    /// not hear this node, does not.
    pub hands_over: bool,
    /// How its node's data plane is, as it said last; an older speaker, and who was never heard, says nothing against it.
    #[serde(skip)]
    pub data_plane: DataPlane,
    /// What its links on this segment are called on its node; empty when that is not known (presumed, or an older speaker).
    pub links: Set<LinkName>,
}

/// A frame to be sent on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The hello, to the group and, as unicast UDP, to these peers that are not heard on the link or do not hear this node there.
    Hello(Box<Hello>, Vec<IpAddr>),
    /// Ask this address whether it is there (ARP request or Neighbor Solicitation): that station alone, or everybody.
    Ask(IpAddr, Option<Mac>),
}

/// What changed on the link: for logs, metrics and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// First hello of a peer, or of its new incarnation; or one that was deaf hears again.
    Joined(NodeName),
    /// A peer is gone.
    Left(NodeName, Gone),
    /// A peer says that it may, or may not any more, own addresses.
    Ready(NodeName, bool),
    /// A peer's data plane is other than before.
    DataPlane(NodeName, #[serde(skip)] DataPlane),
    /// A peer is counted as present though never heard (see rule 4), or not any more.
    Presumed(NodeName, bool),
    /// A peer's speaker is away while its node is there: its place is kept.
    Restarting(NodeName),
    /// A peer whose place was kept is back and ready.
    Back(NodeName),
    /// Which links a peer has here, or what they are called, is other than before.
    Links(NodeName),
    /// This speaker's own standing.
    Standing(Standing),
}
