//! What the controller is told on its command line.

use crate::webhook::WebhookConfig;
use clap::Args;
use herald_runtime::config::Common;

/// Settings of the controller.
#[derive(Debug, Clone, Args)]
pub struct ControllerConfig {
    /// What the speaker is told too.
    #[command(flatten)]
    pub common: Common,
    /// Name of the Lease by which replicas elect the one that acts
    #[arg(long, default_value = "herald-controller")]
    pub lease_name: String,
    /// Whether and how configuration objects are reviewed.
    #[command(flatten)]
    pub webhook: WebhookConfig,
}

impl ControllerConfig {
    /// Who we are in the election. The pod's name survives a restart of its container, so a crash costs no waiting; outside of a pod the
    /// process id keeps two on one host apart.
    #[must_use]
    pub fn identity(&self) -> String {
        self.common.pod_name().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}-{}", host.trim(), std::process::id())
        })
    }
}
