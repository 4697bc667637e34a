//! Memory and processor time of the daemons in a large, quiet cluster.

use crate::{
    Error, Result,
    cluster::herald_processes,
    many::Many,
    processor,
    report::{Figure, Stat, Unit},
    requests, scale,
};
use herald_e2e::Cluster;
use std::{fs, thread, time::Duration};

/// How it is measured.
pub const METHOD: &str = "1,000 Services announced, and all events and statuses about them written (they are paced: Herald's requests fall below two a second); \
VmRSS of each speaker (n = nodes) and of the controller one minute after that, \
code pages of the shared binary included; anonymous = without them. Processor time: user and system of that minute";

/// After the last change.
const MINUTE: Duration = Duration::from_secs(60);

/// A field of `/proc/PID/status` in KiB.
///
/// # Errors
/// No such process or field.
pub fn status(pid: i32, field: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| Error::NotSeen(format!("{field} in {path}")))
}

/// VmRSS of all processes of a component.
///
/// # Errors
/// A process went away meanwhile.
pub fn resident(cluster: &Cluster, component: &str, name: &str) -> Result<Figure> {
    let pids = herald_processes(cluster, component)?.into_values();
    let all: Vec<f64> = pids.map(|pid| Ok(status(pid, "VmRSS")? / 1024.0)).collect::<Result<_>>()?;
    Figure::new(name, Unit::Mebibytes, &all)
}

/// Measures.
///
/// # Errors
/// A process went away meanwhile.
pub fn measure(cluster: &Cluster) -> Result<Vec<Figure>> {
    requests::begin(cluster)?;
    Many::THOUSAND.ensure(cluster)?;
    eprintln!("  waiting until all is told");
    scale::await_told(cluster)?;
    eprintln!("  at rest for a minute");
    let pids_of = |component| -> Result<Vec<i32>> { Ok(herald_processes(cluster, component)?.into_values().collect()) };
    let seconds = |pids: &[i32]| pids.iter().map(|pid| processor::of_process(*pid)).collect::<Result<Vec<f64>>>();
    let mut components = Vec::new();
    for component in ["speaker", "controller"] {
        let pids = pids_of(component)?;
        components.push((component, seconds(&pids)?, pids));
    }
    thread::sleep(MINUTE);
    let mut figures = Vec::new();
    for (component, before, pids) in components {
        let mebibytes =
            |field: &str| -> Result<Vec<f64>> { pids.iter().map(|pid| Ok(status(*pid, field)? / 1024.0)).collect() };
        let spent = before.iter().zip(seconds(&pids)?).map(|(before, after)| after - before);
        let share: Vec<f64> = spent.map(|spent| spent / MINUTE.as_secs_f64() * 100.0).collect();
        let idle = Figure::new("- processor time when idle, of one core", Unit::Percent, &share)?;
        let (limit, idle) = if component == "speaker" { (12.0, idle.target(Stat::Max, 0.5)) } else { (20.0, idle) };
        figures.extend([
            Figure::new(format!("{component}: VmRSS, 1,000 Services"), Unit::Mebibytes, &mebibytes("VmRSS")?)?
                .target(Stat::Max, limit),
            Figure::new("- anonymous memory", Unit::Mebibytes, &mebibytes("RssAnon")?)?,
            idle,
        ]);
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(status(pid, "VmRSS").unwrap() > status(pid, "RssAnon").unwrap());
        assert!(matches!(status(pid, "VmNothing"), Err(Error::NotSeen(_))));
    }
}
