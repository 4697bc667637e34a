//! Arguments and configuration files of the daemons: pure text.

use std::fs;

use serde::{Deserialize, Serialize};

use super::NodeSpec;
use crate::host::{Host, Lan};

/// How kube-proxy programs Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// The default of Kubernetes 1.34.
    #[default]
    Iptables,
    /// Its successor; NodePorts answer on the node's primary addresses only.
    Nftables,
}

impl ProxyMode {
    /// The name in kube-proxy's configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }
}

pub(super) const CONTAINERD_FILE: &str = "/run/lab/containerd.toml";
const KUBELET_FILE: &str = "/run/lab/kubelet.yaml";
const PROXY_FILE: &str = "/run/lab/kube-proxy.yaml";
const CNI_FILE: &str = "/etc/cni/net.d/10-lab.conflist";
const RESOLV_FILE: &str = "/etc/kubernetes/resolv.conf";
/// The default would be made on the machine's real root.
pub(super) const VOLUME_PLUGINS: &str = "/var/lib/kubelet/volumeplugins";

const SERVICE_NETWORKS: &str = "10.96.0.0/16,fd00:10:96::/112";
const POD_NETWORKS: &str = "10.244.0.0/16,fd00:10:244::/48";

/// Pods reach the LAN under their node's address; pod to pod and pod to service stay as they are. The bridge plugin's own
/// masquerading would also hide pods from pods of other nodes. nft 1.0.6 refuses two closing braces on one line.
pub(super) const MASQUERADE: &str = r#"
table inet lab-masq {
  chain post {
    type nat hook postrouting priority srcnat + 10; policy accept;
    ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 224.0.0.0/4 } oifname "eth*" masquerade
    ip6 saddr fd00:10:244::/48 ip6 daddr != { fd00:10:244::/48, ff00::/8 } oifname "eth*" masquerade
  }
}
"#;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Plain HTTP on the host's loopback. No fsync: SIGKILL is safe, the page cache survives it.
pub(super) fn etcd() -> Vec<String> {
    words(
        "--name cp --data-dir /var/lib/etcd --unsafe-no-fsync --log-level warn
         --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
         --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380
         --initial-cluster cp=http://127.0.0.1:2380",
    )
}

pub(super) fn api_server(spec: &NodeSpec) -> Vec<String> {
    let (pki, address) = (spec.pki.display(), spec.host.ipv4(Lan::First));
    words(&format!(
        "--etcd-servers=http://127.0.0.1:2379 --advertise-address={address} --secure-port=6443
         --tls-cert-file={pki}/apiserver.crt --tls-private-key-file={pki}/apiserver.key --client-ca-file={pki}/ca.crt
         --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true
         --service-cluster-ip-range={SERVICE_NETWORKS}
         --service-account-issuer=https://kubernetes.default.svc.cluster.local
         --service-account-key-file={pki}/sa.pub --service-account-signing-key-file={pki}/sa.key
         --kubelet-client-certificate={pki}/apiserver-kubelet.crt --kubelet-client-key={pki}/apiserver-kubelet.key
         --kubelet-preferred-address-types=InternalIP
         --requestheader-client-ca-file={pki}/ca.crt --requestheader-allowed-names=front-proxy-client
         --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
         --requestheader-extra-headers-prefix=X-Remote-Extra-
         --proxy-client-cert-file={pki}/front-proxy.crt --proxy-client-key-file={pki}/front-proxy.key
         --feature-gates=MutatingAdmissionPolicy=true --runtime-config=admissionregistration.k8s.io/v1beta1=true"
    ))
}

/// The default client-side limit, 20 requests a second, alone makes a cold start four seconds longer.
const REQUESTS: &str = "--kube-api-qps=200 --kube-api-burst=400";

/// Pod networks come from the lab (static CNI files), not from the node-ipam controller.
pub(super) fn controller_manager(spec: &NodeSpec) -> Vec<String> {
    let pki = spec.pki.display();
    words(&format!(
        "{REQUESTS} --kubeconfig={pki}/kube-controller-manager.kubeconfig --leader-elect=false --use-service-account-credentials
         --authentication-kubeconfig={pki}/kube-controller-manager.kubeconfig
         --authorization-kubeconfig={pki}/kube-controller-manager.kubeconfig
         --service-account-private-key-file={pki}/sa.key --root-ca-file={pki}/ca.crt
         --cluster-signing-cert-file={pki}/ca.crt --cluster-signing-key-file={pki}/ca.key
         --allocate-node-cidrs=false --controllers=*,-node-ipam-controller --service-cluster-ip-range={SERVICE_NETWORKS}"
    ))
}

