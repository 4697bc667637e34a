//! L2Advertisements: who announces what and where, and what the speakers report about it.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use herald_e2e::{Cluster, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::{Host, Lan};
use serde_json::{Value, json};

use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("announcing_of_chosen_pools", choose_pools),
    ("announcing_from_chosen_nodes", choose_nodes),
    ("announcing_of_chosen_services", choose_services),
    ("announcing_from_preferred_nodes", preferred_nodes),
    ("announcing_on_chosen_interfaces", choose_interfaces),
    ("announcing_is_reported_through_fail_over", status_through_fail_over),
    ("announcing_nodes_report_the_configuration", configuration_states),
    ("announcing_leaves_excluded_interfaces_out", excluded_interfaces),
];

/// Between two questions by kubectl.
const PAUSE: Duration = Duration::from_millis(150);
/// Label of Services and nodes in these tests.
const LABEL: &str = "e2e-advertise";

fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind,
        "metadata": {"name": name, "namespace": HERALD_NAMESPACE, "labels": labels}, "spec": spec,
    })
}

/// `kubectl apply` keeps fields that an earlier version of the object had only where the new one has them, too.
fn advertise(cluster: &Cluster, name: &str, spec: Value) -> Result<()> {
    cluster.apply(&[object("L2Advertisement", name, json!({}), spec)])
}

fn selector(value: &str) -> Value {
    json!([{"matchLabels": {LABEL: value}}])
}

fn nodes(hosts: &[Host]) -> Value {
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}])
}

fn label(cluster: &Cluster, target: &[&str], value: Option<&str>) -> Result<()> {
    let assignment = value.map_or_else(|| format!("{LABEL}-"), |value| format!("{LABEL}={value}"));
    let args = [&["label", "--overwrite"], target, &[&*assignment]].concat();
    Ok(cluster.lab().kubectl(&args).map(drop)?)
}

fn label_node(cluster: &Cluster, host: Host, value: Option<&str>) -> Result<()> {
    label(cluster, &["node", &host.to_string()], value)
}

fn label_service(cluster: &Cluster, name: &str, value: Option<&str>) -> Result<()> {
    label(cluster, &["-n", NAMESPACE, "service", name], value)
}

/// Pool 192.168.56.21 to .29 as an object, none of the ConfigMap, no advertisement; all of it is gone afterwards, however it ends.
fn with_pool(cluster: &Cluster, journey: impl FnOnce() -> Result<()>) -> Result<()> {
    cluster.configure_text("address-pools: []\n")?;
    let pool = json!({"addresses": ["192.168.56.21-192.168.56.29"]});
    cluster.apply(&[object("IPAddressPool", "advertised", json!({LABEL: "yes"}), pool)])?;
    let result = journey();
    let lab = cluster.lab();
    let ends = [
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "l2advertisements,ipaddresspools,bgppeers", "--all"]),
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "configmap", "metallb-excludel2", "--ignore-not-found"]),
        lab.kubectl(&["label", "nodes", "--all", &format!("{LABEL}-")]),
    ];
    result?;
    ends.into_iter().try_for_each(|end| Ok(end.map(drop)?))
}

/// A pool without advertisement is allocate-only; pools are chosen by name and by label.
fn choose_pools(cluster: &Cluster) -> Result<()> {
    with_pool(cluster, || {
        cluster.expose("pooled", 1)?;
        cluster.await_ips("pooled", &["192.168.56.21"])?;
        cluster.await_silence(lan(21))?;
        for spec in [
            json!({"ipAddressPools": ["advertised"]}),
            json!({"ipAddressPoolSelectors": selector("yes")}),
            json!({"ipAddressPools": ["nosuch"], "ipAddressPoolSelectors": selector("yes")}),
            json!({}),
        ] {
            advertise(cluster, "l2", spec)?;
            cluster.announcer(lan(21))?;
            advertise(cluster, "l2", json!({"ipAddressPools": ["nosuch"]}))?;
            cluster.await_silence(lan(21))?;
        }
        advertise(cluster, "l2", json!({"ipAddressPoolSelectors": selector("yes")}))?;
        cluster.announcer(lan(21))?;
        label(cluster, &["-n", HERALD_NAMESPACE, "ipaddresspool", "advertised"], Some("no"))?;
        cluster.await_silence(lan(21))
    })
}

