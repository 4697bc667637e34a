//! The virtual LAN: a bridge in the switch's namespace, one port per host. Nothing is ever in the root namespace.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::host::{Host, Lan};
use crate::place::Place;
use crate::run::{command, output, run, run_with_input};

/// A port's state at the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Plugged in and forwarding.
    Up,
    /// Unplugged: the host sees no carrier.
    Cut,
    /// The switch drops every frame of both directions, the carrier stays.
    Silenced,
    /// No such port: the host is off.
    Absent,
}

/// Path of a named network namespace.
pub(crate) fn netns_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

pub(crate) fn netns_exists(name: &str) -> bool {
    netns_path(name).exists()
}

/// A command that runs in the named network namespace and otherwise on the machine.
pub(crate) fn in_netns(name: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns_path(name).display()));
    command
}

fn ip_batch(netns: &str, lines: &str) -> Result<()> {
    run_with_input(&mut command("ip", ["-n", netns, "-batch", "-"]), lines).map(drop)
}

fn sysctl(netns: &str, settings: &[&str]) -> Result<()> {
    run(in_netns(netns).args(["sysctl", "-qw"]).args(settings)).map(drop)
}

/// Makes the switch unless it is there and complete.
pub(crate) fn switch_up(place: &Place, lans: &[Lan]) -> Result<()> {
    let switch = place.switch();
    if !netns_exists(&switch) {
        run(&mut command("ip", ["netns", "add", &switch]))?;
    }
    // Not a host: bridged frames must not meet netfilter, and the switch itself says nothing.
    sysctl(
        &switch,
        &[
            "net.ipv6.conf.default.disable_ipv6=1",
            "net.bridge.bridge-nf-call-iptables=0",
            "net.bridge.bridge-nf-call-ip6tables=0",
            "net.bridge.bridge-nf-call-arptables=0",
        ],
    )?;
    for lan in lans {
        let bridge = lan.bridge();
        if !link_exists(&switch, bridge)? {
            run(&mut command(
                "ip",
                ["-n", &switch, "link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"],
            ))?;
        }
        run(&mut command("ip", ["-n", &switch, "link", "set", bridge, "up"]))?;
    }
    run(&mut command("ip", ["-n", &switch, "link", "set", "lo", "up"])).map(drop)
}

fn link_exists(netns: &str, link: &str) -> Result<bool> {
    Ok(output(&mut command("ip", ["-n", netns, "link", "show", "dev", link]))?.status.success())
}

/// Plugs a host in and gives it its addresses; `false` when that was so already.
pub(crate) fn host_up(place: &Place, host: Host, lans: &[Lan]) -> Result<bool> {
    let (netns, switch) = (place.netns(host), place.switch());
    let last = lans.last().copied().unwrap_or(Lan::First);
    // The default routes come last: with them, the host is complete.
    if netns_exists(&netns) && link_exists(&netns, last.interface())? {
        let routes = run(&mut command("ip", ["-n", &netns, "-6", "route", "show", "default"]))?;
        if !routes.trim().is_empty() {
            return Ok(false);
        }
    }
    host_down(place, host)?;
    run(&mut command("ip", ["netns", "add", &netns]))?;
    if host.is_node() {
        sysctl(
            &netns,
            &[
                "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1",
                "net.bridge.bridge-nf-call-iptables=1",
                "net.bridge.bridge-nf-call-ip6tables=1",
            ],
        )?;
    }
    let mut ports = String::new();
    let mut inside = String::from("link set lo up\n");
    for lan in lans {
        let (port, interface, mac) = (lan.port(host), lan.interface(), host.mac(*lan));
        // Made from the switch's namespace, so that no end is ever in the root namespace. Writing to a String cannot fail.
        let _ = writeln!(ports, "link add {port} type veth peer name {interface} address {mac} netns {netns}");
        let _ = writeln!(ports, "link set {port} master {} up", lan.bridge());
        let _ = writeln!(inside, "addr add {}/24 dev {interface}", host.ipv4(*lan));
        let _ = writeln!(inside, "addr add {}/64 dev {interface} nodad", host.ipv6(*lan));
        let _ = writeln!(inside, "link set {interface} up");
    }
    let (router, router6) = Lan::First.absent_router();
    let _ = writeln!(inside, "route add default via {router}\nroute add default via {router6}");
    ip_batch(&switch, &ports)?;
    ip_batch(&netns, &inside)?;
    Ok(true)
}

