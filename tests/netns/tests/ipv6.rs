//! Neighbour discovery with the kernel and ndisc6 as the other side.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{answer, neighbour, poke};
use herald_core::time::Moment;
use herald_netns::{Background, Host, Net, eventually};
use herald_speaker::net::{answer::DropReason, groups::Groups};
use herald_wire::{
    Mac,
    ndp::{self, NdpFrame},
};
use std::net::IpAddr;

const VIP: &str = "fd56::11";

fn pair(net: &Net) -> (Host, Host) {
    let (node, client) = (net.host("node"), net.host("client"));
    net.link((&node, "eth0"), (&client, "eth0"));
    node.cmd("ip address add fd56::1/64 dev eth0 nodad");
    client.cmd("ip address add fd56::2/64 dev eth0 nodad");
    (node, client)
}

/// Joins the groups of these addresses until the value is dropped.
fn join(host: &Host, addresses: Vec<IpAddr>) -> Background {
    let index = host.index("eth0");
    host.start(move |up| async move {
        let mut groups = Groups::new(index);
        assert!(groups.set(&addresses).is_empty());
        up.now();
        std::future::pending::<()>().await;
    })
}

fn groups_of(host: &Host) -> String {
    host.cmd("ip -6 maddress show dev eth0")
}

#[test]
fn a_neighbour_learns_an_owned_address() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    poke(&client, VIP);
    eventually("the client's kernel reaches the node's MAC", || {
        let entry = neighbour(&client, VIP);
        entry.contains(&node.mac("eth0")) && entry.contains("REACHABLE")
    });
    assert_eq!(answering.answered(VIP), (1, 1));
    let found = client.cmd(&format!("ndisc6 -1 -w 5000 {VIP} eth0"));
    assert!(found.to_lowercase().contains(&node.mac("eth0")), "ndisc6: {found}");
}

#[test]
fn an_unreachability_probe_to_the_node_is_answered() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    let mac: Mac = node.mac("eth0").parse().unwrap();
    let capture = node.capture(ndp::ETHERTYPE);
    client.cmd(&format!("ip -6 neigh replace {VIP} lladdr {mac} dev eth0 nud probe"));
    capture.until("a solicitation to the node itself", |frame| match ndp::parse(frame) {
        Ok(NdpFrame::Solicitation(probe)) => {
            probe.ether_destination == mac && IpAddr::from(probe.destination_ip) == VIP.parse::<IpAddr>().unwrap()
        }
        _ => false,
    });
    eventually("the entry is confirmed", || neighbour(&client, VIP).contains("REACHABLE"));
    assert!(answering.answered(VIP).1 >= 1);
}

#[test]
fn duplicate_address_detection_finds_the_address_taken() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    client.cmd(&format!("ip address add {VIP}/64 dev eth0"));
    eventually("the client's kernel gives the address up", || {
        client.cmd("ip -6 address show dev eth0 dadfailed").contains(VIP)
    });
    assert!(answering.answered(VIP).1 >= 1);
}

#[test]
fn a_table_whose_time_has_passed_stays_silent() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let answering = answer(&node, "eth0", &[VIP]);
    answering.table.borrow().fence.set(Moment::from_micros(1));
    poke(&client, VIP);
    eventually("the solicitation is counted as expired", || answering.dropped(DropReason::Expired) >= 1);
    poke(&client, "fd56::12");
    eventually("another is counted as not owned", || answering.dropped(DropReason::NotOwned) >= 1);
    assert_eq!(answering.answered(VIP), (0, 0));
}

#[test]
fn an_unsolicited_advertisement_moves_a_neighbour() {
    let net = Net::new();
    let lan = net.lan("lan");
    let (old, new, client) = (net.host("old"), net.host("new"), net.host("client"));
    for host in [&old, &new, &client] {
        lan.attach(host, "eth0");
    }
    client.cmd("ip address add fd56::2/64 dev eth0 nodad");
    // The bridge snoops MLD: without the join, nothing would be certain to get through.
    let _groups = [join(&old, vec![VIP.parse().unwrap()]), join(&new, vec![VIP.parse().unwrap()])];
    let first = answer(&old, "eth0", &[VIP]);
    eventually("the client knows the old owner", || {
        poke(&client, VIP);
        neighbour(&client, VIP).contains(&old.mac("eth0"))
    });
    drop(first);
    let second = answer(&new, "eth0", &[VIP]);
    second.responder.announce(new.mac("eth0").parse().unwrap(), VIP.parse().unwrap()).unwrap();
    eventually("the client knows the new owner", || neighbour(&client, VIP).contains(&new.mac("eth0")));
}

