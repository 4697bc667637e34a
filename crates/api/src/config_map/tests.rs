use super::*;
use herald_core::{
    PoolName,
    config::{BfdProfile, BgpAdvertisement, Community, Password, PeerAsn, PeerEndpoint, Pool, PoolChoice},
    labels::Labels,
};
use proptest::prelude::*;
use std::time::Duration;

/// The mistakes, as text.
fn mistakes(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(file) => panic!("accepted: {file:#?}"),
        Err(errors) => errors.all().iter().map(ToString::to_string).collect(),
    }
}

/// A pool whose further keys are these, in an otherwise valid file.
fn pool(keys: &str) -> String {
    format!("address-pools:\n- name: p\n{keys}")
}

/// A peer with these further keys.
fn peer(keys: &str) -> String {
    format!("peers:\n- my-asn: 64500\n  peer-asn: 64501\n  peer-address: 192.0.2.1\n{keys}")
}

#[test]
fn the_classic_lab() {
    let object = "
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: nginx-ip-range
      protocol: layer2
      addresses:
      - 192.168.56.11-192.168.56.13
";
    let file = from_object(&serde_saphyr::from_str(object).unwrap()).unwrap();
    let pool =
        Pool { ranges: vec!["192.168.56.11-192.168.56.13".parse().unwrap()], auto_assign: true, ..Pool::default() };
    let advertised = &file.config.l2_advertisements[&"nginx-ip-range".into()];
    assert_eq!(advertised.pools, PoolChoice::only("nginx-ip-range".into()), "protocol layer2 advertises the pool");
    assert!(file.config.bgp_advertisements.is_empty());
    assert_eq!(file.config.pools.into_iter().collect::<Vec<_>>(), [(PoolName::new("nginx-ip-range"), pool)]);
}

#[test]
fn a_config_map_without_the_key() {
    let object = "metadata: {name: config}\ndata: {config.yaml: ''}\n";
    let errors = from_object(&serde_saphyr::from_str(object).unwrap()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "configuration: the ConfigMap has no data key \"config\": put the YAML under data.config"
    );
}

#[test]
fn nothing_is_a_valid_configuration() {
    for text in [
        "",
        "\n",
        "# nothing yet\n",
        "---\n",
        "{}",
        "null",
        "address-pools:\n",
        "address-pools: []\npeers:\nbgp-communities: {}\n",
    ] {
        assert_eq!(parse(text), Ok(ConfigFile::default()), "{text:?}");
    }
}

