//! Whether an address is free to be used on a link, before its first use and ever after: address conflict detection (RFC 5227), duplicate
//! address detection (RFC 4862 section 5.4).
//!
//! A place that nobody of ours has used is probed first: three probes in 150 ms, the seconds of RFC 5227 section 1.1 being too long for a new
//! Service. A place that goes over from one of ours is used at once and probed beside: nobody waits, and a foreign holder is still found,
//! later where thousands of them go over. A claim by a foreign station is a conflict; then the place is withheld, and probed again with growing
//! pauses until nobody claims it.

use super::{PORTION, Place, Queue, REPEATS_APART, first, pop};
use crate::{NodeName, reason::Reason, time::Moment};
use herald_wire::Mac;
use ipnetwork::Ipv4Network;
use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, time::Duration};

/// Probes of a round (`PROBE_NUM`).
const PROBES: u32 = 3;
/// Between two probes, and after the last one until silence counts. Herald's own: answers on a LAN come within a few milliseconds.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A second claim within this time after a defence ends in yielding (`DEFEND_INTERVAL`).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// Claims so soon after a defence were said before it was heard: an announcement is often several frames.
const UNHEARD: Duration = Duration::from_millis(50);
/// Until a withheld place is probed again; doubled every time it is still claimed.
const BACK_OFF: Duration = Duration::from_secs(10);
/// The longest such pause (`RATE_LIMIT_INTERVAL`).
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// What this node itself used so lately needs no probe before it is used again.
const LATELY: Duration = Duration::from_secs(10);

/// What is done when a foreign station claims an address that is in use here. One that is only about to be used is never fought for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Say once more that it is here; yield to a second claim within 10 s (RFC 5227 section 2.4 (b)).
    #[default]
    Defend,
    /// Cease at once (RFC 5227 section 2.4 (a)).
    Yield,
}

/// Not the name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no conflict policy: use defend or yield")]
pub struct UnknownPolicy(String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "defend" => Ok(Self::Defend),
            "yield" => Ok(Self::Yield),
            _ => Err(UnknownPolicy(text.to_owned())),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Defend => "defend",
            Self::Yield => "yield",
        })
    }
}

/// Why an address is not answered for on a link though it is this node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// A foreign station claims it.
    #[error("a foreign station, {0}, has it: nobody answers for it here")]
    Held(Mac),
    /// A node has it: announcing it would cut the node off.
    #[error("it is the address of node {0} itself")]
    OfNode(NodeName),
    /// The first address of the link's subnet.
    #[error("it is the network address of the link's subnet {0}")]
    Network(Ipv4Network),
    /// The last address of the link's subnet.
    #[error("it is the broadcast address of the link's subnet {0}")]
    Broadcast(Ipv4Network),
}

impl Reason for Withheld {
    fn label(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::OfNode(_) => "of_node",
            Self::Network(_) => "network",
            Self::Broadcast(_) => "broadcast",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Held(_) => {
                "find the host with that MAC address (the switch knows its port) and take the address away from it, or take it out of the pool"
            }
            Self::OfNode(_) => "take it out of the pool: pools hold no addresses of nodes",
            Self::Network(_) | Self::Broadcast(_) => "take it out of the pool: hosts of that subnet do not speak to it",
        })
    }
}

/// Why a place is this node's concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is to be used, and nobody of ours used it until now: it is probed first.
    FirstUse,
    /// One of ours used it until now: it is used at once, and probed beside.
    Continued,
    /// It is answered for on another node's behalf: as [`Origin::Continued`], and never defended, as it is not here.
    StoodIn,
    /// It is handed over and drained: who has it now watches over it.
    Drained,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// From now on the place is withheld.
    Yielded,
    /// The place is to be announced again, this once.
    Defended,
}

/// What came of probing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// Places to be probed now.
    pub probes: Vec<Place>,
    /// Places that turned out to be free: they may be used from now on.
    pub free: Vec<Place>,
    /// Those of them that were withheld.
    pub over: Vec<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not used yet.
    Probing,
    /// In use.
    Free { defended: Option<Moment> },
    /// A foreign station has it. `rounds`: how often that was found.
    Held { by: Mac, rounds: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    state: State,
    origin: Origin,
    /// Probes of the current round so far.
    sent: u32,
    /// The next probe, or the end of the round; `None` while nothing is to be probed.
    next: Option<Moment>,
}

