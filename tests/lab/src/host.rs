//! Names and addresses of the lab: pure, so that tests and manifests can rely on them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Most workers that the addressing has room for.
pub const MAX_WORKERS: u8 = 90;

/// A machine of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Host {
    /// `m-k8s`, 192.168.56.10: etcd, API server, scheduler, controller manager, and a (tainted) node.
    ControlPlane,
    /// `w1-k8s` .. `w90-k8s`, 192.168.56.101 ..: a node. The number starts at 1.
    Worker(u8),
    /// `lab-client`, 192.168.56.200: a plain machine on the LAN, no Kubernetes.
    Client,
}

/// An Ethernet segment that all hosts are plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lan {
    /// eth0: 192.168.56.0/24 and fd56::/64, where the nodes' own addresses are.
    First,
    /// eth1: 192.168.57.0/24 and fd57::/64, only with [`crate::Options::second_lan`].
    Second,
}

impl Lan {
    /// Interface name in every host.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::First => "eth0",
            Self::Second => "eth1",
        }
    }

    /// Bridge name in the switch's namespace.
    pub(crate) const fn bridge(self) -> &'static str {
        match self {
            Self::First => "lan0",
            Self::Second => "lan1",
        }
    }

    /// Third octet of the IPv4 network.
    const fn octet(self) -> u8 {
        match self {
            Self::First => 56,
            Self::Second => 57,
        }
    }

    /// The host's port on the switch; short, because interface names end at 15 characters.
    #[must_use]
    pub fn port(self, host: Host) -> String {
        match self {
            Self::First => format!("v-{host}"),
            Self::Second => format!("v2-{host}"),
        }
    }

    /// The router that nobody has: hosts need a default route, or their processes get ENETUNREACH on service addresses.
    pub(crate) fn absent_router(self) -> (Ipv4Addr, Ipv6Addr) {
        (Ipv4Addr::new(192, 168, self.octet(), 1), self.ipv6(1))
    }

    /// The decimal digits of `number` written as hexadecimal, so that both families read alike: .101 and fd56::101.
    fn ipv6(self, number: u8) -> Ipv6Addr {
        let digits = u16::from(number);
        let alike = (digits / 100) * 256 + (digits / 10 % 10) * 16 + digits % 10;
        Ipv6Addr::new(
            0xfd00 + u16::from(self.octet() / 10) * 16 + u16::from(self.octet() % 10),
            0,
            0,
            0,
            0,
            0,
            0,
            alike,
        )
    }
}

impl Host {
    /// Last octet of the IPv4 address.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::ControlPlane => 10,
            Self::Worker(index) => 100 + index,
            Self::Client => 200,
        }
    }

    /// Node number of the pod networks; `None` for the client.
    const fn pod_index(self) -> Option<u8> {
        match self {
            Self::ControlPlane => Some(0),
            Self::Worker(index) => Some(index),
            Self::Client => None,
        }
    }

    /// IPv4 address on `lan`.
    #[must_use]
    pub fn ipv4(self, lan: Lan) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, lan.octet(), self.number())
    }

    /// IPv6 address on `lan`.
    #[must_use]
    pub fn ipv6(self, lan: Lan) -> Ipv6Addr {
        lan.ipv6(self.number())
    }

    /// MAC address on `lan`; fixed, so that a host that comes back is the same network card.
    #[must_use]
    pub fn mac(self, lan: Lan) -> String {
        format!("02:00:c0:a8:{:02x}:{:02x}", lan.octet(), self.number())
    }

    /// Pod networks (IPv4, IPv6) of a node; `None` for the client.
    #[must_use]
    pub fn pod_networks(self) -> Option<(String, String)> {
        let index = self.pod_index()?;
        // ::0 written out makes kubectl warn about a non-canonical prefix.
        let v6 = if index == 0 { "fd00:10:244::/64".into() } else { format!("fd00:10:244:{index}::/64") };
        Some((format!("10.244.{index}.0/24"), v6))
    }

    /// Whether Kubernetes runs here.
    #[must_use]
    pub const fn is_node(self) -> bool {
        !matches!(self, Self::Client)
    }

    /// All hosts of a lab with so many workers, in the order of starting.
    #[must_use]
    pub fn all(workers: u8) -> Vec<Self> {
        let mut hosts = vec![Self::ControlPlane, Self::Client];
        hosts.extend((1..=workers.min(MAX_WORKERS)).map(Self::Worker));
        hosts
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.pad("m-k8s"),
            Self::Worker(index) => f.pad(&format!("w{index}-k8s")),
            Self::Client => f.pad("lab-client"),
        }
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let refuse = || Error::NoSuchHost(name.to_owned());
        match name {
            "m-k8s" | "cp" => Ok(Self::ControlPlane),
            "lab-client" | "client" => Ok(Self::Client),
            _ => {
                let digits = name.strip_prefix('w').ok_or_else(refuse)?;
                let digits = digits.strip_suffix("-k8s").unwrap_or(digits);
                match digits.parse::<u8>() {
                    Ok(index) if (1..=MAX_WORKERS).contains(&index) && !digits.starts_with(['0', '+']) => {
                        Ok(Self::Worker(index))
                    }
                    _ => Err(refuse()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_foreign_names_are_refused() {
        for host in Host::all(MAX_WORKERS) {
            assert_eq!(host.to_string().parse::<Host>().unwrap(), host);
        }
        assert_eq!("w2".parse::<Host>().unwrap(), Host::Worker(2));
        assert_eq!("client".parse::<Host>().unwrap(), Host::Client);
        for bad in ["", "w", "w0", "w01-k8s", "w91-k8s", "w+1", "x1-k8s", "m", "w1-k8s-x"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_classic_lab() {
        let worker = Host::Worker(3);
        assert_eq!(Host::ControlPlane.ipv4(Lan::First).to_string(), "192.168.56.10");
        assert_eq!(Host::ControlPlane.ipv6(Lan::First).to_string(), "fd56::10");
        assert_eq!(worker.ipv4(Lan::First).to_string(), "192.168.56.103");
        assert_eq!(worker.ipv6(Lan::First).to_string(), "fd56::103");
        assert_eq!(Host::Client.ipv6(Lan::Second).to_string(), "fd57::200");
        assert_eq!(worker.mac(Lan::First), "02:00:c0:a8:38:67");
        assert_eq!(Lan::First.absent_router().1.to_string(), "fd56::1");
        assert_eq!(worker.pod_networks().unwrap().1, "fd00:10:244:3::/64");
        assert_eq!(Host::Client.pod_networks(), None);
    }

    #[test]
    fn nothing_is_shared_and_interface_names_fit() {
        let hosts = Host::all(MAX_WORKERS);
        let unique =
            |of: &dyn Fn(Host) -> String| hosts.iter().map(|h| of(*h)).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(unique(&|h| h.ipv4(Lan::First).to_string()).len(), hosts.len());
        assert_eq!(unique(&|h| h.ipv6(Lan::First).to_string()).len(), hosts.len());
        assert_eq!(unique(&|h| h.mac(Lan::Second)).len(), hosts.len());
        assert!(hosts.iter().all(|h| Lan::Second.port(*h).len() <= 15));
    }
}
