//! Which speakers are there on one link.
//!
//! One state machine per link: hellos, answers to asks and deadlines in; who is a member, which frames to send and the next deadline out.
//! The rules, in the order of DESIGN section 5:
//!
//! 1. A peer is a member while its hellos come. After two silent intervals it is suspected: its kernel is asked ([`echo`]).
//! 2. Silent, its kernel too, and heard by no peer that is heard here: it is gone. Who says that it leaves is gone at once. Where a kernel
//!    answers no asks, the hold time alone decides.
//! 3. Silent or saying that it restarts, while its kernel answers: its place is kept for a grace, and it is asked on. Until it is back and
//!    ready, somebody stands in for it; who that is says [`crate::ownership::Electorate::stand_in`].
//! 4. A peer that the API shows as running but whose hellos never come is *presumed* while its address answers our asks.
//! 5. A name that is no Node is no member.
//! 6. Absence is believed only after listening: at start, when the link comes up, and after a late wake-up.
//! 7. Who is in nobody's heard-set does not answer: it hears, but is not heard.
//! 8. Whose hellos come and name nobody, and whose kernel does not answer either, is gone until that changes: it is heard, but does not hear
//!    ([`hearing`]).

mod asks;
mod datagrams;
mod echo;
mod hearing;
mod opinions;
mod peer;
mod peers;
mod reasons;
#[cfg(test)]
mod tests;
mod types;

use crate::{
    LinkName, NodeName,
    ownership::FORCE,
    time::{Moment, Timing},
};
use asks::{Asks, Unheard};
use herald_wire::{
    Mac,
    hello::{Flags, Hello, IfName, MAX_KEPT, peer_hash},
};
use peer::{Judged, Peer, State};
pub use peers::{Gone, Ignored};
use peers::{Heard, Peers};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
pub use types::{Change, Expected, Frame, Identity, Member, Roster, Speaking, Standing};

/// How long the place of a restarting speaker is kept at least.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long it is kept while the API shows a pod there, also one that cannot start yet: its image is being pulled.
pub const GRACE_WITH_POD: Duration = Duration::from_secs(600);
/// How long the API may show no pod: between the old one and the new one of a DaemonSet there is none.
pub const UNSHOWN: Duration = Duration::from_secs(5);
/// So many peers' hellos of one interval, however long it is, fit into a socket (208 KiB by Linux's default, 2 to 4 KiB each).
const FEW: usize = 40;
/// Of more peers, so many hellos come in this time at most: see [`Membership::interval`].
const MOST_WAIT: Duration = Duration::from_millis(40);
/// How often the node of a restarting speaker is asked.
const RESTARTING_EVERY: Duration = Duration::from_millis(100);

/// The membership of one link.
#[derive(Debug)]
pub struct Membership {
    me: Identity,
    /// How heard-sets name this node.
    hash: u32,
    timing: Timing,
    standing: Standing,
    /// When the current listening ends at the earliest.
    listen_until: Moment,
    /// When this machine was last woken; hellos wake it every interval.
    last_wake: Moment,
    /// When it was before it woke up [`Late`](Standing::Late).
    away_since: Moment,
    next_hello: Moment,
    /// How many were said on this link.
    hellos: u64,
    told: Option<Flags>,
    /// Until when nothing is judged, because the wake-up was late and hellos may wait in the socket.
    judge_after: Moment,
    heard_by_others: Moment,
    /// When a peer last said that it keeps this speaker's place.
    kept_by_others: Option<Moment>,
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
            hash: peer_hash(me.cluster, me.node.as_str()),
            me,
            timing,
            standing: Standing::Listening,
            listen_until: now + timing.listen(),
            last_wake: now,
            away_since: now,
            next_hello: now,
            hellos: 0,
            told: None,
            judge_after: now,
            heard_by_others: now,
            kept_by_others: None,
            roster: None,
            peers: Peers::default(),
            asks: Asks::default(),
            twins: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// Takes a hello that arrived on this link from this MAC; its authenticity has been checked. `by_datagram`: as unicast UDP.
    ///
    /// # Errors
    /// It says nothing about a peer, with the reason.
    pub fn hear(&mut self, hello: &Hello, from: Mac, by_datagram: bool, now: Moment) -> Result<(), Ignored> {
        let node = NodeName::new(hello.node.as_str());
        if node == self.me.node {
            if hello.incarnation != self.me.incarnation {
                return Err(Ignored::OwnName);
            }
            self.twins.insert((hello.link, from), now);
            return Err(Ignored::OwnFrame);
        }
        let hears_me = hello.heard.contains(&self.hash);
        if hears_me {
            self.heard_by_others = now;
        }
        // Who takes no part yet knows no better than this node: when all start at once, nobody's place was kept.
        if hello.flags.ready && hello.kept.contains(&self.hash) {
            self.kept_by_others = Some(now);
        }
        let heard = self.peers.hear(&node, hello, from, by_datagram, hears_me, now)?;
        let change = match heard {
            Heard::New => {
                if self.asks.heard(&node) {
                    self.peers.keep(&node, now);
                }
                Change::Joined(node)
            }
            Heard::Readiness(ready) => Change::Ready(node, ready),
            Heard::Leaving => Change::Left(node, Gone::Leaving),
            Heard::Restarting => Change::Restarting(node),
            Heard::Back => Change::Back(node),
            Heard::DataPlane(plane) => Change::DataPlane(node, plane),
            Heard::Links => Change::Links(node),
            Heard::Same => return Ok(()),
        };
        self.changes.push(change);
        Ok(())
    }

