//! Cluster and subject, ready to be measured, with an address that each node announces.

use crate::{
    Error, Result,
    api::{self, UDP_PORT},
    arp::{ArpPort, mac_of, node_of},
    claims,
    cluster::{self, LAN_POOL},
    subject::Subject,
};
use herald_e2e::{Cluster, NAMESPACE, Probe};
use herald_lab::{Host, Lab};
use herald_wire::Mac;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::PostParams};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

/// Services to choose from, so that every node announces one.
pub const SERVICES: usize = 20;
/// For an address to return to its node.
const RETURN: Duration = Duration::from_secs(120);

/// How long things are measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Trials of each kind of failure.
    pub trials: usize,
    /// Times that a speaker is killed, deleted and frozen.
    pub cycles: usize,
    /// Rolling updates.
    pub rollouts: usize,
    /// Services created one after the other.
    pub creations: usize,
    /// Times that 1,000 Services wait.
    pub waits: usize,
    /// Power losses with fencing, of more than a minute each.
    pub fenced: usize,
    /// The same without.
    pub unfenced: usize,
    /// Each time under load.
    pub soak: Duration,
}

impl Effort {
    /// Everything within 40 minutes on two cores.
    pub const FULL: Self = Self {
        trials: 20,
        cycles: 20,
        rollouts: 20,
        creations: 20,
        waits: 3,
        fenced: 2,
        unfenced: 1,
        soak: Duration::from_secs(600),
    };
    /// A first look.
    pub const QUICK: Self = Self {
        trials: 5,
        cycles: 3,
        rollouts: 1,
        creations: 5,
        waits: 1,
        fenced: 1,
        unfenced: 1,
        soak: Duration::from_secs(60),
    };
}

/// See the module.
#[derive(Debug)]
pub struct Stage {
    /// The lab with the subject in it.
    pub cluster: Cluster,
    /// What is measured.
    pub subject: Subject,
    /// How long.
    pub effort: Effort,
    homes: BTreeMap<Host, Ipv4Addr>,
}

impl Stage {
    /// Nothing is done yet.
    #[must_use]
    pub const fn new(cluster: Cluster, subject: Subject, effort: Effort) -> Self {
        Self { cluster, subject, effort, homes: BTreeMap::new() }
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        self.cluster.lab()
    }

    /// Installs Herald with these chart values; does nothing when it runs with them.
    ///
    /// # Errors
    /// Another subject cannot be changed; helm's.
    pub fn install(&self, values: &[&str]) -> Result<()> {
        if !self.subject.is_herald {
            return if values.is_empty() { Ok(()) } else { Err(Error::HeraldOnly) };
        }
        self.cluster.install(values)?;
        self.subject.await_ready(self.lab()).map(drop)
    }

    /// For each node an address that it announces when all is well.
    ///
    /// # Errors
    /// A node announces none of [`SERVICES`].
    pub fn homes(&mut self) -> Result<BTreeMap<Host, Ipv4Addr>> {
        let there = self.cluster.all_ips()?;
        let stands = |ip: &Ipv4Addr| there.values().any(|ips| ips.contains(&IpAddr::V4(*ip)));
        if self.homes.is_empty() || !self.homes.values().all(stands) {
            self.homes = self.make_homes()?;
        }
        Ok(self.homes.clone())
    }

    fn make_homes(&self) -> Result<BTreeMap<Host, Ipv4Addr>> {
        cluster::clean_services(&self.cluster)?;
        let pool = self.subject.is_herald.then_some(LAN_POOL.0);
        api::run(self.lab(), |client| async move {
            let services: Api<Service> = Api::namespaced(client, NAMESPACE);
            for number in 0..SERVICES {
                let service = api::load_balancer(&format!("flow-{number}"), pool);
                services.create(&PostParams::default(), &service).await?;
            }
            Ok(())
        })?;
        let (mut homes, port) = (BTreeMap::new(), ArpPort::open_on(self.lab(), self.subject.client)?);
        for ip in cluster::external_ips(&self.cluster, SERVICES)?.into_values() {
            let owner = node_of(self.lab(), claims::owner(&port, ip)?);
            if let Some(node) = owner.filter(|node| self.subject.nodes.contains(node)) {
                homes.entry(node).or_insert(ip);
            }
        }
        if let Some(idle) = self.subject.nodes.iter().find(|node| !homes.contains_key(node)) {
            return Err(Error::NotSeen(format!("an address that {idle} announces, among {SERVICES}")));
        }
        for ip in homes.values() {
            self.await_lossless(*ip)?;
        }
        Ok(homes)
    }

    /// Waits until half a second of asking goes without loss: kube-proxy has to learn the Service first.
    fn await_lossless(&self, ip: Ipv4Addr) -> Result<()> {
        let start = Instant::now();
        loop {
            let to = (ip, UDP_PORT).into();
            let probe = Probe::start_on(self.lab(), self.subject.client, to, Duration::from_millis(5))?;
            thread::sleep(Duration::from_millis(500));
            if probe.finish().lost == 0 {
                return Ok(());
            }
            if start.elapsed() > RETURN {
                return Err(Error::NotSeen(format!("answers on {ip} without loss")));
            }
        }
    }

    /// Waits until this node answers broadcast requests for the address, three times in a row, 100 ms apart: nobody else does.
    ///
    /// # Errors
    /// [`Error::NotSeen`].
    pub fn await_home(&self, node: Host, ip: Ipv4Addr) -> Result<()> {
        let port = ArpPort::open_on(self.lab(), self.subject.client)?;
        let (start, mut in_a_row) = (Instant::now(), 0);
        while in_a_row < 3 {
            let answer = port.ask(ip, Mac::BROADCAST, Duration::from_millis(100))?;
            in_a_row = if answer.is_some_and(|answer| answer.mac == mac_of(node)) { in_a_row + 1 } else { 0 };
            if start.elapsed() > RETURN {
                return Err(Error::NotSeen(format!("{node} answering for {ip} again")));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The MAC addresses of the homes, by address.
    ///
    /// # Errors
    /// See [`Stage::homes`].
    pub fn owners(&mut self) -> Result<BTreeMap<Ipv4Addr, Mac>> {
        let homes = self.homes()?;
        homes.iter().try_for_each(|(node, ip)| self.await_home(*node, *ip))?;
        Ok(homes.into_iter().map(|(node, ip)| (ip, mac_of(node))).collect())
    }
}
