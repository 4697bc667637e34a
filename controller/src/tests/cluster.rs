//! A cluster to test in: Services, a configuration, replicas on wires of their own.

use super::*;

/// The API server and what users do there.
pub(super) struct Cluster {
    pub(super) api: FakeApi,
}

impl Cluster {
    /// Without configuration and Services.
    pub(super) fn empty() -> Self {
        Self { api: FakeApi::new() }
    }

    /// With one pool of these addresses.
    pub(super) fn with_pool(addresses: &str) -> Self {
        let cluster = Self::empty();
        cluster.configure(&pool("pool", addresses));
        cluster
    }

    pub(super) fn configure(&self, text: &str) {
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": { "config": text } });
        self.api.put(&Id::new("configmaps", "ns", "config"), config);
    }

    pub(super) fn service(&self, name: &str) -> Id {
        self.service_with(name, json!({}))
    }

    pub(super) fn service_with(&self, name: &str, spec: Value) -> Id {
        let id = id(name);
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                "ipFamilies": ["IPv4"], "ports": [{ "port": 80, "protocol": "TCP" }],
            },
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        self.api.put(&id, object);
        id
    }

    /// Sees to it that there are `count` Services: `s0000` and so on.
    pub(super) fn services(&self, count: usize) {
        for name in (0..count).map(|i| format!("s{i:04}")) {
            if self.api.get(&id(&name)).is_none() {
                self.service(&name);
            }
        }
    }

    /// The addresses of a Service.
    pub(super) fn addresses(&self, name: &str) -> Vec<String> {
        self.api.get(&id(name)).map(|object| ingress(&object)).unwrap_or_default()
    }

    /// Everybody's addresses, by Service.
    pub(super) fn all(&self) -> BTreeMap<String, Vec<String>> {
        self.api
            .list("services")
            .iter()
            .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), ingress(object)))
            .collect()
    }

    /// How many Services have an address; no address is on two.
    pub(super) fn assigned(&self) -> usize {
        let all = self.all();
        let given: Vec<&String> = all.values().flatten().collect();
        let distinct: BTreeSet<&String> = given.iter().copied().collect();
        assert_eq!(given.len(), distinct.len(), "an address is on two Services: {all:?}");
        all.values().filter(|addresses| !addresses.is_empty()).count()
    }

    /// Events about an object: reason and message, by the time of their creation.
    pub(super) fn events(&self, name: &str) -> Vec<(String, String)> {
        let mut events: Vec<Value> =
            self.api.list("events").into_iter().filter(|event| event["involvedObject"]["name"] == name).collect();
        events.sort_by_key(|event| event["metadata"]["uid"].as_str().unwrap()[4..].parse::<u64>().unwrap());
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        events.iter().map(|event| (text(event, "reason"), text(event, "message"))).collect()
    }

    pub(super) fn reasons(&self, name: &str) -> Vec<String> {
        self.events(name).into_iter().map(|(reason, _)| reason).collect()
    }

    /// Lets virtual time pass, where Services may share addresses.
    pub(super) async fn settle(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Lets virtual time pass, looking for doubled addresses all the while.
    pub(super) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.assigned();
        }
    }
}

pub(super) fn id(name: &str) -> Id {
    Id::new("services", "default", name)
}

pub(super) fn pool(name: &str, addresses: &str) -> String {
    format!("address-pools:\n- name: {name}\n  protocol: layer2\n  addresses: [{addresses}]\n")
}

const KINDS: [&str; 7] = [
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bfdprofiles",
    "communities",
    "configurationstates",
    "servicel2statuses",
];

/// The definitions of the custom resources.
pub(super) fn install(cluster: &Cluster) {
    cluster.api.serve_custom("metallb.io/v1beta1", &KINDS);
    cluster.api.serve_custom("metallb.io/v1beta2", &["bgppeers"]);
}

pub(super) fn pool_id(name: &str) -> Id {
    Id::new("ipaddresspools", "ns", name)
}

