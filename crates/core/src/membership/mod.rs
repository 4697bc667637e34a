//! Which speakers are there on one link.
//!
//! One state machine per link: hellos, answers to asks and deadlines in; who is a member, which frames to send and the next deadline out.
//! The rules, in the order of DESIGN section 5:
//!
//! 1. A peer is a member while its hellos come; silent for its hold time, or saying that it leaves, it is gone.
//! 2. A name that is no Node is no member.
//! 3. A peer that the API shows as running but whose hellos never come is *presumed* while its address answers our asks.
//! 4. Absence is believed only after listening: at start, when the link comes up, and after a late wake-up.
//! 5. Who is in nobody's heard-set does not answer: it hears, but is not heard.
//!
//! To come at this place: suspicion and echo before rule 1 declares a peer gone, the grace of a restarting owner, and its stand-in.

mod asks;
mod peers;
mod reasons;
#[cfg(test)]
mod tests;

use crate::{
    LinkName, NodeName, Set,
    time::{Moment, Timing},
};
use asks::Asks;
use herald_wire::{
    Mac,
    hello::{ClusterId, Flags, Hello, IfName, LinkInfo, Stamp},
};
pub use peers::{Gone, Ignored};
use peers::{Heard, Peer, Peers};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
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
    /// Other nodes with a ready speaker pod and an InternalIP in a subnet of this link, with that address.
    pub expected: BTreeMap<NodeName, IpAddr>,
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
    /// Its usable links.
    pub links: Vec<LinkInfo>,
    /// Index of this link among them.
    pub link: u8,
    /// The state of the cluster that it decides on.
    pub stamp: Stamp,
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
    /// What its links on this segment are called on its node; empty when that is not known (presumed, or an older speaker).
    pub links: Set<LinkName>,
}

/// A frame to be sent on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The hello, to the group and, as unicast UDP, to these peers that are not heard on the link.
    Hello(Hello, Vec<IpAddr>),
    /// Ask this address whether it is there (ARP request or Neighbor Solicitation).
    Ask(IpAddr),
}

/// What changed on the link: for logs, metrics and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// First hello of a peer, or of its new incarnation.
    Joined(NodeName),
    /// A peer is gone.
    Left(NodeName, Gone),
    /// A peer says that it may, or may not any more, own addresses.
    Ready(NodeName, bool),
    /// A peer is counted as present though never heard (see rule 3), or not any more.
    Presumed(NodeName, bool),
    /// Which links a peer has here, or what they are called, is other than before.
    Links(NodeName),
    /// This speaker's own standing.
    Standing(Standing),
}

/// The membership of one link.
#[derive(Debug)]
pub struct Membership {
    me: Identity,
    timing: Timing,
    standing: Standing,
    /// When the current listening ends at the earliest.
    listen_until: Moment,
    /// When this machine was last woken; hellos wake it every interval.
    last_wake: Moment,
    next_hello: Moment,
    told: Option<Flags>,
    /// Until when nothing is judged, because the wake-up was late and hellos may wait in the socket.
    judge_after: Moment,
    heard_by_others: Moment,
    roster: Option<Roster>,
    peers: Peers,
    asks: Asks,
    /// Other links of this node whose hellos arrive here: the same segment.
    twins: BTreeMap<(u8, Mac), Moment>,
    changes: Vec<Change>,
}

