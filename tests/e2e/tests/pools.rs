//! Pools as custom resources: who they are for, how they change, and what is reported on them.

use herald_e2e::{Cluster, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Port, Result, Service, ensure, eventually};
use serde_json::{Value, json};

use crate::Journey;

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("pools_report_their_usage_and_the_state", reports),
    ("pools_are_kept_for_namespaces_and_services", kept_pools),
    ("pools_serve_the_own_class_alone", own_class),
    ("pools_shared_no_more_and_again", sharing_transitions),
    ("pools_gain_and_lose_a_family", dual_stack_transitions),
    ("pools_are_removed_renamed_and_shrunk", pool_changes),
    ("pools_with_a_mistake_stop_nobody", broken_pool),
];

const SECOND: &str = "e2e-second";

/// Without pools of the ConfigMap; pools and the second namespace are gone afterwards, however it ends.
fn with_pools(cluster: &Cluster, journey: impl FnOnce() -> Result<()>) -> Result<()> {
    cluster.configure_text("address-pools: []\n")?;
    let result = journey();
    let lab = cluster.lab();
    let ends = [
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "ipaddresspools", "--all"]),
        lab.kubectl(&["delete", "namespace", SECOND, "--ignore-not-found"]),
        lab.kubectl(&["label", "namespace", NAMESPACE, "team-"]),
    ];
    result?;
    ends.into_iter().try_for_each(|end| Ok(end.map(drop)?))
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    pool_with(name, addresses, json!({}))
}

fn pool_with(name: &str, addresses: &[&str], more: Value) -> Value {
    let mut spec = more;
    spec["addresses"] = json!(addresses);
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": HERALD_NAMESPACE}, "spec": spec,
    })
}

fn remove_pool(cluster: &Cluster, name: &str) -> Result<()> {
    Ok(cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "ipaddresspool", name]).map(drop)?)
}

fn object(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    Ok(cluster.lab().kubectl_json(&["-n", HERALD_NAMESPACE, "get", kind, name])?)
}

fn await_usage(cluster: &Cluster, name: &str, [v4, v6, free4, free6]: [i64; 4]) -> Result<()> {
    let wanted = json!({"assignedIPv4": v4, "assignedIPv6": v6, "availableIPv4": free4, "availableIPv6": free6});
    eventually(&format!("pool {name} to report {wanted}"), PATIENCE, || {
        let status = object(cluster, "ipaddresspool", name)?["status"].clone();
        Ok(if status == wanted { Ok(()) } else { Err(status.to_string()) })
    })
}

fn await_state(cluster: &Cluster, result: &str, text: &str) -> Result<Value> {
    eventually(&format!("the controller's ConfigurationState to be {result} with {text:?}"), PATIENCE, || {
        let list = cluster.lab().kubectl_json(&["-n", HERALD_NAMESPACE, "get", "configurationstates"])?;
        let mut items = list["items"].as_array().into_iter().flatten();
        let state = items.find(|item| item["metadata"]["name"] == "controller").cloned().unwrap_or_default();
        let summary = state["status"]["errorSummary"].as_str().unwrap_or_default();
        let right =
            state["status"]["result"] == result && summary.contains(text) && (summary.is_empty() == text.is_empty());
        Ok(if right { Ok(state) } else { Err(state["status"].to_string()) })
    })
}

