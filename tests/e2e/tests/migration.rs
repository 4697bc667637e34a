//! Coming from MetalLB, and from one version of Herald to the next: every Service keeps its address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use herald_api::import;
use herald_e2e::{
    Cluster, Deployment, HERALD_NAMESPACE, HttpLoop, NAMESPACE, PATIENCE, Probe, Result, Service, ensure, eventually,
};
use serde_json::{Value, json};

use crate::restarts::until_lossless;
use crate::{Journey, lan, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("migration_from_metallb_with_its_definitions", from_metallb),
    ("migration_when_the_definitions_go_with_metallb", definitions_go),
    ("migration_of_a_config_map_by_import", imported),
    ("upgrade_of_herald_over_running_services", upgrade),
    ("restart_of_everything_while_the_configuration_is_wrong", restart_while_wrong),
];

const DEFINITIONS: &str = include_str!("../fixtures/metallb-definitions.yaml");
/// MetalLB's speakers have the node's ports 7946, 9120 and 17472: see docs/migration.md.
const BESIDE: [&str; 6] =
    ["--set", "speaker.healthPort=17473", "--set", "speaker.metricsPort=9121", "--set", "speaker.hello.port=7947"];
/// Service, address, and the prefix of the annotation that MetalLB left: the last one was allocated by 0.13 or older.
const HELD: [(&str, &str, &str); 3] = [
    ("one", "192.168.56.32", "metallb.io"),
    ("two", "192.168.56.30", "metallb.io"),
    ("three", "192.168.56.41", "metallb.universe.tf"),
];

/// A cluster that runs MetalLB: its definitions, the user's objects, Services with addresses, and pods that are labelled as MetalLB's.
fn with_metallb(cluster: &Cluster, journey: impl FnOnce() -> Result<()>) -> Result<()> {
    let result = metallb(cluster).and_then(|()| journey());
    let lab = cluster.lab();
    let ends = [
        lab.kubectl(&[
            "-n",
            HERALD_NAMESPACE,
            "delete",
            "deployment",
            "controller",
            "--ignore-not-found",
            "--wait=true",
        ]),
        uninstall(cluster),
        remove_definitions(cluster),
    ];
    // Something else than what ran before, so that the next journey installs anew.
    let again = cluster.install(&["controller.logLevel=debug"]);
    result?;
    for end in ends {
        end?;
    }
    again
}

fn uninstall(cluster: &Cluster) -> std::result::Result<String, herald_lab::Error> {
    cluster.lab().helm(&["uninstall", "herald", "--namespace", HERALD_NAMESPACE, "--wait", "--ignore-not-found"])
}

fn remove_definitions(cluster: &Cluster) -> std::result::Result<String, herald_lab::Error> {
    let plurals = [
        "ipaddresspools",
        "l2advertisements",
        "bgpadvertisements",
        "bgppeers",
        "bfdprofiles",
        "communities",
        "servicel2statuses",
        "servicebgpstatuses",
        "configurationstates",
    ]
    .map(|plural| format!("{plural}.metallb.io"));
    let mut args = vec!["delete", "customresourcedefinitions", "--ignore-not-found", "--wait=true", "--timeout=60s"];
    args.extend(plurals.iter().map(String::as_str));
    cluster.lab().kubectl(&args)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind,
        "metadata": {"name": name, "namespace": HERALD_NAMESPACE}, "spec": spec,
    })
}

fn metallb(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    uninstall(cluster)?;
    lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "configmap", "config", "--ignore-not-found"])?;
    remove_definitions(cluster)?;
    // MetalLB's resources have a field manager of their own: `kubectl apply` is helm here.
    lab.kubectl_apply(DEFINITIONS)?;
    lab.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=60s"])?;
    cluster.apply(&[
        object("IPAddressPool", "lan", json!({"addresses": ["192.168.56.30-192.168.56.39"]})),
        object("IPAddressPool", "second", json!({"addresses": ["192.168.56.40/30"], "autoAssign": false})),
        object("L2Advertisement", "lan", json!({"ipAddressPools": ["lan", "second"]})),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "controller", "namespace": HERALD_NAMESPACE, "labels": {"app": "metallb"}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "metallb", "component": "controller"}},
                "template": {
                    "metadata": {"labels": {"app": "metallb", "component": "controller"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{"name": "controller", "image": "herald-lab/echo:1"}],
                    },
                },
            },
        }),
    ])?;
    cluster.deploy(&Deployment::new("steady", 3))?;
    for (name, address, prefix) in HELD {
        cluster.serve(&Service::new(name, "steady"))?;
        let pool = if name == "three" { "second" } else { "lan" };
        let patch = json!({
            "metadata": {"annotations": {format!("{prefix}/ip-allocated-from-pool"): pool}},
            "status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}},
        })
        .to_string();
        // As MetalLB's controller writes: an update of the status by the manager "controller".
        let mut args = vec!["-n", NAMESPACE, "patch", "service", name, "--subresource=status", "--type=merge"];
        args.extend(["--field-manager=controller", "-p", &patch]);
        lab.kubectl(&args)?;
    }
    lab.kubectl(&["-n", HERALD_NAMESPACE, "rollout", "status", "deployment/controller", "--timeout=120s"])?;
    Ok(())
}

