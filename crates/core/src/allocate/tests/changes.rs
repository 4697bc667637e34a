//! What happens to running Services when requests and pools change.

use super::*;

fn two_pools() -> Cluster {
    Cluster::new(&[("a", pool(&["10.0.0.1-10.0.0.3"])), ("b", pool(&["10.1.0.1-10.1.0.3"]))])
}

#[test]
fn a_changed_request_moves_in_one_write() {
    let mut cluster = two_pools();
    cluster.add(service("s"));
    cluster.settle();
    cluster.edit("s", |service| service.request = Ok(request(&[], Some("b"))));
    assert_eq!(writes(&cluster.settle()), [("s".to_owned(), vec!["10.1.0.1".to_owned()])]);
    cluster.edit("s", |service| service.request = Ok(request(&["10.0.0.3"], None)));
    assert_eq!(writes(&cluster.settle()), [("s".to_owned(), vec!["10.0.0.3".to_owned()])]);
}

#[test]
fn taking_a_request_back_keeps_the_address() {
    let mut cluster = two_pools();
    cluster.add(Service { request: Ok(request(&["10.1.0.3"], Some("b"))), ..service("s") });
    cluster.settle();
    cluster.edit("s", |service| service.request = Ok(Request::default()));
    assert_eq!(cluster.settle(), []);
    assert_eq!(cluster.addresses("s"), ["10.1.0.3"]);
}

#[test]
fn a_bad_change_keeps_the_working_address_and_says_so_once() {
    let mut cluster = two_pools();
    cluster.add(service("s"));
    cluster.add(service("t"));
    cluster.settle();
    let bad = [
        (request(&[], Some("typo")), Refusal::UnknownPool(PoolName::new("typo"))),
        (request(&["172.16.0.1"], None), Refusal::NotInAnyPool(ip("172.16.0.1"))),
        (
            request(&["10.0.0.2"], None),
            Refusal::InUse { address: ip("10.0.0.2"), holder: key("t"), why: crate::allocate::Unshareable::NoKeyHere },
        ),
    ];
    for (request, why) in bad {
        cluster.edit("s", |service| service.request = Ok(request));
        let effects = cluster.settle();
        assert_eq!(effects, [Effect::Event { service: key("s"), event: Event::RequestRefused(why.clone()) }]);
        assert_eq!(cluster.notes("s"), [Note::Kept(why)]);
        assert_eq!(cluster.addresses("s"), ["10.0.0.1"]);
    }
    // It moves as soon as it can.
    cluster.remove("t");
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.0.0.2"]);
}

#[test]
fn movers_that_want_each_others_address_wait_for_none_of_both() {
    // A swap needs an address in between: both keep what works, nothing is lost.
    let mut cluster = two_pools();
    cluster.add(service("s"));
    cluster.add(service("t"));
    cluster.settle();
    cluster.edit("s", |service| service.request = Ok(request(&["10.0.0.2"], None)));
    cluster.edit("t", |service| service.request = Ok(request(&["10.0.0.1"], None)));
    assert_eq!(writes(&cluster.settle()), []);
    assert_eq!(
        (cluster.addresses("s").join(""), cluster.addresses("t").join("")),
        ("10.0.0.1".into(), "10.0.0.2".into())
    );
}

#[test]
fn a_movers_old_address_is_free_only_after_its_write_was_seen() {
    let mut cluster =
        Cluster::new(&[("a", pool(&["10.0.0.1/32"])), ("b", Pool { auto_assign: false, ..pool(&["10.1.0.1/32"]) })]);
    cluster.add(service("s"));
    cluster.add(service("waits"));
    cluster.settle();
    cluster.edit("s", |service| service.request = Ok(request(&[], Some("b"))));
    assert_eq!(writes(&cluster.step()), [("s".to_owned(), vec!["10.1.0.1".to_owned()])]);
    assert_eq!(writes(&cluster.step()), [("waits".to_owned(), vec!["10.0.0.1".to_owned()])]);
}

#[test]
fn a_removed_pool_moves_its_services_in_one_update_or_empties_them() {
    let mut cluster = two_pools();
    cluster.add(service("moves"));
    cluster.add(Service { request: Ok(request(&[], Some("a"))), ..service("stays-away") });
    cluster.settle();
    cluster.pools(&[("b", pool(&["10.1.0.1-10.1.0.3"]))]);
    let effects = cluster.settle();
    assert_eq!(
        writes(&effects),
        [("stays-away".to_owned(), vec![]), ("moves".to_owned(), vec!["10.1.0.1".to_owned()])]
    );
    assert_eq!(
        events(&effects),
        [
            ("stays-away".to_owned(), Event::Cleared(Refusal::NotInAnyPool(ip("10.0.0.2")))),
            ("stays-away".to_owned(), Event::Failed(Refusal::UnknownPool(PoolName::new("a")))),
            ("moves".to_owned(), Event::Cleared(Refusal::NotInAnyPool(ip("10.0.0.1")))),
            ("moves".to_owned(), Event::Allocated(ips(&["10.1.0.1"]))),
        ]
    );
}