/// Creates or changes a pool; what is reported on it stays.
pub(super) fn put_pool(cluster: &Cluster, name: &str, spec: Value) {
    let before = cluster.api.get(&pool_id(name)).unwrap_or_default();
    let mut object =
        json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {}, "spec": spec });
    if !before["status"].is_null() {
        object["status"] = before["status"].clone();
    }
    cluster.api.put(&pool_id(name), object);
}

/// A pool's spec.
pub(super) fn addresses(list: &[&str]) -> Value {
    json!({ "addresses": list })
}

fn ingress(object: &Value) -> Vec<String> {
    let entries = object["status"]["loadBalancer"]["ingress"].as_array();
    entries.into_iter().flatten().map(|entry| entry["ip"].as_str().unwrap().to_owned()).collect()
}

/// A running controller.
pub(super) struct Replica {
    pub(super) wire: Wire,
    pub(super) health: SocketAddr,
    pub(super) metrics: SocketAddr,
    pub(super) debug: SocketAddr,
    pub(super) webhook: Option<SocketAddr>,
    pub(super) shutdown: Shutdown,
    pub(super) task: JoinHandle<Result<(), ControllerError>>,
}

impl Replica {
    pub(super) async fn start(cluster: &Cluster, name: &str) -> Self {
        Self::start_with(cluster, name, |_| {}).await
    }

    pub(super) async fn start_with(cluster: &Cluster, name: &str, change: impl FnOnce(&mut ControllerConfig)) -> Self {
        let (client, wire) = cluster.api.client();
        let common = Common {
            namespace: Some("ns".to_owned()),
            config: "config".to_owned(),
            lb_class: None,
            hello_key_secret: "herald-hello-key".to_owned(),
            log_level: "info".to_owned(),
            log_format: LogFormat::Human,
            health_probe_port: 0,
            metrics_port: 0,
            metrics_http: false,
            metrics_cert_dir: None,
            tls: TlsOptions::default(),
            debug_port: 0,
            pod_name: Some(name.to_owned()),
        };
        let webhook = WebhookConfig {
            mode: Mode::Disabled,
            port: 0,
            secret: "cert".to_owned(),
            configuration: "webhook".to_owned(),
            service: "webhook".to_owned(),
            disable_cert_rotation: false,
            cert_dir: None,
        };
        let mut config = ControllerConfig {
            common,
            lease_name: "herald-controller".to_owned(),
            conflict_quarantine: Duration::from_secs(600),
            fence_dead_nodes: None,
            webhook,
        };
        change(&mut config);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let metrics = Some((any, Protection::None));
        let admin = Admin::bind(AdminConfig { health: any, metrics, debug: Some(any) }).await.unwrap();
        let (health, metrics) = (admin.health_address().unwrap(), admin.metrics_address().unwrap().unwrap());
        let debug = admin.debug_address().unwrap().unwrap();
        let shutdown = Shutdown::manual();
        let clients = Clients { main: client.clone(), lease: client };
        let bound = match config.webhook.mode {
            Mode::Disabled => None,
            _ => Some(webhook::listen(any, &config.webhook, &config.common.tls).await.unwrap()),
        };
        let webhook = bound.as_ref().map(webhook::Bound::address);
        let task = tokio::spawn(run_with(config, clients, admin, bound, shutdown.clone()));
        Self { wire, health, metrics, debug, webhook, shutdown, task }
    }

    /// As a SIGTERM does.
    pub(super) async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap().unwrap();
    }

    /// As a SIGKILL does: nothing is finished, nothing is given back. Its connections die with it.
    pub(super) fn kill(self) {
        self.wire.cut();
        self.task.abort();
    }

    /// How many status writes were answered with this code.
    pub(super) fn answered(&self, code: u16) -> usize {
        self.wire.seen().iter().filter(|seen| seen.path.ends_with("/status") && seen.code == code).count()
    }

    /// Body of a GET; real sockets, so real time passes.
    pub(super) async fn get(address: SocketAddr, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}