impl Watched {
    /// Whether a round is under way: somebody who claims the place answers it.
    fn is_probed(&self) -> bool {
        self.next.is_some() && (self.sent > 0 || !matches!(self.state, State::Held { .. }))
    }

    /// Who only begins to use it does not fight for it, and who stands in for another has nothing to say.
    fn may_defend(&self) -> bool {
        self.origin != Origin::StoodIn && !self.is_probed()
    }
}

/// Watches over the places that this node is to use.
#[derive(Debug)]
pub struct Guard {
    policy: Policy,
    /// Different for each node, so that two do not probe in chorus.
    seed: u64,
    places: BTreeMap<Place, Watched>,
    /// Those that wait for their first use.
    firsts: Queue,
    /// Those that nothing waits for: what is in use is probed beside, and what is withheld was so for long.
    beside: Queue,
    /// None of the latter before.
    paced: Moment,
    /// What was in use here and was given up, and when.
    left: BTreeMap<Place, Moment>,
}

impl Guard {
    /// Watches over nothing yet. `seed` is a number of this node's.
    #[must_use]
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            seed,
            places: BTreeMap::new(),
            firsts: Queue::new(),
            beside: Queue::new(),
            paced: Moment::default(),
            left: BTreeMap::new(),
        }
    }

    /// Watches over exactly these places: new ones are probed, others go on. Those that one of ours found claimed are withheld from the
    /// start, until probing says otherwise: `known` names the station.
    pub fn set(
        &mut self,
        wanted: &BTreeMap<Place, Origin>,
        known: impl Fn(&Place) -> Option<Mac>,
        now: Moment,
    ) -> Vec<(Place, Mac)> {
        let mut withheld = Vec::new();
        self.left.retain(|_, when| now.since(*when) < LATELY);
        let gone: Vec<Place> = self.places.keys().filter(|place| !wanted.contains_key(*place)).cloned().collect();
        for place in gone {
            if self.remove(&place).is_some_and(|watched| matches!(watched.state, State::Free { .. })) {
                self.left.insert(place, now);
            }
        }
        for (place, origin) in wanted {
            if let Some(watched) = self.places.get_mut(place) {
                watched.origin = *origin;
                continue;
            }
            let lately = self.left.remove(place).is_some();
            let state = match known(place) {
                Some(by) => {
                    withheld.push((place.clone(), by));
                    State::Held { by, rounds: 1 }
                }
                None if *origin == Origin::FirstUse && !lately => State::Probing,
                None => State::Free { defended: None },
            };
            let next = (*origin != Origin::Drained).then_some(now);
            self.insert(place.clone(), Watched { state, origin: *origin, sent: 0, next });
        }
        withheld
    }

    fn insert(&mut self, place: Place, watched: Watched) {
        self.remove(&place);
        self.queue(watched.state).extend(watched.next.map(|next| (next, place.clone())));
        self.places.insert(place, watched);
    }

    fn remove(&mut self, place: &Place) -> Option<Watched> {
        let watched = self.places.remove(place)?;
        if let Some(next) = watched.next {
            self.queue(watched.state).remove(&(next, place.clone()));
        }
        Some(watched)
    }

    fn queue(&mut self, state: State) -> &mut Queue {
        if state == State::Probing { &mut self.firsts } else { &mut self.beside }
    }

    /// Whether the place may be used.
    #[must_use]
    pub fn is_free(&self, place: &Place) -> bool {
        self.places.get(place).is_some_and(|watched| matches!(watched.state, State::Free { .. }))
    }

    /// Whether claims of a place matter here: it is used, probed or withheld.
    #[must_use]
    pub fn watches(&self, place: &Place) -> bool {
        self.places.contains_key(place)
    }

    /// Whether any place waits for its first use.
    #[must_use]
    pub fn is_probing(&self) -> bool {
        self.places.values().any(|watched| watched.state == State::Probing)
    }

    /// A foreign station claims an address: it says that it has it, or probes for it while this node does, too (RFC 5227 section 2.1.1).
    pub fn claimed(&mut self, place: &Place, by: Mac, now: Moment) -> Option<Claimed> {
        let watched = *self.places.get(place)?;
        let (rounds, came) = match watched.state {
            // Waiting for the next round: known already.
            State::Held { rounds, .. } if !watched.is_probed() => {
                self.places.entry(place.clone()).and_modify(|watched| watched.state = State::Held { by, rounds });
                return None;
            }
            State::Held { rounds, .. } => (rounds.saturating_add(1), None),
            State::Free { .. } if watched.origin == Origin::Drained => return None,
            State::Free { defended } if watched.may_defend() && self.policy == Policy::Defend => {
                match defended.map(|when| now.since(when)) {
                    Some(since) if since < UNHEARD => return None,
                    Some(since) if since < DEFEND_INTERVAL => (1, Some(Claimed::Yielded)),
                    _ => {
                        let state = State::Free { defended: Some(now) };
                        self.places.entry(place.clone()).and_modify(|watched| watched.state = state);
                        return Some(Claimed::Defended);
                    }
                }
            }
            State::Probing | State::Free { .. } => (1, Some(Claimed::Yielded)),
        };
        let next = Some(now + self.back_off(place, rounds));
        self.insert(place.clone(), Watched { state: State::Held { by, rounds }, sent: 0, next, ..watched });
        came
    }

    /// The pause before a withheld place is probed again, up to a tenth shorter.
    fn back_off(&self, place: &Place, rounds: u32) -> Duration {
        let doubled = 1_u32.checked_shl(rounds.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = BACK_OFF.saturating_mul(doubled).min(BACK_OFF_MAX);
        pause - pause / 10 * super::spread(place, self.seed) / 256
    }

    /// This station turned out to be one of ours: what it claimed is no conflict.
    pub fn forgive(&mut self, mac: Mac, now: Moment) {
        let held = |watched: &Watched| matches!(watched.state, State::Held { by, .. } if by == mac);
        let places: Vec<Place> =
            self.places.iter().filter(|(_, it)| held(it)).map(|(place, _)| place.clone()).collect();
        for place in places {
            if let Some(watched) = self.places.get(&place).copied() {
                self.insert(place, Watched { sent: 0, next: Some(now), ..watched });
            }
        }
    }

    /// What is to be probed now, a portion of it, and what silence says. Everything received has to be handled before.
    pub fn due(&mut self, now: Moment) -> Probed {
        let mut probed = Probed::default();
        while probed.probes.len() < PORTION
            && let Some(place) = pop(&mut self.firsts, now)
        {
            self.step(place, now, &mut probed);
        }
        if self.paced <= now {
            let firsts = probed.probes.len();
            while probed.probes.len() < PORTION
                && let Some(place) = pop(&mut self.beside, now)
            {
                self.step(place, now, &mut probed);
            }
            let beside = u32::try_from(probed.probes.len() - firsts).unwrap_or_default();
            self.paced = now + REPEATS_APART * beside;
        }
        probed
    }

    /// The next step of a round: a probe, or its end.
    fn step(&mut self, place: Place, now: Moment, probed: &mut Probed) {
        let Some(watched) = self.places.get_mut(&place) else { return };
        if watched.sent < PROBES {
            watched.sent += 1;
            // Counted from when it is sent: after a pause silence does not count for what was never asked.
            let next = now + PROBE_EVERY;
            watched.next = Some(next);
            let state = watched.state;
            self.queue(state).insert((next, place.clone()));
            probed.probes.push(place);
            return;
        }
        watched.next = None;
        match watched.state {
            State::Free { .. } => return,
            State::Probing => {}
            State::Held { .. } => probed.over.push(place.clone()),
        }
        watched.state = State::Free { defended: None };
        probed.free.push(place);
    }

    /// When [`Guard::due`] has something next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        first(&self.firsts).into_iter().chain(first(&self.beside).map(|moment| moment.max(self.paced))).min()
    }

    /// Places that foreign stations have, with theirs.
    pub fn held(&self) -> impl Iterator<Item = (&Place, Mac)> {
        self.places.iter().filter_map(|(place, watched)| match watched.state {
            State::Held { by, .. } => Some((place, by)),
            State::Probing | State::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests;