#[test]
fn everything_at_once() {
    let text = "
peers:
- my-asn: 64500
  peer-asn: 4200000000
  peer-address: 10.0.0.1
  source-address: 10.0.0.9
  peer-port: 1179
  hold-time: 1m30s
  keepalive-time: 10.9s
  router-id: 10.10.10.10
  node-selectors:
  - match-labels: {rack: frontend}
    match-expressions:
    - {key: network-speed, operator: NotIn, values: [slow]}
    - {key: gpu, operator: DoesNotExist}
  password: 12345
  bfd-profile: fast
  ebgp-multihop: true
- {my-asn: 64500, peer-asn: 64500, peer-address: 'fd00::1'}
bgp-communities: {no-advertise: '65535:65282'}
bfd-profiles:
- {name: fast, receive-interval: 35, transmit-interval: 35, detect-multiplier: 37, echo-interval: 38, echo-mode: true, passive-mode: true, minimum-ttl: 10}
- name: plain
address-pools:
- name: gold
  protocol: bgp
  addresses: [198.51.100.0/24, 'fd00:1::/64', 203.0.113.4 - 203.0.113.11]
  avoid-buggy-ips: true
  auto-assign: false
  bgp-advertisements:
  - {aggregation-length: 30, aggregation-length-v6: 64, localpref: 100, communities: [no-advertise, '64512:1']}
  - {}
- {name: bronze, protocol: bgp, addresses: [192.0.2.0/28]}
";
    let file = parse(text).unwrap();
    let gold = &file.config.pools[&PoolName::new("gold")];
    assert_eq!(
        gold.ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["198.51.100.0-198.51.100.255", "fd00:1::-fd00:1::ffff:ffff:ffff:ffff", "203.0.113.4-203.0.113.11"]
    );
    assert_eq!((gold.auto_assign, gold.avoid_buggy_ips), (false, true));
    assert!(file.config.l2_advertisements.is_empty(), "protocol bgp is not announced by ARP and NDP");
    assert_eq!(file.config.bgp_advertisements[&"gold".into()].pools, PoolChoice::only("gold".into()));
    let of = |pool: &str| BgpAdvertisement { pools: PoolChoice::only(pool.into()), ..BgpAdvertisement::default() };
    let first = BgpAdvertisement {
        aggregation_length: 30,
        aggregation_length_v6: 64,
        local_pref: 100,
        communities: [Community::Standard(64512, 1), Community::Standard(65535, 65282)].into(),
        ..of("gold")
    };
    let advertisements: Vec<_> =
        file.config.bgp_advertisements.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(advertisements, [("bronze", of("bronze")), ("gold", first), ("gold#2", of("gold"))]);

    let at = |text: &str| PeerEndpoint::Address(text.parse().unwrap());
    let peer = &file.config.bgp_peers["peer1"];
    assert_eq!((peer.my_asn, peer.peer_asn, &peer.endpoint), (64500, PeerAsn::Is(4_200_000_000), &at("10.0.0.1:1179")));
    assert_eq!((peer.hold_time, peer.keepalive_time), (Some(Duration::from_secs(90)), Some(Duration::from_secs(10))));
    assert_eq!(peer.password.as_ref().map(Password::reveal), Some("12345"));
    assert_eq!(peer.bfd_profile.as_deref(), Some("fast"));
    let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
    assert!(peer.node_selectors[0].matches(&labels(&[("rack", "frontend")])));
    assert!(!peer.node_selectors[0].matches(&labels(&[("rack", "frontend"), ("gpu", "")])));
    assert!(!peer.node_selectors[0].matches(&labels(&[("rack", "frontend"), ("network-speed", "slow")])));
    assert!(!format!("{:?}", file.config).contains("12345"));
    assert!(!serde_json::to_string(&file).unwrap().contains("12345"));
    let second = &file.config.bgp_peers["peer2"];
    assert_eq!(
        (&second.endpoint, second.hold_time, second.keepalive_time),
        (&at("[fd00::1]:179"), Some(Duration::from_secs(90)), None)
    );
    assert_eq!(file.config.bfd_profiles["fast"].minimum_ttl, Some(10));
    assert_eq!(file.config.bfd_profiles["plain"], BfdProfile::default());
}

#[test]
fn unknown_keys_and_their_hints() {
    for (text, expected) in [
        (
            pool("  protocol: layer2\n  autoassign: true\n"),
            "configuration (line 4): unknown key \"autoassign\": write auto-assign",
        ),
        (
            pool("  avoidBuggyIPs: true\n"),
            "configuration (line 3): unknown key \"avoidBuggyIPs\": write avoid-buggy-ips",
        ),
        (
            pool("  cidr: [10.0.0.0/24]\n"),
            "configuration (line 3): unknown key \"cidr\": write addresses (renamed in MetalLB 0.5)",
        ),
        (
            pool("  advertisements: []\n"),
            "configuration (line 3): unknown key \"advertisements\": write bgp-advertisements (renamed in MetalLB 0.3)",
        ),
        (
            pool("  arp-network: 10.0.0.0/24\n"),
            "configuration (line 3): unknown key \"arp-network\": remove it (MetalLB 0.5 dropped it)",
        ),
        (
            pool("  protocol: bgp\n  bgp-advertisements:\n  - local-pref: 5\n"),
            "configuration (line 5): unknown key \"local-pref\": write localpref",
        ),
        (peer("  bfdProfile: fast\n"), "configuration (line 5): unknown key \"bfdProfile\": write bfd-profile"),
        (
            "communities: {}\n".to_owned(),
            "configuration (line 1): unknown key \"communities\": write bgp-communities (renamed in MetalLB 0.3)",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n".to_owned(),
            "configuration (line 1): unknown key \"apiVersion\": this looks like a whole Kubernetes object: put only what belongs under data.config here",
        ),
        (
            "pools: []\n".to_owned(),
            "configuration (line 1): unknown key \"pools\": known here are address-pools, peers, bgp-communities, bfd-profiles",
        ),
    ] {
        assert_eq!(mistakes(&text), [expected]);
    }
}