    /// Takes an answer to an ask: that address is there, at this MAC.
    pub fn answered(&mut self, address: IpAddr, from: Mac, now: Moment) {
        for (node, heard) in self.peers.answered(address, from, now) {
            self.changes.push(if heard == Heard::New { Change::Joined(node) } else { Change::Ready(node, true) });
        }
        for (node, awaited) in self.asks.answered(address, from) {
            self.changes.push(if awaited { Change::Restarting(node) } else { Change::Presumed(node, true) });
        }
    }

    /// Takes the newest word of the API.
    pub fn set_roster(&mut self, roster: Roster, now: Moment) {
        let listening = self.standing == Standing::Listening;
        self.peers.expect(&roster.expected, now);
        self.asks.expect(&roster.expected, |node| self.peers.ever_heard(node), listening, now);
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
        self.peers.excuse();
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
        let before = std::mem::replace(&mut self.last_wake, now);
        let slept = now.since(before);
        if now >= self.next_hello {
            // Awake anyway, and everything received was taken just now: after a look at everybody nobody who is well needs another one before
            // the next hello.
            self.peers.look_again(now);
        }
        if slept > self.timing.hold() {
            // A suspended or frozen machine: what it knows is old, and others may answer for its addresses by now.
            self.judge_after = now + self.timing.interval();
            match self.standing {
                Standing::Present | Standing::Late => {
                    if self.standing == Standing::Present {
                        self.away_since = before;
                    }
                    self.listen(Standing::Late, now, self.timing.interval());
                }
                Standing::Listening => self.listen_until = self.listen_until.max(now + self.timing.interval()),
                Standing::Unheard => {}
            }
        } else if slept > self.timing.interval() + self.timing.interval() / 2 {
            // Somewhat late: hellos may still wait in the socket. Read them before calling anybody silent.
            self.judge_after = now + self.timing.interval() / 2;
        }
        if slept >= self.timing.suspicion() {
            // Others did not hear this node meanwhile, and need not name it.
            self.peers.excuse();
        }
        if now < self.judge_after {
            return;
        }
        for (node, judged) in self.peers.judge(self.timing, self.interval(), now) {
            match judged {
                Judged::Gone(why) => self.changes.push(Change::Left(node, why)),
                Judged::Restarting => self.changes.push(Change::Restarting(node)),
                Judged::Unready => self.changes.push(Change::Ready(node, false)),
                Judged::Forgotten => {}
            }
        }
        for node in self.peers.expire_links(now) {
            self.changes.push(Change::Links(node));
        }
        let listening = self.standing == Standing::Listening;
        for node in self.asks.expire(self.timing, listening, now) {
            self.changes.push(Change::Presumed(node, false));
        }
        let hold = self.hold();
        self.twins.retain(|_, heard| now.since(*heard) < hold);
        self.judge_standing(now);
    }

