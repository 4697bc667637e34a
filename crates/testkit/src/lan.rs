//! A simulated LAN on a virtual clock: the real [`Speaker`] machines of several nodes, and a link that loses, delays and cuts.
//!
//! Everything random comes from a seed, so every run can be had again.

use herald_core::{
    LinkName, NodeName, ServiceKey,
    membership::Identity,
    ownership::Snapshot,
    speaker::{Effect, Input, Link, Speaker},
    time::{Moment, Timing},
};
use herald_wire::{
    Mac,
    hello::{ClusterId, Hello},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// The cluster of every simulated node.
pub const CLUSTER: ClusterId = ClusterId(*b"simulated-lan--!");

/// SplitMix64: small, seeded, good enough to lose frames with.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that always gives the same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; zero for zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).checked_rem(bound).unwrap_or(0)
    }
}

/// What a simulated node does with its machine.
#[derive(Debug)]
struct Host {
    /// `None` while the power is off.
    speaker: Option<Speaker>,
    /// With the segment that each is on.
    links: Vec<(usize, Link)>,
    /// While paused nothing of the process runs; frames wait in its socket.
    paused_until: Option<Moment>,
    inbox: Vec<Delivery>,
    answers: BTreeMap<LinkName, BTreeSet<IpAddr>>,
    /// How often each address was said unasked.
    gratuitous: BTreeMap<IpAddr, usize>,
    /// Services that it said lack an interface, in order.
    lacking: Vec<ServiceKey>,
    /// Whether its kernel answers asks for its own addresses.
    kernel: bool,
}

/// A frame on its way to a link.
#[derive(Debug, Clone)]
enum Delivery {
    Hello { link: LinkName, from_mac: Mac, hello: Hello },
    Asked { link: LinkName, address: IpAddr },
}

impl Host {
    fn segment_of(&self, link: &LinkName) -> Option<usize> {
        self.links.iter().find(|(_, own)| own.name == *link).map(|(segment, _)| *segment)
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
    /// A frame takes up to this long.
    pub max_delay: Duration,
    timing: Timing,
    random: Random,
    hosts: BTreeMap<NodeName, Host>,
    /// Directed pairs whose frames do not arrive.
    cut: BTreeSet<(NodeName, NodeName)>,
    in_flight: BTreeMap<(Moment, u64), (NodeName, Delivery)>,
    frames: u64,
    snapshot: Arc<Snapshot>,
}

impl Lan {
    /// A LAN without nodes at one hour after boot.
    #[must_use]
    pub fn new(timing: Timing, snapshot: Snapshot, seed: u64) -> Self {
        Self {
            now: Moment::default() + Duration::from_secs(3600),
            loss_per_mille: 0,
            drop_hellos: false,
            max_delay: Duration::from_micros(300),
            timing,
            random: Random::new(seed),
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            frames: 0,
            snapshot: Arc::new(snapshot),
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
            speaker: None,
            links,
            paused_until: None,
            inbox: Vec::new(),
            answers: BTreeMap::new(),
            gratuitous: BTreeMap::new(),
            kernel: true,
        };
        self.hosts.insert(node.into(), host);
        self.power_on(node);
    }

    #[expect(clippy::panic, reason = "a wrong name is a mistake in the test")]
    fn host(&mut self, node: &str) -> &mut Host {
        self.hosts.get_mut(&NodeName::from(node)).unwrap_or_else(|| panic!("no such node: {node}"))
    }

    /// Starts the node's speaker, as a new process.
    pub fn power_on(&mut self, node: &str) {
        let (timing, now, snapshot) = (self.timing, self.now, Arc::clone(&self.snapshot));
        let host = self.host(node);
        let me = Identity { cluster: CLUSTER, node: node.into(), incarnation: now.as_micros() };
        let mut speaker = Speaker::new(me, timing);
        for input in [
            Input::Links(host.links.iter().map(|(_, link)| link.clone()).collect()),
            Input::Key(true),
            Input::Snapshot(snapshot),
        ] {
            speaker.handle(input, now);
        }
        host.speaker = Some(speaker);
        host.paused_until = None;
        host.kernel = true;
        self.poll(&node.into());
    }

    /// Power loss: nothing is said any more.
    pub fn power_off(&mut self, node: &str) {
        let host = self.host(node);
        host.speaker = None;
        host.answers.clear();
        host.inbox.clear();
        host.kernel = false;
    }

