//! What comes in, one by one, and what of it calls for a decision.

use super::{Cause, Input, Link, Speaker, Taken};
use crate::{
    LinkName, NodeName,
    membership::{Expected, Membership, Roster},
    ownership::Plan,
    time::Moment,
};
use herald_wire::hello::{IfName, LinkInfo};
use ipnetwork::IpNetwork;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

impl Speaker {
    pub(super) fn take(&mut self, input: Input, now: Moment) -> Taken {
        match input {
            Input::Hello { link, from, by_datagram, hello } => {
                let Some(membership) = self.memberships.get_mut(&link) else { return Taken::NoLink };
                if let Err(why) = membership.hear(&hello, from, by_datagram, now) {
                    return Taken::Ignored(why);
                }
                self.learn(&link, &hello, now);
                self.hear_words(&link, &hello, now);
            }
            Input::Answered { link, address, from } => {
                let Some(membership) = self.memberships.get_mut(&link) else { return Taken::NoLink };
                membership.answered(address, from, now);
                self.claimed(&(link, address), from, now);
            }
            Input::Snapshot(snapshot) => {
                match &mut self.plan {
                    Some(plan) => {
                        if let Some(before) = plan.follow(snapshot) {
                            self.before.get_or_insert(before);
                            self.decide_for(Cause::Cluster);
                        }
                    }
                    None => {
                        self.plan = Some(Plan::new(snapshot));
                        self.decide_for(Cause::Speaker);
                    }
                }
                self.set_rosters(now);
            }
            Input::Links(links) => self.set_links(links, now),
            Input::DataPlane { is, has_health } => {
                if (self.data_plane, self.has_health) != (is, has_health) {
                    (self.data_plane, self.has_health) = (is, has_health);
                    self.decide_for(Cause::Speaker);
                }
            }
            Input::Key(known) => {
                if known && !self.key {
                    self.listen_again(now);
                }
                self.set(|s| &mut s.key, known);
            }
            Input::Standby(standby) => {
                if self.standby && !standby {
                    self.listen_again(now);
                }
                self.set(|s| &mut s.standby, standby);
            }
            Input::Stop { leaving } => {
                self.stop = Some(leaving);
                self.decide_for(Cause::Speaker);
            }
        }
        Taken::Used
    }

    /// Without the key, and in standby, nothing was heard: what was listened to until now does not count.
    fn listen_again(&mut self, now: Moment) {
        self.memberships.values_mut().for_each(|membership| membership.restart(now));
    }

    fn set(&mut self, field: impl Fn(&mut Self) -> &mut bool, value: bool) {
        if std::mem::replace(field(self), value) != value {
            self.decide_for(Cause::Speaker);
        }
    }

    fn set_links(&mut self, links: Vec<Link>, now: Moment) {
        let links: BTreeMap<LinkName, Link> = links.into_iter().map(|link| (link.name.clone(), link)).collect();
        if links == self.links {
            return;
        }
        self.memberships.retain(|name, _| links.contains_key(name));
        for (name, link) in &links {
            if !self.memberships.contains_key(name) {
                self.memberships.insert(name.clone(), Membership::new(self.me.clone(), self.timing, now));
            } else if self.links.get(name).is_some_and(|old| old.mac != link.mac) {
                self.announcer.again(name, now);
            }
        }
        let info = |link: &Link| LinkInfo {
            mac: link.mac,
            name: IfName::new(link.name.as_str()),
            addresses: link.addresses.iter().map(IpNetwork::ip).collect(),
        };
        self.infos = links.values().map(info).collect();
        self.links = links;
        self.set_rosters(now);
        self.decide_for(Cause::Links);
    }

    fn set_rosters(&mut self, now: Moment) {
        let Some(snapshot) = self.snapshot().map(Arc::clone) else { return };
        self.ours.retain(|_, node| snapshot.nodes.contains_key(node));
        self.known.retain(|(_, node), _| snapshot.nodes.contains_key(node));
        let own: BTreeSet<IpAddr> =
            self.links.values().flat_map(|link| link.addresses.iter().map(IpNetwork::ip)).collect();
        for (name, membership) in &mut self.memberships {
            let Some(link) = self.links.get(name) else { continue };
            let address = |node: &NodeName| {
                let ips = &snapshot.nodes.get(node)?.internal_ips;
                ips.iter().copied().find(|ip| link.holds(*ip) && !own.contains(ip))
            };
            let others = snapshot.speakers.iter().filter(|(node, _)| **node != self.me.node);
            let pod = |(node, pod): (&NodeName, &crate::node::SpeakerPod)| {
                (node.clone(), Expected { ready: pod.ready, address: address(node) })
            };
            let expected = others.map(pod).collect();
            membership.set_roster(Roster { nodes: snapshot.nodes.keys().cloned().collect(), expected }, now);
        }
    }
}
