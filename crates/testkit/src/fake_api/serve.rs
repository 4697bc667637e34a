//! The fake API server for another process: plain HTTP on a TCP socket.

use super::{FakeApi, Wire, http};
use ::http::Request;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use std::{convert::Infallible, io, time::Duration};
use tokio::net::TcpListener;

/// How long a watch runs when its client does not say it.
const WATCH: Duration = Duration::from_secs(300);

impl FakeApi {
    /// Serves on this socket until the future is dropped. A watch ends after its `timeoutSeconds`, as a real server's does: a client that hears
    /// nothing for longer takes its connection for dead.
    ///
    /// # Errors
    /// The socket cannot accept any more.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let wire = Wire::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let (api, wire) = (self.clone(), wire.clone());
            let answer = service_fn(move |request: Request<Incoming>| {
                let (api, wire) = (api.clone(), wire.clone());
                async move {
                    let ends = timeout(request.uri().query().unwrap_or_default());
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                    let answer = http::handle_request(api, wire, Request::from_parts(parts, Body::from(body))).await?;
                    Ok::<_, io::Error>(answer.map(|body| until(body, ends)))
                }
            });
            // A client that goes away is no failure of the server.
            tokio::spawn(
                async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.ok() },
            );
        }
    }
}

fn timeout(query: &str) -> Duration {
    let seconds = query.split('&').find_map(|pair| pair.strip_prefix("timeoutSeconds=")?.parse().ok());
    seconds.map_or(WATCH, Duration::from_secs)
}

fn until(body: UnsyncBoxBody<Bytes, Infallible>, ends: Duration) -> UnsyncBoxBody<Bytes, Infallible> {
    StreamBody::new(BodyStream::new(body).take_until(tokio::time::sleep(ends))).boxed_unsync()
}
