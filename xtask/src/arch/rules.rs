//! R2, R3 and the place of `unsafe`: which paths may not stand in which file.

use super::{
    Rule, Violation,
    sources::{Use, Uses},
};

/// What is compiled into the binary; crates/testkit and tests/ are for tests and may do as they like.
pub(super) const FOLDERS: [&str; 7] = [
    "cli/src",
    "controller/src",
    "speaker/src",
    "crates/api/src",
    "crates/core/src",
    "crates/runtime/src",
    "crates/wire/src",
];

const PURE: [&str; 2] = ["crates/core/", "crates/wire/"];

const SYSTEM: [&str; 16] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "std::env",
    "std::fs",
    "std::thread",
    "std::process",
    "std::os",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::io::stdin",
    "std::io::stdout",
    "std::hash::RandomState",
    "std::collections::hash_map::RandomState",
];

const KUBERNETES: [&str; 6] = ["k8s_openapi", "kube", "kube_client", "kube_core", "kube_derive", "kube_runtime"];

/// Names of files, or of folders below `src`, that may hold Kubernetes types: the rim that watches and writes.
const RIM: [&str; 10] =
    ["observe", "apply", "lease", "events", "watch", "client", "standby", "key_secret", "review", "served"];

const SOCKETS: [&str; 16] = [
    "libc",
    "nix",
    "socket2",
    "rtnetlink",
    "netlink_packet_core",
    "netlink_packet_route",
    "netlink_proto",
    "netlink_sys",
    "pnet::datalink",
    "pnet::transport",
    "pnet_datalink",
    "pnet_transport",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "tokio::net",
];

const NETWORK: [&str; 2] = ["speaker/src/net", "speaker/src/links"];

/// The admin endpoints are HTTP on a TCP listener: a socket, but none that announces.
const ADMIN: &str = "crates/runtime/src/admin";

/// The controller's own look at a kubelet before it fences a node.
const KUBELET: &str = "controller/src/fence/kubelet";

const UNSAFE: &str = "speaker/src/net/sys.rs";

/// Every line of one file that breaks a rule. `file` is relative to the workspace, with `/`.
pub(super) fn judge(file: &str, uses: &Uses) -> Vec<Violation> {
    let mut violations = Vec::new();
    if PURE.iter().any(|folder| file.starts_with(folder)) {
        violations.extend(named(file, uses, Rule::R2PureSources, &SYSTEM));
    }
    if !file.starts_with("crates/api/") && !is_rim(file) {
        violations.extend(named(file, uses, Rule::R3KubernetesAtTheRim, &KUBERNETES));
    }
    if !NETWORK.iter().any(|place| is_at(file, place)) && !is_at(file, ADMIN) && !is_at(file, KUBELET) {
        violations.extend(named(file, uses, Rule::R3SocketsAtTheRim, &SOCKETS));
    }
    if file != UNSAFE {
        violations.extend(uses.unsafe_lines.iter().map(|line| Violation {
            file: file.to_owned(),
            line: *line,
            rule: Rule::UnsafeInOneFile,
            found: "unsafe".to_owned(),
        }));
    }
    violations.sort();
    violations.dedup();
    violations
}

/// Whether a file is the module `place` (`place.rs`) or lies in its folder.
fn is_at(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn is_rim(file: &str) -> bool {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside);
    inside.split('/').any(|part| RIM.iter().any(|name| part.starts_with(name)))
}

fn named<'a>(
    file: &'a str,
    uses: &'a Uses,
    rule: Rule,
    forbidden: &'a [&'a str],
) -> impl Iterator<Item = Violation> + 'a {
    uses.paths.iter().filter(|found| forbidden.iter().any(|path| reaches(found, path))).map(move |found| Violation {
        file: file.to_owned(),
        line: found.line,
        rule,
        found: found.path.join("::"),
    })
}

/// Whether a path names something forbidden or below it, or imports a module through which it can be had by a shorter name
/// (`use std::time;`).
fn reaches(found: &Use, forbidden: &str) -> bool {
    let forbidden: Vec<&str> = forbidden.split("::").collect();
    let equal = found.path.iter().zip(&forbidden).all(|(have, not)| have == not);
    equal && (found.path.len() >= forbidden.len() || (found.imported && !found.path.is_empty()))
}