/// `helm install` beside MetalLB, without waiting: its pods are not ready while they stand by.
fn install_beside(cluster: &Cluster) -> Result<()> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/herald");
    let mut args = vec!["install", "herald", chart, "--namespace", HERALD_NAMESPACE];
    args.extend(BESIDE);
    cluster.lab().helm(&args)?;
    eventually("the controller to say that it stands by", PATIENCE, || {
        let args = ["-n", HERALD_NAMESPACE, "logs", "-l", "component=controller,app.kubernetes.io/name=herald"];
        let log = cluster.lab().kubectl(&args).unwrap_or_else(|error| error.to_string());
        thread::sleep(Duration::from_millis(500));
        Ok(if log.contains("MetalLB runs in this cluster: Herald stands by") { Ok(()) } else { Err(log) })
    })?;
    eventually("a running speaker on every node", PATIENCE, || {
        let selector = "component=speaker,app.kubernetes.io/name=herald";
        let args = ["-n", HERALD_NAMESPACE, "get", "pods", "-l", selector];
        let list = cluster.lab().kubectl_json(&args)?;
        let pods = list["items"].as_array().into_iter().flatten();
        let running = pods.filter(|pod| pod["status"]["phase"] == "Running").count();
        thread::sleep(Duration::from_millis(500));
        Ok(if running == cluster.lab().nodes().len() { Ok(()) } else { Err(format!("{running} run")) })
    })
}

/// The Services as they are: one write, whatever it says, and this is another.
fn services(cluster: &Cluster) -> Result<BTreeMap<String, (String, Value)>> {
    let list = cluster.lab().kubectl_json(&["-n", NAMESPACE, "get", "services"])?;
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| missing("a name"));
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| {
            let metadata = &item["metadata"];
            Ok((text(&metadata["name"])?, (text(&metadata["resourceVersion"])?, item["status"].clone())))
        })
        .collect()
}

fn nobody_announces(cluster: &Cluster) -> Result<()> {
    for last in [30, 32, 41] {
        let hosts = cluster.announcers(lan(last))?;
        ensure!(hosts.is_empty(), "nobody answers for .{last} in standby, not {hosts:?}");
    }
    Ok(())
}

/// MetalLB's last pod goes: a client that has been asking all the time gets answers, from the same addresses.
fn metallb_ends(cluster: &Cluster) -> Result<()> {
    let client = HttpLoop::start(cluster, (lan(32), 80).into(), Duration::from_millis(100), Duration::from_secs(2))?;
    let ended = cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "deployment", "controller", "--wait=true"]);
    let announced = [30, 32, 41].map(|last| cluster.announcer(lan(last)));
    let answers = cluster.answering_pods(lan(32), 3);
    let (seen, _) = client.finish();
    ended?;
    for host in announced {
        host?;
    }
    answers?;
    ensure!(seen.lost < seen.sent, "the client is answered: {} of {} requests were not", seen.lost, seen.sent);
    Ok(())
}

