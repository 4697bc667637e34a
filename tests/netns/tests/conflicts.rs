//! Hosts with real kernels that have a Service's address: nothing is answered for it, and they are named.
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions themselves")]

mod common;

use common::{
    neighbour,
    site::{Site, VIP4, VIP6, said_of_vip, site_on},
};
use herald_netns::{Host, Lan, Net, eventually};
use herald_wire::arp;
use std::time::Duration;

/// A host that is no node, with both addresses; its kernel does what kernels do.
fn foreign(net: &Net, lan: &Lan) -> Host {
    let host = net.host("printer");
    lan.attach(&host, "eth0");
    for address in [format!("{VIP4}/24"), format!("{VIP6}/64")] {
        host.cmd(&format!("ip address add {address} dev eth0"));
    }
    // Its duplicate address detection is over: until then it does not answer.
    eventually("the host uses its address", || !host.cmd("ip -6 address show dev eth0").contains("tentative"));
    host
}

impl Site {
    /// Whether some node told this about the address, with this MAC.
    fn told(&self, what: &str, address: &str, mac: &str) -> bool {
        let has = |line: &String| line.contains(what) && line.contains(address) && line.contains(mac);
        self.nodes.iter().any(|node| node.told.lock().unwrap().iter().any(has))
    }
}

#[test]
fn an_address_that_a_foreign_host_has_is_not_answered_and_the_host_is_named() {
    let net = Net::new();
    let lan = net.lan("lan");
    let printer = foreign(&net, &lan);
    let mac = printer.mac("eth0");
    let capture = printer.capture(arp::ETHERTYPE);
    let site = site_on(net, lan);
    for address in [VIP4, VIP6] {
        eventually("it is told who has it", || site.told("Withheld", address, &mac));
        assert_eq!(site.learnt(address), None);
    }
    eventually("the client reaches the host", || {
        site.learnt(VIP4);
        neighbour(&site.client, VIP4).contains(&mac)
    });
    assert_eq!(said_of_vip(&capture), [], "no node says that it has it");

    printer.cmd("ip address flush dev eth0");
    // After ten seconds it is asked again.
    std::thread::sleep(Duration::from_secs(8));
    site.settled();
    assert!(site.told("ConflictOver", VIP4, ""));
}

#[test]
fn a_foreign_host_that_comes_later_is_told_off_once_and_then_yielded_to() {
    let net = Net::new();
    let lan = net.lan("lan");
    let printer = net.host("printer");
    lan.attach(&printer, "eth0");
    let site = site_on(net, lan);
    let owner = site.settled();
    // Until it was asked for, it would not be fought for.
    std::thread::sleep(Duration::from_millis(500));
    let mac = printer.mac("eth0");
    let owners = site.nodes[owner].mac("eth0");
    printer.cmd(&format!("ip address add {VIP4}/24 dev eth0"));
    let capture = printer.capture(arp::ETHERTYPE);
    let announce = format!("arping -U -c 1 -w 1 -I eth0 {VIP4}");
    let _ = printer.try_cmd(&announce);
    eventually("it is told", || site.told("Defended", VIP4, ""));
    eventually("the owner says where it is", || {
        said_of_vip(&capture).iter().any(|(said, _)| said.to_string() == owners)
    });
    std::thread::sleep(Duration::from_millis(100));
    let _ = printer.try_cmd(&announce);
    eventually("and yields", || site.told("Withheld", VIP4, &mac));
    eventually("the client reaches the host", || {
        site.learnt(VIP4);
        neighbour(&site.client, VIP4).contains(&mac)
    });
    assert_eq!(site.learnt(VIP6), Some(owner), "the other address goes on");
}