    fn judge_standing(&mut self, now: Moment) {
        // Of one that hears nobody it does not follow that this node is not heard.
        let counts = |peer: &Peer| !peer.flags.leaving && peer.is_speaking(now) && !peer.hearing.may_be_deaf();
        let hears_somebody = self.peers.iter().any(|(_, peer)| counts(peer));
        if !hears_somebody {
            self.heard_by_others = self.heard_by_others.max(now);
        }
        let unheard = hears_somebody && now.since(self.heard_by_others) >= self.hold();
        match self.standing {
            Standing::Listening | Standing::Late => {
                if now >= self.listen_until && self.roster.is_some() && self.asks.resolved(now, self.timing) {
                    if self.standing == Standing::Late
                        && let Some(until) = self.may_be_replaced(now)
                    {
                        if now >= until {
                            self.listen(Standing::Listening, now, self.timing.interval());
                        }
                        return;
                    }
                    self.heard_by_others = self.heard_by_others.max(now);
                    self.follow_others(now);
                    self.set_standing(Standing::Present);
                }
            }
            Standing::Present if unheard => self.set_standing(Standing::Unheard),
            Standing::Unheard if !unheard => self.listen(Standing::Listening, now, self.timing.listen()),
            Standing::Present | Standing::Unheard => {}
        }
    }

    /// From when on it is believed that others have taken over what this node had before it woke up late, as they take part and do not keep its
    /// place: who keeps it says so once it has heard from this node again. Away for longer, what it knew of hand-overs is old.
    fn may_be_replaced(&self, now: Moment) -> Option<Moment> {
        let takes_part = |peer: &Peer| peer.flags.ready && now.since(peer.heard) < peer.hold();
        let others = || self.peers.iter().any(|(_, peer)| takes_part(peer));
        if now.since(self.away_since) >= FORCE {
            return Some(self.listen_until);
        }
        (!self.was_kept(now) && others()).then(|| self.listen_until + self.timing.hold())
    }

    /// Whose place is kept while they restart, who just started cannot know: those say who take part. When nobody does, all start at once, and
    /// everybody who is expected is awaited.
    fn follow_others(&mut self, now: Moment) {
        let Some(kept) = self.peers.kept_by_others(now) else { return };
        self.peers.keep_all(&kept, now);
        let cluster = self.me.cluster;
        self.asks.await_only(|node| kept.contains(&peer_hash(cluster, node.as_str())));
    }

    /// Whose place is kept while they restart, as hashes.
    fn kept(&self) -> Vec<u32> {
        let awaited = self.asks.present().filter(|peer| peer.awaited);
        let awaited = awaited.map(|peer| peer_hash(self.me.cluster, peer.node.as_str()));
        self.peers.kept().chain(awaited).take(MAX_KEPT).collect()
    }

    /// The frames that are due. `sequence` is the speaker's counter, shared by all its links.
    pub fn frames(&mut self, speaking: &Speaking, sequence: &mut u64, now: Moment) -> Vec<Frame> {
        let mut frames = Vec::new();
        let flags = Flags {
            ready: speaking.ready && self.standing == Standing::Present,
            leaving: speaking.leaving,
            // Late, it is away only for others: whoever did not notice keeps its place now.
            restarting: speaking.restarting || self.standing == Standing::Late,
            data_plane: speaking.data_plane,
            has_health: speaking.has_health,
        };
        // A change of readiness does not wait for the next interval: others act on it. Last words are repeated: nobody asks for them again.
        let last_words = speaking.leaving || speaking.restarting;
        let news = self.told != Some(flags) || last_words || speaking.hurries;
        if now >= self.next_hello || news {
            *sequence += 1;
            self.hellos += 1;
            self.told = Some(flags);
            self.next_hello = now + self.jittered(*sequence);
            let interval = self.interval().as_millis();
            let hello = Hello {
                cluster: self.me.cluster,
                node: self.me.node.as_str().to_owned(),
                incarnation: self.me.incarnation,
                sequence: *sequence,
                interval_ms: u16::try_from(interval).unwrap_or(u16::MAX),
                flags,
                link: speaking.link,
                links: speaking.links.to_vec(),
                heard: self.peers.heard_set(self.hellos, now),
                kept: self.kept(),
                moves: Some(Vec::new()),
                conflicts: Vec::new(),
                stamp: speaking.stamp,
                routine: !news,
            };
            frames.push(Frame::Hello(Box::new(hello), self.unheard_addresses(now)));
        }
        if let Some(roster) = &self.roster {
            let asks = self.peers.asks(&roster.expected, self.timing, now);
            frames.extend(asks.into_iter().map(|(address, to)| Frame::Ask(address, to)));
        }
        self.peers.looked(self.timing, self.interval(), now);
        if now < self.judge_after {
            self.peers.look_again(self.judge_after);
        }
        let unheard = self.asks.due(now, self.timing, self.standing);
        frames.extend(unheard.into_iter().map(|address| Frame::Ask(address, None)));
        frames
    }

