//! Everybody who is heard, or was lately.

use super::{
    Expected,
    peer::{Judged, Peer, Question, State},
};
use crate::{
    NodeName,
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{Hello, MAX_HEARD},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Why a peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Gone {
    /// No hello, and its node does not answer: dead, or cut off.
    Silent,
    /// It said so.
    Leaving,
    /// Its node answers, but its speaker has not come back in time.
    GraceOver,
}

/// Why a hello says nothing about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Ignored {
    /// It is our own, heard through another of our links: one segment.
    #[error("our own hello, heard through another link")]
    OwnFrame,
    /// Another process uses our node name: a predecessor's last words, or two nodes of one name.
    #[error("a hello with our node name from another process")]
    OwnName,
    /// Not newer than what was heard: repeated, or reordered between the two ways a hello can come.
    #[error("a hello that is not newer than the last one")]
    NotNewer,
}

/// What a hello told about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    New,
    Readiness(bool),
    Leaving,
    /// Its speaker restarts; its place is kept.
    Restarting,
    /// Back from a restart, ready.
    Back,
    /// Which of its links are on this segment, or what its links are called.
    Links,
    Same,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    heard: BTreeMap<NodeName, Peer>,
    /// Everybody heard since the API last stopped showing its pod: such a peer is never presumed.
    ever: BTreeSet<NodeName>,
}

fn is_restarting(state: State) -> bool {
    matches!(state, State::Restarting { .. })
}

impl Peers {
    pub(super) fn hear(
        &mut self,
        node: &NodeName,
        hello: &Hello,
        from: Mac,
        by_datagram: bool,
        now: Moment,
    ) -> Result<Heard, Ignored> {
        let before = self.heard.get(node);
        if before.is_some_and(|p| (p.incarnation, p.sequence) >= (hello.incarnation, hello.sequence)) {
            return Err(Ignored::NotNewer);
        }
        let before = before.map(|p| (p.incarnation, p.ready, is_restarting(p.state), p.flags.leaving));
        self.ever.insert(node.clone());
        let peer = self.heard.entry(node.clone()).or_insert_with(|| Peer::new(hello, now));
        let relinked = peer.take(hello, from, now);
        peer.by_datagram = by_datagram;
        let (ready, restarting) = (peer.ready, is_restarting(peer.state));
        for (other, peer) in &mut self.heard {
            if other != node {
                peer.vouch(node, hello.heard.contains(&peer.hash));
            }
        }
        let left = before.is_some_and(|(.., leaving)| leaving);
        Ok(match before {
            _ if hello.flags.leaving => {
                if left {
                    Heard::Same
                } else {
                    Heard::Leaving
                }
            }
            None => Heard::New,
            Some((_, _, false, _)) if restarting => Heard::Restarting,
            Some((_, _, true, _)) if !restarting && ready => Heard::Back,
            Some((incarnation, ..)) if incarnation != hello.incarnation && !restarting => Heard::New,
            Some((_, was, ..)) if was != ready => Heard::Readiness(ready),
            Some(_) if relinked => Heard::Links,
            Some(_) => Heard::Same,
        })
    }

    /// Its last hello names this node as heard, or does not.
    pub(super) fn heard_back(&mut self, node: &NodeName, hears: bool) {
        if let Some(peer) = self.heard.get_mut(node) {
            peer.deaf = if hears { 0 } else { peer.deaf.saturating_add(1) };
        }
    }

    /// Who is heard for the first time counted before: its place is kept until it is ready.
    pub(super) fn keep(&mut self, node: &NodeName, now: Moment) {
        if let Some(peer) = self.heard.get_mut(node) {
            peer.keep(now);
        }
    }

    /// Forgets links of peers that fell silent here while others of the same peer are heard; gives back whose.
    pub(super) fn expire_links(&mut self, now: Moment) -> Vec<NodeName> {
        let changed = self.heard.iter_mut().filter_map(|(node, peer)| peer.expire_links(now).then_some(node));
        changed.cloned().collect()
    }

