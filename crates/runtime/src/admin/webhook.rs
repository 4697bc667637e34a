//! The endpoint that the API server asks about objects before it stores them.

use super::{
    AdminError, bind,
    https::{self, Answer, Patience},
};
use crate::{shutdown::Shutdown, tls::TlsOptions};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustls::server::ResolvesServerCert;
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Where reviews are.
const PATH: &str = "/validate";
/// Longest question: twice the longest object that the API server stores would be more, but no configuration is that long, and strangers
/// can ask too.
const LONGEST: usize = 2 * 1024 * 1024;
/// The API server waits for 30 s at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes the answer to a question (both JSON), or says why it is none.
pub type Review = Arc<dyn Fn(Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// A listener that is bound already, so that a port conflict is an error of the start.
pub struct Webhook {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Binds the address; handshakes get what `certificates` has at that moment.
    ///
    /// # Errors
    /// An address that cannot be had, TLS settings that do not go together.
    pub async fn bind(
        address: SocketAddr,
        certificates: Arc<dyn ResolvesServerCert>,
        tls: &TlsOptions,
    ) -> Result<Self, AdminError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls.server_config(certificates)?));
        Ok(Self { listener: bind(address, "webhook").await?, acceptor })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until shutdown.
    pub async fn serve(self, review: Review, shutdown: Shutdown) {
        let patience = Patience { connection: PATIENCE, ..Patience::default() };
        https::serve(self.listener, Some(self.acceptor), patience, Reviews(review), shutdown).await;
    }
}

struct Reviews(Review);

impl Answer for Reviews {
    const NAME: &'static str = PATH;

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != PATH {
            return text(StatusCode::NOT_FOUND, "only /validate is here\n");
        }
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        }
        let body = match Limited::new(request.into_body(), LONGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return text(StatusCode::PAYLOAD_TOO_LARGE, &format!("the question is not read: {error}\n")),
        };
        match (self.0)(body).await {
            Ok(answer) => {
                let mut response = Response::new(Full::new(Bytes::from(answer)));
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        }
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
