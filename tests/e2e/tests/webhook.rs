//! The validating webhook, asked by a real API server: what is wrong never gets in, and nothing depends on it.

use herald_e2e::{Cluster, HERALD_NAMESPACE, NAMESPACE, PATIENCE, Result, ensure, eventually};
use serde_json::{Value, json};

use crate::Journey;

pub(crate) const JOURNEYS: &[(&str, Journey)] =
    &[("webhook_refuses_what_is_wrong", refuses), ("webhook_of_two_replicas_that_fails_closed", fails_closed)];

const CONFIGURATION: &str = "herald-webhook";
const CONTROLLER: &str = "deployment/herald-controller";

/// What journeys here make is gone afterwards, and the controller is there, however they end.
fn with_webhook(cluster: &Cluster, journey: impl FnOnce() -> Result<()>) -> Result<()> {
    let result = trusted(cluster).and_then(|_| journey());
    let lab = cluster.lab();
    let all = "bgppeers,ipaddresspools,l2advertisements,communities,bfdprofiles";
    // A profile is not let go before the controller has heard that the peers are gone.
    let gone = scale(cluster, 1).and_then(|()| {
        eventually("everything to be deleted", PATIENCE, || {
            let gone = lab.kubectl(&["-n", HERALD_NAMESPACE, "delete", all, "--all"]);
            Ok(gone.map(drop).map_err(|error| error.to_string()))
        })
    });
    result.and(gone)
}

/// Waits until the API server trusts what the controller presents; the bundle.
fn trusted(cluster: &Cluster) -> Result<String> {
    eventually("a caBundle in the webhook's configuration", PATIENCE, || {
        let configuration = cluster.lab().kubectl_json(&["get", "validatingwebhookconfiguration", CONFIGURATION])?;
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
        Ok(if bundle.is_empty() { Err(configuration["webhooks"][0].to_string()) } else { Ok(bundle) })
    })
}

fn scale(cluster: &Cluster, replicas: u32) -> Result<()> {
    cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "scale", CONTROLLER, &format!("--replicas={replicas}")])?;
    eventually(&format!("{replicas} controllers"), PATIENCE, || {
        let pods =
            cluster.lab().kubectl_json(&["-n", HERALD_NAMESPACE, "get", "pods", "-l", "component=controller"])?;
        let pods = pods["items"].as_array().map_or(0, Vec::len);
        let ready = cluster.herald_pods("controller")?.len();
        let wanted = usize::try_from(replicas).unwrap_or_default();
        Ok(if pods == wanted && ready == wanted { Ok(()) } else { Err(format!("{pods}, {ready} ready")) })
    })
}

fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": HERALD_NAMESPACE}, "spec": spec,
    })
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    object("v1beta1", "IPAddressPool", name, json!({"addresses": addresses}))
}

/// kubectl refuses, with this text.
fn refused(cluster: &Cluster, object: &Value, text: &str) -> Result<()> {
    let said = match cluster.lab().kubectl_apply(&object.to_string()) {
        Ok(accepted) => format!("accepted: {accepted}"),
        Err(refused) => refused.to_string(),
    };
    let by = "admission webhook \"configuration.validation.herald\" denied the request";
    ensure!(said.contains(text) && said.contains(by), "{object} is refused because {text:?}, not: {said}");
    Ok(())
}

/// Refused as soon as the controller has heard of what was applied a moment before.
fn soon_refused(cluster: &Cluster, object: &Value, text: &str) -> Result<()> {
    eventually(&format!("{object} to be refused"), PATIENCE, || match refused(cluster, object, text) {
        Ok(()) => Ok(Ok(())),
        Err(error) => {
            cluster.lab().kubectl_delete(&object.to_string())?;
            Ok(Err(error.to_string()))
        }
    })
}