/// Node selectors are a filter; several advertisements add up; labels of nodes are followed.
fn choose_nodes(cluster: &Cluster) -> Result<()> {
    let workers = [Host::Worker(1), Host::Worker(2), Host::Worker(3)];
    with_pool(cluster, || {
        cluster.expose("chosen", 1)?;
        for host in workers {
            advertise(cluster, "l2", json!({"nodeSelectors": nodes(&[host])}))?;
            cluster.await_announcer(lan(21), host)?;
        }
        advertise(cluster, "l2", json!({"nodeSelectors": selector("here")}))?;
        cluster.await_silence(lan(21))?;
        for host in workers {
            label_node(cluster, host, Some("here"))?;
            cluster.await_announcer(lan(21), host)?;
            label_node(cluster, host, None)?;
        }
        cluster.await_silence(lan(21))?;
        // Of the union of both the one that comes first announces, and the other one when it is off.
        advertise(cluster, "l2", json!({"nodeSelectors": nodes(&[workers[0]])}))?;
        advertise(cluster, "more", json!({"nodeSelectors": nodes(&[workers[1]])}))?;
        let first = first_of(cluster, [workers[0], workers[1]])?;
        cluster.await_announcer(lan(21), first)?;
        cluster.lab().power_off(first)?;
        let second = if first == workers[0] { workers[1] } else { workers[0] };
        cluster.await_announcer(lan(21), second)?;
        cluster.lab().power_on(first)?;
        cluster.await_announcer(lan(21), first)
    })
}

/// Who comes first of the two, once every worker knows that both may announce: a speaker that has seen one of two advertisements gives the
/// address to the one node that it names.
fn first_of(cluster: &Cluster, both: [Host; 2]) -> Result<Host> {
    let workers = cluster.lab().workers();
    eventually(&format!("every worker to choose from {both:?}"), PATIENCE, || {
        let mut verdicts = BTreeSet::new();
        for host in &workers {
            let state = cluster.speaker_state(*host)?;
            verdicts.insert(state["groups"][0]["links"][Lan::First.interface()].to_string());
        }
        let verdict: Value = verdicts.first().and_then(|verdict| verdict.parse().ok()).unwrap_or_default();
        let chosen = both.into_iter().find(|first| {
            let others = both.iter().filter(|other| *other != first);
            let others: Vec<String> = others.map(ToString::to_string).collect();
            verdict["owner"] == first.to_string() && verdict["others"] == json!(others)
        });
        Ok(chosen.filter(|_| verdicts.len() == 1).ok_or_else(|| format!("{verdicts:?}")))
    })
}

/// Services are chosen by label, which is followed; with sharing one that is not chosen silences nobody.
fn choose_services(cluster: &Cluster) -> Result<()> {
    const SHARE: &str = "metallb.io/allow-shared-ip";
    with_pool(cluster, || {
        cluster.expose("labelled", 1)?;
        advertise(cluster, "l2", json!({"serviceSelectors": selector("yes")}))?;
        cluster.await_silence(lan(21))?;
        label_service(cluster, "labelled", Some("yes"))?;
        cluster.announcer(lan(21))?;
        cluster.answering_pods(lan(21), 1)?;
        label_service(cluster, "labelled", Some("no"))?;
        cluster.await_silence(lan(21))?;

        let shared = |name: &str, port| {
            Service::new(name, "labelled").ports(&[herald_e2e::Port::Tcp(port)]).annotated(SHARE, "key")
        };
        let address = |service: Service| service.with("loadBalancerIP", "192.168.56.25");
        cluster.serve(&address(shared("share-a", 80)))?;
        cluster.serve(&address(shared("share-b", 8080)))?;
        cluster.await_ips("share-a", &["192.168.56.25"])?;
        cluster.await_ips("share-b", &["192.168.56.25"])?;
        cluster.await_silence(lan(25))?;
        label_service(cluster, "share-a", Some("yes"))?;
        cluster.announcer(lan(25))?;
        await_status(cluster, "share-a", |_| true)?;
        await_no_status(cluster, "share-b")?;
        label_service(cluster, "share-b", Some("yes"))?;
        await_status(cluster, "share-b", |_| true)?;
        Ok(())
    })
}