/// Counters follow Services and pools and are put right; the state is there, and comes again.
fn reports(cluster: &Cluster) -> Result<()> {
    with_pools(cluster, || {
        cluster.apply(&[pool("usage", &["192.168.56.30-192.168.56.33", "fd56::40/126"])])?;
        cluster.serve(&Service::new("one", "none").with("ipFamilyPolicy", "PreferDualStack"))?;
        cluster.await_ips("one", &["192.168.56.30", "fd56::40"])?;
        await_usage(cluster, "usage", [1, 1, 3, 3])?;
        let shared = Service::new("two", "none").annotated("metallb.io/allow-shared-ip", "k");
        cluster.serve(&shared.clone().ports(&[Port::Tcp(80)]))?;
        let third = Service { name: "three".to_owned(), ..shared }.ports(&[Port::Tcp(81)]);
        cluster.serve(&third.with("loadBalancerIP", "192.168.56.31"))?;
        cluster.await_ips("three", &["192.168.56.31"])?;
        await_usage(cluster, "usage", [2, 1, 2, 3])?;
        let lab = cluster.lab();
        let edit = r#"{"status":{"assignedIPv4":77,"assignedIPv6":0,"availableIPv4":1,"availableIPv6":1}}"#;
        lab.kubectl(&[
            "-n",
            HERALD_NAMESPACE,
            "patch",
            "ipaddresspool",
            "usage",
            "--subresource=status",
            "--type=merge",
            "-p",
            edit,
        ])?;
        await_usage(cluster, "usage", [2, 1, 2, 3])?;
        cluster.apply(&[pool("usage", &["192.168.56.30-192.168.56.39", "fd56::40/126"])])?;
        await_usage(cluster, "usage", [2, 1, 8, 3])?;

        let state = await_state(cluster, "Valid", "")?;
        ensure!(
            state["metadata"]["labels"] == json!({"metallb.io/component-type": "controller"}),
            "the state has exactly its label: {}",
            state["metadata"]["labels"]
        );
        let args = ["-n", HERALD_NAMESPACE, "get", "configurationstate", "controller", "--show-managed-fields"];
        let fields = lab.kubectl_json(&args)?["metadata"]["managedFields"].clone();
        let applied = fields.as_array().into_iter().flatten();
        let applied = applied.filter(|it| it["manager"] == "poolReconciler" && it["subresource"] == "status").count();
        ensure!(applied == 1, "poolReconciler manages the state's status: {fields}");
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "configurationstate", "controller"])?;
        await_state(cluster, "Valid", "").map(drop)
    })
}

fn in_second(service: &Service) -> Value {
    let mut object = service.object();
    object["metadata"]["namespace"] = SECOND.into();
    object
}

fn await_second(cluster: &Cluster, name: &str, wanted: &str) -> Result<()> {
    eventually(&format!("service {SECOND}/{name} to have {wanted:?}"), PATIENCE, || {
        let service = cluster.lab().kubectl_json(&["-n", SECOND, "get", "service", name])?;
        let now = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().unwrap_or_default().to_owned();
        Ok(if now == wanted { Ok(()) } else { Err(now) })
    })
}

/// Priority, namespaces by name and by label, Services by label; the next pool when the better one is full; labels are followed.
fn kept_pools(cluster: &Cluster) -> Result<()> {
    let allocation = |more: Value| json!({"serviceAllocation": more});
    with_pools(cluster, || {
        cluster.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SECOND, "labels": {"team": "second"}}}),
            pool_with("ten", &["192.168.56.30/32"], allocation(json!({"priority": 10, "namespaces": [NAMESPACE]}))),
            pool_with("twenty", &["192.168.56.31/32"], allocation(json!({"priority": 20, "namespaces": [NAMESPACE]}))),
            pool_with(
                "team",
                &["192.168.56.32/32"],
                allocation(json!({"priority": 5, "namespaceSelectors": [{"matchLabels": {"team": "second"}}]})),
            ),
            pool_with(
                "gold",
                &["192.168.56.33-192.168.56.34"],
                allocation(json!({"priority": 1, "serviceSelectors": [{"matchLabels": {"tier": "gold"}}]})),
            ),
            pool_with("shy", &["192.168.56.35/32"], json!({"autoAssign": false})),
            pool("open", &["192.168.56.36-192.168.56.39"]),
        ])?;
        for (name, address) in [("one", "192.168.56.30"), ("two", "192.168.56.31"), ("three", "192.168.56.36")] {
            cluster.serve(&Service::new(name, "none"))?;
            cluster.await_ips(name, &[address])?;
        }
        let lab = cluster.lab();
        cluster.apply(&[in_second(&Service::new("one", "none"))])?;
        await_second(cluster, "one", "192.168.56.32")?;
        let mut gold = Service::new("gold", "none").object();
        gold["metadata"]["labels"] = json!({"tier": "gold"});
        cluster.apply(&[gold])?;
        cluster.await_ips("gold", &["192.168.56.33"])?;
        // Named, and still only for whom it is.
        cluster.serve(&Service::new("not-gold", "none").annotated("metallb.io/address-pool", "gold"))?;
        let event = cluster.await_event("not-gold", "AllocationFailed")?;
        ensure!(event["message"].to_string().contains("pool gold is not for this Service"), "{event}");
        cluster.serve(&Service::new("asks", "none").annotated("metallb.io/address-pool", "shy"))?;
        cluster.await_ips("asks", &["192.168.56.35"])?;
        // Labels of the namespace and of a Service change.
        lab.kubectl(&["label", "namespace", SECOND, "team-"])?;
        await_second(cluster, "one", "192.168.56.37")?;
        lab.kubectl(&["-n", NAMESPACE, "label", "service", "gold", "tier-"])?;
        cluster.await_ips("gold", &["192.168.56.38"])?;
        lab.kubectl(&["-n", NAMESPACE, "label", "service", "not-gold", "tier=gold"])?;
        cluster.await_ips("not-gold", &["192.168.56.33"])
    })
}

