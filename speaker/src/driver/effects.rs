//! What the machine wants to be done: frames, events on Services, numbers and the log.

use super::{Driver, Told};
use crate::net::sys::boottime;
use herald_core::{
    LinkName, NodeName, ServiceKey,
    membership::Change,
    reason::Reason,
    speaker::{Claim, Effect},
};
use herald_wire::hello::{self, Hello};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Lines that say the same of single Services or addresses in one go.
const LINES: usize = 20;

/// What happens to thousands of Services at once is logged for the first of them: all are counted, what is news has its event, and a node that
/// takes over has other things to do.
#[derive(Debug, Default)]
pub(super) struct Lines(BTreeMap<&'static str, usize>);

impl Lines {
    /// Whether one more line says this.
    fn take(&mut self, what: &'static str) -> bool {
        let lines = self.0.entry(what).or_default();
        *lines += 1;
        *lines <= LINES
    }

    /// Everything that happened at once is over.
    pub(super) fn end(&mut self) {
        for (what, lines) in std::mem::take(&mut self.0) {
            if let more @ 1.. = lines.saturating_sub(LINES) {
                tracing::info!(more, "{what} (these all at once)");
            }
        }
    }
}

impl Driver {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { link, addresses } => self.answer(&link, addresses),
            Effect::Gratuitous { link, address } => {
                let Some(port) = self.ports.get(&link) else { return };
                match port.responder.announce(port.link.mac, address) {
                    Ok(()) => self.gratuitous.count(address, boottime()),
                    Err(error) => {
                        tracing::warn!(%link, %address, %error, "cannot announce; the next refresh tries again")
                    }
                }
            }
            Effect::Hello { link, hello, unicast } => self.send_hello(&link, &hello, &unicast),
            Effect::Ask { link, address, to } => {
                let asked = self.ports.get(&link).map(|port| port.ask(address, to));
                if let Some(Err(error)) = asked {
                    tracing::debug!(%link, %address, %error, "cannot ask");
                }
            }
            Effect::Probe { link, address } => {
                let probed = self.ports.get(&link).map(|port| port.probe(address));
                if let Some(Err(error)) = probed {
                    tracing::warn!(%link, %address, %error, "cannot probe: whether somebody else has the address is not known");
                }
            }
            Effect::Withheld { link, address, why } => {
                self.changes.conflict(&link, why.label());
                tracing::warn!(%link, %address, "address conflict: {}", why.advice());
                self.tell_of(address, || Told::Withheld(address, &link, &why));
            }
            Effect::Defended { link, address, from } => {
                self.changes.conflict(&link, "defended");
                tracing::warn!(%link, %address, %from, "a foreign station claims the address; it was told that it is here");
                self.tell_of(address, || Told::Defended(address, &link, from));
            }
            Effect::ConflictOver { link, address } => {
                tracing::info!(%link, %address, "nobody claims the address any more: it is answered for again");
                self.tell_of(address, || Told::ConflictOver(address, &link));
            }
            Effect::Membership { link, change } => {
                self.changes.membership(&link, &change);
                self.lost.note(&link, &change);
                tell(&link, &change);
            }
            Effect::Announcing(service, cause) => {
                self.changes.ownership(true, cause);
                if self.lines.take("announcing") {
                    tracing::info!(%service, %cause, announced = ?self.speaker.announcing().get(&service), "announcing");
                }
                self.tell(&service, |_| Told::Announcing);
            }
            Effect::Resumed(service, cause) => {
                self.changes.ownership(true, cause);
                if self.lines.take("announcing again") {
                    tracing::info!(%service, %cause, announced = ?self.speaker.announcing().get(&service), "announcing again");
                }
            }
            Effect::Prevailed(service) => {
                if self.lines.take("another node announced it, too, and ceased to") {
                    tracing::info!(%service, "another node announced it, too, and ceased to");
                }
                self.tell(&service, |_| Told::Announcing);
            }
            Effect::Withdrawn(service, cause) => {
                self.changes.ownership(false, cause);
                if self.lines.take("not announcing any more") {
                    tracing::info!(%service, %cause, "not announcing any more");
                }
            }
            Effect::HandOver { link, group, what, with } => {
                self.changes.hand_over(&link, what);
                if self.lines.take("planned move") {
                    tracing::info!(%link, address = %group, %with, what = what.label(), "planned move");
                }
            }
            Effect::LacksInterface(service) => {
                tracing::warn!(%service, "no node has an interface that the Service's advertisements name: nobody announces it");
                self.tell(&service, Told::LacksInterface);
            }
        }
    }

    /// An event on a Service, as it is now; one that is gone meanwhile needs none.
    fn tell<'a>(&'a self, key: &ServiceKey, told: impl FnOnce(&'a [IpAddr]) -> Told<'a>) {
        let service = self.speaker.snapshot().and_then(|snapshot| snapshot.services.get(key));
        if let Some(service) = service {
            (self.resources.on_service)(key, &service.uid, told(&service.addresses));
        }
    }

    /// An event on every Service with the address.
    fn tell_of<'a>(&self, address: IpAddr, told: impl Fn() -> Told<'a>) {
        let services = self.speaker.snapshot().into_iter().flat_map(|snapshot| &snapshot.services);
        for (key, service) in services.filter(|(_, service)| service.addresses.contains(&address)) {
            (self.resources.on_service)(key, &service.uid, told());
        }
    }

    fn answer(&mut self, link: &LinkName, addresses: BTreeMap<IpAddr, Claim>) {
        // Before the table, or its first request would meet the fence of a time without addresses.
        let good_until = self.speaker.good_until(link);
        if let Some(port) = self.ports.get_mut(link) {
            port.answer(addresses);
            port.fence(good_until);
        }
    }

    fn send_hello(&self, link: &LinkName, hello: &Hello, unicast: &[IpAddr]) {
        let keys = Arc::clone(&self.resources.keys.borrow());
        let (Some(key), Some(port), Some(mac)) = (keys.accepted.first(), self.ports.get(link), self.ports.mac(link))
        else {
            return;
        };
        let sealed = match hello::seal(hello, key) {
            Ok(sealed) => sealed,
            Err(error) => return tracing::error!(%link, %error, "hello cannot be sent"),
        };
        if let Err(error) = port.hello.send(mac, &sealed) {
            tracing::debug!(%link, %error, "hello was not sent");
        }
        for peer in unicast {
            if let Some(Err(error)) = self.udp.as_ref().map(|udp| udp.send(*peer, &sealed)) {
                tracing::debug!(%link, %peer, %error, "unicast hello was not sent");
            }
        }
    }
}