/// Routes of `at` to the pods of every other node.
pub(crate) fn pod_routes(place: &Place, at: Host, hosts: &[Host]) -> Result<()> {
    let netns = place.netns(at);
    if !at.is_node() || !netns_exists(&netns) {
        return Ok(());
    }
    let mut lines = String::new();
    for other in hosts.iter().filter(|other| **other != at) {
        if let Some((v4, v6)) = other.pod_networks() {
            let (via, via6) = (other.ipv4(Lan::First), other.ipv6(Lan::First));
            let _ = writeln!(lines, "route replace {v4} via {via}\nroute replace {v6} via {via6}");
        }
    }
    ip_batch(&netns, &lines)
}

/// Removes a host's ports and namespace with whatever the kernel still holds for it.
pub(crate) fn host_down(place: &Place, host: Host) -> Result<()> {
    let (netns, switch) = (place.netns(host), place.switch());
    if netns_exists(&switch) {
        for lan in [Lan::First, Lan::Second] {
            let port = lan.port(host);
            // The port first: orphaned TCP sockets (a FIN that nobody answers) keep a namespace, and so its veth, alive
            // for minutes after its name is gone, and the next start would fail with "File exists".
            if link_exists(&switch, &port)? {
                run(&mut command("ip", ["-n", &switch, "link", "del", &port]))?;
            }
        }
    }
    if netns_exists(&netns) {
        // For the same reason; ss has nothing to say when there is nothing to close.
        let _ = output(in_netns(&netns).args(["ss", "-K", "-a"]));
        run(&mut command("ip", ["netns", "del", &netns]))?;
    }
    Ok(())
}

/// Removes the switch.
pub(crate) fn switch_down(place: &Place) -> Result<()> {
    if netns_exists(&place.switch()) {
        run(&mut command("ip", ["netns", "del", &place.switch()]))?;
    }
    Ok(())
}

/// Names of this lab's network namespaces that exist.
pub(crate) fn namespaces(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| place.of_netns(name).is_some()).collect()
}

fn port_or_off(place: &Place, host: Host, lan: Lan) -> Result<String> {
    let port = lan.port(host);
    if netns_exists(&place.switch()) && link_exists(&place.switch(), &port)? {
        Ok(port)
    } else {
        Err(Error::HostOff(host.to_string()))
    }
}

/// Puts a host's port into the given state ([`Port::Absent`] is what switching the host off gives, not this).
pub(crate) fn set_port(place: &Place, host: Host, lan: Lan, state: Port) -> Result<()> {
    let (switch, port) = (place.switch(), port_or_off(place, host, lan)?);
    let link = |way: &str| run(&mut command("ip", ["-n", &switch, "link", "set", &port, way])).map(drop);
    // 0 is "disabled"; 4 "blocking" would be turned back to forwarding at once, because the bridge runs no STP.
    let bridge = |state: &str| {
        run(&mut command("bridge", ["-n", &switch, "link", "set", "dev", &port, "state", state])).map(drop)
    };
    match state {
        Port::Up => {
            link("up")?;
            bridge("3")
        }
        Port::Cut | Port::Absent => link("down"),
        Port::Silenced => bridge("0"),
    }
}

/// State of a host's port.
pub(crate) fn port(place: &Place, host: Host, lan: Lan) -> Result<Port> {
    if port_or_off(place, host, lan).is_err() {
        return Ok(Port::Absent);
    }
    let text = run(&mut command("bridge", ["-n", &place.switch(), "link", "show", "dev", &lan.port(host)]))?;
    Ok(if text.contains("state DOWN") || !text.contains(",UP") && !text.contains("<UP") {
        Port::Cut
    } else if text.contains("state disabled") {
        Port::Silenced
    } else {
        Port::Up
    })
}
