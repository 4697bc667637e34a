//! HTTP and HTTPS where every byte may come from an enemy, and the speaker answers ARP on the same thread: connections are few, paced and
//! short. Each carries one request, so that no idle one keeps buffers; a TLS handshake costs less than a millisecond.

use crate::shutdown::Shutdown;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Connections at once; more wait in the kernel.
pub(super) const CONNECTIONS: usize = 8;
/// Pause between two new connections: bounds the handshakes, and with them the processor time that strangers can take.
const PACE: Duration = Duration::from_millis(20);
/// After an accept that failed, usually for want of file descriptors.
const RECOVER: Duration = Duration::from_millis(500);
/// Longest head of a request: a bearer token of 8 KiB and what its sender says beside it.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request.
pub(super) const HEADERS: usize = 32;

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the TLS handshake.
    pub(super) handshake: Duration,
    /// For the head of the request.
    pub(super) head: Duration,
    /// For everything, what the answer needs and a slow reader included.
    pub(super) connection: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(5), head: seconds(5), connection: seconds(30) }
    }
}

/// Whoever answers requests.
pub(super) trait Answer: Send + Sync + 'static {
    /// What it is, in messages.
    const NAME: &'static str;

    /// Answers one.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves until shutdown: over TLS where there is an acceptor.
pub(super) async fn serve<A: Answer>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    patience: Patience,
    answer: A,
    shutdown: Shutdown,
) {
    let (tls, answer) = (Arc::new(tls), Arc::new(answer));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Ends its tasks with this function.
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            while connections.try_join_next().is_some() {}
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (tls, answer) = (Arc::clone(&tls), Arc::clone(&answer));
                    connections.spawn(async move {
                        let work = connection(stream, (*tls).as_ref(), patience, &*answer);
                        let served = timeout(patience.connection, work).await;
                        if let Some(error) = served.unwrap_or(Err("took too long".to_owned())).err() {
                            tracing::debug!(%peer, error, "a connection to {} ended early", A::NAME);
                        }
                        drop(place);
                    });
                    sleep(PACE).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection to {} can be accepted", A::NAME);
                    sleep(RECOVER).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.wait() => {}
    }
}

async fn connection<A: Answer>(
    stream: TcpStream,
    tls: Option<&TlsAcceptor>,
    patience: Patience,
    answer: &A,
) -> Result<(), String> {
    let Some(acceptor) = tls else { return exchange(stream, patience, answer).await };
    let handshake = timeout(patience.handshake, acceptor.accept(stream)).await;
    let stream = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| e.to_string())?;
    exchange(stream, patience, answer).await
}

/// One request and its answer.
async fn exchange<A: Answer>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    patience: Patience,
    answer: &A,
) -> Result<(), String> {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer.answer(request).await));
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|error| error.to_string())
}
