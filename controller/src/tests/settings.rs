//! Configuration, standby, the hello key, and what an operator sees.

use super::{cluster::pool, *};
use herald_api::state::ControllerState;

fn metallb_pod(phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": { "app": "metallb" } },
        "spec": { "containers": [] }, "status": { "phase": phase },
    })
}

#[tokio::test(start_paused = true)]
async fn a_bad_configuration_leaves_the_last_good_one_in_force_and_is_told_once() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("one");
    cluster.pass(1).await;
    cluster.configure("address-pools: 17");
    cluster.service("two");
    cluster.pass(1).await;
    assert_eq!(cluster.addresses("two"), ["192.168.56.12"]);
    replica.wire.expire_watches();
    cluster.pass(10).await;
    let events = cluster.events("config");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "InvalidConfiguration");
    let metrics = Replica::get(replica.metrics, "/metrics").await;
    for line in ["metallb_k8s_client_config_loaded_bool 1", "metallb_k8s_client_config_stale_bool 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let ready = Replica::get(replica.health, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("[!] configuration: 1 pools; ConfigMap/config: "), "{ready}");
    assert!(ready.contains("the last good version stays in force"), "{ready}");

    cluster.configure(&pool("pool", "192.168.56.11-192.168.56.13"));
    cluster.service("three");
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 3);
    assert!(Replica::get(replica.metrics, "/metrics").await.contains("metallb_k8s_client_config_stale_bool 0"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_configuration_stays_in_force() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("one");
    cluster.pass(1).await;
    cluster.api.delete(&Id::new("configmaps", "ns", "config"));
    cluster.service("two");
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 2);
    let ready = Replica::get(replica.health, "/readyz").await;
    assert!(ready.contains("[!] configuration: 1 pools; ConfigMap/config: the ConfigMap was deleted"), "{ready}");
}

#[tokio::test(start_paused = true)]
async fn while_metallb_runs_nothing_is_written_and_then_all_is() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let pod = Id::new("pods", "metallb-system", "speaker");
    cluster.api.put(&pod, metallb_pod("Running"));
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("one");
    cluster.configure("address-pools: 17");
    cluster.pass(10).await;
    let seen = replica.wire.seen();
    let written: Vec<_> = seen.iter().filter(|it| it.method != "GET" && !it.path.contains("/leases")).collect();
    assert!(written.is_empty(), "{written:?}");
    let ready = Replica::get(replica.health, "/readyz").await;
    assert!(ready.contains("standing by, nothing is written: MetalLB runs (metallb-system/speaker)"), "{ready}");

    cluster.configure(&pool("pool", "192.168.56.11-192.168.56.12"));
    cluster.api.put(&pod, metallb_pod("Succeeded"));
    cluster.pass(1).await;
    assert_eq!(cluster.assigned(), 1);
    cluster.api.put(&pod, metallb_pod("Running"));
    cluster.pass(1).await;
    cluster.service("two");
    cluster.pass(5).await;
    assert_eq!(cluster.assigned(), 1, "standing by again");
}

#[tokio::test(start_paused = true)]
async fn the_hello_key_is_created_when_it_is_missing_and_never_overwritten() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.12");
    let key = Id::new("secrets", "ns", "herald-hello-key");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(1).await;
    let first = cluster.api.get(&key).unwrap();
    // 32 bytes are 44 characters of base64.
    assert_eq!(first["data"]["key"].as_str().unwrap().len(), 44);
    assert_ne!(first["data"]["key"], format!("{}=", "A".repeat(43)));
    replica.stop().await;
    let _replica = Replica::start(&cluster, "b").await;
    cluster.pass(70).await;
    assert_eq!(cluster.api.get(&key).unwrap(), first);
    cluster.api.delete(&key);
    cluster.pass(70).await;
    let second = cluster.api.get(&key).unwrap();
    assert_ne!(second["data"], first["data"], "speakers that start need one");
}

#[tokio::test(start_paused = true)]
async fn only_services_of_our_class_are_touched() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.20");
    cluster.service("none");
    cluster.service_with("ours", json!({ "loadBalancerClass": "example.org/herald" }));
    cluster.service_with("theirs", json!({ "loadBalancerClass": "example.org/other" }));
    let _replica =
        Replica::start_with(&cluster, "a", |config| config.common.lb_class = Some("example.org/herald".to_owned()))
            .await;
    cluster.pass(2).await;
    assert_eq!(cluster.addresses("ours"), ["192.168.56.11"]);
    assert_eq!(cluster.assigned(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told() {
    let cluster = Cluster::with_pool("192.168.56.11-192.168.56.11");
    let replica = Replica::start(&cluster, "a").await;
    cluster.service("one");
    cluster.service("two");
    cluster.pass(2).await;
    let answer = Replica::get(replica.debug, "/debug/state").await;
    let state: ControllerState = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(state.leads && state.complete && state.leader.as_deref() == Some("a"), "{state:?}");
    let (one, two) = (&state.services["default/one"], &state.services["default/two"]);
    assert_eq!((one.pool.as_deref(), &one.addresses[..]), (Some("pool"), &["192.168.56.11".parse().unwrap()][..]));
    let why = two.waiting.as_ref().unwrap();
    assert_eq!((why.code.as_str(), why.next_step.as_str()), ("no_free_address", "enlarge a pool or add one"));
    assert_eq!((state.pending.len(), state.known, state.configuration.problems.len()), (0, 2, 0));
    let pool = &state.configuration.pools["pool"];
    assert_eq!((pool.ipv4.total, pool.ipv4.assigned, &pool.l2_advertisements[..]), (1, 1, &["pool".to_owned()][..]));
    let answer = Replica::get(replica.debug, "/debug/state/default/two").await;
    let state: ControllerState = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(state.services.keys().collect::<Vec<_>>(), ["default/two"]);
    let metrics = Replica::get(replica.metrics, "/metrics").await;
    for line in [
        r#"metallb_allocator_addresses_total{pool="pool"} 1"#,
        r#"metallb_allocator_addresses_in_use_total{pool="pool"} 1"#,
        r#"herald_controller_services{state="waiting"} 1"#,
        "herald_controller_leader 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
