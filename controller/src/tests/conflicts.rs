//! What becomes of Services whose address a host outside the cluster has, as a speaker tells.

use super::*;

fn tells(cluster: &Cluster, node: &str, conflicts: &[&str]) {
    let mut conditions = vec![json!({ "type": "configReconcilerValid", "status": "True", "reason": "Reconciled",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" })];
    if !conflicts.is_empty() {
        conditions.push(json!({ "type": "herald.io/AddressConflicts", "status": "True", "reason": "AddressConflict",
            "message": conflicts.join("\n"), "lastTransitionTime": "2026-01-01T00:00:00Z" }));
    }
    let labels = json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": node });
    let object = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
        "metadata": { "labels": labels }, "status": { "conditions": conditions } });
    cluster.api.put(&Id::new("configurationstates", "ns", &format!("speaker-{node}")), object);
}

#[tokio::test(start_paused = true)]
async fn an_automatic_assignment_moves_away_and_a_named_one_stays() {
    let cluster = Cluster::with_pool("10.0.0.1-10.0.0.9");
    install(&cluster);
    let _one = Replica::start(&cluster, "one").await;
    cluster.service("auto");
    cluster.pass(3).await;
    cluster.service_with("named", json!({ "loadBalancerIP": "10.0.0.2" }));
    cluster.pass(3).await;
    assert_eq!((cluster.addresses("auto"), cluster.addresses("named")), (address(1), address(2)));
    tells(&cluster, "a", &["10.0.0.1 eth0 held 02:ff:00:00:00:01", "10.0.0.2 eth0 held 02:ff:00:00:00:01"]);
    cluster.pass(3).await;
    assert_eq!((cluster.addresses("auto"), cluster.addresses("named")), (address(3), address(2)));
    assert_eq!(cluster.reasons("auto"), ["IPAllocated", "ClearAssignment", "IPAllocated"]);
    assert!(cluster.events("auto")[1].1.contains("10.0.0.1 is of no use"), "{:?}", cluster.events("auto"));
    assert_eq!(cluster.reasons("named"), ["IPAllocated", "LoadBalancerFailed"]);
    // Nobody has it any more; for ten minutes nobody gets it all the same.
    tells(&cluster, "a", &[]);
    cluster.settle(300).await;
    cluster.service("early");
    cluster.settle(300).await;
    cluster.service("late");
    cluster.pass(3).await;
    assert_eq!((cluster.addresses("early"), cluster.addresses("late")), (address(4), address(1)));
    assert_eq!(cluster.addresses("auto"), address(3), "and nobody moves back");
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_what_is_still_told() {
    let cluster = Cluster::with_pool("10.0.0.1-10.0.0.9");
    install(&cluster);
    tells(&cluster, "a", &["10.0.0.1 eth0 held 02:ff:00:00:00:01"]);
    let one = Replica::start(&cluster, "one").await;
    cluster.pass(3).await;
    cluster.service("first");
    cluster.pass(3).await;
    assert_eq!(cluster.addresses("first"), address(2));
    one.stop().await;
    let _two = Replica::start(&cluster, "two").await;
    cluster.pass(3).await;
    cluster.service("second");
    cluster.pass(3).await;
    assert_eq!((cluster.addresses("first"), cluster.addresses("second")), (address(2), address(3)));
}

#[tokio::test(start_paused = true)]
async fn without_a_quarantine_nobody_moves() {
    let cluster = Cluster::with_pool("10.0.0.1-10.0.0.9");
    install(&cluster);
    let _one = Replica::start_with(&cluster, "one", |config| config.conflict_quarantine = Duration::ZERO).await;
    cluster.service("auto");
    cluster.pass(3).await;
    tells(&cluster, "a", &["10.0.0.1 eth0 held 02:ff:00:00:00:01"]);
    cluster.pass(30).await;
    assert_eq!(cluster.addresses("auto"), address(1));
}

fn address(last: u8) -> Vec<String> {
    vec![format!("10.0.0.{last}")]
}
