//! Whole speakers (all but their watches of Kubernetes) on real links: who answers, and what neighbours learn when something happens.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{neighbour, poke};
use herald_core::{
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
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

const CLUSTER: ClusterId = ClusterId([9; 16]);
const VIP4: &str = "192.168.56.11";
const VIP6: &str = "fd56::11";
/// Shorter than by default, so that a test sees the end of a move.
const MOVES: Moves = Moves { drain: Duration::from_secs(2), hold_off: Duration::from_secs(1) };
const NODES: [&str; 3] = ["w1-k8s", "w2-k8s", "w3-k8s"];

/// A node with a running speaker.
struct Node {
    name: &'static str,
    host: Host,
    /// The switch's end of its eth0.
    port: String,
    shutdown: Shutdown,
    speaker: Option<Background>,
    snapshot: watch::Sender<Option<Arc<Snapshot>>>,
}

/// One Service with an address of each family.
fn cluster() -> Snapshot {
    let mut snapshot = build::snapshot(&NODES);
    build::announce(&mut snapshot, "web", &[VIP4, VIP6]);
    snapshot
}

impl Node {
    fn new(net: &Net, lan: &Lan, name: &'static str, number: u8) -> Self {
        let host = net.host(name);
        let port = lan.attach(&host, "eth0");
        host.cmd(&format!("ip address add 192.168.56.{number}/24 dev eth0"));
        let snapshot = watch::channel(Some(Arc::new(cluster()))).0;
        Self { name, host, port, shutdown: Shutdown::manual(), speaker: None, snapshot }
    }

    fn start(&mut self) {
        self.shutdown = Shutdown::manual();
        let (name, shutdown, snapshot) = (self.name, self.shutdown.clone(), self.snapshot.subscribe());
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
                hello_port: 0,
                links: links.links(),
                observed: snapshot,
                keys,
                standby,
                debug,
                scrape: watch::channel(Arc::new(Scrape::default())).0,
                membership: Readiness::new().condition("membership", Weight::Blocking),
                on_service: Box::new(|_, _, _| {}),
            };
            up.now();
            driver::run(resources, shutdown).await;
        }));
    }

    /// Power loss: the cable is dead before anything dies, so no last word leaves.
    fn power_off(&mut self, lan: &Lan) {
        lan.switch().cmd(&format!("ip link set {} down", self.port));
        self.speaker.take().unwrap().stop();
    }

    fn mac(&self, dev: &str) -> String {
        self.host.mac(dev)
    }
}

struct Site {
    lan: Lan,
    client: Host,
    nodes: Vec<Node>,
    _net: Net,
}

fn site() -> Site {
    let net = Net::new();
    let lan = net.lan("lan");
    let client = net.host("client");
    lan.attach(&client, "eth0");
    client.cmd("ip address add 192.168.56.200/24 dev eth0");
    client.cmd("ip address add fd56::200/64 dev eth0 nodad");
    let nodes = (101..).zip(NODES).map(|(number, name)| Node::new(&net, &lan, name, number)).collect();
    let mut site = Site { lan, client, nodes, _net: net };
    site.nodes.iter_mut().for_each(Node::start);
    site
}

impl Site {
    /// The node that the client's kernel has learnt for the address, after asking anew.
    fn learnt(&self, address: &str) -> Option<usize> {
        let _ = self.client.try_cmd(&format!("ip neigh del {address} dev eth0"));
        poke(&self.client, address);
        self.known(address)
    }

    /// The node that the client's kernel has for the address, without asking.
    fn known(&self, address: &str) -> Option<usize> {
        let entry = neighbour(&self.client, address);
        self.nodes.iter().position(|node| entry.contains(&node.mac("eth0")))
    }

    fn owner(&self, address: &str) -> usize {
        let mut owner = None;
        eventually("somebody answers", || {
            owner = self.learnt(address);
            owner.is_some()
        });
        owner.unwrap()
    }

