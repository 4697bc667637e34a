//! When it is decided anew who owns what, and what follows from it.

use super::{Cause, Claim, Effect, Speaker, segments};
use crate::{
    LinkName, NodeName,
    announce::{Known, Place},
    membership::{Member, Membership},
    ownership::{Electorate, Plan, View},
    time::Moment,
};
use herald_wire::hello::{Hello, Move, Stamp, Word, peer_hash};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

/// A decision looks at every group and every member: the next one follows after so long for each of them, about ten times what it takes. When a thousand
/// addresses change hands word by word, or a hundred nodes fall silent one after the other, those that came meanwhile are one decision.
const EACH: Duration = Duration::from_micros(10);

/// And no sooner than after so many times what it took, with all that was done about it: where ten thousand groups are decided on by a node
/// with little processor time, hellos would be late for it, which is something to decide on for everybody else.
const BREATH: u32 = 4;

/// A missing interface is said after it was missing for so long: while speakers start, each is the only one that is ready for a moment.
const LACKING: Duration = Duration::from_secs(2);

/// Words of a hand-over that a peer said in one hello, until the next decision.
#[derive(Debug)]
pub(super) struct Said {
    link: LinkName,
    from: NodeName,
    words: Vec<Move>,
    stamp: Stamp,
}

impl Speaker {
    /// When the next decision may be made; what does not wait for it is done at once.
    pub(super) fn next_decision(&self) -> Moment {
        let groups = self.plan.as_ref().map_or(0, |plan| plan.groups().len());
        let members = self.memberships.values().map(Membership::peers).sum::<usize>();
        let all = EACH.saturating_mul(u32::try_from(groups + members).unwrap_or(u32::MAX));
        let interval = self.memberships.values().map(Membership::interval).min().unwrap_or(self.timing.interval());
        let starved = (self.took * BREATH).min(interval * 4);
        self.decided + all.min(interval / 2).max(starved)
    }

    /// When it is to be decided anew, as far as known now.
    pub(super) fn decides_at(&self) -> Option<Moment> {
        // A link that is gone and a process that ends leave no time.
        let hurries = self.due.is_some_and(|cause| cause >= Cause::Links);
        let waits = || (self.due.is_some() || !self.said.is_empty()).then(|| self.next_decision());
        if hurries { Some(Moment::default()) } else { waits() }
    }

    /// Decides anew when something changed that ownership depends on.
    pub(super) fn settle_changes(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.decides_at().is_none_or(|when| when > now) {
            return;
        }
        self.decided = now;
        let mut said = std::mem::take(&mut self.said);
        // A stable sort: on a link, in the order they came.
        said.sort_by(|a, b| a.link.cmp(&b.link));
        said.chunk_by(|a, b| a.link == b.link).for_each(|said| self.hear_said(said, now));
        if let Some(cause) = self.due.take() {
            self.decide(cause, now, effects);
            self.probe(now, effects);
        }
    }

    /// What a peer says about hand-overs. What follows is settled with the next decision: what is held is answered from then on, too.
    pub(super) fn hear_words(&mut self, link: &LinkName, hello: &Hello, now: Moment) {
        let words = hello.moves.as_deref().filter(|words| !words.is_empty() && hello.flags.ready);
        let Some(words) = words else { return };
        let from = NodeName::from(hello.node.as_str());
        // One that hears nobody takes everything for its own, and nothing that is said to it can change that.
        if self.memberships.get(link).is_some_and(|membership| membership.is_deaf(&from)) {
            return;
        }
        self.told.hear(&from, words, self.holders.get(link), now);
        let Some(holder) = self.holders.get_mut(link) else { return };
        let stood_in =
            |group: &IpAddr| matches!(self.answers.get(link).and_then(|a| a.get(group)), Some(Claim::For(_)));
        holder.note(&from, words, stood_in);
        let ends = words.iter().any(|said| matches!(said.word, Word::Hold | Word::Own) && stood_in(&said.group));
        if holder.concerns(words, peer_hash(self.me.cluster, self.me.node.as_str())) {
            self.said.push(Said { link: link.clone(), from, words: words.to_vec(), stamp: hello.stamp });
        }
        if ends {
            self.decide_for(Cause::HandOver);
        }
    }

    /// Takes what was said on one link.
    fn hear_said(&mut self, said: &[Said], now: Moment) {
        let Some(link) = said.first().map(|said| &said.link) else { return };
        let (Some(plan), Some(membership)) = (&self.plan, self.memberships.get(link)) else { return };
        if !membership.takes_part() {
            return;
        }
        // Taken out, as the view looks at the rest.
        let Some(mut holder) = self.holders.remove(link) else { return };
        let segments = segments::of(&self.links, &self.memberships);
        let members = self.members(membership, segments.names(link));
        let view = self.view((plan, link), &members, now);
        let mut changed = false;
        for said in said {
            changed |= holder.hear(&said.from, &said.words, said.stamp, &view);
        }
        self.holders.insert(link.clone(), holder);
        if changed {
            self.decide_for(Cause::HandOver);
        }
    }