impl Membership {
    /// Starts listening.
    #[must_use]
    pub fn new(me: Identity, timing: Timing, now: Moment) -> Self {
        Self {
            me,
            timing,
            standing: Standing::Listening,
            listen_until: now + timing.listen(),
            last_wake: now,
            next_hello: now,
            told: None,
            judge_after: now,
            heard_by_others: now,
            roster: None,
            peers: Peers::default(),
            asks: Asks::default(),
            twins: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Takes a hello that arrived on this link from this MAC; its authenticity has been checked.
    ///
    /// # Errors
    /// It says nothing about a peer, with the reason.
    pub fn hear(&mut self, hello: &Hello, from: Mac, now: Moment) -> Result<(), Ignored> {
        let node = NodeName::new(hello.node.as_str());
        if node == self.me.node {
            if hello.incarnation != self.me.incarnation {
                return Err(Ignored::OwnName);
            }
            self.twins.insert((hello.link, from), now);
            return Err(Ignored::OwnFrame);
        }
        let me = herald_wire::hello::peer_hash(self.me.cluster, self.me.node.as_str());
        if hello.heard.contains(&me) {
            self.heard_by_others = now;
        }
        match self.peers.hear(&node, hello, from, self.timing, now)? {
            Heard::New => {
                self.asks.heard(&node);
                self.changes.push(Change::Joined(node));
            }
            Heard::Readiness(ready) => self.changes.push(Change::Ready(node, ready)),
            Heard::Leaving => self.changes.push(Change::Left(node, Gone::Leaving)),
            Heard::Links => self.changes.push(Change::Links(node)),
            Heard::Same => {}
        }
        Ok(())
    }

    /// Takes an answer to an ask: that address is there.
    pub fn answered(&mut self, address: IpAddr, now: Moment) {
        for (node, presumed) in self.asks.answered(address, now) {
            self.changes.push(Change::Presumed(node, presumed));
        }
    }

    /// Takes the newest word of the API.
    pub fn set_roster(&mut self, roster: Roster) {
        for node in self.asks.expect(&roster.expected, |node| self.peers.ever_heard(node)) {
            self.changes.push(Change::Presumed(node, false));
        }
        self.peers.forget_except(&roster.expected);
        self.roster = Some(roster);
    }

    /// The link came up again, or its identity changed: listen before believing anything.
    pub fn restart(&mut self, now: Moment) {
        self.last_wake = now;
        self.listen(Standing::Listening, now, self.timing.listen());
        self.next_hello = now;
    }

    fn listen(&mut self, standing: Standing, now: Moment, how_long: Duration) {
        self.listen_until = now + how_long;
        self.heard_by_others = now + how_long;
        self.set_standing(standing);
    }

    fn set_standing(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.changes.push(Change::Standing(standing));
        }
    }

    /// Judges deadlines. To be called after everything received has been taken, at every deadline at the latest.
    pub fn wake(&mut self, now: Moment) {
        let slept = now.since(self.last_wake);
        self.last_wake = now;
        if slept > self.timing.hold() {
            // A suspended or frozen machine: what it knows is old, and others may answer for its addresses by now.
            self.judge_after = now + self.timing.interval();
            self.listen(Standing::Late, now, self.timing.interval());
        } else if slept > self.timing.interval() + self.timing.interval() / 2 {
            // Somewhat late: hellos may still wait in the socket. Read them before calling anybody silent.
            self.judge_after = now + self.timing.interval() / 2;
        }
        if now < self.judge_after {
            return;
        }
        for node in self.peers.expire(now) {
            self.changes.push(Change::Left(node, Gone::Silent));
        }
        for node in self.peers.expire_links(now) {
            self.changes.push(Change::Links(node));
        }
        for node in self.asks.expire(now) {
            self.changes.push(Change::Presumed(node, false));
        }
        let hold = self.timing.hold();
        self.twins.retain(|_, heard| now.since(*heard) < hold);
        self.judge_standing(now);
    }

    fn judge_standing(&mut self, now: Moment) {
        let hears_somebody = self.peers.iter().any(|(_, peer)| !peer.flags.leaving);
        if !hears_somebody {
            self.heard_by_others = self.heard_by_others.max(now);
        }
        let unheard = hears_somebody && now.since(self.heard_by_others) >= self.timing.hold();
        match self.standing {
            Standing::Listening | Standing::Late => {
                if now >= self.listen_until && self.roster.is_some() && self.asks.resolved(now, self.timing) {
                    self.heard_by_others = self.heard_by_others.max(now);
                    self.set_standing(Standing::Present);
                }
            }
            Standing::Present if unheard => self.set_standing(Standing::Unheard),
            Standing::Unheard if !unheard => self.listen(Standing::Listening, now, self.timing.listen()),
            Standing::Present | Standing::Unheard => {}
        }
    }

    /// The frames that are due. `sequence` is the speaker's counter, shared by all its links.
    pub fn frames(&mut self, speaking: &Speaking, sequence: &mut u64, now: Moment) -> Vec<Frame> {
        let mut frames = Vec::new();
        let flags = Flags {
            ready: speaking.ready && self.standing == Standing::Present,
            leaving: speaking.leaving,
            restarting: speaking.restarting,
        };
        // A change of readiness does not wait for the next interval: others act on it.
        if now >= self.next_hello || self.told != Some(flags) {
            *sequence += 1;
            self.told = Some(flags);
            self.next_hello = now + self.jittered(*sequence);
            let interval = self.effective_interval().as_millis();
            let hello = Hello {
                cluster: self.me.cluster,
                node: self.me.node.as_str().to_owned(),
                incarnation: self.me.incarnation,
                sequence: *sequence,
                interval_ms: u16::try_from(interval).unwrap_or(u16::MAX),
                flags,
                link: speaking.link,
                links: speaking.links.clone(),
                heard: self.peers.heard_set(self.me.cluster, *sequence),
                stamp: speaking.stamp,
            };
            frames.push(Frame::Hello(hello, self.unheard_addresses()));
        }
        frames.extend(self.asks.due(now, self.timing, self.standing).into_iter().map(Frame::Ask));
        frames
    }

    /// Peers that the API shows here and that are not heard: they get hellos as unicast too.
    fn unheard_addresses(&self) -> Vec<IpAddr> {
        let Some(roster) = &self.roster else { return Vec::new() };
        roster.expected.iter().filter(|(node, _)| !self.peers.contains(node)).map(|(_, address)| *address).collect()
    }

    /// A link carries at most about 1,000 hellos a second: with more than 100 members at 100 ms the interval stretches.
    fn effective_interval(&self) -> Duration {
        let members = u32::try_from(self.peers.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.timing.interval().max(Duration::from_millis(1).saturating_mul(members))
    }

    /// Up to a tenth shorter, different for each node and hello, so that nodes do not speak in chorus. No randomness: a hash.
    fn jittered(&self, sequence: u64) -> Duration {
        let interval = self.effective_interval();
        let hash = herald_wire::hello::peer_hash(self.me.cluster, self.me.node.as_str());
        let spread = u64::from(hash).wrapping_add(sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        interval - interval / 10 * u32::try_from(spread).unwrap_or(0) / 256
    }

    /// When this machine wants to be woken at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Moment {
        [self.peers.next_expiry(), self.asks.next(self.timing)]
            .into_iter()
            .flatten()
            .map(|deadline| deadline.max(self.judge_after))
            .chain([self.next_hello])
            .chain(
                matches!(self.standing, Standing::Listening | Standing::Late)
                    .then_some(self.listen_until)
                    .filter(|until| *until > self.last_wake),
            )
            .min()
            .unwrap_or(self.next_hello)
    }

    /// Every peer that counts: heard or presumed, and a Node of the cluster.
    #[must_use]
    pub fn members(&self) -> BTreeMap<NodeName, Member> {
        let Some(roster) = &self.roster else { return BTreeMap::new() };
        let member = |peer: &Peer| Member {
            ready: peer.flags.ready,
            presumed: false,
            links: peer.here().map(|name| name.as_str().into()).collect(),
        };
        let there = self.peers.iter().filter(|(_, peer)| !peer.flags.leaving);
        let heard = there.map(|(node, peer)| (node.clone(), member(peer)));
        let unheard = || Member { ready: true, presumed: true, links: Set::default() };
        let presumed = self.asks.present().map(|node| (node.clone(), unheard()));
        // A peer that was heard is never presumed, so no name comes twice.
        heard.chain(presumed).filter(|(node, _)| roster.nodes.contains(node)).collect()
    }

    /// What each peer that is heard here calls its links, on whatever segment they are.
    pub fn link_names(&self) -> impl Iterator<Item = (&NodeName, &[IfName])> {
        self.peers.iter().map(|(node, peer)| (node, peer.links()))
    }

    /// Who is heard here, and when last.
    pub fn heard(&self) -> impl Iterator<Item = (&NodeName, Moment)> {
        self.peers.iter().map(|(node, peer)| (node, peer.heard()))
    }

    /// This speaker's own standing here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Indexes of this node's other links whose hellos arrive here.
    pub fn twins(&self) -> impl Iterator<Item = (u8, Mac)> + '_ {
        self.twins.keys().copied()
    }

    /// Until when answers given on this link are safe: after that, without a further wake, others may have taken over.
    #[must_use]
    pub fn good_until(&self) -> Option<Moment> {
        (self.standing == Standing::Present).then(|| self.last_wake + self.timing.hold())
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
