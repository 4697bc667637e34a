//! Asks the health endpoint of this node's data plane: one GET on loopback, bounded in time and size.

use herald_core::{data_plane::Outcome, reason::Reason};
use http::{Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::{borrow::Cow, error::Error, fmt, net::SocketAddr, str::FromStr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// For connection, answer and body together.
const PATIENCE: Duration = Duration::from_secs(1);
/// kube-proxy says some 130 bytes.
const MOST: usize = 4096;

/// Where the health of the data plane is to be asked for: `http://ADDRESS[:PORT][/PATH]`. No name, as nothing but this node is to be needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthUrl {
    address: SocketAddr,
    path: String,
}

/// Why that is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HealthUrlError {
    /// Not a URL at all.
    #[error("it is not a URL")]
    Syntax,
    /// Something else than plain HTTP.
    #[error("its scheme is not http")]
    Scheme,
    /// A name, or nothing.
    #[error("its host is not an IP address")]
    Host,
}

impl HealthUrlError {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Syntax, Self::Scheme, Self::Host];
}

impl Reason for HealthUrlError {
    fn label(&self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Scheme => "scheme",
            Self::Host => "host",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed("use something like http://127.0.0.1:10256/healthz, or \"\" to ask nothing")
    }
}

impl FromStr for HealthUrl {
    type Err = HealthUrlError;

    fn from_str(text: &str) -> Result<Self, HealthUrlError> {
        let uri: Uri = text.parse().map_err(|_| HealthUrlError::Syntax)?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(HealthUrlError::Scheme);
        }
        let authority = uri.authority().ok_or(HealthUrlError::Syntax)?;
        let host = authority.host();
        // A port that is none, or a password, would go unnoticed.
        if authority.as_str() != host && (authority.port_u16().is_none() || authority.as_str().contains('@')) {
            return Err(HealthUrlError::Syntax);
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = host.parse().map_err(|_| HealthUrlError::Host)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { address: SocketAddr::new(address, uri.port_u16().unwrap_or(80)), path: path.to_owned() })
    }
}

impl fmt::Display for HealthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.path)
    }
}

/// What kube-proxy says since 1.28: 503 also for a node that is about to be deleted, whatever its rules are like.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    node_eligible: Option<bool>,
}

/// What came of it. That nobody listens, answers in time, or speaks HTTP is all the same: nothing was said.
pub(crate) async fn ask(url: &HealthUrl) -> Outcome {
    match timeout(PATIENCE, get(url)).await {
        Ok(Ok((status, body))) => judge(status, &body),
        Ok(Err(error)) => {
            tracing::debug!(%url, error, "no answer from the health endpoint of the data plane");
            Outcome::Absent
        }
        Err(_) => Outcome::Absent,
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Outcome {
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() {
        Outcome::Healthy
    } else if !status.is_server_error() {
        Outcome::Other(status.as_u16())
    } else if said.node_eligible == Some(false) {
        Outcome::NotEligible
    } else {
        Outcome::Failing(status.as_u16())
    }
}

async fn get(url: &HealthUrl) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(url.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&url.path)
        .header(header::HOST, url.address.to_string())
        .header(header::USER_AGENT, "herald-speaker")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await?;
        Ok((status, body.to_bytes()))
    };
    // The connection has to be driven; that it ends well is no news.
    tokio::select! {
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    #[test]
    fn urls() {
        for (text, shown) in [
            ("http://127.0.0.1:10256/healthz", "http://127.0.0.1:10256/healthz"),
            ("http://[::1]:10256/livez?verbose=1", "http://[::1]:10256/livez?verbose=1"),
            ("http://192.0.2.1", "http://192.0.2.1:80/"),
        ] {
            assert_eq!(text.parse::<HealthUrl>().unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("https://127.0.0.1:10256/healthz", HealthUrlError::Scheme),
            ("127.0.0.1:10256", HealthUrlError::Scheme),
            ("/healthz", HealthUrlError::Scheme),
            ("http://localhost:10256/healthz", HealthUrlError::Host),
            ("http://127.0.0.1:healthz", HealthUrlError::Syntax),
            ("http://me@127.0.0.1:10256/healthz", HealthUrlError::Syntax),
        ] {
            assert_eq!(text.parse::<HealthUrl>(), Err(why), "{text}");
        }
        let labels: std::collections::BTreeSet<&str> = HealthUrlError::ALL.iter().map(Reason::label).collect();
        assert_eq!(labels.len(), HealthUrlError::ALL.len());
    }

    /// What comes of it when this is answered, and then the connection is closed or left open.
    async fn answered(answer: &'static [u8], close: bool) -> Outcome {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
            if close { None } else { Some(stream) }
        });
        let outcome = ask(&url).await;
        drop(server.await.unwrap());
        outcome
    }

    #[tokio::test]
    async fn what_kube_proxy_says() {
        let healthy = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 97\r\n\r\n{\"lastUpdated\": \"2025-01-01 00:00:00\",\"currentTime\": \"2025-01-01 00:00:00\", \"nodeEligible\": true}";
        assert_eq!(answered(healthy, true).await, Outcome::Healthy);
        let late = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n{\"lastUpdated\": \"\",\"currentTime\": \"\", \"nodeEligible\": true}";
        assert_eq!(answered(late, true).await, Outcome::Failing(503));
        let deleted = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n{\"lastUpdated\": \"\",\"currentTime\": \"\", \"nodeEligible\": false}";
        assert_eq!(answered(deleted, true).await, Outcome::NotEligible);
    }

    #[tokio::test]
    async fn what_others_say() {
        assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n", false).await, Outcome::Healthy);
        assert_eq!(answered(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", false).await, Outcome::Failing(500));
        assert_eq!(answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true).await, Outcome::Other(404));
        assert_eq!(answered(b"SSH-2.0-OpenSSH_9.6\r\n", true).await, Outcome::Absent);
        assert_eq!(answered(b"", true).await, Outcome::Absent);
    }

    #[tokio::test]
    async fn nobody_listens_or_answers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url: HealthUrl = format!("http://{}/healthz", listener.local_addr().unwrap()).parse().unwrap();
        // Connected by the kernel, accepted by nobody: a process that is frozen.
        assert_eq!(ask(&url).await, Outcome::Absent);
        drop(listener);
        assert_eq!(ask(&url).await, Outcome::Absent);
    }

    #[tokio::test]
    async fn more_than_a_health_endpoint_says_is_not_read() {
        static ENDLESS: [u8; 70_000] = [b'x'; 70_000];
        static ANSWER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), &ENDLESS].concat()
        });
        assert_eq!(answered(&ANSWER, true).await, Outcome::Absent);
    }
}
