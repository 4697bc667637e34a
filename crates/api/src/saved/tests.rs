use super::*;
use herald_core::{
    ServiceKey,
    config::{BgpPeer, Config, L2Advertisement, Password, PeerAsn, PeerEndpoint, Pool, Preference, ServiceAllocation},
    labels::{Labels, Operator, Requirement, Selector},
    node::{Evacuation, Node, SpeakerPod},
    ownership::Announceable,
    service::{Moved, Serving, TrafficPolicy},
};
use herald_wire::hello::Stamp;
use std::sync::Arc;

const NOW: i64 = 1_800_000_000;

fn selector(operator: Operator) -> Selector {
    Selector { requirements: [Requirement { key: "zone".into(), operator }].into() }
}

/// Something in every field that ownership depends on.
fn snapshot() -> Snapshot {
    let labels: Labels = [("app", "a/b \"c\""), ("zone", "ö")].into_iter().collect();
    let pool = Pool {
        ranges: ["192.0.2.0/24", "192.0.2.0-198.51.100.7", "203.0.113.9/32", "fd00::/64"]
            .map(|r| r.parse().unwrap())
            .into(),
        auto_assign: true,
        avoid_buggy_ips: true,
        labels: labels.clone(),
        allocation: Some(ServiceAllocation {
            priority: 7,
            namespaces: ["shop".into()].into(),
            namespace_selectors: vec![selector(Operator::Exists)],
            service_selectors: vec![selector(Operator::DoesNotExist)],
        }),
    };
    let advertisement = L2Advertisement {
        node_selectors: vec![selector(Operator::In(["a".into(), "b".into()].into()))],
        interfaces: ["eth0".into()].into(),
        preferred_nodes: vec![Preference { weight: 9, selector: selector(Operator::NotIn(["c".into()].into())) }],
        ..L2Advertisement::default()
    };
    let node = Node {
        name: "a".into(),
        labels: labels.clone(),
        excluded: true,
        network_unavailable: false,
        evacuation: Some(Evacuation::Asked { until: NOW + 60 }),
        internal_ips: vec!["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()],
    };
    let service = Announceable {
        uid: "uid".into(),
        labels,
        addresses: ["192.0.2.7", "fd00::7"].map(|ip| ip.parse().unwrap()).into(),
        traffic_policy: TrafficPolicy::Local,
        serving: Arc::new(Serving { any: true, nodes: ["b".into(), "a".into()].into() }),
        moved: Some(Moved { to: "b".into(), until: NOW + 60 }),
    };
    Snapshot {
        config: Arc::new(Config {
            pools: [("lan".into(), pool)].into(),
            l2_advertisements: [("lan".into(), advertisement)].into(),
            ..Config::default()
        }),
        services: [(ServiceKey::new("shop", "web"), service)].into(),
        nodes: [(node.name.clone(), node)].into(),
        speakers: [("a".into(), SpeakerPod { node: "a".into(), ready: true })].into(),
        ignore_exclude_label: true,
        ..Snapshot::default()
    }
}

fn saved(snapshot: Snapshot) -> Saved {
    Saved {
        node: "a".into(),
        cluster: ClusterId([9; 16]),
        at: NOW,
        resource_version: 77,
        keys: vec![Key::new(&[1; 32]).unwrap(), Key::new(&[255; 16]).unwrap()],
        excluded: vec!["^veth.*".to_owned()],
        snapshot: snapshot.into(),
    }
}

fn bytes(saved: &Saved) -> Vec<u8> {
    let mut bytes = Vec::new();
    saved.write(&mut bytes).unwrap();
    bytes
}

fn refused(bytes: &[u8]) -> Unusable {
    Saved::read(bytes, &"a".into(), NOW).unwrap_err()
}

#[test]
fn what_is_saved_comes_back_and_says_that_it_was_saved() {
    let saved = saved(snapshot());
    let back = Saved::read(&bytes(&saved), &"a".into(), NOW + 60).unwrap();
    assert_eq!(back, saved);
    let stamp = Stamp { connected: false, resource_version: 77 };
    assert_eq!(back.into_snapshot(), Snapshot { stamp, saved_at: Some(NOW), ..snapshot() });
}

#[test]
fn nothing_secret_is_saved_but_the_keys() {
    let peer = BgpPeer {
        my_asn: 1,
        peer_asn: PeerAsn::Internal,
        local_asn: None,
        endpoint: PeerEndpoint::Interface("eth0".into(), 179),
        source_address: None,
        hold_time: None,
        keepalive_time: None,
        connect_time: None,
        router_id: None,
        node_selectors: vec![],
        password: Some(Password::new("hunter2")),
        bfd_profile: None,
        graceful_restart: false,
        ebgp_multihop: false,
        vrf: None,
        dual_stack: false,
    };
    let config = Config { bgp_peers: [("peer".into(), peer)].into(), ..Config::clone(&snapshot().config) };
    let with_peer = Snapshot { config: Arc::new(config), ..snapshot() };
    let bytes = bytes(&saved(with_peer));
    assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
    let back = Saved::read(&bytes, &"a".into(), NOW).unwrap();
    assert_eq!(*back.snapshot, snapshot(), "what is about BGP is left out: it is not announced");
}

#[test]
fn no_changed_byte_and_no_missing_end_goes_unnoticed() {
    let good = bytes(&saved(snapshot()));
    for length in 0..good.len() {
        let why = refused(&good[..length]);
        assert!(matches!(why, Unusable::Damaged | Unusable::Version), "{length}: {why}");
    }
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        let why = refused(&bad);
        assert!(matches!(why, Unusable::Damaged | Unusable::Version), "{index}: {why}");
    }
    let mut longer = good.clone();
    longer.push(b'\n');
    assert_eq!(refused(&longer), Unusable::Damaged);
}