    /// The speaker is told to end (SIGTERM) and its process is gone after its last words; the node's kernel lives on.
    pub fn stop(&mut self, node: &str, leaving: bool) {
        let now = self.now;
        if let Some(speaker) = &mut self.host(node).speaker {
            speaker.handle(Input::Stop { leaving }, now);
        }
        self.poll(&node.into());
        let host = self.host(node);
        host.speaker = None;
        host.answers.clear();
    }

    /// The process does not run for so long (frozen, starved, suspended); its clock goes on.
    pub fn pause(&mut self, node: &str, how_long: Duration) {
        let until = self.now + how_long;
        self.host(node).paused_until = Some(until);
    }

    /// Frames from `from` to `to` do not arrive any more.
    pub fn cut_one_way(&mut self, from: &str, to: &str) {
        self.cut.insert((from.into(), to.into()));
    }

    /// Splits the LAN: nobody in `one` hears anybody outside, nor the other way round.
    pub fn partition(&mut self, one: &[&str]) {
        let inside = |node: &NodeName| one.contains(&node.as_str());
        let pairs = self.hosts.keys().flat_map(|a| self.hosts.keys().map(move |b| (a.clone(), b.clone())));
        let cut: Vec<_> = pairs.filter(|(a, b)| inside(a) != inside(b)).collect();
        self.cut.extend(cut);
    }

    /// Everybody hears everybody again.
    pub fn heal(&mut self) {
        self.cut.clear();
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

    /// Hands an input to one node.
    pub fn input(&mut self, node: &str, input: Input) {
        let now = self.now;
        if let Some(speaker) = &mut self.host(node).speaker {
            speaker.handle(input, now);
        }
        self.poll(&node.into());
    }

    /// The machine of a node.
    #[must_use]
    pub fn speaker(&self, node: &str) -> Option<&Speaker> {
        self.hosts.get(&NodeName::from(node))?.speaker.as_ref()
    }

    /// How often a node said an address unasked.
    #[must_use]
    pub fn gratuitous(&self, node: &str, address: IpAddr) -> usize {
        self.hosts.get(&NodeName::from(node)).and_then(|host| host.gratuitous.get(&address)).copied().unwrap_or(0)
    }

    /// Who would answer a broadcast request for the address on that segment now, if the request reached everybody.
    #[must_use]
    pub fn answering(&self, segment: usize, address: IpAddr) -> BTreeSet<NodeName> {
        self.answering_links(segment, address).into_iter().map(|(node, _)| node).collect()
    }

    /// The same, with the links that they answer on.
    #[must_use]
    pub fn answering_links(&self, segment: usize, address: IpAddr) -> BTreeSet<(NodeName, LinkName)> {
        let answers = |host: &Host, link: &LinkName| {
            host.paused_until.is_none()
                && host.answers.get(link).is_some_and(|addresses| addresses.contains(&address))
                && host.speaker.as_ref().and_then(|s| s.good_until(link)).is_some_and(|until| self.now <= until)
        };
        let of = |(node, host): (&NodeName, &Host)| -> Vec<(NodeName, LinkName)> {
            let here = host.links.iter().filter(|(own, link)| *own == segment && answers(host, &link.name));
            here.map(|(_, link)| (node.clone(), link.name.clone())).collect()
        };
        self.hosts.iter().flat_map(of).collect()
    }

    /// Which Services a node said to lack an interface, in order.
    #[must_use]
    pub fn lacking(&self, node: &str) -> Vec<ServiceKey> {
        self.hosts.get(&NodeName::from(node)).map(|host| host.lacking.clone()).unwrap_or_default()
    }

    /// How many frames were sent so far, counted once per receiver.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.frames
    }

    /// Whether the two hear each other.
    #[must_use]
    pub fn hear_each_other(&self, a: &NodeName, b: &NodeName) -> bool {
        !self.cut.contains(&(a.clone(), b.clone())) && !self.cut.contains(&(b.clone(), a.clone()))
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
        let host = |host: &Host| match (&host.speaker, host.paused_until) {
            (None, _) => None,
            (Some(_), Some(until)) => Some(until),
            (Some(speaker), None) => speaker.next_deadline(),
        };
        self.hosts.values().filter_map(host).chain(frame).min()
    }

    fn step(&mut self) {
        let mut touched = BTreeSet::new();
        while let Some(((moment, _), _)) = self.in_flight.first_key_value()
            && *moment <= self.now
            && let Some((_, (to, delivery))) = self.in_flight.pop_first()
        {
            if let Some(host) = self.hosts.get_mut(&to) {
                host.inbox.push(delivery);
                touched.insert(to);
            }
        }
        for (node, host) in &mut self.hosts {
            if host.paused_until.is_some_and(|until| until <= self.now) {
                host.paused_until = None;
                touched.insert(node.clone());
            }
            if host.speaker.as_ref().and_then(Speaker::next_deadline).is_some_and(|deadline| deadline <= self.now) {
                touched.insert(node.clone());
            }
        }
        for node in touched {
            self.poll(&node);
        }
    }

