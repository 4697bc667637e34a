use super::*;

const CLASSIC: &str = "192.168.56.11-192.168.56.13";

fn classic() -> Cluster {
    Cluster::new(&[("nginx-ip-range", pool(&[CLASSIC]))])
}

#[test]
fn the_classic_lab() {
    let mut cluster = classic();
    cluster.add(service("one"));
    let effects = cluster.step();
    let assignment = Assignment { pool: PoolName::new("nginx-ip-range"), addresses: ips(&["192.168.56.11"]) };
    assert_eq!(
        effects,
        [
            Effect::WriteStatus { service: key("one"), assignment: Some(assignment.clone()) },
            Effect::Event { service: key("one"), event: Event::Allocated(assignment.addresses) },
        ]
    );
    cluster.add(service("two"));
    cluster.settle();
    assert_eq!(cluster.addresses("one"), ["192.168.56.11"]);
    assert_eq!(cluster.addresses("two"), ["192.168.56.12"]);
}

#[test]
fn lowest_first_in_listed_order_of_ranges_not_of_addresses() {
    let mut cluster =
        Cluster::new(&[("p", pool(&["192.168.20.200/32", "192.168.10.100/32", "192.168.10.50-192.168.10.51"]))]);
    for name in ["a", "b", "c", "d"] {
        cluster.add(service(name));
    }
    cluster.settle();
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| cluster.addresses(name).join("")),
        ["192.168.20.200", "192.168.10.100", "192.168.10.50", "192.168.10.51"]
    );
}

#[test]
fn older_services_are_served_first_then_by_key() {
    let mut cluster = classic();
    for (name, created) in [("a", 30), ("b", 20), ("d", 10), ("c", 10)] {
        cluster.add(Service { created, ..service(name) });
    }
    cluster.settle();
    assert_eq!(cluster.addresses("c"), ["192.168.56.11"]);
    assert_eq!(cluster.addresses("d"), ["192.168.56.12"]);
    assert_eq!(cluster.addresses("b"), ["192.168.56.13"]);
    assert_eq!(cluster.addresses("a"), [""; 0]);
}

#[test]
fn a_restart_changes_and_tells_nothing_and_holders_go_before_older_waiters() {
    let mut cluster = classic();
    for name in ["h", "i", "j"] {
        cluster.add(Service { created: 50, ..service(name) });
    }
    cluster.settle();
    // Older, but it never had anything.
    cluster.add(Service { created: 1, ..service("a") });
    cluster.settle();
    cluster.restart();
    let effects = cluster.step();
    assert_eq!(writes(&effects), []);
    assert_eq!(events(&effects), [("a".to_owned(), Event::Failed(cluster.refusal("a").clone()))]);
    assert_eq!(cluster.addresses("h"), ["192.168.56.11"]);
}

#[test]
fn a_waiting_service_gets_what_a_deleted_one_had() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1/32"]))]);
    cluster.add(service("a"));
    cluster.add(service("b"));
    cluster.settle();
    assert_eq!(cluster.addresses("b"), [""; 0]);
    cluster.remove("a");
    cluster.settle();
    assert_eq!(cluster.addresses("b"), ["10.0.0.1"]);
}

#[test]
fn an_address_is_taken_until_its_status_is_cleared() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1/32"]))]);
    cluster.add(service("a"));
    cluster.add(service("b"));
    cluster.settle();
    cluster.edit("a", |service| service.is_load_balancer = false);
    assert_eq!(writes(&cluster.step()), [("a".to_owned(), vec![])]);
    assert_eq!(cluster.outcome("a"), &Outcome::NotWanted);
    assert_eq!(writes(&cluster.step()), [("b".to_owned(), vec!["10.0.0.1".to_owned()])]);
}

#[test]
fn pools_without_auto_assign_serve_only_who_names_them() {
    let shy = Pool { auto_assign: false, ..pool(&["10.0.0.1-10.0.0.9"]) };
    let mut cluster = Cluster::new(&[("a-shy", shy), ("b", pool(&["10.1.0.1-10.1.0.9"]))]);
    cluster.add(service("auto"));
    cluster.add(Service { request: Ok(request(&[], Some("a-shy"))), ..service("by-pool") });
    cluster.add(Service { request: Ok(request(&["10.0.0.5"], None)), ..service("by-address") });
    cluster.settle();
    assert_eq!(cluster.addresses("auto"), ["10.1.0.1"]);
    assert_eq!(cluster.addresses("by-pool"), ["10.0.0.1"]);
    assert_eq!(cluster.addresses("by-address"), ["10.0.0.5"]);
    // Turning it off later evicts nobody.
    cluster.edit("by-pool", |service| service.request = Ok(Request::default()));
    assert_eq!(writes(&cluster.settle()), []);
}

