//! Hosts: network namespaces, and code that runs inside them.

use crate::{Capture, PATIENCE, exists, run, try_run};
use nix::sched::{CloneFlags, setns};
use std::{
    fs::File,
    future::Future,
    panic,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};
use tokio::{runtime, sync::oneshot};

/// A host: a network namespace. It goes away with its last clone, and with everything that was started in it.
#[derive(Debug, Clone)]
pub struct Host(Arc<Namespace>);

#[derive(Debug)]
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        if exists(&self.0) {
            let (ok, output) = try_run(&format!("ip netns delete {}", self.0));
            if !ok {
                eprintln!("network namespace {} stays behind: {output}", self.0);
            }
        }
    }
}

impl Host {
    pub(crate) fn new(namespace: String) -> Self {
        run(&format!("ip netns add {namespace}"));
        let host = Self(Arc::new(Namespace(namespace)));
        host.cmd("ip link set lo up");
        host
    }

    /// The name of its namespace, as `ip netns` knows it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.0
    }

    /// Runs a command in it and returns what it printed.
    ///
    /// # Panics
    /// The command fails.
    #[track_caller]
    pub fn cmd(&self, command: &str) -> String {
        run(&self.inside(command))
    }

    /// Runs a command in it and returns whether it succeeded and what it printed.
    #[must_use]
    pub fn try_cmd(&self, command: &str) -> (bool, String) {
        try_run(&self.inside(command))
    }

    fn inside(&self, command: &str) -> String {
        format!("ip netns exec {} {command}", self.namespace())
    }

    /// Sets a kernel parameter, for example `net.ipv6.conf.eth0.accept_dad`, written with slashes: `net/ipv6/conf/eth0/accept_dad`.
    ///
    /// # Panics
    /// There is no such parameter.
    pub fn sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/{path}");
        let result = thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    std::fs::write(&path, value)
                })
                .join()
        });
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{path}: {error}"),
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// The MAC address of a link as text.
    ///
    /// # Panics
    /// There is no such link.
    #[must_use]
    pub fn mac(&self, dev: &str) -> String {
        self.cmd(&format!("cat /sys/class/net/{dev}/address")).trim().to_owned()
    }

    /// The kernel's index of a link.
    ///
    /// # Panics
    /// There is no such link.
    #[must_use]
    pub fn index(&self, dev: &str) -> u32 {
        match self.cmd(&format!("cat /sys/class/net/{dev}/ifindex")).trim().parse() {
            Ok(index) => index,
            Err(error) => panic!("index of {dev}: {error}"),
        }
    }

    /// Runs async code in it, on a thread and a runtime of its own, and waits for the result.
    ///
    /// # Panics
    /// The code does.
    pub fn run<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> T {
        let result = thread::scope(|scope| scope.spawn(|| self.block_on(work)).join());
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }

    /// Starts async code in it that goes on in the background; returns once the code has called [`Up::now`]. It is cancelled when the
    /// returned value is dropped.
    ///
    /// # Panics
    /// The code ends or panics before it is up.
    #[track_caller]
    pub fn start<F: Future<Output = ()>>(&self, work: impl FnOnce(Up) -> F + Send + 'static) -> Background {
        let (up, is_up) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let host = self.clone();
        let thread = thread::spawn(move || {
            host.block_on(|| async {
                tokio::select! {
                    () = work(Up(up)) => {}
                    _ = stopped => {}
                }
            });
        });
        let mut background = Background { stop: Some(stop), thread: Some(thread) };
        if is_up.recv_timeout(PATIENCE).is_err() {
            background.end();
            panic!("code in {} did not come up", self.namespace());
        }
        background
    }

    /// Records all frames of one EtherType that any link of this host receives or, for EtherType 3 (all), sends.
    ///
    /// # Panics
    /// The socket cannot be opened.
    #[must_use]
    pub fn capture(&self, ethertype: u16) -> Capture {
        Capture::start(self, ethertype)
    }

    fn block_on<T, F: Future<Output = T>>(&self, work: impl FnOnce() -> F) -> T {
        self.enter();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async { work().await }),
            Err(error) => panic!("tokio runtime: {error}"),
        }
    }

    /// Moves the calling thread into the namespace, for good: only for threads made for it.
    pub(crate) fn enter(&self) {
        let path = format!("/run/netns/{}", self.namespace());
        let entered = File::open(&path)
            .map_err(|error| error.to_string())
            .and_then(|file| setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string()));
        if let Err(error) = entered {
            panic!("cannot enter {path}: {error}");
        }
    }
}

/// Says that background code is up.
#[derive(Debug)]
pub struct Up(mpsc::Sender<()>);

impl Up {
    /// From here on the test goes on.
    pub fn now(self) {
        // The test may have given up already.
        let _ = self.0.send(());
    }
}

/// Code that runs in a host until this is dropped.
#[derive(Debug)]
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Ends the code, as a killed process would: its sockets close.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        let joined = self.thread.take().map(JoinHandle::join);
        if let Some(Err(payload)) = joined
            && !thread::panicking()
        {
            panic::resume_unwind(payload);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}
