mod config_map;
mod faults;
mod histories;

use super::{texts::Component, *};
use crate::crd::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, Unread};
use herald_core::labels::Labels;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};

/// An object from the inside of its YAML: `IPAddressPool p {spec...}`.
fn object(kind: Kind, name: &str, rest: &str) -> (ObjectId, Source) {
    let yaml = format!("metadata: {{name: {name}}}\n{rest}\n");
    fn unread<K>(yaml: &str) -> Unread<K> {
        serde_saphyr::from_str(yaml).unwrap()
    }
    let source = match kind {
        Kind::ConfigMap => Source::from(&serde_saphyr::from_str::<ConfigMap>(&yaml).unwrap()),
        Kind::IpAddressPool => Source::from(unread::<IPAddressPool>(&yaml)),
        Kind::L2Advertisement => Source::from(unread::<L2Advertisement>(&yaml)),
        Kind::BgpAdvertisement => Source::from(unread::<BGPAdvertisement>(&yaml)),
        Kind::BgpPeer => Source::from(unread::<BGPPeer>(&yaml)),
        Kind::BfdProfile => Source::from(unread::<BFDProfile>(&yaml)),
        Kind::Community => Source::from(unread::<Community>(&yaml)),
    };
    (ObjectId::new(kind, name), source)
}

struct Cluster(Sources);

impl Cluster {
    fn new() -> Self {
        Self(Sources::default())
    }

    /// Sets an object without deciding.
    fn put(&mut self, kind: Kind, name: &str, rest: &str) -> &mut Self {
        let (id, source) = object(kind, name, rest);
        self.0.set(id, Some(source));
        self
    }

    fn pool(&mut self, name: &str, addresses: &str) -> &mut Self {
        self.put(Kind::IpAddressPool, name, &format!("spec: {{addresses: [{addresses}]}}"))
    }

    fn config_map(&mut self, pools: &str) -> &mut Self {
        self.put(Kind::ConfigMap, "config", &format!("data: {{config: '{{address-pools: [{pools}]}}'}}"))
    }

    fn gone(&mut self, kind: Kind, name: &str) -> &mut Self {
        self.0.set(ObjectId::new(kind, name), None);
        self
    }

    /// Decides; the problems.
    fn problems(&mut self) -> Vec<String> {
        let once = self.0.merge().clone();
        assert_eq!(*self.0.merge(), once, "repeating changes nothing");
        once.problems.iter().map(Problem::message).collect()
    }

    /// Decides; the pools in force with their ranges.
    fn pools(&mut self) -> Vec<String> {
        let config = &self.0.merge().config;
        config
            .pools
            .iter()
            .map(|(name, pool)| {
                format!("{name} {}", pool.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            })
            .collect()
    }

    fn states(&mut self, component: Component<'_>) -> String {
        texts::error_summary(&self.0.merge().problems, component, "metallb-system")
    }
}

#[test]
fn every_kind_comes_through() {
    let mut cluster = Cluster::new();
    cluster
        .put(
            Kind::IpAddressPool,
            "gold",
            "spec:\n  addresses: [10.0.0.0/24, ' 10.0.1.1 - 10.0.1.9 ']\n  autoAssign: false\n  avoidBuggyIPs: true\n  serviceAllocation:\n    \
             priority: 10\n    namespaces: [a, b]\n    namespaceSelectors: [{matchLabels: {c: d}}]\n    serviceSelectors: [{matchExpressions: [{key: e, \
             operator: Exists}]}]",
        )
        .put(
            Kind::L2Advertisement,
            "lan",
            "spec: {ipAddressPools: [gold, none], interfaces: [eth0, eth0], nodeSelectors: [{matchLabels: {a: b}}], preferredNodeSelectors: \
             [{weight: 100, preference: {}}]}",
        )
        .put(Kind::L2Advertisement, "all", "")
        .put(Kind::Community, "names", "spec: {communities: [{name: no-export, value: '65535:65281'}]}")
        .put(
            Kind::BgpAdvertisement,
            "wan",
            "spec: {aggregationLength: 26, localPref: 100, communities: [no-export, 'large:1:2:3'], peers: [tor], ipAddressPoolSelectors: [{matchLabels: {x: z}}]}",
        )
        .put(Kind::BfdProfile, "fast", "spec: {receiveInterval: 50, echoMode: true}")
        .put(
            Kind::BgpPeer,
            "tor",
            "spec: {myASN: 64500, peerASN: 4200000000, peerAddress: 10.0.0.1, holdTime: 30s, bfdProfile: fast, password: secret}",
        );
    assert_eq!(cluster.problems(), [""; 0]);
    let config = &cluster.0.outcome().config;
    let gold = &config.pools[&"gold".into()];
    let allocation = gold.allocation.as_ref().unwrap();
    assert_eq!((gold.auto_assign, gold.avoid_buggy_ips, allocation.priority), (false, true, 10));
    assert_eq!(
        allocation.namespaces.len() + allocation.namespace_selectors.len() + allocation.service_selectors.len(),
        4
    );
    assert_eq!(config.l2_advertisements[&"all".into()], herald_core::config::L2Advertisement::default());
    assert_eq!(config.l2_advertisements[&"lan".into()].preferred_nodes[0].weight, 100);
    let wan = &config.bgp_advertisements[&"wan".into()];
    let communities: Vec<_> = wan.communities.iter().map(ToString::to_string).collect();
    assert_eq!(communities, ["65535:65281", "large:1:2:3"]);
    let tor = &config.bgp_peers["tor"];
    assert_eq!(tor.keepalive_time, Some(std::time::Duration::from_secs(10)), "a third of the hold time");
    assert_eq!(config.bfd_profiles["fast"].receive_interval, Some(50));
    assert!(!serde_json::to_string(config).unwrap().contains("secret"));
}

#[test]
fn one_bad_object_stops_no_other() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24").pool("b", "10.0.1.300/32").pool("c", "").put(
        Kind::IpAddressPool,
        "d",
        "spec: {addresses: x}",
    );
    assert_eq!(
        cluster.problems(),
        [
            "spec.addresses[0]: \"10.0.1.300/32\" in \"10.0.1.300/32\" is not an address or CIDR (nothing of it is in force)",
            "spec.addresses: it is missing; add a range, as 192.0.2.10-192.0.2.20 (nothing of it is in force)",
            "the object does not fit its schema: invalid type: string \"x\", expected a sequence; compare it with the CRD (kubectl explain) (nothing of it is in force)",
        ]
    );
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.255"]);
}

