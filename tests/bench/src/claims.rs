//! Who says to have which address, as every host on the LAN hears it: announcements unasked, and answers to the client's own questions.

use crate::{Error, Result, arp::ArpPort};
use herald_lab::{Host, Lab};
use herald_wire::{Mac, arp::ArpPacket};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What was said about the watched addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimsSeen {
    /// How often an address was claimed for another MAC address than the one before.
    pub moves: usize,
    /// Longest time from a broadcast request of the client for one address to the first answer to it or to one of those that followed.
    pub longest_unanswered: Duration,
    /// Where each address was in the end.
    pub last: BTreeMap<Ipv4Addr, Mac>,
}

impl ClaimsSeen {
    fn note(&mut self, packet: &ArpPacket) {
        if let Some(last) = self.last.get_mut(&packet.sender_ip)
            && *last != packet.sender_mac
        {
            *last = packet.sender_mac;
            self.moves += 1;
        }
    }
}

/// A watch over some addresses.
#[derive(Debug)]
pub struct Claims {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<ClaimsSeen>>,
}

impl Claims {
    /// Asks for each of them every `pace` from now on, and listens.
    ///
    /// # Errors
    /// No socket.
    pub fn watch(lab: &Lab, client: Host, owners: BTreeMap<Ipv4Addr, Mac>, pace: Duration) -> Result<Self> {
        let port = ArpPort::open_on(lab, client)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || listen(&port, owners, pace, &stop)
        });
        Ok(Self { stop, thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the socket said.
    pub fn finish(self) -> Result<ClaimsSeen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn listen(port: &ArpPort, owners: BTreeMap<Ipv4Addr, Mac>, pace: Duration, stop: &AtomicBool) -> Result<ClaimsSeen> {
    // Since when each address has been asked for in vain.
    let mut waiting: BTreeMap<Ipv4Addr, Option<Instant>> = owners.keys().map(|ip| (*ip, None)).collect();
    let mut seen = ClaimsSeen { last: owners, ..ClaimsSeen::default() };
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() >= next {
            for (ip, since) in &mut waiting {
                port.send(*ip, Mac::BROADCAST)?;
                since.get_or_insert_with(Instant::now);
            }
            next = Instant::now() + pace;
        }
        let Some(packet) = port.hear(next)? else { continue };
        seen.note(&packet);
        if packet.target_mac == port.mac()
            && let Some(since) = waiting.get_mut(&packet.sender_ip).and_then(Option::take)
        {
            seen.longest_unanswered = seen.longest_unanswered.max(since.elapsed());
        }
    }
    let never = waiting.values().flatten().map(Instant::elapsed).max().unwrap_or_default();
    seen.longest_unanswered = seen.longest_unanswered.max(never);
    Ok(seen)
}

/// Who answers a broadcast request first.
///
/// # Errors
/// Nobody does, within a second.
pub fn owner(port: &ArpPort, ip: Ipv4Addr) -> Result<Mac> {
    let answer = port.ask_until_answered(ip, Duration::from_millis(50), Duration::from_secs(1))?;
    Ok(answer.ok_or_else(|| Error::NotSeen(format!("an ARP answer for {ip}")))?.mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_wire::arp::gratuitous_reply;

    #[test]
    fn an_address_moves_once_for_each_new_claim() {
        let ip = Ipv4Addr::new(192, 168, 56, 20);
        let (one, two) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let mut seen = ClaimsSeen { last: BTreeMap::from([(ip, one)]), ..ClaimsSeen::default() };
        for (mac, about) in [(one, ip), (two, ip), (two, ip), (two, Ipv4Addr::LOCALHOST), (one, ip)] {
            seen.note(&gratuitous_reply(mac, about).packet);
        }
        assert_eq!((seen.moves, seen.last[&ip]), (2, one));
        assert_eq!(seen.last.len(), 1, "others are not watched");
    }
}
