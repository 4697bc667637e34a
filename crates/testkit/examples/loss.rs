//! How often nodes are suspected, and taken for dead, that only lose frames: days of virtual time on the simulated LAN, for docs/failover.md.
//!
//! `cargo run -p herald-testkit --example loss -- HOURS` (24 without): prints a table of Markdown, measured beside computed.
#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use herald_core::{
    membership::{Change, Gone},
    time::Timing,
};
use herald_testkit::{build, lan::Lan};
use std::{env, thread, time::Duration};

const NODES: [&str; 4] = ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"];
/// Of 1,000 frames so many are lost.
const LOSSES: [u32; 3] = [10, 100, 300];
const HOUR: Duration = Duration::from_secs(3600);

/// What happened at all nodes together.
struct Seen {
    nodes: u32,
    loss: u32,
    hours: u32,
    suspicions: u64,
    deaths: usize,
}

fn measure(nodes: u32, loss: u32, hours: u32) -> Seen {
    let names: Vec<&str> = NODES.into_iter().take(usize::try_from(nodes).unwrap_or(NODES.len())).collect();
    let mut snapshot = build::snapshot(&names);
    for last in 11..=22 {
        build::announce(&mut snapshot, &format!("s{last}"), &[&format!("192.168.56.{last}")]);
    }
    let mut lan = Lan::new(Timing::default(), snapshot, u64::from(loss * 10 + nodes));
    lan.loss_per_mille = u64::from(loss);
    for (number, node) in (101..).zip(&names) {
        lan.add(node, vec![build::link(0, number)]);
    }
    lan.run(HOUR * hours, |_| {});
    let died =
        |node: &str| lan.changes(node).iter().filter(|(_, it)| matches!(it, Change::Left(_, Gone::Silent))).count();
    let suspicions = names.iter().filter_map(|node| lan.speaker(node)).map(|speaker| speaker.suspicions()).sum();
    Seen { nodes, loss, hours, suspicions, deaths: names.iter().map(|node| died(node)).sum() }
}

impl Seen {
    /// Of one node by another one, a day.
    fn row(&self) -> String {
        let pairs = f64::from(self.nodes * (self.nodes - 1));
        let days = f64::from(self.hours) / 24.0;
        // Hellos come a twentieth earlier on average. Every silence of two or more begins with two that are lost after one that is not.
        let hellos = 24.0 * HOUR.as_secs_f64() / (0.95 * Timing::default().interval().as_secs_f64());
        let lost = f64::from(self.loss) / 1000.0;
        let computed = hellos * (1.0 - lost) * lost.powi(2);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let measured = self.suspicions as f64 / pairs / days;
        format!(
            "| {} % | {} | {} h | {computed:.0} | {measured:.0} | {} |",
            f64::from(self.loss) / 10.0,
            self.nodes,
            self.hours,
            self.deaths
        )
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hours = env::args().nth(1).map_or(Ok(24), |hours| hours.parse())?;
    println!(
        "| Loss | Nodes | Time | Suspicions a day of one node by another, computed | Measured | Taken for dead, all nodes together |"
    );
    println!("|---|---|---|---|---|---|");
    let rows: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = [2, 4]
            .into_iter()
            .flat_map(|nodes| LOSSES.map(|loss| (nodes, loss)))
            .map(|(nodes, loss)| scope.spawn(move || measure(nodes, loss, hours).row()))
            .collect();
        runs.into_iter().filter_map(|run| run.join().ok()).collect()
    });
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}