/// With a class of its own Herald serves that class alone, and gets the address back when the Service leaves type LoadBalancer.
fn own_class(cluster: &Cluster) -> Result<()> {
    with_pools(cluster, || {
        cluster.install(&["loadBalancerClass=example.com/herald"])?;
        cluster.apply(&[pool("one", &["192.168.56.30/32"])])?;
        cluster.serve(&Service::new("none", "none"))?;
        let classy = |name| Service::new(name, "none").with("loadBalancerClass", "example.com/herald");
        cluster.serve(&classy("ours"))?;
        cluster.await_ips("ours", &["192.168.56.30"])?;
        cluster.serve(&classy("next"))?;
        cluster.await_event("next", "AllocationFailed")?;
        let patch = r#"{"spec":{"type":"ClusterIP","loadBalancerClass":null}}"#;
        cluster.lab().kubectl(&["-n", NAMESPACE, "patch", "service", "ours", "--type=merge", "-p", patch])?;
        cluster.await_ips("next", &["192.168.56.30"])?;
        ensure!(cluster.current_ips("none")?.is_empty(), "a service without class is not served by a class of its own");
        Ok(())
    })
}

/// Who becomes incompatible leaves though it is the older one, the other keeps; compatible again, both have it.
fn sharing_transitions(cluster: &Cluster) -> Result<()> {
    with_pools(cluster, || {
        cluster.apply(&[pool("shared", &["192.168.56.30-192.168.56.31"])])?;
        let service = |name: &str, key: &str, port| {
            Service::new(name, "none")
                .annotated("metallb.io/allow-shared-ip", key)
                .ports(&[Port::Tcp(port)])
                .with("loadBalancerIP", "192.168.56.30")
        };
        for (name, port) in [("older", 80), ("younger", 81)] {
            cluster.serve(&service(name, "k", port))?;
            cluster.await_ips(name, &["192.168.56.30"])?;
        }
        for incompatible in [
            service("older", "other", 80),
            service("older", "k", 81),
            service("older", "k", 80).with("externalTrafficPolicy", "Local"),
        ] {
            cluster.serve(&incompatible)?;
            cluster.await_ips("older", &[])?;
            ensure!(cluster.current_ips("younger")?.len() == 1, "the one that did not change keeps its address");
            cluster.serve(&service("older", "k", 80).with("externalTrafficPolicy", "Cluster"))?;
            cluster.await_ips("older", &["192.168.56.30"])?;
            cluster.await_ips("younger", &["192.168.56.30"])?;
        }
        Ok(())
    })
}