/// A preferred node announces whatever the rank; when it is off another one does; labels are followed.
fn preferred_nodes(cluster: &Cluster) -> Result<()> {
    let workers = [Host::Worker(1), Host::Worker(2), Host::Worker(3)];
    with_pool(cluster, || {
        cluster.expose("preferred", 1)?;
        let prefer = json!({"weight": 10, "preference": {"matchLabels": {LABEL: "first"}}});
        advertise(cluster, "l2", json!({"preferredNodeSelectors": [prefer]}))?;
        let ranked = cluster.announcer(lan(21))?;
        for host in workers {
            label_node(cluster, host, Some("first"))?;
            cluster.await_announcer(lan(21), host)?;
            label_node(cluster, host, None)?;
        }
        cluster.await_announcer(lan(21), ranked)?;
        // Weights of several advertisements add up: 6 + 6 of one node against 10 of another.
        let by_name = |host: Host, weight: u32| json!({"preferredNodeSelectors": [{"weight": weight, "preference": nodes(&[host])[0]}]});
        advertise(cluster, "l2", by_name(workers[0], 10))?;
        cluster.await_announcer(lan(21), workers[0])?;
        advertise(cluster, "more", by_name(workers[1], 6))?;
        advertise(cluster, "even-more", by_name(workers[1], 6))?;
        cluster.await_announcer(lan(21), workers[1])?;
        cluster.lab().power_off(workers[1])?;
        cluster.await_announcer(lan(21), workers[0])?;
        cluster.lab().power_on(workers[1])?;
        cluster.await_announcer(lan(21), workers[1])
    })
}

/// An interface that nobody has is an event and silence; one that a single node has makes that node the announcer.
fn choose_interfaces(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    let only = Host::Worker(2);
    let ip = |args: &[&str]| -> Result<()> {
        let argv = [&["ip"], args].concat();
        let done = lab.net_command(only, &argv)?.output().map_err(herald_e2e::Error::io("ip"))?;
        ensure!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    let result = with_pool(cluster, || {
        cluster.expose("limited", 1)?;
        advertise(cluster, "l2", json!({"interfaces": ["nic7"]}))?;
        let event = cluster.await_event("limited", "announceFailed")?;
        ensure!(event["type"] == "Warning", "a warning: {event}");
        cluster.await_silence(lan(21))?;
        await_no_status(cluster, "limited")?;

        advertise(cluster, "l2", json!({"interfaces": [Lan::First.interface()]}))?;
        let announcer = cluster.announcer(lan(21))?;
        await_status(cluster, "limited", |status| {
            status["node"] == announcer.to_string() && status["interfaces"] == json!([{"name": Lan::First.interface()}])
        })?;
        advertise(cluster, "all", json!({}))?;
        await_status(cluster, "limited", |status| status["interfaces"].is_null())?;
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "l2advertisement", "all"])?;

        advertise(cluster, "l2", json!({"interfaces": ["nic7"]}))?;
        cluster.await_silence(lan(21))?;
        ip(&["link", "add", "link", Lan::First.interface(), "name", "nic7", "type", "macvlan", "mode", "bridge"])?;
        ip(&["link", "set", "nic7", "up"])?;
        await_status(cluster, "limited", |status| {
            status["node"] == only.to_string() && status["interfaces"] == json!([{"name": "nic7"}])
        })?;
        cluster.answering_pods(lan(21), 1).map(drop)
    });
    let removed = if result.is_ok() { ip(&["link", "del", "nic7"]) } else { Ok(_ = ip(&["link", "del", "nic7"])) };
    result.and(removed)
}

/// One object per announced Service, of the node that announces it; it moves with the address and goes with the Service.
fn status_through_fail_over(cluster: &Cluster) -> Result<()> {
    cluster.expose("moved", 1)?;
    let first = cluster.announcer(lan(11))?;
    let status = await_status(cluster, "moved", |status| status["node"] == first.to_string())?;
    let labels = &status["metadata"]["labels"];
    ensure!(
        labels["metallb.io/node"] == first.to_string()
            && labels["metallb.io/service-name"] == "moved"
            && labels["metallb.io/service-namespace"] == NAMESPACE,
        "the labels that tools look for: {labels}"
    );
    ensure!(status["status"]["interfaces"].is_null(), "no interfaces where all are meant: {status}");

    // Nothing is written while nothing changes.
    let version = |status: &Value| status["metadata"]["resourceVersion"].clone();
    sleep(Duration::from_secs(5));
    let later = await_status(cluster, "moved", |_| true)?;
    ensure!(version(&later) == version(&status), "written though nothing changed: {later}");

    let name = status["metadata"]["name"].as_str().unwrap_or_default();
    cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "servicel2status", name])?;
    await_status(cluster, "moved", |status| status["node"] == first.to_string())?;

    cluster.lab().power_off(first)?;
    let second = cluster.announcer(lan(11))?;
    ensure!(second != first, "{first} is off");
    await_status(cluster, "moved", |status| status["node"] == second.to_string())?;
    cluster.lab().power_on(first)?;
    cluster.await_announcer(lan(11), first)?;
    await_status(cluster, "moved", |status| status["node"] == first.to_string())?;

    cluster.delete_service("moved")?;
    await_no_status(cluster, "moved")
}

