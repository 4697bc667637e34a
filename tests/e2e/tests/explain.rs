//! `kubectl herald status` and `kubectl herald explain`, with the binary that runs in the cluster.

use std::fs;
use std::net::IpAddr;

use herald_e2e::{Cluster, Deployment, Error, NAMESPACE, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::Host;
use serde_json::Value;

use crate::{Journey, lan, missing};

pub(crate) const JOURNEYS: &[(&str, Journey)] =
    &[("asking_for_status_shows_pools_members_and_announcers", status), ("asking_why_names_the_failing_step", explain)];

/// What was asked: whether it said that nothing is wrong, and the answer.
struct Answer {
    code: Option<i32>,
    json: Value,
}

/// Puts the binary that a speaker runs where kubectl finds it as a plugin.
pub(crate) fn install_plugin(cluster: &Cluster) -> Result<()> {
    let lab = cluster.lab();
    let pids = lab.program_pids(Host::ControlPlane, "herald");
    let pid = pids.first().ok_or_else(|| missing("a speaker on the control plane"))?;
    let plugin = lab.place().bin().join("kubectl-herald");
    // Written anew and not over: another speaker may be running from it.
    let _ = fs::remove_file(&plugin);
    fs::copy(format!("/proc/{pid}/exe"), &plugin).map(drop).map_err(Error::io("copying the speaker's binary"))
}

fn ask(cluster: &Cluster, args: &[&str]) -> Result<Answer> {
    let args: Vec<&str> = ["herald"].iter().chain(args).copied().chain(["-o", "json"]).collect();
    let output = cluster.lab().kubectl_command(&args)?.output().map_err(Error::io("kubectl herald"))?;
    let json = serde_json::from_slice(&output.stdout).map_err(|error| {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Error::Unexpected(format!("kubectl {args:?}: {error}: {out:?} {err:?}"))
    })?;
    Ok(Answer { code: output.status.code(), json })
}

fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    answer["steps"].as_array().into_iter().flatten().find(|step| step["step"] == name).unwrap_or(&Value::Null)
}

/// Asks until the answer is as expected: speakers take a moment to agree.
fn await_answer(cluster: &Cluster, args: &[&str], what: &str, expected: impl Fn(&Answer) -> bool) -> Result<Answer> {
    eventually(&format!("kubectl herald {args:?}: {what}"), PATIENCE, || {
        let answer = ask(cluster, args)?;
        Ok(if expected(&answer) { Ok(answer) } else { Err(format!("{:?} {:#}", answer.code, answer.json)) })
    })
}

fn status(cluster: &Cluster) -> Result<()> {
    install_plugin(cluster)?;
    let addresses = cluster.expose("seen", 2)?;
    ensure!(addresses == [lan(11)], "the Service has the first address of the pool, not {addresses:?}");
    let announcer = cluster.announcer(lan(11))?.to_string();
    let nodes = cluster.lab().nodes().len();
    let Answer { json, .. } = await_answer(cluster, &["status"], "nothing is wrong", |answer| answer.code == Some(0))?;
    ensure!(json["gaps"] == serde_json::json!([]), "every pod was asked: {}", json["gaps"]);
    let pool = &json["pools"][0];
    ensure!(pool["ipv4"]["total"] == 3 && pool["ipv4"]["assigned"] == 1, "one of three addresses is in use: {pool}");
    let service = &json["services"][0];
    ensure!(service["service"] == format!("{NAMESPACE}/seen"), "the Service is shown: {service}");
    ensure!(service["announcedBy"] == serde_json::json!([announcer]), "{announcer} announces it: {service}");
    let links = json["links"].as_array().into_iter().flatten().filter(|link| link["link"] == "eth0");
    for link in links {
        let members = link["members"].as_object().map_or(0, serde_json::Map::len);
        ensure!(link["used"] == true && members == nodes, "all {nodes} speakers take part: {link}");
    }
    // On a busy machine something may be wrong again for a moment.
    let text = eventually("the table that says that nothing is wrong", PATIENCE, || {
        Ok(cluster.lab().kubectl(&["herald", "status"]).map_err(|error| error.to_string()))
    })?;
    ensure!(text.contains("Nothing is wrong") && text.contains(&announcer), "the table says the same:\n{text}");
    Ok(())
}

/// The first failing step, its code and the fix.
fn fails(cluster: &Cluster, service: &str, step_name: &str, code: &str) -> Result<String> {
    let args = ["explain", "service", &format!("{NAMESPACE}/{service}")];
    let expected = |answer: &Answer| {
        answer.code == Some(1)
            && answer.json["firstFailing"] == step_name
            && step(&answer.json, step_name)["code"] == code
    };
    let answer = await_answer(cluster, &args, &format!("{step_name} fails with {code}"), expected)?;
    let failing = step(&answer.json, step_name);
    Ok(format!("{} {}", failing["seen"], failing["fix"]))
}

fn explain(cluster: &Cluster) -> Result<()> {
    install_plugin(cluster)?;
    let address: IpAddr = lan(11);
    cluster.expose("healthy", 2)?;
    let announcer = cluster.announcer(address)?.to_string();
    let args = ["explain", "service", "healthy", "-n", NAMESPACE];
    let answered = |answer: &Answer| answer.code == Some(0) && step(&answer.json, "answers")["verdict"] == "ok";
    let answer = await_answer(cluster, &args, "no step fails, and requests are answered", answered)?;
    let owner = step(&answer.json, "ownership")["seen"][0].to_string();
    ensure!(owner.contains(&announcer), "{announcer} owns it: {owner}");
    let shown = cluster.lab().kubectl(&["herald", "explain", "service", "healthy", "-n", NAMESPACE])?;
    ensure!(shown.contains("no step fails") && shown.contains(&announcer), "the table says the same:\n{shown}");

    cluster.serve(&Service::new("poolless", "healthy").annotated("metallb.io/address-pool", "gold"))?;
    let why = fails(cluster, "poolless", "allocation", "unknown_pool")?;
    ensure!(why.contains("pool gold does not exist") && why.contains("annotation address-pool"), "{why}");

    // Nobody is behind it at all; then a pod that is ready, but on no node that may announce.
    cluster.serve(&Service::new("lonely", "lonely").with("externalTrafficPolicy", "Local"))?;
    let why = fails(cluster, "lonely", "endpoints", "no_pods")?;
    ensure!(why.contains("spec.selector"), "{why}");
    let worker = Host::Worker(1);
    cluster.deploy(&Deployment::new("lonely", 1).on(&[worker]))?;
    let exclude = "node.kubernetes.io/exclude-from-external-load-balancers";
    let target = worker.to_string();
    cluster.lab().kubectl(&["label", "--overwrite", "node", &target, &format!("{exclude}=")])?;
    let why = fails(cluster, "lonely", "candidates", "no_local_endpoint");
    cluster.lab().kubectl(&["label", "node", &target, &format!("{exclude}-")])?;
    let why = why?;
    ensure!(why.contains(&target) && why.contains("run a ready pod of the Service there"), "{why}");

    fails(cluster, "no-such-service", "service", "not_found").map(drop)
}
