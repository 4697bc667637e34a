//! Which Services this node announces, and what of that is news.

use super::{Announced, Announcing, Cause, Effect, Speaker};
use crate::{
    NodeName, ServiceKey, Set,
    membership::Membership,
    ownership::{Hold, Holder},
    time::Moment,
};
use herald_wire::hello::{Move, Word};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// Who has what another node said to have, too, tells so once more when that was not said any more for so long.
const SETTLED: Duration = Duration::from_secs(1);

/// What other nodes said since this one told last of what it announces.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What this node had when it ceased to take part, and nobody else had since, as far as anybody says: when it goes on, its last event about
    /// the Service still holds. One that is starved for seconds would tell of a thousand Services each time.
    paused: BTreeMap<ServiceKey, Set<IpAddr>>,
    /// What it went on with without a word. Who was gone from the link then may have had it, and says so to nobody when it finds it taken.
    resumed: BTreeSet<IpAddr>,
    /// What this node has, and another one said to have, too: it told so. Then when this node says so once more.
    contested: BTreeMap<IpAddr, Moment>,
}

impl Told {
    /// Takes what another node says that it has, or had, on a link where this one holds so much.
    pub(super) fn hear(&mut self, from: &NodeName, words: &[Move], holder: Option<&Holder>, now: Moment) {
        let has = |said: &&Move| matches!(said.word, Word::Own | Word::Hold | Word::Release);
        let had = || words.iter().filter(has).map(|said| said.group);
        if let Some(holder) = holder {
            // Who gave it told before this node did.
            let given = |giver: &Option<(NodeName, Moment)>| giver.as_ref().is_some_and(|(giver, _)| giver == from);
            let is_contested =
                |group: &IpAddr| matches!(holder.holds().get(group), Some(Hold::Held { from, .. }) if !given(from));
            self.contested.extend(had().filter(is_contested).map(|group| (group, now + SETTLED)));
        }
        if !self.paused.is_empty() {
            let had: BTreeSet<IpAddr> = had().collect();
            self.paused.retain(|_, addresses| !addresses.iter().any(|address| had.contains(address)));
        }
    }

    /// Somebody came who was gone from a link.
    pub(super) fn joined(&mut self, now: Moment) {
        self.contested.extend(std::mem::take(&mut self.resumed).into_iter().map(|address| (address, now + SETTLED)));
    }

    /// When something is to be told at the latest.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.contested.values().min().copied()
    }

    fn pause(&mut self, key: &ServiceKey, announced: &Announced) {
        if !announced.addresses.iter().any(|address| self.contested.contains_key(address)) {
            self.paused.insert(key.clone(), announced.addresses.clone());
        }
    }
}

impl Speaker {
    /// Which Services this node announces, and what changed about that. Gives back the addresses that it had before it ceased to take part, and
    /// nobody else said to have since.
    pub(super) fn tell_services(
        &mut self,
        announcing: Announcing,
        cause: Cause,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> BTreeSet<IpAddr> {
        let pauses = self.can_own() && !self.memberships.values().all(Membership::takes_part);
        for (key, announced) in self.announcing.iter().filter(|(key, _)| !announcing.contains_key(*key)) {
            if pauses {
                self.told.pause(key, announced);
            }
            effects.push(Effect::Withdrawn(key.clone(), cause));
        }
        self.forget_paused();
        let kept = self.memberships.values().all(|membership| membership.was_kept(now));
        let mut back = BTreeSet::new();
        for key in announcing.keys().filter(|key| !self.announcing.contains_key(*key)) {
            let paused = self.told.paused.remove(key);
            let effect = if paused.is_some() { Effect::Resumed } else { Effect::Announcing };
            let addresses = || paused.iter().flat_map(|addresses| addresses.iter());
            back.extend(addresses());
            if !kept {
                self.told.resumed.extend(addresses());
            }
            effects.push(effect(key.clone(), cause));
        }
        if *self.announcing != announcing {
            self.announcing = Arc::new(announcing);
        }
        back
    }

    /// What another node has by now, unless that was only asked whether it does; and Services that are gone.
    fn forget_paused(&mut self) {
        if self.told.paused.is_empty() {
            return;
        }
        let mut paused = std::mem::take(&mut self.told.paused);
        let asked = |address: &IpAddr| {
            self.holders.values().any(|holder| matches!(holder.holds().get(address), Some(Hold::Asking { .. })))
        };
        let others: BTreeSet<&IpAddr> = self.others.values().flatten().collect();
        let elsewhere = |address: &IpAddr| others.contains(address) && !asked(address);
        let is_there = |key: &ServiceKey| self.snapshot().is_some_and(|snapshot| snapshot.services.contains_key(key));
        paused.retain(|key, addresses| is_there(key) && !addresses.iter().any(elsewhere));
        self.told.paused = paused;
    }

    /// Of what another node said to have, too, this one tells once more when it has it still: the other one's event was the last.
    pub(super) fn tell_contested(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.told.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let mut due = BTreeSet::new();
        self.told.contested.retain(|address, when| *when > now || !due.insert(*address));
        let concerned = |announced: &Announced| announced.addresses.iter().any(|address| due.contains(address));
        let still = self.announcing.iter().filter(|(_, announced)| concerned(announced));
        effects.extend(still.map(|(key, _)| Effect::Prevailed(key.clone())));
    }
}
