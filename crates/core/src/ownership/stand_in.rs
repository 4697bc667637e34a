//! Who answers instead of an owner whose speaker restarts.

use super::{Group, Plan, rank};
use crate::{LinkName, NodeName, membership::Member};
use std::{cmp::Reverse, collections::BTreeMap};

/// Somebody answers broadcast requests on an owner's behalf, with the owner's MAC address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// Whose place is kept: traffic goes on to its node.
    pub owner: NodeName,
    /// Who answers; `None` when nobody else is there.
    pub by: Option<NodeName>,
}

impl Plan {
    /// Whether the owner of a group on a link restarts, and then who stands in for it: the first live candidate in the owner's order, which is
    /// also who would take over; without one any live member.
    #[must_use]
    pub fn stand_in(&self, group: &Group, here: &LinkName, members: &BTreeMap<NodeName, Member>) -> Option<StandIn> {
        let live = |node: &NodeName| members.get(node).is_some_and(|member| member.ready && !member.restarting);
        let key = group.key.to_string();
        let mut candidates = self.candidates(group, here, members, &mut |_, _| {});
        candidates.sort_by_cached_key(|candidate| (Reverse(candidate.score), rank(candidate.node, &key)));
        let owner = candidates.first().map(|first| first.node).filter(|owner| !live(owner))?;
        let by = candidates.iter().map(|candidate| candidate.node).find(|node| live(node));
        let any = || members.keys().filter(|node| live(node)).min_by_key(|node| rank(node, &key));
        Some(StandIn { owner: owner.clone(), by: by.or_else(any).cloned() })
    }
}
