//! Pods: Herald's speakers, and MetalLB's.

use herald_core::{NodeName, node::SpeakerPod};
use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::Deserialize;

/// Label selectors by which MetalLB's own pods are found, wherever they run; Herald's pods never carry these labels.
/// The first is that of MetalLB's manifests, the second that of its Helm chart.
pub const METALLB_SELECTORS: [&str; 2] = ["app=metallb", "app.kubernetes.io/name=metallb"];

/// What is read of a Pod. The whole type is a tenth of the program, volumes first of all.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = "core::Pod")]
pub struct Pod {
    /// Metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Container {
    #[serde(default)]
    args: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// A condition of a Pod or a Node.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    message: String,
}

impl Condition {
    /// Whether it is this one and true.
    pub(crate) fn holds(&self, type_: &str) -> bool {
        self.type_ == type_ && self.status == "True"
    }

    /// Whether it is this one, false, and says this about it.
    pub(crate) fn fails_saying(&self, type_: &str, what: &str) -> bool {
        self.type_ == type_ && self.status == "False" && self.message.contains(what)
    }
}

/// A speaker's pod as the rules see it; `None` while it has no node. The caller selects speakers by label.
#[must_use]
pub fn speaker_from_object(object: &Pod) -> Option<SpeakerPod> {
    let node = object.spec.node_name.as_deref().filter(|name| !name.is_empty())?;
    Some(SpeakerPod { node: NodeName::new(node), ready: is_ready(object) })
}

/// Condition Ready is True and the pod is not being deleted.
#[must_use]
pub fn is_ready(object: &Pod) -> bool {
    object.metadata.deletion_timestamp.is_none() && object.status.conditions.iter().any(|it| it.holds("Ready"))
}

/// The node that it runs on; empty before it has one.
#[must_use]
pub fn node(object: &Pod) -> &str {
    object.spec.node_name.as_deref().unwrap_or_default()
}

/// The value of an argument of its containers, given as `--name=value` or `--name value`.
#[must_use]
pub fn argument<'a>(object: &'a Pod, name: &str) -> Option<&'a str> {
    let flag = format!("--{name}");
    let mut rest = object.spec.containers.iter().flat_map(|container| &container.args);
    while let Some(argument) = rest.next() {
        match argument.strip_prefix(&flag) {
            Some("") => return rest.next().map(String::as_str),
            Some(value) if value.starts_with('=') => return value.strip_prefix('='),
            _ => {}
        }
    }
    None
}

/// Whether the pod runs or is about to: anything but a finished one. A terminating pod runs until it is gone, a pending one of
/// MetalLB's would start to write and answer at any moment.
#[must_use]
pub fn is_running(object: &Pod) -> bool {
    !matches!(object.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(yaml: &str) -> Pod {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn speaker_needs_a_node() {
        assert_eq!(speaker_from_object(&pod("metadata: {name: s}\nspec: {containers: []}\n")), None);
        let ready = pod(
            "metadata: {name: s}\nspec: {nodeName: w1, containers: []}\nstatus: {conditions: [{type: Ready, status: 'True'}]}\n",
        );
        assert_eq!(speaker_from_object(&ready), Some(SpeakerPod { node: NodeName::new("w1"), ready: true }));
    }

    #[test]
    fn a_terminating_or_unready_speaker_is_not_ready() {
        for yaml in [
            "metadata: {name: s, deletionTimestamp: '2026-01-01T00:00:00Z'}\nspec: {nodeName: w1, containers: []}\nstatus: {conditions: [{type: Ready, status: 'True'}]}\n",
            "metadata: {name: s}\nspec: {nodeName: w1, containers: []}\nstatus: {conditions: [{type: Ready, status: 'False'}]}\n",
            "metadata: {name: s}\nspec: {nodeName: w1, containers: []}\n",
        ] {
            assert_eq!(speaker_from_object(&pod(yaml)), Some(SpeakerPod { node: NodeName::new("w1"), ready: false }));
        }
    }

    #[test]
    fn only_finished_pods_do_not_run() {
        for (phase, runs) in
            [("Pending", true), ("Running", true), ("Unknown", true), ("Succeeded", false), ("Failed", false)]
        {
            assert_eq!(
                is_running(&pod(&format!("metadata: {{name: s}}\nstatus: {{phase: {phase}}}\n"))),
                runs,
                "{phase}"
            );
        }
    }

    #[test]
    fn arguments_are_read_as_clap_reads_them() {
        for (args, port) in [
            ("[speaker, --debug-port=17480]", Some("17480")),
            ("[speaker, --debug-port, '17480', --x]", Some("17480")),
            ("[speaker, --debug-port-of-another=1]", None),
            ("[speaker]", None),
        ] {
            let pod = pod(&format!("metadata: {{name: p}}\nspec: {{containers: [{{name: c, args: {args}}}]}}\n"));
            assert_eq!(argument(&pod, "debug-port"), port, "{args}");
        }
    }
}