#[test]
fn the_last_good_version_stays_in_force_per_object() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24").pool("b", "10.0.1.0/24").pools();
    cluster.pool("a", "10.0.0.0").pool("b", "10.0.2.0/24");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.255", "b 10.0.2.0-10.0.2.255"]);
    assert!(cluster.problems()[0].ends_with("(the last good version stays in force)"));
    cluster.gone(Kind::IpAddressPool, "a");
    assert_eq!(cluster.pools(), ["b 10.0.2.0-10.0.2.255"], "who deletes it means it");
}

#[test]
fn an_edit_takes_no_other_object_out_of_force() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24").pool("b", "10.0.1.0/24").pools();
    cluster.pool("a", "10.0.0.0/23");
    assert_eq!(
        cluster.problems(),
        [
            "spec.addresses[0]: 10.0.0.0-10.0.1.255 overlaps with 10.0.1.0-10.0.1.255 of IPAddressPool/b; an address belongs to one pool, once: \
          change one of the two (the last good version stays in force)"
        ]
    );
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.0.255", "b 10.0.1.0-10.0.1.255"]);
    // Room is made, and the waiting version comes into force without being touched again.
    cluster.pool("b", "10.0.2.0/24");
    assert_eq!(cluster.pools(), ["a 10.0.0.0-10.0.1.255", "b 10.0.2.0-10.0.2.255"]);
    assert_eq!(cluster.problems(), [""; 0]);
}

#[test]
fn edits_that_fit_together_are_taken_together() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24").pool("b", "10.0.1.0/24").pools();
    // Swapped: each alone would overlap.
    cluster.pool("a", "10.0.1.0/24").pool("b", "10.0.0.0/24");
    assert_eq!(cluster.pools(), ["a 10.0.1.0-10.0.1.255", "b 10.0.0.0-10.0.0.255"]);
    // One of them is wrong: the other must not take its room.
    cluster.pool("a", "10.0.9.0").pool("b", "10.0.1.0/24");
    assert_eq!(cluster.pools(), ["a 10.0.1.0-10.0.1.255", "b 10.0.0.0-10.0.0.255"]);
    assert_eq!(cluster.problems().len(), 2);
}

