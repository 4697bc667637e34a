//! A foreign host on the LAN that has an address of the pool: the lab's client, whose kernel does what kernels do.

use std::net::IpAddr;

use herald_e2e::{Cluster, Deployment, Error, NAMESPACE, PATIENCE, Result, Service, ensure, eventually};
use herald_lab::{Host, Lan};
use serde_json::Value;

use crate::{Journey, lan};

pub(crate) const JOURNEYS: &[(&str, Journey)] = &[
    ("a_foreign_host_that_was_first_keeps_its_address", first),
    ("a_foreign_host_that_comes_later_is_defended_against_once", defend),
    ("a_foreign_host_that_comes_later_is_yielded_to", yielded),
];

/// Not the default, so that Herald is installed anew for the next journey: what was in quarantine would be missed there.
const QUARANTINE: &str = "controller.conflictQuarantine=300s";

/// The client with a further address, until this is dropped.
struct Foreign<'c> {
    cluster: &'c Cluster,
    address: IpAddr,
}

impl<'c> Foreign<'c> {
    fn new(cluster: &'c Cluster, address: IpAddr) -> Result<Self> {
        let foreign = Self { cluster, address };
        foreign.ip("add")?;
        Ok(foreign)
    }

    /// It answers for the address alone, and routes as before.
    fn ip(&self, action: &str) -> Result<()> {
        let address = format!("{}/32", self.address);
        let argv = ["ip", "address", action, &address, "dev", Lan::First.interface()];
        let output = self.cluster.lab().exec(Host::Client, &argv)?;
        ensure!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What a host says that comes up with an address (RFC 5227, section 2.3).
    fn announce(&self) -> Result<()> {
        let address = self.address.to_string();
        let argv = ["arping", "-U", "-c", "1", "-w", "1", "-I", Lan::First.interface(), &address];
        // It counts answers, of which there are none.
        self.cluster.lab().net_command(Host::Client, &argv)?.output().map_err(Error::io("arping"))?;
        Ok(())
    }

    fn mac(&self) -> Result<String> {
        let path = format!("/sys/class/net/{}/address", Lan::First.interface());
        let output = self.cluster.lab().exec(Host::Client, &["cat", &path])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Foreign<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.ip("del") {
            eprintln!("  the client keeps {}: {error}", self.address);
        }
    }
}

/// An event about the Service names the address and the host, and says this.
fn named(cluster: &Cluster, service: &str, address: IpAddr, mac: &str, says: &str) -> Result<()> {
    eventually(&format!("an event about {service} that names {mac} and says {says:?}"), PATIENCE, || {
        let events = cluster.events(NAMESPACE, "Service", service)?;
        let message = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
        let conflicts = events.iter().filter(|event| event["reason"] == "addressConflict").map(message);
        let messages: Vec<String> = conflicts.collect();
        let fits = |text: &String| [&*address.to_string(), mac, says].iter().all(|part| text.contains(part));
        Ok(if messages.iter().any(fits) { Ok(()) } else { Err(format!("{messages:?}")) })
    })
}

/// The host has .11 before any Service: the first one gets .12, and nothing is ever answered for .11.
fn first(cluster: &Cluster) -> Result<()> {
    cluster.install(&[QUARANTINE])?;
    let foreign = Foreign::new(cluster, lan(11))?;
    cluster.deploy(&Deployment::new("web", 2))?;
    cluster.serve(&Service::new("web", "web"))?;
    cluster.await_ips("web", &["192.168.56.12"])?;
    named(cluster, "web", lan(11), &foreign.mac()?, "is not announced")?;
    cluster.announcer(lan(12))?;
    cluster.answering_pods(lan(12), 2)?;
    // In quarantine: the next one does not try it.
    cluster.serve(&Service::new("next", "web"))?;
    cluster.await_ips("next", &["192.168.56.13"])?;
    cluster.await_silence(lan(11))
}

/// A Service that asked for .11 by name, answered for by a node alone.
fn by_name(cluster: &Cluster) -> Result<()> {
    cluster.deploy(&Deployment::new("web", 2))?;
    cluster.serve(&Service::new("web", "web").annotated("metallb.io/loadBalancerIPs", "192.168.56.11"))?;
    cluster.announcer(lan(11))?;
    // Until it was asked for, it would not be fought for.
    cluster.answering_pods(lan(11), 2)?;
    Ok(())
}

/// Nobody answers while the host has it; afterwards somebody does.
fn over(cluster: &Cluster, foreign: Foreign<'_>) -> Result<()> {
    cluster.await_silence(lan(11))?;
    cluster.await_ips("web", &["192.168.56.11"])?;
    drop(foreign);
    cluster.await_event("web", "addressConflictOver")?;
    cluster.announcer(lan(11))?;
    cluster.answering_pods(lan(11), 2)?;
    Ok(())
}

fn defend(cluster: &Cluster) -> Result<()> {
    cluster.install(&[QUARANTINE])?;
    by_name(cluster)?;
    let foreign = Foreign::new(cluster, lan(11))?;
    let mac = foreign.mac()?;
    foreign.announce()?;
    named(cluster, "web", lan(11), &mac, "was told that it is here")?;
    // A kernel answers the defence, which is the second claim; one that does not says it again.
    foreign.announce()?;
    named(cluster, "web", lan(11), &mac, "is not announced")?;
    over(cluster, foreign)
}

fn yielded(cluster: &Cluster) -> Result<()> {
    cluster.install(&[QUARANTINE, "speaker.conflictPolicy=yield"])?;
    by_name(cluster)?;
    let foreign = Foreign::new(cluster, lan(11))?;
    let mac = foreign.mac()?;
    foreign.announce()?;
    named(cluster, "web", lan(11), &mac, "is not announced")?;
    over(cluster, foreign)
}
