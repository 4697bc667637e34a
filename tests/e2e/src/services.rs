//! What a user does with Services, and what a user sees of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use herald_lab::Host;
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::cluster::{Cluster, NAMESPACE};
use crate::error::{Error, Result, eventually};
use crate::objects::{Deployment, Service};

/// Between two questions by kubectl: each costs a tenth of a second of the processor that everything runs on.
const PAUSE: Duration = Duration::from_millis(150);

/// Addresses in a Service's status, in its order.
fn ingress(service: &Value) -> Vec<IpAddr> {
    let entries = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect()
}

impl Cluster {
    /// `kubectl apply` of objects, all in one call.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        Ok(self.lab().kubectl_apply(&list.to_string()).map(drop)?)
    }

    /// Creates or changes a Deployment and waits until all its pods are ready and old ones are gone.
    ///
    /// # Errors
    /// kubectl's stderr, with the rollout's state when it did not end in time.
    pub fn deploy(&self, deployment: &Deployment) -> Result<()> {
        self.apply(&[deployment.object()])?;
        let name = format!("deployment/{}", deployment.name);
        let timeout = format!("{}s", PATIENCE.as_secs());
        Ok(self.lab().kubectl(&["-n", NAMESPACE, "rollout", "status", &name, "--timeout", &timeout]).map(drop)?)
    }

    /// Creates or changes a Service; does not wait.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn serve(&self, service: &Service) -> Result<()> {
        self.apply(&[service.object()])
    }

    /// A Deployment with a Service of the same name on ports 80 (TCP) and 9999 (UDP); waits for pods and addresses.
    ///
    /// # Errors
    /// See [`Cluster::deploy`] and [`Cluster::external_ips`].
    pub fn expose(&self, name: &str, replicas: u32) -> Result<Vec<IpAddr>> {
        self.serve(&Service::new(name, name))?;
        self.deploy(&Deployment::new(name, replicas))?;
        self.external_ips(name)
    }

    /// EXTERNAL-IPs of a Service, waiting (by a watch) until there is one.
    ///
    /// # Errors
    /// kubectl's stderr when none came.
    pub fn external_ips(&self, service: &str) -> Result<Vec<IpAddr>> {
        let target = format!("service/{service}");
        let field = "--for=jsonpath={.status.loadBalancer.ingress[0].ip}";
        let args = ["-n", NAMESPACE, "wait", field, &target, "--timeout=60s"];
        self.lab().kubectl(&args)?;
        self.current_ips(service)
    }

    /// EXTERNAL-IPs of a Service as they are now.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn current_ips(&self, service: &str) -> Result<Vec<IpAddr>> {
        Ok(ingress(&self.lab().kubectl_json(&["-n", NAMESPACE, "get", "service", service])?))
    }

    /// EXTERNAL-IPs of all Services of the tests' namespace.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn all_ips(&self) -> Result<BTreeMap<String, Vec<IpAddr>>> {
        let list = self.lab().kubectl_json(&["-n", NAMESPACE, "get", "services"])?;
        let items = list["items"].as_array().into_iter().flatten();
        Ok(items.filter_map(|item| Some((item["metadata"]["name"].as_str()?.to_owned(), ingress(item)))).collect())
    }

    /// Waits until a Service has exactly these addresses.
    ///
    /// # Errors
    /// [`Error::Timeout`] with those that it has.
    pub fn await_ips(&self, service: &str, wanted: &[&str]) -> Result<()> {
        eventually(&format!("service {service} to have {wanted:?}"), PATIENCE, || {
            let now: Vec<String> = self.current_ips(service)?.iter().map(ToString::to_string).collect();
            if now == wanted { Ok(Ok(())) } else { Ok(Err(format!("{now:?}"))) }.inspect(|_| std::thread::sleep(PAUSE))
        })
    }

    /// Deletes a Service and waits until it is gone.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn delete_service(&self, service: &str) -> Result<()> {
        Ok(self.lab().kubectl(&["-n", NAMESPACE, "delete", "service", service, "--wait=true"]).map(drop)?)
    }

    /// Deletes everything that tests create, and waits until the Services are gone.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn clean(&self) -> Result<()> {
        let kinds = "services,deployments,pods";
        let args = ["-n", NAMESPACE, "delete", kinds, "--all", "--wait=true", "--timeout=120s"];
        Ok(self.lab().kubectl(&args).map(drop)?)
    }

    /// Pods of a Deployment that are ready and not ending, with the node that they run on.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn nodes_of(&self, deployment: &str) -> Result<BTreeMap<String, Host>> {
        let selector = format!("app={deployment}");
        let list = self.lab().kubectl_json(&["-n", NAMESPACE, "get", "pods", "-l", &selector])?;
        pods(&list, is_ready)
    }

    /// Events about an object, newest last.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let args = ["-n", namespace, "get", "events", "--field-selector", &selector, "--sort-by=.lastTimestamp"];
        let list = self.lab().kubectl_json(&args)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for an event with this reason about a Service of the tests, and returns the newest one.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the reasons of those that came.
    pub fn await_event(&self, service: &str, reason: &str) -> Result<Value> {
        self.await_event_in(NAMESPACE, "Service", service, reason)
    }

    /// Waits for an event with this reason about any object.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the reasons of those that came.
    pub fn await_event_in(&self, namespace: &str, kind: &str, name: &str, reason: &str) -> Result<Value> {
        eventually(&format!("event {reason} about {kind} {name}"), PATIENCE, || {
            let events = self.events(namespace, kind, name)?;
            let found = events.iter().rev().find(|event| event["reason"] == reason).cloned();
            std::thread::sleep(PAUSE);
            Ok(found.ok_or_else(|| {
                let reasons: BTreeSet<&str> = events.iter().filter_map(|event| event["reason"].as_str()).collect();
                format!("{reasons:?}")
            }))
        })
    }

    /// Pods of Herald that are ready, of one component (`controller` or `speaker`), with their nodes.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn herald_pods(&self, component: &str) -> Result<BTreeMap<String, Host>> {
        pods(&self.list_pods(component)?, is_ready)
    }

    /// The same, and those that are not ready: a probe may have had no answer in time where processor time is short.
    ///
    /// # Errors
    /// kubectl's stderr.
    pub fn running_herald_pods(&self, component: &str) -> Result<BTreeMap<String, Host>> {
        pods(&self.list_pods(component)?, |pod| pod["status"]["phase"] == "Running")
    }

    fn list_pods(&self, component: &str) -> Result<Value> {
        let selector = format!("component={component}");
        Ok(self.lab().kubectl_json(&["-n", crate::HERALD_NAMESPACE, "get", "pods", "-l", &selector])?)
    }
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn pods(list: &Value, counts: impl Fn(&Value) -> bool) -> Result<BTreeMap<String, Host>> {
    let mut pods = BTreeMap::new();
    for pod in list["items"].as_array().into_iter().flatten() {
        if !counts(pod) || !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let (name, node) = (pod["metadata"]["name"].as_str(), pod["spec"]["nodeName"].as_str());
        let (Some(name), Some(node)) = (name, node) else {
            return Err(Error::Unexpected(format!("a pod without name or node: {pod}")));
        };
        pods.insert(name.to_owned(), node.parse()?);
    }
    Ok(pods)
}
