//! What the controller is told on its command line.

use clap::Args;
use herald_runtime::{client, log::LogFormat};

/// Namespace when neither a flag nor a service account says one: that of MetalLB, whose manifests work unchanged.
const DEFAULT_NAMESPACE: &str = "metallb-system";

/// Settings of the controller; MetalLB's names where the meaning is the same.
#[derive(Debug, Clone, Args)]
pub struct ControllerConfig {
    /// Namespace of the configuration, the lease and the hello key [default: that of the pod, else metallb-system]
    #[arg(long, env = "HERALD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the ConfigMap with the address pools
    #[arg(long, default_value = "config")]
    pub config: String,
    /// Serve only Services of this loadBalancerClass; without it, only those without a class
    #[arg(long)]
    pub lb_class: Option<String>,
    /// all, debug, info, warn, error or none
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// human or json
    #[arg(long, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Port of /healthz and /readyz
    #[arg(long, default_value_t = 17472)]
    pub health_probe_port: u16,
    /// Port of /metrics and /debug/state on 127.0.0.1; 0 = neither
    #[arg(long, default_value_t = 9120)]
    pub metrics_port: u16,
    /// Name of the Lease by which replicas elect the one that acts
    #[arg(long, default_value = "herald-controller")]
    pub lease_name: String,
    /// Name of the Secret with the key of the speakers' hellos; created when missing
    #[arg(long, default_value = "herald-hello-key")]
    pub hello_key_secret: String,
    /// Name of this pod: who we are in the election [default: the host name]
    #[arg(long, env = "HERALD_POD_NAME")]
    pub pod_name: Option<String>,
}

impl ControllerConfig {
    /// The namespace in force.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.namespace
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(client::own_namespace)
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// Who we are in the election. The pod's name survives a restart of its container, so a crash costs no waiting; outside of a pod the
    /// process id keeps two on one host apart.
    #[must_use]
    pub fn identity(&self) -> String {
        self.pod_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        })
    }
}
