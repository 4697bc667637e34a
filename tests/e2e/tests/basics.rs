//! The classic lab's journey, and that the plain manifests install.

use herald_e2e::{Cluster, Deployment, NAMESPACE, Result, Service, ensure};

use crate::{Journey, lan, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("classic_lab", classic_lab),
    ("plain_manifests_install", plain_manifests_install),
    ("events_have_times", events_have_times),
];

/// The first Service gets .11, the second .12, a fourth waits for a free one; each is answered by one node and by all its pods.
fn classic_lab(cluster: &Cluster) -> Result<()> {
    let hname = cluster.expose("lb-hname", 3)?;
    ensure!(hname == [lan(11)], "the first service has 192.168.56.11, not {hname:?}");
    let ip_pods = cluster.expose("lb-ip", 3)?;
    ensure!(ip_pods == [lan(12)], "the second service has 192.168.56.12, not {ip_pods:?}");
    for (name, address) in [("lb-hname", lan(11)), ("lb-ip", lan(12))] {
        let announcer = cluster.announcer(address)?;
        cluster.answering_pods(address, 3)?;
        cluster.await_only_pods(address, name)?;
        let event = cluster.await_event(name, "nodeAssigned")?;
        let message = event["message"].as_str().unwrap_or_default();
        ensure!(
            message.contains(&announcer.to_string()),
            "nodeAssigned of {name} names {announcer}, who answers; it says {message:?}"
        );
    }

    // Scaled: the new pods answer as well.
    cluster.deploy(&Deployment::new("lb-hname", 6))?;
    cluster.answering_pods(lan(11), 6)?;

    // The pool has three addresses: the fourth Service says that it waits, and gets the first one that is freed.
    cluster.serve(&Service::new("third", "lb-hname"))?;
    cluster.await_ips("third", &["192.168.56.13"])?;
    cluster.serve(&Service::new("fourth", "lb-hname"))?;
    cluster.await_event("fourth", "AllocationFailed")?;
    ensure!(cluster.current_ips("fourth")?.is_empty(), "the fourth service has no address while the pool is exhausted");
    cluster.delete_service("lb-ip")?;
    cluster.await_ips("fourth", &["192.168.56.12"])?;
    cluster.await_only_pods(lan(12), "lb-hname")?;

    // A deleted Service is answered by nobody.
    cluster.delete_service("third")?;
    cluster.await_silence(lan(13))
}

/// What `kubectl apply -f config/herald.yaml` sends is accepted by a real API server, object by object.
fn plain_manifests_install(cluster: &Cluster) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/herald.yaml");
    // Its namespace exists here; the chart's objects of the same names belong to helm, which a dry run does not change.
    let args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", path, "-o", "name"];
    let accepted = cluster.lab().kubectl(&args)?;
    for kind in ["deployment.apps/", "daemonset.apps/", "clusterrole.rbac", "serviceaccount/"] {
        ensure!(accepted.contains(kind), "config/herald.yaml has a {kind}; accepted were:\n{accepted}");
    }
    Ok(())
}

/// `kubectl get events --sort-by=.lastTimestamp` and alerting tools need times; an event without is sorted first forever.
fn events_have_times(cluster: &Cluster) -> Result<()> {
    cluster.expose("timed", 1)?;
    for reason in ["IPAllocated", "nodeAssigned"] {
        let event = cluster.await_event("timed", reason)?;
        for field in ["firstTimestamp", "lastTimestamp"] {
            event[field].as_str().ok_or_else(|| missing(&format!("{field} of event {reason}")))?;
        }
        ensure!(event["type"] == "Normal", "{reason} is of type Normal: {event}");
        ensure!(event["metadata"]["namespace"] == NAMESPACE, "{reason} is in the service's namespace: {event}");
    }
    Ok(())
}
