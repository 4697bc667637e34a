//! A speaker's observing and an API server that goes away, answers late, or has lost the key.

use super::*;
use crate::net::hello_io::Keys;
use clap::Parser as _;
use herald_api::saved::Saved;
use herald_core::{ServiceKey, ownership::Announceable};
use herald_runtime::readiness::{Readiness, Weight};
use herald_testkit::fake_api::{FakeApi, Id, Wire};
use herald_wire::hello::{ClusterId, Key};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

const CLUSTER: ClusterId = ClusterId([7; 16]);

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    config: SpeakerConfig,
}

/// A speaker's observing, with what it shows.
struct Rig {
    observed: watch::Receiver<Option<Arc<Snapshot>>>,
    excluded: watch::Receiver<Arc<Exclude>>,
    offer: watch::Sender<Option<Arc<Saved>>>,
    readiness: Readiness,
    wire: Wire,
}

/// Starts while the API server is away.
fn rig(api: &FakeApi) -> Rig {
    let (client, wire) = api.client();
    wire.cut();
    let readiness = Readiness::new();
    let (excluded, excluded_now) = watch::channel(Arc::new(Exclude::new(["^veth"]).unwrap()));
    let shown = Shown {
        metrics: ClientMetrics::default(),
        api: readiness.condition("api", Weight::Blocking),
        configuration: readiness.condition("configuration", Weight::Informative),
        exclude_list: readiness.condition("exclude list", Weight::Informative),
        excluded,
        summary: watch::channel(None).0,
    };
    let config = Line::parse_from(["speaker", "--node-name", "a", "--namespace", "ns"]).config;
    let (offer, offer_now) = watch::channel(None);
    let observed = start(&client, &config, shown, offer_now, watch::channel(None).0, &Shutdown::manual()).0;
    Rig { observed, excluded: excluded_now, offer, readiness, wire }
}

fn key(number: u8) -> Key {
    Key::new(&[number; 32]).unwrap()
}

fn saved() -> Arc<Saved> {
    let web = Announceable {
        uid: "u".into(),
        labels: herald_core::labels::Labels::default(),
        addresses: ["192.0.2.7".parse().unwrap()].into(),
        traffic_policy: herald_core::service::TrafficPolicy::Cluster,
        serving: Arc::default(),
        moved: None,
    };
    Arc::new(Saved {
        node: "a".into(),
        cluster: CLUSTER,
        at: 1_800_000_000,
        resource_version: 3,
        keys: vec![key(1)],
        excluded: vec!["^wg".to_owned()],
        snapshot: Arc::new(Snapshot {
            services: [(ServiceKey::new("shop", "web"), web)].into(),
            ..Snapshot::default()
        }),
    })
}

async fn settle() {
    sleep(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_the_saved_state_is_gone_by_until_it_is_back() {
    let api = FakeApi::new();
    let rig = rig(&api);
    settle().await;
    assert!(rig.observed.borrow().is_none() && !rig.readiness.report().ready, "nothing is decided on nothing");

    rig.offer.send_replace(Some(saved()));
    settle().await;
    let snapshot = rig.observed.borrow().clone().unwrap();
    assert_eq!((snapshot.saved_at, snapshot.stamp.connected), (Some(1_800_000_000), false));
    assert_eq!((snapshot.stamp.resource_version, snapshot.services.len()), (3, 1));
    assert_eq!(rig.excluded.borrow().matching("wg0"), Some("^wg"), "links that are not used stay so");
    let report = rig.readiness.report();
    assert!(
        report.ready && report.text.contains("announcing what was saved at 2027-01-15T08:00:00Z"),
        "{}",
        report.text
    );

    rig.wire.restore();
    settle().await;
    let snapshot = rig.observed.borrow().clone().unwrap();
    assert_eq!((snapshot.saved_at, snapshot.stamp.connected), (None, true));
    assert!(snapshot.services.is_empty(), "a Service that was deleted meanwhile is not announced any more");
    assert_eq!(rig.excluded.borrow().matching("wg0"), None);
    assert!(rig.readiness.report().text.contains("[+] api: ok"));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_answered_is_believed_whatever_was_saved() {
    let rig = rig(&FakeApi::new());
    rig.wire.restore();
    settle().await;
    rig.offer.send_replace(Some(saved()));
    settle().await;
    assert_eq!(rig.observed.borrow().as_ref().unwrap().saved_at, None);
}

fn secret(data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "data": data })
}

/// 32 times this byte, in base64.
fn base64(byte: u8) -> String {
    let text = match byte {
        1 => "AQEB",
        2 => "AgIC",
        other => panic!("{other}"),
    };
    format!("{}{}=", text.repeat(10), &text[..3])
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_damaged_key_secret_changes_nothing_and_a_new_key_seals_when_all_know_it() {
    let api = FakeApi::new();
    let (client, wire) = api.client();
    let id = Id::new("secrets", "ns", "hello");
    let readiness = Readiness::new();
    let condition = readiness.condition("hello key", Weight::Blocking);
    let start =
        |saved: Vec<Key>| keys(client.clone(), "ns", "hello", (CLUSTER, saved), condition.clone(), Shutdown::manual());
    let accepted = |keys: &watch::Receiver<Arc<Keys>>| keys.borrow().accepted.clone();
    let fresh = start(vec![]);
    settle().await;
    assert!(accepted(&fresh).is_empty() && !readiness.report().ready);
    api.put(&id, secret(&json!({ "key": base64(1) })));
    settle().await;
    assert_eq!(accepted(&fresh), [key(1)]);
    assert!(readiness.report().ready);

    for bad in [json!({}), json!({ "key": "AQ==" })] {
        api.put(&id, secret(&bad));
        settle().await;
        settle().await;
        assert_eq!(accepted(&fresh), [key(1)], "{bad}");
        assert!(readiness.report().ready && readiness.report().text.contains("the last good key stays in force"));
    }
    api.delete(&id);
    settle().await;
    settle().await;
    assert_eq!(accepted(&fresh), [key(1)]);

    wire.cut();
    let restarted = start(vec![key(1)]);
    settle().await;
    assert_eq!(accepted(&restarted), [key(1)], "the key of before the restart");
    wire.restore();
    // The controller makes another one.
    api.put(&id, secret(&json!({ "key": base64(2) })));
    sleep(Duration::from_secs(40)).await;
    for keys in [&fresh, &restarted] {
        assert_eq!(accepted(keys), [key(1), key(2)], "accepted, and not used yet");
    }
    sleep(Duration::from_secs(50)).await;
    assert_eq!(accepted(&fresh), [key(2), key(1)]);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(accepted(&fresh), [key(2)]);
}

#[test]
fn a_nodes_own_speaker_tells_when_its_annotations_or_what_is_wrong_with_them_changes() {
    let (unread, mut told) = watch::channel(None);
    let mut sees = |node: &str, until: Value| {
        let metadata = json!({ "name": node, "uid": "u", "annotations": { "herald.io/evacuate-until": until } });
        let object = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        assert_eq!(node_object(&object, &"a".into(), &unread).name, node.into());
        let changed = told.has_changed().unwrap();
        (changed, told.borrow_and_update().clone().map(|(_, problem)| problem))
    };
    let (changed, problem) = sees("a", json!("soon"));
    assert!(changed && problem.as_ref().unwrap().contains("herald.io/evacuate-until is \"soon\": write a moment"));
    assert_eq!(sees("a", json!("soon")), (false, problem.clone()), "once");
    assert_eq!(sees("b", json!("later")), (false, problem), "its own speaker tells");
    assert_eq!(sees("a", json!("2030-01-31T12:00:00Z")), (true, None));
}
