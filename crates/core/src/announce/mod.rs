//! What is said about owned addresses, and when: the gratuitous burst after an address is taken, and its refresh.
//!
//! Answering itself is a table look-up at the socket; this decides what stands in the table and what is said unasked. Whether an address may
//! be used at all, as a foreign host may have it, says [`conflict`].

pub mod conflict;
#[cfg(test)]
mod tests;

use crate::{LinkName, time::Moment};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

/// When a burst speaks, after the address was taken. The first is at once; those 1.1 s apart outlast Linux' ARP locktime of 1 s, within which
/// a neighbour ignores a second change (metallb#172).
const BURST: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(1300),
    Duration::from_millis(2400),
    Duration::from_millis(3500),
    Duration::from_millis(4600),
];

/// A switch forgets a silent port after 300 s, a gateway its ARP entry later: without a refresh, traffic is lost in between (metallb#2910).
const REFRESH: Duration = Duration::from_secs(60);

/// A refresh waits so long for something else to wake this machine, a hello above all: with ten thousand addresses it would be forty
/// wake-ups a second.
const NO_HURRY: Duration = Duration::from_secs(1);

/// How much is said at once: a frame takes some 50 us, and hellos, answers and everything else need their turn. A node that takes ten thousand
/// addresses would say nothing else for so long that others took it for dead.
const PORTION: usize = 64;

/// Repeats are so far apart on average, 400 a second: every station of the link looks at each of these broadcasts. Where thousands of addresses
/// change hands, the first word is said for all of them, and the repeats come later than their time, as do probes that nobody waits for.
const REPEATS_APART: Duration = Duration::from_micros(2500);

/// Claims by one that cannot be told are contradicted by one burst when they are no further apart; a burst is longer.
const CLAIMS_APART: Duration = Duration::from_secs(1);

/// An address on a link.
pub type Place = (LinkName, IpAddr);

/// What the neighbours know of an address that is announced from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or that it is elsewhere.
    Elsewhere,
    /// That it is here, as far as anybody can tell: this node ceased to take part, and nobody said to have it since.
    Likely,
    /// That it is here: its place was kept for this node while its speaker restarted.
    Here,
}

/// The schedule of everything that is announced.
#[derive(Debug, Default)]
pub struct Announcer {
    announced: BTreeMap<Place, Schedule>,
    firsts: Queue,
    /// First words that neighbours hardly need, too.
    repeats: Queue,
    refreshes: Queue,
    /// Neither repeats nor refreshes before.
    paced: Moment,
}

/// What is said at some time, the next first.
type Queue = BTreeSet<(Moment, Place)>;

#[derive(Debug, Clone, Copy)]
struct Schedule {
    since: Moment,
    step: usize,
    next: Moment,
    /// Also its first word may wait.
    patient: bool,
}

impl Announcer {
    /// Makes exactly these places announced: new ones get a burst, others go on, missing ones fall silent. A place that is known to be here is
    /// said once, some time later, as a refresh; where that is but likely, the burst waits its turn, behind what is new to the neighbours: a
    /// speaker that is starved again and again would not get on for announcing.
    pub fn set(&mut self, owned: &BTreeSet<Place>, known: impl Fn(&Place) -> Known, now: Moment) {
        let gone: Vec<Place> = self.announced.keys().filter(|place| !owned.contains(*place)).cloned().collect();
        gone.iter().for_each(|place| self.remove(place));
        for place in owned {
            if !self.announced.contains_key(place) {
                match known(place) {
                    Known::Here => self.resume(place.clone(), now),
                    Known::Likely => self.start(place.clone(), true, now),
                    Known::Elsewhere => self.start(place.clone(), false, now),
                }
            }
        }
    }

    /// Says everything on this link again: its MAC changed, or it came up.
    pub fn again(&mut self, link: &LinkName, now: Moment) {
        let places: Vec<Place> = self.announced.keys().filter(|(name, _)| name == link).cloned().collect();
        for place in places {
            self.remove(&place);
            self.start(place, false, now);
        }
    }

