//! What Services can ask for, as their clients on the LAN see it.

use std::net::IpAddr;

use herald_e2e::{Cluster, Deployment, NAMESPACE, PATIENCE, Port, Result, Service, ensure, eventually};
use herald_lab::{Host, Lan};

use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("local_policy_keeps_the_client_and_follows_the_pods", local_policy),
    ("sharing_key", sharing_key),
    ("dual_stack_and_ipv6", dual_stack),
    ("another_class_is_left_alone", another_class),
];

fn sees_client(cluster: &Cluster, address: IpAddr) -> Result<()> {
    let client = Host::Client.ipv4(Lan::First).to_string();
    let seen = cluster.client_http((address, 80).into(), "/clientip")?;
    ensure!(seen == client, "a pod behind a Local service sees the client's own address {client}, not {seen}");
    Ok(())
}

/// The only node with a pod announces; when the pod moves, so does the address; without pods nobody answers.
fn local_policy(cluster: &Cluster) -> Result<()> {
    let (one, two) = (Host::Worker(1), Host::Worker(2));
    cluster.serve(&Service::new("local", "local").with("externalTrafficPolicy", "Local"))?;
    cluster.await_ips("local", &["192.168.56.11"])?;
    for host in [one, two] {
        cluster.deploy(&Deployment::new("local", 1).on(&[host]))?;
        cluster.await_announcer(lan(11), host)?;
        cluster.answering_pods(lan(11), 1)?;
        sees_client(cluster, lan(11))?;
    }
    cluster.lab().kubectl(&["-n", NAMESPACE, "scale", "deployment", "local", "--replicas=0"])?;
    cluster.await_silence(lan(11))
}

const SHARE: &str = "metallb.io/allow-shared-ip";

/// Two Services with one key and different ports share an address and its announcer; a third one that wants the same
/// port there is refused, and says so.
fn sharing_key(cluster: &Cluster) -> Result<()> {
    cluster.deploy(&Deployment::new("share", 2))?;
    let service = |name: &str| Service::new(name, "share").annotated(SHARE, "key");
    cluster.serve(&service("share-a").ports(&[Port::Tcp(80)]))?;
    cluster.await_ips("share-a", &["192.168.56.11"])?;
    cluster.serve(
        &service("share-b").ports(&[Port::Tcp(8080), Port::Udp(9999)]).with("loadBalancerIP", "192.168.56.11"),
    )?;
    cluster.await_ips("share-b", &["192.168.56.11"])?;
    cluster.serve(&service("share-c").ports(&[Port::Tcp(80)]).with("loadBalancerIP", "192.168.56.11"))?;
    cluster.await_event("share-c", "AllocationFailed")?;
    ensure!(cluster.current_ips("share-c")?.is_empty(), "a service that cannot share has no address");

    let announcer = cluster.announcer(lan(11))?;
    for name in ["share-a", "share-b"] {
        let event = cluster.await_event(name, "nodeAssigned")?;
        let message = event["message"].as_str().unwrap_or_default();
        ensure!(
            message.contains(&announcer.to_string()),
            "{name} is announced by {announcer} as well; its event says {message:?}"
        );
    }
    cluster.answering_pods(lan(11), 2)?;
    eventually("an answer on the second service's port", PATIENCE, || {
        Ok(cluster.client_http((lan(11), 8080).into(), "/").map_err(|error| error.to_string()))
    })?;
    Ok(())
}

const BOTH_FAMILIES: &str = "address-pools:
- name: both
  protocol: layer2
  addresses:
  - 192.168.56.21-192.168.56.23
  - fd56::20-fd56::2f
";

/// IPv4 and IPv6 of one Service are announced by one node, and both lead to the pods; IPv6 alone works, too.
fn dual_stack(cluster: &Cluster) -> Result<()> {
    cluster.configure_text(BOTH_FAMILIES)?;
    cluster.deploy(&Deployment::new("dual", 2))?;
    cluster.serve(&Service::new("dual", "dual").with("ipFamilyPolicy", "RequireDualStack"))?;
    cluster.await_ips("dual", &["192.168.56.21", "fd56::20"])?;
    let six = Service::new("six", "dual").with("ipFamilyPolicy", "SingleStack");
    cluster.serve(&six.with("ipFamilies", vec!["IPv6"]))?;
    cluster.await_ips("six", &["fd56::21"])?;

    let (v4, v6) = (cluster.external_ips("dual")?, cluster.external_ips("six")?);
    let mut announcers = Vec::new();
    for address in v4.iter().chain(&v6) {
        announcers.push(cluster.announcer(*address)?);
        cluster.answering_pods(*address, 2)?;
    }
    ensure!(
        announcers.first() == announcers.get(1),
        "one node announces both addresses of a service, not {announcers:?}"
    );
    Ok(())
}

/// Services of another class get no address and no event, whatever is free.
fn another_class(cluster: &Cluster) -> Result<()> {
    cluster.serve(&Service::new("other", "none").with("loadBalancerClass", "example.com/other"))?;
    // Created later and served: so the other one has been seen and left alone.
    cluster.serve(&Service::new("own", "none"))?;
    cluster.await_ips("own", &["192.168.56.11"])?;
    cluster.await_event("own", "IPAllocated")?;
    ensure!(cluster.current_ips("other")?.is_empty(), "a service of another class gets no address");
    let events = cluster.events(NAMESPACE, "Service", "other")?;
    ensure!(events.is_empty(), "a service of another class gets no event: {events:?}");
    Ok(())
}
