//! Builders that read as sentences.

use herald_core::{
    ServiceKey,
    config::{Config, L2Advertisement, Pool},
    labels::Labels,
    node::{Node, SpeakerPod},
    ownership::{Announceable, Snapshot},
    service::{Serving, TrafficPolicy},
    speaker::Link,
};
use herald_wire::Mac;
use std::sync::Arc;

/// A snapshot with these nodes (192.168.56.101 and up, speaker pods ready) and one layer-2 pool 192.168.56.0/24 + fd56::/64.
#[must_use]
pub fn snapshot(nodes: &[&str]) -> Snapshot {
    let pool = Pool {
        ranges: ["192.168.56.0/24", "fd56::/64"].iter().filter_map(|range| range.parse().ok()).collect(),
        auto_assign: true,
        ..Pool::default()
    };
    let config = Config {
        pools: [("lan".into(), pool)].into(),
        l2_advertisements: [("lan".into(), L2Advertisement::default())].into(),
        ..Config::default()
    };
    let mut snapshot = Snapshot { config: Arc::new(config), ..Snapshot::default() };
    for (number, name) in (101..).zip(nodes) {
        let node = Node {
            name: (*name).into(),
            labels: Labels::default(),
            excluded: false,
            network_unavailable: false,
            evacuation: None,
            internal_ips: vec![std::net::Ipv4Addr::new(192, 168, 56, number).into()],
        };
        snapshot.nodes.insert(node.name.clone(), node);
        snapshot.speakers.insert((*name).into(), SpeakerPod { node: (*name).into(), ready: true });
    }
    snapshot
}

/// Adds a Service `default/NAME` with these addresses and an endpoint on every node.
pub fn announce(snapshot: &mut Snapshot, name: &str, addresses: &[&str]) {
    let service = Announceable {
        uid: name.into(),
        labels: Labels::default(),
        addresses: addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        traffic_policy: TrafficPolicy::Cluster,
        serving: Arc::new(Serving { any: true, nodes: snapshot.nodes.keys().cloned().collect() }),
        moved: None,
    };
    snapshot.services.insert(ServiceKey::new("default", name), service);
}

/// Link `ethN` of the node with this number (101 and up on segment 0, as in [`snapshot`]).
#[must_use]
pub fn link(segment: u8, number: u8) -> Link {
    let text = format!("192.168.{}.{number}/24", 56 + segment);
    Link {
        name: herald_core::LinkName::new(format!("eth{segment}")),
        mac: Mac([2, 0, 0, 0, segment, number]),
        addresses: text.parse().into_iter().collect(),
    }
}