    /// Judges everybody's silence; takes out who is gone.
    pub(super) fn judge(&mut self, timing: Timing, now: Moment) -> Vec<(NodeName, Judged)> {
        let peers = self.count();
        let lately = self.heard.iter().filter(|(_, peer)| now.since(peer.heard) < peer.hold());
        let lately: BTreeMap<NodeName, bool> =
            lately.map(|(node, peer)| (node.clone(), peer.is_speaking(now))).collect();
        let judge =
            |(node, peer): (&NodeName, &mut Peer)| Some((node.clone(), peer.judge(timing, peers, now, &lately)?));
        let judged: Vec<_> = self.heard.iter_mut().filter_map(judge).collect();
        for (node, _) in judged.iter().filter(|(_, judged)| matches!(judged, Judged::Gone(_) | Judged::Forgotten)) {
            self.heard.remove(node);
        }
        judged
    }

    fn count(&self) -> u32 {
        u32::try_from(self.heard.len()).unwrap_or(u32::MAX)
    }

    /// Which kernels are to be asked now.
    pub(super) fn asks(
        &mut self,
        expected: &BTreeMap<NodeName, Expected>,
        timing: Timing,
        now: Moment,
    ) -> Vec<Question> {
        let peers = self.count();
        let ask = |(node, peer): (&NodeName, &mut Peer)| {
            peer.ask(expected.get(node).and_then(|pod| pod.address), timing, peers, now)
        };
        self.heard.iter_mut().filter(|(_, peer)| !peer.flags.leaving).filter_map(ask).collect()
    }

    /// An address answered from this MAC.
    pub(super) fn answered(&mut self, address: IpAddr, from: Mac) {
        self.heard.values_mut().for_each(|peer| peer.answered(address, from));
    }

    pub(super) fn next_wake(&self, timing: Timing, now: Moment) -> Option<Moment> {
        self.heard.values().map(|peer| peer.wakes(timing, self.count(), now)).min()
    }

    /// The heard-set of one hello: who is not suspected. More peers than a hello holds take turns, a window further each time: with up to four
    /// windows everybody is still named within a hold time.
    pub(super) fn heard_set(&self, sequence: u64, now: Moment) -> Vec<u32> {
        let heard: Vec<u32> = self.heard.values().filter(|peer| peer.is_speaking(now)).map(|peer| peer.hash).collect();
        let windows = u64::try_from(heard.len().div_ceil(MAX_HEARD).max(1)).unwrap_or(1);
        let skip = usize::try_from(sequence % windows).unwrap_or(0) * MAX_HEARD;
        heard.into_iter().skip(skip).take(MAX_HEARD).collect()
    }

    /// Whose place is kept while they restart, as hashes.
    pub(super) fn kept(&self) -> impl Iterator<Item = u32> {
        self.heard.values().filter(|peer| peer.ready && is_restarting(peer.state)).map(|peer| peer.hash)
    }

    /// Whose place those keep who take part, as hashes; `None` when nobody does.
    pub(super) fn kept_by_others(&self, now: Moment) -> Option<BTreeSet<u32>> {
        let mut keepers = self.heard.values().filter_map(|peer| peer.keeps(now)).peekable();
        keepers.peek()?;
        Some(keepers.flatten().copied().collect())
    }

    /// Keeps the places that others keep.
    pub(super) fn keep_all(&mut self, kept: &BTreeSet<u32>, now: Moment) {
        self.heard.values_mut().filter(|peer| kept.contains(&peer.hash)).for_each(|peer| peer.keep(now));
    }

    pub(super) fn ever_heard(&self, node: &NodeName) -> bool {
        self.ever.contains(node)
    }

    /// Takes what the API shows. Forgets that somebody was heard once, when it shows no ready speaker there any more: its next one starts anew.
    pub(super) fn expect(&mut self, expected: &BTreeMap<NodeName, Expected>, now: Moment) {
        for (node, peer) in &mut self.heard {
            peer.expect(expected.get(node), now);
        }
        let heard = &self.heard;
        self.ever.retain(|node| heard.contains_key(node) || expected.get(node).is_some_and(|pod| pod.ready));
    }

    /// Whether frames of it arrive here.
    pub(super) fn hears_frames_of(&self, node: &NodeName, now: Moment) -> bool {
        self.heard.get(node).is_some_and(|peer| !peer.by_datagram && peer.is_speaking(now))
    }

    pub(super) fn get(&self, node: &NodeName) -> Option<&Peer> {
        self.heard.get(node)
    }

    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Peer)> {
        self.heard.iter()
    }
}
