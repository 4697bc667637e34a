//! Whole speakers (all but their watches of Kubernetes) on a LAN with a client.

use super::{neighbour, poke};
use herald_core::{
    announce::conflict::Policy,
    membership::Identity,
    ownership::{Moves, Snapshot},
    time::Timing,
};
use herald_netns::{Background, Capture, Host, Lan, Net, eventually};
use herald_runtime::{
    readiness::{Readiness, Weight},
    shutdown::Shutdown,
};
use herald_speaker::{
    driver::{self, Resources},
    links::{exclude::Exclude, watch::LinkWatch},
    metrics::Scrape,
    net::hello_io::Keys,
};
use herald_testkit::build;
use herald_wire::{
    Mac, arp,
    hello::{ClusterId, Key},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

pub(crate) const CLUSTER: ClusterId = ClusterId([9; 16]);
pub(crate) const VIP4: &str = "192.168.56.11";
pub(crate) const VIP6: &str = "fd56::11";
/// Shorter than by default, so that a test sees the end of a move.
pub(crate) const MOVES: Moves = Moves { drain: Duration::from_secs(3), hold_off: Duration::from_secs(1) };
pub(crate) const NODES: [&str; 3] = ["w1-k8s", "w2-k8s", "w3-k8s"];

/// A node with a running speaker.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) host: Host,
    /// The switch's end of its eth0.
    pub(crate) port: String,
    /// Where hellos come as datagrams; 0: they do not.
    pub(crate) hello_port: u16,
    pub(crate) shutdown: Shutdown,
    pub(crate) speaker: Option<Background>,
    pub(crate) snapshot: watch::Sender<Option<Arc<Snapshot>>>,
    /// What it told on Services.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

/// One Service with an address of each family.
pub(crate) fn cluster() -> Snapshot {
    let mut snapshot = build::snapshot(&NODES);
    build::announce(&mut snapshot, "web", &[VIP4, VIP6]);
    snapshot
}

impl Node {
    pub(crate) fn new(net: &Net, lan: &Lan, name: &'static str, number: u8) -> Self {
        let host = net.host(name);
        let port = lan.attach(&host, "eth0");
        host.cmd(&format!("ip address add 192.168.56.{number}/24 dev eth0"));
        let snapshot = watch::channel(Some(Arc::new(cluster()))).0;
        let shutdown = Shutdown::manual();
        Self { name, host, port, hello_port: 0, shutdown, speaker: None, snapshot, told: Arc::default() }
    }

    pub(crate) fn start(&mut self) {
        self.shutdown = Shutdown::manual();
        let (name, shutdown, snapshot) = (self.name, self.shutdown.clone(), self.snapshot.subscribe());
        let (told, hello_port) = (Arc::clone(&self.told), self.hello_port);
        self.speaker = Some(self.host.start(move |up| async move {
            let links = LinkWatch::start(Exclude::new(["^veth"]).unwrap().fixed()).await.unwrap();
            let (_keys, keys) =
                watch::channel(Arc::new(Keys { cluster: CLUSTER, accepted: vec![Key::new(&[1; 32]).unwrap()] }));
            let (_standby, standby) = watch::channel(Some(false));
            let (_debug, debug) = mpsc::channel(1);
            let resources = Resources {
                moves: MOVES,
                me: Identity { cluster: CLUSTER, node: name.into(), incarnation: driver::incarnation() },
                timing: Timing::default(),
                conflict_policy: Policy::default(),
                hello_port,
                data_plane: watch::channel(Default::default()).1,
                links: links.links(),
                observed: snapshot,
                keys,
                standby,
                debug,
                scrape: watch::channel(Arc::new(Scrape::default())).0,
                membership: Readiness::new().condition("membership", Weight::Blocking),
                on_service: Box::new(move |_, _, what| told.lock().unwrap().push(format!("{what:?}"))),
            };
            up.now();
            driver::run(resources, shutdown).await;
        }));
    }

    /// Power loss: the cable is dead before anything dies, so no last word leaves.
    pub(crate) fn power_off(&mut self, lan: &Lan) {
        lan.switch().cmd(&format!("ip link set {} down", self.port));
        self.speaker.take().unwrap().stop();
    }

    /// What it is to know of the cluster now.
    pub(crate) fn tell(&self, snapshot: &Snapshot) {
        self.snapshot.send_replace(Some(Arc::new(snapshot.clone())));
    }

    pub(crate) fn mac(&self, dev: &str) -> String {
        self.host.mac(dev)
    }
}

/// ARP frames that say where VIP4 is: what they say, and which station sent them.
pub(crate) fn said_of_vip(capture: &Capture) -> Vec<(Mac, Mac)> {
    let frames = capture.frames();
    let said = frames.iter().filter_map(|frame| arp::parse(frame).ok());
    let said = said.filter(|frame| frame.packet.sender_ip.to_string() == VIP4);
    said.map(|frame| (frame.packet.sender_mac, frame.ethernet.source)).collect()
}

pub(crate) struct Site {
    pub(crate) lan: Lan,
    pub(crate) client: Host,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
}

pub(crate) fn site() -> Site {
    let net = Net::new();
    let lan = net.lan("lan");
    site_on(net, lan)
}

/// The same on a LAN where something is already.
pub(crate) fn site_on(net: Net, lan: Lan) -> Site {
    let client = net.host("client");
    lan.attach(&client, "eth0");
    client.cmd("ip address add 192.168.56.200/24 dev eth0");
    client.cmd("ip address add fd56::200/64 dev eth0 nodad");
    let nodes = (101..).zip(NODES).map(|(number, name)| Node::new(&net, &lan, name, number)).collect();
    let mut site = Site { lan, client, nodes, net };
    site.nodes.iter_mut().for_each(Node::start);
    site
}

impl Site {
    /// The node that the client's kernel has learnt for the address, after asking anew.
    pub(crate) fn learnt(&self, address: &str) -> Option<usize> {
        self.learnt_by(&self.client, address)
    }

    /// The same for another client.
    pub(crate) fn learnt_by(&self, client: &Host, address: &str) -> Option<usize> {
        let _ = client.try_cmd(&format!("ip neigh del {address} dev eth0"));
        poke(client, address);
        self.known_by(client, address)
    }

    /// The node that the client's kernel has for the address, without asking.
    pub(crate) fn known(&self, address: &str) -> Option<usize> {
        self.known_by(&self.client, address)
    }

    fn known_by(&self, client: &Host, address: &str) -> Option<usize> {
        let entry = neighbour(client, address);
        self.nodes.iter().position(|node| entry.contains(&node.mac("eth0")))
    }

    pub(crate) fn owner(&self, address: &str) -> usize {
        let mut owner = None;
        eventually("somebody answers", || {
            owner = self.learnt(address);
            owner.is_some()
        });
        owner.unwrap()
    }

    /// Everybody listens for 200 ms; the last one that starts may still take over what is its own.
    pub(crate) fn settled(&self) -> usize {
        let expected = {
            let mut names: Vec<usize> = (0..self.nodes.len()).collect();
            names.sort_by_key(|n| herald_core::ownership::rank(&self.nodes[*n].name.into(), VIP4));
            names[0]
        };
        eventually("the first in rank announces", || {
            self.learnt(VIP4) == Some(expected) && self.learnt(VIP6) == Some(expected)
        });
        expected
    }
}
