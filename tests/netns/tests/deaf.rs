//! One direction of a cable, or multicast in one direction, does not pass.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::site::{Node, Site, VIP4, VIP6, said_of_vip, site};
use herald_netns::eventually;
use herald_wire::{Mac, arp, hello::UDP_PORT};

/// The switch passes nothing on to the node, or does again.
fn deafen(site: &Site, node: usize, deaf: bool) {
    let port = &site.nodes[node].port;
    let what = if deaf { "replace" } else { "del" };
    let qdisc = if deaf { "root blackhole" } else { "root" };
    site.lan.switch().cmd(&format!("tc qdisc {what} dev {port} {qdisc}"));
}

#[test]
fn an_owner_that_receives_nothing_is_replaced_and_comes_back() {
    let site = site();
    let owner = site.settled();
    deafen(&site, owner, true);
    // Nothing asks: the gratuitous frames of the new owner alone move the entries.
    eventually("the client's entries moved", || {
        [VIP4, VIP6].iter().all(|address| site.known(address).is_some_and(|node| node != owner))
    });
    eventually("one node has both", || {
        let learnt = [VIP4, VIP6].map(|address| site.learnt(address));
        learnt[0] == learnt[1] && learnt[0].is_some_and(|node| node != owner)
    });
    deafen(&site, owner, false);
    assert_eq!(site.settled(), owner, "it hears again, and has its place again");
}

#[test]
fn what_a_node_claims_that_receives_nothing_is_contradicted() {
    let site = site();
    let owner = site.settled();
    let other = (owner + 1) % site.nodes.len();
    let mac: Mac = site.nodes[other].mac("eth0").parse().unwrap();
    let capture = site.client.capture(arp::ETHERTYPE);
    deafen(&site, other, true);
    // It takes everybody for dead, and says so seven times over five seconds, with a request and an answer each.
    eventually("it claims the address", || said_of_vip(&capture).iter().filter(|(said, _)| *said == mac).count() >= 14);
    eventually("the client's entries are right all the same", || {
        [VIP4, VIP6].iter().all(|address| site.known(address) == Some(owner))
    });
    deafen(&site, other, false);
    assert_eq!(site.settled(), owner);
}

const IPV4: u16 = 0x0800;

/// Whether it is a datagram between two stations to the port of hellos.
fn is_datagram(frame: &[u8], from: Mac, to: Mac) -> bool {
    const UDP: u8 = 17;
    let header = frame.get(..14);
    let macs = header.is_some_and(|header| header[..6] == to.0 && header[6..12] == from.0);
    macs && frame.get(14 + 9) == Some(&UDP) && frame.get(14 + 22..14 + 24) == Some(&UDP_PORT.to_be_bytes())
}

#[test]
fn hellos_go_as_datagrams_to_who_does_not_hear_the_frames() {
    let mut site = site();
    for node in &mut site.nodes {
        node.speaker.take().unwrap().stop();
        node.hello_port = UDP_PORT;
        Node::start(node);
    }
    let owner = site.settled();
    let other = (owner + 1) % site.nodes.len();
    let macs = [owner, other].map(|node| site.nodes[node].mac("eth0").parse::<Mac>().unwrap());
    let capture = site.nodes[owner].host.capture(IPV4);
    // Multicast does not pass to the owner; its own does, and so does everything that is for it alone.
    let port = &site.nodes[owner].port;
    site.lan.switch().cmd(&format!("bridge link set dev {port} mcast_flood off"));
    capture.until("a hello of another node to the owner alone", |frame| is_datagram(frame, macs[1], macs[0]));
    eventually("it still is the owner", || site.learnt(VIP4) == Some(owner));
}