#[test]
fn duplicate_keys_and_broken_text() {
    assert_eq!(
        mistakes("address-pools: []\naddress-pools: []\n"),
        ["configuration (line 2): key \"address-pools\" stands twice: keep one"]
    );
    for text in [
        "address-pools: [",
        "a:\n\tb: c\n",
        "- a\n",
        "plain text",
        "address-pools: {}\n",
        "{}\n---\n{}\n",
        "&a [*a]",
        "address-pools:\n- null\n",
    ] {
        let Err(errors) = parse(text) else { panic!("accepted: {text:?}") };
        assert_eq!(errors.all().len(), 1, "{text:?}");
        assert!(!errors.to_string().contains('\n'), "{text:?}: {errors}");
    }
}

#[test]
fn mistakes_in_pools() {
    for (keys, expected) in [
        ("  protocol: layer2\n", vec!["(line 2): addresses is missing: add addresses: [192.0.2.10-192.0.2.20]"]),
        ("  addresses: [10.0.0.0/24]\n", vec!["(line 2): protocol is missing: add protocol: layer2"]),
        ("  protocol: ''\n  addresses: [10.0.0.0/24]\n", vec!["(line 2): protocol is missing: add protocol: layer2"]),
        (
            "  protocol: l2\n  addresses: [10.0.0.0/24]\n",
            vec!["(line 3): unknown protocol \"l2\": write layer2 or bgp"],
        ),
        (
            "  protocol: layer2\n  addresses:\n  - 10.0.0.1\n  - 10.0.0.9-10.0.0.1\n  - 10.0.0.9-fd00::1\n  - 10.0.0.300/24\n",
            vec![
                "(line 5): addresses: \"10.0.0.1\" is neither a CIDR nor a range: write 192.0.2.0/24, 192.0.2.10-192.0.2.20, or 192.0.2.10/32 for a single address",
                "(line 6): addresses: range \"10.0.0.9-10.0.0.1\" starts after its end: write the lower address first",
                "(line 7): addresses: range \"10.0.0.9-fd00::1\" mixes IPv4 and IPv6",
                "(line 8): addresses: \"10.0.0.300/24\" in \"10.0.0.300/24\" is not an address or CIDR",
            ],
        ),
        (
            "  protocol: layer2\n  addresses: [10.0.0.0/24, 10.0.0.7/32]\n",
            vec![
                "(line 4): addresses: 10.0.0.7 overlaps with 10.0.0.0-10.0.0.255 of pool p: an address belongs to one pool, once",
            ],
        ),
        (
            "  protocol: layer2\n  addresses: [10.0.0.0/24]\n  bgp-advertisements:\n  - {}\n",
            vec!["(line 6): bgp-advertisements in a layer2 pool: remove them or write protocol: bgp"],
        ),
        (
            "  protocol: bgp\n  addresses: [1.1.1.0/28, 2.0.0.0/24]\n  bgp-advertisements:\n  - aggregation-length: 26\n  - aggregation-length: 33\n  - {localpref: -1}\n",
            vec![
                "(line 6): invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28",
                "(line 7): aggregation-length 33 is out of range: use 0 to 32",
                "(line 8): localpref -1 is out of range: use 0 to 4294967295",
                // Both were mended to the defaults.
                "(line 8): two bgp-advertisements are equal: keep one",
            ],
        ),
        (
            "  protocol: bgp\n  addresses: ['fd00::/120']\n  bgp-advertisements:\n  - {aggregation-length-v6: 64, communities: [nosuch, '1:2', '1:2', '1:70000']}\n",
            vec![
                "(line 6): invalid aggregation length 64: prefix 120 in this pool is more specific than the aggregation length for addresses fd00::/120",
                "(line 6): community \"nosuch\" is neither two numbers below 65536 (64512:1) nor a name under bgp-communities: correct it or define it there",
                "(line 6): community 1:2 stands twice: keep one",
                "(line 6): community \"1:70000\" is neither two numbers below 65536 (64512:1) nor a name under bgp-communities: correct it or define it there",
            ],
        ),
        (
            "  protocol: bgp\n  addresses: [10.0.0.0/24]\n  bgp-advertisements:\n  - {}\n  - {aggregation-length: 32}\n",
            vec!["(line 7): two bgp-advertisements are equal: keep one"],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|tail| format!("address-pools: pool p {tail}")).collect();
        assert_eq!(mistakes(&pool(keys)), expected, "{keys}");
    }
}

