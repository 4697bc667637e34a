//! Who this cluster is, and the key that its hellos are authenticated with.

use super::key_ring::KeyRing;
use crate::net::hello_io::Keys;
use herald_runtime::{client::bounded, readiness::Condition, shutdown::Shutdown};
use herald_wire::hello::{ClusterId, Key};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{Api, Client};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Pause after a failed call.
const RETRY: Duration = Duration::from_secs(1);
/// How often the Secret is looked at again: that a key was replaced matters within a minute, and a watch would need the right to list Secrets.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The key that seals, and is accepted.
const CURRENT: &str = "key";
/// While keys are replaced: a second key that is accepted.
const PREVIOUS: &str = "previous";

/// The UID of `kube-system`: what tells two clusters on one LAN apart. Asked until it is known.
pub(crate) async fn cluster_id(client: Client) -> ClusterId {
    let namespaces: Api<Namespace> = Api::all(client);
    loop {
        let uid = match bounded(namespaces.get("kube-system")).await {
            Ok(namespace) => namespace.metadata.uid.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "cannot read namespace kube-system, whose UID names the cluster; retrying");
                sleep(RETRY).await;
                continue;
            }
        };
        if let Some(id) = parse_uid(&uid) {
            return id;
        }
        tracing::error!(uid, "the UID of namespace kube-system is no UUID; retrying");
        sleep(RETRY).await;
    }
}

/// A UUID: 32 hexadecimal digits, hyphens anywhere.
fn parse_uid(uid: &str) -> Option<ClusterId> {
    let digits: Vec<u8> = uid
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect();
    (digits.len() == 32).then_some(())?;
    bytes.try_into().ok().map(ClusterId)
}

/// Reads the key Secret, again and again: keys may be replaced at any time. What was known before stays in force while it cannot be read, is
/// deleted or has no usable key; `saved` is what was in force before a restart.
pub(crate) fn keys(
    client: Client,
    namespace: &str,
    name: &str,
    (cluster, saved): (ClusterId, Vec<Key>),
    condition: Condition,
    shutdown: Shutdown,
) -> watch::Receiver<Arc<Keys>> {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let (sender, receiver) = watch::channel(Arc::new(Keys { cluster, accepted: saved.clone() }));
    let name = name.to_owned();
    let work = async move {
        let mut ring = KeyRing::new(saved, Instant::now());
        let mut known: Option<BTreeMap<String, ByteString>> = None;
        let publish = |ring: &KeyRing| {
            let accepted = ring.accepted(Instant::now());
            sender.send_if_modified(|before| {
                let changed = before.accepted != accepted;
                if changed {
                    *before = Arc::new(Keys { cluster, accepted });
                }
                changed
            });
            !sender.borrow().accepted.is_empty()
        };
        loop {
            let read = bounded(secrets.get(&name)).await;
            let problem = match read {
                Ok(secret) => {
                    let data = secret.data.unwrap_or_default();
                    let keys = usable(&data, &name);
                    let problem = keys.is_empty().then(|| {
                        format!("Secret {name} has no usable data key {CURRENT:?}: delete it and the controller makes a new one")
                    });
                    if known.as_ref() != Some(&data) && !keys.is_empty() {
                        tracing::info!(secret = name, keys = keys.len(), "hello key read");
                        ring.follow(keys, Instant::now());
                    }
                    known = Some(data);
                    problem
                }
                Err(error) => {
                    Some(format!("Secret {name} cannot be read: {error}; the controller creates it when it is missing"))
                }
            };
            let pause = match (publish(&ring), problem) {
                (_, None) => {
                    condition.ready();
                    LOOK_AGAIN
                }
                (true, Some(problem)) => {
                    condition.ready_with(format!("the last good key stays in force: {problem}"));
                    LOOK_AGAIN
                }
                (false, Some(problem)) => {
                    tracing::info!(problem, "waiting for the hello key");
                    condition.not_ready(problem);
                    RETRY
                }
            };
            // Half of it: the ring changes with the time, too.
            sleep(pause / 2).await;
            publish(&ring);
            sleep(pause / 2).await;
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = shutdown.wait() => {}
        }
    });
    receiver
}

/// Its keys, the one that seals first.
fn usable(data: &BTreeMap<String, ByteString>, name: &str) -> Vec<Key> {
    let key = |field: &&str| match data.get(*field).map(|bytes| Key::new(&bytes.0)) {
        Some(Ok(key)) => Some(key),
        Some(Err(error)) => {
            tracing::error!(secret = name, field, %error, "the hello key is not usable");
            None
        }
        None => None,
    };
    [CURRENT, PREVIOUS].iter().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_sixteen_bytes() {
        let id = parse_uid("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(id.0[..3], [0, 0x11, 0x22]);
        assert_eq!(id.0[15], 0xff);
        for bad in ["", "00112233", "00112233-4455-6677-8899-aabbccddeefg", "00112233-4455-6677-8899-aabbccddeeff00"] {
            assert!(parse_uid(bad).is_none(), "{bad}");
        }
    }
}
