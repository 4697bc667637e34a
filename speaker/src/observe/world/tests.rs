use super::*;
use herald_api::{
    crd::{IPAddressPool, L2Advertisement, Unread},
    endpoints::{Endpoint, Slice},
    sources::{Kind as SourceKind, Source},
};
use herald_core::{config::Config, service::Serving};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "default".into(), name: name.into() }
}

fn web() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn slice(node: &str, ready: bool) -> Slice {
    let endpoint =
        Endpoint { node: Some(node.into()), address: "10.244.1.2".parse().unwrap(), ready: Some(ready), serving: None };
    Slice { service: web(), endpoints: [endpoint].into() }
}

fn service() -> ServiceObject {
    ServiceObject {
        uid: "u".into(),
        labels: Labels::default(),
        addresses: ["192.168.56.11".parse().unwrap()].into(),
        allocated_from: Some("lan".into()),
        traffic_policy: TrafficPolicy::Local,
        moved: None,
    }
}

fn reset<T>(objects: impl IntoIterator<Item = (ObjectKey, T)>) -> Change<T> {
    Change::Reset { objects: objects.into_iter().collect(), newest: 10 }
}

/// A world in which every watch has delivered its first full list.
fn complete() -> World {
    let mut world = World::new(Me {
        node: "w1".into(),
        namespace: "metallb-system".to_owned(),
        excluded: Arc::new(Exclude::new(["^veth"]).unwrap()),
        ignore_exclude_label: false,
    });
    assert!(!world.apply(Input::Services(reset([(key("web"), service())]))));
    assert!(!world.apply(Input::Slices(reset([(key("web-1"), slice("w1", true))]))));
    assert!(!world.apply(Input::Nodes(reset([]))));
    assert!(!world.apply(Input::Speakers(reset([]))));
    assert!(!world.apply(Input::Excluded(reset([]))));
    let (last, first) = herald_api::sources::Kind::ALL.split_last().unwrap();
    for kind in first {
        assert!(!world.apply(Input::Settings(*kind, reset([]))));
    }
    assert!(world.snapshot(0).is_none(), "nothing is decided before every list has come");
    assert!(world.apply(Input::Settings(*last, reset([]))));
    world
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

fn config_map(text: &str) -> Change<Source> {
    let object: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "config" }, "data": { "config": text } })).unwrap();
    Change::Set { key: key("config"), value: Source::from(&object), newest: 11 }
}

fn config(world: &mut World) -> Arc<Config> {
    world.snapshot(0).unwrap().config
}

fn serving_of(world: &mut World) -> Serving {
    world.snapshot(0).unwrap().services[&web()].serving.as_ref().clone()
}

#[test]
fn a_snapshot_joins_services_with_their_endpoints() {
    let mut world = complete();
    let observed = world.snapshot(0).unwrap();
    assert_eq!(&*observed.services[&web()].uid, "u");
    assert_eq!(observed.stamp, Stamp { connected: true, resource_version: 10 });
    assert_eq!(serving_of(&mut world).nodes, ["w1".into()].into());
}

#[test]
fn a_change_that_changes_nothing_is_not_worth_a_snapshot() {
    let mut world = complete();
    world.snapshot(0);
    assert!(!world.apply(Input::Services(Change::Set { key: key("web"), value: service(), newest: 11 })));
    assert!(!world.apply(Input::Slices(Change::Set { key: key("web-1"), value: slice("w1", true), newest: 12 })));
    assert!(world.apply(Input::Slices(Change::Set { key: key("web-1"), value: slice("w1", false), newest: 13 })));
    assert!(!serving_of(&mut world).any);
}

#[test]
fn what_vanished_without_a_delete_is_found_by_the_next_list() {
    let mut world = complete();
    world.snapshot(0);
    assert!(world.apply(Input::Slices(reset([(key("web-2"), slice("w2", true))]))));
    assert_eq!(serving_of(&mut world).nodes, ["w2".into()].into(), "web-1 is gone");
    assert!(world.apply(Input::Slices(reset([]))));
    assert_eq!(serving_of(&mut world), Serving::default());
    assert!(world.apply(Input::Services(reset([]))));
    assert!(world.snapshot(0).unwrap().services.is_empty());
}