fn refuses(cluster: &Cluster) -> Result<()> {
    with_webhook(cluster, || {
        let overlaps = "overlaps with already defined CIDR";
        refused(cluster, &pool("bad", &["192.168.56.9-192.168.56.2"]), "invalid CIDR")?;
        // The ConfigMap has .11 to .13: whoever moves from it makes pools first, which wait.
        cluster.apply(&[pool("waits", &["192.168.56.13-192.168.56.20"])])?;
        cluster.apply(&[pool("good", &["192.168.56.30-192.168.56.39"])])?;
        soon_refused(cluster, &pool("bad", &["192.168.56.39-192.168.56.40"]), overlaps)?;
        // Its own addresses are no overlap.
        cluster.apply(&[pool("good", &["192.168.56.30-192.168.56.40"])])?;

        let mut elsewhere = pool("bad", &["192.168.57.0/24"]);
        elsewhere["metadata"]["namespace"] = NAMESPACE.into();
        refused(cluster, &elsewhere, "resource must be created in metallb-system namespace")?;
        let communities = json!({"communities": [{"name": "a", "value": "1:1"}, {"name": "a", "value": "1:2"}]});
        refused(cluster, &object("v1beta1", "Community", "bad", communities), "duplicate definition of community")?;

        // What may come later is no mistake; what is used is kept.
        let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.168.56.1", "bfdProfile": "fast"});
        for version in ["v1beta1", "v1beta2"] {
            let mut wrong = peer.clone();
            wrong["peerAddress"] = "1.1.1".into();
            refused(cluster, &object(version, "BGPPeer", "bad", wrong), "invalid BGPPeer address")?;
        }
        cluster.apply(&[object("v1beta2", "BGPPeer", "router", peer)])?;
        cluster.apply(&[object("v1beta1", "BFDProfile", "fast", json!({}))])?;
        eventually("the profile to be kept", PATIENCE, || {
            let said = match cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "bfdprofile", "fast"]) {
                Ok(_) => {
                    cluster.apply(&[object("v1beta1", "BFDProfile", "fast", json!({}))])?;
                    "deleted".to_owned()
                }
                Err(refused) => refused.to_string(),
            };
            Ok(if said.contains("failed to delete BFDProfile") { Ok(()) } else { Err(said) })
        })?;

        // A certificate that is lost is made again, and trusted.
        let before = trusted(cluster)?;
        cluster.lab().kubectl(&["-n", HERALD_NAMESPACE, "delete", "secret", "herald-webhook-cert"])?;
        eventually("another caBundle", PATIENCE, || {
            let now = trusted(cluster)?;
            Ok(if now == before { Err("the same") } else { Ok(()) }.map_err(str::to_owned))
        })?;
        // The API server looks at its configuration a little later.
        soon_refused(cluster, &pool("bad", &["192.168.56.30/32"]), overlaps)?;

        // Nobody there: everything is let in, and found later.
        scale(cluster, 0)?;
        cluster.apply(&[pool("clash", &["192.168.56.30/32"])])
    })
}

/// With two replicas each answers; with failurePolicy Fail nothing gets past them.
fn fails_closed(cluster: &Cluster) -> Result<()> {
    cluster.install(&["controller.replicas=2", "crds.validationFailurePolicy=Fail"])?;
    with_webhook(cluster, || {
        cluster.apply(&[pool("good", &["192.168.56.30-192.168.56.39"])])?;
        let clash = pool("bad", &["192.168.56.39-192.168.56.40"]);
        soon_refused(cluster, &clash, "overlaps with already defined CIDR")?;
        for _ in 0..8 {
            refused(cluster, &clash, "overlaps with already defined CIDR")?;
        }
        scale(cluster, 0)?;
        let said = match cluster.lab().kubectl_apply(&pool("late", &["192.168.56.50/32"]).to_string()) {
            Ok(accepted) => format!("accepted: {accepted}"),
            Err(refused) => refused.to_string(),
        };
        ensure!(said.contains("failed calling webhook"), "nothing is let in while nobody answers: {said}");
        Ok(())
    })
}