    /// What is decided on, on one link.
    pub(super) fn view<'a>(
        &'a self,
        (plan, link): (&'a Plan, &'a LinkName),
        members: &'a BTreeMap<NodeName, Member>,
        now: Moment,
    ) -> View<'a> {
        View {
            plan,
            before: self.before.as_ref(),
            link,
            me: &self.me.node,
            cluster: self.me.cluster,
            members,
            electorate: Electorate::new(plan, link, members),
            kept: false,
            interval: self.memberships.get(link).map_or(self.timing.interval(), Membership::interval),
            now,
        }
    }

    fn decide(&mut self, cause: Cause, now: Moment, effects: &mut Vec<Effect>) {
        let mut owned = self.owned(now);
        self.before = None;
        self.watch_over(&owned, cause, now, effects);
        let free: BTreeSet<Place> = owned.places.iter().filter(|place| self.is_free(place)).cloned().collect();
        let answers = self.answers_for(&owned);
        let mut changed: Vec<(bool, LinkName)> = answers
            .iter()
            .filter(|(link, addresses)| self.answers.get(*link) != Some(addresses))
            .map(|(link, addresses)| {
                let said = |claim: Option<&Claim>| claim.is_some_and(|claim| *claim != Claim::Withheld);
                let gives_up = self.answers.get(link).is_some_and(|old| {
                    old.iter().any(|(address, claim)| said(Some(claim)) && !said(addresses.get(address)))
                });
                (!gives_up, link.clone())
            })
            .collect();
        // Who gives something up comes first.
        changed.sort();
        for (_, link) in changed {
            let addresses = answers.get(&link).cloned().unwrap_or_default();
            effects.push(Effect::Answer { link, addresses });
        }
        self.answers = answers;
        let said: BTreeSet<Place> = free.difference(&owned.quiet).cloned().collect();
        let announcing = owned.announcing(|place| free.contains(place));
        self.others = owned.others;
        let back = self.tell_services(announcing, cause, now, effects);
        let known = |(link, address): &Place| {
            if owned.resumed.contains(link) {
                Known::Here
            } else if back.contains(address) {
                Known::Likely
            } else {
                Known::Elsewhere
            }
        };
        self.announcer.set(&said, known, now);
        self.find_lacking(now);
    }

    /// Services that nobody announces because no node has an interface that their advertisements name: the node that would announce them says
    /// so, once.
    fn find_lacking(&mut self, now: Moment) {
        let Some(plan) = self.plan.as_ref().filter(|_| self.is_present()) else { return };
        if !plan.names_interfaces() {
            self.lacking.clear();
            return;
        }
        let mut links: BTreeMap<NodeName, Vec<LinkName>> = BTreeMap::new();
        let mut ready = BTreeSet::from([self.me.node.clone()]);
        links.insert(self.me.node.clone(), self.links.keys().cloned().collect());
        for membership in self.memberships.values() {
            for (node, names) in membership.link_names() {
                links.entry(node.clone()).or_insert_with(|| names.iter().map(|name| name.as_str().into()).collect());
            }
            ready.extend(membership.members().into_iter().filter(|(_, member)| member.ready).map(|(node, _)| node));
        }
        let lacking = plan.without_interface(&links, &ready);
        let mine = lacking.into_iter().filter(|(_, node)| *node == self.me.node).map(|(key, _)| key);
        let mut before = std::mem::take(&mut self.lacking);
        self.lacking = mine
            .map(|key| {
                let when = before.remove(&key).unwrap_or(Some(now + LACKING));
                (key, when)
            })
            .collect();
    }

    pub(super) fn tell_lacking(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (key, when) in self.lacking.iter_mut().filter(|(_, when)| when.is_some_and(|when| when <= now)) {
            *when = None;
            effects.push(Effect::LacksInterface(key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        membership::Identity,
        ownership::Snapshot,
        speaker::{Input, Link},
        time::Timing,
    };
    use std::sync::Arc;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// One that has decided at this moment, which took so long, and has something new to decide.
    fn busy(now: Moment, took: Duration) -> Speaker {
        let me = Identity { cluster: herald_wire::hello::ClusterId([0; 16]), node: "a".into(), incarnation: 1 };
        let mut speaker = Speaker::new(me, Timing::default());
        let link = Link { name: "eth0".into(), mac: herald_wire::Mac::ZERO, addresses: Vec::new() };
        for input in [Input::Links(vec![link]), Input::Key(true), Input::Snapshot(Arc::default())] {
            speaker.handle(input, now);
        }
        speaker.poll(now);
        speaker.done(now, now + took);
        let changed = Snapshot { ignore_exclude_label: true, ..Snapshot::default() };
        speaker.handle(Input::Snapshot(Arc::new(changed)), now + took);
        speaker
    }

    #[test]
    fn a_decision_that_took_long_leaves_time_for_everything_else() {
        let now = Moment::from_micros(10_000_000);
        assert_eq!(busy(now, Duration::ZERO).decides_at(), Some(now));
        assert_eq!(busy(now, ms(30)).decides_at(), Some(now + ms(120)));
        assert_eq!(busy(now, ms(3000)).decides_at(), Some(now + ms(200)), "who was frozen meanwhile has to go on");
    }

    #[test]
    fn what_other_polls_took_does_not_count_and_a_lost_link_leaves_no_time() {
        let now = Moment::from_micros(10_000_000);
        let mut speaker = busy(now, ms(30));
        speaker.poll(now + ms(40));
        speaker.done(now + ms(40), now + ms(41));
        assert_eq!(speaker.decides_at(), Some(now + ms(120)));
        speaker.handle(Input::Links(Vec::new()), now + ms(50));
        speaker.poll(now + ms(50));
        assert_eq!(speaker.decides_at(), None, "decided at once");
    }
}
