//! What the controller is told on its command line.

use crate::webhook::WebhookConfig;
use clap::Args;
use herald_core::fence::Limit;
use herald_runtime::config::{Common, duration};
use std::time::Duration;

/// Settings of the controller.
#[derive(Debug, Clone, Args)]
pub struct ControllerConfig {
    /// What the speaker is told too.
    #[command(flatten)]
    pub common: Common,
    /// Name of the Lease by which replicas elect the one that acts
    #[arg(long, default_value = "herald-controller")]
    pub lease_name: String,
    /// For how long an address that a foreign host has is not assigned, after the conflict was last seen (up to 86400s; 0s: no quarantine, and
    /// no Service moves away from such an address)
    #[arg(long, default_value = "600s", value_parser = quarantine)]
    pub conflict_quarantine: Duration,
    /// Take the pods of dead nodes out of the endpoints of Services, of so many nodes at once at most: a number, or a share of all as 20%
    #[arg(long)]
    pub fence_dead_nodes: Option<Limit>,
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

/// A duration of up to a day.
fn quarantine(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(86_400);
    let time = duration(text)?;
    if time <= most { Ok(time) } else { Err(format!("{text:?} is too long: at most 86400s")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantines() {
        assert_eq!((quarantine("0s"), quarantine("86400s")), (Ok(Duration::ZERO), Ok(Duration::from_secs(86_400))));
        for bad in ["86401s", "-1s", "long"] {
            assert!(quarantine(bad).is_err(), "{bad}");
        }
    }
}