pub(super) fn scheduler(spec: &NodeSpec) -> Vec<String> {
    let pki = spec.pki.display();
    words(&format!(
        "{REQUESTS} --kubeconfig={pki}/kube-scheduler.kubeconfig --leader-elect=false
         --authentication-kubeconfig={pki}/kube-scheduler.kubeconfig
         --authorization-kubeconfig={pki}/kube-scheduler.kubeconfig"
    ))
}

pub(super) fn kubelet(spec: &NodeSpec) -> Vec<String> {
    let (host, pki) = (spec.host, spec.pki.display());
    words(&format!(
        "--config={KUBELET_FILE} --kubeconfig={pki}/kubelet-{host}.kubeconfig --hostname-override={host} --node-ip={},{}",
        host.ipv4(Lan::First),
        host.ipv6(Lan::First)
    ))
}

pub(super) fn kube_proxy() -> Vec<String> {
    words(&format!("--config={PROXY_FILE}"))
}

/// Hard limit of open files of this process; the kubelet may not ask for more without CAP_SYS_RESOURCE.
fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(4)).and_then(|word| word.parse().ok());
    hard.map_or(1_000_000, |hard: u64| hard.min(1_000_000))
}

/// Configuration files of a node; `None` for the client.
pub(super) fn node_files(spec: &NodeSpec) -> Option<Vec<(&'static str, String)>> {
    let (v4, v6) = spec.host.pod_networks()?;
    Some(vec![
        (CNI_FILE, cni(&v4, &v6)),
        // No name server: lookups fail at once.
        (RESOLV_FILE, "options ndots:1\n".into()),
        (CONTAINERD_FILE, containerd(spec)),
        (KUBELET_FILE, kubelet_file(spec, open_files())),
        (PROXY_FILE, proxy_file(spec)),
    ])
}

/// `dataDir` on /run: a power loss frees the pods' addresses.
fn cni(v4: &str, v6: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.0.0","name":"lab","plugins":[
 {{"type":"bridge","bridge":"cni0","isDefaultGateway":true,"forceAddress":true,"hairpinMode":true,"ipMasq":false,
  "ipam":{{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{{"subnet":"{v4}"}}],[{{"subnet":"{v6}"}}]]}}}},
 {{"type":"portmap","capabilities":{{"portMappings":true}}}}]}}
"#
    )
}

/// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE nobody may lower it, and pods would never start.
fn containerd(spec: &NodeSpec) -> String {
    let disabled = ["snapshotter.v1.aufs", "snapshotter.v1.btrfs", "snapshotter.v1.devmapper", "snapshotter.v1.zfs"]
        .map(|name| format!("\"io.containerd.{name}\""))
        .join(", ");
    format!(
        r#"version = 2
disabled_plugins = [{disabled}, "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        cni = spec.cni.display()
    )
}

fn kubelet_file(spec: &NodeSpec, open_files: u64) -> String {
    let taints = if spec.host == Host::ControlPlane {
        "[{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]"
    } else {
        "[]"
    };
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {pki}/ca.crt}}}}
authorization: {{mode: Webhook}}
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: {open_files}
resolvConf: {RESOLV_FILE}
volumePluginDir: {VOLUME_PLUGINS}
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: 0%, imagefs.available: 0%}}
registerWithTaints: {taints}
",
        pki = spec.pki.display()
    )
}

/// Conntrack settings are the machine's; a network namespace refuses them (EINVAL).
fn proxy_file(spec: &NodeSpec) -> String {
    let addresses = match spec.proxy_mode {
        ProxyMode::Iptables => "[]",
        ProxyMode::Nftables => "[primary]",
    };
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: {mode}
hostnameOverride: {host}
clientConnection: {{kubeconfig: {pki}/kube-proxy.kubeconfig}}
clusterCIDR: {POD_NETWORKS}
detectLocalMode: ClusterCIDR
oomScoreAdj: 0
nodePortAddresses: {addresses}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
",
        mode = spec.proxy_mode.as_str(),
        host = spec.host,
        pki = spec.pki.display()
    )
}