#[test]
fn mistakes_across_pools_are_all_reported() {
    let text = "
address-pools:
- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}
- {name: b, protocol: layer2, addresses: [10.1.0.0-10.1.0.9, 10.0.0.255-10.0.1.0]}
- {name: a, protocol: layer2, addresses: [10.2.0.0/24]}
- {protocol: layer2, addresses: [10.3.0.0/24]}
";
    assert_eq!(
        mistakes(text),
        [
            "address-pools: pool b (line 4): addresses: 10.0.0.255-10.0.1.0 overlaps with 10.0.0.0-10.0.0.255 of pool a: an address belongs to one pool, once",
            "address-pools: pool a (line 5): the name is used twice: names are unique",
            "address-pools: pool #4 (line 6): name is missing: add name: my-pool",
        ]
    );
}

#[test]
fn mistakes_in_peers() {
    for (keys, expected) in [
        ("  hold-time: 2s\n", "hold-time \"2s\" must be 0 or 3s to 65535s"),
        ("  hold-time: -5s\n", "hold-time \"-5s\" must be 0 or 3s to 65535s"),
        ("  hold-time: 20h\n", "hold-time \"20h\" must be 0 or 3s to 65535s"),
        ("  hold-time: soon\n", "hold-time \"soon\" is not a duration: write for example 90s or 1m30s"),
        ("  keepalive-time: 91s\n", "keepalive-time \"91s\" must not be negative nor above the hold time"),
        ("  keepalive-time: -1s\n", "keepalive-time \"-1s\" must not be negative nor above the hold time"),
        ("  peer-port: 65536\n", "peer-port 65536 is out of range: use 1 to 65535"),
        ("  router-id: me\n", "router-id \"me\" is not an IP address"),
        ("  source-address: 10.0.0\n", "source-address \"10.0.0\" is not an IP address"),
        ("  bfd-profile: fast\n", "bfd-profile \"fast\" is not defined under bfd-profiles: add it or correct the name"),
        (
            "  node-selectors:\n  - match-expressions: [{key: a, operator: Is}]\n",
            "unknown operator \"Is\" in node-selectors: write In, NotIn, Exists or DoesNotExist",
        ),
        (
            "  node-selectors:\n  - match-expressions: [{key: a, operator: In}]\n",
            "node-selectors: operators In and NotIn need values: add them",
        ),
        (
            "  node-selectors:\n  - match-expressions: [{key: a, operator: Exists, values: [b]}]\n",
            "node-selectors: operators Exists and DoesNotExist take no values: remove them",
        ),
        (
            "  node-selectors:\n  - match-expressions: [{operator: Exists}]\n",
            "key of a match-expression is missing: add key: kubernetes.io/hostname",
        ),
    ] {
        assert_eq!(mistakes(&peer(keys)), [format!("peers: peer 192.0.2.1 (line 2): {expected}")], "{keys}");
    }
    assert_eq!(
        mistakes("peers:\n- my-asn: 0\n  peer-address: x\n"),
        [
            "peers: peer x (line 2): my-asn 0 is out of range: use 1 to 4294967295",
            "peers: peer x (line 2): peer-asn is missing: add peer-asn: 64513",
            "peers: peer x (line 2): peer-address \"x\" is not an IP address",
        ]
    );
    assert_eq!(
        mistakes(
            "peers:\n- {my-asn: 1, peer-asn: 1, peer-address: 10.0.0.1, ebgp-multihop: true}\n- {my-asn: 1, peer-asn: 1}\n"
        ),
        [
            "peers: peer 10.0.0.1 (line 2): ebgp-multihop with equal my-asn and peer-asn: internal sessions are multi-hop anyway, remove it",
            "peers: peer #2 (line 3): peer-address is missing: add peer-address: 192.0.2.1",
        ]
    );
    let twice = "peers:\n- &p {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}\n- *p\n";
    assert_eq!(mistakes(twice).len(), 1);
    assert!(mistakes(twice)[0].ends_with("two peers are equal: keep one"));
}

