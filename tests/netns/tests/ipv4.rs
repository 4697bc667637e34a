//! ARP with the kernel and iputils as the other side.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{answer, neighbour, poke};
use herald_core::{speaker::Claim, time::Moment};
use herald_netns::{Host, Net, eventually};
use herald_speaker::net::{
    answer::DropReason,
    packet_socket::{PacketSocket, Protocol},
};
use herald_wire::{Mac, arp};
use std::net::Ipv4Addr;

const VIP: &str = "192.0.2.10";
const ARPING: &str = "arping -c 1 -w 5 -I eth0 192.0.2.10";

fn pair(net: &Net) -> (Host, Host) {
    let (node, client) = (net.host("node"), net.host("client"));
    net.link((&node, "eth0"), (&client, "eth0"));
    node.cmd("ip address add 192.0.2.1/24 dev eth0");
    client.cmd("ip address add 192.0.2.2/24 dev eth0");
    (node, client)
}

/// Sends raw bytes from a host's eth0.
fn send(host: &Host, frames: &[Vec<u8>]) {
    let index = host.index("eth0");
    host.run(|| async move {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        frames.iter().for_each(|frame| socket.send(frame).unwrap());
    });
}

#[test]
fn a_neighbour_learns_an_owned_address_and_only_that() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);

    poke(&client, VIP);
    eventually("the client's kernel has the node's MAC", || neighbour(&client, VIP).contains(&node.mac("eth0")));
    assert_eq!(answering.answered(VIP), (1, 1));

    assert!(client.cmd(ARPING).contains("1 response"), "arping, broadcast");
    client.cmd("arping -c 1 -w 5 -D -I eth0 192.0.2.77");
    let (free, output) = client.try_cmd("arping -c 1 -w 5 -D -I eth0 192.0.2.10");
    assert!(!free, "duplicate address detection (sender 0.0.0.0) finds the address taken: {output}");
    assert!(answering.dropped(DropReason::NotOwned) >= 1, "192.0.2.77 was asked for and not answered");
}

#[test]
fn unicast_revalidation_by_the_kernel_is_answered() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    let capture = node.capture(arp::ETHERTYPE);
    let mac: Mac = node.mac("eth0").parse().unwrap();
    client.cmd(&format!("ip neigh replace {VIP} lladdr {mac} dev eth0 nud probe"));
    capture.until("a unicast request", |frame| arp::parse(frame).is_ok_and(|frame| frame.ethernet.destination == mac));
    eventually("the entry is confirmed", || neighbour(&client, VIP).contains("REACHABLE"));
    assert_eq!(answering.answered(VIP).1, answering.answered(VIP).0);
}

#[test]
fn a_table_whose_time_has_passed_stays_silent() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    answering.table.borrow().fence.set(Moment::from_micros(1));
    poke(&client, VIP);
    eventually("the request is counted as expired", || answering.dropped(DropReason::Expired) >= 1);
    assert_eq!(answering.answered(VIP), (0, 0));
    answering.table.borrow().fence.set(Moment::from_micros(u64::MAX));
    client.cmd(ARPING);
}

#[test]
fn a_withdrawn_address_is_not_answered() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    client.cmd(ARPING);
    let mac = node.mac("eth0").parse().unwrap();
    answering
        .table
        .send_modify(|table| *table = table.with(mac, &[("192.0.2.11".parse().unwrap(), Claim::Own)].into()).into());
    let before = answering.dropped(DropReason::NotOwned);
    poke(&client, VIP);
    eventually("the request is counted as not owned", || answering.dropped(DropReason::NotOwned) > before);
    client.cmd("arping -c 1 -w 5 -I eth0 192.0.2.11");
}

#[test]
fn gratuitous_arp_moves_a_neighbour() {
    let net = Net::new();
    let lan = net.lan("lan");
    let (old, new, client) = (net.host("old"), net.host("new"), net.host("client"));
    for host in [&old, &new, &client] {
        lan.attach(host, "eth0");
    }
    client.cmd("ip address add 192.0.2.2/24 dev eth0");
    let first = answer(&old, "eth0", &[VIP]);
    poke(&client, VIP);
    eventually("the client knows the old owner", || neighbour(&client, VIP).contains(&old.mac("eth0")));
    drop(first);

    let second = answer(&new, "eth0", &[VIP]);
    // Repeated as the announcer does: the kernel ignores a change within a second of the last (locktime).
    eventually("the client knows the new owner", || {
        second.responder.announce(new.mac("eth0").parse().unwrap(), VIP.parse().unwrap()).unwrap();
        neighbour(&client, VIP).contains(&new.mac("eth0"))
    });
}

#[test]
fn frames_of_other_vlans_and_for_other_stations_are_not_seen() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    let client_mac = client.mac("eth0").parse().unwrap();
    let (vip, source) = (Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 2));
    let request = arp::ask(client_mac, source, vip, Mac::BROADCAST).emit();
    let tagged = [&request[..12], &[0x81, 0, 0, 5], &request[12..]].concat();
    let other = arp::ask(client_mac, source, vip, "02:00:00:00:00:99".parse().unwrap()).emit();
    let priority = [&request[..12], &[0x81, 0, 0xe0, 0], &request[12..]].concat();
    // The last one marks the end: frames on a cable keep their order.
    send(&client, &[tagged, other.to_vec(), priority, request.to_vec()]);
    eventually("the priority-tagged and the plain request are answered", || answering.answered(VIP) == (2, 2));
    assert_eq!(answering.dropped(DropReason::OtherDestination), 0, "the filter let another station's frame through");
}

#[test]
fn answers_go_on_after_a_flap() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let _answering = answer(&node, "eth0", &[VIP]);
    client.cmd(ARPING);
    node.cmd("ip link set eth0 down");
    node.cmd("ip link set eth0 up");
    client.cmd(ARPING);
}

#[test]
fn a_changed_mac_address_is_answered_with() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    node.cmd("ip link set eth0 address 02:00:00:00:00:77");
    let mac = "02:00:00:00:00:77".parse().unwrap();
    answering.table.send_modify(|table| *table = table.with(mac, &[(VIP.parse().unwrap(), Claim::Own)].into()).into());
    assert!(client.cmd(ARPING).contains("[02:00:00:00:00:77]"));
}

#[test]
fn links_of_a_node_are_independent() {
    let net = Net::new();
    let (node, one, two) = (net.host("node"), net.host("one"), net.host("two"));
    net.link((&node, "eth0"), (&one, "eth0"));
    net.link((&node, "eth1"), (&two, "eth0"));
    one.cmd("ip address add 192.0.2.2/24 dev eth0");
    two.cmd("ip address add 192.0.2.2/24 dev eth0");
    let first = answer(&node, "eth0", &["192.0.2.11"]);
    let _second = answer(&node, "eth1", &[VIP]);
    two.cmd(ARPING);
    poke(&one, VIP);
    eventually("the other link's address is not owned here", || first.dropped(DropReason::NotOwned) >= 1);
    node.cmd("ip link set eth0 down");
    assert!(two.cmd(ARPING).contains(&node.mac("eth1").to_uppercase()));
}

#[test]
fn an_ask_brings_the_answer_to_the_driver() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let mut answering = answer(&node, "eth0", &[]);
    let mac = node.mac("eth0").parse().unwrap();
    answering.responder.ask_v4(mac, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), None).unwrap();
    let seen = answering.seen.blocking_recv().unwrap();
    assert_eq!(seen.sight.claim(), ("192.0.2.2".parse().unwrap(), client.mac("eth0").parse().unwrap()));
    assert_eq!(seen.link.as_str(), "eth0");
}
