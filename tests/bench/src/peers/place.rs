//! A speaker's process in a network namespace, with an API server and peers that are played.

use super::{Chorus, Peer, Shared};
use crate::{Error, Result, image};
use herald_netns::{Background, Host, Lan, Net};
use herald_testkit::fake_api::{FakeApi, Id};
use herald_wire::hello::{ClusterId, Key, peer_hash};
use serde_json::{Value, json};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// Where the API server listens, in the node's own network.
const API: &str = "127.0.0.1:6443";
const NAMESPACE: &str = "metallb-system";
/// UID of `kube-system`, which names the cluster.
const CLUSTER: &str = "00112233-4455-6677-8899-aabbccddeeff";
/// The Node of the real speaker.
const NODE: &str = "node";
const ADDRESS: &str = "192.168.58.254";
/// Of the pool: 65,536 addresses, off the link's subnet.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);
/// Far beyond what anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the speaker meets.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Peers on its link.
    pub peers: u16,
    /// Services of the cluster, each with an address and endpoints.
    pub services: u32,
}

/// See the module. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Place {
    // In this order: the speaker first.
    speaker: Child,
    chorus: Chorus,
    _api: Background,
    hashes: Vec<u32>,
    folder: PathBuf,
    _hosts: (Host, Host, Lan),
}

impl Place {
    /// Starts everything.
    ///
    /// # Errors
    /// The image has no speaker; no sockets.
    ///
    /// # Panics
    /// No namespaces can be made: the kit of the tests says why.
    pub fn start(image: &Path, plan: Plan) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("herald-bench-peers-{}-{}", std::process::id(), plan.peers));
        fs::create_dir_all(folder.join("state")).map_err(Error::file("creating", &folder))?;
        let program = image::unpack(image, "herald", &folder)?;
        let net = Net::new();
        let (lan, node, wire) = (net.lan("lan"), net.host("node"), net.host("wire"));
        lan.attach(&node, "eth0");
        lan.attach(&wire, "eth0");
        node.cmd(&format!("ip address add {ADDRESS}/24 dev eth0"));

        let peers: Vec<Peer> = (1..=plan.peers).map(Peer::new).collect();
        let api = FakeApi::new();
        fill(&api, &peers, plan.services);
        let serving = node.start(|up| async move {
            match TcpListener::bind(API).await {
                Ok(listener) => {
                    up.now();
                    if let Err(error) = api.serve(listener).await {
                        eprintln!("  the API server ended: {error}");
                    }
                }
                Err(error) => eprintln!("  no API server: {error}"),
            }
        });
        let shared = Shared { cluster: cluster()?, key: key()?, real: NODE.to_owned() };
        let hashes = peers.iter().map(|peer| peer_hash(shared.cluster, &peer.name)).collect();
        let chorus = Chorus::start(&wire, &peers, &shared)?;
        let speaker = start_speaker(&program, &folder, &node)?;
        Ok(Self { speaker, chorus, _api: serving, hashes, folder, _hosts: (node, wire, lan) })
    }

    /// The speaker's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.speaker.id()).unwrap_or_default()
    }

    /// Waits until the speaker is ready and hears everybody.
    ///
    /// # Errors
    /// [`Error::NotSeen`].
    pub fn await_heard(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let last = self.chorus.heard();
            if last.is_some_and(|hello| hello.flags.ready && self.hashes.iter().all(|hash| hello.heard.contains(hash)))
            {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let (log, peers) = (self.folder.join("log"), self.hashes.len());
                return Err(Error::NotSeen(format!("a ready speaker that hears {peers} peers: see {}", log.display())));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.speaker.kill().and_then(|()| self.speaker.wait()) {
            eprintln!("  the speaker is not ended: {error}");
        }
        if !thread::panicking()
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            eprintln!("  {} stays behind: {error}", self.folder.display());
        }
    }
}

fn start_speaker(program: &Path, folder: &Path, node: &Host) -> Result<Child> {
    let kubeconfig = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": { "server": format!("http://{API}") } }],
        "users": [{ "name": "it", "user": {} }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
    });
    fs::write(&kubeconfig, config.to_string()).map_err(Error::file("writing", &kubeconfig))?;
    let path = folder.join("log");
    let log = fs::File::create(&path).map_err(Error::file("creating", &path))?;
    let errors = log.try_clone().map_err(Error::file("opening", &path))?;
    Command::new("ip")
        .args(["netns", "exec", node.namespace()])
        .arg(program)
        .args(["speaker", "--node-name", NODE, "--namespace", NAMESPACE, "--metrics-port", "0", "--state-dir"])
        .arg(folder.join("state"))
        .env("KUBECONFIG", kubeconfig)
        // As the chart sets them.
        .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "131072")])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(Error::io("starting the speaker"))
}

fn cluster() -> Result<ClusterId> {
    let digits: String = CLUSTER.chars().filter(|digit| *digit != '-').collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|error| Error::Options(error.to_string()))?;
    Ok(ClusterId(id.to_be_bytes()))
}

/// Of the Secret: 33 zero bytes are 44 times `A` in base64.
fn key() -> Result<Key> {
    Key::new(&[0; 33]).map_err(|error| Error::Options(error.to_string()))
}

fn fill(api: &FakeApi, peers: &[Peer], services: u32) {
    let put = |resource: &str, namespace: &str, name: &str, object: Value| {
        api.put(&Id::new(resource, namespace, name), object);
    };
    put("namespaces", "", "kube-system", json!({ "metadata": { "uid": CLUSTER } }));
    put("secrets", NAMESPACE, "herald-hello-key", json!({ "data": { "key": "A".repeat(44) } }));
    let config = format!("address-pools:\n- name: lan\n  protocol: layer2\n  addresses:\n  - {FIRST}/16\n");
    put("configmaps", NAMESPACE, "config", json!({ "data": { "config": config } }));
    let addresses = peers.iter().map(|peer| (peer.name.as_str(), peer.ip.to_string()));
    for (name, address) in addresses.chain([(NODE, ADDRESS.to_owned())]) {
        let ready = json!([{ "type": "Ready", "status": "True" }]);
        let at = json!([{ "type": "InternalIP", "address": address }]);
        put("nodes", "", name, json!({ "spec": {}, "status": { "conditions": ready, "addresses": at } }));
        let labels = json!({ "app.kubernetes.io/name": "herald", "component": "speaker" });
        put(
            "pods",
            NAMESPACE,
            &format!("speaker-{name}"),
            json!({
                "metadata": { "labels": labels },
                "spec": { "nodeName": name, "containers": [{ "name": "speaker" }] },
                "status": { "phase": "Running", "conditions": ready },
            }),
        );
    }
    for (number, bits) in (0..services).zip(FIRST.to_bits()..) {
        let name = format!("service-{number:05}");
        let port = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
        put(
            "services",
            "default",
            &name,
            json!({
                "spec": { "type": "LoadBalancer", "ports": port, "externalTrafficPolicy": "Cluster", "selector": { "app": "echo" } },
                "status": { "loadBalancer": { "ingress": [{ "ip": Ipv4Addr::from_bits(bits).to_string() }] } },
            }),
        );
        put(
            "endpointslices",
            "default",
            &format!("{name}-abcde"),
            json!({
                "metadata": { "labels": { "kubernetes.io/service-name": name } },
                "addressType": "IPv4",
                "endpoints": [{ "addresses": ["10.244.0.5"], "nodeName": NODE, "conditions": { "ready": true } }],
                "ports": port,
            }),
        );
    }
}
