//! Peers that are heard.

use crate::{
    NodeName,
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{ClusterId, Flags, Hello, IfName, MAX_HEARD, Stamp, peer_hash},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Why a peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Gone {
    /// No hello for its hold time.
    Silent,
    /// It said so.
    Leaving,
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

/// A peer that is heard.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    incarnation: u64,
    sequence: u64,
    heard: Moment,
    hold: Duration,
    pub(super) flags: Flags,
    /// Names of its links whose hellos arrive here: more than one where two of its links are on this segment.
    here: Vec<(IfName, Moment)>,
    /// Names of all its links, those that it said.
    links: Vec<IfName>,
    // Kept for what decides between two announcers that hear each other, and for echo: both come with take-over after echo.
    _from: Mac,
    _stamp: Stamp,
}

/// What a hello told about a peer.
pub(super) enum Heard {
    New,
    Readiness(bool),
    Leaving,
    /// Which of its links are on this segment, or what its links are called.
    Links,
    Same,
}

impl Peer {
    /// When its last hello came.
    pub(super) fn heard(&self) -> Moment {
        self.heard
    }

    /// Names of its links on this segment; empty when it does not say them.
    pub(super) fn here(&self) -> impl Iterator<Item = IfName> {
        self.here.iter().map(|(name, _)| *name)
    }

    /// Names of all its links, as far as said.
    pub(super) fn links(&self) -> &[IfName] {
        &self.links
    }

    /// Takes the names; whether anything is other than before.
    fn take_names(&mut self, hello: &Hello, now: Moment) -> bool {
        let mut changed = false;
        if let Some(name) = hello.links.get(usize::from(hello.link)).and_then(|link| link.name) {
            if let Some((_, heard)) = self.here.iter_mut().find(|(own, _)| *own == name) {
                *heard = now;
            } else {
                self.here.push((name, now));
                self.here.sort_unstable();
                changed = true;
            }
        }
        let names = || hello.links.iter().filter_map(|link| link.name);
        if !names().eq(self.links.iter().copied()) {
            self.links = names().collect();
            changed = true;
        }
        changed
    }
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    heard: BTreeMap<NodeName, Peer>,
    /// Everybody heard since the API last stopped showing its pod: such a peer is never presumed.
    ever: BTreeSet<NodeName>,
}

impl Peers {
    pub(super) fn hear(
        &mut self,
        node: &NodeName,
        hello: &Hello,
        from: Mac,
        timing: Timing,
        now: Moment,
    ) -> Result<Heard, Ignored> {
        let before = self.heard.get_mut(node);
        if before.as_ref().is_some_and(|p| (p.incarnation, p.sequence) >= (hello.incarnation, hello.sequence)) {
            return Err(Ignored::NotNewer);
        }
        let told = match &before {
            _ if hello.flags.leaving && !before.as_ref().is_some_and(|p| p.flags.leaving) => Heard::Leaving,
            None => Heard::New,
            Some(p) if p.incarnation != hello.incarnation => Heard::New,
            Some(p) if p.flags.ready != hello.flags.ready => Heard::Readiness(hello.flags.ready),
            Some(_) => Heard::Same,
        };
        // The sender's own interval counts, and the receiver's patience: a link under load stretches the one.
        let interval = Duration::from_millis(u64::from(hello.interval_ms))
            .clamp(Duration::from_millis(10), Duration::from_secs(10));
        let same = before.filter(|peer| peer.incarnation == hello.incarnation);
        let (here, links) = same
            .map_or_else(Default::default, |peer| (std::mem::take(&mut peer.here), std::mem::take(&mut peer.links)));
        let mut peer = Peer {
            incarnation: hello.incarnation,
            sequence: hello.sequence,
            heard: now,
            hold: interval * timing.missed(),
            flags: hello.flags,
            here,
            links,
            _from: from,
            _stamp: hello.stamp,
        };
        let renamed = peer.take_names(hello, now);
        self.heard.insert(node.clone(), peer);
        self.ever.insert(node.clone());
        Ok(if matches!(told, Heard::Same) && renamed { Heard::Links } else { told })
    }

    /// Forgets links of peers that fell silent here while others of the same peer are heard; gives back whose.
    pub(super) fn expire_links(&mut self, now: Moment) -> Vec<NodeName> {
        let mut changed = Vec::new();
        for (node, peer) in self.heard.iter_mut().filter(|(_, peer)| peer.here.len() > 1) {
            let before = peer.here.len();
            let hold = peer.hold;
            peer.here.retain(|(_, heard)| now.since(*heard) < hold);
            if peer.here.len() != before {
                changed.push(node.clone());
            }
        }
        changed
    }

    /// Takes out who was silent for its hold time.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<NodeName> {
        let silent: Vec<NodeName> = self
            .heard
            .iter()
            .filter(|(_, peer)| now.since(peer.heard) >= peer.hold)
            .map(|(node, _)| node.clone())
            .collect();
        silent.into_iter().filter(|node| self.heard.remove(node).is_some_and(|peer| !peer.flags.leaving)).collect()
    }

    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.heard.values().map(|peer| peer.heard + peer.hold).min()
    }

    /// The heard-set of one hello. More peers than a hello holds take turns, a window further each time: with up to four windows everybody is
    /// still named within a hold time.
    pub(super) fn heard_set(&self, cluster: ClusterId, sequence: u64) -> Vec<u32> {
        let peers = self.heard.len();
        let windows = u64::try_from(peers.div_ceil(MAX_HEARD).max(1)).unwrap_or(1);
        let skip = usize::try_from(sequence % windows).unwrap_or(0) * MAX_HEARD;
        self.heard.keys().skip(skip).take(MAX_HEARD).map(|node| peer_hash(cluster, node.as_str())).collect()
    }

    pub(super) fn ever_heard(&self, node: &NodeName) -> bool {
        self.ever.contains(node)
    }

    /// Forgets that somebody was heard once, when the API shows no ready speaker there any more: its next one starts anew.
    pub(super) fn forget_except<T>(&mut self, expected: &BTreeMap<NodeName, T>) {
        let heard = &self.heard;
        self.ever.retain(|node| heard.contains_key(node) || expected.contains_key(node));
    }

    pub(super) fn contains(&self, node: &NodeName) -> bool {
        self.heard.contains_key(node)
    }

    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Peer)> {
        self.heard.iter()
    }
}
