//! End-to-end tests: journeys of users through a real cluster, one after the other, all in one lab that is removed at the end.
//!
//! `cargo test -p herald-e2e -- classic` runs those whose name contains "classic"; HERALD_E2E_KEEP=1 leaves the lab standing;
//! HERALD_IMAGE_TAR names the image (default: dist/herald.tar, made by `make image`); HERALD_LAB_DIR another lab.

mod advertisements;
mod allocation;
mod basics;
mod conflicts;
mod crds;
mod data_plane;
mod explain;
mod faults;
mod fencing;
mod metrics;
mod migration;
mod moves;
mod pools;
mod restarts;
mod services;
mod stability;
mod unnoticed;
mod webhook;

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use herald_e2e::{Cluster, Error, PATIENCE, Result, eventually};
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: gets a cluster where everything is on, Herald runs as [`Cluster::install`] installs it, and no Service exists.
type Journey = fn(&Cluster) -> Result<()>;

const MODULES: [&[(&str, Journey)]; 18] = [
    basics::JOURNEYS,
    crds::JOURNEYS,
    explain::JOURNEYS,
    services::JOURNEYS,
    allocation::JOURNEYS,
    advertisements::JOURNEYS,
    metrics::JOURNEYS,
    pools::JOURNEYS,
    restarts::JOURNEYS,
    unnoticed::JOURNEYS,
    moves::JOURNEYS,
    data_plane::JOURNEYS,
    conflicts::JOURNEYS,
    stability::JOURNEYS,
    webhook::JOURNEYS,
    migration::JOURNEYS,
    faults::JOURNEYS,
    fencing::JOURNEYS,
];

/// Made by the first test that runs, so that `--list` and filters that fit nothing start no lab.
type Shared = Arc<Mutex<Option<Cluster>>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Cluster>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(shared: &Shared, name: &str, journey: Journey) -> std::result::Result<(), Failed> {
    let mut shared = lock(shared);
    let cluster = match shared.take() {
        Some(cluster) => cluster,
        None => Cluster::start(3)?,
    };
    let cluster = shared.insert(cluster);
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| prepare(cluster).and_then(|()| journey(cluster))));
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    let error = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        // The message is on stderr already.
        Err(_) => "panicked".to_owned(),
    };
    // The error last: a report of a failed run often shows the end only.
    eprintln!("{}\n{name}: {error}", cluster.diagnosis());
    Err(error.into())
}

/// Undoes what the test before did, whether it ended well or not.
fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.heal()?;
    cluster.clean()?;
    cluster.install(&[])?;
    cluster.configure(herald_e2e::CLASSIC_CONFIG)?;
    let nodes = cluster.lab().nodes().len();
    eventually("a ready speaker on every node, and a ready controller", PATIENCE, || {
        let (speakers, controllers) = (cluster.herald_pods("speaker")?, cluster.herald_pods("controller")?);
        let ready = speakers.len() == nodes && controllers.len() == 1;
        Ok(if ready { Ok(()) } else { Err(format!("{speakers:?} {controllers:?}")) })
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One cluster: one journey at a time.
    arguments.test_threads = Some(1);
    let shared = Shared::default();
    let trials = MODULES.iter().copied().flatten().map(|(name, journey)| {
        let (shared, name, journey) = (Arc::clone(&shared), *name, *journey);
        Trial::test(name, move || run(&shared, name, journey))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // The lab goes before the process does.
    drop(lock(&shared).take());
    conclusion.exit_code()
}

/// What a test expects to be there and is not.
fn missing(what: &str) -> Error {
    Error::Unexpected(format!("{what} is missing"))
}

/// 192.168.56.`last`: an address on the lab's LAN.
fn lan(last: u8) -> IpAddr {
    IpAddr::from([192, 168, 56, last])
}
