//! Configuration as custom resources, what is reported on them, and namespaces.

use super::{
    cluster::{addresses, id, install, pool, pool_id, put_pool},
    *,
};

fn cluster() -> Cluster {
    let cluster = Cluster::empty();
    install(&cluster);
    cluster
}

fn state_id() -> Id {
    Id::new("configurationstates", "ns", "controller")
}

fn usage(cluster: &Cluster, name: &str) -> Value {
    cluster.api.get(&pool_id(name)).unwrap()["status"].clone()
}

fn state(cluster: &Cluster) -> Value {
    cluster.api.get(&state_id()).map(|object| object["status"].clone()).unwrap_or_default()
}

fn patches(replica: &Replica, text: &str) -> usize {
    replica.wire.seen().iter().filter(|seen| seen.method == "PATCH" && seen.path.contains(text)).count()
}

#[tokio::test(start_paused = true)]
async fn pools_are_served_and_their_usage_is_reported() {
    let cluster = cluster();
    put_pool(&cluster, "lan", addresses(&["192.168.56.11-192.168.56.13", "fd56::/120"]));
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(5).await;
    assert_eq!(cluster.addresses("web"), ["192.168.56.11"]);
    let expected = json!({ "assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 2, "availableIPv6": 256 });
    assert_eq!(usage(&cluster, "lan"), expected);
    // Edited by hand: reverted. Edits of the pool: followed.
    cluster.api.patch(&pool_id("lan"), &json!({ "status": { "assignedIPv4": 77 } }));
    cluster.pass(5).await;
    assert_eq!(usage(&cluster, "lan"), expected);
    put_pool(&cluster, "lan", addresses(&["192.168.56.11-192.168.56.20"]));
    cluster.pass(5).await;
    let expected = json!({ "assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 9, "availableIPv6": 0 });
    assert_eq!(usage(&cluster, "lan"), expected);
    cluster.api.delete(&id("web"));
    cluster.pass(5).await;
    assert_eq!(usage(&cluster, "lan")["availableIPv4"], 10);
    // And then nothing is written any more.
    let before = replica.wire.writes();
    cluster.pass(60).await;
    let leases = replica.wire.seen().iter().filter(|seen| seen.method == "PUT").count();
    assert!(leases > 0);
    assert_eq!(patches(&replica, "ipaddresspools"), 4);
    assert!(replica.wire.writes() - before < 60, "only the lease is renewed");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_goes_empties_its_services_or_moves_them_in_one_update() {
    let cluster = cluster();
    put_pool(&cluster, "a", addresses(&["10.0.0.0/28"]));
    put_pool(&cluster, "b", addresses(&["10.1.0.0/28"]));
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(2).await;
    cluster.api.delete(&pool_id("a"));
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), ["10.1.0.0"]);
    assert_eq!(replica.wire.seen().iter().filter(|it| it.path.ends_with("services/web/status")).count(), 2);
    cluster.api.delete(&pool_id("b"));
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn crds_that_come_later_are_picked_up_and_asked_for_rarely_before() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(60).await;
    assert_eq!(cluster.addresses("web"), ["192.168.56.11"]);
    let asked = replica.wire.seen().iter().filter(|seen| seen.path.contains("metallb.io")).count();
    assert!(asked <= 30, "{asked} requests in a minute without CRDs");
    assert_eq!(state(&cluster), Value::Null);
    install(&cluster);
    put_pool(&cluster, "more", addresses(&["10.0.0.0/28"]));
    cluster.service_with("asks", json!({ "loadBalancerIP": "10.0.0.3" }));
    cluster.pass(30).await;
    assert_eq!(cluster.addresses("asks"), ["10.0.0.3"]);
    assert_eq!(state(&cluster)["result"], "Valid");
    // Removed, with everything in them: what they said stays in force, and the ConfigMap goes on.
    cluster.api.delete(&pool_id("more"));
    cluster.api.serve_custom("metallb.io/v1beta1", &[]);
    cluster.api.serve_custom("metallb.io/v1beta2", &[]);
    replica.wire.drop_watches();
    cluster.pass(30).await;
    assert_eq!(cluster.addresses("asks"), ["10.0.0.3"]);
    assert_eq!(cluster.addresses("web"), ["192.168.56.11"]);
    let before = replica.wire.seen().len();
    cluster.pass(60).await;
    let asked = replica.wire.seen()[before..].iter().filter(|seen| seen.path.contains("metallb.io")).count();
    assert!(asked <= 30, "{asked} requests in a minute without CRDs");
}

#[tokio::test(start_paused = true)]
async fn the_state_of_the_configuration_is_reported_and_made_again() {
    let cluster = cluster();
    put_pool(&cluster, "good", addresses(&["10.0.0.0/28"]));
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(3).await;
    let object = cluster.api.get(&state_id()).unwrap();
    assert_eq!(object["metadata"]["labels"], json!({ "metallb.io/component-type": "controller" }));
    assert_eq!((&object["status"]["result"], &object["status"]["errorSummary"]), (&json!("Valid"), &json!("")));
    let condition = &object["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("poolReconcilerValid"), &json!("Reconciled")));
    assert_eq!(object["status"]["conditions"].as_array().unwrap().len(), 1);

    // Deleted before anything else was ever said there.
    cluster.api.delete(&state_id());
    cluster.pass(5).await;
    assert_eq!(state(&cluster)["result"], "Valid");

    put_pool(&cluster, "clash", addresses(&["10.0.0.8/29"]));
    cluster.pass(3).await;
    assert_eq!(state(&cluster)["result"], "Invalid");
    let summary = state(&cluster)["errorSummary"].as_str().unwrap().to_owned();
    assert!(summary.starts_with("configuration error: ") && summary.contains("overlaps with already defined CIDR"));
    cluster.api.delete(&state_id());
    cluster.pass(10).await;
    assert_eq!(state(&cluster)["errorSummary"], summary);

    cluster.api.delete(&pool_id("clash"));
    cluster.pass(3).await;
    assert_eq!((&state(&cluster)["result"], &state(&cluster)["errorSummary"]), (&json!("Valid"), &json!("")));
    let writes = patches(&replica, "configurationstates");
    cluster.pass(60).await;
    assert_eq!(patches(&replica, "configurationstates"), writes, "no churn");
}

#[tokio::test(start_paused = true)]
async fn a_broken_pool_is_told_stops_nobody_and_takes_nothing_away() {
    let cluster = cluster();
    put_pool(&cluster, "bad", addresses(&["10.1.0.0/28"]));
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), ["10.1.0.0"]);
    put_pool(&cluster, "bad", addresses(&["10.1.0.0-nonsense"]));
    put_pool(&cluster, "good", addresses(&["10.2.0.0/28"]));
    cluster.pass(2).await;
    let events = cluster.events("bad");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "InvalidConfiguration");
    let about = &cluster.api.list("events").into_iter().find(|it| it["involvedObject"]["name"] == "bad").unwrap();
    assert_eq!(about["involvedObject"]["apiVersion"], "metallb.io/v1beta1");
    let metrics = Replica::get(replica.metrics, "/metrics").await;
    let line = r#"herald_controller_configuration_problems{kind="IPAddressPool",reason="address",transient="false"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    // The next controller never saw it in order.
    replica.stop().await;
    let _replica = Replica::start(&cluster, "b").await;
    cluster.service_with("new", json!({}));
    cluster.pass(5).await;
    assert_eq!(cluster.addresses("web"), ["10.1.0.0"]);
    assert_eq!(cluster.addresses("new"), ["10.2.0.0"]);
    put_pool(&cluster, "bad", addresses(&["10.1.0.0/28"]));
    cluster.pass(5).await;
    assert_eq!(cluster.addresses("web"), ["10.1.0.0"]);
    assert_eq!(state(&cluster)["result"], "Valid");
}

#[tokio::test(start_paused = true)]
async fn labels_of_namespaces_are_followed() {
    let cluster = cluster();
    let namespace = |labels: Value| {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "labels": labels } });
        cluster.api.put(&Id::new("namespaces", "", "default"), object);
    };
    namespace(json!({}));
    let kept = json!({
        "addresses": ["10.0.0.0/28"],
        "serviceAllocation": { "priority": 1, "namespaceSelectors": [{ "matchLabels": { "team": "x" } }] },
    });
    put_pool(&cluster, "kept", kept);
    let _replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), [""; 0]);
    namespace(json!({ "team": "x" }));
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), ["10.0.0.0"]);
    namespace(json!({ "team": "y" }));
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_changes_its_sharing_terms_leaves_and_comes_back() {
    let cluster = cluster();
    put_pool(&cluster, "lan", addresses(&["10.0.0.0/28"]));
    let _replica = Replica::start(&cluster, "a").await;
    let shared = json!({ "metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": "10.0.0.5" });
    for (name, port) in [("a", 80), ("b", 443)] {
        cluster.service_with(name, json!({ "ports": [{ "port": port, "protocol": "TCP" }] }));
        cluster.api.patch(&id(name), &json!({ "metadata": { "annotations": shared } }));
        cluster.settle(2).await;
    }
    let both = || (cluster.addresses("a").join(","), cluster.addresses("b").join(","));
    assert_eq!(both(), ("10.0.0.5".to_owned(), "10.0.0.5".to_owned()));
    // The older one changes: it leaves, not the other.
    cluster.api.patch(&id("a"), &json!({ "spec": { "externalTrafficPolicy": "Local" } }));
    cluster.settle(2).await;
    assert_eq!(both(), (String::new(), "10.0.0.5".to_owned()));
    cluster.api.patch(&id("a"), &json!({ "spec": { "externalTrafficPolicy": "Cluster" } }));
    cluster.settle(2).await;
    assert_eq!(both(), ("10.0.0.5".to_owned(), "10.0.0.5".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_deprecated_annotation_is_told_once() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.20");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(1).await;
    let old = json!({ "metadata": { "annotations": { "metallb.universe.tf/address-pool": "pool" } } });
    cluster.api.patch(&id("web"), &old);
    cluster.pass(2).await;
    cluster.api.patch(&id("web"), &json!({ "metadata": { "labels": { "any": "thing" } } }));
    replica.wire.expire_watches();
    cluster.pass(10).await;
    replica.stop().await;
    let _replica = Replica::start(&cluster, "b").await;
    cluster.pass(5).await;
    assert_eq!(cluster.reasons("web"), ["IPAllocated", "deprecatedAnnotation"]);
    // Another key is told on its own.
    let old = json!({ "metadata": { "annotations": { "metallb.universe.tf/allow-shared-ip": "k" } } });
    cluster.api.patch(&id("web"), &old);
    cluster.pass(2).await;
    assert_eq!(cluster.reasons("web").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_many_services_the_first_few_are_told_of_a_deprecated_annotation() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.99");
    let _replica = Replica::start(&cluster, "a").await;
    let names: Vec<String> = (10..30).map(|number| format!("s{number}")).collect();
    for name in &names {
        cluster.service(name);
        let old = json!({ "metadata": { "annotations": { "metallb.universe.tf/address-pool": "pool" } } });
        cluster.api.patch(&id(name), &old);
    }
    cluster.pass(10).await;
    let reasons: Vec<String> = names.iter().flat_map(|name| cluster.reasons(name)).collect();
    let count = |wanted: &str| reasons.iter().filter(|reason| *reason == wanted).count();
    assert_eq!((count("IPAllocated"), count("deprecatedAnnotation")), (20, 10));
}

#[tokio::test(start_paused = true)]
async fn annotations_of_a_move_that_cannot_be_read_are_told_when_they_change() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.20");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("web");
    cluster.pass(1).await;
    let annotate = |until: Option<&str>| {
        let annotations = json!({ "herald.io/move-to": "b", "herald.io/move-until": until });
        cluster.api.patch(&id("web"), &json!({ "metadata": { "annotations": annotations } }));
    };
    annotate(Some("tomorrow"));
    cluster.pass(2).await;
    // Nothing about them changes, whatever else does.
    cluster.api.patch(&id("web"), &json!({ "metadata": { "labels": { "any": "thing" } } }));
    replica.wire.expire_watches();
    cluster.pass(10).await;
    assert_eq!(cluster.reasons("web"), ["IPAllocated", "moveNotRead"]);
    annotate(None);
    cluster.pass(2).await;
    annotate(Some("2030-01-31T12:00:00Z"));
    cluster.pass(2).await;
    assert_eq!(
        cluster.reasons("web"),
        ["IPAllocated", "moveNotRead", "moveNotRead"],
        "one is missing, then all is well"
    );
    annotate(Some("next week"));
    cluster.pass(2).await;
    assert_eq!(cluster.reasons("web").len(), 4, "something else is wrong");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_fails_is_repeated_and_delays_no_address() {
    let cluster = cluster();
    put_pool(&cluster, "lan", addresses(&["10.0.0.0/28"]));
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    replica.wire.refuse_writes_to("ipaddresspools", 503);
    cluster.service("web");
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("web"), ["10.0.0.0"]);
    replica.wire.restore();
    cluster.pass(60).await;
    assert_eq!(usage(&cluster, "lan")["assignedIPv4"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_config_map_and_pools_add_up() {
    let cluster = cluster();
    cluster.configure(&pool("old", "10.0.0.0/30"));
    put_pool(&cluster, "new", addresses(&["10.1.0.0/30"]));
    put_pool(&cluster, "clash", addresses(&["10.0.0.0/29"]));
    let _replica = Replica::start(&cluster, "a").await;
    cluster.services(6);
    cluster.pass(3).await;
    assert_eq!(cluster.assigned(), 6);
    assert_eq!(cluster.reasons("clash"), ["InvalidConfiguration"]);
}
