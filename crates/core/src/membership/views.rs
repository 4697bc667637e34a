//! What is known of the link, for those who decide by it.

use super::{
    Member, Membership,
    asks::Unheard,
    peer::{Peer, State},
};
use crate::{LinkName, NodeName, time::Moment};
use herald_wire::{Mac, hello::IfName};
use std::{collections::BTreeMap, net::IpAddr};

impl Membership {
    /// How many peers are heard here.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Every peer that counts: heard or presumed, and a Node of the cluster.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeName, Member> {
        let Some(roster) = &self.roster else { return BTreeMap::new() };
        let member = |peer: &Peer| Member {
            ready: peer.is_ready(),
            presumed: false,
            restarting: matches!(peer.state, State::Restarting { .. }),
            hands_over: peer.hands_over(),
            data_plane: peer.flags.data_plane,
            links: peer.places.names().map(|name| name.as_str().into()).collect(),
        };
        let there = self.peers.iter().filter(|(_, peer)| !peer.flags.leaving && !peer.hearing.is_deaf());
        let heard = there.map(|(node, peer)| (node.clone(), member(peer)));
        let unheard = |peer: Unheard<'_>| {
            (
                peer.node.clone(),
                Member { ready: true, presumed: !peer.awaited, restarting: peer.awaited, ..Member::default() },
            )
        };
        // A peer that was heard is never presumed, so no name comes twice.
        heard.chain(self.asks.present().map(unheard)).filter(|(node, _)| roster.nodes.contains(node)).collect()
    }

    /// Where on this link a member has what it announces: of its links with these names the one with an address that `prefers`, then the first.
    pub fn mac_of(&self, node: &NodeName, links: &[&LinkName], prefers: impl Fn(IpAddr) -> bool) -> Option<Mac> {
        let unheard = || self.asks.present().find(|peer| peer.node == node).map(|peer| peer.mac);
        self.peers.get(node).map_or_else(unheard, |peer| peer.places.mac(links, prefers))
    }

    /// Whether a member's hellos name this MAC address as one of its links', or a member answers there that is never heard.
    #[must_use]
    pub fn is_of_a_member(&self, mac: Mac) -> bool {
        self.peers.iter().any(|(_, peer)| peer.places.has(mac)) || self.asks.present().any(|peer| peer.mac == mac)
    }

    /// Peers that are heard here and hear nobody: they are no members, and what they say does not count.
    pub fn deaf(&self) -> impl Iterator<Item = &NodeName> {
        self.peers.iter().filter(|(_, peer)| peer.hearing.is_deaf()).map(|(node, _)| node)
    }

    /// Whether this is such a peer.
    #[must_use]
    pub fn is_deaf(&self, node: &NodeName) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.hearing.is_deaf())
    }

    /// What each peer that is heard here calls its links, on whatever segment they are.
    pub fn link_names(&self) -> impl Iterator<Item = (&NodeName, &[IfName])> {
        self.peers.iter().map(|(node, peer)| (node, peer.places.links()))
    }

    /// Whether any peer that is heard here says that its data plane has a health endpoint.
    #[must_use]
    pub fn has_health(&self) -> bool {
        self.peers.iter().any(|(_, peer)| peer.flags.has_health)
    }

    /// Who is heard here, and when last.
    pub fn heard(&self) -> impl Iterator<Item = (&NodeName, Moment)> {
        self.peers.iter().map(|(node, peer)| (node, peer.heard))
    }

    /// Indexes of this node's other links whose hellos arrive here.
    pub fn twins(&self) -> impl Iterator<Item = (u8, Mac)> + '_ {
        self.twins.keys().copied()
    }

    /// How often a peer was suspected so far: two of its hellos in a row did not come, and its node was asked.
    #[must_use]
    pub const fn suspicions(&self) -> u64 {
        self.peers.suspicions()
    }
}
