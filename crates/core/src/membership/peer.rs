//! A peer that is heard: what it said last, and whether it is still there.

use super::{
    Expected, GRACE, GRACE_WITH_POD, RESTARTING_EVERY, UNSHOWN,
    datagrams::Datagrams,
    echo::{Echo, Loss, Pace, Verdict},
    hearing::Hearing,
    opinions::Opinions,
    peers::Gone,
    places::Places,
};
use crate::{
    NodeName,
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{Flags, Hello, peer_hash},
};
use std::{net::IpAddr, time::Duration};

/// How often a healthy peer is asked, to know whether its kernel answers at all.
const HEALTHY_EVERY: Duration = Duration::from_secs(3);

/// More peers than fit into a heard-set take turns in it: who is not named in so many does not hear this node.
const TURNS: u8 = 4;

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its hellos come.
    Alive,
    /// They do not: its node is asked. Whether a whole round stayed unanswered.
    Suspected { unanswered: bool },
    /// Its speaker is away, or just back, and its node is there.
    Restarting {
        /// Since when its place is kept.
        since: Moment,
        /// Since when it speaks again.
        speaks: Moment,
    },
}

/// A peer that is heard.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) incarnation: u64,
    pub(super) sequence: u64,
    pub(super) heard: Moment,
    pub(super) interval: Duration,
    pub(super) flags: Flags,
    pub(super) hash: u32,
    /// Whether it may own: as it said when it was last well. What counts says [`Peer::is_ready`].
    pub(super) ready: bool,
    /// Whether it hears anybody.
    pub(super) hearing: Hearing,
    pub(super) state: State,
    /// Its hellos come as datagrams, as the link does not carry them.
    pub(super) by_datagram: bool,
    /// It knows the words of hand-overs.
    talks: bool,
    /// How many of its last hellos did not name this node as heard.
    unnamed: u8,
    /// Whether it gets hellos as datagrams, as it did not hear this node's frames.
    datagrams: Datagrams,
    pub(super) places: Places,
    /// Whose places it keeps, as hashes.
    keeps: Vec<u32>,
    echo: Echo,
    loss: Loss,
    pub(super) opinions: Opinions,
    /// Whether the API shows a speaker's pod there, and since when it does not.
    unshown: Option<Moment>,
}

/// What is to be asked, and of whom: `None` is everybody.
pub(super) type Question = (IpAddr, Option<Mac>);

impl Peer {
    /// From its first hello.
    pub(super) fn new(hello: &Hello, now: Moment) -> Self {
        Self {
            incarnation: hello.incarnation,
            sequence: hello.sequence,
            heard: now,
            interval: Duration::ZERO,
            flags: hello.flags,
            hash: peer_hash(hello.cluster, &hello.node),
            ready: hello.flags.ready,
            hearing: Hearing::default(),
            state: State::Alive,
            by_datagram: false,
            talks: false,
            unnamed: 0,
            datagrams: Datagrams::default(),
            places: Places::default(),
            keeps: Vec::new(),
            echo: Echo::default(),
            loss: Loss::default(),
            opinions: Opinions::default(),
            unshown: None,
        }
    }

    /// Takes a hello; whether its links or their names are other than before.
    pub(super) fn take(&mut self, hello: &Hello, from: Mac, now: Moment) -> bool {
        // The sender's own interval counts: a link under load stretches it.
        let interval = Duration::from_millis(u64::from(hello.interval_ms))
            .clamp(Duration::from_millis(10), Duration::from_secs(10));
        let again = self.incarnation != hello.incarnation;
        if again || now.since(self.heard) >= self.suspicion() {
            self.hearing.excuse();
        }
        if again {
            self.places.forget();
        } else if self.state != State::Alive {
            self.opinions.clear();
        } else if self.interval == interval {
            self.loss.hello(now.since(self.heard), interval);
        }
        // Flags first: what it was before counts.
        self.judge_flags(hello.flags, again, now);
        (self.incarnation, self.sequence, self.heard) = (hello.incarnation, hello.sequence, now);
        (self.interval, self.flags) = (interval, hello.flags);
        self.keeps.clone_from(&hello.kept);
        self.talks = hello.moves.is_some();
        self.places.take(hello, from, now)
    }

