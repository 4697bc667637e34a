//! MetalLB's sharing matrix (reference: its allocator's checkSharing).

use super::*;
use crate::allocate::Unshareable;

fn sharer(name: &str, sharing_key: &str, ports: &[u16]) -> Service {
    Service {
        sharing_key: Some(sharing_key.to_owned()),
        ports: ports.iter().copied().map(tcp).collect(),
        ..service(name)
    }
}

fn named(service: Service) -> Service {
    Service { request: Ok(request(&["10.0.0.5"], None)), ..service }
}

fn cluster() -> Cluster {
    Cluster::new(&[("p", pool(&["10.0.0.1-10.0.0.9"]))])
}

fn why(holder: Service, newcomer: Service) -> Option<Unshareable> {
    let mut cluster = cluster();
    cluster.add(named(holder));
    cluster.settle();
    let name = newcomer.key.name.clone();
    cluster.add(named(newcomer));
    cluster.settle();
    match cluster.outcome(&name) {
        Outcome::Assigned(assignment) => {
            assert_eq!(assignment.addresses, ips(&["10.0.0.5"]));
            None
        }
        Outcome::Waiting(Refusal::InUse { why, .. }) => Some(why.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn matrix() {
    let local = |service: Service, selector: &str| Service {
        traffic_policy: TrafficPolicy::Local,
        selector: selector.to_owned(),
        ..service
    };
    let plain = |name, ports: &[u16]| Service { ports: ports.iter().copied().map(tcp).collect(), ..service(name) };
    let udp53 = Service { ports: Set::from([Port { protocol: Protocol::Udp, number: 53 }]), ..sharer("b", "k", &[]) };

    assert_eq!(why(sharer("a", "k", &[80]), sharer("b", "k", &[443])), None);
    assert_eq!(why(sharer("a", "k", &[53]), udp53), None);
    assert_eq!(why(sharer("a", "k", &[80]), plain("b", &[443])), Some(Unshareable::NoKeyHere));
    assert_eq!(why(plain("a", &[80]), sharer("b", "k", &[443])), Some(Unshareable::NoKeyThere));
    assert_eq!(why(sharer("a", "k", &[80]), sharer("b", "l", &[443])), Some(Unshareable::KeysDiffer));
    assert_eq!(
        why(sharer("a", "k", &[80, 443]), sharer("b", "k", &[443, 8443])),
        Some(Unshareable::PortTaken { protocol: Protocol::Tcp, number: 443 })
    );
    // Cluster with Cluster whatever the selectors, Local with an equal selector only, never Local with Cluster.
    let (a, b) = (sharer("a", "k", &[80]), sharer("b", "k", &[443]));
    assert_eq!(why(local(a.clone(), "app=x"), local(b.clone(), "app=x")), None);
    assert_eq!(why(local(a.clone(), "app=x"), local(b.clone(), "app=y")), Some(Unshareable::BackendsDiffer));
    assert_eq!(why(local(a.clone(), "app=x"), b.clone()), Some(Unshareable::BackendsDiffer));
    assert_eq!(why(a, local(b, "app=x")), Some(Unshareable::BackendsDiffer));
}

#[test]
fn the_key_crosses_namespaces() {
    let elsewhere = Service { key: ServiceKey::new("other", "b"), ..sharer("b", "k", &[443]) };
    let mut cluster = cluster();
    cluster.add(named(sharer("a", "k", &[80])));
    cluster.add(named(elsewhere));
    cluster.settle();
    assert_eq!(cluster.services[&ServiceKey::new("other", "b")].ingress, ips(&["10.0.0.5"]));
}

#[test]
fn the_lowest_address_that_is_free_or_shareable_whichever_comes_first() {
    let mut cluster = cluster();
    cluster.add(named(sharer("a", "k", &[80])));
    cluster.settle();
    // .1 is free and lower than the shared .5.
    cluster.add(sharer("b", "k", &[443]));
    cluster.settle();
    assert_eq!(cluster.addresses("b"), ["10.0.0.1"]);
    // .1 is shared and lower than the free .2.
    cluster.add(sharer("c", "k", &[8080]));
    cluster.settle();
    assert_eq!(cluster.addresses("c"), ["10.0.0.1"]);
    // Its port is taken on both .1 and .5: the lowest free one.
    cluster.add(sharer("d", "k", &[80, 443]));
    cluster.settle();
    assert_eq!(cluster.addresses("d"), ["10.0.0.2"]);
}

#[test]
fn a_full_pool_still_has_room_for_sharers() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1-10.0.0.2"]))]);
    cluster.add(Service { created: 1, ..service("loner") });
    cluster.add(Service { created: 2, ..sharer("a", "k", &[80]) });
    cluster.add(Service { created: 3, ..sharer("b", "k", &[443]) });
    cluster.add(Service { created: 4, ..sharer("c", "k", &[443]) });
    cluster.settle();
    assert_eq!(cluster.addresses("a"), ["10.0.0.2"]);
    assert_eq!(cluster.addresses("b"), ["10.0.0.2"]);
    assert_eq!(cluster.refusal("c"), &Refusal::NoFreeAddress { families: "IPv4".into() });
}

#[test]
fn who_becomes_incompatible_leaves_and_comes_back() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1/32"]))]);
    cluster.add(Service { created: 1, ..sharer("a", "k", &[80]) });
    cluster.add(Service { created: 2, ..sharer("b", "k", &[443]) });
    cluster.settle();
    assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec!["10.0.0.1".into()], vec!["10.0.0.1".into()]));
    cluster.edit("b", |service| service.traffic_policy = TrafficPolicy::Local);
    cluster.settle();
    assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec!["10.0.0.1".into()], vec![]));
    cluster.edit("b", |service| service.traffic_policy = TrafficPolicy::Cluster);
    cluster.settle();
    assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec!["10.0.0.1".into()], vec!["10.0.0.1".into()]));
}

