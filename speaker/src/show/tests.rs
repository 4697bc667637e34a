use super::*;
use crate::{
    data_plane::Asked,
    links::{Link, Unusable},
    net::hello_io::Keys,
    ports::Sinks,
};
use herald_core::{
    data_plane::NotReady,
    membership::Identity,
    node::{Evacuation, Node},
    ownership::{Announceable, Dropped, Snapshot},
    service::{Moved, Serving, TrafficPolicy},
    speaker::Input,
    time::Timing,
};
use herald_runtime::admin;
use herald_wire::hello::{ClusterId, Stamp};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

const CLUSTER: ClusterId = ClusterId([0; 16]);

fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

fn ip() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

async fn request(service: Option<&str>) -> DebugRequest {
    let (tx, mut rx) = mpsc::channel(1);
    let ask = admin::ask(tx);
    let asked = tokio::spawn(ask(service.map(str::to_owned)));
    let request = rx.recv().await.unwrap();
    asked.abort();
    request
}

/// Two Services without an address; MetalLB runs.
fn speaker() -> Speaker {
    let me = Identity { cluster: CLUSTER, node: "a".into(), incarnation: 1 };
    let mut speaker = Speaker::new(me, Timing::default());
    let service = Announceable {
        uid: "u".into(),
        labels: herald_core::labels::Labels::default(),
        addresses: [].into(),
        traffic_policy: TrafficPolicy::Cluster,
        serving: Arc::new(Serving::default()),
        moved: Some(Moved { to: "b".into(), until: 61 }),
    };
    let node = Node {
        name: "a".into(),
        labels: herald_core::labels::Labels::default(),
        excluded: false,
        network_unavailable: false,
        evacuation: Some(Evacuation::Asked { until: 60 }),
        internal_ips: vec![],
    };
    let snapshot = Snapshot {
        services: ["web", "db"].map(|name| (herald_core::ServiceKey::new("shop", name), service.clone())).into(),
        nodes: [("a".into(), node)].into(),
        stamp: Stamp { connected: true, resource_version: 7 },
        ..Snapshot::default()
    };
    speaker.handle(Input::Snapshot(Arc::new(snapshot)), at(1));
    speaker.handle(Input::Standby(true), at(1));
    speaker.handle(Input::DataPlane { is: DataPlane::NotReady, has_health: true }, at(1));
    speaker
}

#[tokio::test]
async fn what_is_known_is_told_with_reasons() {
    let keys = watch::channel(Arc::new(Keys { cluster: CLUSTER, accepted: vec![] })).1;
    let ports = Ports::new(Sinks { keys, heard: mpsc::channel(1).0, seen: mpsc::channel(1).0 });
    let link = |name: &str, usable| {
        let link = Link { index: 1, name: name.into(), mac: Mac([2, 0, 0, 0, 0, 1]), addresses: vec![], usable };
        (LinkName::from(name), link)
    };
    let links = [link("lo", Err(Unusable::Loopback)), link("eth0", Err(Unusable::NoCarrier))].into();
    let speaker = speaker();
    let shown = Shown {
        node: &"a".into(),
        speaker: &speaker,
        ports: &ports,
        links: &links,
        data_plane: &Asked { url: Some("http://127.0.0.1:1/".into()), has_health: true, why: Some(NotReady::Absent) },
        notes: &Notes { snapshot: Some(at(2)), ..Notes::default() },
        gratuitous: &Gratuitous::default(),
        now: at(5),
    };
    let state = shown.state(&request(None).await);
    let codes: Vec<&str> = state.obstacles.iter().map(|why| why.code.as_str()).collect();
    assert_eq!(codes, ["no_key", "standby", "no_link"]);
    let plane = &state.data_plane;
    assert_eq!((plane.health, plane.url.as_deref()), (Health::NotReady, Some("http://127.0.0.1:1/")));
    assert_eq!(plane.not_ready.as_ref().unwrap().code, "absent");
    let until = Some("1970-01-01T00:01:00Z".to_owned());
    let evacuation = EvacuationState { why: "herald evacuate was asked for it".to_owned(), until };
    let evacuated = [("a".to_owned(), evacuation)].into();
    assert_eq!(
        state.snapshot,
        Some(SnapshotState { connected: true, resource_version: 7, age_ms: 3000, evacuated, saved_at: None })
    );
    let moved = state.services["shop/web"].moved.as_ref().unwrap();
    assert_eq!((moved.to.as_str(), moved.until.as_str()), ("b", "1970-01-01T00:01:01Z"));
    assert_eq!(state.links.keys().collect::<Vec<_>>(), ["eth0"], "loopback is not worth showing");
    let eth0 = &state.links["eth0"];
    assert_eq!((eth0.mac.as_str(), eth0.not_used.as_ref().unwrap().code.as_str()), ("02:00:00:00:00:01", "no_carrier"));
    assert_eq!(state.services.keys().collect::<Vec<_>>(), ["shop/db", "shop/web"]);
    assert_eq!(state.services["shop/web"].silent.as_ref().unwrap().code, "no_address");

    let state = shown.state(&request(Some("shop/web")).await);
    assert_eq!(state.services.keys().collect::<Vec<_>>(), ["shop/web"]);
}

#[test]
fn verdicts_name_each_reason_once() {
    let mut reasons = BTreeMap::new();
    let shown = verdict(
        &Verdict {
            owner: Some("a".into()),
            others: ["b".into()].into(),
            dropped: [
                ("c".into(), Dropped::Excluded),
                ("d".into(), Dropped::Excluded),
                ("e".into(), Dropped::NotReady),
            ]
            .into(),
        },
        &mut reasons,
    );
    assert_eq!((shown.owner.as_deref(), shown.others.len()), (Some("a"), 1));
    assert_eq!(shown.dropped["excluded"], ["c".to_owned(), "d".to_owned()].into());
    assert_eq!(reasons.keys().collect::<Vec<_>>(), ["excluded", "not_ready"]);
}

#[test]
fn how_a_peer_is_heard_follows_its_last_hello() {
    let (mut notes, eth0) = (Notes::default(), LinkName::from("eth0"));
    notes.heard(&eth0, "b", false);
    assert!(notes.unicast.is_empty(), "the usual case keeps nothing");
    notes.heard(&eth0, "b", true);
    notes.claimed(&eth0, ip(), Mac::ZERO, at(1));
    assert_eq!((notes.unicast.len(), notes.claims.len()), (1, 1));
    notes.forget(&"eth1".into());
    assert_eq!((notes.unicast.len(), notes.claims.len()), (1, 1));
    notes.heard(&eth0, "b", false);
    notes.forget(&eth0);
    assert_eq!((notes.unicast.len(), notes.claims.len()), (0, 0));
}
