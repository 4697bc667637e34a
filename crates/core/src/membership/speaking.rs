//! What this speaker says on the link, and how often.

use super::{Frame, Membership, Speaking, Standing};
use crate::time::{Moment, Timing};
use herald_wire::hello::{Flags, Hello, MAX_KEPT, peer_hash};
use std::{net::IpAddr, time::Duration};

impl Membership {
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

    /// Whose place is kept while they restart, as hashes.
    fn kept(&self) -> Vec<u32> {
        let awaited = self.asks.present().filter(|peer| peer.awaited);
        let awaited = awaited.map(|peer| peer_hash(self.me.cluster, peer.node.as_str()));
        self.peers.kept().chain(awaited).take(MAX_KEPT).collect()
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
    pub(super) fn hold(&self) -> Duration {
        Timing::hold_of(self.interval())
    }

    /// Up to a tenth shorter, different for each node and hello, so that nodes do not speak in chorus. No randomness: a hash.
    fn jittered(&self, sequence: u64) -> Duration {
        let interval = self.interval();
        let spread = u64::from(self.hash).wrapping_add(sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        interval - interval / 10 * u32::try_from(spread).unwrap_or(0) / 256
    }
}
