//! Whether a caller may read metrics: the API server says who a bearer token is (TokenReview), and whether they may (SubjectAccessReview on
//! the path), as it does for every component of Kubernetes that protects its metrics.

use crate::client::{self, CallError};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use ring::digest::{SHA256, digest};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// How long a permission is believed without asking again.
const ALLOWED_FOR: Duration = Duration::from_secs(60);
/// How long a refusal is.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long a permission is believed beyond that while the API server cannot be asked: metrics are wanted most when something is down.
const STALE_FOR: Duration = Duration::from_secs(15 * 60);
/// Bound of each of the two calls.
const CALL: Duration = Duration::from_secs(4);
/// How long a caller waits for its turn to be reviewed.
const TURN: Duration = Duration::from_secs(4);
/// Pause between two reviews: a flood of invented tokens must not become a flood at the API server.
const PACE: Duration = Duration::from_millis(100);
/// Tokens that are remembered. Prometheus replicas have one each, and change it every hour.
const REMEMBERED: usize = 64;
/// Longer than any token that a cluster issues.
const LONGEST_TOKEN: usize = 8 * 1024;

/// What a caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    Allowed,
    /// Nothing: the token is nobody's.
    Unauthenticated,
    /// Nothing: somebody without the permission.
    Forbidden,
    /// Not known: the API server does not say.
    Unknown,
}

/// A SHA-256: the tokens themselves are not kept.
type Digest = Vec<u8>;

#[derive(Debug, Clone, Copy)]
struct Known {
    access: Access,
    /// When the API server said it.
    at: Instant,
}

/// Asks the API server, and remembers for a short time what it said.
pub(super) struct Reviewer {
    client: Client,
    path: &'static str,
    known: Mutex<BTreeMap<Digest, Known>>,
    /// One review at a time; when the next may begin.
    turn: tokio::sync::Mutex<Instant>,
}

impl Reviewer {
    /// Reviews callers who GET this path.
    pub(super) fn new(client: Client, path: &'static str) -> Self {
        Self { client, path, known: Mutex::default(), turn: tokio::sync::Mutex::new(Instant::now()) }
    }

    /// What the holder of the token may.
    pub(super) async fn access(&self, token: &str) -> Access {
        if token.is_empty() || token.len() > LONGEST_TOKEN {
            return Access::Unauthenticated;
        }
        let digest = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        if let Some(access) = self.remembered(&digest) {
            return access;
        }
        let Ok(mut turn) = timeout(TURN, self.turn.lock()).await else { return self.last_word(&digest) };
        // Somebody with the same token may have been reviewed meanwhile.
        if let Some(access) = self.remembered(&digest) {
            return access;
        }
        sleep_until(*turn).await;
        *turn = Instant::now() + PACE;
        match self.ask(token).await {
            Ok(access) => {
                self.remember(digest, access);
                access
            }
            Err(error) => {
                // Paced by the turns, and with the fix where it is RBAC.
                if error.is_forbidden() {
                    tracing::error!(%error, "metrics cannot be served: the ServiceAccount may not create TokenReviews and SubjectAccessReviews");
                } else {
                    tracing::warn!(%error, "a caller of /metrics cannot be reviewed");
                }
                self.last_word(&digest)
            }
        }
    }

    async fn ask(&self, token: &str) -> Result<Access, CallError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let tokens: Api<TokenReview> = Api::all(self.client.clone());
        let status = client::within(CALL, tokens.create(&PostParams::default(), &review)).await?.status;
        let status = status.unwrap_or_default();
        let (Some(true), Some(user)) = (status.authenticated, status.user) else { return Ok(Access::Unauthenticated) };

        let UserInfo { username, groups, uid, extra } = user;
        let name = username.clone().unwrap_or_default();
        let spec = SubjectAccessReviewSpec {
            user: username,
            groups,
            uid,
            extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(self.path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let subjects: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = client::within(CALL, subjects.create(&PostParams::default(), &review)).await?.status;
        // `allowed` alone decides: `denied` says how strongly.
        if status.is_some_and(|status| status.allowed) {
            return Ok(Access::Allowed);
        }
        tracing::info!(
            user = name,
            path = self.path,
            "may not read metrics: RBAC has to allow get on this nonResourceURL"
        );
        Ok(Access::Forbidden)
    }

    fn remembered(&self, digest: &[u8]) -> Option<Access> {
        let known = *self.lock().get(digest)?;
        let fresh = if known.access == Access::Allowed { ALLOWED_FOR } else { REFUSED_FOR };
        (known.at.elapsed() < fresh).then_some(known.access)
    }

    /// What holds when nobody can be asked.
    fn last_word(&self, digest: &[u8]) -> Access {
        let known = self.lock().get(digest).copied();
        let held =
            known.filter(|known| known.access == Access::Allowed && known.at.elapsed() < ALLOWED_FOR + STALE_FOR);
        held.map_or(Access::Unknown, |known| known.access)
    }

    fn remember(&self, digest: Digest, access: Access) {
        let mut known = self.lock();
        known.insert(digest, Known { access, at: Instant::now() });
        while known.len() > REMEMBERED {
            // Refused ones first, then the oldest: invented tokens do not push out a real one.
            let first = known.iter().min_by_key(|(_, known)| (known.access == Access::Allowed, known.at));
            let Some(digest) = first.map(|(digest, _)| digest.clone()) else { return };
            known.remove(&digest);
        }
    }

    /// A panic elsewhere leaves whole entries behind.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
