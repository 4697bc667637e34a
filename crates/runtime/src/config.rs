//! What both daemons are told on their command line.

use crate::{client, log::LogFormat};
use clap::Args;

/// Namespace when neither a flag nor a service account says one: that of MetalLB, whose manifests work unchanged.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// Settings of both daemons; MetalLB's names where the meaning is the same.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Namespace of the configuration and the hello key [default: that of the pod, else metallb-system]
    #[arg(long, env = "HERALD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the ConfigMap with the address pools
    #[arg(long, default_value = "config")]
    pub config: String,
    /// Serve only Services of this loadBalancerClass; without it, only those without a class
    #[arg(long)]
    pub lb_class: Option<String>,
    /// Name of the Secret with the key of the speakers' hellos; the controller creates it when it is missing
    #[arg(long, default_value = "herald-hello-key")]
    pub hello_key_secret: String,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// human or json
    #[arg(long, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Port of /healthz and /readyz (the speaker's on 127.0.0.1, as it uses the node's network)
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Port of /metrics and /debug/state on 127.0.0.1; 0 = neither
    #[arg(long, default_value_t = 9120)]
    pub metrics_port: u16,
    /// Name of this pod: who it is in elections and events
    #[arg(long, env = "HERALD_POD_NAME")]
    pub pod_name: Option<String>,
}

impl Common {
    /// The namespace in force.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.namespace
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(client::own_namespace)
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// The pod's name, when there is one.
    #[must_use]
    pub fn pod_name(&self) -> Option<String> {
        self.pod_name.clone().filter(|name| !name.is_empty())
    }
}
