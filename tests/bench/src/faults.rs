//! What goes wrong: at one node, and meanwhile everywhere. All of it is the lab's and knows nothing of the subject.

use crate::{Error, Result};
use herald_lab::{Host, Lab, Lan};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fmt::Write as _,
    io::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What happens to the node that announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its switch port goes down, then every process is killed.
    PowerLoss,
    /// Its cable is pulled: it sees that it has no carrier.
    CablePulled,
    /// The switch drops every frame from and to it, the carrier stays: for everybody else a kernel that has panicked.
    Silence,
    /// The switch drops every frame from it: it hears the others.
    Unheard,
    /// The switch drops every frame to it: the others hear it.
    Deaf,
    /// Every port of the switch, the client's too, goes down and comes up again after [`SWITCH_AWAY`].
    SwitchRestart,
}

/// No port of the switch has a carrier for so long when it restarts.
pub const SWITCH_AWAY: Duration = Duration::from_secs(1);

/// Frames that the switch drops, in a table of nftables of its own.
const FILTER_OF_FAULT: &str = "bench_fault";
const FILTER_MEANWHILE: &str = "bench_meanwhile";

impl Fault {
    /// Does it.
    ///
    /// # Errors
    /// The lab's.
    pub fn begin(self, lab: &Lab, node: Host) -> Result<()> {
        let all = |hook| filter(lab, FILTER_OF_FAULT, hook, &[node], "drop");
        match self {
            Self::PowerLoss => Ok(lab.power_off(node)?),
            Self::CablePulled => Ok(lab.cut(node)?),
            Self::Silence => Ok(lab.silence(node)?),
            Self::Unheard => all("ingress"),
            Self::Deaf => all("egress"),
            Self::SwitchRestart => {
                set_ports(lab, "down")?;
                thread::sleep(SWITCH_AWAY);
                set_ports(lab, "up")
            }
        }
    }

    /// Undoes it. Does not wait for the node to be itself again.
    ///
    /// # Errors
    /// The lab's.
    pub fn end(self, lab: &Lab, node: Host) -> Result<()> {
        match self {
            Self::PowerLoss => Ok(lab.power_on(node)?),
            Self::CablePulled | Self::Silence => Ok(lab.heal(node)?),
            Self::Unheard | Self::Deaf => unfilter(lab, FILTER_OF_FAULT),
            Self::SwitchRestart => Ok(()),
        }
    }
}

/// What is wrong all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// The switch drops multicast frames of the nodes, broadcasts pass.
    MulticastFiltered,
    /// The switch drops the nodes' datagrams and segments to port 7946.
    PortBlocked,
    /// Each frame to a node is lost with this probability in percent; the client's own questions and their answers are spared.
    Loss(u8),
    /// The API server is stopped.
    ApiAway,
    /// The API server stands still for nine tenths of each second.
    ApiSlow,
    /// etcd is stopped: the API server runs, and can read and write nothing.
    EtcdStopped,
}

/// Ends what it stands for when it is dropped.
#[derive(Debug)]
pub struct Trouble<'a> {
    lab: &'a Lab,
    kind: Meanwhile,
    slowing: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

const ETCD: &str = "etcd";

/// For everybody to know what is wrong.
const SETTLE: Duration = Duration::from_secs(5);

impl Meanwhile {
    /// Begins it at all nodes.
    ///
    /// # Errors
    /// The lab's.
    pub fn begin(self, lab: &Lab) -> Result<Trouble<'_>> {
        let nodes = &lab.nodes();
        let mut trouble = Trouble { lab, kind: self, slowing: None };
        match self {
            Self::Nothing => {}
            Self::MulticastFiltered => filter(lab, FILTER_MEANWHILE, "ingress", nodes, "meta pkttype multicast drop")?,
            Self::PortBlocked => {
                filter(lab, FILTER_MEANWHILE, "ingress", nodes, "meta l4proto { tcp, udp } th dport 7946 drop")?;
            }
            Self::Loss(percent) => filter(lab, FILTER_MEANWHILE, "egress", nodes, &loss(percent))?,
            Self::ApiAway => lab.stop_api()?,
            Self::EtcdStopped => lab.hold(Host::ControlPlane, ETCD)?,
            Self::ApiSlow => trouble.slowing = Some(slow_down(lab.program_pids(Host::ControlPlane, "kube-apiserver"))),
        }
        if self != Self::Nothing {
            // It is to be the state of the network and not an event in it.
            thread::sleep(SETTLE);
        }
        Ok(trouble)
    }
}