#[test]
fn after_a_restart_the_edited_object_is_the_one_to_blame() {
    let time = |time: &str, name: &str, addresses: &str| {
        let yaml = format!(
            "metadata:\n  name: {name}\n  creationTimestamp: '2026-01-01T00:00:00Z'\n  managedFields:\n  - {{manager: kubectl, operation: Update, time: '{time}'}}\n  \
             - {{manager: herald, operation: Update, subresource: status, time: '2026-12-01T00:00:00Z'}}\nspec: {{addresses: [{addresses}]}}\n"
        );
        let object: Unread<IPAddressPool> = serde_saphyr::from_str(&yaml).unwrap();
        (ObjectId::new(Kind::IpAddressPool, name), Source::from(object))
    };
    let mut sources = Sources::default();
    for (id, source) in
        [time("2026-03-01T00:00:00Z", "a", "10.0.0.0/23"), time("2026-02-01T00:00:00Z", "b", "10.0.1.0/24")]
    {
        sources.set(id, Some(source));
    }
    let outcome = sources.merge();
    assert_eq!(outcome.config.pools.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b"]);
    assert_eq!(outcome.problems[0].object.to_string(), "IPAddressPool/a");
}

#[test]
fn overlap_within_a_pool() {
    let mut cluster = Cluster::new();
    cluster.pool("a", "10.0.0.0/24, 10.0.0.9-10.0.0.9");
    assert_eq!(cluster.problems().len(), 1);
    assert_eq!(cluster.pools(), [""; 0]);
    cluster.pool("b", "10.0.0.0/24");
    assert_eq!(cluster.pools(), ["b 10.0.0.0-10.0.0.255"], "nothing of it remains");
}

#[test]
fn references_may_come_later() {
    let mut cluster = Cluster::new();
    cluster.put(Kind::BgpAdvertisement, "adv", "spec: {communities: [my-valid-alias]}").put(
        Kind::BgpPeer,
        "peer1",
        "spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: fast}",
    );
    let outcome = cluster.0.merge();
    assert!(outcome.problems.iter().all(Problem::is_transient));
    assert!(outcome.config.bgp_advertisements.is_empty() && outcome.config.bgp_peers.is_empty());
    let labels = Labels::default();
    assert_eq!(cluster.states(Component::Controller), "");
    assert_eq!(
        cluster.states(Component::Speaker(&labels)),
        "configuration error: invalid community format: my-valid-alias\ninvalid community \"my-valid-alias\" in BGP advertisement\n\
         peer peer1 referencing non existing bfd profile fast"
    );
    cluster.put(Kind::Community, "names", "spec: {communities: [{name: my-valid-alias, value: '1:2'}]}").put(
        Kind::BfdProfile,
        "fast",
        "",
    );
    assert_eq!(cluster.problems(), [""; 0]);
    // And go again: what was resolved stays.
    cluster.gone(Kind::Community, "names").gone(Kind::BfdProfile, "fast");
    assert_eq!(cluster.problems().len(), 2);
    let config = &cluster.0.outcome().config;
    assert_eq!(config.bgp_advertisements[&"adv".into()].communities.len(), 1);
    assert!(config.bgp_peers.contains_key("peer1") && config.bfd_profiles.contains_key("fast"));
}

#[test]
fn passwords_from_secrets() {
    fn secret(yaml: &str) -> PasswordSource {
        PasswordSource::from(&serde_saphyr::from_str::<Secret>(yaml).unwrap())
    }
    let mut cluster = Cluster::new();
    let peer = "spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: bgp-password}}";
    cluster.put(Kind::BgpPeer, "peer1", peer);
    assert_eq!(cluster.problems(), [""; 0], "Secrets are not looked at");
    cluster.0.reset_secrets([]);
    let labels = Labels::default();
    assert_eq!(
        cluster.states(Component::Speaker(&labels)),
        "configuration error: parsing peer peer1 secret ref not found for peer config \"metallb-system\"/\"peer1\"\n\
         failed to parse peer peer1 password secret"
    );
    cluster.0.set_secret("bgp-password".into(), Some(secret("type: Opaque\ndata: {password: c2VjcmV0}")));
    assert_eq!(
        cluster.states(Component::Speaker(&labels)),
        "configuration error: parsing peer peer1 secret type mismatch on \"metallb-system\"/\"bgp-password\", type \
         \"kubernetes.io/basic-auth\" is expected \nfailed to parse peer peer1 password secret"
    );
    cluster
        .0
        .set_secret("bgp-password".into(), Some(secret("type: kubernetes.io/basic-auth\ndata: {password: c2VjcmV0}")));
    assert_eq!(cluster.problems(), [""; 0]);
    assert_eq!(cluster.0.outcome().config.bgp_peers["peer1"].password.as_ref().unwrap().reveal(), "secret");
}

#[test]
fn a_problem_of_a_peer_concerns_its_nodes_only() {
    let mut cluster = Cluster::new();
    let peer = "spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: none, nodeSelectors: [{matchLabels: {rack: a}}]}";
    cluster.put(Kind::BgpPeer, "p", peer);
    let labels = |rack: &str| [("rack", rack)].into_iter().collect::<Labels>();
    assert_eq!(cluster.states(Component::Speaker(&labels("b"))), "");
    assert_eq!(
        cluster.states(Component::Speaker(&labels("a"))),
        "configuration error: peer p referencing non existing bfd profile none"
    );
}

#[test]
fn advertisements_must_fit_the_pools() {
    let mut cluster = Cluster::new();
    cluster.pool("p", "1.1.1.0/28").put(Kind::BgpAdvertisement, "a", "spec: {aggregationLength: 26}");
    cluster.problems();
    let problem = &cluster.0.outcome().problems[0];
    assert_eq!(
        texts::text(problem, "metallb-system"),
        "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28"
    );
    cluster.pool("p", "1.1.1.0-1.1.1.200");
    assert_eq!(cluster.problems(), [""; 0], "a range counts by its widest prefix");
    // The pool shrinks below: what was announced may not go on.
    cluster.pool("p", "1.1.1.0/28");
    assert_eq!(cluster.problems().len(), 1);
    assert!(cluster.0.outcome().config.bgp_advertisements.is_empty());
}

#[test]
fn local_preferences_of_one_pool() {
    let mut cluster = Cluster::new();
    let advertisement = |spec: &str| format!("spec: {{{spec}}}");
    cluster.pool("p", "10.0.0.0/24").put(Kind::BgpAdvertisement, "a", &advertisement("localPref: 100"));
    for (spec, problems) in [
        ("localPref: 200", 1),
        ("localPref: 100", 0),
        ("localPref: 200, aggregationLength: 24", 0),
        ("localPref: 200, aggregationLengthV6: 64", 1),
        ("localPref: 200, ipAddressPools: [other]", 0),
        ("localPref: 200, serviceSelectors: [{}]", 0),
        ("localPref: 200, peers: [x]", 1),
    ] {
        cluster.put(Kind::BgpAdvertisement, "b", &advertisement(spec));
        assert_eq!(cluster.problems().len(), problems, "{spec}");
    }
}

#[test]
fn two_sessions_with_one_router() {
    let mut cluster = Cluster::new();
    let peer = |more: &str| format!("spec: {{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1{more}}}");
    cluster.put(Kind::BgpPeer, "a", &peer(""));
    for (more, problems) in [("", 1), (", vrf: red", 0), (", peerPort: 180", 1)] {
        cluster.put(Kind::BgpPeer, "b", &peer(more));
        assert_eq!(cluster.problems().len(), problems, "{more}");
    }
    cluster.put(Kind::BgpPeer, "a", &peer(", nodeSelectors: [{matchLabels: {rack: a}}]"));
    cluster.put(Kind::BgpPeer, "b", &peer(", nodeSelectors: [{matchLabels: {rack: b}}]"));
    assert_eq!(cluster.problems(), [""; 0]);
}

#[test]
fn echo_needs_ipv4() {
    let mut cluster = Cluster::new();
    cluster
        .pool("p", "fd00::/120")
        .put(Kind::BfdProfile, "echo", "spec: {echoMode: true}")
        .put(Kind::BgpPeer, "a", "spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: echo}")
        .put(Kind::BgpAdvertisement, "adv", "spec: {peers: [other]}");
    assert_eq!(cluster.problems(), [""; 0]);
    cluster.put(Kind::BgpAdvertisement, "adv", "");
    assert_eq!(cluster.problems().len(), 1);
}

#[test]
fn communities_are_defined_once() {
    let mut cluster = Cluster::new();
    let one = "spec: {communities: [{name: x, value: '1:2'}]}";
    cluster.put(Kind::Community, "a", one).problems();
    cluster.put(Kind::Community, "b", one);
    cluster.problems();
    assert_eq!(cluster.states(Component::Controller), "configuration error: duplicate definition of community \"x\"");
    cluster.put(Kind::Community, "b", "spec: {communities: [{name: z, value: '1:2'}, {name: z, value: '1:3'}]}");
    assert_eq!(cluster.states(Component::Controller), "configuration error: duplicate definition of community \"z\"");
    for (value, text) in [
        ("99999999:1", "invalid community value: invalid section"),
        ("lar:123:9999:123", "expected community to be of format large"),
    ] {
        cluster.put(Kind::Community, "b", &format!("spec: {{communities: [{{name: z, value: '{value}'}}]}}"));
        assert!(cluster.states(Component::Controller).contains(text));
    }
}

#[test]
fn a_reset_is_as_single_changes() {
    let named = |name: &str, addresses: &str| {
        let (id, source) = object(Kind::IpAddressPool, name, &format!("spec: {{addresses: [{addresses}]}}"));
        (id.name, source)
    };
    let mut sources = Sources::default();
    sources.reset(Kind::IpAddressPool, [named("a", "10.0.0.0/24"), named("b", "10.0.1.0/24")]);
    sources.merge();
    sources.reset(Kind::IpAddressPool, [named("b", "10.0.1.0/24"), named("c", "10.0.0.0/24")]);
    let outcome = sources.merge();
    assert_eq!(outcome.problems, []);
    assert_eq!(outcome.config.pools.keys().map(ToString::to_string).collect::<Vec<_>>(), ["b", "c"]);
    sources.reset(Kind::IpAddressPool, []);
    assert!(sources.is_empty());
    assert_eq!(*sources.merge(), Outcome::default());
}
