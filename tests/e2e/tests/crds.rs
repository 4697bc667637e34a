//! The custom resource definitions in a real API server: what it accepts, fills in and refuses.

use herald_e2e::{Cluster, Result, ensure};
use serde_json::{Value, json};

use crate::Journey;

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("crds_are_accepted_with_the_samples", crds_are_accepted_with_the_samples),
    ("crds_default_and_convert", crds_default_and_convert),
    ("crds_refuse_with_a_reason", crds_refuse_with_a_reason),
];

/// Herald reads its own namespace only: objects here configure nothing.
const ELSEWHERE: &str = "crds";

fn object(version: &str, kind: &str, name: &str, spec: Value) -> String {
    let metadata = json!({"name": name, "namespace": ELSEWHERE});
    json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": metadata, "spec": spec}).to_string()
}

fn elsewhere(cluster: &Cluster) -> Result<()> {
    // It would refuse objects of another namespace.
    cluster.install(&["controller.webhookMode=disabled"])?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
    cluster.lab().kubectl_apply(&namespace.to_string())?;
    Ok(())
}

/// The definitions that are not the chart's, and every sample.
fn crds_are_accepted_with_the_samples(cluster: &Cluster) -> Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
    let dry = |path: &str| {
        let path = format!("{root}/{path}");
        cluster.lab().kubectl(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "-o",
            "name",
            "-f",
            &path,
        ])
    };
    let definitions = dry("crd")?;
    ensure!(definitions.lines().count() == 9, "all nine definitions are accepted, not {definitions}");
    for sample in ["samples/custom-resources.yaml", "samples/bgp.yaml"] {
        let accepted = dry(sample)?;
        ensure!(accepted.contains("metallb.io/"), "{sample} is accepted: {accepted}");
    }
    Ok(())
}

/// What the API server fills in, as MetalLB's definitions do; and a peer of the old version is one of the new version.
fn crds_default_and_convert(cluster: &Cluster) -> Result<()> {
    elsewhere(cluster)?;
    let get = |kind: &str, name: &str| cluster.lab().kubectl_json(&["get", kind, name, "-n", ELSEWHERE]);
    cluster.lab().kubectl_apply(&object(
        "v1beta1",
        "IPAddressPool",
        "p",
        json!({"addresses": ["10.9.0.0/24", "fd00::1 - fd00::9"]}),
    ))?;
    let spec = get("ipaddresspools", "p")?["spec"].take();
    ensure!(spec["autoAssign"] == true && spec["avoidBuggyIPs"] == false, "a pool has its defaults: {spec}");
    cluster.lab().kubectl_apply(&object("v1beta1", "BGPAdvertisement", "a", json!({})))?;
    let spec = get("bgpadvertisements", "a")?["spec"].take();
    ensure!(
        spec["aggregationLength"] == 32 && spec["aggregationLengthV6"] == 128,
        "an advertisement has its defaults: {spec}"
    );
    let everything = json!({"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "all", "namespace": ELSEWHERE}});
    cluster.lab().kubectl_apply(&everything.to_string())?;

    let old = json!({
        "myASN": 4200000000_u32, "peerASN": 64501, "peerAddress": "10.0.0.1", "holdTime": "90s",
        "nodeSelectors": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": ["a"]}]}],
    });
    cluster.lab().kubectl_apply(&object("v1beta1", "BGPPeer", "old", old.clone()))?;
    let new = get("bgppeers.v1beta2.metallb.io", "old")?;
    ensure!(new["apiVersion"] == "metallb.io/v1beta2", "a peer of the old version is read as the new one: {new}");
    for (field, value) in old.as_object().into_iter().flatten() {
        ensure!(new["spec"][field] == *value, "{field} is as it was written: {new}");
    }
    cluster.lab().kubectl_apply(&object(
        "v1beta2",
        "BGPPeer",
        "new",
        json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "vrf": "red"}),
    ))?;
    let spec = get("bgppeers.v1beta2.metallb.io", "new")?["spec"].take();
    ensure!(spec["peerPort"] == 179 && spec["disableMP"] == false, "a peer has its defaults: {spec}");
    cluster.lab().kubectl(&["delete", "namespace", ELSEWHERE, "--wait=true"])?;
    Ok(())
}