fn tell(link: &LinkName, change: &Change) {
    let node = |node: &NodeName| node.as_str().to_owned();
    match change {
        Change::Joined(peer) => tracing::info!(%link, peer = node(peer), "peer heard"),
        Change::Left(peer, why) => tracing::warn!(%link, peer = node(peer), ?why, "peer is gone: {why}"),
        Change::Ready(peer, ready) => tracing::info!(%link, peer = node(peer), ready, "peer's readiness"),
        Change::DataPlane(peer, plane) => {
            tracing::info!(%link, peer = node(peer), ?plane, "what the peer says of its data plane")
        }
        Change::Presumed(peer, true) => tracing::warn!(
            %link,
            peer = node(peer),
            "peer is never heard on this link though its address answers: counted as present; does the switch or hypervisor filter multicast?"
        ),
        Change::Presumed(peer, false) => {
            tracing::warn!(%link, peer = node(peer), "peer is not presumed present any more")
        }
        Change::Restarting(peer) => tracing::info!(
            %link,
            peer = node(peer),
            "peer's speaker is away while its node is there: nothing moves, its addresses are answered for on its behalf"
        ),
        Change::Back(peer) => tracing::info!(%link, peer = node(peer), "peer's speaker is back"),
        Change::Links(peer) => tracing::debug!(%link, peer = node(peer), "peer's links changed"),
        Change::Standing(standing) => tracing::info!(%link, ?standing, "own standing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_happens_at_once_the_first_are_logged_and_each_time_anew() {
        let mut lines = Lines::default();
        for _ in 0..2 {
            assert!((0..LINES).all(|_| lines.take("announcing")));
            assert!(!lines.take("announcing"));
            assert!(lines.take("planned move"), "something else");
            lines.end();
        }
    }
}