    /// Everybody listens for 200 ms; the last one that starts may still take over what is its own.
    fn settled(&self) -> usize {
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

#[test]
fn neighbours_follow_a_power_off_in_both_families() {
    let mut site = site();
    let old = site.settled();
    for address in [VIP4, VIP6] {
        assert_eq!(site.owner(address), old, "both families lie on one node");
    }
    let Site { lan, nodes, .. } = &mut site;
    nodes[old].power_off(lan);
    // Nothing asks: the gratuitous frames of the new owner alone move the entries.
    eventually("the client's entries moved", || {
        [VIP4, VIP6].iter().all(|address| site.known(address).is_some_and(|node| node != old))
    });
    assert_eq!(site.known(VIP4), site.known(VIP6));
}

/// ARP frames that say where VIP4 is: what they say, and which station sent them.
fn said_of_vip(capture: &Capture) -> Vec<(Mac, Mac)> {
    let frames = capture.frames();
    let said = frames.iter().filter_map(|frame| arp::parse(frame).ok());
    let said = said.filter(|frame| frame.packet.sender_ip.to_string() == VIP4);
    said.map(|frame| (frame.packet.sender_mac, frame.ethernet.source)).collect()
}

#[test]
fn a_speaker_that_ends_or_crashes_moves_nothing_and_another_answers_on_its_behalf() {
    let mut site = site();
    let owner = site.settled();
    let mac: Mac = site.nodes[owner].mac("eth0").parse().unwrap();
    let capture = site.client.capture(arp::ETHERTYPE);
    for crash in [false, true] {
        if crash {
            site.nodes[owner].speaker.take().unwrap().stop();
        } else {
            site.nodes[owner].shutdown.trigger();
        }
        let before = said_of_vip(&capture).len();
        eventually("another station answers with the owner's MAC address", || {
            assert!(site.learnt(VIP4).is_none_or(|node| node == owner));
            said_of_vip(&capture)[before..].iter().any(|(said, by)| *said == mac && *by != mac)
        });
        eventually("in both families", || site.learnt(VIP4) == Some(owner) && site.learnt(VIP6) == Some(owner));
        site.nodes[owner].start();
        let before = said_of_vip(&capture).len();
        eventually("the owner answers itself again", || {
            site.learnt(VIP4);
            said_of_vip(&capture)[before..].iter().any(|(_, by)| *by == mac)
        });
        assert_eq!(site.settled(), owner);
    }
    let elsewhere: Vec<_> = said_of_vip(&capture).into_iter().filter(|(said, _)| *said != mac).collect();
    assert!(elsewhere.is_empty(), "{VIP4} is at {mac} all the time, not at {elsewhere:?}");
}

#[test]
fn a_node_that_dies_while_its_speaker_is_away_is_replaced() {
    let mut site = site();
    let old = site.settled();
    site.nodes[old].speaker.take().unwrap().stop();
    eventually("somebody answers on its behalf", || site.learnt(VIP4) == Some(old));
    site.lan.switch().cmd(&format!("ip link set {} down", site.nodes[old].port));
    eventually("the client's entries moved", || {
        [VIP4, VIP6].iter().all(|address| site.known(address).is_some_and(|node| node != old))
    });
}

#[test]
fn a_kernel_that_answers_no_asks_leaves_the_hold_time() {
    let mut site = site();
    let old = site.settled();
    // ARP for its own addresses is not answered (RFC 826's reply is a choice), and it has no address of IPv6.
    for node in &site.nodes {
        node.host.sysctl("net/ipv4/conf/all/arp_ignore", "8");
        node.host.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1");
    }
    // Healthy peers are asked every three seconds.
    std::thread::sleep(Duration::from_secs(7));
    site.nodes[old].speaker.take().unwrap().stop();
    eventually("the client's entry moved", || site.known(VIP4).is_some_and(|node| node != old));
}

#[test]
fn a_pulled_cable_moves_the_address_and_a_flap_brings_it_back() {
    let site = site();
    let old = site.settled();
    let port = &site.nodes[old].port;
    site.lan.switch().cmd(&format!("ip link set {port} down"));
    eventually("the client's entry moved", || site.known(VIP4).is_some_and(|node| node != old));
    site.lan.switch().cmd(&format!("ip link set {port} up"));
    eventually("and back", || site.known(VIP4) == Some(old));
}

#[test]
fn a_new_mac_is_told_to_the_neighbours() {
    let site = site();
    let owner = site.settled();
    let node = &site.nodes[owner];
    node.host.cmd("ip link set eth0 address 02:00:00:00:aa:bb");
    eventually("the client's entry has the new MAC", || neighbour(&site.client, VIP4).contains("02:00:00:00:aa:bb"));
    assert_eq!(site.owner(VIP4), owner);
}

#[test]
fn a_second_link_is_decided_on_its_own() {
    let net = Net::new();
    let (one, two) = (net.lan("one"), net.lan("two"));
    let mut nodes: Vec<Node> = (101..).zip(NODES).map(|(number, name)| Node::new(&net, &one, name, number)).collect();
    let second: Vec<String> = nodes.iter().map(|node| two.attach(&node.host, "eth1")).collect();
    let client = net.host("client");
    two.attach(&client, "eth0");
    client.cmd("ip address add 192.168.56.200/24 dev eth0");
    nodes.iter_mut().for_each(Node::start);
    let on_two = |client: &Host| {
        let _ = client.try_cmd(&format!("ip neigh del {VIP4} dev eth0"));
        poke(client, VIP4);
        let entry = neighbour(client, VIP4);
        nodes.iter().position(|node| entry.contains(&node.mac("eth1")))
    };
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|n| herald_core::ownership::rank(&nodes[*n].name.into(), VIP4));
    eventually("the first in rank answers on the second link", || on_two(&client) == Some(order[0]));
    two.switch().cmd(&format!("ip link set {} down", second[order[0]]));
    eventually("the next one answers there", || on_two(&client) == Some(order[1]));
    // The first link never noticed.
    let client_one = net.host("client1");
    one.attach(&client_one, "eth0");
    client_one.cmd("ip address add 192.168.56.201/24 dev eth0");
    eventually("the first in rank still answers on the first link", || {
        let _ = client_one.try_cmd(&format!("ip neigh del {VIP4} dev eth0"));
        poke(&client_one, VIP4);
        neighbour(&client_one, VIP4).contains(&nodes[order[0]].mac("eth0"))
    });
}

#[test]
fn what_is_not_announced_any_more_is_not_answered() {
    let site = site();
    site.settled();
    let empty = build::snapshot(&NODES);
    for node in &site.nodes {
        node.snapshot.send_replace(Some(Arc::new(empty.clone())));
    }
    eventually("nobody answers", || site.learnt(VIP4).is_none() && site.learnt(VIP6).is_none());
}
