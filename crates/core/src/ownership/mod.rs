//! Which speaker answers for an address, per link.
//!
//! [`Plan::desired`] is pure and has no memory: equal snapshot and equal members give the same owner on every node, and removing a node moves
//! only what it owned. Services connected by shared addresses or dual stack form one [`Group`], with one owner per link.
//!
//! The ladder for a candidate, in order; whoever drops out carries the step as the reason:
//!
//! 1. it is a Node of the cluster,
//! 2. an advertisement of one of the group's Services selects it,
//! 3. it carries no exclude label (unless that is ignored),
//! 4. its network is available,
//! 5. it has what one of these Services needs: with Local policy an endpoint that can serve,
//! 6. it is a member on this link,
//! 7. an advertisement that selects it allows one of its interfaces on this link,
//! 8. it is ready to own,
//! 9. its data plane has not failed, unless that of everybody who is left has,
//! 10. it is not to give its addresses away, unless everybody who is left is,
//! 11. of a group of several Services, nobody else who is left can announce more of them.
//!
//! Rank among those left: where `herald move` wants one of its Services, then the summed weights of the preferences, highest first, then SHA-256 of `node#key`, lowest first, which is MetalLB's
//! order, so that a migration moves nothing.
//!
//! # Sharing
//!
//! An advertisement with service selectors may be for one Service on an address and not for another (MetalLB announces neither then). Here a
//! Service without an advertisement is in no group: it is never announced, and silences nobody. The owner announces those Services of the
//! group whose advertisements allow it there and that it can serve, and answers for their addresses. So an address has one owner per link,
//! and it has it for the sake of a Service that may be announced there; the ports of the other Services on it are reached, too.
//!
//! The hand-over between two living owners (its memory: who holds now, drain, hold-off) is the state machine beside this: [`Holder`].

mod advertise;
mod electorate;
mod groups;
mod holder;
mod plan;
mod reasons;
pub mod shared;
mod stand_in;
#[cfg(test)]
mod tests;

use crate::{
    NodeName, ServiceKey,
    config::Config,
    labels::Labels,
    node::{Node, SpeakerPod},
    service::{Moved, Serving, TrafficPolicy},
};
pub use electorate::{Ahead, Electorate, Meanwhile};
pub use groups::Group;
pub use holder::{HandOver, Hold, Holder, Moves, PLANE_WAIT, Role, View};
pub use plan::{Plan, Share, Whose};
pub use reasons::{Dropped, Silent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
pub use stand_in::StandIn;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Everything a speaker decides on, complete and consistent: made only after every watch delivered its first full list, or saved then and
/// loaded after a restart without the API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Pools and advertisements.
    #[serde(with = "shared")]
    pub config: Arc<Config>,
    /// Services of type LoadBalancer and of Herald's class.
    pub services: BTreeMap<ServiceKey, Announceable>,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Speaker pods by node.
    pub speakers: BTreeMap<NodeName, SpeakerPod>,
    /// Let nodes with the exclude label announce too.
    pub ignore_exclude_label: bool,
    /// Newest resourceVersion in it, and whether the watches are connected.
    #[serde(skip)]
    pub stamp: herald_wire::hello::Stamp,
    /// For one that was loaded: when it was last known to be true, in seconds since the epoch.
    #[serde(skip)]
    pub saved_at: Option<i64>,
}

/// A Service as far as announcing it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announceable {
    /// Its `metadata.uid`: one that was deleted and made again is another Service, and events name it.
    #[serde(with = "shared")]
    pub uid: Arc<str>,
    /// Its labels: advertisements select by them.
    pub labels: Labels,
    /// Its addresses, as its status has them.
    #[serde(with = "shared")]
    pub addresses: Arc<[IpAddr]>,
    /// Its externalTrafficPolicy.
    pub traffic_policy: TrafficPolicy,
    /// Which endpoints can serve.
    #[serde(with = "shared")]
    pub serving: Arc<Serving>,
    /// Where `herald move` wants its addresses to be.
    pub moved: Option<Moved>,
}

/// Who answers for a group on one link, and why nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The owner; `None` when no candidate is left.
    pub owner: Option<NodeName>,
    /// Everybody else who could, in no particular order.
    pub others: BTreeSet<NodeName>,
    /// Everybody who dropped out, with the reason.
    pub dropped: BTreeMap<NodeName, Dropped>,
}

/// Why this Service is announced by nobody; `None` when it can be. For many Services ask [`silent_services`] or [`Plan::silent`].
#[must_use]
pub fn silent(config: &Config, service: &Announceable) -> Option<Silent> {
    advertise::ByPool::new(config).choose(service).err()
}

/// Every Service that nobody announces, with the reason.
#[must_use]
pub fn silent_services(snapshot: &Snapshot) -> Vec<(&ServiceKey, Silent)> {
    let mut by_pool = advertise::ByPool::new(&snapshot.config);
    let silent = |(key, service)| by_pool.choose(service).err().map(|why| (key, why));
    snapshot.services.iter().filter_map(silent).collect()
}

/// MetalLB's order: SHA-256 of `node#key`, lowest first.
#[must_use]
pub fn rank(node: &NodeName, key: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(node.as_str());
    hash.update("#");
    hash.update(key);
    hash.finalize().into()
}