#[test]
fn who_changed_leaves_though_it_is_the_older() {
    // MetalLB's rule: nobody loses a working address through somebody else's change.
    for change in [
        |service: &mut Service| service.sharing_key = Some("other".into()),
        |service: &mut Service| service.sharing_key = None,
        |service: &mut Service| service.traffic_policy = TrafficPolicy::Local,
        |service: &mut Service| service.ports = Set::from([tcp(443)]),
    ] {
        let mut cluster = cluster();
        cluster.add(Service { created: 1, ..named(sharer("a", "k", &[80])) });
        cluster.add(Service { created: 2, ..named(sharer("b", "k", &[443])) });
        cluster.settle();
        let before = cluster.services[&key("a")].clone();
        cluster.edit("a", change);
        cluster.settle();
        assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec![], vec!["10.0.0.5".into()]));
        assert!(matches!(cluster.refusal("a"), Refusal::InUse { .. }));
        // Compatible again: both have it, without any other trigger.
        let ingress = Vec::new();
        cluster.edit("a", |service| *service = Service { ingress, allocated_from: None, ..Service::clone(&before) });
        cluster.settle();
        assert_eq!(
            (cluster.addresses("a"), cluster.addresses("b")),
            (vec!["10.0.0.5".into()], vec!["10.0.0.5".into()])
        );
    }
}

#[test]
fn of_two_that_changed_the_last_one_leaves() {
    let mut cluster = cluster();
    for (name, port) in [("a", 80), ("b", 443)] {
        cluster.add(named(sharer(name, "k", &[port])));
    }
    cluster.settle();
    // Not in conflict yet, but it has changed since.
    cluster.edit("a", |service| service.ports = Set::from([tcp(81)]));
    assert_eq!(cluster.settle(), []);
    cluster.edit("b", |service| service.ports = Set::from([tcp(81)]));
    cluster.settle();
    assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec!["10.0.0.5".into()], vec![]));
}

#[test]
fn without_a_memory_the_younger_leaves() {
    let mut cluster = cluster();
    cluster.add(Service { created: 1, ..named(sharer("a", "k", &[80])) });
    cluster.add(Service { created: 2, ..named(sharer("b", "k", &[443])) });
    cluster.settle();
    cluster.edit("a", |service| service.sharing_key = Some("other".into()));
    // The controller was away meanwhile.
    cluster.restart();
    cluster.settle();
    assert_eq!((cluster.addresses("a"), cluster.addresses("b")), (vec!["10.0.0.5".into()], vec![]));
}

#[test]
fn a_sole_holder_changes_its_terms_in_place() {
    let mut cluster = cluster();
    cluster.add(sharer("a", "k", &[80]));
    cluster.settle();
    cluster.edit("a", |service| {
        service.sharing_key = Some("other".into());
        service.traffic_policy = TrafficPolicy::Local;
    });
    assert_eq!(cluster.settle(), []);
    assert_eq!(cluster.addresses("a"), ["10.0.0.1"]);
}

#[test]
fn dual_stack_sharers_share_both() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1/32", "fd00::1/128"]))]);
    for (name, port) in [("a", 80), ("b", 443)] {
        let base = sharer(name, "k", &[port]);
        cluster.add(Service {
            cluster_families: BTreeSet::from(Family::BOTH),
            family_policy: FamilyPolicy::RequireDualStack,
            ..base
        });
    }
    cluster.settle();
    assert_eq!(cluster.addresses("a"), ["10.0.0.1", "fd00::1"]);
    assert_eq!(cluster.addresses("b"), ["10.0.0.1", "fd00::1"]);
}
