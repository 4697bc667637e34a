//! Where it was measured.

use serde::{Deserialize, Serialize};
use std::fs;

/// The machine, and how busy it was with other things.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Logical processors.
    pub processors: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// Kernel release.
    pub kernel: String,
    /// Load average of the last minute when the benchmark began. Much above 0.5 before anything runs: others use the machine too.
    pub load: f64,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line that begins with `key`.
fn field<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value.trim())
}

impl Machine {
    /// This one, now. What cannot be read stays empty.
    #[must_use]
    pub fn here() -> Self {
        let memory = read("/proc/meminfo");
        let kib: f64 = field(&memory, "MemTotal").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
        }
    }

    /// One line.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { processor, processors, memory_gib, kernel, load } = self;
        format!("{processors} x {processor}, {memory_gib} GiB, Linux {kernel}, load {load}")
    }
}
