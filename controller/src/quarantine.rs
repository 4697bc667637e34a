//! Addresses that hosts outside the cluster have, as the speakers tell: for a while nobody gets them.
//!
//! What a speaker tells moves other people's addresses, so it is believed within bounds: a router that answers for everything (proxy ARP), or
//! a speaker that is not what it seems, moves a few Services and then no more.

use herald_api::configuration_state::Conflict;
use herald_runtime::watch::{Change, ObjectKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};
use tokio::time::Instant;

/// Most addresses in quarantine.
const MOST: usize = 16;
/// Most of them because of one station: a station with more is a router that answers for everything, and any other address would be no better.
const MOST_OF_STATION: usize = 3;

/// An address in quarantine.
#[derive(Debug)]
struct Held {
    station: String,
    /// `None` as long as it is told.
    until: Option<Instant>,
}

/// What is in quarantine.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// How long an address stays after it was last told; zero: there is no quarantine.
    time: Duration,
    told: BTreeMap<ObjectKey, Vec<Conflict>>,
    held: BTreeMap<IpAddr, Held>,
    addresses: BTreeSet<IpAddr>,
}

impl Quarantine {
    /// Empty.
    pub(crate) fn new(time: Duration) -> Self {
        Self { time, told: BTreeMap::new(), held: BTreeMap::new(), addresses: BTreeSet::new() }
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }

    /// Takes over what the speakers tell; whether the quarantine is another one then.
    pub(crate) fn observe(&mut self, change: Change<Vec<Conflict>>, now: Instant) -> bool {
        match change {
            Change::Reset { objects, .. } => self.told = objects,
            Change::Set { key, value, .. } => drop(self.told.insert(key, value)),
            Change::Gone { key, .. } => drop(self.told.remove(&key)),
            Change::Vanished => self.told.clear(),
            Change::Disconnected(_) | Change::Connected => return false,
        }
        self.settle(now)
    }

    /// Ends what is over; whether anything was.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.next().is_some_and(|next| next <= now) && self.settle(now)
    }

    /// When something is over.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.held.values().filter_map(|held| held.until).min()
    }

    fn settle(&mut self, now: Instant) -> bool {
        if self.time.is_zero() {
            return false;
        }
        let told: BTreeMap<IpAddr, &str> =
            self.told.values().flatten().map(|conflict| (conflict.address, &*conflict.station)).collect();
        for (address, held) in &mut self.held {
            held.until = if told.contains_key(address) { None } else { held.until.or(Some(now + self.time)) };
        }
        self.held.retain(|address, held| {
            let stays = held.until.is_none_or(|until| until > now);
            if !stays {
                tracing::info!(%address, "quarantine is over: the address may be assigned again");
            }
            stays
        });
        for (address, station) in told {
            let of_station = self.held.values().filter(|held| !station.is_empty() && held.station == station).count();
            if self.held.contains_key(&address) {
                continue;
            }
            if self.held.len() >= MOST || of_station >= MOST_OF_STATION {
                tracing::warn!(%address, station, "address conflict, and no quarantine: there are too many at once");
                continue;
            }
            tracing::warn!(%address, station, "address conflict: the address is in quarantine");
            self.held.insert(address, Held { station: station.to_owned(), until: None });
        }
        let before = std::mem::replace(&mut self.addresses, self.held.keys().copied().collect());
        before != self.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tells(quarantine: &mut Quarantine, node: &str, conflicts: &[&str], now: Instant) -> bool {
        let key = ObjectKey { namespace: "herald".into(), name: node.into() };
        let value = conflicts.iter().map(|it| it.parse().unwrap()).collect();
        quarantine.observe(Change::Set { key, value, newest: 1 }, now)
    }

    fn of(station: u8, addresses: std::ops::Range<u8>) -> Vec<String> {
        addresses.map(|last| format!("192.0.2.{last} eth0 held 02:ff:00:00:00:{station:02x}")).collect()
    }

    #[tokio::test]
    async fn an_address_stays_a_while_after_it_was_last_told() {
        let (mut quarantine, start) = (Quarantine::new(Duration::from_secs(600)), Instant::now());
        let second = Duration::from_secs(1);
        assert!(tells(&mut quarantine, "a", &["192.0.2.1 eth0 held 02:ff:00:00:00:01"], start));
        assert_eq!(quarantine.next(), None);
        assert!(!tells(&mut quarantine, "b", &["192.0.2.1 eth0 held 02:ff:00:00:00:01"], start));
        assert!(!tells(&mut quarantine, "a", &[], start + second));
        assert_eq!(quarantine.next(), None, "b tells it still");
        assert!(!tells(&mut quarantine, "b", &[], start + second));
        assert_eq!(quarantine.next(), Some(start + second * 601));
        assert!(!quarantine.expire(start + second * 600));
        assert_eq!(quarantine.addresses().len(), 1);
        assert!(quarantine.expire(start + second * 601));
        assert!(quarantine.addresses().is_empty());
        // Without a time there is none.
        assert!(!tells(&mut Quarantine::new(Duration::ZERO), "a", &["192.0.2.0 eth0 network"], start));
    }

    #[tokio::test]
    async fn neither_one_station_nor_all_of_them_move_everybody() {
        let (mut quarantine, now) = (Quarantine::new(Duration::from_secs(600)), Instant::now());
        let router = of(1, 0..200);
        assert!(tells(&mut quarantine, "a", &router.iter().map(String::as_str).collect::<Vec<_>>(), now));
        assert_eq!(quarantine.addresses().len(), MOST_OF_STATION);
        let others: Vec<String> = (2..100).flat_map(|station| of(station, station..station + 1)).collect();
        tells(&mut quarantine, "b", &others.iter().map(String::as_str).collect::<Vec<_>>(), now);
        assert_eq!(quarantine.addresses().len(), MOST);
    }
}
