//! Addresses that hosts outside the cluster have.

use super::*;

fn cluster(ranges: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(&[("p", pool(ranges))]);
    cluster.label_namespace("default", &[]);
    cluster
}

fn held(addresses: &[&str]) -> BTreeSet<IpAddr> {
    ips(addresses).into_iter().collect()
}

#[test]
fn who_did_not_ask_for_an_address_gets_another_one_and_is_told_why() {
    let mut cluster = cluster(&["10.0.0.1-10.0.0.9"]);
    cluster.add(service("auto"));
    cluster.add(Service { request: Ok(request(&["10.0.0.2"], None)), ..service("named") });
    cluster.add(Service { request: Ok(request(&[], Some("p"))), ..service("of-pool") });
    cluster.settle();
    cluster.quarantined = held(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    let effects = cluster.settle();
    assert_eq!(cluster.addresses("auto"), ["10.0.0.5"]);
    assert_eq!(cluster.addresses("of-pool"), ["10.0.0.6"]);
    let told = |name: &str| {
        let of = |(service, event): (String, Event)| (service == name).then_some(event);
        events(&effects).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(told("auto"), [Event::Cleared(Refusal::Conflict(ip("10.0.0.1"))), Event::Allocated(ips(&["10.0.0.5"]))]);
    // Asked for by name: it stays, and that is told.
    assert_eq!(cluster.addresses("named"), ["10.0.0.2"]);
    assert_eq!(told("named"), [Event::RequestRefused(Refusal::Conflict(ip("10.0.0.2")))]);
    // Nor does a newcomer get one of them, unless it asks for it.
    cluster.remove("auto");
    cluster.add(service("late"));
    cluster.add(Service { request: Ok(request(&["10.0.0.1"], None)), ..service("wants") });
    cluster.settle();
    assert_eq!((cluster.addresses("late"), cluster.addresses("wants")), (ips_text("10.0.0.5"), ips_text("10.0.0.1")));
    // Over: nobody moves back, and the lowest is free again.
    cluster.quarantined.clear();
    assert_eq!(writes(&cluster.settle()), []);
    cluster.add(service("last"));
    cluster.settle();
    assert_eq!(cluster.addresses("last"), ["10.0.0.3"]);
}

fn ips_text(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

#[test]
fn who_can_have_no_other_address_keeps_its_own_until_there_is_one() {
    let mut cluster = cluster(&["10.0.0.1-10.0.0.2"]);
    for name in ["a", "b"] {
        cluster.add(service(name));
    }
    cluster.settle();
    cluster.quarantined = held(&["10.0.0.1"]);
    assert_eq!(writes(&cluster.settle()), []);
    assert_eq!(cluster.notes("a"), [Note::Kept(Refusal::Conflict(ip("10.0.0.1")))]);
    cluster.remove("b");
    cluster.settle();
    assert_eq!(cluster.addresses("a"), ["10.0.0.2"]);
}

#[test]
fn of_two_families_the_good_one_stays() {
    let mut cluster = cluster(&["10.0.0.1-10.0.0.9", "fd00::1-fd00::9"]);
    cluster.add(dual("both", FamilyPolicy::RequireDualStack));
    cluster.settle();
    cluster.quarantined = held(&["10.0.0.1"]);
    cluster.settle();
    assert_eq!(cluster.addresses("both"), ["fd00::1", "10.0.0.2"]);
    cluster.quarantined = held(&["10.0.0.2", "fd00::1"]);
    cluster.settle();
    assert_eq!(cluster.addresses("both"), ["10.0.0.1", "fd00::2"]);
}

#[test]
fn who_shares_moves_together() {
    let mut cluster = cluster(&["10.0.0.1-10.0.0.9"]);
    for (name, port) in [("web", 80), ("dns", 53)] {
        let sharing_key = Some("k".to_owned());
        cluster.add(Service { sharing_key, ports: Set::from([tcp(port)]), ..service(name) });
    }
    cluster.settle();
    assert_eq!(cluster.addresses("web"), cluster.addresses("dns"));
    cluster.quarantined = held(&["10.0.0.1"]);
    cluster.settle();
    assert_eq!((cluster.addresses("web"), cluster.addresses("dns")), (ips_text("10.0.0.2"), ips_text("10.0.0.2")));
}
