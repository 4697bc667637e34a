//! The state of a speaker.

use super::Why;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Everything a speaker knows and decided. Names of reasons are looked up in `reasons`: there are many nodes and few reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeakerState {
    /// [`super::VERSION`] of who wrote this.
    pub version: u32,
    /// Release of Herald.
    pub release: String,
    /// Its node.
    pub node: String,
    /// Why it announces nothing at all; empty when nothing is in the way.
    pub obstacles: Vec<Why>,
    /// What it knows of the cluster; `None` before that is complete.
    pub snapshot: Option<SnapshotState>,
    /// All links but loopback, used or not.
    pub links: BTreeMap<String, LinkState>,
    /// How what passes packets on is, on its node.
    pub data_plane: DataPlaneState,
    /// Why nodes are no candidates, by code.
    pub reasons: BTreeMap<String, Why>,
    /// Services and addresses that have one owner together, with who it is.
    pub groups: Vec<GroupState>,
    /// Every Service that it knows, by `namespace/name`.
    pub services: BTreeMap<String, ServiceState>,
}

/// What a speaker knows of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotState {
    /// Whether all watches are connected to the API server.
    pub connected: bool,
    /// Newest resourceVersion in it.
    pub resource_version: u64,
    /// Milliseconds since something in it changed.
    pub age_ms: u64,
    /// When it was saved (RFC 3339), while the speaker goes by what it saved before its restart.
    pub saved_at: Option<String>,
    /// Nodes that give their addresses to others.
    pub evacuated: BTreeMap<String, EvacuationState>,
}

/// Why a node gives its addresses to others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EvacuationState {
    /// Why.
    pub why: String,
    /// Until when (RFC 3339), when that is known.
    pub until: Option<String>,
}

/// Where a Service was moved to for a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MoveState {
    /// The node.
    pub to: String,
    /// Until when (RFC 3339).
    pub until: String,
}

/// A link of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkState {
    /// Its MAC address.
    pub mac: String,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
    /// Why it is not used.
    pub not_used: Option<Why>,
    /// The speaker's standing there: code `present` answers, with every other one it does not.
    pub standing: Option<Why>,
    /// Who takes part, this speaker included, by node.
    pub members: BTreeMap<String, MemberState>,
    /// Nodes whose speakers are heard there and hear nobody: they do not count.
    pub deaf: Vec<String>,
    /// What this node answers for there, as the owner.
    pub answers: BTreeMap<IpAddr, AnswerState>,
    /// What it answers for on behalf of owners whose speakers are away, with the MAC address that it gives.
    pub stands_in: BTreeMap<IpAddr, String>,
    /// What is this node's and not answered for, with the reason: a foreign station has it, or nobody may use it.
    pub withheld: BTreeMap<IpAddr, Why>,
}

/// A speaker on a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberState {
    /// Whether it may own addresses.
    pub ready: bool,
    /// How it is known.
    pub known: Known,
    /// Milliseconds since its last hello.
    pub silent_ms: Option<u64>,
    /// What its links on this segment are called there.
    pub links: Vec<String>,
    /// How its node's data plane is, as it says.
    pub data_plane: Health,
}

/// The data plane of a node: what passes packets from an address to the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataPlaneState {
    /// Which health endpoint is asked.
    pub url: Option<String>,
    /// Whether that ever said that all is well.
    pub has_answered: bool,
    /// What follows.
    pub health: Health,
    /// Why it is not ready; `None` also where no node has such an endpoint.
    pub not_ready: Option<Why>,
}

/// How a data plane is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It works, as far as is known.
    #[default]
    Ready,
    /// Addresses do not move there yet.
    NotReady,
    /// It fails, and has for long: addresses move away.
    Failed,
    /// In a way that this program does not know.
    #[serde(other)]
    Unknown,
}

/// How a member of a link is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Known {
    /// It is this speaker.
    Own,
    /// Its hellos are heard on the link.
    Hello,
    /// Its hellos come as unicast datagrams: the link does not carry them.
    Unicast,
    /// Its hellos are never heard; the API shows it, and its node's address answers.
    Presumed,
    /// Its speaker is away or just back, and its node answers: its place is kept.
    Restarting,
    /// In a way that this program does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What happened to an address that is answered for on a link, since it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnswerState {
    /// Handed over: only unicast requests of neighbours that still use this node are answered.
    pub draining: bool,
    /// Requests that were to be answered.
    pub requests: u64,
    /// Answers sent.
    pub answers: u64,
    /// Frames with which it was said unasked, on all links of the node together.
    pub announced: u64,
    /// Milliseconds since the last of these.
    pub announced_ms: Option<u64>,
    /// Frames in which another station claimed the address.
    pub claims: u64,
    /// The last of these.
    pub claim: Option<ClaimState>,
}

/// Another station that claimed an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimState {
    /// Its MAC address.
    pub mac: String,
    /// Milliseconds ago.
    pub age_ms: u64,
}

/// Services and addresses that have one owner together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupState {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its Services as `namespace/name`.
    pub services: Vec<String>,
    /// Who owns it, by link of this node.
    pub links: BTreeMap<String, VerdictState>,
}

/// Who owns a group on a link, as this speaker sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerdictState {
    /// The owner.
    pub owner: Option<String>,
    /// Other nodes that could.
    pub others: BTreeSet<String>,
    /// Nodes that could not, by the code of the reason.
    pub dropped: BTreeMap<String, BTreeSet<String>>,
}

/// A Service as a speaker knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceState {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Why nobody announces it.
    pub silent: Option<Why>,
    /// What this node announces of it.
    pub announced: Vec<IpAddr>,
    /// Where it was moved to for a time.
    pub moved: Option<MoveState>,
}