    /// What the real driver does: take everything that arrived, poll, carry out.
    fn poll(&mut self, node: &NodeName) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(node) else { return };
        if host.paused_until.is_some() {
            return;
        }
        let inbox = std::mem::take(&mut host.inbox);
        let mut replies = Vec::new();
        for delivery in inbox {
            match delivery {
                Delivery::Hello { link, from_mac, hello } => {
                    if let Some(speaker) = &mut host.speaker {
                        speaker.handle(Input::Hello { link, from: from_mac, hello: Box::new(hello) }, now);
                    }
                }
                // The kernel answers for the node's own addresses whatever the speaker does.
                Delivery::Asked { link, address } => replies.push((link, address)),
            }
        }
        let effects = host.speaker.as_mut().map(|speaker| speaker.poll(now)).unwrap_or_default();
        for (link, address) in replies {
            self.answer_ask(node, &link, address);
        }
        for effect in effects {
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: &NodeName, effect: Effect) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        match effect {
            Effect::Answer { link, addresses } => {
                host.answers.insert(link, addresses);
            }
            Effect::Gratuitous { address, .. } => *host.gratuitous.entry(address).or_default() += 1,
            Effect::Hello { link, hello, .. } => {
                let Some(from_mac) = host.links.iter().find(|(_, l)| l.name == link).map(|(_, l)| l.mac) else {
                    return;
                };
                self.broadcast(node, &link, |link| Delivery::Hello { link, from_mac, hello: hello.clone() });
            }
            Effect::Ask { link, address } => self.broadcast(node, &link, |link| Delivery::Asked { link, address }),
            Effect::LacksInterface(service) => host.lacking.push(service),
            Effect::Membership { .. } | Effect::Announcing(_) | Effect::Withdrawn(_) => {}
        }
    }

    /// To every link on the segment but the one that it comes from: also to others of the same node.
    fn broadcast(&mut self, from: &NodeName, on: &LinkName, delivery: impl Fn(LinkName) -> Delivery) {
        let Some(segment) = self.hosts.get(from).and_then(|host| host.segment_of(on)) else { return };
        let mut to: Vec<(NodeName, LinkName)> = Vec::new();
        for (node, host) in self.hosts.iter().filter(|(_, host)| host.speaker.is_some() || host.kernel) {
            let here = host.links.iter().filter(|(own, link)| *own == segment && (node != from || link.name != *on));
            to.extend(here.map(|(_, link)| (node.clone(), link.name.clone())));
        }
        for (node, link) in to {
            self.send(from, node, delivery(link));
        }
    }

    fn send(&mut self, from: &NodeName, to: NodeName, delivery: Delivery) {
        if self.drop_hellos && matches!(delivery, Delivery::Hello { .. }) {
            return;
        }
        self.frames += 1;
        if self.cut.contains(&(from.clone(), to.clone())) || self.random.below(1000) < self.loss_per_mille {
            return;
        }
        let micros = u64::try_from(self.max_delay.as_micros()).unwrap_or(u64::MAX);
        let delay = Duration::from_micros(1 + self.random.below(micros));
        self.in_flight.insert((self.now + delay, self.frames), (to, delivery));
    }

    fn answer_ask(&mut self, node: &NodeName, link: &LinkName, address: IpAddr) {
        let Some(host) = self.hosts.get(node) else { return };
        let own = host.links.iter().any(|(_, link)| link.addresses.iter().any(|own| own.ip() == address));
        let Some(segment) = host.segment_of(link).filter(|_| host.kernel && own) else { return };
        let now = self.now;
        let askers: Vec<NodeName> = self.hosts.keys().filter(|other| *other != node).cloned().collect();
        for asker in askers {
            let lost =
                self.cut.contains(&(node.clone(), asker.clone())) || self.random.below(1000) < self.loss_per_mille;
            let Some(host) = self.hosts.get_mut(&asker).filter(|_| !lost) else { continue };
            let here = host.links.iter().filter(|(own, _)| *own == segment).map(|(_, link)| link.name.clone());
            for link in here.collect::<Vec<_>>() {
                if let Some(speaker) = &mut host.speaker {
                    speaker.handle(Input::Answered { link, address }, now);
                }
            }
        }
    }
}