    fn judge_flags(&mut self, flags: Flags, again: bool, now: Moment) {
        let away = flags.restarting || again || self.state != State::Alive;
        if flags.ready || flags.leaving || !(away && self.ready) || self.hearing.is_deaf() {
            self.ready = flags.ready;
            self.state = State::Alive;
            return;
        }
        let spoke = self.is_speaking(now);
        match &mut self.state {
            State::Restarting { speaks, .. } if !spoke => *speaks = now,
            State::Restarting { .. } => {}
            // It was well, and is about to be again: its place is kept.
            state => {
                *state = State::Restarting { since: now, speaks: now };
                self.echo.begin();
            }
        }
    }

    /// Whether this hello says nothing new: repeated, or reordered.
    pub(super) fn knows(&self, hello: &Hello, now: Moment) -> bool {
        // A node's clock was set back while its speaker was away: its next incarnation has a smaller number. It counts once the one before is
        // silent for the hold time; what that one said last does not come any later.
        let set_back = hello.incarnation < self.incarnation && now.since(self.heard) >= self.hold();
        (self.incarnation, self.sequence) >= (hello.incarnation, hello.sequence) && !set_back
    }

    /// Whether it knows the words of hand-overs and hears them. More peers than fit into a heard-set take turns in it, four at most.
    pub(super) fn hands_over(&self) -> bool {
        self.talks && self.unnamed < TURNS
    }

    /// Its hello names this node, or another that is heard here, or does not.
    pub(super) fn hears(&mut self, this: bool, somebody: bool, now: Moment) {
        self.unnamed = if this { 0 } else { self.unnamed.saturating_add(1) };
        if self.unnamed >= TURNS {
            self.datagrams.begin(now);
        }
        if self.hearing.hello(this || somebody, now) && self.state == State::Alive {
            self.echo.begin();
        }
    }

    /// Whether it gets hellos as datagrams though its own frames come.
    pub(super) fn wants_datagrams(&self, now: Moment) -> bool {
        self.datagrams.are_on(now)
    }

    /// Whether it may own now: somebody who has not shown yet that anything reaches it does not count.
    pub(super) fn is_ready(&self) -> bool {
        self.ready && self.hearing.is_shown()
    }

    /// Neither suspected nor restarting, nor asked whether it hears.
    pub(super) fn is_well(&self) -> bool {
        self.state == State::Alive && !self.hearing.is_doubted()
    }

    /// Whose places it keeps, when it takes part itself.
    pub(super) fn keeps(&self, now: Moment) -> Option<&[u32]> {
        (self.flags.ready && self.is_speaking(now) && !self.hearing.is_deaf()).then_some(&self.keeps)
    }

    /// It counted before it was heard, or does for others: its place is kept until it is ready.
    pub(super) fn keep(&mut self, now: Moment) {
        self.hearing.trust(now);
        if !self.ready && !self.flags.leaving {
            self.ready = true;
            self.state = State::Restarting { since: now, speaks: now };
        }
    }

    /// Takes what the API shows of it.
    pub(super) fn expect(&mut self, pod: Option<&Expected>, now: Moment) {
        self.unshown = if pod.is_some() { None } else { self.unshown.or(Some(now)) };
    }

    /// Forgets links that fell silent here while others of the same peer are heard; whether there were such.
    pub(super) fn expire_links(&mut self, now: Moment) -> bool {
        self.link_expires().is_some_and(|expires| expires <= now) && self.places.expire(self.hold(), now)
    }

    /// When the first of several links is forgotten.
    fn link_expires(&self) -> Option<Moment> {
        self.places.expires(self.hold()).filter(|_| self.state == State::Alive)
    }

