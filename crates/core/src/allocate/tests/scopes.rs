//! Pools that are kept for some: priority, namespaces, labels of namespaces, labels of Services.

use super::*;

fn labelled(name: &str, labels: &[(&str, &str)]) -> Service {
    Service { labels: labels.iter().copied().collect(), ..service(name) }
}

fn in_namespace(namespace: &str, name: &str) -> Service {
    Service { key: ServiceKey::new(namespace, name), ..service(name) }
}

fn held(cluster: &Cluster, namespace: &str, name: &str) -> String {
    let ingress = &cluster.services[&ServiceKey::new(namespace, name)].ingress;
    ingress.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The pool, kept for namespaces by name.
fn for_namespaces(pool: Pool, priority: u32, names: &[&str]) -> Pool {
    let namespaces = names.iter().map(|&name| name.into()).collect();
    Pool { allocation: Some(ServiceAllocation { priority, namespaces, ..ServiceAllocation::default() }), ..pool }
}

#[test]
fn lower_numbers_first_zero_last_then_by_name_then_pools_for_anybody() {
    let one = |number: u8| pool(&[&format!("10.0.0.{number}/32")]);
    let mut cluster = Cluster::new(&[
        ("a-open", one(1)),
        ("b-zero", kept(one(2), 0, &[], &[])),
        ("c-twenty", kept(one(3), 20, &[], &[])),
        ("d-ten", kept(one(4), 10, &[], &[])),
        ("e-ten", kept(one(5), 10, &[], &[])),
        ("f-zero", kept(one(6), 0, &[], &[])),
    ]);
    for (created, name) in (1..).zip(["1", "2", "3", "4", "5", "6", "7"]) {
        cluster.add(Service { created, ..service(name) });
    }
    cluster.settle();
    let all: Vec<String> = ["1", "2", "3", "4", "5", "6"].iter().map(|name| cluster.addresses(name).join("")).collect();
    assert_eq!(all, ["10.0.0.4", "10.0.0.5", "10.0.0.3", "10.0.0.2", "10.0.0.6", "10.0.0.1"]);
    assert_eq!(cluster.refusal("7"), &Refusal::NoFreeAddress { families: "IPv4".into() });
}

#[test]
fn namespaces_by_name_or_label_and_services_by_label() {
    let mut cluster = Cluster::new(&[
        ("by-name", for_namespaces(pool(&["10.0.1.0/24"]), 1, &["red", "blue"])),
        ("by-label", kept(pool(&["10.0.2.0/24"]), 2, &[selector("team", "x"), selector("team", "y")], &[])),
        ("by-service", kept(pool(&["10.0.3.0/24"]), 3, &[], &[selector("app", "web"), selector("app", "api")])),
        ("by-both", kept(pool(&["10.0.4.0/24"]), 4, &[selector("env", "prod")], &[selector("app", "db")])),
        ("open", pool(&["10.0.9.0/24"])),
    ]);
    cluster.label_namespace("red", &[("team", "x")]);
    cluster.label_namespace("green", &[("team", "y")]);
    cluster.label_namespace("prod", &[("env", "prod")]);
    cluster.label_namespace("other", &[]);
    for namespace in ["red", "green", "prod", "other"] {
        cluster.add(in_namespace(namespace, "plain"));
        for app in ["api", "db"] {
            let labels = [("app", app)].into_iter().collect();
            cluster.add(Service { labels, ..in_namespace(namespace, app) });
        }
    }
    cluster.settle();
    for (namespace, name, pool) in [
        ("red", "plain", 1),
        ("red", "api", 1),
        ("green", "plain", 2),
        ("green", "db", 2),
        ("prod", "plain", 9),
        ("prod", "api", 3),
        ("prod", "db", 4),
        ("other", "plain", 9),
        ("other", "api", 3),
        ("other", "db", 9),
    ] {
        let address = held(&cluster, namespace, name);
        assert!(address.starts_with(&format!("10.0.{pool}.")), "{namespace}/{name} has {address}");
    }
}

#[test]
fn names_and_selectors_of_namespaces_add_up() {
    let both = Pool {
        allocation: Some(ServiceAllocation {
            namespaces: BTreeSet::from(["red".into()]),
            namespace_selectors: vec![selector("team", "x")],
            ..ServiceAllocation::default()
        }),
        ..pool(&["10.0.0.0/24"])
    };
    let mut cluster = Cluster::new(&[("p", both)]);
    cluster.label_namespace("red", &[]);
    cluster.label_namespace("green", &[("team", "x")]);
    cluster.label_namespace("blue", &[]);
    for namespace in ["red", "green", "blue"] {
        cluster.add(in_namespace(namespace, "s"));
    }
    cluster.settle();
    assert_eq!(held(&cluster, "blue", "s"), "");
    assert_ne!(held(&cluster, "red", "s"), "");
    assert_ne!(held(&cluster, "green", "s"), "");
}

/// MetalLB loses the restriction when the selectors choose no namespace at all.
#[test]
fn a_selector_that_chooses_nothing_restricts() {
    let nobody = kept(pool(&["10.0.0.0/24"]), 0, &[selector("no", "where")], &[selector("app", "web")]);
    let mut cluster = Cluster::new(&[("p", nobody)]);
    cluster.label_namespace("default", &[]);
    cluster.add(labelled("auto", &[("app", "web")]));
    cluster.add(Service { request: Ok(request(&[], Some("p"))), ..labelled("pool", &[("app", "web")]) });
    cluster.add(Service { request: Ok(request(&["10.0.0.7"], None)), ..labelled("address", &[("app", "web")]) });
    assert_eq!(writes(&cluster.settle()), []);
    let elsewhere = Refusal::NotForNamespace { pool: PoolName::new("p"), namespace: "default".into() };
    assert_eq!(cluster.refusal("auto"), &Refusal::NoPoolForService);
    assert_eq!(cluster.refusal("pool"), &elsewhere);
    assert_eq!(cluster.refusal("address"), &elsewhere);
}

#[test]
fn who_names_a_pool_or_an_address_is_held_to_its_constraints() {
    let gold = kept(pool(&["10.0.0.0/24"]), 0, &[], &[selector("tier", "gold")]);
    let mut cluster = Cluster::new(&[("gold", Pool { auto_assign: false, ..gold }), ("open", pool(&["10.1.0.0/24"]))]);
    cluster.add(Service { request: Ok(request(&[], Some("gold"))), ..service("poor") });
    cluster.add(Service { request: Ok(request(&["10.0.0.9"], None)), ..service("poor-address") });
    cluster.add(Service { request: Ok(request(&[], Some("gold"))), ..labelled("rich", &[("tier", "gold")]) });
    cluster.add(labelled("rich-auto", &[("tier", "gold")]));
    cluster.settle();
    assert_eq!(cluster.refusal("poor"), &Refusal::NotForService(PoolName::new("gold")));
    assert_eq!(cluster.refusal("poor-address"), &Refusal::NotForService(PoolName::new("gold")));
    assert_eq!(cluster.addresses("rich"), ["10.0.0.0"]);
    assert_eq!(cluster.addresses("rich-auto"), ["10.1.0.0"], "a pool without auto-assign has to be named");
}

#[test]
fn labels_and_constraints_that_change_are_followed() {
    let mut cluster = Cluster::new(&[
        ("gold", kept(pool(&["10.0.0.0/24"]), 1, &[selector("team", "x")], &[])),
        ("open", pool(&["10.1.0.0/24"])),
    ]);
    cluster.label_namespace("default", &[("team", "x")]);
    cluster.add(service("s"));
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.0.0.0"]);
    // Not permitted any more: another address in the same write.
    cluster.label_namespace("default", &[]);
    let effects = cluster.settle();
    assert_eq!(writes(&effects), [("s".to_owned(), vec!["10.1.0.0".to_owned()])]);
    let lost = Refusal::NotForNamespace { pool: PoolName::new("gold"), namespace: "default".into() };
    assert_eq!(events(&effects)[0], ("s".to_owned(), Event::Cleared(lost)));
    // A better pool moves nobody.
    cluster.label_namespace("default", &[("team", "x")]);
    assert_eq!(cluster.settle(), []);
    cluster.pools(&[("open", kept(pool(&["10.1.0.0/24"]), 0, &[], &[selector("tier", "gold")]))]);
    assert_eq!(writes(&cluster.settle()), [("s".to_owned(), vec![])]);
    cluster.edit("s", |service| service.labels = [("tier", "gold")].into_iter().collect());
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.1.0.0"]);
}

#[test]
fn a_namespace_that_is_not_known_yet_is_waited_for_in_silence() {
    let mut cluster = Cluster::new(&[
        ("tenant", kept(pool(&["10.0.0.0/24"]), 0, &[selector("team", "x")], &[])),
        ("open", pool(&["10.1.0.0/24"])),
    ]);
    cluster.add(service("s"));
    assert_eq!(cluster.settle(), []);
    assert_eq!(cluster.refusal("s"), &Refusal::NamespaceUnknown("default".into()));
    cluster.label_namespace("default", &[("team", "x")]);
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.0.0.0"]);
    // Nor does anybody lose anything by not knowing.
    cluster.namespaces.clear();
    assert_eq!(cluster.settle(), []);
    // Without selectors for namespaces there is nothing to wait for.
    let mut cluster = Cluster::new(&[("red", for_namespaces(pool(&["10.0.0.0/24"]), 0, &["default"]))]);
    cluster.add(service("s"));
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.0.0.0"]);
}

/// As MetalLB: the pools kept for a Service are exhausted first, in every way that its policy allows.
#[test]
fn a_single_address_of_a_kept_pool_goes_before_a_pair_of_an_open_one() {
    let mut cluster = Cluster::new(&[
        ("kept-four", kept(pool(&["10.0.0.1/32"]), 1, &[], &[])),
        ("open", pool(&["10.1.0.0/24", "fd00::/64"])),
    ]);
    cluster.add(Service { created: 1, ..dual("one", FamilyPolicy::PreferDualStack) });
    cluster.add(Service { created: 2, ..dual("two", FamilyPolicy::PreferDualStack) });
    cluster.add(Service { created: 3, ..dual("needs", FamilyPolicy::RequireDualStack) });
    cluster.settle();
    assert_eq!(cluster.addresses("one"), ["10.0.0.1"]);
    assert_eq!(cluster.addresses("two"), ["10.1.0.0", "fd00::"]);
    assert_eq!(cluster.addresses("needs"), ["10.1.0.1", "fd00::1"]);
    // Among kept pools a pair goes before a single address, whatever the priority.
    let mut cluster = Cluster::new(&[
        ("four", kept(pool(&["10.0.0.1/32"]), 1, &[], &[])),
        ("both", kept(pool(&["10.2.0.1/32", "fd02::1/128"]), 2, &[], &[])),
    ]);
    cluster.add(dual("s", FamilyPolicy::PreferDualStack));
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.2.0.1", "fd02::1"]);
}

#[test]
fn sharers_meet_in_a_kept_pool_only_when_both_may_use_it() {
    let gold = kept(pool(&["10.0.0.1/32"]), 0, &[], &[selector("tier", "gold")]);
    let mut cluster = Cluster::new(&[("gold", gold)]);
    let sharer = |name, labels: &[(&str, &str)], port| Service {
        sharing_key: Some("k".into()),
        ports: Set::from([tcp(port)]),
        request: Ok(request(&["10.0.0.1"], None)),
        ..labelled(name, labels)
    };
    cluster.add(sharer("a", &[("tier", "gold")], 80));
    cluster.add(sharer("b", &[], 443));
    cluster.settle();
    assert_eq!(cluster.refusal("b"), &Refusal::NotForService(PoolName::new("gold")));
    cluster.edit("b", |service| service.labels = [("tier", "gold")].into_iter().collect());
    cluster.settle();
    assert_eq!(cluster.addresses("b"), cluster.addresses("a"));
}
