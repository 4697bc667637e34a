//! The sockets of every usable link, opened and closed as links come and go. One link that fails never disturbs another.

use crate::{
    links::{Link, Links},
    net::{
        answer::AnswerTable,
        groups::Groups,
        hello_io::{Heard, HelloPort, Keys},
        packet_socket::OpenError,
        responder::{Responder, Seen},
    },
};
use herald_core::{
    LinkName,
    speaker::{self, Claim},
    time::Moment,
};
use herald_wire::{
    Mac, arp,
    ndp::{NdpFrame, Solicitation},
};
use ipnetwork::IpNetwork;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// Where what is received goes, and what it is checked with.
#[derive(Debug, Clone)]
pub(crate) struct Sinks {
    pub(crate) keys: watch::Receiver<Arc<Keys>>,
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) seen: mpsc::Sender<Seen>,
}

/// The sockets of one link.
pub(crate) struct Port {
    pub(crate) link: Link,
    pub(crate) responder: Responder,
    pub(crate) hello: HelloPort,
    table: watch::Sender<Arc<AnswerTable>>,
    /// What was last to be answered, for a link that changes its MAC address.
    answers: BTreeMap<IpAddr, Claim>,
    groups: Groups,
}

impl Port {
    fn open(link: &Link, sinks: &Sinks) -> Result<Self, OpenError> {
        let (table, receiver) = watch::channel(Arc::new(AnswerTable { mac: link.mac, ..AnswerTable::default() }));
        Ok(Self {
            link: link.clone(),
            responder: Responder::open(&link.name, link.index, &receiver, &sinks.seen)?,
            hello: HelloPort::open(&link.name, link.index, &sinks.keys, &sinks.heard)?,
            table,
            answers: BTreeMap::new(),
            groups: Groups::new(link.index),
        })
    }

    /// Answers for exactly these addresses from now on.
    pub(crate) fn answer(&mut self, answers: BTreeMap<IpAddr, Claim>) {
        for error in self.groups.set(answers.keys()) {
            tracing::warn!(link = %self.link.name, %error, "cannot join");
        }
        // What is given up is not asked for any more; what is new can be asked for as soon as it is answered.
        self.responder.only_for(&answers.keys().copied().collect());
        let next = self.table.borrow().with(self.link.mac, &answers);
        self.table.send_replace(Arc::new(next));
        self.answers = answers;
    }

    /// Answers are safe until this moment; `None`: no answers.
    pub(crate) fn fence(&self, good_until: Option<Moment>) {
        self.table.borrow().fence.set(good_until.unwrap_or_default());
    }

    /// The table in force, for metrics.
    pub(crate) fn table(&self) -> Arc<AnswerTable> {
        Arc::clone(&self.table.borrow())
    }

    /// Counts a claim of an address, if it is one that is answered for here and said to be elsewhere than here; whether it is.
    fn claimed(&self, address: IpAddr, by: Mac, by_member: bool) -> bool {
        let table = self.table.borrow();
        let answer = table.addresses.get(&address).filter(|answer| answer.claim != by);
        answer.inspect(|answer| answer.counters.count_claim(by_member)).is_some()
    }

    /// Asks whether an address is there: that station alone, or everybody.
    pub(crate) fn ask(&self, target: IpAddr, to: Option<Mac>) -> io::Result<()> {
        let mac = self.link.mac;
        // The address of the subnet that holds the target, or any: a kernel may refuse to answer a stranger.
        let family = || self.link.addresses.iter().filter(|own| own.is_ipv6() == target.is_ipv6());
        let own = family().find(|own| own.contains(target)).or_else(|| family().next()).map(IpNetwork::ip);
        match (target, own) {
            (IpAddr::V4(target), Some(IpAddr::V4(source))) => self.responder.ask_v4(mac, source, target, to),
            // A probe (RFC 5227) is answered whatever the asker's address is; stations that watch for conflicts complain, so only without one.
            (IpAddr::V4(target), _) => self.responder.ask_v4(mac, Ipv4Addr::UNSPECIFIED, target, to),
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => self.responder.ask_v6(mac, source, target, to),
            _ => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the link has no address of that family to ask from",
            )),
        }
    }

    /// Asks whether anybody has an address, without saying that it is here.
    pub(crate) fn probe(&self, target: IpAddr) -> io::Result<()> {
        match target {
            IpAddr::V4(v4) => self.responder.send_arp(&arp::probe(self.link.mac, v4)),
            IpAddr::V6(v6) => self.responder.send_ndp(&NdpFrame::Solicitation(Solicitation::probe(self.link.mac, v6))),
        }
    }

    /// Takes over what changed about the link without new sockets; `false` when new ones are needed.
    fn follow(&mut self, link: &Link) -> bool {
        if self.link.index != link.index {
            return false;
        }
        let has_v6 = |link: &Link| link.addresses.iter().any(IpNetwork::is_ipv6);
        if !has_v6(&self.link) && has_v6(link) {
            // The link's IPv6 state was lost (its MTU, disable_ipv6) and with it its groups.
            for error in self.groups.rejoin() {
                tracing::warn!(link = %link.name, %error, "cannot join again");
            }
        }
        if self.link.mac != link.mac {
            self.link = link.clone();
            self.answer(self.answers.clone());
        }
        self.link = link.clone();
        true
    }
}

