//! The text format that Prometheus scrapes, version 0.0.4.
//!
//! Written here and not by a client library: MetalLB's counters have names without `_total` and its gauges some with it, which libraries for
//! OpenMetrics cannot write (they append it to counters), and the others build a tree of strings for every scrape, several MiB for a thousand
//! Services on every node. This writes straight into one string.

use std::fmt::{self, Display, Write as _};

/// What `/metrics` is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the values of a family mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process or of its object.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets; see [`Family::histogram`].
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Everything that is exposed at one scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// With room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// Begins a family: a name, its meaning in one sentence, and its kind. A name may be begun once per scrape.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> Family<'_> {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {}", Escaped(help, false), kind.as_str());
        Family { text: &mut self.text, name }
    }

    /// A family with a single value.
    pub fn single(&mut self, kind: Kind, name: &'static str, help: &'static str, value: impl Display) {
        self.family(kind, name, help).sample(&[], value);
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// A family that was begun; its series follow.
#[derive(Debug)]
pub struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

/// Names and values of labels, in the order in which they are written.
pub type Labels<'a> = [(&'static str, &'a dyn Display)];

impl Family<'_> {
    /// A series with its value. The same labels may not come twice.
    pub fn sample(&mut self, labels: &Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A histogram: pairs of upper bound and number of values up to it (cumulated), then the sum and the number of all values.
    pub fn histogram(&mut self, buckets: impl IntoIterator<Item = (f64, u64)>, sum: f64, count: u64) {
        for (bound, cumulated) in buckets {
            self.line("_bucket", &[], Some(&bound), cumulated);
        }
        self.line("_bucket", &[], Some(&"+Inf"), count);
        self.line("_sum", &[], None, sum);
        self.line("_count", &[], None, count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels<'_>, bound: Option<&dyn Display>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(self.text, "{separator}{name}=\"");
            let _ = write!(Escaping(self.text, true), "{value}");
            self.text.push('"');
            separator = ',';
        }
        let end = if separator == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

/// Text with what the format reserves escaped; quotes only where it stands in quotes.
struct Escaped<'t>(&'t str, bool);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0, self.1, |part| f.write_str(part))
    }
}

/// The same for what is written piece by piece.
struct Escaping<'t>(&'t mut String, bool);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.1, |part| self.0.write_str(part))
    }
}

fn escape(text: &str, quotes: bool, mut write: impl FnMut(&str) -> fmt::Result) -> fmt::Result {
    let escaped = |c: char| match c {
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '"' if quotes => Some("\\\""),
        _ => None,
    };
    let mut rest = text;
    while let Some((at, replacement)) = rest.char_indices().find_map(|(at, c)| escaped(c).map(|by| (at, by))) {
        let (plain, after) = rest.split_at(at);
        write(plain)?;
        write(replacement)?;
        // All escaped characters are one byte long.
        rest = after.get(1..).unwrap_or_default();
    }
    write(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_keeps_its_name_and_a_gauge_its_type() {
        let mut out = Exposition::default();
        let mut family = out.family(Kind::Counter, "metallb_layer2_requests_received", "Requests");
        family.sample(&[("ip", &"192.0.2.1")], 3);
        family.sample(&[("ip", &"2001:db8::1"), ("link", &"eth0")], 0);
        out.single(Kind::Gauge, "metallb_allocator_addresses_total", "Addresses", i64::MAX);
        assert_eq!(
            out.finish(),
            "# HELP metallb_layer2_requests_received Requests\n\
             # TYPE metallb_layer2_requests_received counter\n\
             metallb_layer2_requests_received{ip=\"192.0.2.1\"} 3\n\
             metallb_layer2_requests_received{ip=\"2001:db8::1\",link=\"eth0\"} 0\n\
             # HELP metallb_allocator_addresses_total Addresses\n\
             # TYPE metallb_allocator_addresses_total gauge\n\
             metallb_allocator_addresses_total 9223372036854775807\n"
        );
    }

    #[test]
    fn what_the_format_reserves_is_escaped() {
        let mut out = Exposition::default();
        out.family(Kind::Gauge, "x", "a \"quote\"\nand \\").sample(&[("l", &"\"a\\b\"\nü")], 1.5);
        assert_eq!(out.finish(), "# HELP x a \"quote\"\\nand \\\\\n# TYPE x gauge\nx{l=\"\\\"a\\\\b\\\"\\nü\"} 1.5\n");
    }

    #[test]
    fn a_histogram_has_buckets_sum_and_count() {
        let mut out = Exposition::default();
        out.family(Kind::Histogram, "h", "H").histogram([(0.001, 1), (0.5, 2)], 0.25, 3);
        assert_eq!(
            out.finish(),
            "# HELP h H\n# TYPE h histogram\nh_bucket{le=\"0.001\"} 1\nh_bucket{le=\"0.5\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 0.25\nh_count 3\n"
        );
    }
}