#[test]
fn renamed_and_split_pools_keep_addresses() {
    let mut cluster = Cluster::new(&[("old", pool(&["10.0.0.0/24"]))]);
    cluster.add(service("s"));
    cluster.add(Service { request: Ok(request(&["10.0.0.200"], None)), ..service("t") });
    cluster.settle();
    cluster.pools(&[("low", pool(&["10.0.0.0/25"])), ("new", pool(&["10.0.0.128/25"]))]);
    let effects = cluster.settle();
    assert_eq!(events(&effects), []);
    assert_eq!(cluster.addresses("s"), ["10.0.0.0"]);
    assert_eq!(cluster.services[&key("s")].allocated_from, Some(PoolName::new("low")));
    assert_eq!(cluster.addresses("t"), ["10.0.0.200"]);
    assert_eq!(cluster.services[&key("t")].allocated_from, Some(PoolName::new("new")));
}

#[test]
fn an_invalid_request_neither_takes_nor_gives() {
    let invalid =
        crate::service::InvalidRequest::NotAnAddress { field: "spec.loadBalancerIP".into(), value: "x".into() };
    let mut cluster = two_pools();
    cluster.add(service("has"));
    cluster.settle();
    cluster.edit("has", |service| service.request = Err(invalid.clone()));
    cluster.add(Service { request: Err(invalid.clone()), ..service("wants") });
    cluster.settle();
    assert_eq!(cluster.addresses("has"), ["10.0.0.1"]);
    assert_eq!(cluster.notes("has"), [Note::Kept(Refusal::InvalidRequest(invalid.clone()))]);
    assert_eq!(cluster.refusal("wants"), &Refusal::InvalidRequest(invalid));
}

#[test]
fn a_conflict_is_won_by_the_older() {
    let mut cluster = two_pools();
    let ours = Some(PoolName::new("a"));
    for (name, created) in [("young", 9), ("old", 5)] {
        cluster.add(Service { created, ingress: ips(&["10.0.0.1"]), allocated_from: ours.clone(), ..service(name) });
    }
    cluster.settle();
    assert_eq!(cluster.addresses("old"), ["10.0.0.1"]);
    assert_eq!(cluster.addresses("young"), ["10.0.0.2"]);
}

#[test]
fn another_load_balancers_status_is_left_alone() {
    let mut cluster = two_pools();
    let foreign = Service { ingress: ips(&["203.0.113.9"]), ..service("cloud") };
    cluster.add(foreign.clone());
    cluster.add(Service { ingress_has_other: true, ..service("named") });
    cluster.add(Service { is_load_balancer: false, ..Service { key: key("was-lb"), ..foreign } });
    assert_eq!(writes(&cluster.settle()), []);
    assert_eq!(cluster.refusal("cloud"), &Refusal::HeldByOther(ip("203.0.113.9")));
    assert_eq!(cluster.refusal("named"), &Refusal::HeldByOtherName);
    assert_eq!(cluster.outcome("was-lb"), &Outcome::NotWanted);
    // Nor without any pool.
    cluster.pools(&[]);
    assert_eq!(writes(&cluster.settle()), []);
    // With our annotation it is ours.
    cluster.edit("cloud", |service| service.allocated_from = Some(PoolName::new("gone")));
    assert_eq!(writes(&cluster.settle()), [("cloud".to_owned(), vec![])]);
}

/// A mistake in a pool takes nothing away, also from a controller that never saw the pool in order.
#[test]
fn a_broken_pool_leaves_its_services_alone() {
    let mut cluster = two_pools();
    cluster.add(service("s"));
    cluster.settle();
    for others in [false, true] {
        let broken =
            Broken { pools: if others { BTreeSet::new() } else { BTreeSet::from([PoolName::new("a")]) }, others };
        let mut cluster = Cluster { broken, ..cluster.clone() };
        cluster.restart();
        cluster.pools(&[("b", pool(&["10.1.0.1-10.1.0.3"]))]);
        cluster.add(Service { request: Ok(request(&["10.0.0.2"], None)), ..service("t") });
        assert_eq!(writes(&cluster.settle()), []);
        assert_eq!(cluster.addresses("s"), ["10.0.0.1"]);
        assert_eq!(cluster.refusal("s"), &Refusal::PoolBroken(PoolName::new("a")));
        // Corrected.
        cluster.pools(&[("a", pool(&["10.0.0.1-10.0.0.3"])), ("b", pool(&["10.1.0.1-10.1.0.3"]))]);
        cluster.broken = Broken::default();
        assert_eq!(writes(&cluster.settle()), [("t".to_owned(), vec!["10.0.0.2".to_owned()])]);
        // Deleted.
        cluster.pools(&[("b", pool(&["10.1.0.1-10.1.0.3"]))]);
        cluster.settle();
        assert_eq!(cluster.addresses("s"), ["10.1.0.1"]);
    }
    let mut cluster = two_pools();
    cluster.broken.pools.insert(PoolName::new("c"));
    cluster.add(Service { request: Ok(request(&[], Some("c"))), ..service("wants") });
    assert_eq!(writes(&cluster.settle()), []);
    assert_eq!(cluster.refusal("wants"), &Refusal::PoolBroken(PoolName::new("c")));
}