/// A ConfigurationState of each speaker: valid, invalid with the reason, only where it matters, and made again when it is deleted.
fn configuration_states(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    let get = |host: Host| -> Result<Value> {
        let name = format!("configurationstate/speaker-{host}");
        Ok(lab.kubectl_json(&["-n", HERALD_NAMESPACE, "get", &name, "--show-managed-fields"])?)
    };
    let states = |wanted: &dyn Fn(Host) -> bool| {
        eventually("every speaker to report what it should", PATIENCE, || {
            let mut wrong = Vec::new();
            for host in lab.nodes() {
                let status = match get(host) {
                    Ok(state) => state["status"].clone(),
                    Err(error) => Value::from(error.to_string()),
                };
                let expected = if wanted(host) { "Valid" } else { "Invalid" };
                if status["result"] != expected {
                    wrong.push(format!("{host}: {status}"));
                }
            }
            sleep(PAUSE);
            Ok(if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) })
        })
    };
    states(&|_| true)?;
    let one = Host::Worker(1);
    let state = get(one)?;
    let labels = json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": one.to_string()});
    ensure!(state["metadata"]["labels"] == labels, "these labels and no others: {}", state["metadata"]);
    let mut managers = state["metadata"]["managedFields"].as_array().into_iter().flatten();
    ensure!(
        managers.any(|entry| entry["manager"] == "configReconciler" && entry["subresource"] == "status"),
        "the manager that tools look for: {}",
        state["metadata"]["managedFields"]
    );

    with_pool(cluster, || {
        let spec = json!({
            "myASN": 64512, "peerASN": 64512, "peerAddress": "192.0.2.1", "bfdProfile": "nosuch",
            "nodeSelectors": nodes(&[one]),
        });
        let peer = json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
            "metadata": {"name": "peer1", "namespace": HERALD_NAMESPACE}, "spec": spec,
        });
        cluster.apply(&[peer])?;
        states(&|host| host != one)?;
        let summary = get(one)?["status"]["errorSummary"].clone();
        ensure!(
            summary == "configuration error: peer peer1 referencing non existing bfd profile nosuch",
            "MetalLB's words: {summary}"
        );
        Ok(())
    })?;
    states(&|_| true)?;
    lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "configurationstate", &format!("speaker-{one}")])?;
    states(&|_| true)
}

/// MetalLB's exclude list takes links out of use and gives them back, without a restart.
fn excluded_interfaces(cluster: &Cluster) -> Result<()> {
    with_pool(cluster, || {
        advertise(cluster, "l2", json!({}))?;
        cluster.expose("excluded", 1)?;
        let announcer = cluster.announcer(lan(21))?;
        let list = |pattern: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "metallb-excludel2", "namespace": HERALD_NAMESPACE},
                "data": {"excludel2.yaml": format!("announcedInterfacesToExclude: ['{pattern}']\n")},
            })
        };
        cluster.apply(&[list("^eth[0-9]$")])?;
        cluster.await_silence(lan(21))?;
        cluster.apply(&[list("^veth.*")])?;
        cluster.await_announcer(lan(21), announcer)?;
        cluster.apply(&[list("^eth[0-9]$")])?;
        cluster.await_silence(lan(21))?;
        cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "configmap", "metallb-excludel2"])?;
        cluster.await_announcer(lan(21), announcer)
    })
}

fn statuses(cluster: &Cluster, service: &str) -> Result<Vec<Value>> {
    let selector = format!("metallb.io/service-name={service},metallb.io/service-namespace={NAMESPACE}");
    let list = cluster.lab().kubectl_json(&["-n", HERALD_NAMESPACE, "get", "servicel2statuses", "-l", &selector])?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Waits until there is exactly one report about a Service, and it is right.
fn await_status(cluster: &Cluster, service: &str, right: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(&format!("one right ServiceL2Status of {service}"), PATIENCE, || {
        let found = statuses(cluster, service)?;
        sleep(PAUSE);
        Ok(match found.as_slice() {
            [one] if !one["status"]["node"].is_null() && right(&one["status"]) => Ok(one.clone()),
            _ => Err(found.iter().map(|status| status["status"].to_string()).collect::<Vec<_>>().join(", ")),
        })
    })
}

fn await_no_status(cluster: &Cluster, service: &str) -> Result<()> {
    eventually(&format!("no ServiceL2Status of {service}"), PATIENCE, || {
        let found = statuses(cluster, service)?;
        sleep(PAUSE);
        Ok(if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) })
    })
}
