//! What Herald depends on goes away: the API server while speakers restart, the hello key, the controller.

use std::{collections::BTreeMap, net::IpAddr, thread, time::Duration};

use herald_e2e::{Cluster, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::Host;
use serde_json::Value;

use crate::restarts::{owners, three_services};
use crate::unnoticed::{signal, speaker_pids, watched};
use crate::{Journey, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("speakers_restart_while_the_api_server_is_away", restarts_without_api),
    ("hello_key_lost_damaged_and_replaced_is_unnoticed", hello_key),
    ("controllers_that_come_and_go_change_no_address", controllers),
];

/// Name of the Secret as the chart calls it.
const KEY: &str = "herald-hello-key";

/// Every speaker's view of the cluster fits.
fn each_speaker(cluster: &Cluster, what: &str, fits: impl Fn(&Value) -> bool) -> Result<()> {
    for host in cluster.lab().nodes() {
        eventually(&format!("the speaker on {host} to be {what}"), PATIENCE, || {
            // No answer while it restarts.
            let seen = cluster.speaker_state(host).map(|state| state["snapshot"].clone()).unwrap_or_default();
            Ok(if fits(&seen) { Ok(()) } else { Err(seen.to_string()) })
        })?;
    }
    Ok(())
}

/// One after another, then all at once, each speaker is killed while there is no API server. They go on from what they saved.
fn restarts_without_api(cluster: &Cluster) -> Result<()> {
    let watched = watched(cluster)?;
    let before = owners(cluster)?;
    let pids = |host: &Host| Ok((*host, speaker_pids(cluster, *host)?));
    let speakers: Vec<(Host, Vec<i32>)> = cluster.lab().nodes().iter().map(pids).collect::<Result<_>>()?;
    // What changed is saved within five seconds.
    thread::sleep(Duration::from_secs(7));
    let renewed = renewals(cluster)?;
    cluster.lab().stop_api()?;
    let away = without_api(cluster, &speakers, watched, &before);
    cluster.lab().start_api()?;
    away?;
    // Until then nodes may still be called NotReady, and their pods are taken from the Services: what follows would measure that.
    eventually("every kubelet to have renewed its lease", PATIENCE, || {
        let now = renewals(cluster)?;
        let old: Vec<&String> =
            now.iter().filter(|(node, when)| renewed.get(*node) == Some(when)).map(|(node, _)| node).collect();
        Ok(if old.is_empty() { Ok(()) } else { Err(format!("not yet: {old:?}")) })
    })?;
    each_speaker(cluster, "connected again", |seen| seen["connected"] == true && seen["savedAt"].is_null())?;
    ensure!(owners(cluster)? == before, "every address is where it was");
    Ok(())
}

/// When each node's kubelet was last heard by the API server.
fn renewals(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let leases = cluster.lab().kubectl_json(&["-n", "kube-node-lease", "get", "leases"])?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = leases["items"].as_array().into_iter().flatten();
    Ok(all.map(|lease| (text(&lease["metadata"]["name"]), text(&lease["spec"]["renewTime"]))).collect())
}

fn without_api(
    cluster: &Cluster,
    speakers: &[(Host, Vec<i32>)],
    watched: crate::unnoticed::Watched,
    before: &BTreeMap<IpAddr, Host>,
) -> Result<()> {
    for (host, pids) in speakers {
        signal("KILL", pids)?;
        eventually(&format!("the speaker on {host} to go on from what it saved"), PATIENCE, || {
            let seen = cluster.speaker_state(*host).unwrap_or_default();
            let resumed = seen["snapshot"]["savedAt"].is_string() && seen["obstacles"] == Value::Array(Vec::new());
            Ok(if resumed { Ok(()) } else { Err(seen["snapshot"].to_string()) })
        })?;
        // Until it has listened and its place is its own again.
        thread::sleep(Duration::from_secs(2));
    }
    watched.finish(cluster, "speakers that restart one by one without an API server")?;
    let all: Vec<i32> = speakers.iter().flat_map(|(host, _)| cluster.lab().program_pids(*host, "herald")).collect();
    signal("KILL", &all)?;
    each_speaker(cluster, "back from what it saved", |seen| seen["savedAt"].is_string())?;
    for (address, owner) in before {
        cluster.await_announcer(*address, *owner)?;
        cluster.answering_pods(*address, 3)?;
    }
    Ok(())
}

/// All speakers hear each other's hellos.
fn all_heard(cluster: &Cluster) -> Result<()> {
    let nodes = cluster.lab().nodes();
    for host in &nodes {
        eventually(&format!("{host} to hear everybody"), PATIENCE, || {
            let state = cluster.speaker_state(*host)?;
            let members = state["links"]["eth0"]["members"].as_object().cloned().unwrap_or_default();
            let heard = |member: &Value| matches!(member["known"].as_str(), Some("own" | "hello"));
            let all = members.len() == nodes.len() && members.values().all(heard);
            Ok(if all { Ok(()) } else { Err(format!("{members:?}")) })
        })?;
    }
    Ok(())
}

/// The Secret is damaged, deleted, and made anew by the controller with another key.
fn hello_key(cluster: &Cluster) -> Result<()> {
    let watched = watched(cluster)?;
    let lab = cluster.lab();
    let key = || -> Result<Value> {
        let secrets = lab.kubectl_json(&[
            "-n",
            HERALD_NAMESPACE,
            "get",
            "secrets",
            "--field-selector",
            &format!("metadata.name={KEY}"),
        ])?;
        Ok(secrets["items"][0]["data"]["key"].clone())
    };
    let first = key()?;
    lab.kubectl(&["-n", HERALD_NAMESPACE, "patch", "secret", KEY, "--type=merge", "-p", r#"{"data":{"key":"AQ=="}}"#])?;
    // Speakers look every 30 seconds.
    thread::sleep(Duration::from_secs(35));
    let damaged = all_heard(cluster);
    lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "secret", KEY])?;
    let second = eventually("the controller to make a new key", PATIENCE, || {
        let now = key()?;
        Ok(if now.is_string() { Ok(now) } else { Err("none yet".to_owned()) })
    })?;
    // Read by all after 30, used after 45 more.
    thread::sleep(Duration::from_secs(95));
    watched.finish(cluster, "a hello key that is damaged, lost and replaced")?;
    damaged?;
    ensure!(first.is_string() && second != first, "another key");
    all_heard(cluster)
}

/// Restarted, two at once, rolled back: Service status is the only record, and nobody changes it.
fn controllers(cluster: &Cluster) -> Result<()> {
    three_services(cluster)?;
    let (given, before) = (cluster.all_ips()?, owners(cluster)?);
    let lab = cluster.lab();
    let rollout = |action: &str| -> Result<()> {
        lab.kubectl(&["-n", HERALD_NAMESPACE, "rollout", action, "deployment/herald-controller"])?;
        let wait = ["-n", HERALD_NAMESPACE, "rollout", "status", "deployment/herald-controller", "--timeout=120s"];
        lab.kubectl(&wait)?;
        Ok(())
    };
    cluster.install(&["controller.replicas=2"])?;
    rollout("restart")?;
    rollout("undo")?;
    let pods = cluster.herald_pods("controller")?;
    let (victim, _) = pods.first_key_value().ok_or_else(|| missing("a controller"))?;
    lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", "pod", victim, "--grace-period=0", "--force"])?;
    ensure!(cluster.all_ips()? == given, "every Service keeps its address: {given:?}");
    ensure!(owners(cluster)? == before, "every address is where it was");
    // Somebody leads: an address that becomes free is given to the next.
    lab.kubectl(&["-n", NAMESPACE, "delete", "service", "third"])?;
    cluster.serve(&Service::new("fourth", "steady"))?;
    // The next one leads once the lease of one that was killed is over.
    cluster.external_ips("fourth")?;
    let mut now = cluster.all_ips()?;
    let fourth = now.remove("fourth");
    let mut rest = given.clone();
    let freed = rest.remove("third");
    ensure!(
        fourth == freed && now == rest,
        "the free address is given, the others stay: {now:?} {fourth:?}, before {given:?}"
    );
    Ok(())
}
