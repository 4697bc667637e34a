//! What a speaker says about itself.

use std::time::Duration;

use herald_lab::Host;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::http;

/// Default port of the flag `--debug-port`.
const DEBUG_PORT: u16 = 17474;

impl Cluster {
    /// `/debug/state` of the speaker on a node.
    ///
    /// # Errors
    /// [`Error::Io`] when it does not answer.
    pub fn speaker_state(&self, host: Host) -> Result<Value> {
        let text = self.lab().in_netns(host, || {
            http::get(([127, 0, 0, 1], DEBUG_PORT).into(), "/debug/state", Duration::from_secs(5))
        })?;
        let text = text.map_err(Error::io(format!("/debug/state of the speaker on {host}")))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Unexpected(format!("/debug/state of {host}: {error}: {text}")))
    }
}
