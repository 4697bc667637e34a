//! The key by which speakers prove to each other that they belong together.

use herald_runtime::{client::bounded, shutdown::Shutdown};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use ring::rand::{SecureRandom, SystemRandom};
use std::time::Duration;

/// Data key of the Secret.
const DATA_KEY: &str = "key";
/// As long as the output of HMAC-SHA256: longer adds nothing.
const KEY_BYTES: usize = 32;
/// Pause before another try.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is looked whether the Secret is still there: a deleted one is missed by speakers that start, those that run keep the last key.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Creates the Secret with a random key when it is missing. Never changes one: rotating is the administrator's business, and an overwritten
/// key would split the speakers. Sees to it until the shutdown comes.
pub(crate) async fn ensure(client: Client, namespace: String, name: String, shutdown: Shutdown) {
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    while !shutdown.is_set() {
        let mut pause = RETRY;
        let mut key = vec![0; KEY_BYTES];
        if SystemRandom::new().fill(&mut key).is_err() {
            tracing::error!("the system has no randomness for the hello key, trying again");
        } else {
            let secret = Secret {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                type_: Some("Opaque".to_owned()),
                data: Some([(DATA_KEY.to_owned(), ByteString(key))].into()),
                ..Secret::default()
            };
            // Create, not get and create: the right to read Secrets is not needed, and there is no gap in between.
            match bounded(api.create(&PostParams::default(), &secret)).await {
                Ok(_) => {
                    tracing::info!(secret = name, "hello key created");
                    pause = LOOK_AGAIN;
                }
                Err(error) if error.is_conflict() => {
                    tracing::debug!(secret = name, "hello key exists");
                    pause = LOOK_AGAIN;
                }
                Err(error) => tracing::warn!(%error, secret = name, "hello key not created: speakers wait for it"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => {}
        }
    }
}
