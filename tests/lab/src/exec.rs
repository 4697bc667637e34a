//! Running things in the lab: commands in a host, in its network only, threads in its network, kubectl and helm.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::images;
use crate::lab::Lab;
use crate::node::{import_marker, tar_version};
use crate::power;
use crate::run::{output, run, run_with_input, wait_until};
use crate::wiring::{in_netns, netns_exists, netns_path};

impl Lab {
    fn environment(&self, command: &mut Command) {
        let mut path = self.place.bin().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path).env("KUBECONFIG", self.place.kubeconfig());
    }

    fn network_of(&self, host: Host) -> Result<String> {
        let netns = self.place.netns(host);
        if netns_exists(&netns) { Ok(netns) } else { Err(Error::HostOff(host.to_string())) }
    }

    /// A command that runs inside a host: its network, mounts (/run, /etc, /var), processes, name. Not started yet.
    ///
    /// nsenter stays in between (a PID namespace is entered by a child): killing the child process that this gives does
    /// not end the command inside; power-off and `down` do.
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn exec_command<S: AsRef<OsStr>>(&self, host: Host, argv: &[S]) -> Result<Command> {
        let pid = power::init_pid(&self.place, &self.cgroups, host).ok_or_else(|| Error::HostOff(host.to_string()))?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "--"]).args(argv);
        self.environment(&mut command);
        Ok(command)
    }

    /// Runs a command inside a host to its end; a non-zero exit code is in the output, not an error.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::Start`].
    pub fn exec<S: AsRef<OsStr>>(&self, host: Host, argv: &[S]) -> Result<Output> {
        output(&mut self.exec_command(host, argv)?)
    }

    /// A command that runs on this machine's files but in a host's network: tcpdump, arping, a client. Not started yet.
    /// The process it gives is the command itself, so that signals reach it.
    ///
    /// # Errors
    /// [`Error::HostOff`].
    pub fn net_command<S: AsRef<OsStr>>(&self, host: Host, argv: &[S]) -> Result<Command> {
        let mut command = in_netns(&self.network_of(host)?);
        command.args(argv);
        self.environment(&mut command);
        Ok(command)
    }

    /// Like [`Lab::net_command`] in the switch, which sees the frames of all ports.
    ///
    /// # Errors
    /// [`Error::HostOff`] when the lab is down.
    pub fn switch_command<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<Command> {
        if !netns_exists(&self.place.switch()) {
            return Err(Error::HostOff("the switch".into()));
        }
        let mut command = in_netns(&self.place.switch());
        command.args(argv);
        self.environment(&mut command);
        Ok(command)
    }

    /// Runs `work` on a new thread that has joined a host's network: the sockets it opens are that host's, and stay so
    /// when they are handed out.
    ///
    /// # Errors
    /// [`Error::HostOff`], [`Error::System`]; a panic of `work` goes on in the caller.
    pub fn in_netns<T: Send>(&self, host: Host, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = netns_path(&self.network_of(host)?);
        let netns = File::open(&path).map_err(Error::io("opening", &path))?;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&netns, CloneFlags::CLONE_NEWNET).map_err(Error::system("entering a network namespace"))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A kubectl command with the administrator's rights, reading this machine's files. Not started yet.
    ///
    /// # Errors
    /// [`Error::HostOff`] while the control plane is off.
    pub fn kubectl_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Command> {
        self.admin_command("kubectl", args)
    }

    fn admin_command<S: AsRef<OsStr>>(&self, program: &str, args: &[S]) -> Result<Command> {
        let mut command = in_netns(&self.network_of(Host::ControlPlane)?);
        command.arg(self.place.bin().join(program)).args(args);
        self.environment(&mut command);
        Ok(command)
    }

    /// Runs kubectl; gives its stdout.
    ///
    /// # Errors
    /// [`Error::Failed`] with kubectl's stderr.
    pub fn kubectl<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String> {
        run(&mut self.kubectl_command(args)?)
    }

    /// Runs kubectl with `-o json` and reads the answer.
    ///
    /// # Errors
    /// [`Error::Failed`], [`Error::Json`].
    pub fn kubectl_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.kubectl(&args)?).map_err(Error::json("kubectl"))
    }

    /// `kubectl apply -f -` of one or more YAML documents.
    ///
    /// # Errors
    /// [`Error::Failed`] with kubectl's stderr.
    pub fn kubectl_apply(&self, yaml: &str) -> Result<String> {
        run_with_input(&mut self.kubectl_command(&["apply", "-f", "-"])?, yaml)
    }

    /// `kubectl delete --ignore-not-found -f -` of one or more YAML documents.
    ///
    /// # Errors
    /// [`Error::Failed`] with kubectl's stderr.
    pub fn kubectl_delete(&self, yaml: &str) -> Result<String> {
        run_with_input(&mut self.kubectl_command(&["delete", "--ignore-not-found", "-f", "-"])?, yaml)
    }

    /// A helm command with the administrator's rights. Not started yet.
    ///
    /// # Errors
    /// [`Error::HostOff`] while the control plane is off.
    pub fn helm_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Command> {
        let mut command = self.admin_command("helm", args)?;
        // Nothing of the user's helm is read or changed.
        let home = self.place.dir().join("helm");
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
        Ok(command)
    }

    /// Runs helm; gives its stdout.
    ///
    /// # Errors
    /// [`Error::Failed`] with helm's stderr.
    pub fn helm<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String> {
        run(&mut self.helm_command(args)?)
    }

    /// Imports an image tar on every node that is on; the others do it when they boot.
    ///
    /// # Errors
    /// [`Error::Failed`] with ctr's stderr.
    pub fn import_image(&self, tar: &Path) -> Result<()> {
        let tar = images::adopt(&self.place, tar)?;
        thread::scope(|scope| {
            let imports: Vec<_> = self
                .nodes()
                .into_iter()
                .map(|host| {
                    scope.spawn({
                        let tar = &tar;
                        move || self.import_on(host, tar)
                    })
                })
                .collect();
            imports
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn import_on(&self, host: Host, tar: &Path) -> Result<()> {
        let argv =
            ["ctr".as_ref(), "-n".as_ref(), "k8s.io".as_ref(), "images".as_ref(), "import".as_ref(), tar.as_os_str()];
        match self.exec_command(host, &argv) {
            Ok(mut command) => {
                run(&mut command)?;
                let marker = import_marker(&self.place.host_dir(host), tar);
                std::fs::write(&marker, tar_version(tar)?).map_err(Error::io("writing", &marker))
            }
            Err(Error::HostOff(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Processes of a running container, first the one that its image starts, as this process sees them (for VmRSS in
    /// `/proc/PID/status`). Waits up to 30 s for the container to have an id.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Failed`], [`Error::NoSuchHost`].
    pub fn container_pids(&self, namespace: &str, pod: &str, container: &str) -> Result<Vec<i32>> {
        let (host, id) = wait_until(&format!("container {container} of {pod}"), Duration::from_secs(30), || {
            let pod = self.kubectl_json(&["-n", namespace, "get", "pod", pod])?;
            let statuses = pod["status"]["containerStatuses"].as_array();
            let status = statuses.and_then(|all| all.iter().find(|status| status["name"] == container));
            let id = status.and_then(|status| status["containerID"].as_str()?.split("://").nth(1).map(str::to_owned));
            Ok(id.zip(pod["spec"]["nodeName"].as_str().map(str::to_owned)).map(|(id, host)| (host, id)))
        })?;
        let mut pids = self.cgroups.container_pids(&self.place.host_cgroup(host.parse()?), &id);
        pids.sort_unstable();
        Ok(pids)
    }

    /// Processes of a host that run `program` (e.g. `kube-proxy`), as this process sees them.
    #[must_use]
    pub fn program_pids(&self, host: Host, program: &str) -> Vec<i32> {
        power::pids_of(&self.place, &self.cgroups, host, program)
    }
}