#[test]
fn joined_groups_are_reported_by_mld_and_left() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let group: std::net::Ipv6Addr = "ff02::1:ff00:11".parse().unwrap();
    let capture = client.capture(ndp::ETHERTYPE);
    let joined = join(&node, vec![VIP.parse().unwrap(), "fd57::11".parse().unwrap(), "192.0.2.1".parse().unwrap()]);
    assert!(groups_of(&node).contains("ff02::1:ff00:11"), "joined: {}", groups_of(&node));
    // MLDv2 report (ICMPv6 type 143 behind a hop-by-hop header of eight bytes), naming the group.
    capture.until("an MLD report", |frame| {
        frame.get(62) == Some(&143) && frame.windows(16).any(|octets| octets == group.octets())
    });
    joined.stop();
    eventually("the group is left", || !groups_of(&node).contains("ff02::1:ff00:11"));
}

#[test]
fn groups_follow_the_addresses_and_survive_a_lost_ipv6_state() {
    let net = Net::new();
    let (node, _client) = pair(&net);
    let index = node.index("eth0");
    let addresses = |numbers: std::ops::Range<u32>| -> Vec<IpAddr> {
        numbers.map(|n| format!("fd56::{:x}:{:x}", 0x100 + (n >> 16), n & 0xffff).parse().unwrap()).collect()
    };
    node.run(|| async {
        let mut groups = Groups::new(index);
        // More than one socket may join.
        assert!(groups.set(&addresses(1..3001)).is_empty());
        assert_eq!(groups.joined().count(), 3000);
        assert!(groups.sockets() > 1, "{} sockets", groups.sockets());
        // Two addresses with the same last 24 bits share a group.
        let twins: Vec<IpAddr> = vec!["fd56::11".parse().unwrap(), "fd57::11".parse().unwrap()];
        assert!(groups.set(&twins).is_empty());
        assert_eq!((groups.joined().count(), groups.sockets()), (1, 1));
        assert!(groups.set(&twins[1..]).is_empty());
        assert!(groups_of(&node).contains("ff02::1:ff00:11"), "the other one still needs it");

        node.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1");
        node.sysctl("net/ipv6/conf/eth0/disable_ipv6", "0");
        assert!(groups.rejoin().is_empty());
        assert!(groups_of(&node).contains("ff02::1:ff00:11"), "{}", groups_of(&node));
        assert!(groups.set(&[]).is_empty());
        assert!(!groups_of(&node).contains("ff02::1:ff00:11"));
        assert_eq!(groups.sockets(), 0);
    });
}

#[test]
fn groups_survive_a_flap() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let _joined = join(&node, vec![VIP.parse().unwrap()]);
    let _answering = answer(&node, "eth0", &[VIP]);
    node.cmd("ip link set eth0 down");
    node.cmd("ip link set eth0 up");
    assert!(groups_of(&node).contains("ff02::1:ff00:11"));
    eventually("solicitations are answered again", || {
        poke(&client, VIP);
        neighbour(&client, VIP).contains("REACHABLE")
    });
}

#[test]
fn an_ask_brings_the_answer_to_the_driver() {
    let net = Net::new();
    let (node, client) = pair(&net);
    let mut answering = answer(&node, "eth0", &[]);
    let mac = node.mac("eth0").parse().unwrap();
    answering.responder.ask_v6(mac, "fd56::1".parse().unwrap(), "fd56::2".parse().unwrap(), None).unwrap();
    let seen = loop {
        // The kernels' own advertisements are seen too.
        let seen = answering.seen.blocking_recv().unwrap();
        if seen.sight.claim().0 == "fd56::2".parse::<IpAddr>().unwrap() {
            break seen;
        }
    };
    assert_eq!(seen.sight.claim().1, client.mac("eth0").parse().unwrap());
}
