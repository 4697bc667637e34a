//! Whole speakers (all but their watches of Kubernetes) on real links: who answers, and what neighbours learn when something happens.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{
    neighbour, poke,
    site::{NODES, Node, Site, VIP4, VIP6, said_of_vip, site},
};
use herald_netns::{Host, Net, eventually};
use herald_testkit::build;
use herald_wire::{Mac, arp};
use std::time::Duration;

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

/// Two of its hellos are lost on the way, so its peers say that they keep its place, as of one that restarts. It never was away: what it takes
/// over next, the neighbours have to hear of at once.
#[test]
fn who_takes_over_is_heard_though_peers_just_missed_its_hellos() {
    let site = site();
    let old = site.settled();
    let switch = site.lan.switch();
    let hellos = |way: &str| {
        for node in &site.nodes {
            switch.cmd(&format!("bridge link set dev {} mcast_flood {way}", node.port));
        }
    };
    let next = {
        let mut order: Vec<usize> = (0..site.nodes.len()).collect();
        order.sort_by_key(|n| herald_core::ownership::rank(&site.nodes[*n].name.into(), VIP4));
        order[1]
    };
    // The bursts of the start are over.
    std::thread::sleep(Duration::from_secs(6));
    let mac: Mac = site.nodes[next].mac("eth0").parse().unwrap();
    let capture = site.client.capture(arp::ETHERTYPE);
    // To the old owner and the third; who is next hears what they say of it.
    hellos("off");
    switch.cmd(&format!("bridge link set dev {} mcast_flood on", site.nodes[next].port));
    // Longer than the suspicion, shorter than the hold time.
    std::thread::sleep(Duration::from_millis(140));
    hellos("on");
    let before = said_of_vip(&capture).len();
    switch.cmd(&format!("ip link set {} down", site.nodes[old].port));
    // Request and reply, three times at least: a refresh would be one of each, once a minute.
    eventually("the burst of the new owner", || {
        said_of_vip(&capture)[before..].iter().filter(|(said, by)| *said == mac && *by == mac).count() >= 6
    });
    assert_eq!(site.known(VIP4), Some(next), "nothing asked: the burst alone moved the entry");
}

#[test]
fn a_switch_that_restarts_leaves_every_address_where_it_was() {
    let site = site();
    let old = site.settled();
    for way in ["down", "up"] {
        for node in &site.nodes {
            site.lan.switch().cmd(&format!("ip link set {} {way}", node.port));
        }
        if way == "down" {
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(site.learnt(VIP4), None, "there is no network");
        }
    }
    eventually("the same node answers", || site.learnt(VIP4) == Some(old) && site.learnt(VIP6) == Some(old));
    // Whoever was up first has given it back by now: nobody else comes later.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((site.learnt(VIP4), site.learnt(VIP6)), (Some(old), Some(old)));
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
        node.tell(&empty);
    }
    eventually("nobody answers", || site.learnt(VIP4).is_none() && site.learnt(VIP6).is_none());
}
