//! Everybody who is heard, or was lately.

use super::{
    Expected,
    hearing::Hearing,
    peer::{Judged, Peer, Question, State},
};
use crate::{
    NodeName,
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{DataPlane, Hello, MAX_HEARD},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
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
    /// Its hellos come and name nobody, and its node does not answer: nothing reaches it.
    Deaf,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "nothing is heard of it, and its node does not answer",
            Self::Leaving => "it said that it leaves",
            Self::GraceOver => "its node answers, but its speaker did not come back in time",
            Self::Deaf => "its hellos are heard, but nothing reaches it: it hears nobody, and its node does not answer",
        })
    }
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
    /// Its data plane is other than before.
    DataPlane(DataPlane),
    Leaving,
    /// Its speaker restarts; its place is kept.
    Restarting,
    /// Back from a restart, ready.
    Back,
    /// Which of its links are on this segment, or what its links are called.
    Links,
    Same,
}

/// A look at everybody is followed by the next after so long for each of them, about a hundred times what it takes: when hundreds fall silent, each
/// is asked at moments of its own. So is what others say of them.
const LOOK: Duration = Duration::from_micros(10);

#[derive(Debug, Default)]
pub(super) struct Peers {
    heard: BTreeMap<NodeName, Peer>,
    /// Of these, everybody who is not simply alive: what others say of them counts.
    troubled: BTreeSet<NodeName>,
    /// These, and everybody who is asked whether it hears: each hello is looked at at once.
    unwell: BTreeSet<NodeName>,
    /// How heard-sets name those that are heard.
    names: BTreeSet<u32>,
    /// Who was deaf and fell silent: it does not count when it is heard again, before it shows that it hears.
    deaf: BTreeSet<NodeName>,
    /// Everybody heard since the API last stopped showing its pod: such a peer is never presumed.
    ever: BTreeSet<NodeName>,
    /// When to look at everybody next; `None`: nobody is there. A hello of who is alive only puts off what is to be done about it, so on a
    /// link with a thousand members a hello costs no look at the other ones.
    look: Option<Moment>,
    /// When those who are troubled were judged last, and whether a hello or an answer came since.
    judged: Moment,
    told: bool,
    /// Whose kernel was asked and has not answered yet, or not at all.
    asked: BTreeSet<NodeName>,
    /// How often a peer that was alive was suspected.
    suspicions: u64,
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
        hears_me: bool,
        now: Moment,
    ) -> Result<Heard, Ignored> {
        let before = self.heard.get_mut(node);
        if let Some(peer) = before.as_ref().filter(|peer| peer.knows(hello, now)) {
            let same = (peer.incarnation, peer.sequence) == (hello.incarnation, hello.sequence);
            if let Some(peer) = before.filter(|_| same) {
                // It came both ways.
                peer.by_datagram &= by_datagram;
            }
            return Err(Ignored::NotNewer);
        }
        let interval = before.as_ref().map(|p| p.interval);
        let was_deaf = before.as_ref().is_some_and(|p| p.hearing.is_deaf());
        let plane = before.as_ref().map(|p| (p.flags.data_plane, p.flags.has_health));
        let before = before.map(|p| (p.incarnation, p.is_ready(), is_restarting(p.state), p.flags.leaving));
        if before.is_none() {
            self.ever.insert(node.clone());
        }
        let deaf = &mut self.deaf;
        let peer = self.heard.entry(node.clone()).or_insert_with(|| {
            let mut peer = Peer::new(hello, now);
            self.names.insert(peer.hash);
            if deaf.remove(node) {
                peer.hearing = Hearing::DEAF;
            }
            peer
        });
        let relinked = peer.take(hello, from, now);
        peer.by_datagram = by_datagram;
        let (doubted, own) = (peer.hearing.is_doubted(), peer.hash);
        let names_another = || hello.heard.iter().any(|hash| *hash != own && self.names.contains(hash));
        peer.hears(hears_me, hears_me || names_another(), now);
        let deaf = peer.hearing.is_deaf();
        let asked = !doubted && peer.hearing.is_doubted();
        let (ready, restarting) = (peer.is_ready(), is_restarting(peer.state));
        // One that speaks more often than before is silent sooner.
        let sooner = interval.is_none_or(|before| before > peer.interval);
        self.file(node);
        self.told = true;
        for other in self.troubled.iter().filter(|other| *other != node) {
            if let Some(peer) = self.heard.get_mut(other) {
                peer.vouch(node, hello.heard.contains(&peer.hash));
            }
        }
        let left = before.is_some_and(|(.., leaving)| leaving);
        let heard = match before {
            // What it says is old, whatever it is.
            _ if deaf => Heard::Same,
            _ if was_deaf && !hello.flags.leaving => Heard::New,
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
            Some(_) if plane.is_some_and(|plane| plane != (hello.flags.data_plane, hello.flags.has_health)) => {
                Heard::DataPlane(hello.flags.data_plane)
            }
            Some(_) if relinked => Heard::Links,
            Some(_) => Heard::Same,
        };
        if sooner || asked || heard != Heard::Same {
            self.look_again(Moment::default());
        }
        Ok(heard)
    }

    /// Files a peer by its state.
    fn file(&mut self, node: &NodeName) {
        let peer = self.heard.get(node);
        let put = |set: &mut BTreeSet<NodeName>, there: bool| {
            if !there {
                set.remove(node);
            } else if !set.contains(node) {
                set.insert(node.clone());
            }
        };
        put(&mut self.troubled, peer.is_some_and(|peer| peer.state != State::Alive));
        put(&mut self.unwell, peer.is_some_and(|peer| !peer.is_well()));
    }

    /// Looks at everybody then at the latest.
    pub(super) fn look_again(&mut self, when: Moment) {
        self.look = Some(self.look.map_or(when, |look| look.min(when)));
    }

    fn looks(&self, now: Moment) -> bool {
        self.look.is_some_and(|look| look <= now)
    }

    /// What hellos did not name until now says nothing: this node did not speak.
    pub(super) fn excuse(&mut self) {
        self.heard.values_mut().for_each(|peer| peer.hearing.excuse());
    }

    /// Who is heard for the first time counted before: its place is kept until it is ready.
    pub(super) fn keep(&mut self, node: &NodeName, now: Moment) {
        if let Some(peer) = self.heard.get_mut(node) {
            peer.keep(now);
            self.file(node);
            self.look_again(now);
        }
    }

    /// Forgets links of peers that fell silent here while others of the same peer are heard; gives back whose.
    pub(super) fn expire_links(&mut self, now: Moment) -> Vec<NodeName> {
        if !self.looks(now) {
            return Vec::new();
        }
        let changed = self.heard.iter_mut().filter_map(|(node, peer)| peer.expire_links(now).then_some(node));
        changed.cloned().collect()
    }

    /// Judges everybody's silence; takes out who is gone.
    pub(super) fn judge(&mut self, timing: Timing, interval: Duration, now: Moment) -> Vec<(NodeName, Judged)> {
        let peers = self.count();
        let looks = self.looks(now);
        if !looks && self.judges_again().is_none_or(|when| when > now) {
            return Vec::new();
        }
        (self.judged, self.told) = (now, false);
        let troubled: Vec<NodeName> = self.troubled.iter().cloned().collect();
        let mut judged = Vec::new();
        if looks {
            for (node, peer) in &mut self.heard {
                if peer.judge_hearing(timing, peers, interval, now) {
                    judged.push((node.clone(), Judged::Gone(Gone::Deaf)));
                    self.troubled.remove(node);
                }
                if peer.state != State::Alive {
                    continue;
                }
                judged.extend(peer.judge_silence(timing, peers, now).map(|judged| (node.clone(), judged)));
                if peer.state != State::Alive {
                    self.troubled.insert(node.clone());
                    self.suspicions += 1;
                }
            }
        }
        for node in troubled {
            let Some(peer) = self.heard.get_mut(&node) else { continue };
            // Taken out, as the others have a say.
            let mut opinions = std::mem::take(&mut peer.opinions);
            let (seems_gone, fallen) = (peer.seems_gone(timing, peers, now), peer.has_fallen(now));
            let gone = seems_gone && !opinions.vouch(&node, &self.heard, fallen, now);
            let Some(peer) = self.heard.get_mut(&node) else { continue };
            peer.opinions = opinions;
            judged.extend(peer.judge(timing, peers, gone, now).map(|judged| (node.clone(), judged)));
            self.file(&node);
        }
        for (node, judged) in &judged {
            // Who is deaf is still heard.
            if matches!(judged, Judged::Forgotten | Judged::Gone(Gone::Silent | Gone::Leaving | Gone::GraceOver))
                && let Some(peer) = self.heard.remove(node)
            {
                self.names.remove(&peer.hash);
                self.troubled.remove(node);
                if peer.hearing.is_deaf() {
                    self.deaf.insert(node.clone());
                }
            }
        }
        if !judged.is_empty() {
            self.look_again(now);
        }
        judged
    }

    /// When those who are troubled are to be judged again before the next look, as something was said of them.
    fn judges_again(&self) -> Option<Moment> {
        (self.told && !self.troubled.is_empty()).then(|| self.judged + LOOK.saturating_mul(self.count()))
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
        if !self.looks(now) {
            return Vec::new();
        }
        let peers = self.count();
        let mut questions = Vec::new();
        for (node, peer) in self.heard.iter_mut().filter(|(_, peer)| !peer.flags.leaving) {
            let named = || expected.get(node).and_then(|pod| pod.address);
            if let Some(question) = peer.ask(named, timing, peers, now) {
                questions.push(question);
                self.asked.insert(node.clone());
            }
        }
        questions
    }

    /// Everybody was looked at: when the next look is due.
    pub(super) fn looked(&mut self, timing: Timing, interval: Duration, now: Moment) {
        if self.looks(now) {
            let peers = self.count();
            let next = self.heard.values().map(|peer| peer.wakes(timing, peers, interval, now)).min();
            self.look = next.map(|next| next.max(now + LOOK.saturating_mul(peers)));
        }
    }

    /// An address answered from this MAC; gives back who shows by that, for the first time or again, that something reaches it.
    pub(super) fn answered(&mut self, address: IpAddr, from: Mac, now: Moment) -> Vec<(NodeName, Heard)> {
        let (mut shown, heard) = (Vec::new(), &mut self.heard);
        self.told = true;
        self.asked.retain(|node| {
            let Some(peer) = heard.get_mut(node) else { return false };
            let (deaf, ready) = (peer.hearing.is_deaf(), peer.is_ready());
            let answered = peer.answered(address, from, now);
            if deaf && !peer.hearing.is_deaf() && !peer.flags.leaving {
                shown.push((node.clone(), Heard::New));
            } else if peer.is_ready() != ready {
                shown.push((node.clone(), Heard::Readiness(true)));
            }
            !answered
        });
        shown
    }

    /// When everybody is to be looked at next.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        self.look.into_iter().chain(self.judges_again()).min()
    }

    /// The heard-set of the link's next hello, of so many: who is not suspected. More peers than a hello holds take turns, a window further each
    /// time: with up to four windows everybody is still named within a hold time.
    pub(super) fn heard_set(&self, hellos: u64, now: Moment) -> Vec<u32> {
        let heard: Vec<u32> = self.heard.values().filter(|peer| peer.is_speaking(now)).map(|peer| peer.hash).collect();
        let windows = u64::try_from(heard.len().div_ceil(MAX_HEARD).max(1)).unwrap_or(1);
        let skip = usize::try_from(hellos % windows).unwrap_or(0) * MAX_HEARD;
        heard.into_iter().skip(skip).take(MAX_HEARD).collect()
    }

    /// Whose place is kept while they restart, as hashes.
    pub(super) fn kept(&self) -> impl Iterator<Item = u32> {
        self.heard.values().filter(|peer| peer.is_ready() && is_restarting(peer.state)).map(|peer| peer.hash)
    }

    /// Whose place those keep who take part, as hashes; `None` when nobody does.
    pub(super) fn kept_by_others(&self, now: Moment) -> Option<BTreeSet<u32>> {
        let mut keepers = self.heard.values().filter_map(|peer| peer.keeps(now)).peekable();
        keepers.peek()?;
        Some(keepers.flatten().copied().collect())
    }

    /// Keeps the places that others keep.
    pub(super) fn keep_all(&mut self, kept: &BTreeSet<u32>, now: Moment) {
        let named: Vec<NodeName> =
            self.heard.iter().filter(|(_, peer)| kept.contains(&peer.hash)).map(|(node, _)| node.clone()).collect();
        named.iter().for_each(|node| self.keep(node, now));
    }

    pub(super) fn ever_heard(&self, node: &NodeName) -> bool {
        self.ever.contains(node)
    }

    /// Takes what the API shows. Forgets that somebody was heard once, when it shows no ready speaker there any more: its next one starts anew.
    pub(super) fn expect(&mut self, expected: &BTreeMap<NodeName, Expected>, now: Moment) {
        for (node, peer) in &mut self.heard {
            peer.expect(expected.get(node), now);
        }
        self.look_again(Moment::default());
        self.deaf.retain(|node| expected.contains_key(node));
        let heard = &self.heard;
        self.ever.retain(|node| heard.contains_key(node) || expected.get(node).is_some_and(|pod| pod.ready));
    }

    /// Whether frames of it arrive here.
    pub(super) fn hears_frames_of(&self, node: &NodeName, now: Moment) -> bool {
        self.heard.get(node).is_some_and(|peer| !peer.by_datagram && peer.is_speaking(now))
    }

    /// Whether frames of this node do not arrive there, by what it says.
    pub(super) fn wants_datagrams(&self, node: &NodeName, now: Moment) -> bool {
        self.heard.get(node).is_some_and(|peer| peer.wants_datagrams(now))
    }

    pub(super) fn get(&self, node: &NodeName) -> Option<&Peer> {
        self.heard.get(node)
    }

    pub(super) const fn suspicions(&self) -> u64 {
        self.suspicions
    }

    /// Whether nobody is suspected or restarting, or asked whether it hears.
    pub(super) fn are_well(&self) -> bool {
        self.unwell.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.heard.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeName, &Peer)> {
        self.heard.iter()
    }
}
