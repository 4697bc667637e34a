//! Who this cluster is, and the key that its hellos are authenticated with.

use crate::net::hello_io::Keys;
use herald_runtime::{client::bounded, readiness::Condition, shutdown::Shutdown};
use herald_wire::hello::{ClusterId, Key};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{Api, Client};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

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

/// Reads the key Secret, again and again: keys may be replaced at any time.
pub(crate) fn keys(
    client: Client,
    namespace: &str,
    name: &str,
    cluster: ClusterId,
    condition: Condition,
    shutdown: Shutdown,
) -> watch::Receiver<Arc<Keys>> {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let (sender, receiver) = watch::channel(Arc::new(Keys { cluster, accepted: Vec::new() }));
    let name = name.to_owned();
    let work = async move {
        let mut known: Option<BTreeMap<String, ByteString>> = None;
        loop {
            let pause = match bounded(secrets.get(&name)).await {
                Ok(secret) => {
                    let data = secret.data.unwrap_or_default();
                    if known.as_ref() != Some(&data) {
                        take(&data, cluster, &sender, &condition, &name);
                        known = Some(data);
                    }
                    if sender.borrow().accepted.is_empty() { RETRY } else { LOOK_AGAIN }
                }
                Err(error) if known.is_none() => {
                    condition.not_ready(format!(
                        "Secret {name} cannot be read: {error}; the controller creates it when it is missing"
                    ));
                    tracing::info!(%error, secret = name, "waiting for the hello key");
                    RETRY
                }
                // What is known stays in force while the API server is away.
                Err(_) => LOOK_AGAIN,
            };
            sleep(pause).await;
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

fn take(
    data: &BTreeMap<String, ByteString>,
    cluster: ClusterId,
    sender: &watch::Sender<Arc<Keys>>,
    condition: &Condition,
    name: &str,
) {
    let mut accepted = Vec::new();
    for field in [CURRENT, PREVIOUS] {
        match data.get(field).map(|bytes| Key::new(&bytes.0)) {
            Some(Ok(key)) => accepted.push(key),
            Some(Err(error)) => tracing::error!(secret = name, field, %error, "the hello key is not usable"),
            None => {}
        }
    }
    if accepted.is_empty() {
        condition.not_ready(format!(
            "Secret {name} has no usable data key {CURRENT:?}: delete it and the controller makes a new one"
        ));
    } else {
        condition.ready();
        tracing::info!(secret = name, keys = accepted.len(), "hello key read");
    }
    sender.send_replace(Arc::new(Keys { cluster, accepted }));
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
