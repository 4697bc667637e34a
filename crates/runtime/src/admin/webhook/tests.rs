use super::*;
use crate::certificate::{Shared, issue};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{net::Ipv4Addr, time::SystemTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const NAME: &str = "herald-webhook.ns.svc";

/// Answers with the length of the question, and takes no empty one.
fn length() -> Review {
    Arc::new(|body| {
        Box::pin(async move {
            if body.is_empty() { Err("nothing was asked".to_owned()) } else { Ok(body.len().to_string().into_bytes()) }
        })
    })
}

/// A request by a client that trusts this authority; nothing when there is no handshake.
async fn ask(address: SocketAddr, authority: &str, request: &[u8]) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.ok()?;
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut answer = Vec::new();
    // A server that has heard enough does not read the rest.
    let _ = tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
    Some(String::from_utf8(answer).unwrap())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn questions_are_answered_with_the_certificate_that_is_in_force() {
    let certificates = Arc::new(Shared::default());
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let webhook = Webhook::bind(any, certificates.clone(), &TlsOptions::default()).await.unwrap();
    let (address, shutdown) = (webhook.address().unwrap(), Shutdown::manual());
    tokio::spawn(webhook.serve(length(), shutdown.clone()));
    let [first, second] = [0, 1].map(|_| issue(&[NAME.to_owned()], SystemTime::now()).unwrap());

    assert_eq!(ask(address, &first.authority, &post("/validate", "four")).await, None, "no certificate yet");
    certificates.put("Secret x", first.certificate.as_bytes(), first.key.as_bytes()).unwrap();
    let answer = ask(address, &first.authority, &post("/validate", "four")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n4"), "{answer}");
    assert_eq!(ask(address, &second.authority, &post("/validate", "four")).await, None, "of another authority");

    // Half of another one is none.
    assert!(certificates.put("Secret x", second.certificate.as_bytes(), first.key.as_bytes()).is_err());
    assert!(ask(address, &first.authority, &post("/validate", "four")).await.is_some());
    certificates.put("Secret x", second.certificate.as_bytes(), second.key.as_bytes()).unwrap();
    assert!(ask(address, &second.authority, &post("/validate", "four")).await.is_some());
    shutdown.trigger();
}

#[tokio::test]
async fn other_requests_are_refused() {
    let certificates = Arc::new(Shared::default());
    let issued = issue(&[NAME.to_owned()], SystemTime::now()).unwrap();
    certificates.put("Secret x", issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let webhook = Webhook::bind(any, certificates, &TlsOptions::default()).await.unwrap();
    let (address, shutdown) = (webhook.address().unwrap(), Shutdown::manual());
    tokio::spawn(webhook.serve(length(), shutdown.clone()));
    let long = "x".repeat(LONGEST + 1);
    for (request, status) in [
        (post("/validate", &"x".repeat(LONGEST)), "200"),
        (post("/validate", &long), "413"),
        (post("/validate", ""), "400"),
        (post("/metrics", "x"), "404"),
        (b"GET /validate HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "405"),
        (b"nonsense\r\n\r\n".to_vec(), "400"),
    ] {
        let answer = ask(address, &issued.authority, &request).await.unwrap();
        let shown = String::from_utf8_lossy(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:.40}: {answer:?}");
    }
    shutdown.trigger();
}