/// Prefer and Require as pools gain and lose families.
fn dual_stack_transitions(cluster: &Cluster) -> Result<()> {
    let policy = |policy: &str| Service::new("dual", "none").with("ipFamilyPolicy", policy);
    with_pools(cluster, || {
        cluster.apply(&[pool("a", &["192.168.56.30/32"])])?;
        cluster.serve(&policy("PreferDualStack"))?;
        cluster.await_ips("dual", &["192.168.56.30"])?;
        cluster.await_event("dual", "AdditionalAssignFailed")?;
        cluster.serve(&policy("RequireDualStack"))?;
        cluster.await_ips("dual", &[])?;
        cluster.serve(&policy("PreferDualStack"))?;
        cluster.await_ips("dual", &["192.168.56.30"])?;
        // The pool gains the other family: added at the end. A pool with both that appears moves nobody.
        cluster.apply(&[pool("b", &["192.168.56.31/32", "fd56::51/128"])])?;
        cluster.apply(&[pool("a", &["192.168.56.30/32", "fd56::50/128"])])?;
        cluster.await_ips("dual", &["192.168.56.30", "fd56::50"])?;
        // It loses one: the Service moves to the pool that has both.
        cluster.apply(&[pool("a", &["fd56::50/128"])])?;
        cluster.await_ips("dual", &["192.168.56.31", "fd56::51"])?;
        cluster.serve(&policy("RequireDualStack"))?;
        remove_pool(cluster, "b")?;
        cluster.await_ips("dual", &[])?;
        cluster.apply(&[pool("a", &["192.168.56.30/32", "fd56::50/128"])])?;
        cluster.await_ips("dual", &["192.168.56.30", "fd56::50"])
    })
}

/// Renamed and split: addresses stay. Shrunk and removed: moved to another pool, or emptied.
fn pool_changes(cluster: &Cluster) -> Result<()> {
    with_pools(cluster, || {
        cluster.apply(&[pool("old", &["192.168.56.30-192.168.56.33"])])?;
        for (name, address) in [("one", "192.168.56.30"), ("two", "192.168.56.31")] {
            cluster.serve(&Service::new(name, "none"))?;
            cluster.await_ips(name, &[address])?;
        }
        // Without a pool both are emptied; the oldest comes first when there are pools again.
        remove_pool(cluster, "old")?;
        cluster.await_ips("one", &[])?;
        cluster.apply(&[pool("low", &["192.168.56.30/32"]), pool("new", &["192.168.56.31-192.168.56.33"])])?;
        cluster.await_ips("one", &["192.168.56.30"])?;
        cluster.await_ips("two", &["192.168.56.31"])?;
        cluster.apply(&[pool("new", &["192.168.56.32-192.168.56.33"])])?;
        cluster.await_ips("two", &["192.168.56.32"])?;
        remove_pool(cluster, "low")?;
        cluster.await_ips("one", &["192.168.56.33"])?;
        cluster.apply(&[pool("new", &["192.168.56.33/32"])])?;
        cluster.await_ips("two", &[])?;
        cluster.await_ips("one", &["192.168.56.33"])?;
        remove_pool(cluster, "new")?;
        cluster.await_ips("one", &[])?;
        let service = cluster.lab().kubectl_json(&["-n", NAMESPACE, "get", "service", "one"])?;
        let annotation = &service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"];
        ensure!(annotation.is_null(), "the annotation goes with the address, not {annotation}");
        Ok(())
    })
}

/// A pool that overlaps with another one is told about and left out; everything else goes on; it recovers.
fn broken_pool(cluster: &Cluster) -> Result<()> {
    // It would not let the pool in.
    cluster.install(&["controller.webhookMode=disabled"])?;
    with_pools(cluster, || {
        cluster.apply(&[pool("good", &["192.168.56.30-192.168.56.31"])])?;
        cluster.serve(&Service::new("one", "none"))?;
        cluster.await_ips("one", &["192.168.56.30"])?;
        cluster.apply(&[pool("clash", &["192.168.56.31-192.168.56.39"])])?;
        await_state(cluster, "Invalid", "overlaps with already defined CIDR")?;
        let event = cluster.await_event_in(HERALD_NAMESPACE, "IPAddressPool", "clash", "InvalidConfiguration")?;
        ensure!(event["type"] == "Warning", "{event}");
        cluster.serve(&Service::new("two", "none"))?;
        cluster.await_ips("two", &["192.168.56.31"])?;
        cluster.apply(&[pool("clash", &["192.168.56.32-192.168.56.39"])])?;
        await_state(cluster, "Valid", "")?;
        cluster.serve(&Service::new("three", "none"))?;
        cluster.await_ips("three", &["192.168.56.32"])
    })
}
