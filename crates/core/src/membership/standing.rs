//! Whether this speaker takes part on the link: what it believes after silence of its own, of all others, and when it woke up late.

use super::{
    Change, Membership, Standing,
    peer::{Judged, Peer},
};
use crate::time::{FORCE, Moment};
use herald_wire::hello::peer_hash;
use std::time::Duration;

impl Membership {
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

    /// Whether peers kept this speaker's place until now: it goes on where it was, and its neighbours need not be told.
    #[must_use]
    pub fn was_kept(&self, now: Moment) -> bool {
        self.kept_by_others.is_some_and(|kept| now.since(kept) < self.hold())
    }

    /// Whether the next hello of a peer that is well need not wake this machine: nobody's word is waited for, and nothing is to be told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.standing == Standing::Present && self.changes.is_empty() && self.peers.are_well()
    }

    /// This speaker's own standing here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
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
}