    /// Peers that the API shows here and whose frames are not heard, or that do not hear those of this node: they get hellos as unicast too.
    fn unheard_addresses(&self, now: Moment) -> Vec<IpAddr> {
        let Some(roster) = &self.roster else { return Vec::new() };
        let needs = |node| !self.peers.hears_frames_of(node, now) || self.peers.wants_datagrams(node, now);
        let running = roster.expected.iter().filter(|(node, pod)| pod.ready && needs(node));
        running.filter_map(|(_, pod)| pod.address).collect()
    }

    /// Between two hellos of a speaker here. A link carries at most about 1,000 of them a second: with more than 50 members at 50 ms the interval
    /// stretches.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let members = u32::try_from(self.peers.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.timing.interval().max(Duration::from_millis(1).saturating_mul(members))
    }

    /// For how long what others say here counts: those that started together speak together, too.
    fn hold(&self) -> Duration {
        Timing::hold_of(self.interval())
    }

    /// Up to a tenth shorter, different for each node and hello, so that nodes do not speak in chorus. No randomness: a hash.
    fn jittered(&self, sequence: u64) -> Duration {
        let interval = self.interval();
        let spread = u64::from(self.hash).wrapping_add(sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        interval - interval / 10 * u32::try_from(spread).unwrap_or(0) / 256
    }

    /// Whether the next hello of a peer that is well need not wake this machine: nobody's word is waited for, and nothing is to be told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.standing == Standing::Present && self.changes.is_empty() && self.peers.are_well()
    }

    /// Until when routine hellos may wait in the kernel: for no longer than an interval, and no more of them than a socket has room for.
    fn take_by(&self) -> Moment {
        let wait = if self.peers.len() > FEW { self.timing.interval().min(MOST_WAIT) } else { self.timing.interval() };
        self.last_wake + wait
    }

    /// When this machine wants to be woken at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Moment {
        [self.peers.next_wake(), self.asks.next(self.timing, self.last_wake)]
            .into_iter()
            .flatten()
            .map(|deadline| deadline.max(self.judge_after))
            .chain([self.next_hello, self.take_by()])
            .chain(
                matches!(self.standing, Standing::Listening | Standing::Late)
                    .then_some(self.listen_until)
                    .filter(|until| *until > self.last_wake),
            )
            .min()
            .unwrap_or(self.next_hello)
    }

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
            links: peer.names().map(|name| name.as_str().into()).collect(),
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
        self.peers.get(node).map_or_else(unheard, |peer| peer.mac(links, prefers))
    }

    /// Whether a member's hellos name this MAC address as one of its links', or a member answers there that is never heard.
    #[must_use]
    pub fn is_of_a_member(&self, mac: Mac) -> bool {
        self.peers.iter().any(|(_, peer)| peer.has(mac)) || self.asks.present().any(|peer| peer.mac == mac)
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

    /// Whether peers kept this speaker's place until now: it goes on where it was, and its neighbours need not be told.
    #[must_use]
    pub fn was_kept(&self, now: Moment) -> bool {
        self.kept_by_others.is_some_and(|kept| now.since(kept) < self.hold())
    }

    /// What each peer that is heard here calls its links, on whatever segment they are.
    pub fn link_names(&self) -> impl Iterator<Item = (&NodeName, &[IfName])> {
        self.peers.iter().map(|(node, peer)| (node, peer.links()))
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

    /// This speaker's own standing here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Indexes of this node's other links whose hellos arrive here.
    pub fn twins(&self) -> impl Iterator<Item = (u8, Mac)> + '_ {
        self.twins.keys().copied()
    }

    /// Whether what this node has here is decided on. Late, it has that still, and neither answers nor says anything about it.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        matches!(self.standing, Standing::Present | Standing::Late)
    }

    /// Until when answers given on this link are safe: after that, without a further wake, others may have taken over.
    #[must_use]
    pub fn good_until(&self) -> Option<Moment> {
        (self.standing == Standing::Present).then(|| self.last_wake + self.timing.hold())
    }

    /// How often a peer was suspected so far: two of its hellos in a row did not come, and its node was asked.
    #[must_use]
    pub const fn suspicions(&self) -> u64 {
        self.peers.suspicions()
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}