/// Installed beside MetalLB Herald does nothing at all; when MetalLB is gone it announces what the Services hold and writes nothing; and from
/// then on it may also clear what MetalLB wrote.
fn from_metallb(cluster: &Cluster) -> Result<()> {
    with_metallb(cluster, || {
        install_beside(cluster)?;
        let before = services(cluster)?;
        let definition = |field: &str| {
            let args = ["get", "customresourcedefinition", "bgppeers.metallb.io", "-o", field];
            cluster.lab().kubectl(&args)
        };
        ensure!(definition("jsonpath={.spec.conversion.strategy}")? == "Webhook", "MetalLB's definitions stay");
        // An active Herald needs less than a tenth of it.
        thread::sleep(Duration::from_secs(3));
        nobody_announces(cluster)?;
        ensure!(services(cluster)? == before, "in standby nothing is written");

        metallb_ends(cluster)?;
        ensure!(services(cluster)? == before, "no service is written: {:?}, before {before:?}", services(cluster)?);

        // What MetalLB's field manager owns is not out of reach.
        let patch = r#"{"spec":{"type":"ClusterIP"}}"#;
        cluster.lab().kubectl(&["-n", NAMESPACE, "patch", "service", "one", "--type=merge", "-p", patch])?;
        cluster.await_ips("one", &[])?;
        cluster.await_silence(lan(32))?;
        eventually("the annotation to go, too", PATIENCE, || {
            let now = cluster.lab().kubectl_json(&["-n", NAMESPACE, "get", "service", "one"])?;
            let annotation = &now["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"];
            Ok(if annotation.is_null() { Ok(()) } else { Err(annotation.to_string()) })
        })?;
        cluster.serve(&Service::new("four", "steady"))?;
        cluster.await_ips("four", &["192.168.56.31"])
    })
}

/// MetalLB's chart has its definitions as a dependency: uninstalling takes them along, with every object, while MetalLB's pods still end.
fn definitions_go(cluster: &Cluster) -> Result<()> {
    with_metallb(cluster, || {
        let lab = cluster.lab();
        let kinds = "ipaddresspools,l2advertisements,bgpadvertisements,bgppeers,bfdprofiles,communities";
        let saved = lab.kubectl(&["-n", HERALD_NAMESPACE, "get", kinds, "-o", "yaml"])?;
        install_beside(cluster)?;
        let before = services(cluster)?;
        remove_definitions(cluster)?;
        thread::sleep(Duration::from_secs(3));
        metallb_ends(cluster)?;
        ensure!(services(cluster)? == before, "no service is written: {:?}, before {before:?}", services(cluster)?);
        cluster.serve(&Service::new("four", "steady"))?;
        cluster.await_ips("four", &["192.168.56.31"])?;

        // Herald's definitions, and the objects that were saved, cleaned: `herald import metallb.yaml | kubectl apply -f -`.
        lab.kubectl(&["create", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/crd")])?;
        let import = import::import(&[("saved".to_owned(), saved)], &import::Options::default());
        let import = import.map_err(|error| herald_e2e::Error::Unexpected(error.to_string()))?;
        ensure!(import.notes.is_empty() && import.objects.len() == 3, "all is carried over: {:?}", import.notes);
        lab.kubectl_apply(&import.to_yaml())?;
        eventually("the controller's ConfigurationState to be Valid", PATIENCE, || {
            let args = ["-n", HERALD_NAMESPACE, "get", "configurationstates", "--ignore-not-found", "-o", "json"];
            let list: Value = serde_json::from_str(&lab.kubectl(&args)?).unwrap_or_default();
            let states = list["items"].as_array().into_iter().flatten();
            let mut controller = states.filter(|state| state["metadata"]["name"] == "controller");
            let status = controller.next().map(|state| state["status"].clone()).unwrap_or_default();
            thread::sleep(Duration::from_millis(500));
            Ok(if status["result"] == "Valid" { Ok(()) } else { Err(status.to_string()) })
        })?;
        let mut now = services(cluster)?;
        now.remove("four");
        ensure!(now == before, "no service is written: {now:?}, before {before:?}");
        for last in [30, 31, 32, 41] {
            cluster.announcer(lan(last))?;
        }
        Ok(())
    })
}

/// The ConfigMap becomes objects while Services run: created first, then the ConfigMap is deleted, and nothing else happens.
fn imported(cluster: &Cluster) -> Result<()> {
    let addresses = cluster.expose("web", 2)?;
    let before = services(cluster)?;
    let owner = cluster.announcer(lan(11))?;
    let lab = cluster.lab();
    let saved = lab.kubectl(&["-n", HERALD_NAMESPACE, "get", "configmaps", "-o", "yaml"])?;
    let options = import::Options { namespace: None, config: "config".to_owned() };
    let import = import::import(&[("saved".to_owned(), saved)], &options);
    let import = import.map_err(|error| herald_e2e::Error::Unexpected(error.to_string()))?;
    let moved = lab.kubectl_apply(&import.to_yaml()).and_then(|_| {
        lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "configmap", "config"])?;
        thread::sleep(Duration::from_secs(2));
        lab.kubectl_json(&["-n", HERALD_NAMESPACE, "get", "ipaddresspool", "nginx-ip-range"])
    });
    let now = services(cluster);
    let announced = cluster.await_announcer(lan(11), owner);
    let usage = eventually("the pool to report its usage", PATIENCE, || {
        let pool = lab.kubectl_json(&["-n", HERALD_NAMESPACE, "get", "ipaddresspool", "nginx-ip-range"])?;
        Ok(if pool["status"]["assignedIPv4"] == 1 { Ok(()) } else { Err(pool["status"].to_string()) })
    });
    // Back to the ConfigMap, for the next journey.
    cluster.configure(herald_e2e::CLASSIC_CONFIG)?;
    lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "ipaddresspools,l2advertisements", "--all"])?;
    moved?;
    announced?;
    usage?;
    ensure!(addresses == [lan(11)] && now? == before, "the service has its address and was not written");
    Ok(())
}

