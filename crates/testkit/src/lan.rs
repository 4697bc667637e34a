//! A simulated LAN on a virtual clock: the real [`Speaker`] machines of several nodes, and a link that loses, delays and cuts.
//!
//! Everything random comes from a seed, so every run can be had again.

mod faults;
mod foreign;
mod frames;
mod power;
mod random;
mod seen;

use frames::Delivery;
use herald_core::{
    LinkName, NodeName, ServiceKey,
    announce::conflict::{Policy, Withheld},
    membership::Change,
    ownership::{HandOver, Moves, Snapshot},
    speaker::{Cause, Claim, Effect, Input, Link, Speaker},
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{ClusterId, DataPlane, Hello},
};
pub use random::Random;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// The cluster of every simulated node.
pub const CLUSTER: ClusterId = ClusterId(*b"simulated-lan--!");

/// What a simulated node does with its machine.
#[derive(Debug)]
struct Host {
    /// Whether its machine runs: then its kernel answers for its own addresses, whatever its speaker does.
    power: bool,
    /// `None` while no speaker's process runs.
    speaker: Option<Speaker>,
    /// With the segment that each is on.
    links: Vec<(usize, Link)>,
    /// While paused nothing of the process runs; frames wait in its socket.
    paused_until: Option<Moment>,
    /// While suspended its kernel does not run either.
    suspended: bool,
    /// What arrived, and when.
    inbox: Vec<(Moment, Delivery)>,
    answers: BTreeMap<LinkName, BTreeMap<IpAddr, Claim>>,
    /// How often each address was said unasked.
    gratuitous: BTreeMap<IpAddr, usize>,
    /// Services that it said lack an interface, in order.
    lacking: Vec<ServiceKey>,
    /// Conflicts that it told of, in order; `None`: it is over.
    conflicts: Vec<(IpAddr, Option<Withheld>)>,
    defended: usize,
    /// What became of its peers, in order.
    changes: Vec<(Moment, Change)>,
    /// What became of planned moves, in order.
    handed_over: Vec<HandOver>,
    /// What it began (or ceased) to announce, and why.
    moves: Vec<(bool, Cause)>,
    /// When it wants to run next.
    wakes: Option<Moment>,
    /// Until then it is at work: see [`Lan::turn`].
    busy_until: Moment,
    /// Its last hello.
    said: Option<Arc<Hello>>,
    /// Links without carrier.
    down: BTreeSet<LinkName>,
    /// What its speaker knows of its data plane, also the next one.
    data_plane: DataPlane,
}

impl Host {
    fn usable(&self) -> Vec<Link> {
        self.links.iter().map(|(_, link)| link).filter(|link| !self.down.contains(&link.name)).cloned().collect()
    }

    fn segment_of(&self, link: &LinkName) -> Option<usize> {
        let here = self.links.iter().find(|(_, own)| own.name == *link).map(|(segment, _)| *segment);
        here.filter(|_| !self.down.contains(link))
    }
}

/// The simulated LAN. Links are named `eth0`, `eth1`, …; link `ethN` of every node is on segment N unless said otherwise.
#[derive(Debug)]
pub struct Lan {
    /// The virtual clock.
    pub now: Moment,
    /// Of 1,000 frames so many are lost, per receiver.
    pub loss_per_mille: u64,
    /// Every hello is lost; asks pass (a switch or hypervisor that filters).
    pub drop_hellos: bool,
    /// No kernel answers asks (`arp_ignore`, a filter).
    pub mute_kernels: bool,
    /// A frame takes up to this long.
    pub max_delay: Duration,
    /// A speaker that was woken does not look at its sockets again before so long: what arrives meanwhile is taken together.
    pub turn: Duration,
    timing: Timing,
    /// How planned moves go, for speakers that start from now on.
    pub moves: Moves,
    random: Random,
    hosts: BTreeMap<NodeName, Host>,
    /// Directed pairs whose frames do not arrive.
    cut: BTreeSet<(NodeName, NodeName)>,
    /// Directed pairs whose multicast frames do not arrive.
    filtered: BTreeSet<(NodeName, NodeName)>,
    /// Who receives nothing: one direction of its cable is broken.
    deaf: BTreeSet<NodeName>,
    /// Who said last, unasked, where an address is on a segment: what neighbours believe.
    believed: BTreeMap<(usize, IpAddr), NodeName>,
    /// Who has an address in a table of its answers, on whatever link, or had.
    watched: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// Which node told of which Service that it announces it, in order.
    events: Vec<(ServiceKey, NodeName)>,
    in_flight: BTreeMap<(Moment, u64), (NodeName, Delivery)>,
    /// When hosts want to run next.
    timers: BTreeSet<(Moment, NodeName)>,
    /// Which nodes have an address of their own.
    stations: BTreeMap<IpAddr, Vec<NodeName>>,
    steps: u64,
    hellos: u64,
    asks: u64,
    in_speakers: Duration,
    frames: u64,
    snapshot: Arc<Snapshot>,
    /// Hosts that are no nodes, with an address each.
    foreign: BTreeMap<NodeName, (usize, Mac, IpAddr)>,
    /// What speakers that start from now on do about claims of foreign stations.
    pub policy: Policy,
    /// How far the wall clocks of the nodes are set back. Incarnations of speakers that start from now on are made of them, and nothing else is.
    pub set_back: Duration,
}

