//! The whole decision with all its reasons, for `/debug/state` and `herald explain`.

use super::{Link, Speaker, segments};
use crate::{
    LinkName, NodeName, ServiceKey,
    membership::{Member, Standing},
    ownership::{Silent, Verdict},
};
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
};

/// Everything a speaker decided, and why.
#[derive(Debug, Serialize)]
pub struct State {
    /// This node.
    pub node: NodeName,
    /// Whether the first complete snapshot has come, the key is known, MetalLB is gone, and it is not stopping.
    pub ready: bool,
    /// Its links.
    pub links: BTreeMap<LinkName, LinkState>,
    /// Every Service of the snapshot.
    pub services: BTreeMap<ServiceKey, ServiceState>,
}

/// A link with its members.
#[derive(Debug, Serialize)]
pub struct LinkState {
    /// The link itself.
    pub link: Link,
    /// This speaker's standing there.
    pub standing: Standing,
    /// Members, this speaker included.
    pub members: BTreeMap<NodeName, Member>,
    /// What this node answers for there.
    pub answers: BTreeSet<IpAddr>,
}

/// A Service with who announces it on each of this node's links.
#[derive(Debug, Serialize)]
pub struct ServiceState {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Why nobody announces it.
    pub silent: Option<Silent>,
    /// The verdict per link.
    pub verdicts: BTreeMap<LinkName, Verdict>,
}

impl Speaker {
    /// The whole decision with all its reasons, computed anew.
    #[must_use]
    pub fn state(&self) -> State {
        let segments = segments::of(&self.links, &self.memberships);
        let links = self.memberships.iter().filter_map(|(name, membership)| {
            let state = LinkState {
                link: self.links.get(name)?.clone(),
                standing: membership.standing(),
                members: self.members(membership, segments.names(name)),
                answers: self.answers.get(name).cloned().unwrap_or_default(),
            };
            Some((name.clone(), state))
        });
        State { node: self.me.node.clone(), ready: self.ready(), links: links.collect(), services: self.services() }
    }

    fn services(&self) -> BTreeMap<ServiceKey, ServiceState> {
        let Some(plan) = &self.plan else { return BTreeMap::new() };
        let segments = segments::of(&self.links, &self.memberships);
        let mut verdicts: BTreeMap<&ServiceKey, BTreeMap<LinkName, Verdict>> = BTreeMap::new();
        for (name, membership) in &self.memberships {
            let members = self.members(membership, segments.names(name));
            for group in plan.groups() {
                let verdict = plan.desired(group, name, &members);
                for key in &group.services {
                    verdicts.entry(key).or_default().insert(name.clone(), verdict.clone());
                }
            }
        }
        let state = |(key, service): (&ServiceKey, &crate::ownership::Announceable)| {
            let state = ServiceState {
                addresses: service.addresses.to_vec(),
                silent: plan.silent(key).cloned(),
                verdicts: verdicts.remove(key).unwrap_or_default(),
            };
            (key.clone(), state)
        };
        plan.snapshot().services.iter().map(state).collect()
    }
}

pub(super) fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
