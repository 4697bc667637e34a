//! Metrics: values that count, the registry that writes them out, and the metrics that both daemons have.
//!
//! | module | purpose |
//! |---|---|
//! | [`text`] | the format that Prometheus scrapes |
//! | [`process`] | `process_*`: memory, processor time, files, start |

pub mod process;
pub mod text;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use text::{Exposition, Kind};

/// Something that has metrics. Asked at every scrape, so that the series of an object end with the object.
pub trait Collect: Send + Sync {
    /// Writes all of its families.
    fn collect(&self, out: &mut Exposition);
}

/// Everything that is exposed, in the order in which it was added.
#[derive(Default)]
pub struct Registry {
    sources: Vec<Box<dyn Collect>>,
    /// Length of the last text: room for the next one.
    length: AtomicU64,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("sources", &self.sources.len()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Adds a source. Two may not have the same family.
    pub fn add(&mut self, source: impl Collect + 'static) {
        self.sources.push(Box::new(source));
    }

    /// Everything as text, in the format of [`text::CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let room = usize::try_from(self.length.load(Ordering::Relaxed)).unwrap_or_default();
        let mut out = Exposition::with_capacity(room + room / 8);
        self.sources.iter().for_each(|source| source.collect(&mut out));
        let text = out.finish();
        self.length.store(u64::try_from(text.len()).unwrap_or_default(), Ordering::Relaxed);
        text
    }
}

/// A value that only grows. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often values fell into which bucket. Clones share it.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    /// One per bound.
    buckets: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    /// With these upper bounds, which grow.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = Counts { buckets: vec![0; bounds.len()], ..Counts::default() };
        Self { bounds, counts: Arc::new(Mutex::new(counts)) }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let mut counts = self.lock();
        for (bound, count) in self.bounds.iter().zip(&mut counts.buckets) {
            // Cumulated, as they are written.
            *count += u64::from(value <= *bound);
        }
        counts.sum += value;
        counts.count += 1;
    }

    /// Writes it as a family.
    pub fn write(&self, out: &mut Exposition, name: &'static str, help: &'static str) {
        let counts = self.lock().clone();
        let buckets = self.bounds.iter().copied().zip(counts.buckets);
        out.family(Kind::Histogram, name, help).histogram(buckets, counts.sum, counts.count);
    }

    /// A panic elsewhere leaves whole counts behind.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// MetalLB's `metallb_k8s_client_*` metrics, emitted by controller and speaker alike.
#[derive(Debug, Clone, Default)]
pub struct ClientMetrics {
    /// `metallb_k8s_client_updates_total`: changes received from the API server.
    pub updates: Counter,
    /// `metallb_k8s_client_update_errors_total`: changes that failed to take effect.
    pub update_errors: Counter,
    /// `metallb_k8s_client_config_loaded_bool`: 1 once a valid configuration was loaded.
    pub config_loaded: Gauge,
    /// `metallb_k8s_client_config_stale_bool`: 1 while the newest configuration is not the one in force.
    pub config_stale: Gauge,
}

impl Collect for ClientMetrics {
    fn collect(&self, out: &mut Exposition) {
        out.single(
            Kind::Counter,
            "metallb_k8s_client_updates_total",
            "Number of k8s object updates that have been processed.",
            self.updates.get(),
        );
        out.single(
            Kind::Counter,
            "metallb_k8s_client_update_errors_total",
            "Number of k8s object updates that failed for some reason.",
            self.update_errors.get(),
        );
        out.single(
            Kind::Gauge,
            "metallb_k8s_client_config_loaded_bool",
            "1 if a valid configuration was successfully loaded at least once.",
            self.config_loaded.get(),
        );
        out.single(
            Kind::Gauge,
            "metallb_k8s_client_config_stale_bool",
            "1 if running on a stale configuration, because the latest config failed to load.",
            self.config_stale.get(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_exactly_those_of_metallb() {
        let mut registry = Registry::default();
        let metrics = ClientMetrics::default();
        registry.add(metrics.clone());
        metrics.updates.inc();
        metrics.config_loaded.set(1);
        let text = registry.encode();
        for line in [
            "# TYPE metallb_k8s_client_updates_total counter",
            "metallb_k8s_client_updates_total 1",
            "# TYPE metallb_k8s_client_update_errors_total counter",
            "metallb_k8s_client_update_errors_total 0",
            "# TYPE metallb_k8s_client_config_loaded_bool gauge",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert_eq!(registry.encode(), text, "the second scrape has its room already");
    }

    #[test]
    fn a_value_counts_in_its_bucket_and_all_above() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        [0.05, 0.1, 0.5, 7.0].into_iter().for_each(|value| histogram.observe(value));
        let mut out = Exposition::default();
        histogram.write(&mut out, "h", "H");
        let text = out.finish();
        for line in
            [r#"h_bucket{le="0.1"} 2"#, r#"h_bucket{le="1"} 3"#, r#"h_bucket{le="+Inf"} 4"#, "h_sum 7.65", "h_count 4"]
        {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
