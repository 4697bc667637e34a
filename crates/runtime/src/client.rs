//! Connections to the API server on which nothing hangs.

pub use kube::Client;
use kube::{Config, config::InferConfigError};
use std::{path::Path, time::Duration};

/// Bound of every single API call; kube retries 429, 503 and 504 within it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch runs before the server ends it (and the client resumes): bounds how late a dead connection is noticed.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a pod finds its own namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The clients of a daemon.
#[derive(Clone)]
pub struct Clients {
    /// For everything but leases: retries, reads may take as long as a watch.
    pub main: Client,
    /// For leases: no retries, 5 s of silence end a call, as an answer that comes too late is worth nothing.
    pub lease: Client,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a service account nor a kubeconfig.
    #[error("no way to the API server: run in a pod with a service account, or set KUBECONFIG: {0}")]
    Config(#[from] InferConfigError),
    /// The configuration cannot be used.
    #[error("the connection to the API server cannot be set up: {0}")]
    Client(#[from] kube::Error),
}

/// Clients from KUBECONFIG (or `~/.kube/config`) or the pod's service account. Does not talk to the server yet.
///
/// # Errors
/// No or unusable configuration.
pub async fn connect() -> Result<Clients, ConnectError> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than the longest silence of a healthy watch, which the server ends after WATCH_TIMEOUT.
    config.read_timeout = Some(WATCH_TIMEOUT + Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(10));
    let mut lease = config.clone();
    lease.default_retry = false;
    lease.read_timeout = Some(Duration::from_secs(5));
    lease.write_timeout = Some(Duration::from_secs(5));
    Ok(Clients { main: Client::try_from(config)?, lease: Client::try_from(lease)? })
}

/// The namespace of this pod, from its service account; `None` outside of a pod.
#[must_use]
pub fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string(Path::new(NAMESPACE_FILE)).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Why an API call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time; whether the server did it is not known.
    #[error("the API server did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// An error from the server or the connection.
    #[error("{}", describe(.0))]
    Api(#[from] kube::Error),
}

impl CallError {
    /// 404 Not Found.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 404)
    }

    /// 409 Conflict: the object changed since it was read (or, when creating, exists already).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }

    /// 403 Forbidden: RBAC does not allow it.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 403)
    }
}

/// An API call that ends within [`CALL_TIMEOUT`].
///
/// # Errors
/// The call's own, or no answer in time.
pub async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    within(CALL_TIMEOUT, call).await
}

/// An API call that ends within `limit`.
///
/// # Errors
/// The call's own, or no answer in time.
pub async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    tokio::time::timeout(limit, call).await.map_err(|_| CallError::Timeout(limit))?.map_err(CallError::Api)
}

/// An error in one line with its causes: kube shows the outermost one only (`client error (Connect)`), or a status as a Rust structure.
#[must_use]
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let status = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(format!("{} ({} {})", status.message, status.code, status.reason)),
            _ => None,
        };
        let is_end = status.is_some();
        let text = status.unwrap_or_else(|| error.to_string());
        // Some carry their cause in their own text: the longer text says it all.
        match parts.last_mut() {
            Some(last) if last.contains(&text) => {}
            Some(last) if !is_end && text.contains(last.as_str()) => *last = text,
            _ => parts.push(text),
        }
        next = if is_end { None } else { error.source() };
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_connection_error_tells_its_cause() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = CallError::Api(kube::Error::Service(Box::new(cause)));
        assert_eq!(error.to_string(), "ServiceError: connection refused");
    }

    #[test]
    fn a_status_is_told_in_one_line() {
        let status = Status::failure("services \"a\" not found", "NotFound").with_code(404);
        let error = CallError::Api(kube::Error::Api(status.boxed()));
        assert!(error.is_not_found() && !error.is_conflict());
        assert_eq!(error.to_string(), "services \"a\" not found (404 NotFound)");
        let watch = kube::runtime::watcher::Error::InitialListFailed(kube::Error::Api(
            Status::failure("no rights", "Forbidden").with_code(403).boxed(),
        ));
        let text = describe(&watch);
        assert!(text.ends_with("no rights (403 Forbidden)"), "{text}");
    }
}
