//! What an idle speaker costs, by how many peers it has: a real speaker in a network namespace, beside an API server and peers that are played.

mod chorus;
mod place;

pub use chorus::{Chorus, Peer, Shared};
pub use place::{Place, Plan};

use crate::{
    Error, Result, processor,
    report::{Figure, Stat, Unit},
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How it is measured.
pub const METHOD: &str = "the image's speaker as a process in a network namespace, with the chart's settings but without metrics endpoint; its API \
server is the tests' own one (Nodes, ready speaker pods, one pool, no Services). On its link, behind a bridge, a program plays the other nodes \
from MAC addresses of their own: authentic hellos that name everybody as heard, at the pace that speakers of such a link have, and answers to ARP \
requests for the nodes' addresses; it asks for nothing itself. Once the speaker is ready and hears everybody, and 10 s later: user and system \
time as the scheduler counts it, in windows of 10 s (n = windows)";

/// After everybody is heard.
const SETTLE: Duration = Duration::from_secs(10);
/// One sample.
const WINDOW: Duration = Duration::from_secs(10);
/// Samples for each number of peers: half a minute.
const WINDOWS: usize = 3;

/// What a process spends while nothing happens.
#[derive(Debug, Clone, Default)]
pub struct Spent {
    /// Percent of one core, by window.
    pub share: Vec<f64>,
    /// Wake-ups in a second, by window.
    pub wakes: Vec<f64>,
}

/// Watches a process for so many windows.
///
/// # Errors
/// It is gone.
pub fn spend(pid: i32, windows: usize) -> Result<Spent> {
    let mut spent = Spent::default();
    for _ in 0..windows {
        let (began, time, sleeps) = (Instant::now(), processor::of_threads(pid)?, processor::sleeps(pid)?);
        thread::sleep(WINDOW);
        let seconds = began.elapsed().as_secs_f64();
        spent.share.push((processor::of_threads(pid)? - time) / seconds * 100.0);
        spent.wakes.push((processor::sleeps(pid)? - sleeps) / seconds);
    }
    Ok(spent)
}

/// Measures.
///
/// # Errors
/// The image has no speaker, no namespaces can be made, or the speaker does not hear its peers.
pub fn measure(image: &Path) -> Result<Vec<Figure>> {
    let image = image.to_owned();
    // The kit of the tests panics where something is missing.
    let measured = thread::spawn(move || {
        let mut figures = Vec::new();
        for (peers, limit) in [(3, 0.5), (100, 3.0)] {
            let place = Place::start(&image, Plan { peers, services: 0 })?;
            place.await_heard()?;
            thread::sleep(SETTLE);
            let Spent { share, wakes } = spend(place.pid(), WINDOWS)?;
            let name = format!("processor time of an idle speaker with {peers} peers, of one core");
            figures.push(Figure::new(name, Unit::Percent, &share)?.target(Stat::Max, limit));
            figures.push(Figure::new("- wake-ups in a second", Unit::Pieces, &wakes)?);
        }
        Ok(figures)
    });
    measured.join().unwrap_or_else(|_| Err(Error::NotSeen("a network namespace with a speaker (see above)".into())))
}
