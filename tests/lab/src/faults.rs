//! What can be done to a running lab.

use std::fs;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::{Host, Lan};
use crate::lab::Lab;
use crate::node::NodeSpec;
use crate::run::{output, wait_until};
use crate::wiring::{self, Port};
use crate::{packages, power};

const API_SERVER: &str = "kube-apiserver";

impl Lab {
    /// Power loss: the port goes down first, so that no dying packet leaves; then every process of the host is gone, and
    /// what the kernel knew for it. Its disk stays.
    ///
    /// # Errors
    /// [`Error::Timeout`] when a process will not end.
    pub fn power_off(&self, host: Host) -> Result<()> {
        for lan in self.options.lans() {
            match wiring::set_port(&self.place, host, *lan, Port::Cut) {
                Ok(()) | Err(Error::HostOff(_)) => {}
                Err(error) => return Err(error),
            }
        }
        power::stop(&self.place, &self.cgroups, host)?;
        wiring::host_down(&self.place, host)
    }

    /// Power on again: waits until the host has started its daemons (a node is Ready a few seconds later).
    ///
    /// # Errors
    /// What the host's boot log says.
    pub fn power_on(&self, host: Host) -> Result<()> {
        let hosts = self.hosts();
        if !hosts.contains(&host) {
            return Err(Error::NoSuchHost(host.to_string()));
        }
        wiring::host_up(&self.place, host, self.options.lans())?;
        wiring::pod_routes(&self.place, host, &hosts)?;
        let cni = packages::ensure()?;
        power::start(&self.place, &self.spec(host, &cni), &power::lab_program()?)?;
        power::wait_booted(&self.place, &self.cgroups, host)
    }

    /// Whether the host is on.
    #[must_use]
    pub fn is_on(&self, host: Host) -> bool {
        power::init_pid(&self.place, &self.cgroups, host).is_some()
    }

    /// Pulls the network cable of the first LAN: the host sees no carrier.
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn cut(&self, host: Host) -> Result<()> {
        self.set_port(host, Lan::First, Port::Cut)
    }

    /// The switch drops every frame to and from the host on the first LAN; the carrier stays.
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn silence(&self, host: Host) -> Result<()> {
        self.set_port(host, Lan::First, Port::Silenced)
    }

    /// Undoes [`Lab::cut`] and [`Lab::silence`].
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn heal(&self, host: Host) -> Result<()> {
        self.set_port(host, Lan::First, Port::Up)
    }

    /// Puts the host's port on any LAN into a state.
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn set_port(&self, host: Host, lan: Lan, state: Port) -> Result<()> {
        wiring::set_port(&self.place, host, lan, state)
    }

    /// Stops kube-apiserver at once (SIGKILL) and keeps it stopped; everything else goes on.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::Timeout`].
    pub fn stop_api(&self) -> Result<()> {
        self.hold(Host::ControlPlane, API_SERVER)
    }

    /// Starts kube-apiserver again and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::Timeout`].
    pub fn start_api(&self) -> Result<()> {
        self.release(Host::ControlPlane, API_SERVER)?;
        self.wait_api(Duration::from_secs(60))
    }

    /// Stops a daemon of a host (`kubelet`, `kube-proxy`, `containerd`, `kube-controller-manager`, …) and keeps it stopped.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::Timeout`].
    pub fn hold(&self, host: Host, daemon: &str) -> Result<()> {
        if !self.is_on(host) {
            return Err(Error::HostOff(host.to_string()));
        }
        let marker = NodeSpec::hold_marker(&self.place.host_dir(host), daemon);
        fs::write(&marker, "").map_err(Error::io("writing", &marker))?;
        // Looked for again until none is left: the host's init may be starting one at this very moment.
        wait_until(&format!("{daemon} on {host} to end"), Duration::from_secs(10), || {
            let pids = self.program_pids(host, daemon);
            power::end(&pids);
            Ok(pids.is_empty().then_some(()))
        })
    }

    /// Undoes [`Lab::hold`]; the host starts the daemon within half a second.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::Io`].
    pub fn release(&self, host: Host, daemon: &str) -> Result<()> {
        if !self.is_on(host) {
            return Err(Error::HostOff(host.to_string()));
        }
        let marker = NodeSpec::hold_marker(&self.place.host_dir(host), daemon);
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", &marker)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn api_ready(&self) -> Result<bool> {
        Ok(output(&mut self.kubectl_command(&["get", "--raw", "/readyz", "--request-timeout=2s"])?)?.status.success())
    }

    pub(crate) fn wait_api(&self, timeout: Duration) -> Result<()> {
        wait_until("the API server", timeout, || {
            if !self.is_on(Host::ControlPlane) {
                return Err(Error::HostOff(Host::ControlPlane.to_string()));
            }
            // The marker first: asking costs more than looking.
            Ok((NodeSpec::api_marker(self.place.dir()).exists() && self.api_ready()?).then_some(()))
        })
    }
}