fn sealed(header: &str, json: &str) -> Vec<u8> {
    let text = format!("{header}\n{json}\n");
    let sum = hex(Sha256::new().chain_update(&text));
    format!("{text}{sum}\n").into_bytes()
}

#[test]
fn what_is_of_somebody_else_or_old_is_refused_with_a_reason() {
    assert_eq!(refused(b""), Unusable::Version);
    assert_eq!(refused(&sealed("herald-state 0", "{}")), Unusable::Version);
    assert!(matches!(refused(&sealed(HEADER, r#"{"node": "a"}"#)), Unusable::Content(_)));
    assert!(matches!(refused(&sealed(HEADER, "{")), Unusable::Content(_)));
    let short = String::from_utf8(bytes(&saved(snapshot()))).unwrap();
    let short = short.lines().nth(1).unwrap().replace(&format!("{:?}", [255; 16]).replace(' ', ""), "[1]");
    assert!(matches!(refused(&sealed(HEADER, &short)), Unusable::Content(why) if why.contains("16")));

    let good = bytes(&saved(snapshot()));
    assert_eq!(Saved::read(&good, &"b".into(), NOW), Err(Unusable::Node("a".into())));
    let day = i64::try_from(MAX_AGE.as_secs()).unwrap();
    assert!(Saved::read(&good, &"a".into(), NOW + day).is_ok());
    assert_eq!(Saved::read(&good, &"a".into(), NOW + day + 1), Err(Unusable::TooOld(MAX_AGE + Duration::from_secs(1))));
    assert!(Saved::read(&good, &"a".into(), NOW - 3600).is_ok(), "a clock that was set back");
}

#[test]
fn reasons_say_what_to_do() {
    let all = [
        Unusable::Unreadable("no permission".to_owned()),
        Unusable::Version,
        Unusable::Damaged,
        Unusable::Content("eof".to_owned()),
        Unusable::Node("b".into()),
        Unusable::Cluster,
        Unusable::TooOld(MAX_AGE * 2),
    ];
    let labels: std::collections::BTreeSet<&str> = all.iter().map(Reason::label).collect();
    assert_eq!(labels.len(), all.len());
    assert!(all.iter().all(|why| !why.to_string().contains(&*why.next_step())));
    assert_eq!(Unusable::TooOld(MAX_AGE * 2).to_string(), "the saved state is 48 hours old, too old to be used");
}
