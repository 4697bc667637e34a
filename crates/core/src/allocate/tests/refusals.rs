//! Every reason is reachable and says what to do. Those of sharing are in `sharing`, of foreign statuses in `changes`, of pools that are
//! kept for some in `scopes`.

use super::*;
use crate::reason::Reason;

fn refused(pools: &[(&str, Pool)], service: Service) -> Refusal {
    let mut cluster = Cluster::new(pools);
    let name = service.key.name.clone();
    cluster.add(service);
    cluster.settle();
    cluster.refusal(&name).clone()
}

fn v4() -> [(&'static str, Pool); 1] {
    [("four", pool(&["10.0.0.1/32"]))]
}

#[test]
fn no_pools() {
    assert_eq!(refused(&[], service("s")), Refusal::NoPools);
}

#[test]
fn no_pools_any_more() {
    let mut cluster = Cluster::new(&v4());
    cluster.add(service("s"));
    cluster.settle();
    cluster.pools(&[]);
    let effects = cluster.step();
    assert_eq!(writes(&effects), [("s".to_owned(), vec![])]);
    assert_eq!(cluster.refusal("s"), &Refusal::NoPools);
    assert_eq!(cluster.notes("s"), [Note::Lost(Refusal::NotInAnyPool(ip("10.0.0.1")))]);
}

#[test]
fn no_cluster_ip() {
    assert_eq!(refused(&v4(), Service { cluster_families: BTreeSet::new(), ..service("s") }), Refusal::NoClusterIp);
}

#[test]
fn not_dual_stack() {
    let one = Service { family_policy: FamilyPolicy::RequireDualStack, ..service("s") };
    assert_eq!(refused(&v4(), one), Refusal::NotDualStack);
}

#[test]
fn unknown_pool() {
    let unknown = Refusal::UnknownPool(PoolName::new("x"));
    for addresses in [&[][..], &["10.0.0.1"]] {
        let asks = Service { request: Ok(request(addresses, Some("x"))), ..service("s") };
        assert_eq!(refused(&v4(), asks), unknown);
    }
}

#[test]
fn not_in_any_pool() {
    let asks = Service { request: Ok(request(&["10.0.0.2"], None)), ..service("s") };
    assert_eq!(refused(&v4(), asks), Refusal::NotInAnyPool(ip("10.0.0.2")));
    // Left out by avoid-buggy-ips counts as in no pool.
    let careful = [("p", Pool { avoid_buggy_ips: true, ..pool(&["10.0.0.0/24"]) })];
    let asks = Service { request: Ok(request(&["10.0.0.255"], None)), ..service("s") };
    assert_eq!(refused(&careful, asks), Refusal::NotInAnyPool(ip("10.0.0.255")));
}

#[test]
fn not_in_the_requested_pool() {
    let pools = [("a", pool(&["10.0.0.1/32"])), ("b", pool(&["10.1.0.1/32"]))];
    let asks = Service { request: Ok(request(&["10.0.0.1"], Some("b"))), ..service("s") };
    assert_eq!(refused(&pools, asks), Refusal::NotInPool { address: ip("10.0.0.1"), pool: PoolName::new("b") });
}

#[test]
fn two_pools() {
    let pools = [("a", pool(&["10.0.0.1/32"])), ("b", pool(&["fd00::1/128"]))];
    let asks =
        Service { request: Ok(request(&["10.0.0.1", "fd00::1"], None)), ..dual("s", FamilyPolicy::RequireDualStack) };
    assert_eq!(refused(&pools, asks), Refusal::TwoPools(ip("10.0.0.1"), ip("fd00::1")));
}

#[test]
fn family_mismatch() {
    let asks = Service { request: Ok(request(&["10.0.0.1"], None)), ..dual("s", FamilyPolicy::PreferDualStack) };
    assert_eq!(
        refused(&v4(), asks),
        Refusal::FamilyMismatch { addresses: "IPv4".into(), service: "IPv4 and IPv6".into() }
    );
}

#[test]
fn pool_lacks_family() {
    let asks = Service { request: Ok(request(&[], Some("four"))), ..dual("s", FamilyPolicy::RequireDualStack) };
    assert_eq!(refused(&v4(), asks), Refusal::PoolLacksFamily { pool: PoolName::new("four"), family: Family::V6 });
}

#[test]
fn pool_exhausted() {
    let mut cluster = Cluster::new(&v4());
    for name in ["a", "b"] {
        cluster.add(Service { request: Ok(request(&[], Some("four"))), ..service(name) });
    }
    cluster.settle();
    assert_eq!(cluster.refusal("b"), &Refusal::PoolExhausted { pool: PoolName::new("four"), family: Family::V4 });
}

#[test]
fn no_free_address() {
    let no = |families: &str| Refusal::NoFreeAddress { families: families.to_owned() };
    let six = [("p", pool(&["fd00::1/128"]))];
    assert_eq!(refused(&six, service("s")), no("IPv4"));
    assert_eq!(refused(&six, dual("s", FamilyPolicy::RequireDualStack)), no("IPv4 and IPv6"));
    let mut cluster = Cluster::new(&six);
    let first = Service { cluster_families: BTreeSet::from([Family::V6]), created: -1, ..service("first") };
    cluster.add(first);
    cluster.add(dual("s", FamilyPolicy::PreferDualStack));
    cluster.settle();
    assert_eq!(cluster.refusal("s"), &no("IPv4 or IPv6"));
}

#[test]
fn no_pool_for_the_service() {
    let shy = Pool { auto_assign: false, ..pool(&["10.0.0.1/32"]) };
    assert_eq!(refused(&[("p", shy.clone())], service("s")), Refusal::NoPoolForService);
    let gold = kept(pool(&["10.0.1.1/32"]), 0, &[], &[selector("tier", "gold")]);
    assert_eq!(refused(&[("p", shy), ("q", gold)], service("s")), Refusal::NoPoolForService);
}

#[test]
fn single_family_of_an_exhausted_pool() {
    let mut cluster = Cluster::new(&[("p", pool(&["10.0.0.1-10.0.0.9", "fd00::1/128"]))]);
    for name in ["a", "b"] {
        cluster.add(dual(name, FamilyPolicy::PreferDualStack));
    }
    cluster.settle();
    let why = Refusal::PoolExhausted { pool: PoolName::new("p"), family: Family::V6 };
    assert_eq!(cluster.notes("b"), [Note::SingleFamily(why)]);
    assert_eq!(cluster.addresses("b"), ["10.0.0.2"]);
}

#[test]
fn texts_name_object_reason_and_step() {
    assert_eq!(
        Refusal::UnknownPool(PoolName::new("gold")).advice(),
        "pool gold does not exist: correct annotation address-pool or add the pool"
    );
    let used = Refusal::InUse {
        address: ip("10.0.0.1"),
        holder: key("a"),
        why: crate::allocate::Unshareable::PortTaken { protocol: Protocol::Tcp, number: 80 },
    };
    assert_eq!(
        used.advice(),
        "10.0.0.1 is used by default/a: port TCP/80 is taken there: use another port or ask for another address"
    );
}