impl Lan {
    /// A LAN without nodes at one hour after boot.
    #[must_use]
    pub fn new(timing: Timing, snapshot: Snapshot, seed: u64) -> Self {
        Self {
            now: Moment::default() + Duration::from_secs(3600),
            loss_per_mille: 0,
            drop_hellos: false,
            mute_kernels: false,
            max_delay: Duration::from_micros(300),
            turn: Duration::ZERO,
            timing,
            moves: Moves::default(),
            random: Random::new(seed),
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            filtered: BTreeSet::new(),
            deaf: BTreeSet::new(),
            believed: BTreeMap::new(),
            watched: BTreeMap::new(),
            events: Vec::new(),
            in_flight: BTreeMap::new(),
            timers: BTreeSet::new(),
            stations: BTreeMap::new(),
            steps: 0,
            hellos: 0,
            asks: 0,
            in_speakers: Duration::ZERO,
            frames: 0,
            snapshot: Arc::new(snapshot),
            foreign: BTreeMap::new(),
            policy: Policy::default(),
            set_back: Duration::ZERO,
        }
    }

    /// Adds a node with these links and switches it on: `ethN` is on segment N.
    pub fn add(&mut self, node: &str, links: Vec<Link>) {
        let segment = |link: &Link| link.name.as_str().strip_prefix("eth").and_then(|n| n.parse().ok()).unwrap_or(0);
        self.add_on(node, links.into_iter().map(|link| (segment(&link), link)).collect());
    }

    /// Adds a node with links of any name, each with its segment, and switches it on.
    pub fn add_on(&mut self, node: &str, links: Vec<(usize, Link)>) {
        let host = Host {
            lacking: Vec::new(),
            conflicts: Vec::new(),
            defended: 0,
            power: true,
            speaker: None,
            links,
            paused_until: None,
            suspended: false,
            inbox: Vec::new(),
            answers: BTreeMap::new(),
            gratuitous: BTreeMap::new(),
            changes: Vec::new(),
            handed_over: Vec::new(),
            moves: Vec::new(),
            wakes: None,
            busy_until: Moment::default(),
            said: None,
            down: BTreeSet::new(),
            data_plane: DataPlane::default(),
        };
        for address in host.links.iter().flat_map(|(_, link)| &link.addresses) {
            self.stations.entry(address.ip()).or_default().push(node.into());
        }
        self.hosts.insert(node.into(), host);
        self.power_on(node);
    }

    #[expect(clippy::panic, reason = "a wrong name is a mistake in the test")]
    fn host(&mut self, node: &str) -> &mut Host {
        self.hosts.get_mut(&NodeName::from(node)).unwrap_or_else(|| panic!("no such node: {node}"))
    }