    /// Somebody who cannot be told that it errs said that this place is its own. If it is announced here, neighbours are told again, as often as
    /// at first; one claim after the other does not start that over.
    pub fn contradict(&mut self, place: &Place, now: Moment) {
        let due = |schedule: &Schedule| now.since(schedule.since) >= CLAIMS_APART;
        if self.announced.get(place).is_some_and(due) {
            self.remove(place);
            self.start(place.clone(), false, now);
        }
    }

    fn resume(&mut self, place: Place, now: Moment) {
        // Spread over a few seconds, as the refreshes are over a minute.
        let next = now + (REFRESH - jittered(&place));
        self.insert(place, Schedule { since: now, step: BURST.len(), next, patient: true });
    }

    fn start(&mut self, place: Place, patient: bool, now: Moment) {
        self.insert(place, Schedule { since: now, step: 0, next: now, patient });
    }

    fn insert(&mut self, place: Place, schedule: Schedule) {
        self.queue(schedule).insert((schedule.next, place.clone()));
        self.announced.insert(place, schedule);
    }

    fn remove(&mut self, place: &Place) {
        if let Some(schedule) = self.announced.remove(place) {
            self.queue(schedule).remove(&(schedule.next, place.clone()));
        }
    }

    fn queue(&mut self, schedule: Schedule) -> &mut Queue {
        match schedule.step {
            0 if !schedule.patient => &mut self.firsts,
            step if step < BURST.len() => &mut self.repeats,
            _ => &mut self.refreshes,
        }
    }

    /// The places to be announced unasked now: a portion of them, others may still be due.
    pub fn due(&mut self, now: Moment) -> Vec<Place> {
        let mut due = Vec::new();
        take(&mut self.firsts, now, &mut due);
        let firsts = due.len();
        if self.paced <= now {
            take(&mut self.repeats, now, &mut due);
            take(&mut self.refreshes, now, &mut due);
            let repeats = u32::try_from(due.len() - firsts).unwrap_or_default();
            self.paced = now + REPEATS_APART * repeats;
        }
        for place in &due {
            let Some(mut schedule) = self.announced.get(place).copied() else { continue };
            // After a pause, what was missed is said once, not many times.
            while schedule.next <= now {
                schedule.step += 1;
                schedule.next = match BURST.get(schedule.step) {
                    Some(offset) => schedule.since + *offset,
                    None => now + jittered(place),
                };
            }
            self.insert(place.clone(), schedule);
        }
        due
    }

    /// When [`Announcer::due`] has something next that does not wait any longer.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let repeat = first(&self.repeats).map(|moment| moment.max(self.paced));
        let refresh = first(&self.refreshes).map(|moment| moment.max(self.paced) + NO_HURRY);
        first(&self.firsts).into_iter().chain(repeat).chain(refresh).min()
    }

    /// Everything announced now.
    pub fn announced(&self) -> impl Iterator<Item = &Place> {
        self.announced.keys()
    }
}

/// Moves what is due, the longest first, until this portion is full.
fn take(queue: &mut Queue, now: Moment, portion: &mut Vec<Place>) {
    while portion.len() < PORTION
        && let Some(place) = pop(queue, now)
    {
        portion.push(place);
    }
}

/// What is due the longest.
fn pop(queue: &mut Queue, now: Moment) -> Option<Place> {
    first(queue).filter(|moment| *moment <= now)?;
    queue.pop_first().map(|(_, place)| place)
}

/// When something of a queue is due first.
fn first(queue: &Queue) -> Option<Moment> {
    queue.first().map(|(moment, _)| *moment)
}

/// Up to a tenth less than a minute, different for each address, so that a thousand addresses do not speak at once.
fn jittered(place: &Place) -> Duration {
    REFRESH - REFRESH / 10 * spread(place, 0) / 256
}

/// A number from 0 to 255 that is different for each place and seed.
fn spread((link, address): &Place, seed: u64) -> u32 {
    let hash = link
        .as_str()
        .bytes()
        .chain(crate::net::to_number(*address).to_be_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The last octet reaches only the low bits: spread them before the high ones are used.
    let spread = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    u32::try_from(spread).unwrap_or(0)
}
