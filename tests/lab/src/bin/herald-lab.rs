//! Command line of the lab; see docs/lab.md.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use herald_lab::{Error, Host, Lab, Options, Port, ProxyMode, Result};

/// A real Kubernetes cluster on this machine: hosts m-k8s, w1-k8s .., and the LAN client lab-client.
///
/// HERALD_LAB_DIR: state (default /tmp/herald-lab). HERALD_LAB_CACHE: built programs (default ~/.cache/herald-lab).
/// KUBEBUILDER_ASSETS: folder with Kubernetes 1.34 programs to use instead of building them.
#[derive(Debug, Parser)]
#[command(name = "herald-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find the Kubernetes programs, or build them (about five minutes, once).
    Tools,
    /// Bring the lab up; repeat to heal it or to change the number of workers.
    Up {
        /// Workers beside the control plane.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=90))]
        workers: u8,
        /// How kube-proxy programs Services.
        #[arg(long, value_enum, default_value_t)]
        proxy_mode: ProxyMode,
        /// Plug all hosts into a second LAN as well (eth1, 192.168.57.0/24, fd57::/64).
        #[arg(long)]
        second_lan: bool,
    },
    /// Remove everything.
    Down,
    /// Hosts, their ports, their nodes.
    Status,
    /// Run a command inside a host: its network, mounts, processes, name.
    #[command(trailing_var_arg = true)]
    Exec {
        /// The host.
        host: Host,
        /// The command.
        #[arg(required = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Run a command of this machine in a host's network (or in that of `switch`).
    #[command(trailing_var_arg = true)]
    Net {
        /// The host, or `switch`.
        host: String,
        /// The command.
        #[arg(required = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Run kubectl as administrator.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Kubectl {
        /// Arguments of kubectl.
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run helm as administrator.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Helm {
        /// Arguments of helm.
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Import image tars on every node.
    Image {
        /// OCI or docker-archive tars.
        #[arg(required = true)]
        tars: Vec<PathBuf>,
    },
    /// Power loss of a host.
    PowerOff {
        /// The host.
        host: Host,
    },
    /// Power on again.
    PowerOn {
        /// The host.
        host: Host,
    },
    /// Pull the network cable: no carrier.
    Cut {
        /// The host.
        host: Host,
    },
    /// Let the switch drop every frame of the host; the carrier stays.
    Silence {
        /// The host.
        host: Host,
    },
    /// Undo cut or silence.
    Heal {
        /// The host.
        host: Host,
    },
    /// Stop kube-apiserver, and only that.
    StopApi,
    /// Start kube-apiserver again.
    StartApi,
    /// Stop a daemon of a host (kubelet, kube-proxy, containerd, ..) and keep it stopped.
    Hold {
        /// The host.
        host: Host,
        /// The daemon's program.
        daemon: String,
    },
    /// Let a held daemon start again.
    Release {
        /// The host.
        host: Host,
        /// The daemon's program.
        daemon: String,
    },
    /// Enter a host's namespaces and start its PID 1 (used by `up`).
    #[command(hide = true)]
    NodeLaunch {
        /// node.json of the host.
        spec: PathBuf,
    },
    /// PID 1 of a host (used by `up`).
    #[command(hide = true)]
    NodeInit {
        /// node.json of the host.
        spec: PathBuf,
    },
}

fn say(text: &str) {
    // A closed pipe is the reader's decision.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Becomes the command: signals and exit codes are its own.
fn become_command(mut command: Command) -> Result<()> {
    let source = command.exec();
    Err(Error::Start { command: command.get_program().to_string_lossy().into_owned(), source })
}

/// Prints the lab as it stands.
fn status() -> Result<()> {
    let lab = Lab::attach()?;
    let options = lab.options();
    say(&format!("{} (--proxy-mode {:?})", lab.place().dir().display(), options.proxy_mode).to_lowercase());
    for status in lab.status()? {
        let (host, lan) = (status.host, herald_lab::Lan::First);
        let power = status.init.map_or_else(|| "off".to_owned(), |pid| format!("on, pid {pid}"));
        let ports = status.ports.iter().map(|(lan, port)| {
            let state = match port {
                Port::Up => "up",
                Port::Cut => "cut",
                Port::Silenced => "silenced",
                Port::Absent => "absent",
            };
            format!("{} {state}", lan.interface())
        });
        let ports = ports.collect::<Vec<_>>().join(", ");
        say(&format!(
            "{host:<10} {:<15} {:<10} {power:<16} {ports}",
            host.ipv4(lan).to_string(),
            host.ipv6(lan).to_string()
        ));
    }
    say(lab.kubectl(&["get", "nodes", "-o", "wide", "--request-timeout=5s"])?.trim_end());
    Ok(())
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Tools => {
            herald_lab::tools()?.iter().for_each(|(name, path)| say(&format!("{name:<24} {}", path.display())));
            Ok(())
        }
        Task::Up { workers, proxy_mode, second_lan } => Lab::up(Options { workers, proxy_mode, second_lan }).map(drop),
        Task::Down => Lab::down(),
        Task::Status => status(),
        Task::Exec { host, argv } => become_command(Lab::attach()?.exec_command(host, &argv)?),
        Task::Net { host, argv } if host == "switch" => become_command(Lab::attach()?.switch_command(&argv)?),
        Task::Net { host, argv } => become_command(Lab::attach()?.net_command(host.parse()?, &argv)?),
        Task::Kubectl { args } => become_command(Lab::attach()?.kubectl_command(&args)?),
        Task::Helm { args } => become_command(Lab::attach()?.helm_command(&args)?),
        Task::Image { tars } => {
            let lab = Lab::attach()?;
            tars.iter().try_for_each(|tar| lab.import_image(tar))
        }
        Task::PowerOff { host } => Lab::attach()?.power_off(host),
        Task::PowerOn { host } => Lab::attach()?.power_on(host),
        Task::Cut { host } => Lab::attach()?.cut(host),
        Task::Silence { host } => Lab::attach()?.silence(host),
        Task::Heal { host } => Lab::attach()?.heal(host),
        Task::StopApi => Lab::attach()?.stop_api(),
        Task::StartApi => Lab::attach()?.start_api(),
        Task::Hold { host, daemon } => Lab::attach()?.hold(host, &daemon),
        Task::Release { host, daemon } => Lab::attach()?.release(host, &daemon),
        Task::NodeLaunch { spec } => herald_lab::node_launch(&spec),
        Task::NodeInit { spec } => herald_lab::node_init(&spec),
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herald-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
