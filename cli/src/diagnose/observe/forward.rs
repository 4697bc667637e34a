//! One HTTP request to a port on a pod's loopback, through the API server.

use herald_runtime::client::describe;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::time::Duration;
use tokio::time::timeout;

/// For everything about one pod.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the reason why the port cannot be used, once it is known that it cannot.
const REASON: Duration = Duration::from_millis(500);
/// Longest answer that is taken.
const LONGEST: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("no port-forward: {0}")]
    Forward(String),
    #[error("port {port} on its loopback does not answer: {why}")]
    Port { port: u16, why: String },
    #[error("it answers {0}")]
    Status(http::StatusCode),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
}

/// The body of the answer.
pub(super) async fn get(api: &Api<Pod>, pod: &str, port: u16, path: &str) -> Result<Bytes, ForwardError> {
    timeout(PATIENCE, exchange(api, pod, port, path)).await.map_err(|_| ForwardError::Timeout)?
}

async fn exchange(api: &Api<Pod>, pod: &str, port: u16, path: &str) -> Result<Bytes, ForwardError> {
    let mut forwarder = api.portforward(pod, &[port]).await.map_err(|error| ForwardError::Forward(describe(&error)))?;
    let refused = forwarder.take_error(port);
    let Some(stream) = forwarder.take_stream(port) else {
        return Err(ForwardError::Port { port, why: "there is no stream".to_owned() });
    };
    match ask(TokioIo::new(stream), path).await {
        Ok(answer) => answer,
        Err(why) => {
            // What the kubelet says is better than that the stream ended.
            let said = match refused {
                Some(refused) => timeout(REASON, refused).await.ok().flatten(),
                None => None,
            };
            let why = said.map_or(why, |said| said.trim().to_owned());
            Err(ForwardError::Port { port, why })
        }
    }
}

async fn ask(
    stream: TokioIo<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>,
    path: &str,
) -> Result<Result<Bytes, ForwardError>, String> {
    let failed = |error: &(dyn std::error::Error + 'static)| describe(error);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| failed(&error))?;
    // Ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Ok(Err(ForwardError::Status(response.status())));
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    body.map(|body| Ok(body.to_bytes())).map_err(|error| error.to_string())
}
