//! A replica that fences, and an API server with nodes, speakers and what they miss.

use super::*;

/// No station: the kernel refuses a connection to a multicast address by itself, as it does one to a node that no neighbour knows.
const SILENT: &str = "224.0.0.1";

fn node(api: &FakeApi, name: &str, address: Option<&str>) {
    let addresses: Vec<Value> =
        address.into_iter().map(|address| json!({ "type": "InternalIP", "address": address })).collect();
    api.put(
        &Id::new("nodes", "", name),
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": {}, "status": { "addresses": addresses } }),
    );
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    let labels = json!({ "app.kubernetes.io/name": "herald", "component": "speaker" });
    for (namespace, pod, labels) in
        [("ns", format!("speaker-{name}"), labels), ("shop", format!("web-{name}"), json!({}))]
    {
        api.put(
            &Id::new("pods", namespace, &pod),
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels },
                "spec": { "nodeName": name, "containers": [] }, "status": { "conditions": ready },
            }),
        );
    }
    misses(api, name, "");
}

fn misses(api: &FakeApi, speaker: &str, missed: &str) {
    let holds = if missed.is_empty() { "True" } else { "False" };
    let condition = json!({
        "type": "peersReachable", "status": holds, "reason": "x", "message": missed,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    api.put(
        &Id::new("configurationstates", "ns", &format!("speaker-{speaker}")),
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
            "metadata": { "labels": { "metallb.io/node-name": speaker } },
            "status": { "conditions": [condition] },
        }),
    );
}

/// Nodes a to e; e and d do not answer.
fn cluster() -> Cluster {
    let cluster = Cluster::with_pool("192.168.56.0/24");
    cluster.api.serve_custom("metallb.io/v1beta1", &["configurationstates"]);
    for name in ["a", "b", "c"] {
        node(&cluster.api, name, None);
    }
    for name in ["d", "e"] {
        node(&cluster.api, name, Some(SILENT));
    }
    cluster
}

fn condition(object: &Value, type_: &str) -> Option<String> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == type_)?["status"].as_str().map(str::to_owned)
}

fn fenced(cluster: &Cluster, name: &str) -> bool {
    let node = cluster.api.get(&Id::new("nodes", "", name)).unwrap();
    condition(&node, "HeraldFenced").as_deref() == Some("True")
}

fn ready(cluster: &Cluster, name: &str) -> bool {
    let pod = cluster.api.get(&Id::new("pods", "shop", &format!("web-{name}"))).unwrap();
    condition(&pod, "Ready").as_deref() == Some("True")
}

async fn start(cluster: &Cluster, name: &str) -> Replica {
    Replica::start_with(cluster, name, |config| config.fence_dead_nodes = Some("1".parse().unwrap())).await
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_fenced_and_freed_when_it_is_back() {
    let cluster = cluster();
    let first = start(&cluster, "a").await;
    cluster.pass(3).await;
    misses(&cluster.api, "a", "e");
    misses(&cluster.api, "b", "e");
    cluster.pass(5).await;
    assert!(!fenced(&cluster, "e") && ready(&cluster, "e"), "half of four is no majority");
    misses(&cluster.api, "c", "d, e");
    cluster.pass(5).await;
    assert!(fenced(&cluster, "e") && !ready(&cluster, "e"));
    assert!(["a", "b", "c", "d"].iter().all(|name| !fenced(&cluster, name) && ready(&cluster, name)));
    assert_eq!(cluster.reasons("e"), ["nodeFenced"]);
    assert!(Replica::get(first.metrics, "/metrics").await.contains("herald_controller_nodes_fenced 1"));

    // Another replica takes over, and one more node dies.
    first.kill();
    let second = start(&cluster, "b").await;
    cluster.pass(30).await;
    assert!(fenced(&cluster, "e"), "it stays");
    for speaker in ["a", "b", "c"] {
        misses(&cluster.api, speaker, "d, e");
    }
    cluster.pass(5).await;
    assert!(!fenced(&cluster, "d") && ready(&cluster, "d"), "one at a time");
    assert_eq!(cluster.reasons("d"), ["nodeNotFenced"]);

    for speaker in ["a", "b", "c"] {
        misses(&cluster.api, speaker, "");
    }
    cluster.pass(5).await;
    assert!(!fenced(&cluster, "e"));
    assert_eq!(cluster.reasons("e"), ["nodeFenced", "nodeFreed"]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_kubelet_answers_is_not_fenced_and_without_the_flag_nobody_is() {
    let cluster = cluster();
    let replica = start(&cluster, "a").await;
    for speaker in ["b", "c", "d"] {
        misses(&cluster.api, speaker, "a");
    }
    cluster.pass(5).await;
    assert!(!fenced(&cluster, "a") && ready(&cluster, "a"));
    assert_eq!(cluster.reasons("a"), ["nodeNotFenced"]);
    replica.stop().await;

    let _plain = Replica::start(&cluster, "b").await;
    for speaker in ["a", "b", "c", "d"] {
        misses(&cluster.api, speaker, "e");
    }
    cluster.pass(5).await;
    assert!(!fenced(&cluster, "e") && ready(&cluster, "e"));
}