    fn suspicion(&self) -> Duration {
        Timing::suspicion_of(self.interval)
    }

    pub(super) fn hold(&self) -> Duration {
        Timing::hold_of(self.interval)
    }

    /// Whether its hellos come now.
    pub(super) fn is_speaking(&self, now: Moment) -> bool {
        now.since(self.heard) < self.suspicion()
    }

    fn pace(&self, timing: Timing, peers: u32) -> Pace {
        // However many peers ask, a node is not asked more than about a thousand times a second; ten times while all is well, as each answer
        // wakes the one who asked.
        let spread = |every: Duration, each: u64| every.max(Duration::from_millis(each).saturating_mul(peers));
        let every = match self.state {
            State::Alive if self.hearing.is_doubted() => spread(RESTARTING_EVERY, 1),
            State::Alive => spread(HEALTHY_EVERY, 100),
            State::Suspected { .. } => timing.interval(),
            State::Restarting { .. } => spread(RESTARTING_EVERY, 1),
        };
        Pace::new(every, timing, self.loss)
    }

    /// What is to be asked now.
    pub(super) fn ask(
        &mut self,
        named: impl FnOnce() -> Option<IpAddr>,
        timing: Timing,
        peers: u32,
        now: Moment,
    ) -> Option<Question> {
        let pace = self.pace(timing, peers);
        if self.echo.next(pace) > now {
            return None;
        }
        let (address, mac) = self.places.asked_for(named())?;
        let last = self.echo.due(pace, now)?;
        // One to everybody: its MAC may have changed among its links, as a bond's does.
        Some((address, (!last || self.state == State::Alive).then_some(mac)))
    }

    /// Its kernel answered from this MAC: it was asked, so something reaches it. Whether it was its answer.
    pub(super) fn answered(&mut self, address: IpAddr, from: Mac, now: Moment) -> bool {
        let answered = self.places.has_address(address) && self.places.has(from) && self.echo.answered();
        if answered {
            self.hearing.trust(now);
        }
        answered
    }

    /// A peer's hello names it as heard, or does not.
    pub(super) fn vouch(&mut self, by: &NodeName, hears: bool) {
        if self.state == State::Alive {
            return;
        }
        self.opinions.say(by, hears);
    }

    /// Judges the silence of one that was alive: gone for good, or suspected from now on.
    pub(super) fn judge_silence(&mut self, timing: Timing, peers: u32, now: Moment) -> Option<Judged> {
        let silent = now.since(self.heard);
        if self.flags.leaving {
            return (silent >= self.hold()).then_some(Judged::Forgotten);
        }
        if self.hearing.is_deaf() {
            return (silent >= self.hold()).then_some(Judged::Forgotten);
        }
        if !self.hearing.is_doubted() {
            self.echo.learn(self.pace(timing, peers), self.heard, now);
        }
        if silent >= self.suspicion() {
            self.state = State::Suspected { unanswered: false };
            self.opinions.clear();
            self.echo.begin();
        }
        None
    }

    /// Judges what its hellos do not say, with this time between its own and this node's: whether it is deaf from now on.
    pub(super) fn judge_hearing(&mut self, timing: Timing, peers: u32, interval: Duration, now: Moment) -> bool {
        if !self.hearing.is_doubted() || !self.is_speaking(now) || self.flags.leaving {
            return false;
        }
        let echo = self.echo.verdict(self.pace(timing, peers), now);
        let answers = self.answers();
        let deaf = self.hearing.judge(echo, answers, Timing::hold_of(interval.max(self.interval)), now);
        if deaf {
            self.state = State::Alive;
        }
        deaf
    }

    /// Whether its kernel can be asked, and answers, as far as known.
    fn answers(&self) -> bool {
        self.echo.answers() == Some(true) && self.places.asked_for(None).is_some()
    }

