//! What Prometheus' client libraries say about every process, under the same names, and which version it is.

use super::{
    Collect,
    text::{Exposition, Kind},
};
use std::{fs, time::SystemTime};

/// Unit of the times in `/proc/PID/stat`: USER_HZ, which is 100 in the ABI of every architecture that Kubernetes runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub struct Process {
    /// Seconds since 1970.
    started: f64,
    /// Component name: `controller` or `speaker`.
    component: &'static str,
}

impl Process {
    /// Started about now, as this component.
    #[must_use]
    pub fn new(component: &'static str) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: since_epoch.as_secs_f64(), component }
    }
}

impl Collect for Process {
    fn collect(&self, out: &mut Exposition) {
        out.family(Kind::Gauge, "herald_build_info", "1, labelled with the version of Herald and the component.")
            .sample(&[("version", &env!("CARGO_PKG_VERSION")), ("component", &self.component)], 1);
        out.single(
            Kind::Gauge,
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            self.started,
        );
        // A /proc that hides something: the series are missing, which says just that.
        if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| processor_seconds(&stat)) {
            out.single(
                Kind::Counter,
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                seconds,
            );
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status)) {
            out.single(Kind::Gauge, "process_resident_memory_bytes", "Resident memory size in bytes.", bytes);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            out.single(Kind::Gauge, "process_open_fds", "Number of open file descriptors.", files.count());
        }
    }
}

/// utime + stime of `/proc/PID/stat` (proc_pid_stat(5), fields 14 and 15): after the name, which may hold spaces and parentheses.
fn processor_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// VmRSS of `/proc/PID/status`, which is in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_proc_are_found() {
        let stat = "42 (a) name) S 1 42 42 0 -1 4194560 100 0 0 0 123 77 0 0 20 0 1 0 9 1000 200 18446744073709551615";
        assert_eq!(processor_seconds(stat), Some(2.0));
        assert_eq!(processor_seconds("nonsense"), None);
        assert_eq!(resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmRSS: many"), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut out = Exposition::default();
        Process::new("speaker").collect(&mut out);
        let text = out.finish();
        for name in [
            "herald_build_info{",
            "process_start_time_seconds ",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
    }
}