#[test]
fn a_slice_that_a_list_shows_at_another_service_leaves_the_first() {
    let mut world = complete();
    world.snapshot(0);
    let db = ServiceKey::new("default", "db");
    world.apply(Input::Services(Change::Set { key: key("db"), value: service(), newest: 11 }));
    let moved = Slice { service: db.clone(), ..slice("w2", true) };
    assert!(world.apply(Input::Slices(reset([(key("web-1"), moved)]))));
    let services = world.snapshot(0).unwrap().services;
    assert_eq!(*services[&web()].serving, Serving::default());
    assert_eq!(services[&db].serving.nodes, ["w2".into()].into());
}

/// A list costs by what it holds, not by its square: that would be minutes here, and in a large cluster more than the liveness probe allows.
#[test]
fn large_lists_are_taken() {
    let mut world = complete();
    let of = |n: u32, node: &str| Slice { service: ServiceKey::new("default", format!("s{n}")), ..slice(node, true) };
    for node in ["w1", "w2"] {
        let all = (0..30_000).map(|n| (key(&format!("s{n}-1")), of(n, node)));
        assert!(world.apply(Input::Slices(reset(all))));
        assert_eq!(world.slices.serving(&ServiceKey::new("default", "s29999")).nodes, [node.into()].into());
    }
}

#[test]
fn what_came_one_by_one_is_packed_once() {
    let mut world = complete();
    world.pack();
    assert!(!world.is_loose());
    world.apply(Input::Services(Change::Set { key: key("web"), value: service(), newest: 11 }));
    assert!(!world.is_loose(), "it was there");
    world.apply(Input::Services(Change::Set { key: key("db"), value: service(), newest: 12 }));
    world.apply(Input::Slices(Change::Set { key: key("web-2"), value: slice("w2", true), newest: 13 }));
    assert!(world.is_loose());
    let before = world.snapshot(0);
    world.pack();
    assert!(!world.is_loose());
    assert_eq!(world.snapshot(0), before);
}

#[test]
fn a_deleted_slice_takes_its_endpoints_along() {
    let mut world = complete();
    world.snapshot(0);
    assert!(world.apply(Input::Slices(Change::Set { key: key("web-2"), value: slice("w2", true), newest: 11 })));
    assert!(world.apply(Input::Slices(Change::Gone { key: key("web-2"), newest: 12 })));
    assert_eq!(serving_of(&mut world).nodes, ["w1".into()].into());
}

#[test]
fn a_lost_api_server_keeps_everything_and_is_told_in_the_stamp() {
    let mut world = complete();
    let before = world.snapshot(0).unwrap();
    assert!(world.apply(Input::Nodes(Change::Disconnected("refused".to_owned()))));
    let after = world.snapshot(0).unwrap();
    assert!(!after.stamp.connected);
    assert_eq!(after.services, before.services);
    assert!(world.apply(Input::Nodes(Change::Connected)));
    assert!(world.snapshot(0).unwrap().stamp.connected);
}

#[test]
fn a_wrong_or_deleted_configuration_leaves_the_last_good_one() {
    let mut world = complete();
    let map = |text: &str| Input::Settings(SourceKind::ConfigMap, config_map(text));
    assert!(world.apply(map("address-pools: [{name: a, protocol: layer2, addresses: [192.0.2.0/24]}]")));
    assert_eq!(config(&mut world).pools.len(), 1);
    world.apply(map("address-pools: [{name: a}]"));
    assert_eq!(config(&mut world).pools.len(), 1);
    world.apply(Input::Settings(SourceKind::ConfigMap, Change::Gone { key: key("config"), newest: 13 }));
    assert_eq!(config(&mut world).pools.len(), 1);
}

