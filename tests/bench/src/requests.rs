//! How many requests Herald makes at the API server, counted by the API server.
//!
//! `apiserver_request_total` does not say whose requests it counts; the metrics of API Priority and Fairness do, by FlowSchema. So each
//! component gets a FlowSchema of its own, with the priority that service accounts have anyway: nothing is served sooner or later for it.

use crate::{Error, Result};
use herald_e2e::{Cluster, HERALD_NAMESPACE};
use serde_json::{Value, json};
use std::{thread, time::Duration};

/// Service accounts of controller and speakers, and the FlowSchema that counts its requests.
const COUNTED: [(&str, &str); 2] =
    [("herald-controller", "bench-herald-controller"), ("herald-speaker", "bench-herald-speaker")];
/// Requests served, watches (once each, when they begin) and leases included.
const METRIC: &str = "apiserver_flowcontrol_dispatched_requests_total";
/// For the API server to take a new FlowSchema in.
const KNOWN: Duration = Duration::from_secs(2);

/// Requests so far, of the controllers and of all speakers together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Requests {
    /// The controllers'.
    pub controller: f64,
    /// The speakers'.
    pub speakers: f64,
}

impl Requests {
    /// What came since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { controller: self.controller - before.controller, speakers: self.speakers - before.speakers }
    }
}

fn schema(account: &str, name: &str) -> Value {
    let subject = json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": HERALD_NAMESPACE, "name": account}});
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            // Before all that Kubernetes has by itself but those for the system; level and distinction as in its `service-accounts`.
            "matchingPrecedence": 150,
            "priorityLevelConfiguration": {"name": "workload-low"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [subject],
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]},
                ],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    })
}

/// Begins to count; does no harm a second time.
///
/// # Errors
/// kubectl's.
pub fn begin(cluster: &Cluster) -> Result<()> {
    cluster.apply(&COUNTED.map(|(account, name)| schema(account, name)))?;
    thread::sleep(KNOWN);
    Ok(())
}

/// All metrics of the API server.
///
/// # Errors
/// kubectl's.
pub fn metrics(cluster: &Cluster) -> Result<String> {
    Ok(cluster.lab().kubectl(&["get", "--raw", "/metrics"])?)
}

/// The sum of the lines of a metric that have all these labels (large ones are written with an exponent); `None` when there is none yet.
#[must_use]
pub fn sum(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let ours = lines.filter(|(own, _)| labels.iter().all(|label| own.split(',').any(|own| own == label)));
    ours.filter_map(|(_, value)| value.parse::<f64>().ok()).reduce(|sum, more| sum + more)
}

/// Requests since [`begin`].
///
/// # Errors
/// kubectl's; a server without API Priority and Fairness.
pub fn so_far(cluster: &Cluster) -> Result<Requests> {
    let metrics = metrics(cluster)?;
    if !metrics.contains(METRIC) {
        return Err(Error::NotSeen(format!("the API server's metric {METRIC}")));
    }
    let [controller, speakers] =
        COUNTED.map(|(_, schema)| sum(&metrics, METRIC, &[("flow_schema", schema)]).unwrap_or_default());
    Ok(Requests { controller, speakers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_flow_schema() {
        let metrics = format!(
            "# TYPE {METRIC} counter\n\
             {METRIC}{{flow_schema=\"bench-herald-speaker\",priority_level=\"workload-low\"}} 40\n\
             {METRIC}{{flow_schema=\"bench-herald-speaker\",priority_level=\"exempt\"}} 2e+06\n\
             {METRIC}{{flow_schema=\"service-accounts\",priority_level=\"workload-low\"}} 900\n"
        );
        assert_eq!(sum(&metrics, METRIC, &[("flow_schema", "bench-herald-speaker")]), Some(2_000_040.0));
        assert_eq!(sum(&metrics, METRIC, &[("flow_schema", "bench-herald-controller")]), None);
        let both = [("priority_level", "exempt"), ("flow_schema", "bench-herald-speaker")];
        assert_eq!(sum(&metrics, METRIC, &both), Some(2_000_000.0));
    }
}
