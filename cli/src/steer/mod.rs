//! `herald evacuate` and `herald move`: where addresses are to be for a time. Both write annotations, with the rights of whoever runs them;
//! the speakers see these and hand over.

mod apply;

use crate::client::Access;
use apply::Cluster;
pub(crate) use apply::SteerError;
use clap::Args;
use std::{io::Write, net::IpAddr, process::ExitCode, time::Duration};

/// Longest time: what is to last is said in an L2Advertisement, or by a label or taint.
const LONGEST: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// Have a node give its addresses to others for a time
///
/// They are handed over: no connection breaks before the drain (--drain of the speakers) is over. What no other node can have stays.
/// Exit code 0: it is asked for, and herald status shows it; 2: it could not be. Needs the right to patch the Node.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvacuateArgs {
    /// Name of the Node
    node: String,
    /// For how long: 30m, 1h, 2d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    time: Duration,
    /// End it now: the node gets its addresses back
    #[arg(long, conflicts_with = "time")]
    end: bool,
    #[command(flatten)]
    access: Access,
}

/// Move an address to a node for a time
///
/// It is handed over: no connection breaks before the drain (--drain of the speakers) is over. While that node cannot have the address,
/// another one does. Services that share the address move with it.
/// Exit code 0: it is asked for, and herald status shows it; 2: it could not be. Needs the rights to list and patch Services, and to get
/// the Node.
#[derive(Debug, Clone, Args)]
pub(crate) struct MoveArgs {
    /// The address of a Service
    address: IpAddr,
    /// Name of the Node
    #[arg(required_unless_present = "end")]
    node: Option<String>,
    /// For how long: 30m, 1h, 2d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    time: Duration,
    /// End it now: the address goes back
    #[arg(long, conflicts_with_all = ["node", "time"])]
    end: bool,
    #[command(flatten)]
    access: Access,
}

impl EvacuateArgs {
    pub(crate) async fn run(self, out: &mut impl Write) -> Result<ExitCode, SteerError> {
        let Self { node, time, end, access } = self;
        let cluster = Cluster::connect(access).await?;
        let until = (!end).then(|| apply::after(time));
        cluster.evacuate(&node, until.as_deref()).await?;
        match until {
            Some(until) => writeln!(out, "{node} gives its addresses to other nodes until {until}")?,
            None => writeln!(out, "{node} gets its addresses back")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl MoveArgs {
    pub(crate) async fn run(self, out: &mut impl Write) -> Result<ExitCode, SteerError> {
        let Self { address, node, time, end: _, access } = self;
        let cluster = Cluster::connect(access).await?;
        match node {
            Some(node) => {
                let until = apply::after(time);
                let service = cluster.move_to(address, &node, &until).await?;
                writeln!(out, "{address} of {service} moves to {node} until {until}")?;
            }
            None => {
                for service in cluster.end_move(address).await? {
                    writeln!(out, "{address} of {service} goes where it belongs")?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `30m`, `1h`, `2d`.
fn time(text: &str) -> Result<Duration, String> {
    let invalid = || format!("{text:?} is not a time: write it as 30m, 1h or 2d");
    let unit = match text.chars().last().ok_or_else(invalid)? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => DAY,
        _ => return Err(invalid()),
    };
    let number: u64 = text.get(..text.len() - 1).and_then(|number| number.parse().ok()).ok_or_else(invalid)?;
    match Duration::from_secs(number.saturating_mul(unit)) {
        Duration::ZERO => Err(format!("{text:?} is no time at all: at least 1s")),
        time if time > LONGEST => Err(format!(
            "{text:?} is too long: at most 30d; what is to last belongs into an L2Advertisement, or a label or taint of the node"
        )),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let secs = Duration::from_secs;
        assert_eq!(
            (time("90s"), time("30m"), time("1h"), time("2d")),
            (Ok(secs(90)), Ok(secs(1800)), Ok(secs(3600)), Ok(secs(2 * DAY)))
        );
        for bad in ["", "h", "1", "1w", "-1h", "1.5h", "0s", "31d", "1\u{e9}"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
