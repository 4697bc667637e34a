//! The family table (MetalLB's) row by row, and transitions.

use super::*;
use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};

const V4: &str = "10.0.0.1-10.0.0.3";
const V6: &str = "fd00::1-fd00::3";

fn result(pools: &[(&str, Pool)], service: Service) -> Vec<String> {
    let mut cluster = Cluster::new(pools);
    let name = service.key.name.clone();
    cluster.add(service);
    cluster.settle();
    cluster.addresses(&name)
}

fn v6(name: &str, family_policy: FamilyPolicy) -> Service {
    Service {
        cluster_families: BTreeSet::from([Family::V6]),
        primary_family: Family::V6,
        family_policy,
        ..service(name)
    }
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn table() {
    let mixed = [("p", pool(&[V6, V4]))];
    let apart = [("four", pool(&[V4])), ("six", pool(&[V6]))];
    // SingleStack: one of the cluster IP's family.
    assert_eq!(result(&mixed, service("s")), ["10.0.0.1"]);
    assert_eq!(result(&mixed, v6("s", SingleStack)), ["fd00::1"]);
    // Require with two: one of each from one pool, v4 first; else nothing.
    assert_eq!(result(&mixed, dual("s", RequireDualStack)), ["10.0.0.1", "fd00::1"]);
    assert_eq!(result(&apart, dual("s", RequireDualStack)), none());
    // Require with one: refused.
    let lame = Service { family_policy: RequireDualStack, ..service("s") };
    assert_eq!(result(&mixed, lame), none());
    // Prefer with two: the first pool that has both, else the primary family, else the other; never a pair of two pools.
    let late = [("a", pool(&["10.9.0.1/32"])), ("b", pool(&[V4, V6]))];
    assert_eq!(result(&late, dual("s", PreferDualStack)), ["10.0.0.1", "fd00::1"]);
    assert_eq!(result(&apart, dual("s", PreferDualStack)), ["10.0.0.1"]);
    let six_first = Service { primary_family: Family::V6, ..dual("s", PreferDualStack) };
    assert_eq!(result(&apart, six_first.clone()), ["fd00::1"]);
    assert_eq!(result(&[("four", pool(&[V4]))], six_first.clone()), ["10.0.0.1"]);
    // The primary family chooses between pools, not the order within one.
    assert_eq!(result(&mixed, six_first), ["10.0.0.1", "fd00::1"]);
    // Prefer with one: one of that family, and it stays one.
    assert_eq!(result(&mixed, Service { family_policy: PreferDualStack, ..service("s") }), ["10.0.0.1"]);
    assert_eq!(result(&mixed, v6("s", PreferDualStack)), ["fd00::1"]);
}

#[test]
fn explicit_addresses_have_exactly_the_families_of_the_service() {
    let mixed = [("p", pool(&[V4, V6]))];
    let asks = |service: Service, addresses: &[&str]| Service { request: Ok(request(addresses, None)), ..service };
    assert_eq!(result(&mixed, asks(dual("s", PreferDualStack), &["10.0.0.2", "fd00::3"])), ["10.0.0.2", "fd00::3"]);
    assert_eq!(result(&mixed, asks(dual("s", PreferDualStack), &["10.0.0.2"])), none());
    assert_eq!(result(&mixed, asks(service("s"), &["fd00::2"])), none());
    assert_eq!(result(&mixed, asks(service("s"), &["10.0.0.2", "fd00::2"])), none());
}

#[test]
fn a_pool_that_gains_the_other_family_adds_an_address_at_the_end() {
    for (first, both, expected) in [(V4, [V4, V6], ["10.0.0.1", "fd00::1"]), (V6, [V6, V4], ["fd00::1", "10.0.0.1"])] {
        let mut cluster = Cluster::new(&[("p", pool(&[first]))]);
        cluster.add(dual("s", PreferDualStack));
        let effects = cluster.settle();
        assert!(matches!(&events(&effects)[1].1, Event::SecondFamilyFailed(Refusal::PoolLacksFamily { .. })));
        cluster.pools(&[("p", pool(&both))]);
        let effects = cluster.settle();
        assert_eq!(cluster.addresses("s"), expected);
        assert_eq!(events(&effects), [("s".to_owned(), Event::Allocated(ips(&expected)))]);
        // And that order stays.
        cluster.restart();
        assert_eq!(cluster.settle(), []);
    }
}

#[test]
fn a_better_pool_that_appears_later_moves_nobody() {
    let mut cluster = Cluster::new(&[("a", pool(&[V4]))]);
    cluster.add(dual("s", PreferDualStack));
    cluster.settle();
    cluster.pools(&[("a", pool(&[V4])), ("b", pool(&["10.5.0.1/32", V6]))]);
    assert_eq!(cluster.settle(), []);
    assert_eq!(cluster.addresses("s"), ["10.0.0.1"]);
}

#[test]
fn prefer_to_require_and_back_on_a_single_stack_pool() {
    let mut cluster = Cluster::new(&[("p", pool(&[V4]))]);
    cluster.add(dual("s", PreferDualStack));
    cluster.settle();
    cluster.edit("s", |service| service.family_policy = RequireDualStack);
    cluster.settle();
    assert_eq!(cluster.addresses("s"), none());
    cluster.edit("s", |service| service.family_policy = PreferDualStack);
    cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.0.0.1"]);
}

#[test]
fn require_completes_what_it_has_where_it_can() {
    let mut cluster = Cluster::new(&[("p", pool(&[V4]))]);
    cluster.add(Service { request: Ok(request(&[], None)), ..dual("s", PreferDualStack) });
    cluster.add(service("other"));
    cluster.settle();
    cluster.edit("s", |service| service.family_policy = RequireDualStack);
    cluster.pools(&[("p", pool(&[V4, V6]))]);
    cluster.settle();
    assert_eq!(cluster.addresses("s"), [cluster.addresses("s")[0].as_str(), "fd00::1"]);
    assert_eq!(cluster.notes("s"), []);
}

#[test]
fn a_pool_that_loses_a_family_sends_preferrers_to_another_pair_or_leaves_them_one() {
    let mut cluster = Cluster::new(&[("a", pool(&[V4, V6])), ("b", pool(&["10.5.0.1/32", "fd05::1/128"]))]);
    cluster.add(Service { created: 1, ..dual("s", PreferDualStack) });
    cluster.add(Service { created: 2, ..dual("t", PreferDualStack) });
    cluster.settle();
    assert_eq!(cluster.addresses("t"), ["10.0.0.2", "fd00::2"]);
    cluster.pools(&[("a", pool(&[V4])), ("b", pool(&["10.5.0.1/32", "fd05::1/128"]))]);
    let effects = cluster.settle();
    assert_eq!(cluster.addresses("s"), ["10.5.0.1", "fd05::1"]);
    assert_eq!(cluster.addresses("t"), ["10.0.0.2"]);
    assert_eq!(writes(&effects).len(), 2, "one update each: {effects:#?}");
}

#[test]
fn a_service_that_becomes_single_stack_keeps_the_address_of_its_family() {
    for (family, expected) in [(Family::V4, "10.0.0.1"), (Family::V6, "fd00::1")] {
        let mut cluster = Cluster::new(&[("p", pool(&[V4, V6]))]);
        cluster.add(dual("s", RequireDualStack));
        cluster.settle();
        cluster.edit("s", |service| {
            service.family_policy = SingleStack;
            service.cluster_families = BTreeSet::from([family]);
            service.primary_family = family;
        });
        assert_eq!(writes(&cluster.settle()), [("s".to_owned(), vec![expected.to_owned()])]);
    }
}

#[test]
fn a_service_of_the_other_family_moves() {
    let mut cluster = Cluster::new(&[("p", pool(&[V4, V6]))]);
    cluster.add(service("s"));
    cluster.settle();
    cluster.edit("s", |service| service.cluster_families = BTreeSet::from([Family::V6]));
    assert_eq!(writes(&cluster.settle()), [("s".to_owned(), vec!["fd00::1".to_owned()])]);
}

#[test]
fn pools_cut_between_two_addresses() {
    let mut cluster = Cluster::new(&[("p", pool(&[V4, V6]))]);
    cluster.add(dual("requires", RequireDualStack));
    cluster.settle();
    cluster.pools(&[("four", pool(&[V4])), ("six", pool(&[V6]))]);
    cluster.settle();
    assert_eq!(cluster.addresses("requires"), none());

    let mut cluster = Cluster::new(&[("p", pool(&[V4, V6]))]);
    cluster.add(dual("prefers", PreferDualStack));
    cluster.settle();
    cluster.pools(&[("four", pool(&[V4])), ("six", pool(&[V6]))]);
    cluster.settle();
    assert_eq!(cluster.addresses("prefers"), ["10.0.0.1"]);
    assert!(matches!(cluster.notes("prefers"), [Note::SingleFamily(Refusal::PoolLacksFamily { .. })]));
}

#[test]
fn the_order_of_a_list_that_is_there_is_never_changed() {
    let mut cluster = Cluster::new(&[("p", pool(&[V4, V6]))]);
    let ours = Some(PoolName::new("p"));
    let swapped = Service {
        ingress: ips(&["fd00::2", "10.0.0.2"]),
        allocated_from: ours,
        request: Ok(request(&["10.0.0.2", "fd00::2"], None)),
        ..dual("s", RequireDualStack)
    };
    cluster.add(swapped);
    assert_eq!(cluster.settle(), []);
}