#[test]
fn hold_times_as_go_reads_them() {
    for (text, seconds) in
        [("0", 0), ("0s", 0), ("900ms", 0), ("3.9s", 3), ("1h2m3s", 3723), ("1.5m", 90), ("65535s", 65535)]
    {
        let file = parse(&peer(&format!("  hold-time: {text}\n"))).unwrap();
        assert_eq!(file.config.bgp_peers["peer1"].hold_time, Some(Duration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn mistakes_in_profiles_and_communities() {
    assert_eq!(
        mistakes(
            "bfd-profiles:\n- {name: a, receive-interval: 9, transmit-interval: 60001, echo-interval: -1, detect-multiplier: 1, minimum-ttl: 255}\n- {name: a}\n- {}\nbgp-communities: {x: '1:2:3', y: 'large:1:2:3', z: '+1:2'}\n"
        ),
        [
            "bgp-communities: x (line 5): \"1:2:3\" is not a community: write two numbers below 65536, for example 64512:1",
            "bgp-communities: y (line 5): \"large:1:2:3\" is not a community: write two numbers below 65536, for example 64512:1",
            "bgp-communities: z (line 5): \"+1:2\" is not a community: write two numbers below 65536, for example 64512:1",
            "bfd-profiles: profile a (line 2): receive-interval 9 is out of range: use 10 to 60000 (milliseconds)",
            "bfd-profiles: profile a (line 2): transmit-interval 60001 is out of range: use 10 to 60000 (milliseconds)",
            "bfd-profiles: profile a (line 2): detect-multiplier 1 is out of range: use 2 to 255",
            "bfd-profiles: profile a (line 2): echo-interval -1 is out of range: use 10 to 60000 (milliseconds)",
            "bfd-profiles: profile a (line 2): minimum-ttl 255 is out of range: use 1 to 254",
            "bfd-profiles: profile a (line 3): the name is used twice: names are unique",
            "bfd-profiles: profile #3 (line 4): name is missing: add name: my-profile",
        ]
    );
}

#[test]
fn the_fuzzers_seeds() {
    for (text, pools) in [
        (include_str!("../../../../fuzz/seeds/config_map/classic.yaml"), Some(1)),
        (include_str!("../../../../fuzz/seeds/config_map/full.yaml"), Some(1)),
        // A merged mapping (YAML 1.1 `<<`) whose own keys win.
        (include_str!("../../../../fuzz/seeds/config_map/anchors.yaml"), Some(2)),
        (include_str!("../../../../fuzz/seeds/config_map/wrong.yaml"), None),
    ] {
        assert_eq!(parse(text).ok().map(|file| file.config.pools.len()), pools, "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    /// Text made of the schema's own words gets further than noise does.
    #[test]
    fn text_of_the_schemas_words_never_panics(words in proptest::collection::vec(prop_oneof![
        Just("address-pools:"), Just("peers:"), Just("bgp-communities:"), Just("bfd-profiles:"), Just("name:"), Just("protocol:"),
        Just("layer2"), Just("bgp"), Just("addresses:"), Just("10.0.0.0/8"), Just("::/0"), Just("0.0.0.0-255.255.255.255"),
        Just("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Just("bgp-advertisements:"), Just("aggregation-length:"), Just("-1"),
        Just("9223372036854775807"), Just("hold-time:"), Just("9999999999h"), Just("my-asn:"), Just("peer-asn:"), Just("peer-address:"),
        Just("\n"), Just("\n- "), Just("\n  "), Just("\n  - "), Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just("&a"), Just("*a"),
        Just("<<: *a"), Just("!!binary"), Just("null"), Just("|"), Just("'"),
    ], 0..40)) {
        let _ = parse(&words.join(" "));
    }

    /// Accepted pools are what the rules rely on: unique names (a map), no two ranges in common, none empty.
    #[test]
    fn accepted_pools_do_not_overlap(ranges in proptest::collection::vec((0u32..40, 0u32..6, 0u8..3), 1..8)) {
        let mut text = "address-pools:\n".to_owned();
        for (index, (first, length, pool)) in ranges.iter().enumerate() {
            text.push_str(&format!(
                "- {{name: p{index}-{pool}, protocol: layer2, addresses: [10.0.0.{first}-10.0.0.{}]}}\n", first + length
            ));
        }
        let overlap = ranges.iter().enumerate().any(|(index, one)| {
            ranges[index + 1..].iter().any(|two| one.0 <= two.0 + two.1 && two.0 <= one.0 + one.1)
        });
        prop_assert_eq!(parse(&text).is_err(), overlap);
    }
}
