//! The webhook: one certificate for all replicas, trusted by the API server, and answers from the configuration that the driver knows.

use super::*;
use k8s_openapi::ByteString;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const POOLS: &[&str] =
    &["ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles", "communities"];

fn registration() -> Id {
    Id::new("validatingwebhookconfigurations", "", "webhook")
}

fn secret() -> Id {
    Id::new("secrets", "ns", "cert")
}

fn cluster() -> Cluster {
    let cluster = Cluster::empty();
    cluster.api.serve_custom("metallb.io/v1beta1", POOLS);
    cluster.api.serve_custom("metallb.io/v1beta2", &["bgppeers"]);
    let webhook = json!({
        "name": "one.herald", "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
    });
    let registered = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {}, "webhooks": [webhook],
    });
    cluster.api.put(&registration(), registered);
    cluster
}

async fn replica(cluster: &Cluster, name: &str, mode: Mode) -> Replica {
    Replica::start_with(cluster, name, |config| config.webhook.mode = mode).await
}

/// What the API server trusts; nothing before it was told.
fn trusted(cluster: &Cluster) -> Option<String> {
    let bundle = cluster.api.get(&registration())?["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let ByteString(bytes) = serde_json::from_value(bundle).ok()?;
    Some(String::from_utf8(bytes).unwrap()).filter(|bundle| !bundle.is_empty())
}

fn pool(name: &str, addresses: &str) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": "ns" }, "spec": { "addresses": [addresses] },
    })
}

/// The answer to a question about a new object. Over real sockets, for which the virtual clock would not wait.
async fn ask(cluster: &Cluster, replica: &Replica, object: &Value) -> Result<Value, String> {
    tokio::time::resume();
    let answer = ask_now(cluster, replica, object).await;
    tokio::time::pause();
    answer
}

async fn ask_now(cluster: &Cluster, replica: &Replica, object: &Value) -> Result<Value, String> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "operation": "CREATE", "namespace": "ns", "object": object,
            "kind": { "group": "metallb.io", "version": "v1beta1", "kind": object["kind"] },
        },
    });
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(trusted(cluster).unwrap_or_default().as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(replica.webhook.unwrap()).await.unwrap();
    let name = ServerName::try_from("webhook.ns.svc").unwrap();
    let mut stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())?;
    let body = review.to_string();
    let head = format!("POST /validate?timeout=5s HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| answer.clone())?;
    Ok(serde_json::from_str::<Value>(body).map_err(|_| answer.clone())?["response"].clone())
}

#[tokio::test(start_paused = true)]
async fn all_replicas_answer_with_a_certificate_that_the_api_server_trusts() {
    let cluster = cluster();
    let replicas = [replica(&cluster, "a", Mode::Enabled).await, replica(&cluster, "b", Mode::Enabled).await];
    cluster.settle(30).await;
    cluster.api.put(&Id::new("ipaddresspools", "ns", "lan"), pool("lan", "192.0.2.0/28"));
    cluster.settle(1).await;
    for replica in &replicas {
        let good = ask(&cluster, replica, &pool("other", "192.0.2.16/28")).await.unwrap();
        assert_eq!(good, json!({ "uid": "u", "allowed": true }));
        let bad = ask(&cluster, replica, &pool("other", "192.0.2.8-192.0.2.20")).await.unwrap();
        let said = bad["status"]["message"].as_str().unwrap();
        assert!(bad["allowed"] == false && said.contains("overlaps with already defined CIDR"), "{bad}");
        let metrics = Replica::get(replica.metrics, "/metrics").await;
        assert!(metrics.contains("herald_webhook_reviews_total{result=\"refused\"} 1"), "{metrics}");
        let ready = Replica::get(replica.health, "/readyz").await;
        assert!(ready.contains("[+] webhook: the API server asks here"), "{ready}");
    }
    // Deleted, and another one made in its place at once.
    cluster.api.delete(&Id::new("ipaddresspools", "ns", "lan"));
    let instead = ask(&cluster, &replicas[0], &pool("other", "192.0.2.8-192.0.2.20")).await.unwrap();
    assert_eq!(instead["allowed"], true, "{instead}");
    let [a, b] = replicas;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_undone_is_done_again() {
    let cluster = cluster();
    let replica = replica(&cluster, "a", Mode::Enabled).await;
    cluster.settle(30).await;
    let first = trusted(&cluster).unwrap();
    // By `helm upgrade` or by hand.
    cluster.api.patch(&registration(), &json!({ "webhooks": [{ "name": "one.herald", "clientConfig": {} }] }));
    assert_eq!(trusted(&cluster), None);
    cluster.settle(10).await;
    assert_eq!(trusted(&cluster).as_ref(), Some(&first));
    // Without its Secret: another certificate.
    assert!(cluster.api.delete(&secret()));
    cluster.settle(10).await;
    assert_ne!(trusted(&cluster).unwrap(), first);
    ask(&cluster, &replica, &pool("p", "192.0.2.0/28")).await.unwrap();
    // Of last year: renewed, and the authority before is trusted still.
    let before = trusted(&cluster).unwrap();
    let old = json!({ "metadata": { "annotations": { "herald.metallb.io/issued-at": "2020-01-01T00:00:00Z" } } });
    cluster.api.patch(&secret(), &old);
    cluster.settle(10).await;
    let now = trusted(&cluster).unwrap();
    assert!(now != before && now.ends_with(&before), "{before} is a part of {now}");
    ask(&cluster, &replica, &pool("p", "192.0.2.0/28")).await.unwrap();
    // Somebody else's is used as it is, and nothing when it is none.
    cluster.api.delete(&secret());
    let theirs =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {}, "type": "kubernetes.io/tls", "data": {} });
    cluster.api.put(&secret(), theirs.clone());
    cluster.settle(10).await;
    assert_eq!(cluster.api.get(&secret()).unwrap()["data"], theirs["data"]);
    replica.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_webhook_alone_leaves_services_to_others() {
    let cluster = cluster();
    cluster.configure(&super::cluster::pool("pool", "192.0.2.0/28"));
    cluster.service("s");
    let replica = replica(&cluster, "a", Mode::Onlywebhook).await;
    cluster.settle(60).await;
    assert_eq!(cluster.addresses("s"), [""; 0]);
    assert!(cluster.api.list("leases").is_empty(), "no candidate");
    let ready = Replica::get(replica.health, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let bad = ask(&cluster, &replica, &pool("p", "nonsense")).await.unwrap();
    assert_eq!(bad["allowed"], false, "{bad}");
    replica.stop().await;
}
