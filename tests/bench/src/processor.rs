//! Processor time, as the kernel accounts for it.

use crate::{Error, Result};
use std::fs;

/// Clock ticks of a second in `/proc`: fixed in Linux's interface to user space.
const TICKS: f64 = 100.0;

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("reading {path}")))
}

/// Seconds that a process has spent so far, user and system.
///
/// # Errors
/// No such process.
pub fn of_process(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = read(&path)?;
    // The name may contain anything but ends with the last parenthesis; utime and stime are the 12th and 13th field after it.
    let ticks = text.rsplit_once(')').and_then(|(_, rest)| {
        let mut fields = rest.split_whitespace().skip(11);
        Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
    });
    Ok(ticks.ok_or_else(|| Error::NotSeen(format!("times in {path}")))? / TICKS)
}

/// Seconds that the threads of a process have spent so far, user and system, as the scheduler counts them: to the nanosecond.
///
/// # Errors
/// No such process.
pub fn of_threads(pid: i32) -> Result<f64> {
    let nanoseconds = |path: &str| -> Result<f64> {
        let text = read(path)?;
        let first = text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
        first.ok_or_else(|| Error::NotSeen(format!("a time in {path}")))
    };
    threads(pid)?
        .iter()
        .map(|id| nanoseconds(&format!("/proc/{pid}/task/{id}/schedstat")))
        .sum::<Result<f64>>()
        .map(|all| all / 1e9)
}

/// How often the threads of a process went to sleep so far: so often they were woken.
///
/// # Errors
/// No such process.
pub fn sleeps(pid: i32) -> Result<f64> {
    let of_thread = |id: &String| -> Result<f64> {
        let path = format!("/proc/{pid}/task/{id}/status");
        let text = read(&path)?;
        let count =
            text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<f64>().ok());
        count.ok_or_else(|| Error::NotSeen(format!("context switches in {path}")))
    };
    threads(pid)?.iter().map(of_thread).sum()
}

fn threads(pid: i32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&path).map_err(Error::io(format!("reading {path}")))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect())
}

/// Seconds that all processors were busy since boot, with whatever.
///
/// # Errors
/// No `/proc`.
pub fn of_machine() -> Result<f64> {
    let path = "/proc/stat";
    let text = read(path)?;
    // user nice system idle iowait irq softirq steal
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let ticks: f64 =
        fields.filter(|(at, _)| !matches!(at, 3 | 4)).filter_map(|(_, text)| text.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (before, machine) = (of_process(pid).unwrap(), of_machine().unwrap());
        let mut spun = 0_u64;
        while of_process(pid).unwrap() < before + 0.05 {
            spun = std::hint::black_box(spun + 1);
        }
        assert!(of_threads(pid).unwrap() > 0.0);
        let slept = sleeps(pid).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(sleeps(pid).unwrap() > slept);
        assert!(of_machine().unwrap() > machine);
        assert!(matches!(of_process(-1), Err(Error::Io { .. })));
    }
}
