//! A ConfigMap beside custom resources, and one that goes.

use super::*;

#[test]
fn config_map_and_custom_resources_merge() {
    let mut cluster = Cluster::new();
    cluster
        .config_map("{name: lan, protocol: layer2, addresses: [10.0.0.0/24]}, {name: wan, protocol: bgp, addresses: [10.0.1.0/24]}")
        .pool("more", "10.0.2.0/24")
        .put(Kind::L2Advertisement, "lan", "spec: {ipAddressPools: [more]}");
    assert_eq!(cluster.problems(), [""; 0]);
    assert_eq!(cluster.pools().len(), 3);
    let config = &cluster.0.outcome().config;
    let names: Vec<_> = config.l2_advertisements.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["config/lan", "lan"], "the object keeps its name");
    assert_eq!(config.bgp_advertisements.len(), 1);
}

#[test]
fn conflicts_between_config_map_and_custom_resources_are_named() {
    let mut cluster = Cluster::new();
    cluster.config_map("{name: lan, protocol: layer2, addresses: [10.0.0.0/24]}").pools();
    cluster.pool("lan", "10.0.9.0/24").pool("other", "10.0.0.128/25");
    assert_eq!(
        cluster.problems(),
        [
            "ConfigMap/config defines the name \"lan\" too; rename or remove one of the two (nothing of it is in force)",
            "spec.addresses[0]: 10.0.0.128-10.0.0.255 overlaps with 10.0.0.0-10.0.0.255 of pool lan in ConfigMap/config; an address belongs to \
             one pool, once: change one of the two (nothing of it is in force)",
        ]
    );
    // Both at once, at a start: the ConfigMap's part is one of those that are in conflict, the rest of it is not.
    cluster.gone(Kind::ConfigMap, "config");
    assert_eq!(cluster.pools(), ["lan 10.0.9.0-10.0.9.255", "other 10.0.0.128-10.0.0.255"]);
    assert_eq!(cluster.problems(), [""; 0]);
}

#[test]
fn a_migrated_config_map_hands_its_ranges_over_at_once() {
    let mut cluster = Cluster::new();
    cluster.config_map("{name: lan, protocol: layer2, addresses: [10.0.0.0/24]}").pools();
    cluster.pool("lan", "10.0.0.0/24").put(Kind::L2Advertisement, "lan", "");
    assert_eq!(cluster.problems().len(), 1);
    assert_eq!(cluster.pools(), ["lan 10.0.0.0-10.0.0.255"]);
    cluster.gone(Kind::ConfigMap, "config");
    assert_eq!(cluster.pools(), ["lan 10.0.0.0-10.0.0.255"]);
    assert_eq!(cluster.problems(), [""; 0]);
    assert_eq!(cluster.0.outcome().config.l2_advertisements.len(), 1);
}

#[test]
fn a_deleted_config_map_stays_in_force_until_its_place_is_taken() {
    let mut cluster = Cluster::new();
    cluster
        .config_map("{name: a, protocol: layer2, addresses: [10.0.0.0/24]}, {name: b, protocol: layer2, addresses: [10.0.1.0/24]}")
        .pools();
    cluster.gone(Kind::ConfigMap, "config");
    assert_eq!(cluster.pools().len(), 2);
    assert!(cluster.problems()[0].contains("was deleted"));
    // Taken over one by one.
    cluster.pool("a", "10.0.0.0/25");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.127", "b 10.0.1.0-10.0.1.255"]);
    cluster.pool("c", "10.0.1.0/24");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.127", "c 10.0.1.0-10.0.1.255"]);
    assert_eq!(cluster.problems(), [""; 0], "nothing of it is left");
    assert!(!cluster.0.is_empty());
}

#[test]
fn objects_whose_definition_was_deleted_stay_in_force_until_their_place_is_taken() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24").pool("b", "10.0.1.0/24").pool("c", "10.0.2.0/24");
    cluster.put(Kind::L2Advertisement, "all", "spec: {}").pools();
    cluster.0.vanish(Kind::IpAddressPool);
    cluster.0.vanish(Kind::L2Advertisement);
    assert_eq!((cluster.pools().len(), cluster.0.outcome().config.l2_advertisements.len()), (3, 1));
    assert_eq!(cluster.problems().len(), 4);
    assert!(cluster.problems()[0].contains("definition was deleted"), "{:?}", cluster.problems());
    // The definitions are back, without objects, which then come one by one.
    cluster.0.reset(Kind::IpAddressPool, []);
    assert_eq!(cluster.pools().len(), 3);
    cluster.pool("a", "10.0.0.0/25").pool("other", "10.0.1.0/25");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.127", "c 10.0.2.0-10.0.2.255", "other 10.0.1.0-10.0.1.127"]);
    // Given up: made and deleted.
    cluster.pool("c", "10.0.2.0/24").pools();
    cluster.gone(Kind::IpAddressPool, "c");
    assert_eq!(cluster.pools().len(), 2);
    cluster.put(Kind::L2Advertisement, "all", "spec: {}");
    assert_eq!(cluster.problems(), [""; 0]);
}

#[test]
fn an_empty_config_map_gives_the_pools_of_a_deleted_one_up() {
    let mut cluster = Cluster::new();
    cluster.config_map("{name: a, protocol: layer2, addresses: [10.0.0.0/24]}").pools();
    cluster.gone(Kind::ConfigMap, "config").pools();
    cluster.config_map("");
    assert_eq!(cluster.pools(), [""; 0]);
}

#[test]
fn a_wrong_config_map_leaves_the_last_good_one_in_force() {
    let mut cluster = Cluster::new();
    cluster.config_map("{name: a, protocol: layer2, addresses: [10.0.0.0/24]}").pools();
    cluster.config_map("{name: a, protocol: layer3, addresses: [10.0.0.0/25]}");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.255"]);
    assert_eq!(
        cluster.problems(),
        [
            "address-pools: pool a (line 1): unknown protocol \"layer3\": write layer2 or bgp (the last good version stays in force)"
        ]
    );
}