#[test]
fn custom_resources_add_up_and_their_removal_counts() {
    let mut world = complete();
    world.snapshot(0);
    let l2: Unread<L2Advertisement> =
        serde_json::from_value(object("L2Advertisement", "l2", json!({ "interfaces": ["eth1"] }))).unwrap();
    let set = Change::Set { key: key("l2"), value: Source::from(l2), newest: 11 };
    assert!(world.apply(Input::Settings(SourceKind::L2Advertisement, set.clone())));
    assert!(!world.apply(Input::Settings(SourceKind::L2Advertisement, set)), "nothing new");
    assert_eq!(config(&mut world).l2_advertisements.len(), 1);
    assert!(world.apply(Input::Settings(SourceKind::L2Advertisement, reset([]))));
    assert!(config(&mut world).l2_advertisements.is_empty());
}

#[test]
fn what_was_asked_for_a_time_ends() {
    let mut world = complete();
    let node = |until| Node {
        name: "w1".into(),
        labels: Labels::default(),
        excluded: false,
        network_unavailable: false,
        evacuation: Some(Evacuation::Asked { until }),
        internal_ips: Vec::new(),
    };
    let moved = Moved { to: "w1".into(), until: 50 };
    world.apply(Input::Nodes(reset([(key("w1"), node(100))])));
    world.apply(Input::Services(reset([(key("web"), ServiceObject { moved: Some(moved), ..service() })])));
    let mut at = |now| {
        let snapshot = world.snapshot(now).unwrap();
        let evacuated = snapshot.nodes[&"w1".into()].evacuation.is_some();
        (snapshot.services[&web()].moved.is_some(), evacuated, world.next_end(now))
    };
    assert_eq!(at(49), (true, true, Some(50)));
    assert_eq!(at(50), (false, true, Some(100)));
    assert_eq!(at(100), (false, false, None));
}

#[test]
fn during_a_rollout_a_ready_pod_of_the_node_counts() {
    let mut world = complete();
    let pod = |ready| SpeakerPod { node: "w1".into(), ready };
    world.apply(Input::Speakers(reset([(key("new"), pod(false)), (key("old"), pod(true))])));
    assert!(world.snapshot(0).unwrap().speakers[&"w1".into()].ready);
}

/// Whoever was there before announces by the last good version, which one that starts now has never seen.
#[test]
fn a_speaker_that_starts_while_a_pool_is_wrong_announces_what_services_hold_from_it() {
    let mut world = complete();
    let wrong = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "lan", "labels": { "zone": "a" } },
        "spec": { "addresses": ["192.168.56.11-192.168.56"] } });
    let pool = |object: Value| {
        let pool: Unread<IPAddressPool> = serde_json::from_value(object).unwrap();
        Input::Settings(
            SourceKind::IpAddressPool,
            Change::Set { key: key("lan"), value: Source::from(pool), newest: 11 },
        )
    };
    assert!(world.apply(pool(wrong)));
    let now = config(&mut world);
    let (address, lan) = ("192.168.56.11".parse().unwrap(), &now.pools[&"lan".into()]);
    assert!(lan.contains(address) && lan.labels.get("zone") == Some("a") && !lan.auto_assign);
    assert!(now.l2_advertisements.is_empty(), "it is known, and advertisements choose it as before");

    assert!(world.apply(pool(object("IPAddressPool", "lan", json!({ "addresses": ["192.168.56.12/32"] })))));
    assert!(!config(&mut world).pools[&"lan".into()].contains(address), "a pool in force says itself what it has");
}

#[test]
fn a_speaker_that_starts_without_any_configuration_believes_the_services() {
    let mut world = complete();
    assert_eq!(config(&mut world).l2_advertisements.len(), 1);
    let map = |text: &str| Input::Settings(SourceKind::ConfigMap, config_map(text));
    assert!(!world.apply(map("address-pools: 17")), "a ConfigMap that cannot be read says nothing");
    assert_eq!(config(&mut world).pools.len(), 1);
    assert!(world.apply(map("address-pools: []")));
    assert!(config(&mut world).pools.is_empty());
    world.apply(Input::Settings(SourceKind::ConfigMap, reset([])));
    assert!(config(&mut world).pools.is_empty(), "there was one");
}
