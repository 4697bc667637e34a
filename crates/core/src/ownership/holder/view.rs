//! What hand-overs are decided on.

use crate::{
    LinkName, NodeName,
    membership::Member,
    ownership::{Dropped, Electorate, Group, Plan},
    time::Moment,
};
use herald_wire::hello::{ClusterId, Stamp, peer_hash};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// What is decided on, on one link.
#[derive(Debug)]
pub struct View<'a> {
    /// The state of the cluster.
    pub plan: &'a Plan,
    /// The one that was last settled on, when it is another.
    pub before: Option<&'a Plan>,
    /// The link, as this node calls it.
    pub link: &'a LinkName,
    /// This node.
    pub me: &'a NodeName,
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Who is there, this node included.
    pub members: &'a BTreeMap<NodeName, Member>,
    /// Of these, who may own what.
    pub electorate: Electorate<'a>,
    /// Whether this node takes part again from now on, and peers kept its place until now.
    pub kept: bool,
    /// Between two hellos of a speaker there.
    pub interval: Duration,
    /// When.
    pub now: Moment,
}

impl View<'_> {
    pub(super) fn owns(&self, group: &Group, node: &NodeName) -> bool {
        self.electorate.owns(group, node)
    }

    /// Whether it can be talked to about hand-overs.
    pub(super) fn talks(&self, node: &NodeName) -> bool {
        self.members.get(node).is_some_and(|member| member.ready && !member.restarting && member.hands_over)
    }

    /// Whether others are there and not ready: they start as well, and are about to say that they are.
    pub(crate) fn others_start(&self) -> bool {
        self.members.iter().any(|(node, member)| node != self.me && !member.ready)
    }

    /// Whether it will ask for what it is to have, now or when its speaker is back.
    pub(super) fn may_ask(&self, node: &NodeName) -> bool {
        self.members.get(node).is_some_and(|member| member.ready && member.hands_over)
    }

    /// Whether its node forwards, as far as is known.
    pub(super) fn lives(&self, node: &NodeName) -> bool {
        self.members.get(node).is_some_and(|member| member.ready)
    }

    /// When this node is the owner, and its data plane is not ready: who has the group meanwhile if its holder is gone.
    pub(super) fn meanwhile(&self, group: &Group) -> Option<&NodeName> {
        let found = self.electorate.meanwhile(group)?;
        (found.owner == self.me && self.talks(found.by)).then_some(found.by)
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.plan.snapshot().stamp
    }

    pub(super) fn hash(&self, node: &NodeName) -> u32 {
        peer_hash(self.cluster, node.as_str())
    }

    /// Whether the state of the cluster alone speaks against it.
    pub(super) fn rules_out(&self, group: &Group, node: &NodeName) -> bool {
        use Dropped::{Evacuated, Excluded, NetworkUnavailable, NoInterface, NoLocalEndpoint, NotSelected};
        let verdict = self.plan.desired(group, self.link, self.members);
        let dropped = verdict.dropped.get(node);
        dropped.is_some_and(|why| {
            matches!(why, NotSelected | Excluded | Evacuated(_) | NetworkUnavailable | NoLocalEndpoint | NoInterface)
        })
    }

    /// The group with this key.
    pub(super) fn group(&self, key: IpAddr) -> Option<&Group> {
        self.plan.group(key)
    }
}
