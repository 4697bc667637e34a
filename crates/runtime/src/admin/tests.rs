use super::*;
use crate::{metrics::ClientMetrics, readiness::Weight};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}

fn any(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, 0))
}

#[tokio::test]
async fn endpoints_tell_what_is() {
    let readiness = Readiness::new();
    let services = readiness.condition("services", Weight::Blocking);
    let mut registry = Registry::default();
    let client = ClientMetrics::default();
    client.updates.inc();
    registry.add(client);
    let (tx, mut requests) = mpsc::channel::<DebugRequest>(1);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let wanted: Vec<&str> = ["a/b", "a/c"].into_iter().filter(|service| request.wants(service)).collect();
            request.answer(&json!({ "services": wanted }));
        }
    });
    let shutdown = Shutdown::manual();
    let any = any(Ipv4Addr::LOCALHOST);
    let config = AdminConfig { health: any, metrics: Some((any, Protection::None)), debug: Some(any) };
    let admin = Admin::bind(config).await.unwrap();
    let (health, metrics) = (admin.health_address().unwrap(), admin.metrics_address().unwrap().unwrap());
    let debug = admin.debug_address().unwrap().unwrap();
    let task = tokio::spawn(admin.serve(Arc::new(registry), readiness, ask(tx), shutdown.clone()));

    assert_eq!(get(health, "/healthz").await.0, 200);
    let (status, text) = get(health, "/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("[-] services: not started"), "{text}");
    services.ready();
    assert_eq!(get(health, "/readyz").await.0, 200);
    let (status, text) = get(metrics, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("metallb_k8s_client_updates_total 1"), "{text}");
    let (status, text) = get(debug, "/debug/state").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("content-type: application/json") && text.contains(r#"{"services":["a/b","a/c"]}"#),
        "{text}"
    );
    let (_, text) = get(debug, "/debug/state/a/b").await;
    assert!(text.contains(r#"{"services":["a/b"]}"#), "{text}");
    for elsewhere in [health, metrics] {
        assert_eq!(get(elsewhere, "/debug/state").await.0, 404, "the state is on loopback alone");
    }

    shutdown.trigger();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind(any(Ipv4Addr::LOCALHOST)).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Admin::bind(AdminConfig { health: address, metrics: None, debug: None }).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
