//! What peers say about holding, and what follows.

use super::{HandOver, Hold, Holder, View};
use crate::{
    NodeName,
    membership::Member,
    ownership::{Group, rank},
    time::{FORCE, Moment},
};
use herald_wire::hello::{Move, Stamp, Word};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Two words of a rival further apart have nothing to do with each other.
const CONTEST: Duration = Duration::from_secs(1);

impl Holder {
    /// Notes who holds what it is not the owner of, by its own word or because this node stands in for the owner: after a partition others
    /// may not know yet that its speaker is only away.
    pub fn note(&mut self, from: &NodeName, words: &[Move], stood_in: impl Fn(&IpAddr) -> bool) {
        for said in words {
            match said.word {
                Word::Own if !stood_in(&said.group) => {
                    self.others.remove(&said.group);
                }
                Word::Hold | Word::Own => {
                    self.others.insert(said.group, from.clone());
                }
                Word::Ask | Word::Release | Word::Free => {}
            }
        }
    }

    /// Whether a node that lives answers for a group without being its owner.
    #[must_use]
    pub fn is_held_by_another(&self, group: &Group, members: &BTreeMap<NodeName, Member>) -> bool {
        let other = self.others.get(&group.key).and_then(|node| members.get(node));
        other.is_some_and(|member| member.ready && !member.restarting)
    }

    /// Whether any of these words is of interest here.
    #[must_use]
    pub fn concerns(&self, words: &[Move], me: u32) -> bool {
        words.iter().any(|said| self.holds.contains_key(&said.group) || said.word == Word::Ask && said.peer == me)
    }

    /// Takes what a peer says in a hello, which carries this stamp; whether everything is to be settled anew.
    pub fn hear(&mut self, from: &NodeName, words: &[Move], stamp: Stamp, view: &View<'_>) -> bool {
        let me = view.hash(view.me);
        let mut changed = false;
        for said in words {
            let to_me = said.peer == me;
            changed |= match said.word {
                Word::Ask => {
                    self.hear_ask(from, said.group, to_me, stamp, view);
                    false
                }
                Word::Release => to_me && self.hear_release(from, said.group, view),
                Word::Free => to_me && self.hear_free(from, said.group, view),
                Word::Hold | Word::Own => self.hear_claim(from, said, stamp, view),
            };
        }
        if changed {
            self.schedule(view);
        }
        changed
    }

    fn hear_ask(&mut self, from: &NodeName, key: IpAddr, to_me: bool, stamp: Stamp, view: &View<'_>) {
        let peer = view.hash(from);
        let word = match self.holds.get(&key) {
            Some(Hold::Held { owner, .. }) => {
                let agreed = view.group(key).is_some_and(|group| view.owns(group, from));
                let knows_better = stamp.connected && !view.stamp().connected;
                match (agreed || knows_better, owner) {
                    (true, _) if !self.is_held_off(from, view.now) && !self.waits_for(from, view) => Word::Release,
                    (true, _) | (false, false) => Word::Hold,
                    (false, true) => Word::Own,
                }
            }
            _ if to_me => Word::Free,
            _ => return,
        };
        self.outbox.reply(Move { word, group: key, peer });
    }

    /// Who came back lately has to wait, unless this node is as new itself: then all start.
    fn is_held_off(&self, node: &NodeName, now: Moment) -> bool {
        let young = |since: Moment| now.since(since) < self.moves.hold_off;
        !young(self.since) && self.ready.get(node).is_none_or(|since| young(*since))
    }

    fn hear_release(&mut self, from: &NodeName, key: IpAddr, view: &View<'_>) -> bool {
        let Some(hold @ Hold::Asking { .. }) = self.holds.get_mut(&key) else { return false };
        *hold = Hold::Held { owner: true, from: Some((from.clone(), view.now + self.moves.drain)) };
        self.told.push((key, HandOver::Received, from.clone()));
        self.outbox.claim(key);
        true
    }

    fn hear_free(&mut self, from: &NodeName, key: IpAddr, view: &View<'_>) -> bool {
        let Some(Hold::Asking { of, free, .. }) = self.holds.get_mut(&key) else { return false };
        if of == from {
            free.get_or_insert(view.now);
            self.schedule(view);
        }
        false
    }

    fn hear_claim(&mut self, from: &NodeName, said: &Move, stamp: Stamp, view: &View<'_>) -> bool {
        let key = said.group;
        let Some(group) = self.holds.get(&key).and_then(|_| view.group(key)) else { return false };
        let waits = self.waits_for(view.me, view);
        match self.holds.get_mut(&key) {
            Some(Hold::Asking { of, since, free, refused, .. }) => {
                of.clone_from(from);
                *free = None;
                let forces = said.word == Word::Own && view.now >= *since + FORCE && view.stamp() > stamp;
                if forces && !waits {
                    let taken = self.tell_take(key, HandOver::Forced, from);
                    self.holds.insert(key, taken);
                    return true;
                }
                if said.peer != 0 && !std::mem::replace(refused, true) {
                    self.told.push((key, HandOver::Refused, from.clone()));
                }
                false
            }
            Some(Hold::Held { .. }) => {
                // Both must say so, or two whose views cross might yield to each other.
                match said.word {
                    Word::Own if view.owns(group, from) => self.drain(key, HandOver::Given, from, view.now),
                    Word::Hold if view.owns(group, view.me) => {
                        self.outbox.claim(key);
                        false
                    }
                    _ => self.contest(from, said.word, group, stamp, view),
                }
            }
            _ => false,
        }
    }

    /// Two hold it, and do not agree who is the owner. What is said once may have crossed with this node's own word.
    fn contest(&mut self, from: &NodeName, said: Word, group: &Group, stamp: Stamp, view: &View<'_>) -> bool {
        let text = group.key.to_string();
        let means_to = matches!(self.holds.get(&group.key), Some(Hold::Held { owner: true, .. }));
        let better = match stamp.cmp(&view.stamp()) {
            // The other one takes itself for the owner and does not yield; this node goes on only until somebody comes who does.
            _ if said == Word::Own && !means_to => true,
            std::cmp::Ordering::Equal => rank(from, &text) < rank(view.me, &text),
            order => order.is_gt(),
        };
        if !better {
            self.outbox.claim(group.key);
            return false;
        }
        let (rival, since) = self.rivals.entry(group.key).or_insert_with(|| (from.clone(), view.now));
        let passed = view.now.since(*since);
        if rival != from || passed > CONTEST.max(view.interval * 4) {
            (*rival, *since) = (from.clone(), view.now);
            return false;
        }
        // Hellos come up to a tenth earlier than an interval: its next but one is heard by then.
        passed >= view.interval + view.interval / 2 && self.drain(group.key, HandOver::Yielded, from, view.now)
    }
}
