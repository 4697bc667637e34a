//! Which speaker answers for an address, per link.
//!
//! [`desired`] is pure and has no memory: equal snapshot and equal members give the same owner on every node, and removing a node moves only
//! what it owned. Services connected by shared addresses or dual stack form one [`Group`], with one owner per link.
//!
//! The ladder for a candidate, in order; whoever drops out carries the step as the reason:
//!
//! 1. it is a Node of the cluster,
//! 2. it carries no exclude label (unless that is ignored),
//! 3. its network is available,
//! 4. it has what the group's Services need: with Local policy an endpoint that can serve,
//! 5. it is a member on this link,
//! 6. it is ready to own.
//!
//! (Advertisements with their node selectors and interfaces come before step 2.) Rank among those left: SHA-256 of `node#key`, lowest first,
//! which is MetalLB's order, so that a migration moves nothing.
//!
//! The hand-over between two living owners (its memory: who holds now, drain, hold-off) comes beside this as a state machine of its own.

mod groups;
#[cfg(test)]
mod tests;

pub use groups::{Group, groups};

use crate::{
    NodeName, PoolName, ServiceKey,
    config::Config,
    labels::Labels,
    membership::Member,
    node::{Node, SpeakerPod},
    service::{Serving, TrafficPolicy},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// Everything a speaker decides on, complete and consistent: made only after every watch delivered its first full list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Pools.
    pub config: Config,
    /// Services of type LoadBalancer and of Herald's class.
    pub services: BTreeMap<ServiceKey, Announceable>,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Speaker pods by node.
    pub speakers: BTreeMap<NodeName, SpeakerPod>,
    /// Let nodes with the exclude label announce too.
    pub ignore_exclude_label: bool,
    /// Newest resourceVersion in it, and whether the watches are connected.
    pub stamp: herald_wire::hello::Stamp,
}

/// A Service as far as announcing it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announceable {
    /// Its `metadata.uid`: one that was deleted and made again is another Service, and events name it.
    pub uid: Arc<str>,
    /// Its labels: advertisements select by them.
    pub labels: Labels,
    /// Its addresses, as its status has them.
    pub addresses: Arc<[IpAddr]>,
    /// Its externalTrafficPolicy.
    pub traffic_policy: TrafficPolicy,
    /// Which endpoints can serve.
    pub serving: Arc<Serving>,
}

/// Why nobody announces a Service. The text names the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Silent {
    /// No address yet.
    #[error("it has no address yet: see its events for the reason")]
    NoAddress,
    /// An address lies in no pool.
    #[error("address {0} is in no configured pool")]
    NotInAnyPool(IpAddr),
    /// The pool is announced by BGP alone.
    #[error("pool {0} is announced by BGP only, which is not done yet: use protocol layer2 or an L2Advertisement")]
    Bgp(PoolName),
    /// No advertisement is for the pool.
    #[error("no advertisement is for pool {0}: create an L2Advertisement for it, or leave announcing to others")]
    NotAdvertised(PoolName),
    /// No endpoint can serve.
    #[error("none of its endpoints is ready: see `kubectl get endpointslices`")]
    NoEndpoints,
}

/// Why a node is no candidate. The text names the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Dropped {
    /// Step 2.
    #[error("it carries the label node.kubernetes.io/exclude-from-external-load-balancers")]
    Excluded,
    /// Step 3.
    #[error("its condition NetworkUnavailable is True")]
    NetworkUnavailable,
    /// Step 4.
    #[error("externalTrafficPolicy is Local and it has no endpoint that can serve")]
    NoLocalEndpoint,
    /// Step 5.
    #[error("its speaker is not heard on this link")]
    NotAMember,
    /// Step 6.
    #[error("its speaker is not ready yet")]
    NotReady,
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

/// Why this Service is announced by nobody; `None` when it can be.
#[must_use]
pub fn silent(config: &Config, service: &Announceable) -> Option<Silent> {
    if service.addresses.is_empty() {
        return Some(Silent::NoAddress);
    }
    for address in &*service.addresses {
        match config.pool_of(*address) {
            None => return Some(Silent::NotInAnyPool(*address)),
            Some((name, pool)) if !config.l2_advertisements.values().any(|l2| l2.pools.includes(name, pool)) => {
                let bgp = config.bgp_advertisements.values().any(|bgp| bgp.pools.includes(name, pool));
                return Some(if bgp { Silent::Bgp(name.clone()) } else { Silent::NotAdvertised(name.clone()) });
            }
            Some(_) => {}
        }
    }
    (!service.serving.any).then_some(Silent::NoEndpoints)
}

/// The owner of a group on a link with these members (this speaker included).
#[must_use]
pub fn desired(snapshot: &Snapshot, group: &Group, members: &BTreeMap<NodeName, Member>) -> Verdict {
    let mut verdict = Verdict { owner: None, others: BTreeSet::new(), dropped: BTreeMap::new() };
    let mut candidates: Vec<(usize, &NodeName)> = Vec::new();
    let most = snapshot.nodes.keys().map(|node| served(snapshot, group, node)).max().unwrap_or(0);
    for (name, node) in &snapshot.nodes {
        let serves = served(snapshot, group, name);
        let dropped = if node.excluded && !snapshot.ignore_exclude_label {
            Some(Dropped::Excluded)
        } else if node.network_unavailable {
            Some(Dropped::NetworkUnavailable)
        } else if serves == 0 || serves < most {
            Some(Dropped::NoLocalEndpoint)
        } else {
            match members.get(name) {
                None => Some(Dropped::NotAMember),
                Some(member) if !member.ready => Some(Dropped::NotReady),
                Some(_) => None,
            }
        };
        match dropped {
            Some(reason) => {
                verdict.dropped.insert(name.clone(), reason);
            }
            None => candidates.push((serves, name)),
        }
    }
    let key = group.key.to_string();
    verdict.owner = candidates.iter().map(|(_, name)| (rank(name, &key), *name)).min().map(|(_, name)| name.clone());
    verdict.others = candidates
        .into_iter()
        .map(|(_, name)| name)
        .filter(|name| Some(*name) != verdict.owner.as_ref())
        .cloned()
        .collect();
    verdict
}

/// How many of the group's Services the node can serve.
fn served(snapshot: &Snapshot, group: &Group, node: &NodeName) -> usize {
    let can = |service: &Announceable| match service.traffic_policy {
        TrafficPolicy::Cluster => service.serving.any,
        TrafficPolicy::Local => service.serving.nodes.contains(node),
    };
    group.services.iter().filter_map(|key| snapshot.services.get(key)).filter(|service| can(service)).count()
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
