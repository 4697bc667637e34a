//! A kit for tests in network namespaces: hosts, cables and switches made of the kernel's own, removed again whatever happens.
//!
//! ```no_run
//! let net = herald_netns::Net::new();
//! let (node, client) = (net.host("node"), net.host("client"));
//! net.link((&node, "eth0"), (&client, "eth0"));
//! client.cmd("ip address add 192.0.2.2/24 dev eth0");
//! ```
//!
//! Everything panics when it fails: a broken set-up is a failed test, and a test that cannot run says how to make it run.
#![expect(clippy::panic, reason = "only tests use this; a failed set-up is a failed test")]

mod capture;
mod host;

pub use capture::Capture;
pub use host::{Background, Host, Up};

use std::{
    fs,
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long [`eventually`] and [`Host::start`] wait: far beyond what is needed on a busy machine, so that only real failures reach it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A set of hosts that know nothing of other tests.
#[derive(Debug)]
pub struct Net {
    prefix: String,
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Net {
    /// An empty net.
    ///
    /// # Panics
    /// Not root, or a program is missing; says what to do.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            nix::unistd::Uid::effective().is_root(),
            "these tests make network namespaces and need root: run `sudo -E env PATH=\"$PATH\" cargo test -p herald-netns`"
        );
        for (program, package) in [("ip", "iproute2"), ("arping", "iputils-arping"), ("ndisc6", "ndisc6")] {
            let found =
                ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
            assert!(found, "these tests need `{program}`: run `apt-get install {package}`");
        }
        Self { prefix: format!("herald{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// A new host with nothing but its loopback link.
    ///
    /// # Panics
    /// The namespace cannot be made.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        Host::new(format!("{}-{name}", self.prefix))
    }

    /// A cable between two hosts; both ends are up.
    ///
    /// # Panics
    /// It cannot be laid.
    pub fn link(&self, (a, a_dev): (&Host, &str), (b, b_dev): (&Host, &str)) {
        let (a, b) = (a.namespace(), b.namespace());
        run(&format!("ip link add {a_dev} netns {a} type veth peer name {b_dev} netns {b}"));
        run(&format!("ip -n {a} link set {a_dev} up"));
        run(&format!("ip -n {b} link set {b_dev} up"));
    }

    /// A switch that hosts can be plugged into.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn lan(&self, name: &str) -> Lan {
        let switch = self.host(name);
        switch.cmd("ip link add br0 type bridge");
        switch.cmd("ip link set br0 up");
        Lan { switch, ports: AtomicU32::new(0) }
    }
}

/// A switch, in a namespace of its own.
#[derive(Debug)]
pub struct Lan {
    switch: Host,
    ports: AtomicU32,
}

impl Lan {
    /// Plugs a new link of the host into the switch; both ends are up. The switch's end is returned by name, for pulling it.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn attach(&self, host: &Host, dev: &str) -> String {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let (namespace, switch) = (host.namespace(), self.switch.namespace());
        run(&format!("ip link add {dev} netns {namespace} type veth peer name {port} netns {switch}"));
        run(&format!("ip -n {switch} link set {port} master br0 up"));
        run(&format!("ip -n {namespace} link set {dev} up"));
        port
    }

    /// The switch, for commands (`ip link set port0 down` pulls a cable).
    #[must_use]
    pub const fn switch(&self) -> &Host {
        &self.switch
    }
}

/// Waits until it holds.
///
/// # Panics
/// It does not within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "did not come true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command outside any namespace and returns what it printed.
#[track_caller]
fn run(command: &str) -> String {
    let (ok, output) = try_run(command);
    assert!(ok, "`{command}` failed: {output}");
    output
}

fn try_run(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    match Command::new(program).args(words).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            (output.status.success(), String::from_utf8_lossy(&text).into_owned())
        }
        Err(error) => panic!("`{command}` cannot be run: {error}"),
    }
}

/// Whether a namespace of that name is there.
fn exists(namespace: &str) -> bool {
    fs::exists(format!("/run/netns/{namespace}")).unwrap_or(false)
}
