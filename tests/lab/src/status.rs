//! What is on and plugged in.

use crate::error::Result;
use crate::host::{Host, Lan};
use crate::lab::Lab;
use crate::power;
use crate::wiring::{self, Port};

/// State of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// The host.
    pub host: Host,
    /// Its PID 1 as this process sees it; `None` when it is off.
    pub init: Option<i32>,
    /// Its ports on the switch.
    pub ports: Vec<(Lan, Port)>,
}

impl Lab {
    /// State of every host.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] when the switch cannot be asked.
    pub fn status(&self) -> Result<Vec<HostStatus>> {
        let of = |host| -> Result<HostStatus> {
            let lans = self.options.lans().iter();
            let ports = lans.map(|lan| Ok((*lan, wiring::port(&self.place, host, *lan)?))).collect::<Result<_>>()?;
            Ok(HostStatus { host, init: power::init_pid(&self.place, &self.cgroups, host), ports })
        };
        self.hosts().into_iter().map(of).collect()
    }
}
