//! What is to be said about holding, hello after hello.

use super::{ASK_AGAIN, ASK_GAP, Hold, TRIES};
use crate::{NodeName, time::Moment};
use herald_wire::hello::{ClusterId, Hello, Move, Word, peer_hash};
use std::{collections::BTreeMap, net::IpAddr, ops::Bound};

/// How often it is said that something is held, after it was taken or somebody joined.
const CLAIMS: u8 = 5;
/// How often an answer is given: who asked asks again.
const REPLIES: u8 = 2;
/// Of what is held so much is said in every hello, in turns.
const TURNS: usize = 3;
/// More fit into no hello.
const MOST: usize = 32;

/// Words that wait for a hello.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    replies: BTreeMap<Move, u8>,
    claims: BTreeMap<IpAddr, u8>,
    /// Whose turn it was last.
    turn: Option<IpAddr>,
    hurry: bool,
}

impl Outbox {
    /// Says that this is held.
    pub(super) fn claim(&mut self, group: IpAddr) {
        self.claims.insert(group, CLAIMS);
        self.hurry = true;
    }

    pub(super) fn reply(&mut self, said: Move) {
        // Only the newest answer counts.
        self.replies.retain(|other, _| (other.group, other.peer) != (said.group, said.peer));
        self.replies.insert(said, REPLIES);
        self.hurry = true;
    }

    pub(super) fn forget(&mut self, group: IpAddr) {
        self.claims.remove(&group);
        self.replies.retain(|said, _| said.group != group);
    }

    /// The next word does not wait for the next hello.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn hurries(&self) -> bool {
        self.hurry
    }

    pub(super) fn words(
        &mut self,
        holds: &mut BTreeMap<IpAddr, Hold>,
        cluster: ClusterId,
        me: &NodeName,
        heard: usize,
        now: Moment,
    ) -> Vec<Move> {
        self.hurry = false;
        let claim = |group: &IpAddr| match holds.get(group)? {
            Hold::Held { owner, .. } => {
                Some(Move { word: if *owner { Word::Own } else { Word::Hold }, group: *group, peer: 0 })
            }
            _ => None,
        };
        self.claims.retain(|group, _| claim(group).is_some());
        let ask = |(group, hold): (&IpAddr, &Hold)| match hold {
            Hold::Asking { of, next, .. } if *next <= now => {
                Some(Move { word: Word::Ask, group: *group, peer: peer_hash(cluster, of.as_str()) })
            }
            _ => None,
        };
        let mut words: Vec<Move> = self.replies.keys().copied().take(MOST).collect();
        words.extend(holds.iter().filter_map(ask).take(MOST));
        words.extend(self.claims.keys().filter_map(claim).take(MOST));
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let turns: Vec<Move> =
            holds.range((after, Bound::Unbounded)).filter_map(|(group, _)| claim(group)).take(TURNS).collect();
        self.turn = turns.last().map(|said| said.group);
        words.extend(turns.into_iter().filter(|said| !self.claims.contains_key(&said.group)));
        words.truncate(Hello::moves_fit(&words, me.as_str(), heard));
        for said in &words {
            match said.word {
                Word::Ask => asked(holds, said.group, now),
                _ if said.peer != 0 => spend(&mut self.replies, said),
                _ => spend(&mut self.claims, &said.group),
            }
        }
        words
    }
}

fn spend<K: Ord>(left: &mut BTreeMap<K, u8>, said: &K) {
    if let Some(count) = left.get_mut(said) {
        *count -= 1;
        if *count == 0 {
            left.remove(said);
        }
    }
}

fn asked(holds: &mut BTreeMap<IpAddr, Hold>, group: IpAddr, now: Moment) {
    if let Some(Hold::Asking { tries, next, .. }) = holds.get_mut(&group) {
        *tries = tries.saturating_add(1);
        *next = now + if tries.is_multiple_of(TRIES) { ASK_AGAIN } else { ASK_GAP };
    }
}