/// `helm upgrade` that replaces every pod of Herald: all addresses stay, no status is written, and gaps are short.
fn upgrade(cluster: &Cluster) -> Result<()> {
    cluster.configure_text(
        "address-pools:\n- {name: lan, protocol: layer2, addresses: [192.168.56.30-192.168.56.59]}\n",
    )?;
    let names: Vec<String> = (0..20).map(|number| format!("s{number:02}")).collect();
    let objects: Vec<Value> = names.iter().map(|name| Service::new(name, "steady").object()).collect();
    cluster.apply(&objects)?;
    cluster.deploy(&Deployment::new("steady", 3))?;
    for name in &names {
        cluster.external_ips(name)?;
    }
    let addresses: Vec<_> = (30..50).map(lan).collect();
    let owners: Vec<_> = addresses.iter().map(|address| cluster.announcer(*address)).collect::<Result<_>>()?;
    let before = services(cluster)?;
    let to = SocketAddr::new(lan(30), 9999);
    until_lossless(cluster, to)?;
    let probe = Probe::start(cluster, to, Duration::from_millis(5))?;
    let upgraded = cluster.install(&["controller.logLevel=debug", "speaker.logLevel=debug"]);
    let seen = probe.finish();
    upgraded?;
    eprintln!("  longest gap {:.0} ms, {} of {} lost", seen.longest_gap.as_secs_f64() * 1e3, seen.lost, seen.sent);
    ensure!(seen.longest_gap < Duration::from_secs(5), "a gap of {:?}", seen.longest_gap);
    for (address, owner) in addresses.into_iter().zip(owners) {
        cluster.await_announcer(address, owner)?;
    }
    cluster.answering_pods(lan(49), 3)?;
    ensure!(services(cluster)? == before, "no service was written");
    Ok(())
}

/// Nobody who starts now has ever seen the configuration in order: what Services hold they keep, and it is announced.
fn restart_while_wrong(cluster: &Cluster) -> Result<()> {
    cluster.expose("web", 2)?;
    let owner = cluster.announcer(lan(11))?;
    let before = services(cluster)?;
    cluster.configure_text("address-pools: 17\n")?;
    cluster.await_event_in(HERALD_NAMESPACE, "ConfigMap", "config", "InvalidConfiguration")?;
    let lab = cluster.lab();
    let both = ["deployment/herald-controller", "daemonset/herald-speaker"];
    let restarted = both.iter().try_for_each(|what| {
        lab.kubectl(&["-n", HERALD_NAMESPACE, "rollout", "restart", what])?;
        lab.kubectl(&["-n", HERALD_NAMESPACE, "rollout", "status", what, "--timeout=120s"]).map(drop)
    });
    let announced = cluster.await_announcer(lan(11), owner).and_then(|()| cluster.answering_pods(lan(11), 2));
    let now = services(cluster);
    cluster.configure(herald_e2e::CLASSIC_CONFIG)?;
    restarted?;
    announced?;
    ensure!(now? == before, "no service was written");
    cluster.await_announcer(lan(11), owner)
}