/// The sockets of all links.
pub(crate) struct Ports {
    sinks: Sinks,
    open: BTreeMap<LinkName, Port>,
    /// Links whose sockets could not be opened: to be tried again.
    failed: BTreeSet<LinkName>,
}

impl Ports {
    pub(crate) fn new(sinks: Sinks) -> Self {
        Self { sinks, open: BTreeMap::new(), failed: BTreeSet::new() }
    }

    /// Opens and closes so that every usable link has its sockets. Gives back the links that were closed: also those that are open again, with
    /// new sockets.
    pub(crate) fn follow(&mut self, links: &Links) -> BTreeSet<LinkName> {
        let usable = |name: &LinkName| links.get(name).filter(|link| link.usable.is_ok());
        let mut closed = BTreeSet::new();
        self.open.retain(|name, port| {
            let keep = usable(name).is_some_and(|link| port.follow(link));
            if !keep {
                closed.insert(name.clone());
            }
            keep
        });
        self.failed.clear();
        for (name, link) in links.iter().filter(|(_, link)| link.usable.is_ok()) {
            if self.open.contains_key(name) {
                continue;
            }
            match Port::open(link, &self.sinks) {
                Ok(port) => {
                    tracing::info!(link = %name, mac = %link.mac, "link is used");
                    self.open.insert(name.clone(), port);
                }
                Err(error) => {
                    tracing::error!(link = %name, %error, "link cannot be used; trying again");
                    self.failed.insert(name.clone());
                }
            }
        }
        for name in closed.iter().filter(|name| !self.open.contains_key(*name)) {
            let why = links.get(name).and_then(|link| link.usable.as_ref().err());
            tracing::warn!(link = %name, why = why.map_or("it is gone".to_owned(), ToString::to_string), "link is not used any more");
        }
        closed
    }

    /// Whether a link waits for another try.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The links with sockets, as the rules see them.
    pub(crate) fn links(&self) -> Vec<speaker::Link> {
        let link = |port: &Port| speaker::Link {
            name: port.link.name.clone(),
            mac: port.link.mac,
            addresses: port.link.addresses.clone(),
        };
        self.open.values().map(link).collect()
    }

    pub(crate) fn get(&self, link: &LinkName) -> Option<&Port> {
        self.open.get(link)
    }

    pub(crate) fn get_mut(&mut self, link: &LinkName) -> Option<&mut Port> {
        self.open.get_mut(link)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&LinkName, &Port)> {
        self.open.iter()
    }

    /// Whether every hello is to be handed over at once, or only what is news.
    pub(crate) fn attend(&mut self, attentive: bool) {
        self.open.values_mut().for_each(|port| port.hello.attend(attentive));
    }

    /// Has the hellos that waited handed over; whether that was all of them.
    pub(crate) fn collect(&mut self) -> bool {
        let mut all = true;
        for port in self.open.values_mut() {
            all &= port.hello.collect();
        }
        all
    }

    /// Whether something received still waits in the kernel, beside what [`Ports::collect`] takes.
    pub(crate) fn pending(&self) -> bool {
        self.open.values().any(|port| port.hello.pending() || port.responder.pending())
    }

    /// Takes note of a station that says it has this address; whether it is one that is answered for here. Our own links may hear each
    /// other: they do not count.
    pub(crate) fn claimed(&self, link: &LinkName, address: IpAddr, by: Mac, by_member: bool) -> bool {
        self.open.values().all(|port| port.link.mac != by)
            && self.open.get(link).is_some_and(|port| port.claimed(address, by, by_member))
    }

    pub(crate) fn mac(&self, link: &LinkName) -> Option<Mac> {
        self.open.get(link).map(|port| port.link.mac)
    }
}
