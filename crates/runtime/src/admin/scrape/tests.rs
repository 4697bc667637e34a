use super::{
    super::https::{CONNECTIONS, HEAD_BYTES, HEADERS},
    *,
};
use crate::{
    certificate::{Certificate, Source},
    metrics::{Collect, text::Exposition, text::Kind},
    tls::TlsOptions,
};
use kube::client::Body;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::json;
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

struct One;

impl Collect for One {
    fn collect(&self, out: &mut Exposition) {
        out.single(Kind::Gauge, "one", "One.", 1);
    }
}

/// A server with this gate on a port of loopback.
async fn start(gate: Gate) -> (SocketAddr, Shutdown) {
    start_with(gate, Patience::default()).await
}

async fn start_with(gate: Gate, patience: Patience) -> (SocketAddr, Shutdown) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::default();
    registry.add(One);
    let shutdown = Shutdown::manual();
    tokio::spawn(serve(listener, gate, patience, Arc::new(registry), shutdown.clone()));
    (address, shutdown)
}

/// An API server that knows everybody, and lets them do everything if they are called `good`.
fn reviewer() -> Reviewer {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        let mut review: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let spec = &review["spec"];
        review["status"] = match spec["token"].as_str() {
            Some(token) => json!({ "authenticated": token != "invented", "user": { "username": token } }),
            None => json!({ "allowed": spec["user"] == "good" }),
        };
        Ok::<_, Infallible>(Response::new(Body::from(review.to_string().into_bytes())))
    });
    Reviewer::new(kube::Client::new(service, "default"), PATH)
}

fn closed(certificate: &Arc<Certificate>) -> Gate {
    let config = TlsOptions::default().server_config(certificate.clone()).unwrap();
    Gate::Closed(TlsAcceptor::from(Arc::new(config)), Box::new(reviewer()))
}

/// A protected server, and its certificate.
async fn protected() -> (SocketAddr, CertificateDer<'static>, Shutdown) {
    let source = Source::SelfSigned(vec!["herald".to_owned(), "localhost".to_owned()]);
    let certificate = Arc::new(Certificate::new(source, SystemTime::now()).unwrap());
    let der = certificate.current(SystemTime::now()).end_entity_cert().unwrap().clone().into_owned();
    let (address, shutdown) = start(closed(&certificate)).await;
    (address, der, shutdown)
}

async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that resets after its answer has answered.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// By a client that trusts exactly this certificate for the name `localhost`.
async fn https(address: SocketAddr, certificate: &CertificateDer<'static>, request: &str) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    send(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap(), request).await
}

fn get(path: &str, token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n")
}

#[tokio::test]
async fn only_who_is_allowed_sees_metrics() {
    let (address, certificate, shutdown) = protected().await;
    let ask = async |token| https(address, &certificate, &get("/metrics", token)).await;
    let answer = ask(Some("good")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.ends_with("# HELP one One.\n# TYPE one gauge\none 1\n"), "{answer}");
    for (token, status) in [(None, "401"), (Some("invented"), "401"), (Some("stranger"), "403")] {
        let answer = ask(token).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && !answer.contains("one 1"), "{token:?}: {answer}");
    }
    let other_case = get("/metrics", Some("good")).replace("Bearer", "bearer");
    assert!(https(address, &certificate, &other_case).await.starts_with("HTTP/1.1 200 OK"));
    shutdown.trigger();
}

#[tokio::test]
async fn nothing_is_told_in_the_clear_where_it_is_protected() {
    let (address, _, shutdown) = protected().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let (mut read, mut write) = stream.into_split();
    write.write_all(get("/metrics", Some("good")).as_bytes()).await.unwrap();
    let _ = read.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"), "{answer:?}");
    shutdown.trigger();
}

#[tokio::test]
async fn other_paths_methods_and_shapes_are_refused() {
    let (address, shutdown) = start(Gate::Open).await;
    let ask = async |request: String| send(TcpStream::connect(address).await.unwrap(), &request).await;
    let long = "x".repeat(HEAD_BYTES * 2);
    let many = (0..=HEADERS).map(|number| format!("h{number}: x\r\n")).collect::<String>();
    for (request, status) in [
        (get("/metrics", None), "200"),
        (get("/debug/state", None), "404"),
        (get("/metrics/", None), "404"),
        (get("/metrics", None).replace("GET", "POST"), "405"),
        (get("/metrics", Some(&long)), "431"),
        (format!("GET /metrics HTTP/1.1\r\n{many}\r\n"), "431"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = ask(request.clone()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.40}: {answer:?}");
    }
    shutdown.trigger();
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let (address, shutdown) = start(Gate::Open).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let answer = send(stream, &(get("/metrics", None) + &get("/metrics", None))).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    shutdown.trigger();
}

/// Those who connect and say nothing hold all places only until their time is over: the next one is served then.
#[tokio::test]
async fn silent_connections_do_not_stay() {
    let soon = Duration::from_millis(200);
    let patience = Patience { head: soon, ..Patience::default() };
    let (address, shutdown) = start_with(Gate::Open, patience).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS * 2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = send(TcpStream::connect(address).await.unwrap(), &get("/metrics", None)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    for mut stream in silent {
        let mut rest = Vec::new();
        // Ended by the server, one way or the other.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("one 1"), "{rest:?}");
    }
    shutdown.trigger();
}

/// The same for those who never finish a handshake, and for a whole exchange.
#[tokio::test]
async fn a_handshake_and_a_whole_connection_end_in_time() {
    let soon = Duration::from_millis(200);
    let source = Source::SelfSigned(vec!["localhost".to_owned()]);
    let certificate = Arc::new(Certificate::new(source, SystemTime::now()).unwrap());
    for (gate, patience) in [
        (closed(&certificate), Patience { handshake: soon, ..Patience::default() }),
        (Gate::Open, Patience { connection: soon, ..Patience::default() }),
    ] {
        let (address, shutdown) = start_with(gate, patience).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        // Would wait forever if the server did.
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "a silent caller is told nothing");
        shutdown.trigger();
    }
}