/// Mistakes that the definitions alone find, with what the API server says.
fn crds_refuse_with_a_reason(cluster: &Cluster) -> Result<()> {
    let community = |value: &str| json!({"communities": [{"name": "c", "value": value}]});
    let peer = |more: Value| {
        let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"});
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        spec
    };
    let cases = [
        ("v1beta1", "IPAddressPool", json!({"addresses": []}), "a pool has at least one range"),
        ("v1beta1", "IPAddressPool", json!({"addresses": ["10.0.0.1"]}), "a single address as 192.0.2.10/32"),
        ("v1beta1", "IPAddressPool", json!({}), "Required value"),
        ("v1beta1", "BGPAdvertisement", json!({"aggregationLength": 0}), "should be greater than or equal to 1"),
        (
            "v1beta1",
            "BGPAdvertisement",
            json!({"aggregationLength": 24, "serviceSelectors": [{"matchLabels": {"a": "b"}}]}),
            "serviceSelectors and aggregationLength are mutually exclusive",
        ),
        (
            "v1beta1",
            "L2Advertisement",
            json!({"preferredNodeSelectors": [{"weight": 101, "preference": {}}]}),
            "should be less than or equal to 100",
        ),
        ("v1beta1", "Community", community("99999999:1"), "invalid community value: invalid section"),
        ("v1beta1", "Community", community("1:70000"), "invalid community value: invalid section"),
        ("v1beta1", "Community", community("lar:123:9999:123"), "expected community to be of format large"),
        ("v1beta1", "Community", community("large:1:2:4294967296"), "invalid community value: invalid section"),
        ("v1beta1", "Community", community("1:2:3"), "invalid community format"),
        ("v1beta1", "BFDProfile", json!({"detectMultiplier": 1}), "should be greater than or equal to 2"),
        ("v1beta2", "BGPPeer", json!({"peerASN": 2}), "Required value"),
        ("v1beta2", "BGPPeer", peer(json!({"peerASN": 4294967296_u64})), "should be less than or equal to 4294967295"),
        ("v1beta2", "BGPPeer", peer(json!({"dynamicASN": "any"})), "dynamicASN"),
        (
            "v1beta2",
            "BGPPeer",
            peer(json!({"connectTime": "1500ms"})),
            "connect time should contain a whole number of seconds",
        ),
        ("v1beta2", "BGPPeer", peer(json!({"connectTime": "0s"})), "connect time should be between 1 seconds to 65535"),
    ];
    elsewhere(cluster)?;
    for (version, kind, spec, reason) in cases {
        let object = object(version, kind, "wrong", spec);
        let said = match cluster.lab().kubectl_apply(&object) {
            Ok(accepted) => format!("accepted: {accepted}"),
            Err(refused) => refused.to_string(),
        };
        ensure!(said.contains(reason), "{object} is refused because {reason:?}, not: {said}");
    }
    // What is right at the limits of these rules passes.
    for (version, kind, spec) in [
        ("v1beta1", "Community", community("large:4294967295:0:1")),
        ("v1beta1", "Community", community("65535:0")),
        ("v1beta2", "BGPPeer", peer(json!({"connectTime": "65535s"}))),
        ("v1beta1", "BGPAdvertisement", json!({"serviceSelectors": [{"matchLabels": {"a": "b"}}]})),
    ] {
        cluster.lab().kubectl_apply(&object(version, kind, "right", spec))?;
    }
    cluster.lab().kubectl(&["delete", "namespace", ELSEWHERE, "--wait=true"])?;
    Ok(())
}
