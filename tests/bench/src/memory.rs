//! Memory and processor time of the daemons in a large, quiet cluster.

use crate::{
    Error, Result,
    cluster::herald_processes,
    report::{Figure, Stat, Unit},
    thousand,
};
use herald_e2e::Cluster;
use std::{fs, thread, time::Duration};

/// How it is measured.
pub const METHOD: &str = "1,000 Services announced; VmRSS of each speaker (n = nodes) and of the controller one minute after the last change, \
code pages of the shared binary included; anonymous = without them. Processor time: user and system of the minute after that";

/// After the last change, and again for the processor time.
const MINUTE: Duration = Duration::from_secs(60);
/// Clock ticks of a second in `/proc`: fixed in Linux's interface to user space.
const TICKS: f64 = 100.0;

/// A field of `/proc/PID/status` in KiB.
fn status(pid: i32, field: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| Error::NotSeen(format!("{field} in {path}")))
}

/// Seconds of processor time so far.
fn processor_seconds(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    // The name may contain anything but ends with the last parenthesis; utime and stime are the 12th and 13th field after it.
    let ticks = text.rsplit_once(')').and_then(|(_, rest)| {
        let mut fields = rest.split_whitespace().skip(11);
        Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
    });
    Ok(ticks.ok_or_else(|| Error::NotSeen(format!("times in {path}")))? / TICKS)
}

/// Measures.
///
/// # Errors
/// A process went away meanwhile.
pub fn measure(cluster: &Cluster) -> Result<Vec<Figure>> {
    thousand::ensure(cluster)?;
    eprintln!("  waiting for two minutes");
    thread::sleep(MINUTE);
    let mut components = Vec::new();
    for component in ["speaker", "controller"] {
        let pids: Vec<i32> = herald_processes(cluster, component)?.into_values().collect();
        let mebibytes =
            |field: &str| -> Result<Vec<f64>> { pids.iter().map(|pid| Ok(status(*pid, field)? / 1024.0)).collect() };
        let seconds = pids.iter().map(|pid| processor_seconds(*pid)).collect::<Result<Vec<_>>>()?;
        components.push((component, mebibytes("VmRSS")?, mebibytes("RssAnon")?, pids, seconds));
    }
    thread::sleep(MINUTE);
    let mut figures = Vec::new();
    for (component, resident, anonymous, pids, before) in components {
        let after = pids.iter().map(|pid| processor_seconds(*pid)).collect::<Result<Vec<_>>>()?;
        let spent: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        figures.extend([
            Figure::new(format!("{component}: VmRSS, 1,000 Services"), Unit::Mebibytes, &resident)?
                .target(Stat::Max, 20.0),
            Figure::new("- anonymous memory", Unit::Mebibytes, &anonymous)?,
            Figure::new("- processor time of an idle minute", Unit::Seconds, &spent)?,
        ]);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(status(pid, "VmRSS").unwrap() > status(pid, "RssAnon").unwrap());
        assert!(matches!(status(pid, "VmNothing"), Err(Error::NotSeen(_))));
        let start = std::time::Instant::now();
        let mut spun = 0_u64;
        while start.elapsed() < Duration::from_millis(60) {
            spun = std::hint::black_box(spun + 1);
        }
        let seconds = processor_seconds(pid).unwrap();
        assert!((0.01..3600.0).contains(&seconds), "{seconds}");
    }
}