    /// Changes the state of the cluster that everybody decides on.
    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Arc::new(snapshot);
        let (now, snapshot) = (self.now, Arc::clone(&self.snapshot));
        for node in self.hosts.keys().cloned().collect::<Vec<_>>() {
            if let Some(speaker) = &mut self.host(node.as_str()).speaker {
                speaker.handle(Input::Snapshot(Arc::clone(&snapshot)), now);
            }
            self.poll(&node);
        }
    }

    /// Changes the state of the cluster that one node decides on; speakers that start later know what was set for all.
    pub fn set_snapshot_of(&mut self, node: &str, snapshot: Snapshot) {
        self.input(node, Input::Snapshot(Arc::new(snapshot)));
    }

    /// Hands an input to one node.
    pub fn input(&mut self, node: &str, input: Input) {
        let now = self.now;
        if let Some(speaker) = &mut self.host(node).speaker {
            speaker.handle(input, now);
        }
        self.poll(&node.into());
    }

    /// Lets time pass, and calls `check` after everything that happens.
    pub fn run(&mut self, how_long: Duration, mut check: impl FnMut(&Self)) {
        let end = self.now + how_long;
        loop {
            let next = self.next_event().filter(|moment| *moment <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.step();
            check(self);
        }
        self.now = end;
        check(self);
    }

    fn next_event(&self) -> Option<Moment> {
        let frame = self.in_flight.keys().next().map(|(moment, _)| *moment);
        self.timers.first().map(|(moment, _)| *moment).into_iter().chain(frame).min()
    }

    /// Notes when a host wants to run next.
    fn schedule(&mut self, node: &NodeName) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        let at_work = Some(host.busy_until).filter(|until| *until > self.now && !host.inbox.is_empty());
        let wants = |speaker: &Speaker| {
            let wants = at_work.or_else(|| speaker.next_deadline());
            wants.map(|when| when.max(host.busy_until))
        };
        let wakes = host.speaker.as_ref().and_then(|speaker| host.paused_until.or_else(|| wants(speaker)));
        if host.wakes == wakes {
            return;
        }
        if let Some(before) = std::mem::replace(&mut host.wakes, wakes) {
            self.timers.remove(&(before, node.clone()));
        }
        self.timers.extend(wakes.map(|wakes| (wakes, node.clone())));
    }

    fn step(&mut self) {
        self.steps += 1;
        let mut touched = BTreeSet::new();
        while let Some(((moment, _), _)) = self.in_flight.first_key_value()
            && *moment <= self.now
            && let Some((_, (to, delivery))) = self.in_flight.pop_first()
        {
            match delivery {
                Delivery::Asked { link, address, to: station, by } => self.asked(&to, &link, address, station, by),
                other => {
                    if let Some(host) = self.hosts.get_mut(&to).filter(|host| host.power && !host.suspended) {
                        host.inbox.push((self.now, other));
                        touched.insert(to);
                    }
                }
            }
        }
        let due = self.timers.iter().take_while(|(moment, _)| *moment <= self.now);
        for (_, node) in due {
            touched.insert(node.clone());
            if let Some(host) = self.hosts.get_mut(node)
                && host.paused_until.is_some_and(|until| until <= self.now)
            {
                host.paused_until = None;
                host.suspended = false;
            }
        }
        for node in touched {
            self.poll(&node);
        }
    }

    /// What the real driver does: take everything that arrived, poll, carry out.
    fn poll(&mut self, node: &NodeName) {
        self.run_host(node);
        self.schedule(node);
    }

    fn run_host(&mut self, node: &NodeName) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node) else { return };
        if host.paused_until.is_some() || now < host.busy_until {
            return;
        }
        let Some(speaker) = &mut host.speaker else { return host.inbox.clear() };
        // Routine hellos wake nobody who is settled.
        if !host.inbox.is_empty()
            && host.inbox.iter().all(|(_, delivery)| delivery.may_wait())
            && speaker.lets_wait()
            && !speaker.is_due(now)
        {
            return;
        }
        let inbox = std::mem::take(&mut host.inbox);
        let began = std::time::Instant::now();
        for (at, delivery) in inbox {
            match delivery {
                Delivery::Hello { link, from_mac, by_datagram, hello } => {
                    speaker.handle(Input::Hello { link, from: from_mac, by_datagram, hello }, at);
                }
                Delivery::Answer { link, address, from } => {
                    speaker.handle(Input::Answered { link, address, from }, now);
                }
                Delivery::Asked { .. } => {}
            }
        }
        if !speaker.is_due(now) {
            return;
        }
        let effects = speaker.poll(now);
        host.busy_until = now + self.turn;
        self.in_speakers += began.elapsed();
        for effect in effects {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: &NodeName, effect: Effect) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        match effect {
            Effect::Answer { link, addresses } => self.answer(node, link, addresses),
            Effect::Gratuitous { link, address } => {
                *host.gratuitous.entry(address).or_default() += 1;
                self.claim(node, &link, address);
            }
            Effect::Hello { link, hello, unicast } => {
                let Some(from_mac) = host.links.iter().find(|(_, l)| l.name == link).map(|(_, l)| l.mac) else {
                    return;
                };
                let hello = Arc::new(hello);
                self.hellos += 1;
                host.said = Some(Arc::clone(&hello));
                let by = |by_datagram| {
                    let hello = &hello;
                    move |link| Delivery::Hello { link, from_mac, by_datagram, hello: Arc::clone(hello) }
                };
                self.broadcast(node, &link, by(false));
                for address in unicast {
                    let to_whom = self.stations.get(&address).cloned().unwrap_or_default();
                    self.deliver(node, &link, &to_whom, by(true));
                }
            }
            Effect::Ask { link, address, to } => {
                self.asks += 1;
                let by = (node.clone(), link.clone());
                // Everybody else's kernel drops it.
                let to_whom = self.stations.get(&address).cloned().unwrap_or_default();
                self.deliver(node, &link, &to_whom, |link| Delivery::Asked { link, address, to, by: by.clone() });
            }
            Effect::HandOver { what, .. } => host.handed_over.push(what),
            Effect::Probe { link, address } => self.probed(node, &link, address),
            Effect::Withheld { address, why, .. } => host.conflicts.push((address, Some(why))),
            Effect::ConflictOver { address, .. } => host.conflicts.push((address, None)),
            Effect::Defended { .. } => host.defended += 1,
            Effect::LacksInterface(service) => host.lacking.push(service),
            Effect::Membership { change, .. } => host.changes.push((self.now, change)),
            Effect::Announcing(service, cause) => {
                host.moves.push((true, cause));
                self.events.push((service, node.clone()));
            }
            Effect::Prevailed(service) => self.events.push((service, node.clone())),
            Effect::Resumed(_, cause) => host.moves.push((true, cause)),
            Effect::Withdrawn(_, cause) => host.moves.push((false, cause)),
        }
    }
}