    /// Whether nothing came from its speaker, nor from its node, for so long that it is gone unless others vouch for it.
    pub(super) fn seems_gone(&self, timing: Timing, peers: u32, now: Moment) -> bool {
        let unanswered = match self.state {
            State::Alive => return false,
            State::Suspected { unanswered } => unanswered,
            State::Restarting { .. } => false,
        };
        // A node whose kernel was never seen to answer has the whole hold time.
        let dead = if self.answers() {
            unanswered || self.echo.verdict(self.pace(timing, peers), now) == Verdict::Silent
        } else {
            self.has_fallen(now)
        };
        dead && now.since(self.heard) >= self.suspicion()
    }

    /// Whether it is silent for the hold time.
    pub(super) fn has_fallen(&self, now: Moment) -> bool {
        now.since(self.heard) >= self.hold()
    }

    /// Judges one that is not simply alive: `gone` is who [seems gone](Self::seems_gone) and nobody vouches for.
    pub(super) fn judge(&mut self, timing: Timing, peers: u32, gone: bool, now: Moment) -> Option<Judged> {
        let verdict = self.echo.verdict(self.pace(timing, peers), now);
        let answers = self.answers();
        let grace_over = self.grace_ends(now).is_some_and(|ends| ends <= now);
        match &mut self.state {
            State::Suspected { .. } if answers && verdict == Verdict::There => {
                self.state = State::Restarting { since: now, speaks: self.heard };
                Some(Judged::Restarting)
            }
            State::Suspected { unanswered } => {
                *unanswered |= verdict == Verdict::Silent;
                gone.then_some(Judged::Gone(Gone::Silent))
            }
            State::Restarting { .. } if gone => Some(Judged::Gone(Gone::Silent)),
            State::Restarting { .. } if grace_over => {
                self.state = State::Alive;
                self.ready = false;
                Some(if self.is_speaking(now) { Judged::Unready } else { Judged::Gone(Gone::GraceOver) })
            }
            State::Restarting { .. } | State::Alive => None,
        }
    }

    /// When its place is not kept any longer. While the API shows a pod, it is a matter of time; who speaks and is not ready is not.
    fn grace_ends(&self, now: Moment) -> Option<Moment> {
        let State::Restarting { since, speaks } = self.state else { return None };
        if self.is_speaking(now) {
            return Some(speaks + GRACE);
        }
        // A pod was shown until lately: the DaemonSet makes a new one in a moment.
        Some(self.unshown.map_or(since + GRACE_WITH_POD, |unshown| (since + GRACE).min(unshown.max(since) + UNSHOWN)))
    }

    /// When [`Peer::judge`] or [`Peer::ask`] has something new; what should have been already waits for a peer's word.
    pub(super) fn wakes(&self, timing: Timing, peers: u32, interval: Duration, now: Moment) -> Moment {
        // Who is well is asked when this machine is awake for its own hello.
        let is_asked = !self.flags.leaving && !self.is_well() && self.places.asked_for(None).is_some();
        let asks = is_asked.then(|| self.echo.wakes(self.pace(timing, peers), now));
        let silence = match self.state {
            State::Alive if !self.flags.leaving && !self.hearing.is_deaf() => Some(self.heard + self.suspicion()),
            State::Alive | State::Suspected { .. } => Some(self.heard + self.hold()),
            State::Restarting { .. } if self.is_speaking(now) => Some(self.heard + self.suspicion()),
            State::Restarting { .. } => self.grace_ends(now),
        };
        let retry = now + timing.echo_gap();
        asks.into_iter()
            .chain(silence)
            .chain(self.link_expires())
            .chain(self.hearing.wakes(Timing::hold_of(interval.max(self.interval))))
            .filter(|moment| *moment > now)
            .min()
            .map_or(retry, |next| if self.state == State::Alive { next } else { next.min(now + timing.interval()) })
    }
}

/// What became of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// Its node is there.
    Restarting,
    /// It is there, but not ready for longer than a restart takes.
    Unready,
    /// It does not count any more.
    Gone(Gone),
    /// It had said that it leaves; nothing changes.
    Forgotten,
}
