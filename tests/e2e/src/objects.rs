//! Deployments and Services as values that become JSON for `kubectl apply`.

use herald_lab::Host;
use serde_json::{Map, Value, json};

use crate::cluster::NAMESPACE;

/// A Deployment of the echo server.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Name, also the value of its pods' label `app`.
    pub name: String,
    /// Pods.
    pub replicas: u32,
    /// Nodes that may run its pods; empty: all workers.
    pub on: Vec<Host>,
    /// Nodes that may not.
    pub not_on: Vec<Host>,
}

impl Deployment {
    /// Pods spread over the workers.
    #[must_use]
    pub fn new(name: &str, replicas: u32) -> Self {
        Self { name: name.to_owned(), replicas, on: Vec::new(), not_on: Vec::new() }
    }

    /// The same, only on these nodes.
    #[must_use]
    pub fn on(mut self, hosts: &[Host]) -> Self {
        self.on = hosts.to_vec();
        self
    }

    /// The same, away from these nodes.
    #[must_use]
    pub fn not_on(mut self, hosts: &[Host]) -> Self {
        self.not_on = hosts.to_vec();
        self
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Value {
        let rule = |operator: &str, hosts: &[Host]| {
            let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            json!({"key": "kubernetes.io/hostname", "operator": operator, "values": names})
        };
        let mut rules = Vec::new();
        if !self.on.is_empty() {
            rules.push(rule("In", &self.on));
        }
        if !self.not_on.is_empty() {
            rules.push(rule("NotIn", &self.not_on));
        }
        let app = json!({"app": self.name});
        let mut spec = json!({
            "terminationGracePeriodSeconds": 1,
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": app},
            }],
            "containers": [{
                "name": "echo", "image": "herald-lab/echo:1",
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 80}, "periodSeconds": 1},
            }],
        });
        if !rules.is_empty() {
            let terms = json!([{"matchExpressions": rules}]);
            spec["affinity"] = json!({
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
            });
        }
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": app},
                "template": {"metadata": {"labels": app}, "spec": spec},
            },
        })
    }
}

/// A port of a Service; the pods listen on 80 (TCP) and 9999 (UDP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// TCP.
    Tcp(u16),
    /// UDP.
    Udp(u16),
}

impl Port {
    fn object(self) -> Value {
        match self {
            Self::Tcp(port) => json!({"name": format!("tcp{port}"), "protocol": "TCP", "port": port, "targetPort": 80}),
            Self::Udp(port) => {
                json!({"name": format!("udp{port}"), "protocol": "UDP", "port": port, "targetPort": 9999})
            }
        }
    }
}

/// A Service of type LoadBalancer.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Deployment whose pods it leads to.
    pub app: String,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Whatever else stands in its spec.
    pub spec: Map<String, Value>,
}

impl Service {
    /// Ports 80 (TCP) and 9999 (UDP), single stack IPv4, everything else as it comes.
    #[must_use]
    pub fn new(name: &str, app: &str) -> Self {
        Self {
            name: name.to_owned(),
            app: app.to_owned(),
            annotations: Vec::new(),
            ports: vec![Port::Tcp(80), Port::Udp(9999)],
            spec: Map::new(),
        }
    }

    /// With an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With other ports.
    #[must_use]
    pub fn ports(mut self, ports: &[Port]) -> Self {
        self.ports = ports.to_vec();
        self
    }

    /// With a field of its spec, e.g. `with("externalTrafficPolicy", "Local")`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(field.to_owned(), value.into());
        self
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Value {
        let annotations: Map<String, Value> =
            self.annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
        let ports: Vec<Value> = self.ports.iter().map(|port| port.object()).collect();
        let mut spec = self.spec.clone();
        spec.insert("type".into(), "LoadBalancer".into());
        spec.insert("selector".into(), json!({"app": self.app}));
        spec.insert("ports".into(), ports.into());
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "annotations": annotations},
            "spec": spec,
        })
    }
}