#[test]
fn auto_pools_in_order_of_their_names_whether_advertised_or_not() {
    let mut cluster = Cluster::new(&[("b", pool(&["10.1.0.1/32"])), ("a", pool(&["10.0.0.1/32"]))]);
    cluster.add(service("one"));
    cluster.add(service("two"));
    cluster.settle();
    assert_eq!(cluster.addresses("one"), ["10.0.0.1"]);
    assert_eq!(cluster.addresses("two"), ["10.1.0.1"]);
}

#[test]
fn buggy_addresses_are_left_out_and_evicted_when_that_is_turned_on() {
    let range = "10.0.0.254-10.0.1.1";
    let mut cluster = Cluster::new(&[("p", pool(&[range]))]);
    for name in ["a", "b", "c", "d"] {
        cluster.add(service(name));
    }
    cluster.settle();
    assert_eq!(cluster.addresses("b"), ["10.0.0.255"]);
    assert_eq!(cluster.addresses("c"), ["10.0.1.0"]);
    cluster.pools(&[("p", Pool { avoid_buggy_ips: true, ..pool(&[range]) })]);
    cluster.settle();
    assert_eq!(["a", "b", "c", "d"].map(|name| cluster.addresses(name).join("")), ["10.0.0.254", "", "", "10.0.1.1"]);
    assert_eq!(cluster.refusal("b"), &Refusal::NoFreeAddress { families: "IPv4".to_owned() });
}

#[test]
fn the_ends_of_the_address_space() {
    let mut cluster =
        Cluster::new(&[("p", pool(&["255.255.255.254/31", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "::/127"]))]);
    for name in ["a", "b", "c"] {
        cluster.add(service(name));
    }
    for name in ["x", "y", "z", "zz"] {
        cluster.add(Service { cluster_families: BTreeSet::from([Family::V6]), ..service(name) });
    }
    cluster.settle();
    assert_eq!(
        ["a", "b", "c"].map(|name| cluster.addresses(name).join("")),
        ["255.255.255.254", "255.255.255.255", ""]
    );
    assert_eq!(
        ["x", "y", "z", "zz"].map(|name| cluster.addresses(name).join("")),
        ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "::1", ""]
    );
}

#[test]
fn a_huge_pool_is_as_cheap_as_a_small_one() {
    let mut cluster = Cluster::new(&[("p", pool(&["fd00::/64"]))]);
    for index in 0..500 {
        let name = format!("s{index:03}");
        cluster.add(Service { cluster_families: BTreeSet::from([Family::V6]), ..service(&name) });
    }
    cluster.settle();
    assert_eq!(cluster.addresses("s000"), ["fd00::"]);
    assert_eq!(cluster.addresses("s499"), ["fd00::1f3"]);
}

#[test]
fn effects_are_ordered_clears_moves_news() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1-10.0.0.9"]))]);
    for name in ["c", "d"] {
        cluster.add(service(name));
    }
    cluster.settle();
    cluster.add(service("a"));
    cluster.edit("c", |service| service.request = Ok(request(&["10.0.0.7"], None)));
    cluster.edit("d", |service| service.is_load_balancer = false);
    let order: Vec<String> = writes(&cluster.step()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["d", "c", "a"]);
}

#[test]
fn a_right_status_without_annotation_gets_it_without_an_event() {
    let mut cluster = classic();
    cluster.add(Service { ingress: ips(&["192.168.56.12"]), ..service("a") });
    let effects = cluster.settle();
    assert_eq!(writes(&effects), [("a".to_owned(), vec!["192.168.56.12".to_owned()])]);
    assert_eq!(events(&effects), []);
    assert_eq!(cluster.services[&key("a")].allocated_from, Some(PoolName::new("nginx-ip-range")));
}

#[test]
fn garbage_in_a_status_of_ours_is_cleaned() {
    let mut cluster = classic();
    let ours = Some(PoolName::new("nginx-ip-range"));
    cluster.add(Service { ingress_has_other: true, allocated_from: ours.clone(), ..service("a") });
    cluster.add(Service { ingress: ips(&["192.168.56.12"; 2]), allocated_from: ours, ..service("b") });
    cluster.settle();
    assert_eq!(cluster.addresses("a"), ["192.168.56.11"]);
    assert_eq!(cluster.addresses("b"), ["192.168.56.12"]);
}

#[test]
fn nothing_is_told_twice() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1/32"]))]);
    cluster.add(service("a"));
    cluster.add(service("b"));
    let plan_one = plan(&cluster.config, &cluster.services);
    let first = effects(&cluster.services, &Plan::default(), &plan_one);
    assert_eq!(events(&first).len(), 2);
    // The write failed; the same plan again writes again but does not tell again.
    let again = effects(&cluster.services, &plan_one, &plan_one);
    assert_eq!(events(&again), []);
    assert_eq!(writes(&again), writes(&first));
}
