//! What a speaker keeps over a restart of its container, so that it can go on while the API server is away: as bytes and back.
//!
//! A line that names the format, one line of JSON, and a line with the SHA-256 of both in hexadecimal digits. What is damaged, of another
//! format or of another node is refused as a whole.

use herald_core::{NodeName, ownership::Snapshot, reason::Reason};
use herald_wire::hello::{ClusterId, Key};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

/// The line that a file begins with. The number grows with every change of what is in [`Saved`]: an older one is not read.
const HEADER: &str = "herald-state 1";

/// What was last known to be true longer ago is not used: by then Services, nodes and keys may well be others, and who has to repair a
/// cluster after a day without an API server looks at its addresses anyway.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that a speaker needs from the API server to announce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its node.
    pub node: NodeName,
    /// Its cluster.
    #[serde(with = "cluster")]
    pub cluster: ClusterId,
    /// When this was last known to be true, in seconds since the epoch.
    pub at: i64,
    /// Newest resourceVersion in the snapshot.
    pub resource_version: u64,
    /// The keys of the hellos; the first one seals.
    #[serde(with = "keys")]
    pub keys: Vec<Key>,
    /// Expressions for links that are never used.
    pub excluded: Vec<String>,
    /// The state of the cluster.
    #[serde(with = "herald_core::ownership::shared")]
    pub snapshot: Arc<Snapshot>,
}

mod cluster {
    use super::{ClusterId, Deserialize};
    use serde::{Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(cluster: &ClusterId, serializer: S) -> Result<S::Ok, S::Error> {
        cluster.0.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClusterId, D::Error> {
        Deserialize::deserialize(deserializer).map(ClusterId)
    }
}

mod keys {
    use super::{Deserialize, Key};
    use serde::{Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(keys: &[Key], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter().map(Key::reveal))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Key>, D::Error> {
        let keys: Vec<Vec<u8>> = Vec::deserialize(deserializer)?;
        keys.iter().map(|key| Key::new(key).map_err(de::Error::custom)).collect()
    }
}

/// Why what was saved is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("the saved state cannot be read ({0})")]
    Unreadable(String),
    /// Of another format, or no such file at all.
    #[error("the saved state is of another version of Herald")]
    Version,
    /// Cut off or changed.
    #[error("the saved state is damaged: its checksum is wrong")]
    Damaged,
    /// Undamaged and not what is expected.
    #[error("the saved state is not understood ({0})")]
    Content(String),
    /// Of another node.
    #[error("the saved state is of node {0}")]
    Node(NodeName),
    /// Of another cluster.
    #[error("the saved state is of another cluster")]
    Cluster,
    /// Longer ago than [`MAX_AGE`].
    #[error("the saved state is {} hours old, too old to be used", .0.as_secs() / 3600)]
    TooOld(Duration),
}

impl Reason for Unusable {
    fn label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Version => "version",
            Self::Damaged => "damaged",
            Self::Content(_) => "content",
            Self::Node(_) => "node",
            Self::Cluster => "cluster",
            Self::TooOld(_) => "too_old",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Unreadable(_) => {
                "see the volume of --state-dir; until the API server answers this speaker takes no part"
            }
            Self::Node(_) => "give every node a --state-dir of its own",
            Self::Version | Self::Damaged | Self::Content(_) | Self::Cluster | Self::TooOld(_) => {
                "nothing is to be done while the API server answers; while it does not, this speaker takes no part"
            }
        })
    }
}

/// Hashes what is written.
struct Hashing<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Saved {
    /// Writes it, piece by piece: `out` should have a buffer.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut hashing = Hashing { out, hash: Sha256::new() };
        writeln!(hashing, "{HEADER}")?;
        serde_json::to_writer(&mut hashing, self)?;
        writeln!(hashing)?;
        let Hashing { mut out, hash } = hashing;
        writeln!(out, "{}", hex(hash))?;
        out.flush()
    }

    /// Reads it back, for a speaker on `node` at `now`, in seconds since the epoch.
    ///
    /// # Errors
    /// Why it is not to be used.
    pub fn read(bytes: &[u8], node: &NodeName, now: i64) -> Result<Self, Unusable> {
        let rest = bytes.strip_prefix(HEADER.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
        let rest = rest.ok_or(Unusable::Version)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Unusable::Damaged)?;
        let (json, sum) = rest.split_at_checked(end + 1).ok_or(Unusable::Damaged)?;
        let hash = Sha256::new().chain_update(HEADER).chain_update(b"\n").chain_update(json);
        if sum != format!("{}\n", hex(hash)).as_bytes() {
            return Err(Unusable::Damaged);
        }
        let saved: Self = serde_json::from_slice(json).map_err(|error| Unusable::Content(error.to_string()))?;
        if saved.node != *node {
            return Err(Unusable::Node(saved.node));
        }
        // A clock that was set back is no reason to give up.
        let age = Duration::from_secs(u64::try_from(now.saturating_sub(saved.at)).unwrap_or_default());
        if age > MAX_AGE {
            return Err(Unusable::TooOld(age));
        }
        Ok(saved)
    }

    /// What is decided on: not connected, and marked as saved.
    #[must_use]
    pub fn into_snapshot(self) -> Snapshot {
        let stamp = herald_wire::hello::Stamp { connected: false, resource_version: self.resource_version };
        Snapshot { stamp, saved_at: Some(self.at), ..Arc::unwrap_or_clone(self.snapshot) }
    }
}

#[cfg(test)]
mod tests;
