//! Coming from MetalLB: its definitions go with it, or come back object by object.

use super::{
    cluster::{addresses, id, install, pool_id, put_pool},
    *,
};

/// As MetalLB's controller leaves it.
fn held(cluster: &Cluster, name: &str, pool: &str, address: &str) -> Value {
    let id = cluster.service(name);
    cluster.api.patch(
        &id,
        &json!({
            "metadata": { "annotations": { "metallb.io/ip-allocated-from-pool": pool } },
            "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
        }),
    );
    cluster.api.get(&id).unwrap()
}

fn remove_definitions(cluster: &Cluster, replica: &Replica, pools: &[&str]) {
    cluster.api.terminate_custom("metallb.io/v1beta1");
    for pool in pools {
        cluster.api.delete(&pool_id(pool));
    }
    cluster.api.serve_custom("metallb.io/v1beta1", &[]);
    cluster.api.serve_custom("metallb.io/v1beta2", &[]);
    replica.wire.drop_watches();
}

#[tokio::test(start_paused = true)]
async fn definitions_that_go_with_metallb_take_no_address_away() {
    for standby in [true, false] {
        let cluster = Cluster::empty();
        install(&cluster);
        put_pool(&cluster, "a", addresses(&["10.0.0.0/28"]));
        put_pool(&cluster, "b", addresses(&["10.1.0.0/28"]));
        let web = held(&cluster, "web", "b", "10.1.0.7");
        let metallb = Id::new("pods", "metallb-system", "speaker");
        if standby {
            let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": { "app": "metallb" } }, "status": { "phase": "Running" } });
            cluster.api.put(&metallb, pod);
        }
        let replica = Replica::start(&cluster, "a").await;
        cluster.pass(5).await;
        remove_definitions(&cluster, &replica, &["a", "b"]);
        cluster.pass(5).await;
        cluster.api.delete(&metallb);
        cluster.pass(30).await;
        assert_eq!(cluster.api.get(&id("web")).unwrap(), web, "not even written");
        cluster.service("new");
        cluster.pass(5).await;
        assert_eq!(cluster.addresses("new"), ["10.0.0.0"], "what was configured stays in force");
        // The definitions are back, and the objects one after the other.
        install(&cluster);
        cluster.pass(20).await;
        put_pool(&cluster, "a", addresses(&["10.0.0.0/28"]));
        cluster.pass(5).await;
        put_pool(&cluster, "b", addresses(&["10.1.0.0/28"]));
        cluster.pass(5).await;
        assert_eq!(cluster.api.get(&id("web")).unwrap(), web);
        assert_eq!(cluster.addresses("new"), ["10.0.0.0"]);
        // And then a pool that is deleted is deleted.
        cluster.api.delete(&pool_id("b"));
        cluster.pass(5).await;
        assert_eq!(cluster.addresses("web"), ["10.0.0.1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn pools_that_come_one_by_one_move_nobody() {
    let cluster = Cluster::empty();
    install(&cluster);
    let web = held(&cluster, "web", "b", "10.1.0.7");
    let replica = Replica::start(&cluster, "a").await;
    cluster.pass(10).await;
    put_pool(&cluster, "a", addresses(&["10.0.0.0/28"]));
    cluster.pass(1).await;
    put_pool(&cluster, "b", addresses(&["10.1.0.0/28"]));
    cluster.pass(10).await;
    assert_eq!(cluster.api.get(&id("web")).unwrap(), web);
    replica.stop().await;
}