impl Drop for Trouble<'_> {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.slowing.take() {
            stop.store(true, Ordering::Relaxed);
            // It cannot panic; what it stopped, it has let go on.
            let _ = thread.join();
        }
        let ended = match self.kind {
            Meanwhile::Nothing | Meanwhile::ApiSlow => Ok(()),
            Meanwhile::ApiAway => self.lab.start_api().map_err(Error::from),
            // The API server may have ended meanwhile; it is waited for.
            Meanwhile::EtcdStopped => {
                self.lab.release(Host::ControlPlane, ETCD).and_then(|()| self.lab.start_api()).map_err(Error::from)
            }
            Meanwhile::MulticastFiltered | Meanwhile::PortBlocked | Meanwhile::Loss(_) => {
                unfilter(self.lab, FILTER_MEANWHILE)
            }
        };
        if let Err(error) = ended {
            eprintln!("  ending {:?}: {error}", self.kind);
        }
    }
}

/// The probes of the client are spared, so that the figure is the address's outage and not the loss itself.
fn loss(percent: u8) -> String {
    format!(
        "meta l4proto {{ tcp, udp }} th dport {{ 80, 9999 }} accept\nadd rule netdev TABLE PORT meta l4proto {{ tcp, udp }} th sport {{ 80, 9999 }} accept\nadd rule netdev TABLE PORT numgen random mod 100 < {percent} drop"
    )
}

/// The nftables script: a chain for the port of each node.
fn script(table: &str, hook: &str, ports: &[String], rule: &str) -> String {
    let mut text = format!("add table netdev {table}\n");
    for (number, port) in ports.iter().enumerate() {
        let chain = format!("port{number}");
        let rule = rule.replace("TABLE", table).replace("PORT", &chain);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "add chain netdev {table} {chain} {{ type filter hook {hook} device \"{port}\" priority 0; }}"
        );
        let _ = writeln!(text, "add rule netdev {table} {chain} {rule}");
    }
    text
}

fn filter(lab: &Lab, table: &str, hook: &str, nodes: &[Host], rule: &str) -> Result<()> {
    let ports: Vec<String> = nodes.iter().map(|node| Lan::First.port(*node)).collect();
    nft(lab, &script(table, hook, &ports, rule))
}

fn unfilter(lab: &Lab, table: &str) -> Result<()> {
    nft(lab, &format!("delete table netdev {table}\n"))
}

/// Every port of the first LAN, at once.
fn set_ports(lab: &Lab, way: &str) -> Result<()> {
    let ports = lab.hosts().into_iter().map(|host| Lan::First.port(host));
    let script: String = ports.map(|port| format!("link set {port} {way}\n")).collect();
    in_switch(lab, &["ip", "-batch", "-"], &script)
}

/// Runs a script of nftables in the switch.
fn nft(lab: &Lab, script: &str) -> Result<()> {
    in_switch(lab, &["nft", "-f", "-"], script)
}

/// Runs a program in the switch that reads what it is to do.
fn in_switch(lab: &Lab, program: &[&str], script: &str) -> Result<()> {
    let error = || Error::io("a program in the lab's switch");
    let mut command = lab.switch_command(program)?;
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(error())?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(error())?;
    }
    let output = child.wait_with_output().map_err(error())?;
    if output.status.success() {
        return Ok(());
    }
    Err(error()(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())))
}

/// Stops these processes for nine tenths of each second.
fn slow_down(pids: Vec<i32>) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                signal(&pids, Signal::SIGSTOP);
                thread::sleep(Duration::from_millis(900));
                signal(&pids, Signal::SIGCONT);
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
    (stop, thread)
}

/// Sends a signal; who is gone needs none.
pub fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_gets_its_chain_with_every_rule() {
        let text = script("t", "egress", &["v-w1-k8s".into(), "v-w2-k8s".into()], &loss(30));
        assert_eq!(text.matches("add chain netdev t").count(), 2);
        assert!(text.contains("hook egress device \"v-w2-k8s\""));
        assert_eq!(text.matches("add rule netdev t port1 ").count(), 3, "{text}");
        assert!(text.ends_with("add rule netdev t port1 numgen random mod 100 < 30 drop\n"));
    }
}
