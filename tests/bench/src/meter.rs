//! What a client on the LAN sees of an address while something happens: one UDP flow, and TCP connections beside it. It knows nothing of
//! who announces the address, or by which program.

use crate::{
    Error, Result,
    api::{HTTP_PORT, UDP_PORT},
    lines::{Lines, LinesSeen},
};
use herald_e2e::{Outage, Probe};
use herald_lab::{Host, Lab};
use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

/// Between two datagrams when something fails.
pub const FAILURES: Duration = Duration::from_millis(5);
/// Between two datagrams when something is moved.
pub const MOVES: Duration = Duration::from_millis(1);
/// Answers that come so late are answers, where every lost datagram counts.
pub const LATE: Duration = Duration::from_millis(500);
/// Connections held beside.
pub const CONNECTIONS: usize = 20;

/// The flow works again when so long a time has so many of its datagrams answered.
const WINDOW: Duration = Duration::from_millis(200);
const WORKS: f64 = 0.75;

/// A client at work.
#[derive(Debug)]
pub struct Meter {
    pace: Duration,
    probe: Probe,
    lines: Option<Lines>,
    held: LinesSeen,
}

/// What it saw.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Longest time between two answers of the UDP flow: datagrams that waited in the client's own neighbour queue count when answered.
    pub silence: Duration,
    /// Datagrams without an answer.
    pub lost: usize,
    /// Datagrams sent.
    pub sent: usize,
    /// The client's own longest pause: a silence is not known more exactly than that.
    pub pause: Duration,
    /// The connections.
    pub lines: LinesSeen,
}

/// Longest time between two answers.
fn longest_silence(outage: &Outage) -> Duration {
    let mut answered: Vec<Instant> = outage.samples.iter().filter_map(|sample| sample.answered).collect();
    answered.sort_unstable();
    answered.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or_default()
}

impl Meter {
    /// Starts a flow from `client` to the echo server behind `ip`, with [`CONNECTIONS`] connections.
    ///
    /// The client forgets first whom it took the address for: during a hand-over it may be another node than the one that answers now.
    ///
    /// # Errors
    /// No connection.
    pub fn start(lab: &Lab, client: Host, ip: Ipv4Addr, pace: Duration) -> Result<Self> {
        let flush = ["ip", "neigh", "flush", "to", &ip.to_string()];
        let flushed = lab.net_command(client, &flush)?.output().map_err(Error::io("ip neigh flush"))?;
        if !flushed.status.success() {
            return Err(Error::NotSeen(format!(
                "the end of ip neigh flush: {}",
                String::from_utf8_lossy(&flushed.stderr)
            )));
        }
        let lines = Lines::open(lab, client, (ip, HTTP_PORT).into(), CONNECTIONS)?;
        let probe = Probe::start_on(lab, client, (ip, UDP_PORT).into(), pace)?;
        Ok(Self { pace, probe, lines: Some(lines), held: LinesSeen::default() })
    }

    /// Ends the connections; the flow goes on.
    pub fn hang_up(&mut self) {
        if let Some(lines) = self.lines.take() {
            self.held = lines.finish();
        }
    }

    /// Waits until the flow is answered all the time; `false` at the end of the patience.
    pub fn await_flow(&self, patience: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience {
            let before = self.probe.answered();
            thread::sleep(WINDOW);
            let answered = u32::try_from(self.probe.answered() - before).unwrap_or(u32::MAX);
            if f64::from(answered) >= WORKS * WINDOW.as_secs_f64() / self.pace.as_secs_f64() {
                return true;
            }
        }
        false
    }

    /// Ends it; `late` is how long late answers are waited for.
    #[must_use]
    pub fn finish(mut self, late: Duration) -> Reading {
        self.hang_up();
        let outage = self.probe.finish_within(late);
        Reading {
            silence: longest_silence(&outage),
            lost: outage.lost,
            sent: outage.sent,
            pause: outage.longest_pause,
            lines: self.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_e2e::Sample;

    #[test]
    fn silence_is_between_answers_not_between_questions() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        // The second waited for the neighbour entry and was answered with the third.
        let sample = |sent, answered: Option<u64>| Sample { sent: at(sent), answered: answered.map(at) };
        let samples = vec![sample(0, Some(1)), sample(5, Some(160)), sample(10, None), sample(15, Some(161))];
        assert_eq!(longest_silence(&Outage::of(samples)), Duration::from_millis(159));
        assert_eq!(longest_silence(&Outage::of(Vec::new())), Duration::ZERO);
    }
}
